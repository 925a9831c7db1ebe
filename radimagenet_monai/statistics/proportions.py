"""Proportions with Wilson intervals, and the five proportions of a binary operating point."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.predictions import check_labels, check_scores


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
    """Results at a threshold; an image at or above it is called positive."""

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
        """Mean of sensitivity and specificity; ``None`` if a class is absent."""
        if self.sensitivity.estimate is None or self.specificity.estimate is None:
            return None
        return (self.sensitivity.estimate + self.specificity.estimate) / 2


def wilson(successes: int, total: int, confidence: float = 0.95) -> Proportion:
    """Proportion with the score interval of Wilson EB, J Am Stat Assoc 1927;22:209-212, without continuity correction.

    It assumes independent trials; several images per patient make it too narrow; see `clustered_wilson`.

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
    low, high = _wilson_bounds(successes / total, total, z)
    return Proportion(int(successes), int(total), successes / total, low, high)


def clustered_wilson(outcomes: ArrayLike, clusters: np.ndarray, confidence: float = 0.95) -> Proportion:
    """Proportion of images with an interval over clusters.

    Wilson's interval with the effective sample size ``n / deff`` of Rao JNK, Scott AJ, Biometrics 1992;48:577-585: the
    design effect is the variance of the ratio estimate over clusters relative to that of independent images, at least
    1. It cannot be estimated if all outcomes are equal or from one cluster; images of a cluster are then assumed always
    equal, so the effective sample size is ``n^2 / sum(n_i^2)``, which is the number of clusters if all have the same
    size.

    Parameters
    ----------
    outcomes
        ``(n,)`` booleans.
    clusters
        ``(n,)`` indices from 0.
    confidence
        Confidence level of the interval.

    Raises
    ------
    RadImageNetError
        For a confidence outside (0, 1).
    """
    success = np.asarray(outcomes, dtype=bool)
    z, total, successes = normal_quantile(confidence), int(success.size), int(success.sum())
    if not total:
        return Proportion(0, 0, None, None, None)
    sizes = np.bincount(clusters)
    sums, sizes = np.bincount(clusters, weights=success)[sizes > 0], sizes[sizes > 0]
    share, number = successes / total, sizes.size
    if 0 < successes < total and number > 1:
        variance = number / (number - 1) * float(np.sum((sums - share * sizes) ** 2)) / total**2
        effective = total / max(1.0, variance * total / (share * (1 - share)))
    else:
        effective = total**2 / float(np.sum(sizes.astype(np.float64) ** 2))
    low, high = _wilson_bounds(share, effective, z)
    return Proportion(successes, total, share, low, high)


def share_of(
    outcomes: np.ndarray, among: np.ndarray, clusters: np.ndarray | None, confidence: float = 0.95
) -> Proportion:
    """Share of the images ``among`` that have an outcome, with the interval that fits the data.

    Parameters
    ----------
    outcomes, among
        ``(n,)`` booleans.
    clusters
        ``(n,)`` indices from 0 of the patients, for `clustered_wilson`; ``None`` if images are independent, for
        `wilson`.
    confidence
        Confidence level of the interval.

    Raises
    ------
    RadImageNetError
        For a confidence outside (0, 1).
    """
    if clusters is None:
        return wilson(int(outcomes[among].sum()), int(among.sum()), confidence)
    return clustered_wilson(outcomes[among], clusters[among], confidence)


def operating_point(
    labels: ArrayLike,
    scores: ArrayLike,
    threshold: float,
    confidence: float = 0.95,
    clusters: np.ndarray | None = None,
) -> OperatingPoint:
    """Sensitivity, specificity, predictive values and accuracy at a threshold, each with its Wilson interval.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    scores
        ``(n,)``, higher for the positive class.
    threshold
        Scores at or above it are called positive.
    confidence
        Confidence level of the intervals.
    clusters
        ``(n,)`` indices from 0 of the patients, for intervals over them (`clustered_wilson`); ``None`` if images are
        independent.

    Raises
    ------
    RadImageNetError
        For invalid labels or scores.
    """
    positive = check_labels(labels)
    called = check_scores(scores, positive.size) >= threshold

    def proportion(outcomes: np.ndarray, among: np.ndarray) -> Proportion:
        return share_of(outcomes, among, clusters, confidence)

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
        sensitivity=proportion(called, positive),
        specificity=proportion(~called, ~positive),
        ppv=proportion(positive, called),
        npv=proportion(~positive, ~called),
        accuracy=proportion(called == positive, np.ones_like(positive)),
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


def _wilson_bounds(share: float, total: float, z: float) -> tuple[float, float]:
    center = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    # The formula gives exactly 0 and 1 at the ends; rounding must not move them.
    return (
        0.0 if share == 0 else max(0.0, (center - spread) / scale),
        1.0 if share == 1 else min(1.0, (center + spread) / scale),
    )
