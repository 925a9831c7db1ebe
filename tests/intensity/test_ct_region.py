"""CT images are seen through the window of their region; where nothing says which, they are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_frames import dicom, picture, volume
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_rescale
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from radimagenet_monai.core.errors import ConfigurationError, IntensityError
from radimagenet_monai.intensity import AutoIntensityd
from radimagenet_monai.intensity.checks.plausibility import OTHER_REGION
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.io.dicom.body_part import regions_in
from radimagenet_monai.loading import NativeDataset, ResizeCanonicald, list_native_images
from radimagenet_monai.store.fingerprint import describe_transform
from radimagenet_monai.store.packed_store import PackedStore

STORED = np.random.default_rng(0).integers(0, 2000, (40, 40)).astype(np.int16)
LUNG, ABDOMEN = (-600, 1500), (50, 400)  # centre and width in HU, Radiopaedia


def ct_file(path: Path, body_part: str | None) -> Path:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = CTImageStorage, generate_uid(), "CT"
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = STORED.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = 15, 1, STORED.tobytes()
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    if body_part is not None:
        dataset.BodyPartExamined = body_part
    dataset.save_as(path, enforce_file_format=True)
    return path


def windowed(window: tuple[int, int]) -> np.ndarray:
    """The formula by hand, on pydicom's Hounsfield units."""
    scale = Dataset()
    scale.RescaleSlope, scale.RescaleIntercept = 1, -1024
    hounsfield = apply_rescale(STORED, scale)
    return np.clip((hounsfield - window[0]) / window[1] + 0.5, 0, 1)


def canonical(path: Path, ct_region: str = "auto", **record: str) -> Any:
    item = LoadNativeImaged("image")({"image": str(path), **record})
    return AutoIntensityd("image", ct_region=ct_region)(item)["image"]


@pytest.mark.parametrize(
    ("body_part", "window"),
    [
        *(("CHEST", LUNG), ("LUNG", LUNG), ("THORAX", LUNG), ("ABDOMEN", ABDOMEN), ("PELVIS", ABDOMEN)),
        *(("LIVER", ABDOMEN), ("ABD_PELVIS", ABDOMEN), ("KIDNEY", ABDOMEN)),
    ],
)
def test_the_header_chooses_the_window(tmp_path: Path, body_part: str, window: tuple[int, int]) -> None:
    path = ct_file(tmp_path / "a.dcm", body_part)
    np.testing.assert_allclose(canonical(path)[0], windowed(window), atol=1e-6)
    other = "abdomen" if window == LUNG else "lung"
    contradicted = canonical(path, other)
    np.testing.assert_allclose(contradicted[0], windowed(window), atol=1e-6)
    assert OTHER_REGION in contradicted.meta["questions"]


@pytest.mark.parametrize("body_part", [None, "", "CHESTABDPELVIS", "HEAD", "TSPINE", "HEART", "ROUTINE"])
def test_what_does_not_say_it_is_refused_or_decided_by_key_and_record(tmp_path: Path, body_part: str | None) -> None:
    path = ct_file(tmp_path / "a.dcm", body_part)
    with pytest.raises(IntensityError, match=r"a\.dcm: .*--ct_region lung or --ct_region abdomen, or .*'region'"):
        canonical(path)
    np.testing.assert_allclose(canonical(path, "lung")[0], windowed(LUNG), atol=1e-6)
    np.testing.assert_allclose(canonical(path, "abdomen")[0], windowed(ABDOMEN), atol=1e-6)
    np.testing.assert_allclose(canonical(path, region="lung")[0], windowed(LUNG), atol=1e-6)
    np.testing.assert_allclose(canonical(path, region="abd", modality="CT")[0], windowed(ABDOMEN), atol=1e-6)


def test_contradictions_and_unknown_words_are_refused(tmp_path: Path) -> None:
    path = ct_file(tmp_path / "a.dcm", "CHEST")
    with pytest.raises(IntensityError, match="'CHEST' was given, the records' column 'region' says 'abd'"):
        canonical(path, region="abd")
    with pytest.raises(ConfigurationError, match="ct_region 'brain' is unknown"):
        AutoIntensityd("image", ct_region="brain")


