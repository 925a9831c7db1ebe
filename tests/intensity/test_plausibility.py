"""Values that are questioned or refused: what a radiologist would see at once, and a pipeline would not."""

from __future__ import annotations

import numpy as np
import pytest
from native_frames import dicom, lookup_table, picture, shown, volume
from pydicom.dataset import Dataset

from radimagenet_monai.core.errors import IntensityError
from radimagenet_monai.intensity import AutoIntensityd, CTWindowd, MRPercentiled, RadiographVOId, UltrasoundLuminanced
from radimagenet_monai.intensity.checks import plausibility as asked
from radimagenet_monai.io.native_image import NativeImage

RNG = np.random.default_rng(11)


def chest() -> np.ndarray:
    """(4, 48, 48) HU: air around a body of soft tissue with lungs and a little bone."""
    rows, columns = np.mgrid[-24:24, -24:24]
    values = np.full((48, 48), -1000.0)
    values[rows**2 + columns**2 < 20**2] = 40
    values[(np.abs(columns) - 9) ** 2 + rows**2 < 6**2] = -800
    values[(rows - 14) ** 2 + columns**2 < 3**2] = 600
    return np.stack([values] * 4) + RNG.normal(0, 12, (4, 48, 48))


HU = chest()
UNIT = (HU - HU.min()) / np.ptp(HU)


def questions(policy, image, frame: int = 0) -> list[str]:
    meta = policy({"image": image, "frame": frame})["image"].meta
    return meta["questions"].split("\n") if meta["questions"] else []


def array(pixels: np.ndarray) -> NativeImage:
    return NativeImage("study/volume.npy", "array", pixels, ())


@pytest.mark.parametrize("kind", [volume, array])
def test_hounsfield_units_are_not_questioned(kind) -> None:
    for values in (HU.astype(np.int16), HU.astype(np.float32), HU[:, :24]):
        assert questions(CTWindowd("image", "mediastinum"), kind(values), 1) == []


@pytest.mark.parametrize("kind", [volume, array])
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (UNIT.astype(np.float32), r"scaled to \[0, 1\]"),
        (UNIT * 2 - 1, r"scaled to \[-1, 1\]"),
        ((HU - HU.mean()) / HU.std(), "look scaled to"),
        ((UNIT * 255).round().astype(np.int16), "windowed to 8 bits"),
        (HU.round().astype(np.int16) + 1024, r"HU \+ 1024"),
        (np.clip(HU.round() + 1024, 0, 4095).astype(np.uint16), r"HU \+ 1024"),
        ((HU + 1000).astype(np.float32), r"HU \+ 1024"),
        ((HU.round() + 32768).astype(np.uint16), r"HU \+ 32768"),
    ],
    ids=["unit", "symmetric", "standardized", "bytes", "offset", "clipped offset", "1000", "deep lesion"],
)
def test_values_that_cannot_be_hounsfield_units_are_refused_with_their_cause(kind, values, said) -> None:
    with pytest.raises(IntensityError, match=rf"study/volume.*{said}.*--allow_modality_mismatch true"):
        shown(CTWindowd("image", "lung"), kind(values))
    forced = CTWindowd("image", "lung", allow_modality_mismatch=True)
    assert asked.NOT_HOUNSFIELD in questions(forced, kind(values))


def test_a_skull_stripped_head_is_questioned_and_shown() -> None:
    """Hounsfield units without any air: right, but as a shifted volume would look."""
    values = np.where(HU > 0, HU, 0).astype(np.int16)
    assert asked.NO_AIR in questions(CTWindowd("image", "brain"), volume(values))


def test_a_dicom_slice_whose_intercept_is_missing_is_questioned() -> None:
    stored = (HU[0].round() + 1024).astype(np.uint16)
    right = dicom("CT", stored, RescaleSlope=1, RescaleIntercept=-1024)
    wrong = dicom("CT", stored, RescaleSlope=1, RescaleIntercept=0)
    assert questions(CTWindowd("image"), right) == []
    assert asked.NOT_HOUNSFIELD in questions(CTWindowd("image"), wrong)


