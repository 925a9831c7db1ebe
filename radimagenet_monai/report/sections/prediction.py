"""The page of a prediction: answers, pictures, what was left out and why. It names no file and no patient."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from radimagenet_monai.catalog.phantom_notice import PHANTOM_NOTICE
from radimagenet_monai.report.page import Picture, Section, write_page

MOST_PICTURES = 24
_MOST_ROWS = 500
WARNING = (
    "Research software, not a medical device. The answers are those of a network, unverified; they are no diagnosis "
    "and no basis for one."
)
_HIDDEN = ("file", "mask")


class Answered(Protocol):
    """What the page shows of a prediction, see `radimagenet_monai.integrations.prediction.Prediction`."""

    @property
    def number(self) -> int: ...
    @property
    def row(self) -> dict[str, Any]: ...
    @property
    def written(self) -> tuple[str, ...]: ...
    @property
    def problem(self) -> str: ...


def write_prediction_page(
    path: str | os.PathLike[str],
    head: Mapping[str, Any],
    predictions: Sequence[Answered],
    folder: str | os.PathLike[str],
    phantom: bool = False,
) -> Path:
    """Write the page of a prediction as one self-contained HTML file, atomically, and return its path.

    Parameters
    ----------
    path
        Path of the HTML file.
    head
        First entries of ``predictions.json``.
    predictions
        One per study.
    folder
        Folder that their pictures are in.
    phantom
        Whether images are phantoms.
    """
    sections = [
        *_pictures(predictions, Path(folder)),
        _answers(predictions),
        *_counts("Studies without an answer", "reason", "studies", head["problems"]),
        *_counts(
            "Files left out",
            "reason",
            "files",
            head["files_left_out"],
            "They are no images for this model, or no images at all; left_out.csv lists them.",
        ),
        *_counts("Questions about the images", "question", "studies", head["studies_with_questions"]),
        _confidence(head),
        _model(head),
    ]
    headline = {
        "Studies": str(head["number_of_studies"]),
        "With an answer": str(head["answered"]),
        "Without": str(head["number_of_studies"] - head["answered"]),
        "Files left out": str(sum(head["files_left_out"].values())),
    }
    warning = f"{WARNING} {PHANTOM_NOTICE}" if phantom else WARNING
    return write_page(path, f"Prediction of {head['bundle']}", warning, headline, sections)


def _pictures(predictions: Sequence[Answered], folder: Path) -> list[Section]:
    pictures = []
    for prediction in predictions:
        for name in prediction.written:
            if name.endswith(".jpg"):
                data = base64.b64encode((folder / name).read_bytes()).decode("ascii")
                text = f"Study {prediction.number}: {_in_words(prediction.row)}"
                pictures.append(Picture(f"data:image/jpeg;base64,{data}", f"Slices of the study. {text}", text))
    if not pictures:
        return []
    shown = (
        f" The page shows {len(pictures)} of {len(predictions)} studies." if len(pictures) < len(predictions) else ""
    )
    text = (
        "Slices as the network saw them, up to six of a study. The outline of a mask is orange; without one, no lesion "
    )
    return [Section("Pictures", [f"{text}was marked on them.{shown}"], pictures=pictures)]


def _in_words(row: Mapping[str, Any]) -> str:
    parts = []
    if "lesion_voxels" in row:
        volume = "" if row["lesion_ml"] is None else f" ({row['lesion_ml']:.3g} ml)"
        parts.append(f"{row['lesion_voxels']} voxels marked{volume}")
    for name, value in row.items():
        if name.startswith("probability_") and isinstance(value, float):
            parts.append(f"{name.removeprefix('probability_')} {value:.3f}")
    if row.get("decision"):
        parts.append(f"decision: {row['decision']}")
    called = [name.removeprefix("decision_") for name, value in row.items() if "decision_" in name and value == 1]
    if called:
        parts.append(f"called: {', '.join(called)}")
    parts.append(f"{row['slices_used']} of {row['slices_of_image']} slices used")
    return "; ".join(parts) + "."


def _answers(predictions: Sequence[Answered]) -> Section:
    columns = [name for name in predictions[0].row if name not in _HIDDEN]
    rows = [[_cell(prediction.row[name]) for name in columns] for prediction in predictions[:_MOST_ROWS]]
    more = (
        f" The first {_MOST_ROWS} of {len(predictions)} studies; predictions.csv has all of them."
        if len(predictions) > _MOST_ROWS
        else ""
    )
    text = "Studies are numbered as in predictions.csv, which names their files."
    return Section("Answers", [text + more], [name.replace("_", " ") for name in columns], rows)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)


def _counts(title: str, what: str, counted: str, counts: Mapping[str, int], text: str = "") -> list[Section]:
    rows = [[reason, str(count)] for reason, count in counts.items()]
    return [Section(title, [text] if text else [], [what, counted], rows)] if rows else []


def _confidence(head: Mapping[str, Any]) -> Section:
    paragraphs = []
    for name, fitted in head["calibration"].items():
        paragraphs.append(
            f"The calibrated probability of {name} is what the network's probability stood for among "
            f"{fitted['images']} validation images or exams ({fitted['positives']} with {name}), by logistic "
            "recalibration, with the 95% interval of that fit. It holds where the share of positives and the images "
            "are as in validation, and nowhere else; the model was chosen on the same data, so it is somewhat "
            "optimistic. The interval is that of the fit, not of a single patient's answer."
        )
    if not paragraphs:
        paragraphs.append(
            "The model keeps no calibration: its probabilities are the network's own, and nothing is known of what "
            "they stand for."
        )
    if head["abstain_below"] is not None:
        paragraphs.append(
            f"{head['abstained']} studies were left undecided: the calibrated probability of the decision is below "
            f"{head['abstain_below']:g}."
        )
    if head["distance_limit"] is None:
        paragraphs.append("The model keeps no summary of its validation images: unusual images cannot be pointed out.")
    else:
        paragraphs.append(
            f"{head['unusual']} studies are unusual: their Mahalanobis distance to the features of "
            f"{head['distance_reference_images']} validation images, the median over slices, is above "
            f"{head['distance_limit']:.3g}, which 1% of validation images exceed. An unusual image need not be "
            "answered wrongly, and one that is not unusual need not be answered rightly."
        )
    return Section("How sure the answers are", paragraphs)


def _model(head: Mapping[str, Any]) -> Section:
    names = ("bundle", "bundle_version", "model_sha256", "architecture", "classes", "thresholds", "slices_combined_by")
    rows = [[name.replace("_", " "), _setting(head[name])] for name in (*names, "group", "settings")]
    return Section("Model and settings", (), ["", "value"], rows)


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_setting(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
