"""Damaged headers: a canonical image, or one of the two errors that a user can act on; never anything else."""

from __future__ import annotations

import copy
import random
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from native_frames import dicom, lookup_table
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom_collections import ROOTS

from radimagenet_monai.core.errors import IntensityError, UnreadableImageError
from radimagenet_monai.intensity import AutoIntensityd, CanonicalRangeCheckd
from radimagenet_monai.intensity.checks.modality import POLICIES
from radimagenet_monai.io.native_image import HEADER_KEYWORDS, NativeImage
from radimagenet_monai.io.reader import read_image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning"),
    # NumPy warns where absurd numbers overflow on their way to an error.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]

CHECK = CanonicalRangeCheckd("image")
BYTE_FILES = {
    "pydicom/CT_small.dcm": 150,
    "pydicom/dicomdirtests/77654033/CR1/6154": 150,
    "pydicom/dicomdirtests/98892003/MR700/4467": 100,
    "pydicom/examples_palette.dcm": 60,
    "pydicom-data/vlut_04.dcm": 60,
    "pydicom-data/mlut_18.dcm": 60,
    "pydicom-data/emri_small.dcm": 40,
}


def outcome(image: NativeImage, policy: AutoIntensityd) -> str:
    """``"canonical"`` or the name of an allowed error; anything else passes on and fails the test."""
    start = time.process_time()
    error: Exception | None = None
    try:
        CHECK(policy({"image": image, "frame": 0}))
    except (UnreadableImageError, IntensityError) as caught:
        error = caught
    assert time.process_time() - start < 10, "seconds of the processor, whatever else the machine does"
    if isinstance(error, UnreadableImageError):
        assert error.stage == "intensity"
    # The range check is the last resort for users, not a part of the policies.
    assert "a canonical image (float32" not in str(error), f"{error} {image.headers[0]}"
    return "canonical" if error is None else type(error).__name__


# A fifth of the mutants daily, all of them at length.
@pytest.mark.parametrize("share", [5, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", BYTE_FILES)
def test_flipped_bytes_of_real_headers(name: str, share: int, tmp_path: Path) -> None:
    collection, _, relative = name.partition("/")
    source = ROOTS[collection] / relative
    content = source.read_bytes()
    dataset = pydicom.dcmread(source)
    header_length = len(content) - len(dataset.PixelData)
    chance = random.Random(name)
    mutant = tmp_path / "mutant.dcm"
    policies = [AutoIntensityd("image", expected, allow_modality_mismatch=True) for expected in POLICIES]
    outcomes = set()
    for _ in range(BYTE_FILES[name] // share):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 3, 10])):
            damaged[chance.randrange(132, header_length)] = chance.randrange(256)
        mutant.write_bytes(damaged)
        try:
            image = read_image(mutant)
        except UnreadableImageError:
            continue
        outcomes |= {outcome(image, policy) for policy in (AutoIntensityd("image"), *policies)}
    assert "canonical" in outcomes


def seed_images() -> list[NativeImage]:
    grey = np.random.default_rng(0).integers(0, 256, (20, 24)).astype(np.uint8)
    wide = grey.astype(np.int16) * 16
    palette = {
        f"{color}PaletteColorLookupTable{part}": value
        for color in ("Red", "Green", "Blue")
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", bytes(range(256)) * 2))
    }
    region = Dataset()
    for keyword, value in zip(
        ("SpatialFormat", "DataType", "LocationMinX0", "LocationMinY0", "LocationMaxX1", "LocationMaxY1"),
        (1, 1, 2, 2, 20, 18),
        strict=True,
    ):
        setattr(region, f"Region{keyword}", value)
    window = {"WindowCenter": [40, 50], "WindowWidth": [80, 90]}
    return [
        dicom("CT", wide, RescaleSlope=1, RescaleIntercept=-1024, PixelPaddingValue=-5, **window),
        dicom("MR", wide, RescaleSlope=2, RescaleIntercept=0, PhotometricInterpretation="MONOCHROME1"),
        dicom("US", grey, PhotometricInterpretation="PALETTE COLOR", SequenceOfUltrasoundRegions=[region], **palette),
        dicom("US", np.stack([grey] * 3, axis=-1), SequenceOfUltrasoundRegions=[region]),
        dicom("US", grey, **window),
        dicom("DX", grey.astype(np.uint16), VOILUTSequence=[lookup_table(0, 12, list(range(256)))], **window),
        dicom("CR", grey, ModalityLUTSequence=[lookup_table(3, 16, list(range(200)))], PresentationLUTShape="INVERSE"),
    ]


NUMBERS = (0, 1, -1, 2, 3, 8, 9, 16, 64, 255, 256, 4095, 65535, 65536, -32768, 2**31, 2**63, 1e-300, 1e308, 0.5, 1e6)
WORDS = ("", "HU", "OD", "MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL", "PALETTE COLOR", "SIGMOID", "LINEAR", "CT")


def damaged_value(chance: random.Random, keyword: str) -> object:
    """A value of any sort, as pydicom might hold it after a careless writer or a flipped bit."""
    number = chance.choice(NUMBERS)
    return chance.choice(
        [
            number,
            [number, chance.choice(NUMBERS)],
            [chance.choice(NUMBERS) for _ in range(3)],
            None,
            [],
            chance.choice(WORDS),
            chance.randbytes(chance.choice([0, 1, 2, 5, 512])),
            float("nan"),
            float("inf"),
        ]
    )


def damage(chance: random.Random, ds: Dataset) -> None:
    """Delete one element, or set it to something else, in the data set or in an item of its sequences."""
    inner = [item for element in ds if isinstance(element.value, Sequence) for item in element.value]
    target = chance.choice([ds, *inner])
    keyword = chance.choice(sorted(set(target.dir()) or HEADER_KEYWORDS) + chance.sample(sorted(HEADER_KEYWORDS), 3))
    if chance.random() < 0.2 and keyword in target:
        delattr(target, keyword)
        return
    representation = dictionary_VR(keyword).split(" or ")[0]
    if representation == "SQ":
        value: object = Sequence(chance.choice([[], [Dataset()], [Dataset(), *inner]]))
    else:
        value = damaged_value(chance, keyword)
    tag = tag_for_keyword(keyword)
    assert tag is not None
    try:
        target[tag] = DataElement(tag, representation, value)
    except Exception:
        # pydicom does not take this value; the reader could not hand it over either.
        return


# Each seed damages 250 images.
@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 60))])
def test_damaged_elements(seed: int) -> None:
    chance = random.Random(seed)
    policies = [AutoIntensityd("image", ct={"windows": ["abdomen"]})] + [
        AutoIntensityd(
            "image",
            expected,
            allow_modality_mismatch=True,
            ct={"windows": ["header", "brain", "header:1"]},
            radiograph={"prefer_lut": chance.random() < 0.5, "view": chance.choice([0, 1])},
        )
        for expected in POLICIES
    ]
    images = seed_images()
    counts: dict[str, int] = {}
    for _ in range(250):
        image = chance.choice(images)
        headers = copy.deepcopy(list(image.headers))
        for _ in range(chance.choice([1, 2, 4])):
            damage(chance, headers[0])
        mutant = NativeImage(image.path, "dicom", image.pixels, headers)
        for policy in policies:
            result = outcome(mutant, policy)
            counts[result] = counts.get(result, 0) + 1
    assert set(counts) == {"canonical", "UnreadableImageError", "IntensityError"}
