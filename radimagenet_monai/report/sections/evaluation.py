"""The sections of a page for the results of an evaluation run, by kind of task."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.report.figures import confusion_figure, roc_figure, score_figure
from radimagenet_monai.report.page import Picture, Section
from radimagenet_monai.report.wording import with_interval

_MOST_CLASSES_LISTED = 200

Rows = Sequence[Mapping[str, str]]


def evaluation_sections(evaluation: Mapping[str, Any], rows: Rows, folder: Path) -> list[Section]:
    """Sections for the content of an evaluation run's output folder.

    Parameters
    ----------
    evaluation
        ``evaluation.json``.
    rows
        ``predictions.csv``.
    folder
        Folder of both files, and of a segmentation's overlays.
    """
    metrics = evaluation["metrics"]
    if "dice" in metrics:
        return segmentation_sections(metrics, rows, folder)
    if "findings" in metrics:
        return findings_sections(metrics["findings"], rows)
    if "per_class" in metrics:
        return multiclass_sections(metrics)
    return binary_sections(metrics, evaluation["classes"], rows, evaluation.get("aggregate", "none"))


def headline(evaluation: Mapping[str, Any]) -> dict[str, str]:
    """The most important numbers, name to text."""
    metrics = evaluation["metrics"]
    if "dice" in metrics:
        return {
            "Mean Dice": _number(metrics["dice"]["mean"]),
            "Images with a lesion": f"{metrics['with_lesion']} of {metrics['images']}",
        }
    if "findings" in metrics:
        first = next(iter(metrics["findings"]))
        return {
            f"AUC, {first}": with_interval(metrics["findings"][first]["auc"], "auc"),
            "Findings": str(len(metrics["findings"])),
        }
    if "per_class" in metrics:
        return {
            "Top-1 accuracy": with_interval(metrics["top1"]),
            "Balanced accuracy": _number(metrics["balanced_accuracy"]),
            "AUC, macro": _number(metrics["auc_macro"]),
        }
    unit = "exams" if evaluation.get("aggregate", "none") != "none" else "images"
    return {
        "AUC": with_interval(metrics["auc"], "auc"),
        f"Test {unit}": f"{metrics['images']} ({metrics['positives']} {evaluation['classes'][1]})",
    }


def binary_sections(
    metrics: Mapping[str, Any], classes: Sequence[str], rows: Rows, aggregate: str = "none"
) -> list[Section]:
    """Discrimination of two classes; curves are computed from the rows, so they are skipped if exams were scored."""
    point = metrics["operating_point"]
    pictures = []
    if aggregate == "none":
        usable = [row for row in rows if row[f"probability_{classes[1]}"]]
        labels = np.array([row["label"] == classes[1] for row in usable]).astype(int)
        scores = np.array([float(row[f"probability_{classes[1]}"]) for row in usable])
        pictures = _curves(labels, scores, point, classes)
    unit = "images" if aggregate == "none" else f"exams (the {aggregate} over their slices)"
    return [
        Section(
            "Discrimination on the test split",
            [
                f"{metrics['images']} {unit}, {metrics['positives']} of them {classes[1]}. None of them was used for "
                f"training, for choosing the epoch or for choosing the threshold. {_intervals([metrics])}",
                *metrics["notes"],
            ],
            ["measure", "value"],
            _binary_table(metrics),
            pictures,
        )
    ]


def findings_sections(findings: Mapping[str, Any], rows: Rows) -> list[Section]:
    """One row per finding, and the ROC curve of each that has one."""
    table, pictures, notes = [], [], []
    for name, item in findings.items():
        if item is None:
            table.append([name, "0", "not known of any image", "", ""])
            continue
        point = item["operating_point"]
        table.append(
            [
                name,
                f"{item['images']} ({item['positives']})",
                with_interval(item["auc"], "auc"),
                with_interval(point["sensitivity"]),
                with_interval(point["specificity"]),
            ]
        )
        notes += [note for note in item["notes"] if note not in notes]
        usable = [row for row in rows if row.get(f"label_{name}") and row[f"probability_{name}"]]
        labels = np.array([int(row[f"label_{name}"]) for row in usable])
        if len(set(labels.tolist())) == 2:
            scores = np.array([float(row[f"probability_{name}"]) for row in usable])
            pictures.append(Picture(roc_figure(labels, scores), f"ROC curve of {name}", f"{name}: ROC curve."))
    return [
        Section(
            "Findings on the test split",
            [
                "Findings may occur together. Each is evaluated on the images of which it is known, at a threshold "
                f"fixed on validation data. {_intervals(findings.values())}",
                *notes,
            ],
            ["finding", "images (positive)", "AUC", "sensitivity", "specificity"],
            table,
            pictures,
        )
    ]


def multiclass_sections(metrics: Mapping[str, Any]) -> list[Section]:
    """Accuracy over all classes, then per class."""
    table = [["top-1 accuracy", with_interval(metrics["top1"])]]
    if metrics["top5"] is not None:
        table.append(["top-5 accuracy", with_interval(metrics["top5"])])
    table += [
        ["balanced accuracy", _number(metrics["balanced_accuracy"])],
        ["AUC, macro mean of one against the others", _number(metrics["auc_macro"])],
    ]
    names = [item["name"] for item in metrics["per_class"]]
    pictures = []
    if metrics["confusion"] is not None:
        counts = np.array(metrics["confusion"])
        pictures.append(
            Picture(
                confusion_figure(counts, names),
                f"Confusion matrix of {len(names)} classes",
                "Images of each true class (rows) by the class they were called (columns).",
            )
        )
    per_class = [
        [
            item["name"],
            item["images"],
            with_interval(item["recall"]),
            with_interval(item["precision"]),
            with_interval(item["auc"], "auc"),
        ]
        for item in metrics["per_class"]
        if item["images"]
    ]
    return [
        Section(
            "Accuracy on the test split",
            [
                f"{metrics['images']} images of {metrics['classes_present']} of {metrics['classes']} classes. "
                f"{_intervals([metrics])} With classes of very different sizes, balanced accuracy says more than plain "
                "accuracy.",
                *metrics["notes"],
            ],
            ["measure", "value"],
            table,
            pictures,
        ),
        Section(
            "Each class",
            ["Recall and precision of the most probable class; AUC of the class against all others."],
            ["class", "images", "recall", "precision", "AUC"],
            per_class[:_MOST_CLASSES_LISTED],
        ),
    ]


def segmentation_sections(metrics: Mapping[str, Any], rows: Rows, folder: Path) -> list[Section]:
    """Overlap, and the best, middle and worst of the drawn images."""
    dice, iou = metrics["dice"], metrics["iou"]
    over = ", with the effective sample size of Rao and Scott over patients" if metrics.get("clustered") else ""
    table = [
        [f"{name}, {label}", _number(value)]
        for name, item in (("Dice", dice), ("IoU", iou))
        for label, value in (("mean", item["mean"]), ("SD", item["sd"]), ("median", item["median"]))
    ]
    if metrics["distance_unit"]:
        unit, tolerance = metrics["distance_unit"], f"{metrics['tolerance']:g}"
        table += [
            [f"{name}, {label}", _number(item[label])]
            for name, item in (
                (f"HD95 in {unit}", metrics["hd95"]),
                (f"normalized surface distance at {tolerance} {unit}", metrics["nsd"]),
            )
            for label in ("mean", "median")
        ]
    table.append(["lesions missed altogether", with_interval(metrics["missed"])])
    if metrics["segmented_without_lesion"]["total"]:
        table.append(
            ["images without a lesion in which one was seen", with_interval(metrics["segmented_without_lesion"])]
        )
    drawn = [(row, folder / row["mask"].replace("masks/", "overlays/", 1)) for row in rows if row["dice"]]
    drawn = sorted((pair for pair in drawn if pair[1].is_file()), key=lambda pair: -float(pair[0]["dice"]))
    middle = len(drawn) // 2
    chosen = {
        "best": drawn[:2],
        "middle": drawn[max(2, middle - 1) : max(2, middle + 1)],
        "worst": drawn[max(middle + 1, len(drawn) - 2) :],
    }
    pictures = [
        Picture(
            "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii"),
            f"Outlines found and expected in {row['file']}",
            f"{rank}: {row['file']}, Dice {float(row['dice']):.2f}. Orange: found; blue: reference.",
        )
        for rank, pairs in chosen.items()
        for row, path in pairs
    ]
    return [
        Section(
            "Overlap on the test split",
            [
                f"{metrics['images']} images, {metrics['with_lesion']} of them with a lesion, compared at their "
                "original size. Overlap and distances are not defined without a lesion; such images are counted by "
                f"themselves. Proportions have Wilson intervals{over}.",
                *metrics.get("notes", []),
            ],
            ["measure", "value"],
            table,
            pictures,
        )
    ]


# What `BinaryEvaluation` holds beside further measures, which are shown under their names.
_NOT_FURTHER = {"confidence", "balanced_accuracy", "average_precision", "brier"}


def _binary_table(metrics: Mapping[str, Any]) -> list[list[str]]:
    point = metrics["operating_point"]
    names = ("sensitivity", "specificity", "ppv", "npv", "accuracy")
    return [
        ["AUC", with_interval(metrics["auc"], "auc")],
        *([name, with_interval(point[name])] for name in names),
        ["average precision", _number(metrics["average_precision"])],
        ["Brier score", _number(metrics["brier"])],
        *(
            [name.replace("_", " "), _number(value)]
            for name, value in metrics.items()
            if isinstance(value, float) and name not in _NOT_FURTHER
        ),
        ["threshold, fixed on validation data", _number(point["threshold"])],
    ]


def _intervals(metrics: Iterable[Mapping[str, Any] | None]) -> str:
    """Method of the intervals; it may differ between findings that are known for different images."""
    clustered = [item["auc_method"]["name"] == "Obuchowski" for item in metrics if item is not None]
    kinds = []
    if not all(clustered) or not clustered:
        kinds.append("AUC interval: DeLong, logit scale; proportions: Wilson.")
    if any(clustered):
        kinds.append(
            "AUC interval where patients have several images: Obuchowski over patients, logit scale; proportions: "
            "Wilson with the effective sample size of Rao and Scott."
        )
    return " ".join(kinds)


def _curves(labels: np.ndarray, scores: np.ndarray, point: Mapping[str, Any], classes: Sequence[str]) -> list[Picture]:
    if len(set(labels.tolist())) < 2:
        return []
    dot = (1 - point["specificity"]["estimate"], point["sensitivity"]["estimate"])
    return [
        Picture(roc_figure(labels, scores, dot), "ROC curve of the test split", "ROC curve of the test split."),
        Picture(
            score_figure(labels, scores, point["threshold"], classes),
            f"Histogram of the probability of {classes[1]} by true class",
            "Probabilities by true class.",
        ),
    ]


def _number(value: float | None) -> str:
    return "not estimable" if value is None else f"{value:.3f}"
