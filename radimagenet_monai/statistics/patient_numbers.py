"""Patient ids as integers, for grouping arrays by patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from radimagenet_monai.core.errors import RadImageNetError


def number_patients(patient_ids: Sequence[Any] | np.ndarray | None, images: int) -> np.ndarray:
    """Number the patients from 0 in the order in which they first occur.

    Parameters
    ----------
    patient_ids
        ``(images,)`` text or numbers. ``None``, empty text and NaN are unknown: such an image counts as a separate
        patient. ``None`` means that all are unknown.
    images
        Number of images.

    Returns
    -------
    numpy.ndarray
        ``(images,)`` int64.

    Raises
    ------
    RadImageNetError
        If the numbers of ids and images differ.
    """
    if patient_ids is None:
        return np.arange(images)
    if len(patient_ids) != images:
        raise RadImageNetError(f"{len(patient_ids)} patient ids were given for {images} images; expected one an image")
    numbers: dict[Any, int] = {}
    # Unknown patients become tuples, which are never patient ids; only NaN is not equal to itself.
    keys = (
        (None, index) if name is None or name == "" or name != name else name for index, name in enumerate(patient_ids)
    )
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
