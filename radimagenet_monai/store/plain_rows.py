"""The fast way from a picture to a row of a packed store, where the transform changes no gray level.

`LoadNativeImaged`, `AutoIntensityd` and `CanonicalRangeCheckd`, which prepare images for pretraining, take a rendered
picture as it is shown. An 8-bit value v becomes v / 255, and a row of the picture's own size holds v again. So the row
of the most common case is the picture itself, and that of another size needs nothing but the resizing. The result is
the same, bit for bit, as that of the transforms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from monai.transforms import Compose

from radimagenet_monai.intensity import AutoIntensityd, CanonicalRangeCheckd
from radimagenet_monai.intensity.checks.modality import POLICIES
from radimagenet_monai.intensity.checks.plausibility import gray_levels, questions_of_levels
from radimagenet_monai.intensity.values.luminance import rgb_luminance
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.io.formats.plain_picture import decode_plain
from radimagenet_monai.store.row_resize import resize_to_uint8

_CANONICAL = (np.arange(256) / 255.0).astype(np.float32)


def keeps_gray_levels(transform: Any, image_key: str) -> bool:
    """Whether a transform is the one of this module's description, so that `plain_row` may take its place."""
    if type(transform) is not Compose or len(transform.transforms) != 3:
        return False
    load, intensity, check = transform.transforms
    return (
        type(load) is LoadNativeImaged
        and type(intensity) is AutoIntensityd
        and type(check) is CanonicalRangeCheckd
        and intensity.expected is None
        and load.frame_key == intensity.frame_key == "frame"
        and intensity.modality_key == "modality"
        and all(step.keys == (image_key,) for step in transform.transforms)
    )


def plain_row(
    content: bytes, record: Mapping[str, Any], size: tuple[int, int], keep_aspect: bool
) -> tuple[np.ndarray, list[str]] | None:
    """Row of a picture, uint8 ``(rows, columns, 1)``, and what is doubtful about it, as the transforms would find.

    ``None`` where the transforms have to look at it.

    Parameters
    ----------
    content
        Content of the file, from `radimagenet_monai.io.formats.plain_picture.read_plain_file`.
    record
        Record that the transforms would get.
    size, keep_aspect
        See `resize_to_uint8`.
    """
    if record.get("frame") or (record.get("modality") or POLICIES[0]) not in POLICIES:
        return None
    samples = decode_plain(content)
    if samples is None:
        return None
    if samples.ndim == 3 and samples.shape[:2] == size and _is_gray(samples):
        samples = samples[..., 0]
    if samples.ndim == 2 and samples.shape == size:
        return np.ascontiguousarray(samples)[..., np.newaxis], questions_of_levels(samples)
    canonical = cv2.LUT(samples, _CANONICAL) if samples.ndim == 2 else rgb_luminance(samples, 255.0)
    levels = samples if samples.ndim == 2 else gray_levels(canonical)
    return resize_to_uint8(canonical[np.newaxis], size, keep_aspect), questions_of_levels(levels)


def _is_gray(samples: np.ndarray) -> bool:
    # The luma of equal red, green and blue is that value, but for less than half a gray level.
    return np.array_equal(samples[..., 0], samples[..., 1]) and np.array_equal(samples[..., 1], samples[..., 2])
