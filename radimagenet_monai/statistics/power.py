"""How many patients are needed to show a difference, from the observed variance.

The squared standard error of a mean difference falls as 1 / patients, so a standard error from some number of patients
gives that for any other number. Patients count, not images: more slices of the same patients add less.

The number depends on the test. A test over k folds compares with a t distribution of k - 1 degrees of freedom, however
many patients there are; under a true difference its statistic has a noncentral t distribution. Few folds cost many
patients: compared with a normal test, 4.1 times as many for three folds, 1.8 times for five, 1.3 times for ten.

Ask for a difference that would matter (0.02 of an AUC, say), chosen without looking at the result. The power for the
observed difference says no more than its p-value, and "not significant for want of power" is then no finding (Hoenig
JM, Heisey DM. *The abuse of power.* Am Stat 2001;55:19-24).
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import nct
from scipy.stats import t as student_t

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.proportions import normal_quantile


def patients_needed(
    standard_error: float | None,
    patients: int,
    difference: float,
    power: float = 0.8,
    confidence: float = 0.95,
    degrees_of_freedom: int | None = None,
) -> int | None:
    """Number of similar patients for which a true difference is significant with probability ``power``.

    This is rough: the variance is an estimate, often from few patients, and models trained on more data may differ by
    another amount. Double the number before planning a study on it.

    Parameters
    ----------
    standard_error
        Standard error of a paired difference; ``None`` if not estimable.
    patients
        Number of patients it was estimated from.
    difference
        True difference to detect, in the same unit; its sign does not matter.
    power
        Probability of a significant result.
    confidence
        One minus the two-sided level of the test.
    degrees_of_freedom
        Degrees of freedom of the t test of the difference, ``k - 1`` over k folds; ``None`` for a normal test, such as
        DeLong's.

    Returns
    -------
    int or None
        ``None`` if the standard error is ``None`` or 0, so there is no variance to use.

    Raises
    ------
    RadImageNetError
        For a difference of 0, no patients, a negative standard error, no degrees of freedom, or a power or confidence
        out of range.
    """
    deviates = _deviates(standard_error, patients, power, confidence, degrees_of_freedom)
    if not (math.isfinite(difference) and difference):
        raise RadImageNetError(f"difference {difference} was given; expected one that would matter, such as 0.02")
    if not standard_error:
        return None
    return math.ceil(patients * (deviates * standard_error / difference) ** 2)


def detectable_difference(
    standard_error: float | None,
    patients: int,
    planned: int,
    power: float = 0.8,
    confidence: float = 0.95,
    degrees_of_freedom: int | None = None,
) -> float | None:
    """The smallest true difference that is significant with probability ``power`` for ``planned`` patients.

    Parameters
    ----------
    standard_error, patients, power, confidence, degrees_of_freedom
        As for `patients_needed`.
    planned
        Number of patients of the planned study; ``planned=patients`` gives the result for the data themselves.

    Returns
    -------
    float or None
        Positive; ``None`` if the standard error is ``None`` or 0.

    Raises
    ------
    RadImageNetError
        As for `patients_needed`.
    """
    deviates = _deviates(standard_error, patients, power, confidence, degrees_of_freedom)
    if planned < 1:
        raise RadImageNetError(f"{planned} planned patients were given; expected 1 or more")
    if not standard_error:
        return None
    return deviates * standard_error * math.sqrt(patients / planned)


def _deviates(
    standard_error: float | None, patients: int, power: float, confidence: float, degrees_of_freedom: int | None
) -> float:
    """How many standard errors a true difference must be away from 0."""
    if standard_error is not None and not (math.isfinite(standard_error) and standard_error >= 0):
        raise RadImageNetError(f"standard error {standard_error} was given; expected 0 or more, or None")
    if patients < 1:
        raise RadImageNetError(f"{patients} patients were given; expected 1 or more")
    quantile = normal_quantile(confidence)
    # With no difference at all the test is significant that often, so the power cannot be lower.
    chance = (1 - confidence) / 2
    if not chance < power < 1:
        raise RadImageNetError(f"power {power} was given; expected a share between {chance:g} and 1, such as 0.8")
    if degrees_of_freedom is None:
        return quantile + float(ndtri(power))
    if degrees_of_freedom < 1:
        raise RadImageNetError(
            f"{degrees_of_freedom} degrees of freedom were given; expected 1 or more, which two folds have"
        )
    critical = float(student_t.ppf(0.5 + confidence / 2, degrees_of_freedom))
    # As in R's power.t.test, a significant difference of the wrong sign does not count.
    highest = 1.0
    while nct.sf(critical, degrees_of_freedom, highest) < power:
        highest *= 2
    return float(brentq(lambda away: nct.sf(critical, degrees_of_freedom, away) - power, 0.0, highest, xtol=1e-10))
