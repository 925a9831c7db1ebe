"""Activation maps of a bundle's classifier for a set of images, compared with lesion masks if there are any."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.masks import item_mask
from radimagenet_monai.datasets.records.root import root_of, table_of
from radimagenet_monai.datasets.records.table import SPLITS, Split, frame_number, read_records, to_datalist
from radimagenet_monai.engine.outputs.writers import relative_to
from radimagenet_monai.explain.activation_maps import FINAL, Method, activation_maps, classifier_feature_map
from radimagenet_monai.explain.localization import (
    FIXED_THRESHOLD,
    Localization,
    LocalizationSummary,
    choose_threshold,
    measure_localization,
    summarize_localization,
)
from radimagenet_monai.explain.trained_classifier import PreparedImage, TrainedClassifier
from radimagenet_monai.statistics.patient_numbers import number_patients
from radimagenet_monai.store.packed_row import describe_failure

COLUMNS = (
    "number",
    "record",
    "patient",
    "file",
    "frame",
    "label",
    "class",
    "probability",
    "pointing",
    "energy",
    "dice",
    "iou",
    "lesion_share",
    "counted",
    "problem",
)
"""Of the table of cases. ``record`` is the place in the records table and ``patient`` a number, no id; ``class`` is the
class explained; ``counted`` tells whether the case is part of the summary."""


@dataclass(frozen=True)
class MapSettings:
    """Settings of the maps.

    Attributes
    ----------
    method
        ``"gradcam"`` or ``"gradcam++"``.
    level
        Feature map: ``"1/32"``, the final one, or ``"1/16"``.
    target
        Name of the class explained in every image. ``None``: the positive class of two if there are lesion masks,
        otherwise the network's decision for each image.
    tolerance
        Pixels of the original image by which the maximum may miss the lesion in the pointing game.
    batch_size
        Images per batch.
    """

    method: str = "gradcam"
    level: str = FINAL
    target: str | None = None
    tolerance: float = 0
    batch_size: int = 16


@dataclass(frozen=True)
class RecordsPart:
    """Part of a records table whose images are explained.

    Attributes
    ----------
    frame
        The whole table.
    root
        Folder that its paths are relative to.
    split, fold
        As for `to_datalist`; ``"all"`` takes every row.
    limit
        Maximum number of images, evenly spaced.
    """

    frame: pd.DataFrame
    root: str | os.PathLike[str]
    split: str = "test"
    fold: int | None = None
    limit: int | None = None

    def items(self) -> list[dict[str, Any]]:
        """The items of the images, with their class name as ``label_name`` if known."""
        return limited(records_items(self.frame, self.root, self.split, self.fold), self.limit)


@dataclass
class ExplainedCase:
    """One image with its map.

    Attributes
    ----------
    item
        Item of the datalist.
    image
        ``None`` for an image that could not be used; ``problem`` says why.
    heatmap
        float32 ``(image_size, image_size)`` in [0, 1].
    mask
        ``(rows, columns)`` booleans of the original image; ``None`` if unknown, or if there is no lesion.
    target
        Index of the explained output, with ``probability`` its probability.
    """

    item: Mapping[str, Any]
    image: PreparedImage | None = None
    heatmap: np.ndarray | None = None
    mask: np.ndarray | None = None
    target: int = 0
    probability: float = 0.0
    localization: Localization | None = None
    problem: str = ""


@dataclass(frozen=True)
class Localized:
    """Result of `localize`: one row per case, and the summary over the counted cases.

    ``others`` maps the other classes to summaries of their cases with a lesion.
    """

    table: pd.DataFrame
    summary: LocalizationSummary
    others: dict[str, LocalizationSummary]


def localize(
    bundle: str | os.PathLike[str],
    records: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    maps: MapSettings | None = None,
    threshold: float | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
    **part: Any,
) -> Localized:
    """Measure how well a classifier's maps point at the lesions of a records table.

    The summary is over images with a lesion whose label is the explained class: evidence for *benign* is the absence of
    signs of malignancy and need not lie in the lesion.

    Parameters
    ----------
    bundle
        Folder of a trained classification bundle.
    records, root
        The table or its folder, and the folder that its paths are relative to, by default from `root_of`.
    maps
        Settings of the maps.
    threshold
        Share of a map's maximum for Dice and IoU, see `THRESHOLDS`. By default chosen on the validation part of the
        records, or 0.5 if that has no lesion.
    settings
        Keys of the bundle's ``inference.json``.
    progress
        Whether to show bars on a terminal.
    part
        ``split``, ``fold`` and ``limit`` of a `RecordsPart`; ``limit`` holds for each part of the table.

    Raises
    ------
    RecordsError
        If the table has no masks in that part, or no image can be used.
    ConfigurationError, WeightsError
        As for `TrainedClassifier` and `activation_maps`.
    """
    maps = maps or MapSettings()
    classifier = TrainedClassifier(bundle, settings)
    table = table_of(records)
    frame = read_records(table, classifier.classes, require_label=False)
    root = root_of(table, frame, root)
    chosen_part = RecordsPart(frame, root, **part)
    items = chosen_part.items()
    if not any(item.get("mask") for item in items):
        raise RecordsError(f"{table}: no row of split '{chosen_part.split}' has a mask; fill the mask column")
    chosen, origin = find_threshold(classifier, chosen_part, maps, threshold, progress)
    cases = list(strip_pictures(explain_images(classifier, items, maps, progress=progress)))
    return collect(classifier, cases, frame, root, chosen, origin)


def explain_images(
    classifier: TrainedClassifier,
    items: Sequence[Mapping[str, Any]],
    maps: MapSettings,
    title: str = "maps",
    progress: bool = True,
) -> Iterator[ExplainedCase]:
    """Yield the cases of a datalist in its order, measured if they have a lesion mask.

    An image that cannot be used becomes a case with a ``problem``.
    """
    Method.parse(maps.method)
    feature_map = classifier_feature_map(classifier.network, maps.level)
    target = _target(classifier, maps.target, masked=any(item.get("mask") for item in items))
    with tqdm(total=len(items), desc=title, unit="image", leave=False, disable=None if progress else True) as bar:
        for start in range(0, len(items), maps.batch_size):
            cases = [_read(classifier, item) for item in items[start : start + maps.batch_size]]
            usable = [case for case in cases if case.image is not None]
            if usable:
                images = torch.stack([case.image.canonical for case in usable if case.image]).to(classifier.device)
                probabilities = classifier.probabilities(images)
                targets = classifier.decisions(probabilities) if target is None else np.full(len(usable), target)
                heatmaps = activation_maps(
                    classifier.network, images, torch.from_numpy(targets), maps.method, feature_map
                )
                for case, heatmap, wanted, row in zip(usable, heatmaps, targets, probabilities, strict=True):
                    _measure(case, heatmap, int(wanted), float(row[wanted]), maps.tolerance)
            yield from cases
            bar.update(len(cases))


def find_threshold(
    classifier: TrainedClassifier,
    part: RecordsPart,
    maps: MapSettings,
    given: float | None = None,
    progress: bool = True,
) -> tuple[float, str]:
    """The threshold of Dice and IoU, and its origin in words: given, chosen on validation cases, or fixed."""
    if given is not None:
        return float(given), "given"
    if part.split not in ("validation", "all"):
        try:
            items = records_items(part.frame, part.root, "validation", part.fold)
            items = limited([item for item in items if item.get("mask")], part.limit)
        except RecordsError:
            items = []  # the table has no validation part, or not all of its files are here
        cases = [
            case.localization
            for case in strip_pictures(explain_images(classifier, items, maps, "threshold", progress))
            if case.localization is not None and is_counted(classifier, case)
        ]
        if cases:
            return choose_threshold(cases), f"highest mean Dice on {len(cases)} validation cases"
    return FIXED_THRESHOLD, "fixed beforehand: no validation case with a lesion"


def collect(
    classifier: TrainedClassifier,
    cases: Sequence[ExplainedCase],
    frame: pd.DataFrame | None,
    root: str | os.PathLike[str],
    threshold: float,
    origin: str,
) -> Localized:
    """The table and the summaries of cases.

    Raises
    ------
    RecordsError
        If none of the images can be used.
    """
    if cases and all(case.problem for case in cases):
        raise RecordsError(f"none of {len(cases)} images could be used; the first: {cases[0].problem}")
    numbers = None if frame is None else number_patients(frame["patient_id"].tolist(), len(frame))
    rows = []
    for place, case in enumerate(cases, start=1):
        record = case.item.get("record")
        measured = case.localization
        dice, iou = (None, None) if measured is None else measured.at(threshold)
        rows.append(
            {
                "number": place,
                "record": record,
                "patient": None if numbers is None or record is None else int(numbers[record]),
                "file": relative_to(Path(root), str(case.item["image"])),
                "frame": frame_number(case.item),
                "label": _label(case),
                "class": None if case.problem else classifier.outputs[case.target],
                "probability": None if case.problem else case.probability,
                "pointing": None if measured is None else measured.pointing,
                "energy": None if measured is None else measured.energy,
                "dice": dice,
                "iou": iou,
                "lesion_share": None if measured is None else measured.lesion_share,
                "counted": measured is not None and is_counted(classifier, case),
                "problem": case.problem or None,
            }
        )
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"record": "Int64", "patient": "Int64"})

    def summary(keep: Callable[[Any], bool]) -> LocalizationSummary:
        kept = [(case.localization, row["patient"]) for case, row in zip(cases, rows, strict=True) if keep(row)]
        return summarize_localization(
            [measured for measured, _ in kept if measured is not None],
            threshold,
            origin,
            patients=[patient for _, patient in kept],
        )

    others = sorted({str(row["label"]) for row in rows if row["pointing"] is not None and not row["counted"]})
    return Localized(
        table,
        summary(lambda row: row["counted"]),
        {name: summary(partial(_is_other, name)) for name in others},
    )


def is_counted(classifier: TrainedClassifier, case: ExplainedCase) -> bool:
    """Whether a case has the explained class; true if the label is unknown or unrelated to the output."""
    label = _label(case)
    return label is None or not classifier.exclusive or label == classifier.outputs[case.target]


def records_items(
    frame: pd.DataFrame, root: str | os.PathLike[str], split: str, fold: int | None
) -> list[dict[str, Any]]:
    """Items of a part of a records table, with their class name as ``label_name`` if known."""
    if split not in (*SPLITS, "all"):
        raise ConfigurationError(f"split '{split}' is unknown; expected one of {', '.join(SPLITS)} or all")
    items = to_datalist(frame, root, None, None if split == "all" else cast(Split, split), fold)
    labels = frame["label"].tolist()
    for item in items:
        if labels[item["record"]]:
            item["label_name"] = labels[item["record"]]
    return items


def limited(items: list[dict[str, Any]], limit: int | None) -> list[dict[str, Any]]:
    """At most ``limit`` items, evenly spaced over the list.

    Raises
    ------
    ConfigurationError
        For a limit below 1.
    """
    if limit is None:
        return items
    if int(limit) < 1:
        raise ConfigurationError(f"limit {limit} was given; expected at least 1 image")
    if len(items) <= int(limit):
        return items
    return [items[place] for place in np.linspace(0, len(items) - 1, int(limit)).round().astype(int)]


def strip_pictures(cases: Iterator[ExplainedCase]) -> Iterator[ExplainedCase]:
    """The same cases without pixels, so that thousands fit into memory."""
    for case in cases:
        case.image = case.heatmap = case.mask = None
        yield case


def _target(classifier: TrainedClassifier, name: str | None, masked: bool) -> int | None:
    if name is not None:
        return classifier.output(str(name))
    return 1 if masked and classifier.exclusive and len(classifier.outputs) == 2 else None


def _read(classifier: TrainedClassifier, item: Mapping[str, Any]) -> ExplainedCase:
    try:
        image = classifier.prepare(item)
        rows, columns = image.picture.shape
        mask = item_mask(item, (rows, columns))
    except Exception as error:
        failure = describe_failure(error, item)
        cause = failure.cause.removeprefix(f"{item['image']}: ")
        return ExplainedCase(item, problem=f"{failure.stage}: {cause}")
    return ExplainedCase(item, image, mask=mask if mask.any() else None)


def _measure(case: ExplainedCase, heatmap: np.ndarray, target: int, probability: float, tolerance: float) -> None:
    case.heatmap, case.target, case.probability = heatmap, target, probability
    if case.mask is not None and case.image is not None:
        case.localization = measure_localization(case.image.to_picture(heatmap), case.mask, tolerance)


def _is_other(name: str, row: Mapping[str, Any]) -> bool:
    return row["pointing"] is not None and not row["counted"] and str(row["label"]) == name


def _label(case: ExplainedCase) -> str | None:
    return str(case.item["label_name"]) if "label_name" in case.item else None
