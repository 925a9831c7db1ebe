"""Proportions with Wilson intervals, and the five of a binary operating point."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from radimagenet_monai.errors import RadImageNetError
from radimagenet_monai.evaluation.predictions import check_labels, check_scores


@dataclass(frozen=True)
class Proportion:
    """``successes`` of ``total`` with an interval; the other three are ``None`` when ``total`` is 0."""

    successes: int
    total: int
    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold makes of the images; an image is called positive at or above it."""

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    sensitivity: Proportion
    specificity: Proportion
    ppv: Proportion
    npv: Proportion
    accuracy: Proportion

    @property
    def balanced_accuracy(self) -> float | None:
        """Mean of sensitivity and specificity; ``None`` where a class is absent."""
        if self.sensitivity.estimate is None or self.specificity.estimate is None:
            return None
        return (self.sensitivity.estimate + self.specificity.estimate) / 2


def wilson(successes: int, total: int, confidence: float = 0.95) -> Proportion:
    """Proportion with the score interval of Wilson EB, J Am Stat Assoc 1927;22:209-212, without continuity correction.

    It assumes independent trials; several images of a patient make it too narrow.

    Raises
    ------
    RadImageNetError
        For more successes than trials, negative numbers, or a confidence outside (0, 1).
    """
    if not 0 <= successes <= total:
        raise RadImageNetError(f"{successes} successes of {total} were given; expected 0 to {total}")
    z = normal_quantile(confidence)
    if not total:
        return Proportion(0, 0, None, None, None)
    share = successes / total
    center = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # The formula gives exactly 0 and 1 at the ends; rounding must not move them.
    low = 0.0 if successes == 0 else max(0.0, (center - spread) / scale)
    high = 1.0 if successes == total else min(1.0, (center + spread) / scale)
    return Proportion(int(successes), int(total), share, low, high)


def operating_point(labels: ArrayLike, scores: ArrayLike, threshold: float, confidence: float = 0.95) -> OperatingPoint:
    """Sensitivity, specificity, predictive values and accuracy at a threshold, each with its Wilson interval.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    scores
        ``(n,)``, higher for the positive class.
    threshold
        Called positive are scores at or above it.
    confidence
        Of the intervals.

    Raises
    ------
    RadImageNetError
        For arrays that are no labels or scores.
    """
    positive = check_labels(labels)
    called = check_scores(scores, positive.size) >= threshold
    true_positives = int(np.sum(called & positive))
    false_positives = int(np.sum(called & ~positive))
    false_negatives = int(np.sum(~called & positive))
    true_negatives = int(np.sum(~called & ~positive))
    return OperatingPoint(
        threshold=float(threshold),
        true_positives=true_positives,
        false_positives=false_positives,
        true_negatives=true_negatives,
        false_negatives=false_negatives,
        sensitivity=wilson(true_positives, true_positives + false_negatives, confidence),
        specificity=wilson(true_negatives, true_negatives + false_positives, confidence),
        ppv=wilson(true_positives, true_positives + false_positives, confidence),
        npv=wilson(true_negatives, true_negatives + false_negatives, confidence),
        accuracy=wilson(true_positives + true_negatives, positive.size, confidence),
    )


def normal_quantile(confidence: float) -> float:
    """Standard normal deviate of a two-sided interval, 1.96 for 0.95.

    Raises
    ------
    RadImageNetError
        For a confidence outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise RadImageNetError(f"confidence {confidence} was given; expected a share between 0 and 1, such as 0.95")
    return float(ndtri(0.5 + confidence / 2))
