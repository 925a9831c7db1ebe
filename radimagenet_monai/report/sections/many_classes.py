"""The sections of a page about an evaluation of many classes, from ``evaluation.json`` and ``confusion.csv``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.report.many_class_figures import (
    bars_picture,
    heat_picture,
    recall_picture,
    reliability_picture,
    size_picture,
)
from radimagenet_monai.report.page import Section, Table
from radimagenet_monai.report.wording import grouped, interval, not_estimable, number, with_interval

CONFUSION_CSV = "confusion.csv"

_MOST_PAIRS = 30
_SIZES = (1, 10, 100, 1000, 10_000)  # lower limits of the class size groups
_LABELS = {label.key: label for label in LABELS}


def is_many_class(evaluation: Mapping[str, Any]) -> bool:
    """Whether ``evaluation.json`` comes from an evaluation that counted batch by batch."""
    return "groups" in evaluation["metrics"]


def many_class_headline(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The most important numbers, name to text."""
    shown = {"Top-1 accuracy": with_interval(metrics["top1"])}
    if metrics["top5"] is not None:
        shown["Top-5 accuracy"] = with_interval(metrics["top5"])
    return {
        **shown,
        "Balanced accuracy": number(metrics["balanced_accuracy"]),
        "AUC, macro": number(metrics["auc_macro"]),
        "Test images": f"{grouped(metrics['images'])} of {metrics['classes_present']} classes",
    }


def many_class_sections(evaluation: Mapping[str, Any], folder: Path) -> list[Section]:
    """Sections for the output folder of an evaluation of many classes.

    Parameters
    ----------
    evaluation
        ``evaluation.json``.
    folder
        Folder of the file, with ``confusion.csv``.

    Raises
    ------
    RecordsError
        If ``confusion.csv`` is missing or has other classes.
    """
    metrics = evaluation["metrics"]
    confusion = _read_confusion(folder / CONFUSION_CSV, evaluation["classes"])
    regions = _regions(metrics, confusion)
    sections = [_accuracy(metrics)]
    if metrics["groups"]:
        sections.append(_groups(metrics["groups"], regions))
    sections += [_frequency(metrics), _pairs(metrics), _calibration(metrics), _each_region(regions)]
    return sections


def _accuracy(metrics: Mapping[str, Any]) -> Section:
    calibration = metrics["calibration"]
    rows = [["top-1 accuracy", with_interval(metrics["top1"])]]
    if metrics["top5"] is not None:
        rows.append(["top-5 accuracy", with_interval(metrics["top5"])])
    rows += [
        ["balanced accuracy", number(metrics["balanced_accuracy"])],
        ["AUC, macro mean of one class against the others", number(metrics["auc_macro"], 4)],
        ["expected calibration error of the most probable class", number(calibration["ece"])],
        ["Brier score, 0 to 2", number(calibration["brier"])],
    ]
    methods = "Intervals of shares are Wilson's, those of areas under the ROC curve DeLong's, on the logit scale."
    if metrics["auc_macro_bound"] is not None:
        methods += (
            " Areas are computed from counts of images in bins of the odds; binning moves their mean by "
            f"{metrics['auc_macro_bound']:.1g} at most."
        )
    return Section(
        "Accuracy on the test split",
        [
            f"{grouped(metrics['images'])} images of {metrics['classes_present']} of {metrics['classes']} classes.",
            _why_both(metrics),
            *metrics["notes"],
            methods,
        ],
        ["measure", "value"],
        rows,
    )


def _why_both(metrics: Mapping[str, Any]) -> str:
    sizes = np.sort([item["images"] for item in metrics["per_class"] if item["images"]])[::-1]
    if sizes[0] == sizes[-1]:
        return "All classes have the same number of images, so plain and balanced accuracy are the same here."
    half = int(np.searchsorted(np.cumsum(sizes), metrics["images"] / 2)) + 1
    return (
        f"Read the two accuracies together. Plain accuracy counts images: {half} of {len(sizes)} classes "
        f"hold{'s' if half == 1 else ''} half of them and decide{'s' if half == 1 else ''} it. Balanced accuracy is "
        "the mean recall of the classes, so that a class of ten images counts as much as one of ten thousand. A "
        "network can be good at the one and poor at the other."
    )


