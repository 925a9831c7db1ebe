"""Subgroups of a data set by any column of its records table, and tests of differences between subgroups.

Subgroups are for seeing whether a result holds everywhere. A result "significant in women and not in men" proves
nothing: `compare_groups` tests whether the two differ (Altman DG, Bland JM, BMJ 2003;326:219). With ten columns one
will look different by chance; choose the columns beforehand.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import ndtr

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.statistics.proportions import normal_quantile

SMALLEST = 10
"""Patients (images, where patients are unknown) of each class below which a group is too small to be estimated."""

UNKNOWN = "not known"

_MOST_CATEGORIES = 20
_MOST_NUMBERED_CATEGORIES = 5  # up to this many distinct numbers are codes or grades, not a measurement
_IDENTIFYING = ("image", "patient_id", "mask", "sha256", "exam")
_AGE = re.compile(r"(\d{1,3})([DWMY])")  # DICOM value representation AS
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


@dataclass(frozen=True)
class Subgroup:
    """Images with the same value in a column.

    Attributes
    ----------
    column, name
        Column and name of the group: ``"sex"``, ``"F"``.
    selected
        ``(n,)`` booleans over the rows of the table.
    images
        Number of images.
    patients
        Number of patients; ``None`` if one of them is unknown.
    per_class
        Number of images of each class, by class number.
    reason
        Why the group gets no estimates, ``"too small: ..."``; ``None`` if it does.
    """

    column: str
    name: str
    selected: np.ndarray
    images: int
    patients: int | None
    per_class: dict[int, int]
    reason: str | None


def subgroups(
    records: pd.DataFrame,
    column: str,
    labels: ArrayLike | None = None,
    cut_points: Sequence[float] | None = None,
    smallest: int = SMALLEST,
) -> list[Subgroup]:
    """Divide a records table by one of its columns.

    Text gives one group per value. Numbers, and DICOM ages (``054Y``, ``018M``; in years), are cut at the given points,
    otherwise at the tertiles of the images; up to five distinct numbers count as codes or grades and give one group
    each. Empty cells form a separate group, ``"not known"``. Every image is in exactly one group. Small groups are not
    dropped; their ``reason`` says so.

    Parameters
    ----------
    records
        Table of ``n`` rows from `radimagenet_monai.datasets.records.table.read_records`.
    column
        Any column except those that identify a file, an exam or a patient.
    labels
        ``(n,)`` class numbers from 0; every class must reach ``smallest``. ``None`` without labels.
    cut_points
        Increasing numbers, in years for ages: two give three groups; an image at a point belongs to the upper group.
    smallest
        Minimum number of patients (images, if patients are unknown) in each class.

    Raises
    ------
    ConfigurationError
        For a column that is missing, identifying, or has more than 20 distinct texts, and for cut points that do not
        increase or are given for text.
    RadImageNetError
        If labels and records differ in length.
    """
    cells = _cells(records, column)
    classes = np.zeros(len(records), dtype=np.int64) if labels is None else np.asarray(labels).astype(np.int64)
    if classes.shape != (len(records),):
        raise RadImageNetError(f"labels have shape {classes.shape} for {len(records)} records; expected one a record")
    known = cells != ""
    numbers, unit = _numbers(cells[known])
    if numbers is None and cut_points is not None:
        raise ConfigurationError(
            f"cut points were given for column '{column}', which holds text such as '{cells[known].iloc[0]}'; leave "
            "them out"
        )
    if numbers is None or (cut_points is None and np.unique(numbers).size <= _MOST_NUMBERED_CATEGORIES):
        masks = _categories(cells, column, numbers)
    else:
        values = np.full(len(records), np.nan)
        values[known.to_numpy()] = numbers
        masks = _intervals(values, _checked(cut_points, column) if cut_points else _tertiles(numbers), unit)
    if not known.all():
        masks[UNKNOWN] = ~known.to_numpy()
    patients = records["patient_id"].astype(str).to_numpy() if "patient_id" in records.columns else None
    if patients is not None and not (patients != "").any():
        patients = None
    present = np.unique(classes)
    return [_describe(column, name, mask, classes, present, patients, smallest) for name, mask in masks.items()]


@dataclass(frozen=True)
class GroupComparison:
    """A difference in one group minus that in another, with its interval and test against 0.

    All but ``difference`` are ``None``, with a ``reason``, if not estimable.
    """

    difference: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    z: float | None
    p: float | None
    confidence: float
    reason: str | None = None


def compare_groups(
    first: float | None,
    first_error: float | None,
    second: float | None,
    second_error: float | None,
    confidence: float = 0.95,
) -> GroupComparison:
    """Test for interaction: does an effect differ between two groups of different patients?

    Altman DG, Bland JM, BMJ 2003;326:219. The groups must share no patient. The power is low: to show an interaction as
    large as the effect itself takes four times the patients.

    Parameters
    ----------
    first, second
        The effect in each group, such as the AUC of one model minus that of another.
    first_error, second_error
        Their standard errors. ``None`` or 0, here and above: not estimable.
    confidence
        Confidence level of the interval.

    Raises
    ------
    RadImageNetError
        For a number that is not finite, a negative standard error, or a confidence outside (0, 1).
    """
    quantile = normal_quantile(confidence)
    given = (first, first_error, second, second_error)
    if (
        any(value is not None and not math.isfinite(value) for value in given)
        or min(first_error or 0, second_error or 0) < 0
    ):
        raise RadImageNetError(
            f"effects and standard errors {given} were given; expected finite numbers, errors not negative, or None"
        )
    if first is None or second is None:
        return GroupComparison(None, None, None, None, None, None, confidence, "one of the effects is not estimable")
    difference = first - second
    if not first_error or not second_error:
        reason = "one of the effects has no standard error"
        return GroupComparison(difference, None, None, None, None, None, confidence, reason)
    error = math.hypot(first_error, second_error)
    z = difference / error
    return GroupComparison(
        difference,
        error,
        difference - quantile * error,
        difference + quantile * error,
        z,
        float(2 * ndtr(-abs(z))),
        confidence,
    )


def _cells(records: pd.DataFrame, column: str) -> pd.Series:
    """The column as stripped text, ``""`` for an empty cell."""
    if column not in records.columns:
        names = ", ".join(str(name) for name in records.columns if name not in _IDENTIFYING)
        raise ConfigurationError(f"the records table has no column '{column}'; expected one of {names}")
    if column in _IDENTIFYING:
        raise ConfigurationError(f"column '{column}' names single files or patients; choose one that many share")
    return records[column].astype(object).where(records[column].notna(), "").astype(str).str.strip()


def _numbers(cells: pd.Series) -> tuple[np.ndarray | None, str]:
    """Numbers of all cells and their unit; ``None`` if a cell is text."""
    distinct = {cell: _number(cell) for cell in cells.unique()}
    if not distinct or None in distinct.values():
        return None, ""
    ages = any(_AGE.fullmatch(cell) for cell in distinct)
    return cells.map(distinct).to_numpy(dtype=np.float64), " years" if ages else ""


def _number(cell: str) -> float | None:
    age = _AGE.fullmatch(cell)
    if age:
        return int(age[1]) * _YEARS[age[2]]
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _categories(cells: pd.Series, column: str, numbers: np.ndarray | None) -> dict[str, np.ndarray]:
    names = [name for name in cells.unique() if name]
    if len(names) > _MOST_CATEGORIES:
        raise ConfigurationError(
            f"column '{column}' has {len(names)} different texts; expected {_MOST_CATEGORIES} or fewer that many "
            "images share"
        )
    names.sort() if numbers is None else names.sort(key=lambda name: _number(name) or 0.0)
    return {name: (cells == name).to_numpy() for name in names}


def _checked(cut_points: Sequence[float], column: str) -> list[float]:
    points = [float(point) for point in cut_points]
    if not all(math.isfinite(point) for point in points) or points != sorted(set(points)):
        raise ConfigurationError(f"cut points {points} were given for column '{column}'; expected rising numbers")
    return points


def _tertiles(numbers: np.ndarray) -> list[float]:
    """Cut points into three parts as equal as ties allow; a point at the lowest value cuts nothing."""
    points = np.unique(np.quantile(numbers, [1 / 3, 2 / 3], method="higher"))
    return [float(point) for point in points if point > numbers.min()]


def _intervals(values: np.ndarray, points: list[float], unit: str) -> dict[str, np.ndarray]:
    masks = {f"below {points[0]:g}{unit}": values < points[0]}
    for low, high in itertools.pairwise(points):
        masks[f"{low:g} to below {high:g}{unit}"] = (values >= low) & (values < high)
    masks[f"{points[-1]:g}{unit} or more"] = values >= points[-1]
    return masks


def _describe(
    column: str,
    name: str,
    mask: np.ndarray,
    classes: np.ndarray,
    present: np.ndarray,
    patients: np.ndarray | None,
    smallest: int,
) -> Subgroup:
    known = None if patients is None or (patients[mask] == "").any() else patients
    per_class = {int(number): int(np.sum(mask & (classes == number))) for number in present}
    sizes = {
        number: images if known is None else len(set(known[mask & (classes == number)]))
        for number, images in per_class.items()
    }
    fewest = min(sizes.values())
    unit = "images" if known is None else "patients"
    of_class = " of a class" if present.size > 1 else ""
    return Subgroup(
        column=column,
        name=name,
        selected=mask,
        images=int(mask.sum()),
        patients=None if known is None else len(set(known[mask])),
        per_class=per_class,
        reason=None if fewest >= smallest else f"too small: {fewest} {unit}{of_class}, fewer than {smallest}",
    )
