"""Comparisons of several tasks on one page, with P values adjusted over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radimagenet_monai.report.comparison.figures import difference_row, forest_picture
from radimagenet_monai.report.comparison.rows import (
    Analysis,
    difference_cell,
    main_rows,
    pair_name,
    place_name,
    speaks_of_models,
    value_cell,
)
from radimagenet_monai.report.page import Section, Table
from radimagenet_monai.report.wording import bare_p_value, count, signed
from radimagenet_monai.statistics.multiplicity import holm

_LEVEL = 0.05
MODELS = "these trained models"
"""In the place of the initializations: what a comparison on one split is about."""


def summary_headline(analyses: Mapping[str, Analysis]) -> dict[str, str]:
    """Tasks, tests, and how many of them are significant after adjustment.

    Parameters
    ----------
    analyses
        Folder name of each comparison to its ``analysis.json``, without identifiers.
    """
    tests = summary_tables(analyses)["differences"]
    found = sum(row["p_adjusted"] is not None and row["p_adjusted"] < _LEVEL for row in tests)
    return {
        "Comparisons": str(len(analyses)),
        "Paired differences": str(len(tests)),
        "Significant after adjustment": f"{found} of {sum(row['p'] is not None for row in tests)}",
    }


def summary_tables(analyses: Mapping[str, Analysis]) -> dict[str, list[dict[str, Any]]]:
    """Means and paired differences of each comparison, over all architectures, trained on the full training set.

    ``p_adjusted`` is Holm-adjusted over all differences of all comparisons, the family tested on this page.
    """
    means, differences = [], []
    for name, analysis in analyses.items():
        place = {
            "comparison": name,
            "task": analysis["task"]["title"],
            "measure": analysis["measure"],
            "about": MODELS if speaks_of_models(analysis) else "the initializations",
        }
        means += [
            {**place, **{key: row[key] for key in ("architecture", "initialization", "runs", "mean", "low", "high")}}
            for row in main_rows(analysis, "performance")
        ]
        keys = ("architecture", "first", "second", "difference", "low", "high", "p", "method", "reason")
        differences += [
            {**place, **{key: row[key] for key in keys}, "too_few": row.get("too_few")}
            for row in main_rows(analysis, "differences")
        ]
    for row, adjusted in zip(differences, holm([row["p"] for row in differences]), strict=True):
        row["p_adjusted"] = adjusted
    return {"performance": means, "differences": differences}


def summary_sections(analyses: Mapping[str, Analysis]) -> list[Section]:
    """The answer over all tasks, then means, then the location of each comparison's report."""
    tables = summary_tables(analyses)
    pairs: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for row in tables["differences"]:
        pairs.setdefault((row["first"], row["second"], row["measure"], row["about"]), []).append(row)
    pictures = [
        forest_picture(
            [difference_row(row["task"], row) for row in rows],
            f"difference in {measure}",
            f"{first} − {second}: above 0 {first} is higher, below 0 {second}"
            f"{', of the models trained on one split' if about == MODELS else ''}.",
        )
        for (first, second, measure, about), rows in pairs.items()
    ]
    answers = [_sentence(*pair, rows) for pair, rows in pairs.items()]
    return [
        Section(
            "The answer over all tasks",
            [
                *(answers or ["No two initializations could be compared."]),
                "P values are adjusted by Holm over all differences on this page. Each comparison's own report adjusts "
                "over its own pairs alone, and its adjusted values are smaller for that.",
            ],
            tables=[
                Table(
                    "Paired differences by task",
                    ["task", "first − second", "measure", "architecture", "difference (95% CI)", "P", "P, Holm"],
                    [
                        [
                            row["task"],
                            pair_name(row),
                            row["measure"],
                            place_name(row["architecture"]),
                            difference_cell(row),
                            bare_p_value(row["p"]),
                            bare_p_value(row["p_adjusted"]),
                        ]
                        for row in tables["differences"]
                    ],
                )
            ],
            pictures=pictures,
        ),
        Section(
            "Performance by task",
            tables=[
                Table(
                    "Means by task",
                    ["task", "initialization", "architecture", "measure", "runs", "mean (95% CI)"],
                    [
                        [
                            row["task"],
                            row["initialization"],
                            place_name(row["architecture"]),
                            row["measure"],
                            row["runs"],
                            value_cell(row, "mean"),
                        ]
                        for row in tables["performance"]
                    ],
                )
            ],
        ),
        Section(
            "The comparisons",
            ["Each folder holds a report of its own, with data, models, curves, failures and checklists."],
            tables=[
                Table(
                    "Folders",
                    ["folder", "task", "data", "runs finished"],
                    [
                        [
                            name,
                            analysis["task"]["title"],
                            f"{count(analysis['data']['images'], 'image')}, "
                            f"{count(analysis['data']['patients'], 'patient')}",
                            _finished(analysis),
                        ]
                        for name, analysis in analyses.items()
                    ],
                )
            ],
        ),
        Section(
            "Limits",
            list(dict.fromkeys(text for analysis in analyses.values() for text in analysis["limits"]))
            or ["Each comparison's own report names its limits."],
        ),
    ]


def _finished(analysis: Analysis) -> str:
    return f"{sum(run['status'] == 'finished' for run in analysis['runs'])} of {len(analysis['runs'])}"


def _sentence(first: str, second: str, measure: str, about: str, rows: list[dict[str, Any]]) -> str:
    sure = [row for row in rows if row["p_adjusted"] is not None and row["p_adjusted"] < _LEVEL]
    better = sum(row["difference"] > 0 for row in sure)
    known = [row["difference"] for row in rows if row["difference"] is not None]
    mean = f" The mean difference over tasks is {signed(sum(known) / len(known))}." if known else ""
    few = sum(bool(row["too_few"]) for row in rows)
    if few == len(rows):
        return f"{first} against {second} ({measure}): too few patients were tested in every task to compare them."
    sides = f"{first} against {second}"
    if about == MODELS:
        sides = f"The models started from {first} on one split, against those started from {second}"
        mean += " Another split is not spoken of."
    return (
        f"{sides} ({measure}): significantly higher in {better} of {count(len(rows), 'task')}, lower in "
        f"{len(sure) - better}; in the others the data cannot tell{f' or are too few ({few})' if few else ''}.{mean}"
    )
