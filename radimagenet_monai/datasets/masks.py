"""Lesion masks, from whatever a record's ``mask`` column names.

A mask is an image file of any readable format, or ``12.xml#1``: the outlines of image 1 in the XML file of a DDTI case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from radimagenet_monai.datasets.ddti_case import fill_polygons, read_outlines
from radimagenet_monai.datasets.records import mask_file
from radimagenet_monai.errors import RecordsError, UnreadableImageError
from radimagenet_monai.io.reader import read_frame

_JPEG_SUFFIXES = frozenset({".jpg", ".jpeg"})
_JPEG_THRESHOLD = 128


def load_masks(references: Sequence[str], shape: tuple[int, int], frame: int = 0) -> np.ndarray:
    """The union of several lesions' masks.

    Parameters
    ----------
    references
        Paths as a record names them: an image file whose pixels other than 0 are the lesion (from 128 in a JPEG file,
        which blurs the edge), or the outlines ``N.xml#K`` of image ``K`` in a DDTI case.
    shape
        ``(rows, columns)`` of the image they belong to.
    frame
        Zero-based frame or slice of the image; a mask of several frames is taken at the same one.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` bool, upright as the image; nowhere true without references.

    Raises
    ------
    UnreadableImageError
        For a mask that cannot be read, has another size than its image, or lacks the frame.
    """
    union = np.zeros(shape, dtype=bool)
    for reference in references:
        union |= _load(reference, shape, frame)
    return union


def _load(reference: str, shape: tuple[int, int], frame: int) -> np.ndarray:
    file = mask_file(reference)
    if file != reference:
        try:
            return fill_polygons(read_outlines(file, int(reference[len(file) + 1 :])), shape)
        except RecordsError as error:
            raise UnreadableImageError(reference, "decode", re.sub(f"^{re.escape(file)}: ", "", str(error))) from None
    image, _ = read_frame(file, 0)
    if len(image) > 1:
        image, _ = read_frame(file, frame)
    pixels = image.pixels[frame if len(image) > 1 else 0]
    if pixels.shape[:2] != tuple(shape):
        raise UnreadableImageError(
            reference,
            "geometry",
            f"the mask has {pixels.shape[0]} x {pixels.shape[1]} pixels (rows x columns), its image "
            f"{shape[0]} x {shape[1]}",
        )
    lesion = pixels >= _JPEG_THRESHOLD if Path(file).suffix.lower() in _JPEG_SUFFIXES else pixels != 0
    return lesion.any(axis=-1) if lesion.ndim == 3 else lesion
