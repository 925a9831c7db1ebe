"""Compare two models on the same images by the mean of a measure per image, such as Dice.

The interval comes from a bootstrap over patients (`bootstrap_interval`), the p-value from exchanging the two models
within patients: if they were equal, a patient's difference could just as well have the other sign (Fisher RA. *The
design of experiments.* 1935; Good P. *Permutation, parametric and bootstrap tests of hypotheses.* 2005). Neither
assumes a normal distribution: Dice is skewed and HD95 has long tails.

Both apply to these two trained models on patients like these. Retraining gives different models; see
`radimagenet_monai.statistics.resampling.cross_validation`. Fewer than six patients cannot give p < 0.05. In simulations
with four images per patient, 95 % intervals from 10, 20, 40 and 100 patients covered the true value in 89, 91, 94 and
96 % (1000 data sets each).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import permutation_test

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.patient_numbers import number_patients
from radimagenet_monai.statistics.resampling.bootstrap import bootstrap_interval

_EXACT = 2**12
_SIGNS_AT_ONCE = 256


@dataclass(frozen=True)
class CaseComparison:
    """Mean over images of the first model's measure minus the second's.

    Attributes
    ----------
    cases, patients
        Numbers of compared images and of their patients.
    left_out
        Number of images excluded because the measure is undefined for a model.
    first, second, difference
        Means over images; ``None`` without images.
    low, high, standard_error
        Limits and standard error of the difference, by bootstrap; ``None`` if not estimable.
    p
        Two-sided; ``None`` if not estimable.
    exact
        Whether all exchanges of models were enumerated (up to 12 patients) or only a sample.
    confidence
        Confidence level of the interval.
    reason
        Why something is not estimable; ``None`` if everything is.
    """

    cases: int
    patients: int
    left_out: int
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    p: float | None
    exact: bool
    confidence: float
    reason: str | None = None


def compare_cases(
    first: Sequence[float | None] | np.ndarray,
    second: Sequence[float | None] | np.ndarray,
    clusters: Sequence[Any] | np.ndarray | None = None,
    confidence: float = 0.95,
    repeats: int = 2000,
    seed: int = 0,
) -> CaseComparison:
    """Compare a measure of two models image by image.

    Parameters
    ----------
    first, second
        ``(n,)`` values such as Dice, IoU, HD95 or NSD of the same images. ``None`` and NaN are undefined, as for an
        image without a lesion; an image without a value for either model is excluded.
    clusters
        ``(n,)`` patient ids, ``None`` and empty text for unknown; by default each image is a separate patient.
    confidence
        Confidence level of the interval.
    repeats
        Number of bootstrap samples, and of exchanges of the models if there are too many to enumerate.
    seed
        Seed of both.

    Raises
    ------
    RadImageNetError
        For arrays of different lengths, an infinite value, or a confidence outside (0, 1).
    ConfigurationError
        For too few repeats.
    """
    values = np.array([first, second], dtype=np.float64) if len(first) == len(second) else None
    if values is None or values.ndim != 2:
        raise RadImageNetError(
            f"{len(first)} and {len(second)} values were given; expected one number of each model an image"
        )
    if np.isinf(values).any():
        raise RadImageNetError("an infinite value was given; expected finite numbers, or None where not defined")
    numbers = number_patients(clusters, values.shape[1])
    known = ~np.isnan(values).any(axis=0)
    left_out = int((~known).sum())
    if not known.any():
        absent = "the measure is defined for no image"
        return CaseComparison(0, 0, left_out, None, None, None, None, None, None, None, False, confidence, absent)
    one, other = values[:, known]
    difference = one - other
    _, patients = np.unique(numbers[known], return_inverse=True)
    count = int(patients.max()) + 1
    interval = bootstrap_interval(
        _Mean(), {"difference": difference}, clusters=patients, repeats=repeats, confidence=confidence, seed=seed
    )
    exact = 2**count <= _EXACT
    p = None
    reason = interval.reason
    if count < 2:
        reason = "there is one patient only"
    elif not difference.any():
        reason = "the models gave the same results in every image"
    else:
        p = _exchange(np.bincount(patients, weights=difference), exact, repeats, seed)
    return CaseComparison(
        cases=int(difference.size),
        patients=count,
        left_out=left_out,
        first=float(one.mean()),
        second=float(other.mean()),
        difference=float(difference.mean()),
        low=interval.low,
        high=interval.high,
        standard_error=interval.standard_error,
        p=p,
        exact=exact,
        confidence=confidence,
        reason=reason,
    )


class _Mean:
    """The mean difference of the data or of many bootstrap samples at once."""

    def __call__(self, data: Mapping[str, np.ndarray]) -> float:
        return float(data["difference"].mean())

    def weighted(self, data: Mapping[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
        return weights @ data["difference"] / weights.sum(axis=1)


def _exchange(sums: np.ndarray, exact: bool, repeats: int, seed: int) -> float:
    """Two-sided p of the sum of the patients' differences when their signs are exchanged."""
    found = permutation_test(
        (sums,),
        lambda signed, axis: signed.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_EXACT if exact else repeats,
        batch=_SIGNS_AT_ONCE,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)
