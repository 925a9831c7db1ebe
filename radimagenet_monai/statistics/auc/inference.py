"""Intervals and tests from the structural components of AUCs, and when there are none.

If a variance is zero (perfect separation, models with the same ranking), there is no interval and no test. The results
are then ``None`` with a ``reason`` in words, never NaN.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, expit, logit, ndtr

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.statistics.auc.components import AucComponents
from radimagenet_monai.statistics.predictions import check_labels, check_scores
from radimagenet_monai.statistics.proportions import normal_quantile

Scale = Literal["logit", "linear"]


@dataclass(frozen=True)
class AucEstimate:
    """An AUC with its interval.

    Attributes
    ----------
    auc
        ``None`` if a class is absent.
    standard_error, low, high
        ``None`` if not estimable.
    confidence
        Confidence level of the interval.
    scale
        Scale on which the interval is symmetric.
    positives, negatives
        Numbers of images.
    reason
        Why something is not estimable; ``None`` if everything is.
    """

    auc: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    confidence: float
    scale: Scale
    positives: int
    negatives: int
    reason: str | None = None


@dataclass(frozen=True)
class AucDifference:
    """The AUC of model ``first`` minus that of model ``second`` on the same images.

    ``low`` and ``high`` bound the difference, ``z`` and two-sided ``p`` test it against 0. All four are ``None``, with
    a ``reason``, if not estimable.
    """

    first: str
    second: str
    difference: float
    low: float | None
    high: float | None
    z: float | None
    p: float | None
    confidence: float
    reason: str | None = None


@dataclass(frozen=True)
class AucComparison:
    """Several models on the same images.

    Attributes
    ----------
    aucs
        Model name to AUC.
    covariance
        ``(m, m)`` covariance of the AUCs in the order of ``aucs``.
    chi_square, degrees_of_freedom, p
        Test that all AUCs are equal; ``None``, with a ``reason``, if not estimable.
    pairs
        Every pair of models. Their p-values are not adjusted for multiple testing.
    """

    aucs: dict[str, float]
    covariance: np.ndarray
    chi_square: float | None
    degrees_of_freedom: int | None
    p: float | None
    pairs: tuple[AucDifference, ...]
    reason: str | None = None


def infer_auc(
    positive: np.ndarray, values: np.ndarray, clusters: np.ndarray | None, confidence: float, scale: Scale
) -> AucEstimate:
    """AUC of one model with its interval.

    Parameters
    ----------
    positive
        ``(n,)`` booleans.
    values
        ``(n,)`` finite scores.
    clusters
        ``(n,)`` cluster indices from 0; ``None`` if images are independent.
    confidence, scale
        Confidence level of the interval, and the scale on which it is symmetric.

    Raises
    ------
    ConfigurationError
        For an unknown scale.
    """
    if scale not in ("logit", "linear"):
        raise ConfigurationError(f"scale '{scale}' was given; expected 'logit' or 'linear'")
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        absent = f"all images are {'positive' if positives else 'negative'}"
        return estimate_with_interval(None, None, positives, negatives, confidence, scale, absent)
    components = AucComponents.of(positive, values[None], clusters)
    auc = float(components.aucs[0])
    reason = components.why_no_variance(np.ones(1))
    error = None if reason else float(np.sqrt(components.covariance[0, 0]))
    return estimate_with_interval(auc, error, positives, negatives, confidence, scale, reason)


def estimate_with_interval(
    auc: float | None,
    error: float | None,
    positives: int,
    negatives: int,
    confidence: float,
    scale: Scale = "logit",
    reason: str | None = None,
) -> AucEstimate:
    """An AUC with the interval that follows from its standard error; no interval, with a ``reason``, without one."""
    z = normal_quantile(confidence)
    if auc is None or error is None:
        return AucEstimate(auc, None, None, None, confidence, scale, positives, negatives, reason)
    if scale == "linear":
        low, high = max(0.0, auc - z * error), min(1.0, auc + z * error)
    else:
        # Delta method: the derivative of the logit is 1 / (auc (1 - auc)).
        spread = z * error / (auc * (1 - auc))
        low, high = float(expit(logit(auc) - spread)), float(expit(logit(auc) + spread))
    return AucEstimate(auc, error, low, high, confidence, scale, positives, negatives, reason)


def check_models(labels: ArrayLike, scores: Mapping[str, ArrayLike]) -> tuple[np.ndarray, np.ndarray]:
    """``(n,)`` labels and ``(m, n)`` scores of two or more models.

    Raises
    ------
    RadImageNetError
        For fewer than two models, a single class, or invalid labels or scores.
    """
    if len(scores) < 2:
        raise RadImageNetError(f"{len(scores)} models were given; a comparison needs two or more")
    positive = check_labels(labels)
    values = np.stack([check_scores(given, positive.size) for given in scores.values()])
    if positive.all() or not positive.any():
        raise RadImageNetError("images of one class only were given; a comparison of AUCs needs both classes")
    return positive, values


def infer_comparison(components: AucComponents, names: Sequence[str], confidence: float) -> AucComparison:
    """Test of equal AUCs of all models, and of every pair."""
    pairs = tuple(
        _difference(components, names, i, j, confidence) for i, j in itertools.combinations(range(len(names)), 2)
    )
    chi_square, degrees, p, reason = _overall(components)
    return AucComparison(
        aucs=dict(zip(names, components.aucs.tolist(), strict=True)),
        covariance=components.covariance,
        chi_square=chi_square,
        degrees_of_freedom=degrees,
        p=p,
        pairs=pairs,
        reason=reason,
    )


def _difference(components: AucComponents, names: Sequence[str], i: int, j: int, confidence: float) -> AucDifference:
    quantile = normal_quantile(confidence)
    contrast = np.zeros(len(names))
    contrast[i], contrast[j] = 1, -1
    difference = float(components.aucs[i] - components.aucs[j])
    reason = components.why_no_variance(contrast)
    if reason:
        return AucDifference(names[i], names[j], difference, None, None, None, None, confidence, reason)
    error = float(np.sqrt(components.contrasted(contrast[None]).covariance[0, 0]))
    z = difference / error
    p = float(2 * ndtr(-abs(z)))
    low, high = max(-1.0, difference - quantile * error), min(1.0, difference + quantile * error)
    return AucDifference(names[i], names[j], difference, low, high, z, p, confidence)


def _overall(components: AucComponents) -> tuple[float | None, int | None, float | None, str | None]:
    """Chi-square, degrees of freedom and p of the hypothesis that all AUCs are equal, or the reason for none."""
    contrasts = np.diff(np.eye(len(components.aucs)), axis=0)
    reasons = [components.why_no_variance(contrast) for contrast in contrasts]
    if all(reasons):
        return None, None, None, reasons[0]
    values, vectors = np.linalg.eigh(components.contrasted(contrasts).covariance)
    along = vectors.T @ (contrasts @ components.aucs)
    # Models with the same ranking make the covariance singular and cost a degree of freedom.
    kept = values > 1e-10 * values[-1]
    if (np.abs(along[~kept]) > 1e-10).any():
        return None, None, None, "models differ in AUC without variance of the difference"
    chi_square = float(np.sum(along[kept] ** 2 / values[kept]))
    degrees = int(kept.sum())
    return chi_square, degrees, float(chdtrc(degrees, chi_square)), None
