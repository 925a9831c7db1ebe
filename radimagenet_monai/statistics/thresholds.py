"""Operating thresholds, chosen on validation data and never on the data they are judged on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from radimagenet_monai.statistics.auc.roc import roc_curve


@dataclass(frozen=True)
class ChosenThreshold:
    """A threshold at or above which an image is called positive, with its results on the data used to choose it."""

    threshold: float
    sensitivity: float
    specificity: float

    @property
    def youden_index(self) -> float:
        """Sensitivity + specificity - 1."""
        return self.sensitivity + self.specificity - 1


def youden_threshold(labels: ArrayLike, scores: ArrayLike) -> ChosenThreshold:
    """Threshold with the greatest Youden index (Youden WJ, Cancer 1950;3:32-35).

    The threshold lies halfway between the lowest score called positive and the next score below, so rounding in another
    precision or runtime does not move an image across it. Ties go to the smallest difference between sensitivity and
    specificity, then to the lowest threshold.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1, of validation images.
    scores
        ``(n,)``, higher for the positive class.

    Raises
    ------
    RadImageNetError
        If a class is absent, or labels or scores are invalid.
    """
    curve = roc_curve(labels, scores)
    true, false = curve.true_positives[1:], curve.false_positives[1:]
    positives, negatives = int(true[-1]), int(false[-1])
    # Integers, so that equal indices do not differ by rounding.
    index = true * negatives - false * positives
    imbalance = np.abs(true * negatives - (negatives - false) * positives)
    best = int(np.lexsort((curve.thresholds[1:], imbalance, -index))[0])
    lowest = curve.thresholds[1 + best]
    below = curve.thresholds[2 + best] if 2 + best < curve.thresholds.size else lowest
    halfway = below + (lowest - below) / 2
    return ChosenThreshold(
        threshold=float(halfway if below < halfway <= lowest else lowest),
        sensitivity=float(true[best] / positives),
        specificity=float(1 - false[best] / negatives),
    )