def _groups(groups: Mapping[str, Any], regions: Sequence[_Region]) -> Section:
    header = [
        "",
        "images",
        "classes",
        "top-1 accuracy",
        "top-5 accuracy",
        "balanced accuracy",
        "called inside",
        "errors inside",
    ]
    tables = [
        Table(
            {"modality": "Modalities", "region": "Regions"}.get(kind, kind),
            [kind, *header[1:]],
            [
                [
                    item["name"],
                    grouped(item["images"]),
                    f"{item['classes_present']} of {item['classes']}",
                    _share(item["top1"]),
                    _share(item["top5"]),
                    number(item["balanced_accuracy"]),
                    _alone(item["called_inside"]),
                    _alone(item["errors_inside"]),
                ]
                for item in members
            ],
        )
        for kind, members in groups.items()
    ]
    between = np.array([region.to_regions for region in regions])
    return Section(
        "Modalities and regions",
        [
            "Called inside: share of the images that are called any class of their own modality or region, right or "
            "wrong. Errors inside: of the images called wrong, the share called another class of it. Where that is "
            "high, the network knows what part of the body it sees and errs about the finding.",
        ],
        tables=tables,
        pictures=[heat_picture(between, [region.name for region in regions], None, "From region to region.")],
    )


def _frequency(metrics: Mapping[str, Any]) -> Section:
    present = [item for item in metrics["per_class"] if item["images"]]
    modalities: dict[str, list[tuple[int, float]]] = {}
    for item in present:
        label = _LABELS.get(item["name"])
        group = label.modality if label else "classes"
        modalities.setdefault(group, []).append((item["images"], item["recall"]["estimate"]))
    rows = []
    for low, high in zip(_SIZES, [*_SIZES[1:], None], strict=True):
        inside = [item for item in present if low <= item["images"] and (high is None or item["images"] < high)]
        if inside:
            images = sum(item["images"] for item in inside)
            known = [item["auc"]["auc"] for item in inside if item["auc"]["auc"] is not None]
            rows.append(
                [
                    f"{grouped(low)} and more" if high is None else f"{grouped(low)} to {grouped(high - 1)}",
                    len(inside),
                    grouped(images),
                    number(float(np.mean([item["recall"]["estimate"] for item in inside]))),
                    number(float(np.mean(known)) if known else None),
                ]
            )
    return Section(
        "Frequent and rare classes",
        ["Recall of a class with few test images is uncertain: look at its interval, under Each class, first."],
        tables=[
            Table("By size of the class", ["images of a class", "classes", "images", "mean recall", "mean AUC"], rows)
        ],
        pictures=[
            size_picture([item["images"] for item in present]),
            recall_picture(dict(sorted(modalities.items())), metrics["top1"]["estimate"], metrics["balanced_accuracy"]),
        ],
    )


def _each_region(regions: Sequence[_Region]) -> Section:
    return Section(
        "Each class",
        [
            "Classes are numbered from the most to the least frequent of their region. Recall is the share of a "
            "class's images that are called by its name, precision the share of the images called by its name that are "
            "of it; AUC is of the class against all others.",
        ],
        sections=[
            Section(
                region.name,
                tables=[
                    Table(
                        f"Classes of {region.name}",
                        ["class", "images", "recall", "top-5", "precision", "AUC"],
                        [
                            [
                                f"{place} {region.words[place - 1]}",
                                grouped(item["images"]),
                                _share(item["recall"]),
                                _share(item["top5"]),
                                _share(item["precision"]),
                                _area(item["auc"]),
                            ]
                            for place, item in enumerate(region.classes, start=1)
                        ],
                        folded=True,
                    )
                ],
                pictures=[
                    bars_picture(
                        region.name,
                        [
                            {"label": f"{place}  {words}", "images": item["images"], "recall": item["recall"]}
                            for place, (words, item) in enumerate(
                                zip(region.words, region.classes, strict=True), start=1
                            )
                        ],
                    ),
                    heat_picture(
                        region.confusion,
                        region.words,
                        region.elsewhere if len(regions) > 1 else None,
                        f"{region.name}: what its classes were called.",
                    ),
                ],
            )
            for region in regions
        ],
    )


def _pairs(metrics: Mapping[str, Any]) -> Section:
    pairs = metrics["confused"][:_MOST_PAIRS]
    return Section(
        "Most confused classes",
        [
            "The pairs with most images. Classes that many readers would confuse as well, or that the same image can "
            "show together, say more about the labels than about the network."
        ]
        if pairs
        else ["No image was called a wrong class."],
        ["true class", "called", "images", "of the true class"],
        [
            [_in_words(item["true"]), _in_words(item["called"]), grouped(item["images"]), f"{100 * item['share']:.1f}%"]
            for item in pairs
        ],
    )


