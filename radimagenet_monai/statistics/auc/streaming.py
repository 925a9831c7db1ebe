"""Areas under ROC curves from histograms: bounded memory for any number of images, with a bound on the binning error.

A probability goes into a bin by its odds, read from the bits of the float32 number: the bin is a monotone function of
it, the same on every machine, and image counts can be added in any order. Images in one bin count as ties. The AUC of
the binned probabilities is exact, with the interval of DeLong 1988; how far it can be from the AUC of the probabilities
themselves follows from the number of pairs that share a bin.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from radimagenet_monai.statistics.auc.inference import AucEstimate, estimate_with_interval

SCORE_BINS = 2**14
"""Bins of the odds: 256 to a doubling, about 0.003 on the scale of the log-odds, from 2^-41 to 2^24."""

_PARTS = 8  # mantissa bits kept: 256 bins per doubling
_SHIFT = 23 - _PARTS
_LOWEST = (127 - 41) << _PARTS  # probabilities below 2^-41 share the first bin
_HIGHEST = (127 - 24) << _PARTS  # float32 has no value between 1 - 2^-24 and 1


@dataclass(frozen=True)
class BinnedAuc:
    """An AUC computed from a histogram.

    Attributes
    ----------
    estimate
        AUC of the binned probabilities, with its interval on the logit scale.
    bound
        Largest possible distance of the exact AUC from ``estimate.auc``; ``None`` without an AUC.
    """

    estimate: AucEstimate
    bound: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields of the estimate and the bound side by side, for JSON."""
        return {**asdict(self.estimate), "bound": self.bound}


def score_bins(probabilities: np.ndarray) -> np.ndarray:
    """The bin of each probability.

    Parameters
    ----------
    probabilities
        In [0, 1], of any shape; rounded to float32.

    Returns
    -------
    numpy.ndarray
        int32 of the same shape, from 0 to ``SCORE_BINS - 1``, nondecreasing in the probability.
    """
    values = np.ascontiguousarray(probabilities, dtype=np.float32)
    # The bits of a positive float32 number, read as an integer, grow with it: exponent first, then mantissa.
    low = (values.view(np.int32) >> _SHIFT) - _LOWEST
    high = ((np.float32(1) - values).view(np.int32) >> _SHIFT) - _HIGHEST
    return np.where(values < 0.5, np.maximum(low, 0), SCORE_BINS - 2 - np.maximum(high, -1))


def infer_binned_auc(positives: np.ndarray, negatives: np.ndarray, confidence: float = 0.95) -> BinnedAuc:
    """AUC of a histogram with the interval of independent images.

    Parameters
    ----------
    positives, negatives
        ``(bins,)`` integers: numbers of images of the class, and of all others, in each bin, from low to high
        probability.
    confidence
        Confidence level of the interval.
    """
    number, others = int(positives.sum()), int(negatives.sum())
    if not number or not others:
        absent = f"all images are {'positive' if number else 'negative'}"
        return BinnedAuc(estimate_with_interval(None, None, number, others, confidence, reason=absent), None)
    # Halves of whole numbers below 2^53 are exact.
    below = np.cumsum(negatives) - negatives / 2
    above = number - np.cumsum(positives) + positives / 2
    auc = float(positives @ below) / (number * others)
    bound = float(positives @ negatives.astype(np.float64)) / (2 * number * others)
    reason = _why_no_variance(number, others, positives, negatives, below, above)
    error = None
    if reason is None:
        variance = _variance(positives, below / others - auc) + _variance(negatives, above / number - auc)
        error = float(np.sqrt(variance))
    return BinnedAuc(estimate_with_interval(auc, error, number, others, confidence, reason=reason), bound)


def _variance(images: np.ndarray, deviations: np.ndarray) -> float:
    """Variance of the mean of the structural components."""
    number = int(images.sum())
    return float(images @ deviations**2) / (number - 1) / number


def _why_no_variance(
    number: int, others: int, positives: np.ndarray, negatives: np.ndarray, below: np.ndarray, above: np.ndarray
) -> str | None:
    for name, count in (("positive", number), ("negative", others)):
        if count < 2:
            return f"only one image is {name}"
    if np.ptp(below[positives > 0]) or np.ptp(above[negatives > 0]):
        return None
    if np.count_nonzero(positives + negatives) == 1:
        # Only bins, not probabilities, are known to be equal.
        return "all probabilities are equal or nearly so, so the variance is zero"
    wrong = "" if below[positives > 0][0] else " in the wrong direction"
    return f"the classes are perfectly separated{wrong}, so the variance is zero"
