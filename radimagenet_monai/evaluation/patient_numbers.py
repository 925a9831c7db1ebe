"""Which images are of the same patient, as numbers that arrays can be grouped by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from radimagenet_monai.errors import RadImageNetError


def number_patients(patient_ids: Sequence[Any] | np.ndarray | None, images: int) -> np.ndarray:
    """Number the patients from 0 in the order in which they first occur.

    Parameters
    ----------
    patient_ids
        ``(images,)`` text or numbers. ``None``, empty text and NaN are unknown: such an image counts as a patient of
        its own. ``None`` instead of the whole: all are unknown.
    images
        How many there must be.

    Returns
    -------
    numpy.ndarray
        ``(images,)`` int64.

    Raises
    ------
    RadImageNetError
        For another number of ids.
    """
    if patient_ids is None:
        return np.arange(images)
    if len(patient_ids) != images:
        raise RadImageNetError(f"{len(patient_ids)} patient ids were given for {images} images; expected one an image")
    numbers: dict[Any, int] = {}
    # Unknown patients are tuples, which no patient id is; NaN alone is not equal to itself.
    keys = (
        (None, index) if name is None or name == "" or name != name else name for index, name in enumerate(patient_ids)
    )
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
