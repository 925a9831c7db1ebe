"""What a comparison found, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radimagenet_monai.report.wording import grouped, interval, p_value, signed

LEVEL = 0.05
_ALL = "all"


def sentences(analysis: Mapping[str, Any]) -> list[str]:
    """One or two sentences a pair of initializations: what is better, by how much, how sure, or what it would take.

    Parameters
    ----------
    analysis
        Content of ``analysis.json``. Of several architectures the pooled difference is put into words, else the one.
    """
    largest = max(analysis["protocol"]["fractions"])
    rows = [row for row in analysis["differences"] if row["fraction"] == largest]
    pooled = [row for row in rows if row["architecture"] == _ALL]
    return [_sentence(row, analysis) for row in pooled or rows] or [
        "No two initializations have a finished run in common, so nothing can be said."
    ]


def verdict(row: Mapping[str, Any]) -> str:
    """``"first"`` or ``"second"`` for the better one, ``"same"``, ``"cannot tell"`` or ``"not estimable"``."""
    if row["difference"] is None:
        return "not estimable"
    p = row.get("p_adjusted", row["p"])
    if p is None:
        return "same" if row["difference"] == 0 else "not estimable"
    if p >= LEVEL:
        return "cannot tell"
    return "first" if row["difference"] > 0 else "second"


def _sentence(row: Mapping[str, Any], analysis: Mapping[str, Any]) -> str:
    measure, architecture = analysis["measure"], row["architecture"]
    first, second = row["first"], row["second"]
    where = "Over all architectures" if architecture == _ALL else f"With {architecture}"
    found = verdict(row)
    if found == "not estimable":
        return f"{where}, {first} and {second} cannot be compared: {row['reason']}."
    if found == "same":
        return f"{where}, {first} and {second} gave the same results: {row['reason']}."
    if found == "second":
        first, second = second, first
    numbers = _numbers(row, found)
    values = (f"{row['means'][name]:.3f}" for name in (first, second))
    stated = f"mean {measure} {' against '.join(values)}"
    if found == "cannot tell":
        text = f"{where}, these data cannot tell {first} from {second} ({stated}): difference {numbers}."
        return f"{text}{_of_test_sets(row)}{_needed(row, analysis)}"
    return f"{where}, {first} is better than {second} ({stated}): difference {numbers}.{_of_test_sets(row)}"


def _numbers(row: Mapping[str, Any], found: str) -> str:
    sign = -1 if found == "second" else 1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    adjusted = row.get("p_adjusted")
    several = adjusted is not None and adjusted != row["p"]
    p = p_value(adjusted if several else row["p"])
    return (
        f"{signed(sign * row['difference'])} ({interval(low, high)}; {p}"
        f"{', adjusted for the number of comparisons' if several else ''})"
    )


def _of_test_sets(row: Mapping[str, Any]) -> str:
    """Where the two questions have two answers, both are told."""
    tests = row["test_sets"]
    if tests["p"] is None or row["method"] == tests["method"] or (tests["p"] < LEVEL) == (row["p"] < LEVEL):
        return ""
    if tests["p"] < LEVEL:
        return (
            f" The models trained here do differ on the test patients ({p_value(tests['p'])}), but that varies from "
            "training to training."
        )
    return f" On the test patients alone the trained models cannot be told apart ({p_value(tests['p'])})."


def _needed(row: Mapping[str, Any], analysis: Mapping[str, Any]) -> str:
    for entry in analysis["power"]:
        same = all(entry[name] == row[name] for name in ("architecture", "first", "second"))
        if same and entry["patients"] is not None:
            wanted, have = entry["patients"], entry["have"]
            unit = "patients" if analysis["data"]["patients"] else "images"
            if wanted <= have:
                return f" A true difference of {entry['difference']} would most likely have been seen."
            return (
                f" To tell a true difference of {entry['difference']} with 80% power about {grouped(_rounded(wanted))} "
                f"{unit} would be needed; there are {grouped(have)}."
            )
    return ""


def _rounded(number: int) -> int:
    """To two digits, as sure as such a number is."""
    digits = max(0, len(str(number)) - 2)
    return round(number, -digits)
