"""The receiver operating characteristic (ROC) curve and the average precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.predictions import check_labels, check_scores


@dataclass(frozen=True)
class RocCurve:
    """Counts at every distinct threshold, from the strictest down; all arrays are ``(k + 1,)``.

    Attributes
    ----------
    thresholds
        ``inf`` (nothing is positive), then the ``k`` distinct scores in falling order. An image is called positive
        when its score is at or above the threshold.
    true_positives, false_positives
        Numbers of images called positive correctly and wrongly.
    """

    thresholds: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray

    @property
    def sensitivity(self) -> np.ndarray:
        """Share of the positive images called positive."""
        return self.true_positives / self.true_positives[-1]

    @property
    def false_positive_rate(self) -> np.ndarray:
        """Share of the negative images called positive, 1 - specificity."""
        return self.false_positives / self.false_positives[-1]


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve:
    """ROC curve of ``(n,)`` 0/1 labels and scores; equal scores make one point.

    Raises
    ------
    RadImageNetError
        If a class is absent, or labels or scores are invalid.
    """
    positive = check_labels(labels)
    values = check_scores(scores, positive.size)
    if positive.all() or not positive.any():
        raise RadImageNetError(
            f"all {positive.size} images are {'positive' if positive.any() else 'negative'}; "
            "a ROC curve needs images of both classes"
        )
    order = np.argsort(-values, kind="stable")
    values, hits = values[order], positive[order]
    last_of_ties = np.append(np.flatnonzero(np.diff(values)), values.size - 1)
    true_positives = np.cumsum(hits)[last_of_ties]
    return RocCurve(
        thresholds=np.append(np.inf, values[last_of_ties]),
        true_positives=np.append(0, true_positives),
        false_positives=np.append(0, last_of_ties + 1 - true_positives),
    )


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision-recall curve as a sum of steps, without interpolation.

    Raises
    ------
    RadImageNetError
        As for `roc_curve`.
    """
    curve = roc_curve(labels, scores)
    precision = curve.true_positives[1:] / (curve.true_positives[1:] + curve.false_positives[1:])
    return float(np.sum(np.diff(curve.sensitivity) * precision))
