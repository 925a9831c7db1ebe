"""Area under the ROC curve (AUC) with DeLong's variance, interval and tests for models on the same images.

DeLong ER, DeLong DM, Clarke-Pearson DL. *Comparing the areas under two or more correlated receiver operating
characteristic curves.* Biometrics 1988;44:837-845. The structural components are computed from midranks in
O(n log n), as in Sun X, Xu W, IEEE Signal Process Lett 2014;21:1389-1393, and are exact with ties.

Images count as independent. Several images of a patient make the intervals too narrow and the p-values too small.

Where a variance is zero (perfect separation, models that rank alike) there is no interval and no test. The results say
so: ``None`` with a ``reason`` in words, never NaN.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, expit, logit, ndtr
from scipy.stats import rankdata

from radimagenet_monai.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.evaluation.predictions import check_labels, check_scores
from radimagenet_monai.evaluation.proportions import normal_quantile

Scale = Literal["logit", "linear"]


@dataclass(frozen=True)
class AucEstimate:
    """An AUC with its interval.

    Attributes
    ----------
    auc
        ``None`` where one of the classes is absent.
    standard_error, low, high
        ``None`` where not estimable.
    confidence
        Of the interval.
    scale
        On which the interval is symmetric.
    positives, negatives
        Numbers of images.
    reason
        Why something is not estimable; ``None`` where all is.
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

    ``low`` and ``high`` bound the difference, ``z`` and two-sided ``p`` test it against 0. All four are ``None``,
    with a ``reason``, where not estimable.
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
        ``(m, m)`` DeLong covariance of the AUCs in the order of ``aucs``.
    chi_square, degrees_of_freedom, p
        Test that all AUCs are equal; ``None``, with a ``reason``, where not estimable.
    pairs
        Every pair of models. Their p-values are not adjusted for being several.
    """

    aucs: dict[str, float]
    covariance: np.ndarray
    chi_square: float | None
    degrees_of_freedom: int | None
    p: float | None
    pairs: tuple[AucDifference, ...]
    reason: str | None = None


def estimate_auc(labels: ArrayLike, scores: ArrayLike, confidence: float = 0.95, scale: Scale = "logit") -> AucEstimate:
    """AUC of one model with a confidence interval.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    scores
        ``(n,)``, higher for the positive class.
    confidence
        Of the interval.
    scale
        ``"logit"`` (default) is symmetric on the log odds of the AUC: it stays inside (0, 1) and covers better near 1
        and in small samples (Pepe MS, *The statistical evaluation of medical tests*, 2003, section 5.2). ``"linear"``
        is the interval of the 1988 paper and the default of R's pROC, cut at 0 and 1.

    Raises
    ------
    RadImageNetError
        For arrays that are no labels or scores.
    ConfigurationError
        For another scale.
    """
    if scale not in ("logit", "linear"):
        raise ConfigurationError(f"scale '{scale}' was given; expected 'logit' or 'linear'")
    positive = check_labels(labels)
    values = check_scores(scores, positive.size)
    z = normal_quantile(confidence)
    positives, negatives = int(positive.sum()), int((~positive).sum())

    def result(
        auc: float | None, error: float | None, low: float | None, high: float | None, reason: str | None
    ) -> AucEstimate:
        return AucEstimate(auc, error, low, high, confidence, scale, positives, negatives, reason)

    if not positives or not negatives:
        return result(None, None, None, None, f"all images are {'positive' if positives else 'negative'}")
    components = _Components.of(positive, values[None])
    auc = float(components.aucs[0])
    reason = components.why_no_variance(np.ones(1))
    if reason:
        return result(auc, None, None, None, reason)
    error = float(np.sqrt(components.covariance[0, 0]))
    if scale == "linear":
        return result(auc, error, max(0.0, auc - z * error), min(1.0, auc + z * error), None)
    # Delta method: the derivative of the logit is 1 / (auc (1 - auc)).
    spread = z * error / (auc * (1 - auc))
    return result(auc, error, float(expit(logit(auc) - spread)), float(expit(logit(auc) + spread)), None)


def compare_aucs(labels: ArrayLike, scores: Mapping[str, ArrayLike], confidence: float = 0.95) -> AucComparison:
    """DeLong's test of two or more models on the same images.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    scores
        Model name to ``(n,)`` scores, all in the order of ``labels``.
    confidence
        Of the intervals of the differences.

    Raises
    ------
    RadImageNetError
        For fewer than two models, one class only, or arrays that are no labels or scores.
    """
    if len(scores) < 2:
        raise RadImageNetError(f"{len(scores)} models were given; a comparison needs two or more")
    positive = check_labels(labels)
    names = list(scores)
    values = np.stack([check_scores(scores[name], positive.size) for name in names])
    if positive.all() or not positive.any():
        raise RadImageNetError("images of one class only were given; a comparison of AUCs needs both classes")
    components = _Components.of(positive, values)
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


@dataclass(frozen=True)
class _Components:
    """Structural components of ``m`` models, in counts.

    ``of_positives[k, i]`` is the number of negatives that model ``k`` puts below positive ``i``, ties as halves;
    ``of_negatives[k, j]`` the number of positives below negative ``j``. Halves are exact in floating point, so that
    equal components are found equal.
    """

    of_positives: np.ndarray
    of_negatives: np.ndarray

    @classmethod
    def of(cls, positive: np.ndarray, scores: np.ndarray) -> _Components:
        overall = rankdata(scores, axis=1)
        return cls(
            of_positives=overall[:, positive] - rankdata(scores[:, positive], axis=1),
            of_negatives=overall[:, ~positive] - rankdata(scores[:, ~positive], axis=1),
        )

    @property
    def aucs(self) -> np.ndarray:
        """``(m,)``."""
        return self.of_positives.sum(axis=1) / (self.of_positives.shape[1] * self.of_negatives.shape[1])

    @property
    def covariance(self) -> np.ndarray:
        """``(m, m)``; 0 for the part of a class with a single image."""
        positives, negatives = self.of_positives.shape[1], self.of_negatives.shape[1]
        total = np.zeros((len(self.of_positives),) * 2)
        for counts, size, others in (
            (self.of_positives, positives, negatives),
            (self.of_negatives, negatives, positives),
        ):
            if size > 1:
                total += np.atleast_2d(np.cov(counts / others)) / size
        return total

    def why_no_variance(self, contrast: np.ndarray) -> str | None:
        """The reason why the variance of ``contrast @ aucs`` is not estimable, or ``None``."""
        for name, counts in (("positive", self.of_positives), ("negative", self.of_negatives)):
            if counts.shape[1] < 2:
                return f"only one image is {name}"
        if np.ptp(contrast @ self.of_positives) or np.ptp(contrast @ self.of_negatives):
            return None
        if contrast.size > 1:
            return (
                "the models rank the images alike or separate the classes perfectly, so the difference has no variance"
            )
        return "the classes are perfectly separated, so the variance is zero"


def _difference(components: _Components, names: list[str], i: int, j: int, confidence: float) -> AucDifference:
    quantile = normal_quantile(confidence)
    contrast = np.zeros(len(names))
    contrast[i], contrast[j] = 1, -1
    difference = float(components.aucs[i] - components.aucs[j])
    reason = components.why_no_variance(contrast)
    if reason:
        return AucDifference(names[i], names[j], difference, None, None, None, None, confidence, reason)
    # From the components' differences: the variances' sum less the covariances would cancel for similar models.
    pair = _Components(
        (components.of_positives[i] - components.of_positives[j])[None],
        (components.of_negatives[i] - components.of_negatives[j])[None],
    )
    error = float(np.sqrt(pair.covariance[0, 0]))
    z = difference / error
    p = float(2 * ndtr(-abs(z)))
    low, high = max(-1.0, difference - quantile * error), min(1.0, difference + quantile * error)
    return AucDifference(names[i], names[j], difference, low, high, z, p, confidence)


def _overall(components: _Components) -> tuple[float | None, int | None, float | None, str | None]:
    """Chi-square, degrees of freedom and p of the hypothesis that all AUCs are equal, or the reason for none."""
    contrasts = np.diff(np.eye(len(components.aucs)), axis=0)
    reasons = [components.why_no_variance(contrast) for contrast in contrasts]
    if all(reasons):
        return None, None, None, reasons[0]
    differences = _Components(contrasts @ components.of_positives, contrasts @ components.of_negatives)
    values, vectors = np.linalg.eigh(differences.covariance)
    along = vectors.T @ (contrasts @ components.aucs)
    # Models that rank alike make the covariance singular; they take away a degree of freedom.
    kept = values > 1e-10 * values[-1]
    if (np.abs(along[~kept]) > 1e-10).any():
        return None, None, None, "models differ in AUC without variance of the difference"
    chi_square = float(np.sum(along[kept] ** 2 / values[kept]))
    degrees = int(kept.sum())
    return chi_square, degrees, float(chdtrc(degrees, chi_square)), None
