"""Pixels that are not square become square: a disk of equal extent in mm stays a disk, image and mask alike."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from radimagenet_monai.engine.outputs.mask_writer import restore_mask
from radimagenet_monai.intensity import MRPercentiled
from radimagenet_monai.io import LoadNativeImaged, read_image
from radimagenet_monai.loading.resize import CONTENT, ResizeCanonicald
from radimagenet_monai.store.first_release import MARK
from radimagenet_monai.store.packed_store import PackedStore
from radimagenet_monai.store.row_resize import content_box, resize_to_uint8


def disk(rows: int, columns: int, between_rows: float, between_columns: float) -> np.ndarray:
    """A disk of 20 mm radius in the middle."""
    row, column = np.mgrid[:rows, :columns]
    off = ((row - rows // 2) * between_rows) ** 2 + ((column - columns // 2) * between_columns) ** 2
    return (off < 20**2).astype(np.int16) * 500


def dicom(path: Path, pixels: np.ndarray, **elements: object) -> str:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = MRImageStorage, generate_uid(), "MR"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.PixelData = 15, 1, pixels.tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return str(path)


def extent(path: str, keep_aspect: bool) -> tuple[int, int]:
    item = MRPercentiled("image")(LoadNativeImaged("image")({"image": path}))
    shown = np.asarray(ResizeCanonicald("image", 96, keep_aspect=keep_aspect)(item)["image"])[0] > 0.5
    return int(shown.any(1).sum()), int(shown.any(0).sum())


@pytest.mark.parametrize("keep_aspect", [True, False])
@pytest.mark.parametrize("steps", [(0.5, 1.0), (1.0, 0.5)])
def test_a_disk_stays_a_disk(tmp_path: Path, keep_aspect: bool, steps: tuple[float, float]) -> None:
    pixels = disk(128, 128, *steps)
    volume = nib.Nifti1Image(pixels.T[:, :, None], np.diag([-steps[1], -steps[0], 1, 1]))
    nib.save(volume, tmp_path / "a.nii")
    files = [
        dicom(tmp_path / "spacing.dcm", pixels, PixelSpacing=list(steps)),
        dicom(tmp_path / "ratio.dcm", pixels, PixelAspectRatio=[round(10 * steps[0]), round(10 * steps[1])]),
        str(tmp_path / "a.nii"),
    ]
    for file in files:
        rows, columns = extent(file, keep_aspect)
        assert abs(rows - columns) <= 1, file
        assert rows == pytest.approx(96 * 40 / 128, abs=2)  # 40 mm of 128


def test_square_pixels_are_resized_as_ever() -> None:
    image = np.random.default_rng(0).random((1, 50, 70), dtype=np.float32)
    for keep_aspect in (True, False):
        plain = resize_to_uint8(image, (32, 32), keep_aspect)
        np.testing.assert_array_equal(resize_to_uint8(image, (32, 32), keep_aspect, 1.0), plain)
    assert content_box((50, 70), (32, 32), False, 1.0) == (0, 0, 32, 32)


def test_a_mask_comes_back_to_where_it_was(tmp_path: Path) -> None:
    pixels = disk(128, 128, 0.5, 1.0)
    path = dicom(tmp_path / "a.dcm", pixels, PixelSpacing=[0.5, 1.0])
    assert read_image(path).pixel_aspect(0) == 0.5
    item = MRPercentiled("image")(LoadNativeImaged("image")({"image": path}))
    item = ResizeCanonicald("image", 96, geometry_key="geometry")(item)
    assert item[CONTENT].tolist() == [24, 0, 72, 96]
    found = restore_mask(np.asarray(item["image"])[0], item["geometry"].tolist(), 0.5, item[CONTENT].tolist())
    assert (found == (pixels > 0)).mean() > 0.99


def test_a_store_of_the_first_release_gives_no_stretched_row(tmp_path: Path) -> None:
    """Its rows of square images are used as they are, those of others are made anew."""
    square = dicom(tmp_path / "square.dcm", disk(128, 128, 1, 1), PixelSpacing=[1, 1])
    flat = dicom(tmp_path / "flat.dcm", disk(128, 128, 0.5, 1), PixelSpacing=[0.5, 1])
    volume = nib.Nifti1Image(disk(128, 128, 1, 0.5).T[:, :, None], np.diag([-0.5, -1, 1, 1]))
    nib.save(volume, tmp_path / "flat.nii")
    unknown = dicom(tmp_path / "unknown.dcm", disk(128, 128, 1, 1))
    records = [
        {"image": path, "frame": 0, "modality": "MR"} for path in (square, flat, str(tmp_path / "flat.nii"), unknown)
    ]

    def opened() -> tuple[PackedStore, np.ndarray]:
        steps = [LoadNativeImaged("image"), MRPercentiled("image")]
        store = PackedStore(tmp_path / "store", steps, 96, transform_keys=["modality"], num_workers=0, progress=False)
        return store, store.keys(records)

    store, new = opened()
    store.add(records, new, False)
    manifest = store.folder / "manifest.json"
    facts = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({key: facts[key] for key in facts if key != MARK}))

    store, keys = opened()
    assert (keys == new).all(axis=1).tolist() == [True, False, False, True]
    assert (store.rows(keys)[:, 0] >= 0).tolist() == [True, False, False, True]
    store.add(records, keys, False)
    places = store.rows(keys)
    assert places[:, 0].tolist() == [0, 1, 1, 0]
    files = store.image_files()
    for part, row in places.tolist():
        shown = np.load(files[part])[row, ..., 0] > 127
        assert abs(int(shown.any(1).sum()) - int(shown.any(0).sum())) <= 1
    np.testing.assert_array_equal(opened()[1], keys)
