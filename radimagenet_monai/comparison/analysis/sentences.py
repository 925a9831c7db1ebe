"""The results of a comparison in plain words.

With folds, sentences are about the initializations. One split trains each of them once, so its sentences are about the
trained models. If too few patients were tested, a sentence says only that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radimagenet_monai.report.comparison.rows import ALL, speaks_of_models
from radimagenet_monai.report.wording import count, grouped, interval, number, p_value, signed

LEVEL = 0.05


def sentences(analysis: Mapping[str, Any]) -> list[str]:
    """One or two sentences per pair of initializations: which is better, by how much, how sure, or what it would take.

    Parameters
    ----------
    analysis
        Content of ``analysis.json``. With several architectures, the sentences describe the pooled difference.
    """
    largest = max(analysis["protocol"]["fractions"])
    rows = [row for row in analysis["differences"] if row["fraction"] == largest]
    pooled = [row for row in rows if row["architecture"] == ALL]
    return [_sentence(row, analysis) for row in pooled or rows] or [
        "No two initializations have a finished run in common, so nothing can be said."
    ]


def verdict(row: Mapping[str, Any]) -> str:
    """``"first"`` or ``"second"`` is better, ``"same"``, ``"cannot tell"``, ``"too few"`` or ``"not estimable"``."""
    if row.get("too_few"):
        return "too few"
    if row["difference"] is None:
        return "not estimable"
    p = row.get("p_adjusted", row["p"])
    if p is None:
        return "same" if row["difference"] == 0 else "not estimable"
    if p >= LEVEL:
        return "cannot tell"
    return "first" if row["difference"] > 0 else "second"


def _sentence(row: Mapping[str, Any], analysis: Mapping[str, Any]) -> str:
    architecture, models = row["architecture"], speaks_of_models(analysis)
    first, second = (_named(row, name, models) for name in ("first", "second"))
    where = "Over all architectures" if architecture == ALL else f"With {architecture}"
    found = verdict(row)
    if found == "too few":
        why = f"{row['too_few']}{_described(row, analysis)}"
        return f"{where}, too few were tested to compare {first} with {second}: {why}."
    if found == "not estimable":
        return f"{where}, {first} and {second} cannot be compared: {row['reason']}."
    if found == "same":
        return f"{where}, {first} and {second} gave the same results: {row['reason']}."
    if found == "second":
        first, second = second, first
    stated = _measured(row, analysis, swapped=found == "second")
    numbers = _numbers(row, found)
    tested = f"the {count(row['tested']['total'], row['tested']['unit'])} of the test part"
    if found == "cannot tell":
        data = tested if models else "these data"
        text = f"{where}, {data} cannot tell {first} from {second} ({stated}): difference {numbers}."
        return f"{text}{_of_test_sets(row)}{_needed(row, analysis)}{_about_models(row, models)}"
    if models:
        has = "have" if _several(row) else "has"
        text = (
            f"{where}, on {tested}, {first} {has} a higher {analysis['measure']} than {second} ({stated}): difference"
        )
        return f"{text} {numbers}.{_about_models(row, models)}"
    return f"{where}, {first} is better than {second} ({stated}): difference {numbers}.{_of_test_sets(row)}"


def _named(row: Mapping[str, Any], side: str, models: bool) -> str:
    return f"the {'models' if _several(row) else 'model'} started from {row[side]}" if models else str(row[side])


def _several(row: Mapping[str, Any]) -> bool:
    """Whether each side is the mean of several models."""
    return len(row["per_scenario"]) > 1


def _about_models(row: Mapping[str, Any], models: bool) -> str:
    if not models:
        return ""
    which = "these models" if _several(row) else "these two models"
    return f" This is about {which} alone: one split does not show how results vary from training to training."


def _measured(row: Mapping[str, Any], analysis: Mapping[str, Any], swapped: bool = False) -> str:
    """``mean AUC 0.809 against 0.808``."""
    alone = speaks_of_models(analysis) and not _several(row)
    names = (row["second"], row["first"]) if swapped else (row["first"], row["second"])
    values = " against ".join(number(row["means"][name]) for name in names)
    return f"{'' if alone else 'mean '}{analysis['measure']} {values}"


def _described(row: Mapping[str, Any], analysis: Mapping[str, Any]) -> str:
    """The difference without an interpretation."""
    if row["difference"] is None or not row["means"]:
        return ""
    return f" ({_measured(row, analysis)}, difference {signed(row['difference'])})"


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
    """A sentence for the case that the two questions have different answers."""
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
    models = speaks_of_models(analysis)
    between = " between these models" if models else ""
    for entry in analysis["power"]:
        same = all(entry[name] == row[name] for name in ("architecture", "first", "second"))
        if same and entry["patients"] is not None:
            wanted, have = entry["patients"], entry["have"]
            if wanted <= have:
                return f" A true difference of {entry['difference']}{between} would most likely have been seen."
            return (
                f" To tell a true difference of {entry['difference']}{between} with 80% power about "
                f"{grouped(_rounded(wanted))} {'test ' if models else ''}{entry['unit']}s would be needed; there are "
                f"{grouped(have)}."
            )
    return ""


def _rounded(number: int) -> int:
    """Rounded to two digits, the precision of such a number."""
    digits = max(0, len(str(number)) - 2)
    return round(number, -digits)