def _calibration(metrics: Mapping[str, Any]) -> Section:
    calibration = metrics["calibration"]
    gap = calibration["mean_confidence"] - calibration["accuracy"]
    verdict = "too sure of itself" if gap > 0 else "not sure enough"
    return Section(
        "Calibration",
        [
            f"The class called has a probability of {number(calibration['mean_confidence'])} on average and is right "
            f"in {number(calibration['accuracy'])} of the images: on the whole the network is {verdict}, by "
            f"{number(abs(gap))}. The expected calibration error, {number(calibration['ece'])}, is the mean distance "
            "over 15 bins of equal width; chance adds to it where images are few.",
        ],
        tables=[
            Table(
                "Bins of the calibration curve",
                ["probability", "images", "mean probability", "right"],
                [
                    [
                        f"{number(item['low'], 2)} to {number(item['high'], 2)}",
                        grouped(item["images"]),
                        number(item["confidence"]),
                        with_interval(item["accuracy"]),
                    ]
                    for item in calibration["bins"]
                    if item["images"]
                ],
                folded=True,
            )
        ],
        pictures=[reliability_picture(calibration)],
    )


class _Region:
    """The classes of a region from the most to the least frequent, with their part of the confusion matrix."""

    def __init__(
        self, name: str, members: np.ndarray, metrics: Mapping[str, Any], confusion: np.ndarray, names: np.ndarray
    ) -> None:
        order = members[np.argsort(-confusion[members].sum(axis=1), kind="stable")]
        self.name = name
        self.classes: list[Mapping[str, Any]] = [metrics["per_class"][place] for place in order.tolist()]
        self.words = [_LABELS[item["name"]].words if item["name"] in _LABELS else item["name"] for item in self.classes]
        self.confusion = confusion[np.ix_(order, order)]
        self.elsewhere = confusion[order].sum(axis=1) - self.confusion.sum(axis=1)
        called = confusion[order].sum(axis=0)
        self.to_regions = [int(called[names == other].sum()) for other in dict.fromkeys(names.tolist())]


def _regions(metrics: Mapping[str, Any], confusion: np.ndarray) -> list[_Region]:
    """By region if the classes are RadImageNet's, otherwise all classes as one."""
    classes = [item["name"] for item in metrics["per_class"]]
    if metrics["groups"]:
        names = np.array([f"{_LABELS[name].modality} {_LABELS[name].region}" for name in classes])
    else:
        names = np.array(["all classes"] * len(classes))
    return [
        _Region(name, np.flatnonzero(names == name), metrics, confusion, names)
        for name in dict.fromkeys(names.tolist())
    ]


def _read_confusion(path: Path, classes: Sequence[str]) -> np.ndarray:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
    except (OSError, ValueError) as error:
        raise RecordsError(f"{path} cannot be read ({error}); run evaluate again") from error
    if header[1:] != list(classes) or [row[0] for row in rows] != list(classes):
        raise RecordsError(f"{path} is not of the classes of evaluation.json; run evaluate again")
    return np.array([[int(cell) for cell in row[1:]] for row in rows], dtype=np.int64)


def _in_words(name: str) -> str:
    """``CT abdomen/pelvis: liver lesion``, or the name itself if it is not one of RadImageNet's."""
    label = _LABELS.get(name)
    return name if label is None else f"{label.modality} {label.region}: {label.words}"


def _share(proportion: Mapping[str, Any] | None) -> str:
    """``0.912 (0.861, 0.948)``: for a table whose caption explains the bounds."""
    if proportion is None or proportion["estimate"] is None:
        return "none"
    return f"{number(proportion['estimate'])} ({number(proportion['low'])}, {number(proportion['high'])})"


def _alone(proportion: Mapping[str, Any]) -> str:
    return "none" if proportion["estimate"] is None else number(proportion["estimate"])


def _area(auc: Mapping[str, Any]) -> str:
    if auc["auc"] is None:
        return not_estimable(auc["reason"])
    if auc["low"] is None:
        return f"{number(auc['auc'])} ({not_estimable(auc['reason'], ': ', '')})"
    return f"{number(auc['auc'])} ({interval(auc['low'], auc['high'], 3, auc['confidence']).partition(': ')[2]})"
