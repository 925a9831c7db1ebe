"""The two arrays that every statistic of a binary task takes: true labels and model outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radimagenet_monai.errors import RadImageNetError


def check_labels(labels: ArrayLike) -> np.ndarray:
    """Labels as ``(n,)`` booleans, true for the positive class.

    Raises
    ------
    RadImageNetError
        For an empty array, a wrong shape, or values other than 0 and 1.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or not array.size:
        raise RadImageNetError(f"labels have shape {array.shape}; expected one label an image and at least one image")
    if not np.isin(array, (0, 1)).all():
        raise RadImageNetError(
            f"label {_first(array, ~np.isin(array, (0, 1)))} was given; expected 1 for the positive class and 0 else"
        )
    return array.astype(bool)


def check_scores(scores: ArrayLike, count: int, probabilities: bool = False) -> np.ndarray:
    """Scores, higher for the positive class, as ``(count,)`` float64.

    Parameters
    ----------
    scores
        Model output for each image.
    count
        Number of labels.
    probabilities
        Whether they must lie in [0, 1].

    Raises
    ------
    RadImageNetError
        For a wrong shape, a value that is not finite, or a value outside [0, 1] if probabilities are required.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (count,):
        raise RadImageNetError(f"scores have shape {array.shape} for {count} labels; expected one score an image")
    if not np.isfinite(array).all():
        raise RadImageNetError(
            f"score {_first(array, ~np.isfinite(array))} was given; expected finite numbers, look for where the model "
            "or its input became infinite"
        )
    outside = (array < 0) | (array > 1)
    if probabilities and outside.any():
        raise RadImageNetError(
            f"probability {_first(array, outside)} was given; expected values from 0 to 1, apply softmax to the logits"
        )
    return array


def _first(array: np.ndarray, wrong: np.ndarray) -> Any:
    position = int(np.flatnonzero(wrong)[0])
    return f"{array[position]} at position {position}"