def test_volumes_ask_and_pictures_do_not() -> None:
    values = np.linspace(-1000, 1000, 4096).astype(np.int16).reshape(1, 64, 64)
    with pytest.raises(IntensityError, match="states no body part"):
        AutoIntensityd("image")({"image": volume(values), "frame": 0, "modality": "CT"})
    named = AutoIntensityd("image")({"image": volume(values), "frame": 0, "modality": "CT", "region": "lung"})
    np.testing.assert_allclose(named["image"][0], np.clip((values[0] + 600) / 1500 + 0.5, 0, 1), atol=1e-6)
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shown = AutoIntensityd("image")({"image": picture(gray), "frame": 0, "modality": "CT"})
    np.testing.assert_allclose(shown["image"][0], gray / 255, atol=1e-7)
    mr = AutoIntensityd("image")({"image": dicom("MR", STORED), "frame": 0})
    assert mr["image"].shape == (1, 40, 40)


def test_windows_that_are_named_hold_for_all(tmp_path: Path) -> None:
    item = LoadNativeImaged("image")({"image": str(ct_file(tmp_path / "a.dcm", None))})
    shown = AutoIntensityd("image", ct={"windows": ["lung"]})(item)["image"]
    np.testing.assert_allclose(shown[0], windowed(LUNG), atol=1e-6)


def test_inference_counts_what_it_refuses(tmp_path: Path) -> None:
    ct_file(tmp_path / "a.dcm", "CHEST")
    ct_file(tmp_path / "b.dcm", None)
    steps = [LoadNativeImaged("image"), AutoIntensityd("image"), ResizeCanonicald("image", 40)]

    def transform(data: Any) -> Any:
        for step in steps:
            data = step(data)
        return data

    dataset = NativeDataset(list_native_images(tmp_path), transform, (1, 40, 40))
    first, second = dataset[0], dataset[1]
    assert not first["unreadable"]
    np.testing.assert_allclose(first["image"][0], windowed(LUNG), atol=1 / 500)
    assert second["unreadable"].startswith("intensity: ")
    assert "--ct_region" in second["unreadable"]


def test_stores_and_models_of_the_first_release_still_fit(tmp_path: Path) -> None:
    state = describe_transform(AutoIntensityd("image"))["transform"]["state"]
    assert "ct_region" not in state
    assert describe_transform(AutoIntensityd("image", ct_region="lung"))["transform"]["state"]["ct_region"] == "lung"
    store = PackedStore(tmp_path / "store", [LoadNativeImaged("image"), AutoIntensityd("image")], 40)
    for name in ("a.png", "a.dcm"):
        (tmp_path / name).write_bytes(b"")
    keys = {
        (name, region): store.keys([{"image": str(tmp_path / name), "region": region}]).tobytes()
        for name in ("a.png", "a.dcm")
        for region in ("", "lung")
    }
    assert keys["a.png", ""] == keys["a.png", "lung"]
    assert keys["a.dcm", ""] != keys["a.dcm", "lung"]


def test_a_store_holds_each_region_in_its_window(tmp_path: Path) -> None:
    path = str(ct_file(tmp_path / "a.dcm", None))
    store = PackedStore(tmp_path / "store", [LoadNativeImaged("image"), AutoIntensityd("image")], 40, num_workers=0)
    records = [{"image": path, "frame": 0, "region": region} for region in ("lung", "abd")]
    keys = store.keys(records)
    store.add(records, keys, False)
    files = store.image_files()
    for (part, row), window in zip(store.rows(keys).tolist(), (LUNG, ABDOMEN), strict=True):
        np.testing.assert_allclose(np.load(files[part])[row, ..., 0] / 255, windowed(window), atol=1 / 500)


def test_regions_in_what_headers_say() -> None:
    assert regions_in("C-SPINE") == regions_in("THORACIC SPINE") == {"spine"}
    assert regions_in("Head and Neck") == {"head", "neck"}
    assert regions_in("CHEST^ABDOMEN") == {"chest", "abdomen"}
    assert regions_in(None) == regions_in("ROUTINE") == frozenset()
