"""The page of an explanation: where the network looked, how far that can be trusted, best, median and worst cases."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2

from radimagenet_monai.report.page import Picture, Section, write_page
from radimagenet_monai.report.wording import with_interval

WARNING = (
    "Activation maps show where evidence for a class was found, coarsely. They do not show that the decision is right, "
    "nor why it was made, and are no basis for a diagnosis."
)
_NAMES = {
    "pointing": "Maximum inside the lesion (pointing game)",
    "energy": "Share of the map inside the lesion (energy)",
    "dice": "Dice at the threshold",
    "iou": "IoU at the threshold",
}
_SIDE = 360  # maximum side in pixels of a picture on the page


def write_explanation_page(
    path: str | os.PathLike[str], explanation: Mapping[str, Any], overlays: str | os.PathLike[str]
) -> Path:
    """Write an explanation as one self-contained HTML file, atomically, and return its path.

    Parameters
    ----------
    path
        Path of the HTML file.
    explanation
        Content of ``localization.json``. The page contains neither file names nor patients.
    overlays
        Folder that the gallery's paths are relative to.
    """
    settings = explanation["settings"]
    sections = []
    if explanation["cases"]:
        sections += [_measures(explanation), *_sizes(explanation), *_others(explanation)]
    sections += [*_sanity(explanation), *_gallery(explanation, Path(overlays)), _settings(settings)]
    headline = {"Images": str(explanation["images"] - explanation["unusable"])}
    if explanation["cases"]:
        headline["Cases with a lesion"] = str(explanation["cases"])
        headline["Pointing game"] = with_interval(explanation["pointing"], digits=2)
        headline["Dice"] = with_interval(explanation["dice"], digits=2)
    headline["Sanity check"] = explanation["sanity"]["verdict"]
    return write_page(path, f"What {settings['bundle']} looks at", WARNING, headline, sections)


def _measures(explanation: Mapping[str, Any]) -> Section:
    threshold = f"{explanation['threshold']:g} of each map's maximum ({explanation['threshold_origin']})"
    paragraphs = [
        f"{explanation['cases']} images with a lesion, of {explanation['patients']} patients, explained for "
        f"{explanation['settings']['target']}. Dice and IoU are of the pixels from {threshold}.",
        "By comparison, a map without structure would have a pointing game and an energy of "
        f"{explanation['uniform_pointing']:.2f}, the lesions' mean share of the image, and a map that always points at "
        f"the center of the image a pointing game of {explanation['center_pointing']:.2f}.",
    ]
    if explanation["empty_maps"]:
        paragraphs.append(
            f"{explanation['empty_maps']} maps are empty: the network found no evidence for the class. They count as "
            "misses in every measure."
        )
    rows = [[_NAMES[name], with_interval(explanation[name]), explanation[name]["method"]] for name in _NAMES]
    rows += [
        [f"Dice and IoU from {step['threshold']:g} of the maximum", f"{step['dice']:.3f} and {step['iou']:.3f}", ""]
        for step in explanation["by_threshold"]
    ]
    return Section("Maps and lesions", paragraphs, ["measure", "value", "interval"], rows)


def _sizes(explanation: Mapping[str, Any]) -> list[Section]:
    rows = [
        [
            f"{size['size']} ({100 * size['share_low']:.1f} to {100 * size['share_high']:.1f} % of the image)",
            size["cases"],
            *(with_interval(size[name], digits=2) for name in _NAMES),
        ]
        for size in explanation["by_size"]
    ]
    return [_table("By lesion size", "Thirds of the cases by the lesion's share of the image.", rows)] if rows else []


def _others(explanation: Mapping[str, Any]) -> list[Section]:
    rows = [
        [label, other["cases"], *(with_interval(other[name], digits=2) for name in _NAMES)]
        for label, other in explanation["others"].items()
    ]
    text = (
        f"Lesions of other classes, explained for {explanation['settings']['target']} all the same and not part of the "
        "figures above: where a class is absent, evidence for it has no place it must be in."
    )
    return [_table("Lesions of other classes", text, rows)] if rows else []


def _table(title: str, text: str, rows: Sequence[Sequence[Any]]) -> Section:
    return Section(title, [text], ["", "cases", "pointing", "energy", "Dice", "IoU"], rows)


def _sanity(explanation: Mapping[str, Any]) -> list[Section]:
    sanity = explanation["sanity"]
    rows = [
        [
            check["randomized"],
            f"{check['spearman']:.2f}",
            f"{check['ssim']:.2f}",
            f"{100 * check['empty']:.0f} %",
            "" if check["pointing"] is None else f"{check['pointing']:.2f}",
        ]
        for check in sanity["checks"]
    ]
    header = ["reinitialized weights", "rank correlation", "structural similarity", "empty maps", "pointing game"]
    return [Section(f"Sanity check: {sanity['verdict']}", [sanity["text"]], header, rows)]


def _gallery(explanation: Mapping[str, Any], folder: Path) -> list[Section]:
    titles = {"best": "Best cases", "median": "Median cases", "worst": "Worst cases", "example": "Examples"}
    sections = []
    for rank, title in titles.items():
        pictures = [
            Picture(
                _data_uri(folder / case["overlay"]), _in_words(case, "Activation map over the image. "), _in_words(case)
            )
            for case in explanation["gallery"]
            if case["rank"] == rank
        ]
        if pictures:
            text = "By the share of the map inside the lesion, whose outline is blue." if rank != "example" else ""
            sections.append(Section(title, [text] if text else [], pictures=pictures))
    return sections


def _in_words(case: Mapping[str, Any], before: str = "") -> str:
    text = f"{before}Case {case['number']}: {case['class']}, probability {case['probability']:.2f}"
    if case["energy"] is None:
        return f"{text}."
    hit = "inside" if case["pointing"] >= 0.5 else "outside"
    return f"{text}; maximum {hit} the lesion, energy {case['energy']:.2f}, Dice {case['dice']:.2f}."


def _data_uri(path: Path) -> str:
    picture = cv2.imread(str(path))
    assert picture is not None
    scale = _SIDE / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    shown = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    encoded, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 88])
    assert encoded
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _settings(settings: Mapping[str, Any]) -> Section:
    return Section(
        "Settings",
        (),
        ["setting", "value"],
        [[name, "" if value is None else value] for name, value in settings.items()],
    )
