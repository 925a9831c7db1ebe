"""The sections of a comparison's page that show its results: performance, differences, curves, groups, maps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from radimagenet_monai.report.comparison_figures import (
    ForestRow,
    calibration_picture,
    decision_picture,
    difference_row,
    forest_picture,
    learning_picture,
    roc_picture,
)
from radimagenet_monai.report.comparison_rows import (
    ALL,
    Analysis,
    bounded_cell,
    difference_cell,
    largest_fraction,
    main_rows,
    mean_cell,
    pair_name,
    place_name,
    several_fractions,
)
from radimagenet_monai.report.page import Picture, Section, Table
from radimagenet_monai.report.wording import NOT_ESTIMABLE, bare_p_value, grouped, number, signed, with_interval


def performance_section(analysis: Analysis) -> Section:
    """Means by architecture and initialization."""
    measure = analysis["measure"]
    rows = [
        [
            place_name(item["architecture"]),
            item["initialization"],
            *([f"{100 * item['fraction']:g}%"] if several_fractions(analysis) else []),
            str(item["runs"]),
            with_interval(item, "mean"),
            number(item["sd"]),
            number(item["sd_folds"]),
        ]
        for item in analysis["performance"]
    ]
    main = main_rows(analysis, "performance")
    pictures = []
    if main:
        bars = [
            ForestRow(item["initialization"], item["mean"], item["low"], item["high"], mean_cell(item)) for item in main
        ]
        caption = f"Mean {measure}, {place_name(main[0]['architecture'])}."
        pictures.append(forest_picture(bars, f"mean {measure}", caption, zero=False))
    return Section(
        "Performance",
        [
            f"Means of {measure} over scenarios and folds. Intervals allow for training sets of the folds that overlap "
            "(corrected for resampling). Intervals of two initializations may overlap although their paired "
            "difference is clear: compare by the differences below."
        ],
        tables=[
            Table(
                f"Mean {measure}",
                [
                    "architecture",
                    "initialization",
                    *(["training set"] if several_fractions(analysis) else []),
                    "runs",
                    "mean",
                    "SD over scenarios",
                    "SD over folds",
                ],
                rows,
            )
        ],
        pictures=pictures,
    )


def differences_section(analysis: Analysis) -> Section:
    """Every paired difference, with its spread over folds and scenarios."""
    found = analysis["differences"]
    full = [item for item in found if item["fraction"] == largest_fraction(analysis)]
    several = several_fractions(analysis)
    rows = [
        [
            pair_name(item),
            place_name(item["architecture"]),
            *([f"{100 * item['fraction']:g}%"] if several else []),
            difference_cell(item),
            bare_p_value(item["p"]),
            bare_p_value(item["p_adjusted"]),
            difference_cell(item["test_sets"]) if item.get("test_sets") else "",
            bare_p_value(item["test_sets"]["p"]) if item.get("test_sets") else "",
        ]
        for item in found
    ]
    pictures = [
        forest_picture(
            [difference_row(pair_name(item), item) for item in full if item["architecture"] == architecture],
            f"difference in {analysis['measure']}",
            f"{place_name(architecture)}: above 0, the first of the two is better.",
        )
        for architecture in dict.fromkeys(item["architecture"] for item in full)
        if architecture != ALL
    ]
    return Section(
        "Paired differences",
        _methods(found),
        tables=[
            Table(
                f"Differences in {analysis['measure']}",
                [
                    "first − second",
                    "architecture",
                    *(["training set"] if several else []),
                    "difference (95% CI)",
                    "P",
                    "P, Holm",
                    "given these trained models (95% CI)",
                    "P given the models",
                ],
                rows,
            ),
            *_spread_tables(full),
        ],
        pictures=pictures,
    )


def curve_sections(analysis: Analysis) -> list[Section]:
    """ROC, calibration, decision curves and operating points of two classes, where they were computed."""
    pooled = {
        (item["architecture"], item["initialization"]): item["pooled"]
        for item in analysis["performance"]
        if item.get("pooled") and item["fraction"] == largest_fraction(analysis)
    }
    if not pooled:
        return []

    def by_architecture(key: str) -> Iterable[tuple[str, dict[str, Any]]]:
        for architecture in dict.fromkeys(place for place, _ in pooled):
            found = {name: item for (place, name), item in pooled.items() if place == architecture and item.get(key)}
            if found:
                yield architecture, found

    methods = sorted({item["method"] for item in pooled.values()})
    sections = [
        Section(
            "ROC curves",
            [f"All test images together, each predicted by the model that did not train on it. {'; '.join(methods)}."],
            tables=[
                Table(
                    "AUC of all test images, and average precision",
                    ["architecture", "initialization", "AUC", "average precision"],
                    [
                        [place, name, with_interval(item["auc"], "auc"), number(item["average_precision"])]
                        for (place, name), item in pooled.items()
                    ],
                )
            ],
            pictures=[roc_picture(found, f"{place}.") for place, found in by_architecture("roc")],
        )
    ]
    calibrated = list(by_architecture("calibration"))
    if calibrated:
        sections.append(_calibration_section(calibrated))
    decisions = list(by_architecture("decision_curve"))
    if decisions:
        sections.append(
            Section(
                "Decision curves",
                [
                    "Net benefit weighs true positives against false ones by the threshold probability at which one "
                    "would act. A model helps where it lies above both references."
                ],
                pictures=[
                    decision_picture({name: item["decision_curve"] for name, item in found.items()}, f"{place}.")
                    for place, found in decisions
                ],
            )
        )
    points = [(place, name, item["operating_point"]) for (place, name), item in pooled.items()]
    measures = ("sensitivity", "specificity", "ppv", "npv")
    sections.append(
        Section(
            "Operating points",
            [
                "At the threshold that each run fixed on its validation data. PPV and NPV hold for the share of "
                "positives in these data alone."
            ],
            tables=[
                Table(
                    "Sensitivity, specificity and predictive values",
                    ["architecture", "initialization", "sensitivity", "specificity", "PPV", "NPV"],
                    [
                        [place, name, *(with_interval(point[measure]) for measure in measures)]
                        for place, name, point in points
                        if point
                    ],
                )
            ],
        )
    )
    return sections


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
            with_interval(item, "mean"),
        ]
        for item in curve
    ]
    return Section(
        "Learning curve",
        ["Smaller training sets are parts of the larger ones; test sets stay the same."],
        tables=[
            Table(
                "By size of the training set",
                ["architecture", "initialization", "share", "patients", "images", f"mean {analysis['measure']}"],
                rows,
            )
        ],
        pictures=pictures,
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
            "; ".join(f"{name} {with_interval(value, 'auc')}" for name, value in item["values"].items()),
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
            "another is no evidence that the groups differ."
        ],
        tables=[
            Table(
                "Differences within groups",
                ["group", "images", "patients", "compared", "values", "difference (95% CI)", "P"],
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
    measures = ("pointing", "energy", "dice", "iou")
    tables = [
        Table(
            "Localization",
            ["initialization", "architecture", "cases", "pointing game", "energy inside", "Dice", "IoU", "threshold"],
            [
                [
                    item["initialization"],
                    item["architecture"],
                    item["cases"],
                    *(with_interval(item[measure]) if item.get(measure) else "" for measure in measures),
                    number(item["threshold"], 2),
                ]
                for item in found
            ],
        ),
        Table(
            "Localization by size of the lesion",
            ["initialization", "architecture", "size", "cases", *measures],
            [
                [
                    item["initialization"],
                    item["architecture"],
                    size.get("size", ""),
                    size.get("cases", ""),
                    *(with_interval(size[measure]) if size.get(measure) else "" for measure in measures),
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
            ["first − second", "measure", "difference (95% CI)", "P"],
            [
                [pair_name(item), item["measure"], difference_cell(item), bare_p_value(item["p"])]
                for item in analysis["localization_differences"]
            ],
        ),
    ]
    return Section(
        "Localization",
        [
            "Class activation maps of the trained models, measured against masks of the lesions. They show where a "
            "class's evidence is, coarsely; they do not show why.",
            *verdicts,
        ],
        tables=tables,
        pictures=gallery,
    )


def power_section(analysis: Analysis) -> Section:
    """How many patients would show a difference that matters."""
    rows = [
        [
            f"{item['first']}, {item['second']}",
            place_name(item["architecture"]),
            f"{item['difference']:g}",
            f"{100 * item['power']:g}%",
            NOT_ESTIMABLE if item["patients"] is None else grouped(item["patients"]),
        ]
        for item in analysis["power"]
    ]
    return Section(
        "Patients needed",
        [
            "From the variance seen here, for a difference that one decides to care about; rough, and no statement "
            "about the difference that was found."
        ],
        tables=[
            Table(
                "Patients for a difference that matters",
                ["compared", "architecture", f"difference in {analysis['measure']}", "power", "patients"],
                rows,
            )
        ],
    )


def _calibration_section(calibrated: Sequence[tuple[str, Mapping[str, Any]]]) -> Section:
    rows = []
    for place, found in calibrated:
        for name, item in found.items():
            values = item["calibration"]
            rows.append(
                [
                    place,
                    name,
                    *(bounded_cell(values, measure) for measure in ("slope", "intercept")),
                    number(values["brier"]),
                    number(values["ece"]),
                ]
            )
    return Section(
        "Calibration",
        [
            "Of all test images. Perfect are slope 1 and intercept 0. A slope below 1 means predictions that are too "
            "extreme; an intercept above 0, risks that are underestimated on average."
        ],
        tables=[
            Table(
                "Calibration of each model",
                ["architecture", "initialization", "slope", "intercept", "Brier score", "calibration error, debiased"],
                rows,
            )
        ],
        pictures=[
            calibration_picture({name: item["calibration"] for name, item in found.items()}, f"{place}.")
            for place, found in calibrated
        ],
    )


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


def _methods(found: Sequence[Mapping[str, Any]]) -> list[str]:
    if not found:
        return ["No pair of initializations has results to compare."]
    methods = "; ".join(sorted({item["method"] for item in found}))
    given = sorted({item["test_sets"]["method"] for item in found if item.get("test_sets")})
    paragraphs = [
        f"Method: {methods}. It asks whether another training on other data of this kind would come out alike. "
        "P values are two-sided; 'Holm' is adjusted for the pairs compared."
    ]
    if given:
        paragraphs.append(
            f"'Given these trained models' ({', '.join(given)}) leaves training out: it asks only whether other test "
            "patients would come out alike, and is narrower for that."
        )
    reasons = sorted({item["reason"] for item in found if item["reason"]})
    return paragraphs + [f"Not estimable: {reason}." for reason in reasons]
