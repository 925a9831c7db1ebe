"""Selection of an analysis's rows for a section, and the text of their cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radimagenet_monai.report.wording import NOT_ESTIMABLE, number, signed, with_interval

ALL = "all"
"""As an architecture: the mean over all of them."""

Analysis = Mapping[str, Any]
"""What ``analysis.json`` holds."""


def speaks_of_models(analysis: Analysis) -> bool:
    """Whether results are only about the trained models: one split trains each initialization once."""
    return bool(analysis["protocol"]["folds"] == 1)


def main_rows(analysis: Analysis, key: str) -> list[Mapping[str, Any]]:
    """Rows over all architectures, trained on the full training set; those of the only architecture if there is one."""
    full = [item for item in analysis[key] if item["fraction"] == largest_fraction(analysis)]
    places = [item["architecture"] for item in full]
    place = ALL if ALL in places else next(iter(places), None)
    return [item for item in full if item["architecture"] == place]


def largest_fraction(analysis: Analysis) -> float:
    """The share that counts as the full training set."""
    return max(analysis["protocol"]["fractions"])


def several_fractions(analysis: Analysis) -> bool:
    """Whether there is a learning curve to show."""
    return len(analysis["protocol"]["fractions"]) > 1 and bool(analysis["learning_curve"])


def place_name(architecture: str) -> str:
    """Name of an architecture, or of the mean over all."""
    return "all architectures" if architecture == ALL else architecture


def pair_name(item: Mapping[str, Any]) -> str:
    """``first − second``, in the order of the difference."""
    return f"{item['first']} − {item['second']}"


def difference_cell(item: Mapping[str, Any]) -> str:
    """``+0.034 (0.012, 0.056)``, for columns whose heading names the interval."""
    if item["difference"] is None:
        return with_interval(item, "difference")
    if item["low"] is None or item["high"] is None:
        return f"{signed(item['difference'])} (interval {NOT_ESTIMABLE})"
    return f"{signed(item['difference'])} ({number(item['low'])}, {number(item['high'])})"


def value_cell(item: Mapping[str, Any] | None, name: str = "estimate", digits: int = 3) -> str:
    """``0.912 (0.861, 0.948)``, for columns whose heading names the interval; empty without a value."""
    if not item:
        return ""
    low, high = item.get("low"), item.get("high")
    if item.get(name) is None or low is None or high is None:
        return number(item.get(name), digits)
    return f"{number(item[name], digits)} ({number(low, digits)}, {number(high, digits)})"


def bounded_cell(values: Mapping[str, Any], measure: str) -> str:
    """A value with its bounds from ``NAME_low`` and ``NAME_high``."""
    found = {"estimate": values[measure], "low": values[f"{measure}_low"], "high": values[f"{measure}_high"]}
    return value_cell(found, digits=2)


def fold_cell(run: Mapping[str, Any]) -> str:
    """A run's fold."""
    return "own split" if run["fold"] is None else str(run["fold"])
