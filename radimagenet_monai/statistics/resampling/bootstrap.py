"""Bootstrap intervals of any statistic of images, by patient and within classes.

Efron B. *Better bootstrap confidence intervals.* J Am Stat Assoc 1987;82:171-185 (BCa). Patients are resampled whole,
with all their images, because images of a patient are not independent (Field CA, Welsh AH, J R Stat Soc B
2007;69:369-390); within strata, so that every sample has the class counts of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.statistics.patient_numbers import number_patients
from radimagenet_monai.statistics.proportions import normal_quantile

# Samples without a value are not missing at random; beyond this share the rest says too little.
_MOST_FAILED = 0.05
_FEWEST_REPEATS = 100
_BLOCK = 2**22

Statistic = Callable[[Mapping[str, np.ndarray]], float | None]
BootstrapMethod = Literal["bca", "percentile"]


@runtime_checkable
class WeightedStatistic(Protocol):
    """A statistic that also computes many samples at once, such as `AucStatistic`."""

    def __call__(self, data: Mapping[str, np.ndarray]) -> float | None: ...

    def weighted(self, data: Mapping[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
        """``(r,)`` values with rows counted by ``(r, n)`` weights; NaN if undefined."""
        ...


@dataclass(frozen=True)
class BootstrapInterval:
    """A statistic with its bootstrap interval.

    Attributes
    ----------
    estimate
        The statistic of the data; ``None`` if undefined.
    low, high, standard_error
        ``None`` if not estimable.
    confidence, method
        Confidence level and method of the interval.
    units
        Number of resampled units: patients, or images if no clusters were given.
    repeats
        Number of samples drawn.
    failed
        Number of samples in which the statistic was undefined; they are excluded.
    reason
        Why something is not estimable; ``None`` if everything is.
    """

    estimate: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    confidence: float
    method: BootstrapMethod
    units: int
    repeats: int
    failed: int
    reason: str | None = None

    @property
    def p(self) -> float | None:
        """Two-sided test of a difference against 0, by ``estimate / standard_error`` as a normal deviate.

        In small samples it keeps its level better than checking whether the interval excludes 0. ``None`` if the
        standard error is not estimable.
        """
        if self.estimate is None or self.standard_error is None:
            return None
        return float(2 * ndtr(-abs(self.estimate / self.standard_error)))


def bootstrap_interval(
    statistic: Statistic | WeightedStatistic,
    data: Mapping[str, np.ndarray],
    *,
    clusters: Sequence[Any] | np.ndarray | None = None,
    strata: ArrayLike | None = None,
    repeats: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
    method: BootstrapMethod = "bca",
) -> BootstrapInterval:
    """Interval of a statistic from samples drawn with replacement.

    Parameters
    ----------
    statistic
        Takes columns by name and returns a number, or ``None`` or NaN if undefined. A paired difference takes the
        columns of both models. A statistic with a method ``weighted`` (`AucStatistic`) is computed for many samples at
        once. The order of rows must not matter.
    data
        Column name to ``(n, ...)`` array.
    clusters
        ``(n,)`` patients, drawn whole; an unknown one (``None``, empty text, NaN) counts as a separate patient.
        ``None`` draws images instead.
    strata
        ``(n,)`` values, usually the labels. Samples hold as many images of each value as the data. With clusters,
        patients are drawn among those whose images have the same set of values.
    repeats
        Number of samples, at least 100; 2000 for a 95 % interval (Efron and Tibshirani 1993).
    confidence
        Confidence level of the interval.
    seed
        Seed of the bootstrap samples.
    method
        ``"bca"`` corrects for bias and skewness by a jackknife over patients or images, which calls the statistic once
        for each; ``"percentile"`` takes the quantiles as they are.

    Raises
    ------
    RadImageNetError
        If columns, clusters or strata differ in length, or there are no rows.
    ConfigurationError
        For an unknown method or too few repeats.
    """
    rows = _check(data, repeats, method)
    sampler = _Sampler.of(rows, clusters, strata)
    tail = ndtr(-normal_quantile(confidence))
    generator = np.random.default_rng(seed)
    failed = 0

    def result(reason: str | None, *found: float | None) -> BootstrapInterval:
        low, high, error = found or (None, None, None)
        units = sampler.stratum.size
        return BootstrapInterval(estimate, low, high, error, confidence, method, units, repeats, failed, reason)

    estimate = _defined(statistic(data))
    if estimate is None:
        return result("the statistic is undefined for these data")
    step = max(1, _BLOCK // rows)
    sizes = [min(step, repeats - first) for first in range(0, repeats, step)]
    values = np.concatenate([_values(statistic, data, sampler.draw(size, generator)) for size in sizes])
    failed = int(np.isnan(values).sum())
    if failed > _MOST_FAILED * repeats:
        return result(f"the statistic is undefined in {failed} of {repeats} bootstrap samples")
    values = values[~np.isnan(values)]
    if not np.ptp(values):
        return result("all bootstrap samples give the same value")
    error = float(np.std(values, ddof=1))
    quantiles = np.array([tail, 1 - tail])
    if method == "bca":
        shift = ndtri((np.mean(values < estimate) + np.mean(values <= estimate)) / 2)
        if not np.isfinite(shift):
            side = "above" if shift < 0 else "below"
            return result(f"all bootstrap samples lie {side} the estimate, so BCa has no bias correction")
        acceleration = _acceleration(statistic, data, sampler)
        if acceleration is None:
            return result("the statistic is undefined without one of the patients or images, which BCa needs")
        shifted = shift + ndtri(quantiles)
        if (acceleration * shifted >= 1).any():
            return result("the bootstrap samples are too skewed for BCa; use more patients or the percentile method")
        quantiles = ndtr(shift + shifted / (1 - acceleration * shifted))
    low, high = np.quantile(values, quantiles).tolist()
    return result(None, low, high, error)


def resample_rows(units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Row numbers of one bootstrap sample, for statistics that need the rows themselves.

    Parameters
    ----------
    units
        ``(n,)`` patient of each row, from 0 without gaps; as many patients as there are are drawn, with all their rows.
    rng
        Random numbers.
    """
    order = np.argsort(units, kind="stable")
    count = int(units.max()) + 1
    ends = np.searchsorted(units[order], np.arange(count + 1))
    return np.concatenate([order[ends[unit] : ends[unit + 1]] for unit in rng.integers(count, size=count)])


