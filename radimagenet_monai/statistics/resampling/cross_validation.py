"""Test of two models on the folds of a cross-validation, which share most of their training data.

Nadeau C, Bengio Y. *Inference for the generalization error.* Machine Learning 2003;52:239-281: the *corrected resampled
t-test*. The usual variance of a mean of ``k`` folds, s^2 / k, assumes independent folds. They are not: any two training
sets overlap. The correction is the variance s^2 (1/k + n_test / n_train), with a t distribution of k - 1 degrees of
freedom.

The correction is a rule of thumb: it assumes a correlation of n_test / (n_test + n_train) between two folds for any
learner. Rate of false positives (nominal 5 %), by simulation with a linear discriminant on two equally good sets of
features (AUC, 1200 to 3000 data sets each, standard error 0.3 to 0.7 points):

====================================== ============== ==============
images, features                       5 folds, once  5 folds, ten times
====================================== ============== ==============
100, 10                                2.4 %          7.1 %
100, 50                                5.2 %
400, 10                                2.0 %
400, 50                                3.1 %          7.7 %
400, 10; one fold chooses the epoch    1.5 %          3.3 %
400, 50; one fold chooses the epoch    3.4 %
====================================== ============== ==============

So a single cross-validation errs on the safe side, and few folds leave little power. Repetitions make the test somewhat
liberal, since 50 differences then count as 49 degrees of freedom. The uncorrected paired t-test claimed a difference in
5 to 13 % of single and in 59 to 65 % of repeated cross-validations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student_t

from radimagenet_monai.core.errors import RadImageNetError

_ROUNDING = 1e-12


@dataclass(frozen=True)
class ResampledTest:
    """Mean difference over folds with its interval and test.

    Attributes
    ----------
    folds
        Number of differences.
    difference
        Mean difference; ``None`` without folds.
    standard_error, low, high
        Standard error and limits of the mean, by the corrected variance; ``None`` if not estimable.
    t, degrees_of_freedom, p
        Two-sided test against 0; ``None`` if not estimable.
    confidence
        Confidence level of the interval.
    reason
        Why something is not estimable; ``None`` if everything is.
    """

    folds: int
    difference: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    t: float | None
    degrees_of_freedom: int | None
    p: float | None
    confidence: float
    reason: str | None = None


def corrected_resampled_test(differences: ArrayLike, test_share: float, confidence: float = 0.95) -> ResampledTest:
    """Test whether two models differ, from their paired difference in each fold.

    Parameters
    ----------
    differences
        ``(k,)`` of one measure, first model minus second on the same test fold after training on the same rest: one per
        fold of a cross-validation, or one per fold and repetition of a repeated one.
    test_share
        Images (or patients) tested divided by those trained on, in a fold: 0.25 for five folds without validation data.
        If a separate fold chooses the epoch, it is not trained on: 1/3 for five folds.
    confidence
        Confidence level of the interval.

    Raises
    ------
    RadImageNetError
        For a wrong shape, a difference that is not finite, a share that is not positive, or a confidence outside (0,
        1).
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1:
        raise RadImageNetError(f"differences have shape {values.shape}; expected one number a fold")
    if not np.isfinite(values).all():
        position = int(np.flatnonzero(~np.isfinite(values))[0])
        raise RadImageNetError(
            f"the difference of fold {position} is {values[position]}; expected finite numbers, leave out folds in "
            "which the measure is not estimable"
        )
    if not (math.isfinite(test_share) and test_share > 0):
        raise RadImageNetError(
            f"test_share {test_share} was given; expected the size of a test fold divided by that of its training data"
        )
    if not 0 < confidence < 1:
        raise RadImageNetError(f"confidence {confidence} was given; expected a share between 0 and 1, such as 0.95")
    folds = int(values.size)
    reason = _not_estimable(values)
    if reason:
        mean = float(values.mean()) if folds else None
        return ResampledTest(folds, mean, None, None, None, None, None, None, confidence, reason)
    mean = float(values.mean())
    error = float(values.std(ddof=1)) * math.sqrt(1 / folds + test_share)
    freedom = folds - 1
    reach = float(student_t.ppf(0.5 + confidence / 2, freedom)) * error
    t = mean / error
    p = float(2 * student_t.sf(abs(t), freedom))
    return ResampledTest(folds, mean, error, mean - reach, mean + reach, t, freedom, p, confidence)


def _not_estimable(values: np.ndarray) -> str | None:
    if values.size < 2:
        return f"{'1 fold' if values.size else 'no fold'} only; the spread over folds needs two or more"
    largest = float(np.abs(values).max())
    if np.ptp(values) > _ROUNDING * max(1.0, largest):
        return None
    if largest <= _ROUNDING:
        return "the models gave the same results in every fold"
    return "the difference is the same in every fold, so its spread is zero"
