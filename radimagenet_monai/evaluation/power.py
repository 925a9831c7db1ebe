"""How many patients would show a difference, from the variance that was seen.

The squared standard error of a mean difference falls as 1 / patients, so a standard error seen with some patients tells
that of any other number. Patients count, not images: more slices of the same patients tell less.

The number is that of the test in use. A test over k folds compares with a t distribution of k - 1 degrees of freedom,
however many patients there are; under a true difference its statistic has a noncentral t distribution. Few folds cost
many patients: against a normal test 4.1 times as many for three folds, 1.8 times for five, 1.3 times for ten.

Ask for a difference that would matter (0.02 of an AUC, say), decided without looking at the result. The power for the
difference just observed tells no more than its p-value, and "not significant for want of power" is then no finding
(Hoenig JM, Heisey DM. *The abuse of power.* Am Stat 2001;55:19-24).
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import nct
from scipy.stats import t as student_t

from radimagenet_monai.errors import RadImageNetError
from radimagenet_monai.evaluation.proportions import normal_quantile


def patients_needed(
    standard_error: float | None,
    patients: int,
    difference: float,
    power: float = 0.8,
    confidence: float = 0.95,
    degrees_of_freedom: int | None = None,
) -> int | None:
    """Patients of the same kind with whom a true difference is found significant with a chance of ``power``.

    A rough answer: the variance is an estimate, often from few patients, and models trained on more data may differ
    otherwise. Double the number before planning a study on it.

    Parameters
    ----------
    standard_error
        Of a paired difference; ``None`` where it was not estimable.
    patients
        With whom it was seen.
    difference
        The true difference to be found, in the same unit; its sign does not matter.
    power
        Chance of a significant result.
    confidence
        One minus the two-sided level of the test.
    degrees_of_freedom
        Of the t test that the difference is tested by, ``k - 1`` over k folds; ``None`` for a normal test, such as
        DeLong's.

    Returns
    -------
    int or None
        ``None`` where the standard error is ``None`` or 0, so that there is no variance to go by.

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
    """The smallest true difference that ``planned`` patients show significant with a chance of ``power``.

    Parameters
    ----------
    standard_error, patients, power, confidence, degrees_of_freedom
        As for `patients_needed`.
    planned
        Patients of the study in question; that of the data themselves with ``planned=patients``.

    Returns
    -------
    float or None
        Positive; ``None`` where the standard error is ``None`` or 0.

    Raises
    ------
    RadImageNetError
        As `patients_needed` does.
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
    # A test of no difference at all is significant that often; less cannot be asked for.
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
    # As power.t.test of R has it, a significant difference of the wrong sign does not count.
    highest = 1.0
    while nct.sf(critical, degrees_of_freedom, highest) < power:
        highest *= 2
    return float(brentq(lambda away: nct.sf(critical, degrees_of_freedom, away) - power, 0.0, highest, xtol=1e-10))