@dataclass(frozen=True)
class _Sampler:
    """``unit_of_row[i]`` is the unit, patient or image, of row i; ``stratum[u]`` the stratum of unit u."""

    unit_of_row: np.ndarray
    stratum: np.ndarray

    @classmethod
    def of(cls, rows: int, clusters: Sequence[Any] | np.ndarray | None, strata: ArrayLike | None) -> _Sampler:
        units = np.arange(rows) if clusters is None else number_patients(clusters, rows)
        if strata is None:
            return cls(units, np.zeros(int(units.max()) + 1, dtype=np.intp))
        given = np.asarray(strata)
        if given.shape != (rows,):
            raise RadImageNetError(f"strata have shape {given.shape} for {rows} rows; expected one value a row")
        values, codes = np.unique(given, return_inverse=True)
        present = np.zeros((int(units.max()) + 1, values.size), dtype=bool)
        present[units, codes] = True
        return cls(units, np.unique(present, axis=0, return_inverse=True)[1])

    def draw(self, repeats: int, generator: np.random.Generator) -> np.ndarray:
        """``(repeats, n)`` counts of each row in each sample."""
        counts = np.empty((repeats, self.stratum.size), dtype=np.int64)
        for stratum in range(int(self.stratum.max()) + 1):
            members = np.flatnonzero(self.stratum == stratum)
            drawn = generator.integers(0, members.size, (repeats, members.size))
            drawn += members.size * np.arange(repeats)[:, None]
            counts[:, members] = np.bincount(drawn.ravel(), minlength=repeats * members.size).reshape(repeats, -1)
        return counts[:, self.unit_of_row]


def _values(
    statistic: Statistic | WeightedStatistic, data: Mapping[str, np.ndarray], weights: np.ndarray
) -> np.ndarray:
    """``(r,)`` values of samples with rows counted by ``(r, n)`` weights; NaN if undefined."""
    if isinstance(statistic, WeightedStatistic):
        return statistic.weighted(data, weights)
    values = []
    for counts in weights:
        chosen = np.repeat(np.arange(counts.size), counts)
        value = _defined(statistic({name: np.asarray(column)[chosen] for name, column in data.items()}))
        values.append(np.nan if value is None else value)
    return np.array(values)


def _acceleration(
    statistic: Statistic | WeightedStatistic, data: Mapping[str, np.ndarray], sampler: _Sampler
) -> float | None:
    """Efron's acceleration from a jackknife over units, for several strata as in Efron and Tibshirani 1993, eq. 15.36.

    ``None`` if the statistic is undefined for one of its samples.
    """
    cubes = squares = 0.0
    for stratum in range(int(sampler.stratum.max()) + 1):
        members = np.flatnonzero(sampler.stratum == stratum)
        if members.size < 2:
            continue
        step = max(1, _BLOCK // sampler.unit_of_row.size)
        left = [
            _values(statistic, data, (sampler.unit_of_row != members[first : first + step, None]).astype(np.int64))
            for first in range(0, members.size, step)
        ]
        values = np.concatenate(left)
        if np.isnan(values).any():
            return None
        influence = (members.size - 1) * (values.mean() - values) / members.size
        cubes += float(np.sum(influence**3))
        squares += float(np.sum(influence**2))
    return cubes / (6 * squares**1.5) if squares else 0.0


def _check(data: Mapping[str, np.ndarray], repeats: int, method: str) -> int:
    if method not in ("bca", "percentile"):
        raise ConfigurationError(f"bootstrap method '{method}' was given; expected 'bca' or 'percentile'")
    if repeats < _FEWEST_REPEATS:
        raise ConfigurationError(f"{repeats} bootstrap samples were asked for; expected {_FEWEST_REPEATS} or more")
    lengths = {name: len(column) for name, column in data.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        given = ", ".join(f"{name} {length}" for name, length in lengths.items()) or "none"
        raise RadImageNetError(f"columns of these lengths were given: {given}; expected one length above 0")
    return next(iter(lengths.values()))


def _defined(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