def test_a_ct_picture_that_holds_hounsfield_units_with_an_offset_is_questioned() -> None:
    windowed = (np.clip((HU[0] + 160) / 400, 0, 1) * 4095).astype(np.uint16)
    assert asked.OFFSET_PICTURE in questions(CTWindowd("image"), picture((HU[0] + 1024).astype(np.uint16)))
    assert asked.OFFSET_PICTURE in questions(CTWindowd("image"), picture((HU[0] + 32768).astype(np.uint16)))
    assert asked.OFFSET_PICTURE not in questions(CTWindowd("image"), picture(windowed))


@pytest.mark.parametrize(
    ("levels", "question"),
    [
        (RNG.integers(0, 256, (64, 64)), []),
        (RNG.integers(100, 103, (64, 64)), [asked.BLANK]),
        (RNG.integers(100, 104, (64, 64)), [asked.BLANK]),
        (RNG.integers(100, 120, (64, 64)), [asked.NARROW]),
        (RNG.integers(100, 160, (64, 64)), []),
        (np.where(RNG.random((64, 64)) < 0.6, 255, 0), [asked.WHITE]),
        (np.where(RNG.random((64, 64)) < 0.4, 255, 0), []),
    ],
    ids=["all grays", "constant", "ripples", "a twelfth", "a quarter", "white", "white text"],
)
def test_what_came_out_is_looked_at(levels, question) -> None:
    assert questions(AutoIntensityd("image"), picture(levels.astype(np.uint8))) == question


@pytest.mark.parametrize(
    "policy", [UltrasoundLuminanced("image", None), RadiographVOId("image"), MRPercentiled("image")]
)
def test_values_that_are_not_finite_are_black_and_said(policy) -> None:
    values = RNG.random((2, 32, 32)).astype(np.float32)
    values[:, :4], values[:, 4] = np.nan, np.inf
    out = shown(policy, volume(values))
    assert np.isfinite(out).all()
    assert (out[:, :5] == 0).all()
    assert asked.NOT_FINITE in questions(policy, volume(values))


def test_values_of_color_that_are_not_finite_are_black() -> None:
    values = RNG.random((1, 8, 8, 3)).astype(np.float32)
    values[0, 0, 0, 1] = np.nan
    expected = np.nan_to_num(values[0]) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(shown(UltrasoundLuminanced("image", None), array(values))[0], expected, atol=1e-6)


def test_a_voi_lut_that_never_reaches_its_bits_is_questioned() -> None:
    stored = RNG.integers(0, 256, (32, 32)).astype(np.uint16)
    short, whole = ([value * factor for value in range(256)] for factor in (16, 257))
    for entries, expected in ((short, True), (whole, False)):
        image = dicom("CR", stored, VOILUTSequence=[lookup_table(0, 16, entries)])
        assert (asked.SHORT_LUT in questions(RadiographVOId("image"), image)) == expected


def test_a_window_of_width_zero_is_no_window() -> None:
    stored = RNG.integers(0, 4096, (32, 32)).astype(np.uint16)
    image = dicom("DX", stored, WindowCenter=0, WindowWidth=0)
    np.testing.assert_array_equal(
        shown(RadiographVOId("image"), image), shown(RadiographVOId("image"), dicom("DX", stored))
    )
    assert questions(RadiographVOId("image"), image) == [asked.NO_WINDOW]


