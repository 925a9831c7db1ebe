"""Whether probabilities mean what they say: of the images given 30 %, are 30 % positive?

- *Brier score*: mean squared difference of probability and label; scaled, 1 is perfect and 0 no better than giving
  every image the share of positives (Steyerberg EW et al., Epidemiology 2010;21:128-138).
- *Calibration in the large* (``intercept``) and *calibration slope*: logistic regression of the label on the logit of
  the probability, the first with the slope held at 1 (Cox DR, Biometrika 1958;45:562-565; Van Calster B et al., BMC Med
  2019;17:230). Intercept 0 and slope 1 are right; a slope below 1 means probabilities too extreme, as overfitted
  networks give them.
- *Expected calibration error*, root mean square over bins of equal numbers of images, with the part due to chance
  subtracted from every bin (Bröcker J, Clim Dyn 2012;39:655-667; Kumar A, Liang P, Ma T, NeurIPS 2019,
  arXiv:1909.10155). Without that, a small test set makes a perfect model look miscalibrated.
- *Curve*: predicted and observed per bin, with Wilson intervals.

If patients have several images, the intervals of slope and intercept come from the cluster-robust sandwich with the
correction for few patients (Mancl LA, DeRouen TA, Biometrics 2001;57:126-134); the debiasing and the intervals of the
curve count patients. Calibration belongs to the share of positives in the data: it does not carry over to a clinic with
a different prevalence.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, logit

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.patient_numbers import number_patients
from radimagenet_monai.statistics.predictions import check_labels, check_scores
from radimagenet_monai.statistics.proportions import clustered_wilson, normal_quantile, wilson

CLIP = 1e-6
"""Probabilities enter a logit no nearer to 0 and 1 than this: single precision gives exact zeros and ones."""

_ALONE = 1e-9  # if less of the information is left without a patient, it was all from that patient
_ONE_PATIENT = "it rests on the images of one patient, so there is no interval"

_Interval = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class CalibrationBin:
    """Images of similar probability: mean probability, share of positives with its Wilson interval, their number."""

    predicted: float
    observed: float
    low: float
    high: float
    images: int


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be trusted.

    Attributes
    ----------
    images, positives
        Numbers of images.
    patients
        Number of independent units if images were grouped by patient; ``None`` if every image is independent.
    clipped
        Images whose probability was moved to ``CLIP`` or ``1 - CLIP`` for slope and intercept.
    brier, brier_scaled
        ``brier_scaled`` is ``None`` if a class is absent.
    slope, slope_low, slope_high
        ``None`` if not estimable; the limits also if a single patient decides.
    intercept, intercept_low, intercept_high
        Calibration in the large, on the logit scale; above 0 if the probabilities are too low.
    ece
        Debiased, root mean square; 0 if chance explains all of it.
    ece_squared
        Its square before it is cut at 0: unbiased, so average this one; negative in half of all data sets for a
        perfectly calibrated model.
    curve
        From low to high probabilities.
    confidence
        Confidence level of all intervals.
    reasons
        Why ``brier_scaled``, ``slope``, ``intercept`` (or their limits) or ``ece`` is not estimable, by that name.
    """

    images: int
    positives: int
    patients: int | None
    clipped: int
    brier: float
    brier_scaled: float | None
    slope: float | None
    slope_low: float | None
    slope_high: float | None
    intercept: float | None
    intercept_low: float | None
    intercept_high: float | None
    ece: float | None
    ece_squared: float | None
    curve: tuple[CalibrationBin, ...]
    confidence: float
    reasons: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionary of numbers, strings, lists and ``None``, for JSON without NaN."""
        found = asdict(self)
        return {**found, "curve": list(found["curve"])}


def evaluate_calibration(
    labels: ArrayLike,
    probabilities: ArrayLike,
    bins: int = 10,
    clusters: Sequence[Any] | np.ndarray | None = None,
    confidence: float = 0.95,
) -> Calibration:
    """Evaluate the calibration of the probabilities of the positive class.

    Parameters
    ----------
    labels
        ``(n,)``, 1 for the positive class, otherwise 0.
    probabilities
        ``(n,)`` probabilities of the positive class, in [0, 1].
    bins
        Number of bins of the curve and the calibration error, with equal numbers of images. Equal probabilities share a
        bin, so there may be fewer.
    clusters
        ``(n,)`` patient ids, ``None`` and empty text for unknown.
    confidence
        Confidence level of the intervals.

    Raises
    ------
    RadImageNetError
        For labels or probabilities that are invalid or differ in length, or fewer than one bin.
    """
    positive = check_labels(labels)
    values = check_scores(probabilities, positive.size, probabilities=True)
    if bins < 1:
        raise RadImageNetError(f"{bins} bins were given; expected 1 or more, 10 is usual")
    patients = number_patients(clusters, positive.size)
    grouped = int(patients.max()) + 1 < positive.size
    quantile = normal_quantile(confidence)
    moved = np.clip(values, CLIP, 1 - CLIP)
    reasons = {}

    share = float(positive.mean())
    brier = float(np.mean((values - positive) ** 2))
    brier_scaled = None
    absent = None if 0 < share < 1 else f"there are no {'positives' if share == 0 else 'negatives'}"
    if absent:
        reasons["brier_scaled"] = absent
    else:
        brier_scaled = 1 - brier / (share * (1 - share))

    line = logit(moved)
    intercept: _Interval = (None, None, None)
    slope: _Interval = (None, None, None)
    problem = absent or (None if patients.max() else "there is one patient only")
    if problem:
        reasons["intercept"] = problem
    else:
        intercept = _interval(_fit(positive, np.ones((positive.size, 1)), line), patients, grouped, quantile)
        if intercept[1] is None:
            reasons["intercept"] = _ONE_PATIENT
    problem = problem or _separation(positive, line)
    if problem:
        reasons["slope"] = problem
    else:
        design = np.column_stack([np.ones(positive.size), line])
        slope = _interval(_fit(positive, design, np.zeros(positive.size)), patients, grouped, quantile)
        if slope[1] is None:
            reasons["slope"] = _ONE_PATIENT

    members = _bins(values, bins)
    squared = _debiased_error(positive, values, members, patients)
    if squared is None:
        reasons["ece"] = (
            f"a bin of the calibration curve holds a single {'patient' if grouped else 'image'}, so the part of chance "
            "in it is unknown; ask for fewer bins"
        )
    return Calibration(
        images=int(positive.size),
        positives=int(positive.sum()),
        patients=int(patients.max()) + 1 if grouped else None,
        clipped=int(np.sum(moved != values)),
        brier=brier,
        brier_scaled=brier_scaled,
        slope=slope[0],
        slope_low=slope[1],
        slope_high=slope[2],
        intercept=intercept[0],
        intercept_low=intercept[1],
        intercept_high=intercept[2],
        ece=None if squared is None else math.sqrt(max(0.0, squared)),
        ece_squared=squared,
        curve=tuple(
            _curve_point(positive[bin_], values[bin_], patients[bin_] if grouped else None, confidence)
            for bin_ in members
        ),
        confidence=confidence,
        reasons=reasons,
    )


@dataclass(frozen=True)
class _LogisticFit:
    """A fitted regression: its last coefficient is the one asked for."""

    coefficients: np.ndarray
    design: np.ndarray
    labels: np.ndarray
    fitted: np.ndarray


def _fit(positive: np.ndarray, design: np.ndarray, offset: np.ndarray) -> _LogisticFit:
    """Maximum likelihood; the caller ensures that a maximum exists."""
    labels = positive.astype(np.float64)

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        line = offset + design @ coefficients
        return float(np.mean(np.logaddexp(0, line) - labels * line)), design.T @ (expit(line) - labels) / labels.size

    def curvature(coefficients: np.ndarray) -> np.ndarray:
        return _information(design, expit(offset + design @ coefficients)) / labels.size

    found = minimize(
        loss, np.zeros(design.shape[1]), jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-12}
    )
    return _LogisticFit(found.x, design, labels, expit(offset + design @ found.x))


def _information(design: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    return (design * (fitted * (1 - fitted))[:, None]).T @ design


def _interval(fit: _LogisticFit, patients: np.ndarray, grouped: bool, quantile: float) -> _Interval:
    """Estimate with Wald limits, from the sandwich if patients have several images.

    The limits are ``None`` if all information comes from one patient.
    """
    covariance = np.linalg.inv(_information(fit.design, fit.fitted))
    if grouped:
        count, size = int(patients.max()) + 1, fit.design.shape[1]
        scores = np.zeros((count, size, 1))
        np.add.at(scores, patients, (fit.design * (fit.labels - fit.fitted)[:, None])[:, :, None])
        shares = np.zeros((count, size, size))
        weighted = fit.design * (fit.fitted * (1 - fit.fitted))[:, None]
        np.add.at(shares, patients, weighted[:, :, None] * fit.design[:, None, :])
        # A patient pulls the fit towards its own images; this correction removes that from the residuals.
        pull = np.eye(size) - shares @ covariance
        if np.linalg.det(pull).min() < _ALONE:
            return float(fit.coefficients[-1]), None, None
        # Summed as squares: the product of three matrices can come out below zero by rounding.
        moves = np.linalg.solve(pull, scores)[:, :, 0] @ covariance[-1]
        variance = float(moves @ moves)
    else:
        variance = float(covariance[-1, -1])
    estimate = float(fit.coefficients[-1])
    reach = quantile * math.sqrt(variance)
    return estimate, estimate - reach, estimate + reach


def _separation(positive: np.ndarray, line: np.ndarray) -> str | None:
    """Why the slope has no finite maximum likelihood estimate (Albert A, Anderson JA, Biometrika 1984;71:1-10)."""
    if np.ptp(line) == 0:
        return "all probabilities are the same"
    with_finding, without = line[positive], line[~positive]
    if with_finding.min() >= without.max():
        return "the probabilities separate the classes perfectly, so the slope has no bound"
    if with_finding.max() <= without.min():
        return "the probabilities separate the classes perfectly in the wrong direction, so the slope has no bound"
    return None


def _bins(values: np.ndarray, bins: int) -> list[np.ndarray]:
    """Members of each bin, from low to high; equal values always share a bin."""
    parts = [part for part in np.array_split(np.sort(values), bins) if part.size]
    edges = np.unique([(low[-1] + high[0]) / 2 for low, high in itertools.pairwise(parts)])
    number = np.searchsorted(edges, values)
    return [np.flatnonzero(number == bin_) for bin_ in np.unique(number)]


def _debiased_error(
    positive: np.ndarray, values: np.ndarray, members: list[np.ndarray], patients: np.ndarray
) -> float | None:
    """Squared calibration error minus the variance of each bin's share of positives, counted over patients."""
    total = 0.0
    for bin_ in members:
        _, unit = np.unique(patients[bin_], return_inverse=True)
        units = int(unit.max()) + 1
        if units < 2:
            return None
        observed = positive[bin_].mean()
        sums = np.bincount(unit, weights=positive[bin_] - observed)
        variance = float(sums @ sums) / bin_.size**2 * units / (units - 1)
        gap = float(values[bin_].mean() - observed)
        total += bin_.size * (gap**2 - variance)
    return total / positive.size


def _curve_point(
    positive: np.ndarray, values: np.ndarray, patients: np.ndarray | None, confidence: float
) -> CalibrationBin:
    observed = (
        wilson(int(positive.sum()), positive.size, confidence)
        if patients is None
        else clustered_wilson(positive, patients, confidence)
    )
    assert observed.estimate is not None
    assert observed.low is not None
    assert observed.high is not None
    return CalibrationBin(float(values.mean()), observed.estimate, observed.low, observed.high, int(positive.size))
