"""``radimagenet explain``: overlays, measures, sanity check and a page that show where a trained classifier looks."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from radimagenet_monai.core.atomic import atomic_write_bytes, atomic_write_text
from radimagenet_monai.core.named_roots import without_folders
from radimagenet_monai.datasets.records.root import root_of, table_of
from radimagenet_monai.datasets.records.table import RECORDS_FILE, read_records
from radimagenet_monai.engine.start.preflight import require_writable
from radimagenet_monai.engine.trained.model_file import trained_fact
from radimagenet_monai.explain.activation_maps import FINAL, activation_maps, classifier_feature_map
from radimagenet_monai.explain.bundle_maps import (
    ExplainedCase,
    Localized,
    MapSettings,
    RecordsPart,
    collect,
    explain_images,
    find_threshold,
    limited,
    records_items,
)
from radimagenet_monai.explain.randomization_check import RandomizationCheck, check_randomization
from radimagenet_monai.explain.trained_classifier import TrainedClassifier
from radimagenet_monai.loading.native_dataset import list_native_images
from radimagenet_monai.models.classifier import Classifier
from radimagenet_monai.report.heat_overlay import draw_heat_overlay
from radimagenet_monai.report.sections.explanation import write_explanation_page

TABLE_FILE = "localization.csv"
JSON_FILE = "localization.json"
PAGE_FILE = "explain.html"
OVERLAYS_FOLDER = "overlays"

_SANITY_IMAGES = 32
_DRAWS = 3
_SHOWN = 3  # maximum number of cases per rank


def explain(
    bundle: str | os.PathLike[str],
    input: str | os.PathLike[str],
    out: str | os.PathLike[str],
    method: str = "gradcam",
    records: str | os.PathLike[str] | None = None,
    split: str = "test",
    fold: int | None = None,
    target: str | None = None,
    level: str = FINAL,
    threshold: float | None = None,
    tolerance: float = 0,
    sanity: bool = True,
    limit: int | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Path:
    """Explain a bundle's classifier on images, and compare the maps with lesion masks if known.

    Writes into ``out``: ``overlays/0001.png`` ... (the image in gray, the map in color, the lesion's outline, at the
    image's own size; parts that the network did not see are black), ``localization.csv`` (one row per image),
    ``localization.json`` (summary, sanity check, settings, gallery) and ``explain.html``. Only the table contains file
    names; overlays, JSON and page contain neither files nor patients.

    Parameters
    ----------
    bundle
        Folder of a trained classification bundle.
    input
        An image, a folder of images, a records table or the folder with ``records.csv``; with ``records``, the folder
        that its paths are relative to.
    out
        Folder for the results.
    records
        Records table of ``input``.
    split, fold
        Part of the records; ``split="all"`` takes every row.
    method, level, target, tolerance
        See `MapSettings`.
    threshold
        See `localize`.
    sanity
        Whether to compare with networks of random weights, on up to 32 of the images.
    limit
        Maximum number of images, evenly spaced.
    settings
        Keys of the bundle's ``inference.json``, such as ``allow_modality_mismatch``.
    progress
        Whether to show bars on a terminal.

    Returns
    -------
    pathlib.Path
        Path of the page.

    Raises
    ------
    RadImageNetError
        For a bundle without a trained classifier, unsuitable records, settings out of range, or if no image can be
        used; single images that cannot be used are noted in the table and skipped.
    """
    require_writable(out)
    maps = MapSettings(method=method, level=level, target=target, tolerance=tolerance)
    classifier = TrainedClassifier(bundle, settings)
    frame, root, items = _items(input, records, split, fold, classifier)
    items = limited(items, limit)
    masked = any(item.get("mask") for item in items)
    if frame is not None and masked:
        part = RecordsPart(frame, root, split, fold, limit)
        chosen, origin = find_threshold(classifier, part, maps, threshold, progress)
    else:
        chosen, origin = (0.5, "fixed beforehand") if threshold is None else (float(threshold), "given")

    folder = Path(out)
    kept = set(np.linspace(0, len(items) - 1, min(_SANITY_IMAGES, len(items))).round().astype(int).tolist())
    _remove_overlays(folder / OVERLAYS_FOLDER)
    cases: list[ExplainedCase] = []
    checked: list[_CheckedImage] = []
    for place, case in enumerate(explain_images(classifier, items, maps, progress=progress)):
        if case.image is not None and case.heatmap is not None:
            overlay = draw_heat_overlay(case.image.picture, case.image.to_picture(case.heatmap), case.mask)
            encoded, data = cv2.imencode(".png", overlay)
            assert encoded
            atomic_write_bytes(folder / _overlay(place + 1), data.tobytes())
            if place in kept:
                checked.append(_CheckedImage(case, tolerance))
        case.image = case.heatmap = case.mask = None
        cases.append(case)

    found = collect(classifier, cases, frame, root, chosen, origin)
    check = RandomizationCheck((), 0, 0, "not made", "The sanity check was switched off.")
    if sanity:
        check = _sanity(classifier, checked, maps)
    explanation = {
        "images": len(cases),
        "unusable": sum(bool(case.problem) for case in cases),
        "without_lesion": sum(not case.problem and case.localization is None for case in cases),
        **found.summary.to_dict(),
        "others": {name: summary.to_dict() for name, summary in found.others.items()},
        "sanity": check.to_dict(),
        "gallery": _gallery(found),
        "settings": {
            "bundle": classifier.name,
            "architecture": classifier.architecture,
            "weights": trained_fact(bundle, "weights", None),
            "model_sha256": trained_fact(bundle, "sha256", None),
            "image_size": classifier.image_size,
            **asdict(maps),
            "target": _target_in_words(found.table, target),
            "split": split if frame is not None else None,
            "fold": fold,
        },
    }
    columns = list(found.table.columns)
    table = found.table.round({name: 6 for name in columns if found.table[name].dtype == np.float64})
    atomic_write_text(folder / TABLE_FILE, table.to_csv(index=False, lineterminator="\n"))
    explanation = without_folders(explanation)
    atomic_write_text(folder / JSON_FILE, json.dumps(explanation, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return write_explanation_page(folder / PAGE_FILE, explanation, folder)


class _CheckedImage:
    """The data of a case for the sanity check."""

    def __init__(self, case: ExplainedCase, tolerance: float) -> None:
        assert case.image is not None
        self.canonical = case.image.canonical
        self.target = case.target
        self.lesion = None
        if case.mask is not None:
            near = ndimage.distance_transform_edt(~case.mask) <= tolerance
            self.lesion = case.image.from_picture(near)


def _sanity(classifier: TrainedClassifier, images: Sequence[_CheckedImage], maps: MapSettings) -> RandomizationCheck:
    feature_map = classifier_feature_map(classifier.network, maps.level)
    stacked = torch.stack([image.canonical for image in images])
    targets = torch.tensor([image.target for image in images])

    def maps_of(network: Classifier) -> np.ndarray:
        parts = [
            activation_maps(network, some.to(classifier.device), chosen, maps.method, feature_map)
            for some, chosen in zip(stacked.split(maps.batch_size), targets.split(maps.batch_size), strict=True)
        ]
        return np.concatenate(parts)

    return check_randomization(classifier.network, maps_of, _DRAWS, masks=[image.lesion for image in images])


def _items(
    input: str | os.PathLike[str],
    records: str | os.PathLike[str] | None,
    split: str,
    fold: int | None,
    classifier: TrainedClassifier,
) -> tuple[pd.DataFrame | None, Path, list[dict[str, Any]]]:
    """The records table, if any, the folder that image names are relative to, and the items."""
    place = Path(input)
    if records is None and place.suffix.lower() != ".csv" and not (place / RECORDS_FILE).is_file():
        images = list_native_images(place)
        for note in images.left_out.notes:
            print(f"note: {note}", flush=True)
        return None, place, images
    table = table_of(place if records is None else records)
    frame = read_records(table, classifier.classes, require_label=False)
    root = root_of(table, frame, None if records is None else place)
    return frame, root, records_items(frame, root, split, fold)


def _gallery(found: Localized) -> list[dict[str, Any]]:
    """Best, median and worst of the counted cases by energy; without counted cases, the first images."""
    table = found.table[found.table["problem"].isna()]
    counted = table[table["counted"]].sort_values(["energy", "number"], ascending=[False, True], kind="stable")
    count = len(counted)
    if not count:
        ranked = [("example", row) for row in table.head(2 * _SHOWN).to_dict("records")]
    else:
        shown = min(_SHOWN, max(1, count // 3))
        middle = (count - shown) // 2
        places = {"best": range(shown), "median": range(middle, middle + shown), "worst": range(count - shown, count)}
        rows = counted.to_dict("records")
        taken: set[int] = set()
        ranked = []
        for rank in ("best", "worst", "median"):
            ranked += [(rank, rows[place]) for place in places[rank] if place not in taken]
            taken.update(places[rank])
    keys = ("class", "probability", "dice", "energy", "pointing")
    return [
        {
            "rank": rank,
            "number": int(row["number"]),
            "overlay": _overlay(int(row["number"])),
            **{key: None if pd.isna(row[key]) else row[key] for key in keys},
        }
        for rank, row in ranked
    ]


def _target_in_words(table: pd.DataFrame, given: str | None) -> str:
    explained = table["class"].dropna().unique().tolist()
    return str(given or (explained[0] if len(explained) == 1 else "the network's decision"))


def _overlay(number: int) -> str:
    return f"{OVERLAYS_FOLDER}/{number:04d}.png"


def _remove_overlays(folder: Path) -> None:
    """Remove the overlays of an earlier run, which may have had more images."""
    if folder.is_dir():
        for path in folder.iterdir():
            if re.fullmatch(r"\d{4,}\.png", path.name):
                path.unlink()
