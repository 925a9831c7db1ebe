"""The two-class sections of a comparison's page: ROC, calibration, decision curves, operating points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from radimagenet_monai.report.comparison.figures import calibration_picture, decision_picture, roc_picture
from radimagenet_monai.report.comparison.rows import (
    Analysis,
    bounded_cell,
    largest_fraction,
    speaks_of_models,
    value_cell,
)
from radimagenet_monai.report.page import Section, Table
from radimagenet_monai.report.wording import number

Pooled = Mapping[tuple[str, str], Mapping[str, Any]]
"""Architecture and initialization to what was computed from all its test images."""


def curve_sections(analysis: Analysis) -> list[Section]:
    """Sections for results from all test images; empty without such results, as for more than two classes."""
    pooled = {
        (item["architecture"], item["initialization"]): item["pooled"]
        for item in analysis["performance"]
        if item.get("pooled") and item["fraction"] == largest_fraction(analysis)
    }
    if not pooled:
        return []
    models = speaks_of_models(analysis)
    sections = [_roc(pooled, models), _calibration(pooled, models), _decisions(pooled), _operating_points(pooled)]
    return [section for section in sections if section.tables or section.pictures]


def _roc(pooled: Pooled, models: bool) -> Section:
    methods = "; ".join(dict.fromkeys(item["method"] for item in pooled.values()))
    reasons = dict.fromkeys(item["auc"].get("reason") for item in pooled.values())
    tested = (
        "on the test part."
        if models
        else "on the test sets of all folds. AUC, curve and average precision are means over folds, since scores of "
        "different models have no common scale."
    )
    return Section(
        "ROC curves",
        [
            f"Of the scenario that validation data chose, {tested} Intervals: {methods}.",
            *(f"Not estimable: {reason}." for reason in reasons if reason),
        ],
        tables=[
            Table(
                "AUC and average precision",
                ["architecture", "initialization", "scenario", "AUC (95% CI)", "average precision"],
                [
                    [
                        place,
                        name,
                        item.get("scenario", "all"),
                        value_cell(item["auc"], "auc"),
                        number(item["average_precision"]),
                    ]
                    for (place, name), item in pooled.items()
                ],
            )
        ],
        pictures=[roc_picture(found, f"{place}.") for place, found in _by_architecture(pooled, "roc")],
    )


def _calibration(pooled: Pooled, models: bool) -> Section:
    rows = [
        [
            place,
            name,
            *(bounded_cell(item["calibration"], measure) for measure in ("slope", "intercept")),
            number(item["calibration"]["brier"]),
            number(item["calibration"]["ece"]),
        ]
        for (place, name), item in pooled.items()
        if item.get("calibration")
    ]
    reasons = dict.fromkeys(
        reason for item in pooled.values() for reason in ((item.get("calibration") or {}).get("reasons") or {}).items()
    )
    return Section(
        "Calibration",
        [
            f"Of the test images{'' if models else ' of all folds together'}. Perfect are slope 1 and intercept 0. A "
            "slope below 1 means predictions that are too extreme; an intercept above 0, risks that are underestimated "
            "on average.",
            *(f"Not estimable, {what}: {why}." for what, why in reasons),
        ],
        tables=_table(
            "Calibration of each model",
            [
                *("architecture", "initialization", "slope (95% CI)", "intercept (95% CI)"),
                *("Brier score", "calibration error, debiased"),
            ],
            rows,
        ),
        pictures=[
            calibration_picture({name: item["calibration"] for name, item in found.items()}, f"{place}.")
            for place, found in _by_architecture(pooled, "calibration")
        ],
    )


def _decisions(pooled: Pooled) -> Section:
    return Section(
        "Decision curves",
        [
            "Net benefit weighs true positives against false ones by the threshold probability at which one would act. "
            "A model helps where it lies above both references."
        ],
        pictures=[
            decision_picture({name: item["decision_curve"] for name, item in found.items()}, f"{place}.")
            for place, found in _by_architecture(pooled, "decision_curve")
        ],
    )


def _operating_points(pooled: Pooled) -> Section:
    measures = ("sensitivity", "specificity", "ppv", "npv")
    rows = [
        [place, name, *(value_cell(item["operating_point"][measure]) for measure in measures)]
        for (place, name), item in pooled.items()
        if item.get("operating_point")
    ]
    return Section(
        "Operating points",
        [
            "At the threshold that each run fixed on its validation data. PPV and NPV hold for the share of positives "
            "in these data alone. Brackets hold 95% CIs."
        ],
        tables=_table(
            "Sensitivity, specificity and predictive values",
            ["architecture", "initialization", "sensitivity", "specificity", "PPV", "NPV"],
            rows,
        ),
    )


def _table(caption: str, header: list[str], rows: list[list[str]]) -> list[Table]:
    return [Table(caption, header, rows)] if rows else []


def _by_architecture(pooled: Pooled, key: str) -> Iterator[tuple[str, dict[str, Mapping[str, Any]]]]:
    """Yield each architecture with those of its initializations that have ``key``."""
    for architecture in dict.fromkeys(place for place, _ in pooled):
        found = {name: item for (place, name), item in pooled.items() if place == architecture and item.get(key)}
        if found:
            yield architecture, found
