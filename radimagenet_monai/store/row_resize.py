"""The one resizing between a canonical image and a row of a packed store."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np


def pixel_aspect_of(image: Any) -> float:
    """Height of a pixel over its width, from the metadata of a canonical image; 1 where it says nothing."""
    return float(getattr(image, "meta", {}).get("pixel_aspect", 1.0))


def content_box(
    shape: tuple[int, int], size: tuple[int, int], keep_aspect: bool, pixel_aspect: float
) -> tuple[int, int, int, int]:
    """Position of an image in its resized form: first row, first column, end row and end column.

    Parameters
    ----------
    shape
        Rows and columns of the image.
    size, keep_aspect, pixel_aspect
        See `resize_to_uint8`.
    """
    rows, columns = size
    if keep_aspect or pixel_aspect != 1:
        height = shape[0] * pixel_aspect
        scale = min(rows / height, columns / shape[1])
        rows = min(max(round(height * scale), 1), rows)
        columns = min(max(round(shape[1] * scale), 1), columns)
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    return top, left, top + rows, left + columns


def resize_to_uint8(
    image: np.ndarray, size: tuple[int, int], keep_aspect: bool, pixel_aspect: float = 1.0
) -> np.ndarray:
    """Resize a canonical image once and round it to 8 bits.

    An axis that shrinks is averaged over the area that each new pixel covers (antialiased, ``cv2.INTER_AREA``), an
    axis that grows is interpolated linearly. OpenCV averages areas only where both axes shrink, hence two steps.

    Parameters
    ----------
    image
        float32 ``(C, H, W)`` in [0, 1].
    size
        Rows and columns of the result.
    keep_aspect
        Fit inside ``size``, centered on 0, instead of stretching.
    pixel_aspect
        Height of a pixel over its width. An image whose pixels are not square is always fitted, in its true
        proportions, so that a circle stays one.

    Returns
    -------
    numpy.ndarray
        uint8 ``(rows, columns, C)``, 255 for 1.
    """
    top, left, bottom, right = content_box((image.shape[1], image.shape[2]), size, keep_aspect, pixel_aspect)
    rows, columns = bottom - top, right - left
    pixels = np.ascontiguousarray(np.moveaxis(image, 0, 2))
    smaller = (min(columns, pixels.shape[1]), min(rows, pixels.shape[0]))
    if smaller != (pixels.shape[1], pixels.shape[0]):
        pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (columns, rows):
        pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)
    scaled = np.clip(pixels, 0, 1)
    scaled *= 255
    packed = np.rint(scaled, out=scaled).astype(np.uint8).reshape(rows, columns, image.shape[0])
    if (rows, columns) == size:
        return packed
    framed = np.zeros((*size, image.shape[0]), np.uint8)
    framed[top : top + rows, left : left + columns] = packed
    return framed
