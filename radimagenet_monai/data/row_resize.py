"""The one resizing between a canonical image and a row of a packed store."""

from __future__ import annotations

import cv2
import numpy as np


def resize_to_uint8(image: np.ndarray, size: tuple[int, int], keep_aspect: bool) -> np.ndarray:
    """Resize a canonical image once and round it to 8 bits.

    An axis that shrinks is averaged over the area that each new pixel covers (antialiased, ``cv2.INTER_AREA``), an
    axis that grows is interpolated linearly. OpenCV averages areas only where both axes shrink, hence two steps.

    Parameters
    ----------
    image
        float32 ``(C, H, W)`` in [0, 1].
    size
        Rows and columns wanted.
    keep_aspect
        Fit inside ``size``, centered on 0, instead of stretching.

    Returns
    -------
    numpy.ndarray
        uint8 ``(rows, columns, C)``, 255 for 1.
    """
    rows, columns = size
    if keep_aspect:
        scale = min(rows / image.shape[1], columns / image.shape[2])
        rows = min(max(round(image.shape[1] * scale), 1), rows)
        columns = min(max(round(image.shape[2] * scale), 1), columns)
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
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    framed[top : top + rows, left : left + columns] = packed
    return framed
