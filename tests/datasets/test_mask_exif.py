"""An image that EXIF turns beside a mask that it does not, against Pillow's exif_transpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.datasets.masks import item_mask

GRAY = np.arange(20 * 20, dtype=np.uint16).reshape(20, 20).astype(np.uint8)
LESION = np.zeros((20, 20), np.uint8)
LESION[2:6, 3:12] = 255


def write(path: Path, pixels: np.ndarray, orientation: int | None) -> str:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return str(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_both_are_turned_alike_or_refused(tmp_path: Path, suffix: str, orientation: int) -> None:
    turned = write(tmp_path / f"turned.{suffix}", GRAY, orientation)
    plain = write(tmp_path / f"plain.{suffix}", GRAY, None)
    mask = write(tmp_path / "mask.png", LESION, orientation)
    flat = write(tmp_path / "flat.png", LESION, 1)
    with Image.open(mask) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture)) > 0
    assert (expected != (LESION > 0)).any()
    np.testing.assert_array_equal(item_mask({"image": turned, "mask": [mask]}, (20, 20)), expected)
    np.testing.assert_array_equal(item_mask({"image": plain, "mask": [flat]}, (20, 20)), LESION > 0)
    for image, drawn, own, other in ((turned, flat, 1, orientation), (plain, mask, orientation, 1)):
        with pytest.raises(UnreadableImageError, match=f"its EXIF orientation is {own}, that of its image {other}"):
            item_mask({"image": image, "mask": [drawn]}, (20, 20))
        item_mask({"image": image, "mask": [f"{drawn}#positions=ignore"]}, (20, 20))


def test_arrays_and_an_orientation_that_is_none(tmp_path: Path) -> None:
    turned = write(tmp_path / "turned.png", GRAY, 3)
    odd = write(tmp_path / "odd.png", GRAY, 0)
    np.save(tmp_path / "mask.npy", LESION)
    with pytest.raises(UnreadableImageError, match="that of its image 3"):
        item_mask({"image": turned, "mask": [str(tmp_path / "mask.npy")]}, (20, 20))
    np.testing.assert_array_equal(item_mask({"image": odd, "mask": [str(tmp_path / "mask.npy")]}, (20, 20)), LESION > 0)