@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
@pytest.mark.parametrize(
    ("stored", "first", "elements"),
    [
        (np.linspace(38000, 46000, 4096).astype(np.uint16), 40000, {}),
        (np.arange(4096, dtype=np.uint16), -1000, {"RescaleSlope": 1, "RescaleIntercept": -1024}),
        (np.arange(4096, dtype=np.uint16), -1000, {"RescaleSlope": 2, "RescaleIntercept": -1024}),
        (np.linspace(-2000, 2000, 4096).astype(np.int16), -500, {}),
    ],
    ids=["unsigned", "rescaled", "steep", "signed"],
)
def test_the_first_input_of_a_voi_lut_has_the_sign_of_its_inputs(stored, first, elements, syntax) -> None:
    """By the formula of PS3.3 C.11.2.1.1; under implicit VR pydicom reads the 16 bits with the sign of the pixels."""
    item = lookup_table(first, 16, np.linspace(0, 65535, 4096).round().astype(int).tolist())
    image = dicom("DX", stored.reshape(64, 64), VOILUTSequence=[item], **elements)
    if syntax == "implicit":
        read = first % 2**16 if stored.dtype.kind == "u" else first
        item.LUTDescriptor = [4096, read, 16]
    inputs = stored.astype(float) * elements.get("RescaleSlope", 1) + elements.get("RescaleIntercept", 0)
    expected = np.clip(inputs - first, 0, 4095) / 4095
    np.testing.assert_allclose(shown(RadiographVOId("image"), image).ravel(), expected, atol=1e-4)


@pytest.mark.parametrize("source", [volume, array])
def test_a_record_that_names_another_modality_is_refused(source) -> None:
    record = {"image": source(HU.astype(np.int16)), "frame": 0, "modality": "MR"}
    with pytest.raises(IntensityError, match=r"column 'modality' says MR, CT was expected"):
        CTWindowd("image", "lung")(record)
    with pytest.raises(IntensityError, match="says MR, CT was expected"):
        AutoIntensityd("image", expected="CT")(record)
    CTWindowd("image", "lung", allow_modality_mismatch=True)(record)
    CTWindowd("image", "lung")(record | {"modality": "CT"})
    CTWindowd("image", "lung")(record | {"modality": ""})
    AutoIntensityd("image")(record)


def with_bar(scan: np.ndarray, height: int = 40, gray: int = 60) -> np.ndarray:
    bar = np.full((height, scan.shape[1]), gray, np.uint8)
    bar[10:16, 20:90:2] = bar[25:31, 150:190:2] = 240
    return np.vstack([bar, scan])


def sector() -> np.ndarray:
    rows, columns = np.mgrid[:240, -160:160]
    distance = np.hypot(rows + 60, columns)
    inside = (np.abs(np.arctan2(columns, rows + 60)) < 0.6) & (distance > 80) & (distance < 280)
    return np.where(inside, RNG.integers(40, 200, inside.shape), 0).astype(np.uint8)


def test_a_bar_with_writing_never_reaches_the_network() -> None:
    dark = np.zeros((240, 320), np.uint8)
    dark[0:40, 60:200] = RNG.integers(40, 200, (40, 140))  # nothing that is surely the scan
    for scan in (sector(), dark, RNG.integers(20, 220, (240, 320)).astype(np.uint8)):
        for frame in (with_bar(scan), with_bar(scan[::-1])[::-1]):
            out = UltrasoundLuminanced("image")({"image": picture(np.ascontiguousarray(frame)), "frame": 0})["image"]
            top, _, bottom, _ = out.meta["crop"]
            first = 40 if frame[0, 0] == 60 else 0
            assert first <= top < bottom <= first + 240


def test_a_scan_that_is_not_found_is_said() -> None:
    top_left = np.zeros((240, 320), np.uint8)
    top_left[:140, :150] = RNG.integers(40, 200, (140, 150))
    found = questions(UltrasoundLuminanced("image"), picture(top_left))
    assert asked.NO_SCAN in found
    fills = RNG.integers(20, 220, (240, 320)).astype(np.uint8)
    for frame in (sector(), fills):
        assert asked.NO_SCAN not in questions(UltrasoundLuminanced("image"), picture(frame))


def test_a_region_of_the_header_that_the_image_ends_within_is_cut_with_it() -> None:
    """As of pydicom's examples_palette.dcm: the screen was cut below, the region still says how far it went."""
    item = Dataset()
    item.RegionSpatialFormat = item.RegionDataType = 1
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 40, 30
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 320, 400
    image = dicom("US", RNG.integers(0, 255, (200, 320)).astype(np.uint8), SequenceOfUltrasoundRegions=[item])
    out = UltrasoundLuminanced("image")({"image": image, "frame": 0})["image"]
    assert tuple(out.meta["crop"]) == (30, 40, 200, 320)
