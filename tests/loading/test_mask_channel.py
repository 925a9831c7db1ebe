"""The mask as a channel: where it lies, how it is packed, how it is augmented."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from monai.transforms import Compose

from radimagenet_monai.core.errors import StoreError
from radimagenet_monai.intensity import UltrasoundLuminanced
from radimagenet_monai.intensity.policy import CanonicalFrame
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.io.native_image import NativeImage
from radimagenet_monai.loading import (
    AffineAugmentation,
    AppendMaskd,
    PackedDataset,
    PrepareBatch,
    ResizeCanonicald,
    SampleKey,
    build_loader,
)

TOP, LEFT, BOTTOM, RIGHT = CROP = (10, 20, 90, 180)


class Cropped(UltrasoundLuminanced):
    """As if the scanner had told the region."""

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        whole = super().canonical(image, frame).pixels
        return CanonicalFrame(whole[:, TOP:BOTTOM, LEFT:RIGHT], "cropped", CROP)


TO_CANONICAL = [LoadNativeImaged("image"), Cropped("image", crop=None)]


def write(folder: Path, masks: int = 2) -> dict:
    """A picture of 100 x 200 with two rectangles that are also its masks."""
    image = np.full((100, 200), 40, np.uint8)
    names = []
    for lesion, (rows, columns) in enumerate(
        [(slice(20, 50), slice(40, 60)), (slice(60, 80), slice(100, 170))][:masks]
    ):
        image[rows, columns] = 230
        mask = np.zeros_like(image)
        mask[rows, columns] = 255
        names.append(str(folder / f"mask{lesion}.png"))
        cv2.imwrite(names[-1], mask)
    cv2.imwrite(str(folder / "image.png"), image)
    return {"image": str(folder / "image.png"), "mask": names, "label": 1}


def pack(folder: Path, record: dict, **options: object) -> PackedDataset:
    return PackedDataset(
        [record],
        [*TO_CANONICAL, AppendMaskd("image")],
        folder / "store",
        (40, 80),
        transform_keys=["mask"],
        path_keys=["mask"],
        with_mask=True,
        num_workers=0,
        **options,
    )


def test_mask_is_cropped_with_its_image_and_holds_every_lesion(tmp_path: Path) -> None:
    record = write(tmp_path)
    out = Compose([*TO_CANONICAL, AppendMaskd("image")])(dict(record))["image"]
    image, mask = out.numpy()
    assert out.dtype == torch.float32
    assert set(np.unique(mask)) == {0.0, 1.0}
    np.testing.assert_array_equal(mask > 0, image > 0.5)
    assert mask.sum() == 30 * 20 + 20 * 70


def test_image_without_mask_has_none(tmp_path: Path) -> None:
    record = write(tmp_path) | {"mask": []}
    assert Compose([*TO_CANONICAL, AppendMaskd("image")])(record)["image"][1].sum() == 0


def test_packed_and_augmented_as_one(tmp_path: Path) -> None:
    augmentation = AffineAugmentation(rotation_degrees=20, shift=0.2, zoom=0.2, seed=4)
    dataset = pack(tmp_path, write(tmp_path), augmentation=augmentation)
    for epoch in range(6):
        item = dataset[SampleKey(epoch, 0)]
        image, mask = item["image"].numpy()
        assert item["image"].shape == (2, 40, 80)
        # What is bright is lesion, wherever the warp took it; edges may differ by the interpolation.
        inside = mask >= 128
        assert ((image > 128) != inside).mean() < 0.02
    batch = next(iter(build_loader(dataset, batch_size=1)))
    image, label = PrepareBatch(with_mask=True)(batch)
    assert image.shape == (1, 1, 40, 80)
    assert label is not None
    assert label.shape == (1, 1, 40, 80)
    assert label.dtype == torch.int64
    assert set(label.unique().tolist()) == {0, 1}


def test_changed_mask_is_packed_anew(tmp_path: Path) -> None:
    record = write(tmp_path)
    before = pack(tmp_path, record)[0]["image"][1].sum()
    cv2.imwrite(record["mask"][0], np.zeros((100, 200), np.uint8))
    after = pack(tmp_path, record)[0]["image"][1].sum()
    assert after < before


def test_mask_of_another_size_stops_the_packing_by_name(tmp_path: Path) -> None:
    record = write(tmp_path)
    cv2.imwrite(record["mask"][1], np.zeros((200, 100), np.uint8))
    with pytest.raises(StoreError, match=r"mask1\.png"):
        pack(tmp_path, record)


def test_geometry_leads_back(tmp_path: Path) -> None:
    resize = ResizeCanonicald("image", 64, geometry_key="geometry")
    out = Compose([*TO_CANONICAL, resize])(write(tmp_path))
    assert out["geometry"].tolist() == [100, 200, 10, 20, 90, 180]


def test_findings_reach_the_loss_as_floating_point_vectors(tmp_path: Path) -> None:
    record = {**write(tmp_path), "label": [1.0, 0.0, float("nan")]}
    record.pop("mask")
    dataset = PackedDataset([record], TO_CANONICAL, tmp_path / "store", 32, num_workers=0)
    _, label = PrepareBatch()(next(iter(build_loader(dataset, batch_size=1))))
    assert label is not None
    assert label.dtype == torch.float32
    assert label[0, :2].tolist() == [1.0, 0.0]
    assert label[0, 2].isnan()
