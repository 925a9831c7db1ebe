"""The result sections of a comparison's page: performance, differences, groups, maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radimagenet_monai.report.comparison.figures import ForestRow, difference_row, forest_picture, learning_picture
from radimagenet_monai.report.comparison.rows import (
    Analysis,
    difference_cell,
    largest_fraction,
    main_rows,
    pair_name,
    place_name,
    speaks_of_models,
    value_cell,
)
from radimagenet_monai.report.page import Picture, Section, Table
from radimagenet_monai.report.wording import NOT_ESTIMABLE, bare_p_value, grouped, number, signed

_DIFFERENCE_HEADER = (
    *("difference (95% CI)", "P", "P, Holm"),
    *("given these trained models (95% CI)", "P given the models"),
)
_MEASURES = {"pointing": "pointing game", "energy": "energy inside", "dice": "Dice", "iou": "IoU"}


def performance_section(analysis: Analysis) -> Section:
    """Means by architecture and initialization, trained on the full training set."""
    measure = analysis["measure"]
    spread = [] if speaks_of_models(analysis) else ["SD over folds"]
    main = main_rows(analysis, "performance")
    pictures = []
    if main:
        bars = [
            ForestRow(item["initialization"], item["mean"], item["low"], item["high"], value_cell(item, "mean"))
            for item in main
        ]
        caption = f"Mean {measure}, {place_name(main[0]['architecture'])}."
        pictures.append(forest_picture(bars, f"mean {measure}", caption, zero=False))
    return Section(
        "Performance",
        [
            *_of_means(analysis),
            *_reasons(analysis["performance"]),
        ],
        tables=[
            Table(
                f"Mean {measure}",
                ["architecture", "initialization", "runs", "mean (95% CI)", "SD over scenarios", *spread],
                [
                    [
                        place_name(item["architecture"]),
                        item["initialization"],
                        str(item["runs"]),
                        value_cell(item, "mean"),
                        number(item["sd"]),
                        *([number(item["sd_folds"])] if spread else []),
                    ]
                    for item in analysis["performance"]
                    if item["fraction"] == largest_fraction(analysis)
                ],
            )
        ],
        pictures=pictures,
    )


def _of_means(analysis: Analysis) -> list[str]:
    measure = analysis["measure"]
    if speaks_of_models(analysis):
        return [
            f"{measure} of the trained models on the test part, the mean over scenarios where there are several. "
            "Intervals are of these models on other test patients. Two intervals may overlap although the paired "
            "difference is clear: compare by the differences below."
        ]
    return [
        f"Means of {measure} over scenarios and folds. Intervals allow for training sets of the folds that overlap "
        "(corrected for resampling). Intervals of two initializations may overlap although their paired "
        "difference is clear: compare by the differences below."
    ]


def differences_section(analysis: Analysis) -> Section:
    """Every paired difference after training on the full training set, with its spread over folds and scenarios."""
    found = [item for item in analysis["differences"] if item["fraction"] == largest_fraction(analysis)]
    higher = "higher" if speaks_of_models(analysis) else "better"
    over = "" if speaks_of_models(analysis) else "folds and "
    # The answer section already shows one of the figures.
    answered = next((item["architecture"] for item in main_rows(analysis, "differences")), None)
    pictures = [
        forest_picture(
            [difference_row(pair_name(item), item) for item in found if item["architecture"] == architecture],
            f"difference in {analysis['measure']}",
            f"{place_name(architecture)}: above 0 the first is {higher}, below 0 the second.",
        )
        for architecture in dict.fromkeys(item["architecture"] for item in found)
        if architecture != answered
    ]
    return Section(
        "Paired differences",
        _methods(found, speaks_of_models(analysis)),
        tables=[
            Table(
                f"Differences in {analysis['measure']}",
                ["first − second", "architecture", *_DIFFERENCE_HEADER],
                [[pair_name(item), place_name(item["architecture"]), *_difference_cells(item)] for item in found],
            )
        ],
        pictures=pictures,
        sections=[Section(f"Spread over {over}scenarios", tables=_spread_tables(found))],
    )


def learning_section(analysis: Analysis) -> Section:
    """The measure by the size of the training set."""
    curve = analysis["learning_curve"]
    pictures = []
    for architecture in dict.fromkeys(item["architecture"] for item in curve):
        points: dict[str, list[Mapping[str, Any]]] = {}
        for item in curve:
            if item["architecture"] == architecture:
                points.setdefault(item["initialization"], []).append(item)
        pictures.append(learning_picture(points, f"mean {analysis['measure']}", f"{place_name(architecture)}."))
    rows = [
        [
            place_name(item["architecture"]),
            item["initialization"],
            f"{100 * item['fraction']:g}%",
            "unknown" if item["patients"] is None else grouped(item["patients"]),
            grouped(item["images"]),
            value_cell(item, "mean"),
        ]
        for item in curve
    ]
    smaller = [item for item in analysis["differences"] if item["fraction"] != largest_fraction(analysis)]
    return Section(
        "Learning curve",
        ["Smaller training sets are parts of the larger ones; test sets stay the same."],
        pictures=pictures,
        sections=[
            Section(
                "Values of the learning curve",
                tables=[
                    Table(
                        "By size of the training set",
                        [
                            "architecture",
                            "initialization",
                            "share",
                            "patients",
                            "images",
                            f"{analysis['measure']} (95% CI)",
                        ],
                        rows,
                    ),
                    Table(
                        "Differences after training on less",
                        ["first − second", "architecture", "share", *_DIFFERENCE_HEADER],
                        [
                            [
                                pair_name(item),
                                place_name(item["architecture"]),
                                f"{100 * item['fraction']:g}%",
                                *_difference_cells(item),
                            ]
                            for item in smaller
                        ],
                    ),
                ],
            )
        ],
    )


def subgroups_section(analysis: Analysis) -> Section:
    """Differences within groups of patients."""
    found = analysis["subgroups"]
    rows = [
        [
            f"{item['column']}: {item['group']}",
            f"{item['images']} ({item['positives']} positive)",
            "unknown" if item["patients"] is None else str(item["patients"]),
            f"{pair_name(item)}, {place_name(item['architecture'])}",
            "; ".join(f"{name} {value_cell(value, 'auc')}" for name, value in item["values"].items()),
            difference_cell(item),
            bare_p_value(item["p"]),
        ]
        for item in found
    ]
    compared: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for item in found:
        compared.setdefault((item["first"], item["second"], item["architecture"]), []).append(item)
    pictures = [
        forest_picture(
            [difference_row(f"{item['column']}: {item['group']} (n = {item['images']})", item) for item in items],
            f"difference in {analysis['measure']}",
            f"{first} − {second}, {place_name(architecture)}.",
        )
        for (first, second, architecture), items in compared.items()
    ]
    return Section(
        "Subgroups",
        [
            "Intervals within groups are wide, and their P values not adjusted. A difference in one group and none in "
            "another is no evidence that the groups differ.",
            *_reasons(found),
        ],
        tables=[
            Table(
                "Differences within groups",
                ["group", "images", "patients", "first − second", "AUC of each (95% CI)", "difference (95% CI)", "P"],
                rows,
            )
        ],
        pictures=pictures,
    )


def localization_section(analysis: Analysis, gallery: Sequence[Picture]) -> Section:
    """Class activation maps against lesion masks."""
    found = analysis["localization"]
    verdicts = [
        f"Sanity check, {item['initialization']}, {item['architecture']}: {item['sanity']['verdict']}. "
        f"{item['sanity']['text']}"
        for item in found
        if item.get("sanity")
    ]
    tables = [
        Table(
            "Localization",
            ["initialization", "architecture", "cases", *_MEASURES.values(), "threshold"],
            [
                [
                    item["initialization"],
                    item["architecture"],
                    item["cases"],
                    *(value_cell(item.get(measure)) for measure in _MEASURES),
                    number(item["threshold"], 2),
                ]
                for item in found
            ],
        ),
        Table(
            "Localization by size of the lesion",
            ["initialization", "architecture", "size", "cases", *_MEASURES.values()],
            [
                [
                    item["initialization"],
                    item["architecture"],
                    size.get("size", ""),
                    size.get("cases", ""),
                    *(value_cell(size.get(measure)) for measure in _MEASURES),
                ]
                for item in found
                for size in item.get("by_size") or []
            ],
        ),
        Table(
            "Maps after weights were made random: similarity to the maps of the trained model",
            ["initialization", "architecture", "made random", "rank correlation", "SSIM"],
            [
                [
                    item["initialization"],
                    item["architecture"],
                    check["randomized"],
                    number(check["spearman"], 2),
                    number(check["ssim"], 2),
                ]
                for item in found
                if item.get("sanity")
                for check in item["sanity"]["checks"]
            ],
        ),
        Table(
            "Differences in localization",
            ["first − second", "measure", "difference (95% CI)", "P", "adjusted P"],
            [
                [
                    pair_name(item),
                    item["measure"],
                    difference_cell(item),
                    bare_p_value(item["p"]),
                    bare_p_value(item.get("p_adjusted")),
                ]
                for item in analysis["localization_differences"]
            ],
        ),
    ]
    return Section(
        "Localization",
        [
            "Class activation maps of the trained models, measured against masks of the lesions. They show where a "
            "class's evidence is, coarsely; they do not show why. Brackets hold 95% CIs.",
            *verdicts,
        ],
        tables=tables,
        pictures=gallery,
    )


def power_section(analysis: Analysis) -> Section:
    """How many patients would show a relevant difference."""
    rows = [
        [
            f"{item['first']}, {item['second']}{_test_of(item)}",
            place_name(item["architecture"]),
            f"{item['difference']:g}",
            f"{100 * item['power']:g}%",
            NOT_ESTIMABLE if item["patients"] is None else grouped(item["patients"]),
            grouped(item["have"]) if item.get("have") else "",
        ]
        for item in analysis["power"]
    ]
    return Section(
        "Patients needed",
        [
            "From the variance seen here and for the test in use, with its degrees of freedom and its adjustment for "
            "several pairs; for a difference that one decides to care about. Rough, and no statement about the "
            "difference that was found."
        ],
        tables=[
            Table(
                "Patients for a difference that matters",
                [
                    "compared",
                    "architecture",
                    f"difference in {analysis['measure']}",
                    "power",
                    "patients needed",
                    "here",
                ],
                rows,
            )
        ],
    )


def _test_of(item: Mapping[str, Any]) -> str:
    """The test that the number is for; analyses of earlier versions do not state it."""
    if not item.get("method"):
        return ""
    freedom = item["degrees_of_freedom"]
    return f" ({item['method']}{f', {freedom} degrees of freedom' if freedom else ''})"


def _spread_tables(found: Sequence[Mapping[str, Any]]) -> list[Table]:
    tables = []
    for key, name, title in (
        ("per_fold", "fold", "Differences in each fold"),
        ("per_scenario", "scenario", "Differences in each scenario"),
    ):
        names = list(dict.fromkeys(str(part[name]) for item in found for part in item.get(key) or []))
        rows = []
        for item in found:
            values = {str(part[name]): part["difference"] for part in item.get(key) or []}
            rows.append([pair_name(item), place_name(item["architecture"]), *(signed(values.get(n)) for n in names)])
        if len(names) > 1:
            header = [f"fold {n}" if name == "fold" else n for n in names]
            tables.append(Table(title, ["first − second", "architecture", *header], rows))
    return tables


def _methods(found: Sequence[Mapping[str, Any]], models: bool) -> list[str]:
    if not found:
        return ["No pair of initializations has results to compare."]
    few = dict.fromkeys(item["too_few"] for item in found if item.get("too_few"))
    if few and all(item.get("too_few") for item in found):
        return [f"Too few were tested to compare: {reason}. Differences are described, not tested." for reason in few]
    methods = "; ".join(dict.fromkeys(item["method"] for item in found if item["method"])) or "none was applicable"
    given = list(dict.fromkeys(item["test_sets"]["method"] for item in found if item.get("test_sets")))
    if models:
        return [
            f"Method: {methods}. It asks whether other test patients would come out alike for these trained models. P "
            "values are two-sided; 'Holm' is adjusted for the pairs compared.",
            *_reasons(found),
        ]
    paragraphs = [
        f"Method: {methods}. It asks whether another training on other data of this kind would come out alike. "
        "P values are two-sided; 'Holm' is adjusted for the pairs compared."
    ]
    if given:
        names = ", ".join(name for name in given if name)
        paragraphs.append(
            f"'Given these trained models'{f' ({names})' if names else ''} leaves training out: it asks only "
            "whether other test patients would come out alike, and is narrower for that."
        )
    return paragraphs + _reasons(found)


def _reasons(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Why something is not estimable, each reason once."""
    return [f"Not estimable: {reason}." for reason in dict.fromkeys(item["reason"] for item in found) if reason]


def _difference_cells(item: Mapping[str, Any]) -> list[str]:
    given = item.get("test_sets")
    return [
        difference_cell(item),
        bare_p_value(item["p"]),
        bare_p_value(item["p_adjusted"]),
        *([difference_cell(given), bare_p_value(given["p"])] if given else ["", ""]),
    ]
