"""Writing the results of an evaluation or inference run: predictions and metrics."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.core.named_roots import without_folders
from radimagenet_monai.datasets.records.table import frame_number
from radimagenet_monai.engine.distributed import rank
from radimagenet_monai.engine.outputs.predictions import PredictionCollector
from radimagenet_monai.engine.trained.model_file import operating_points
from radimagenet_monai.intensity.checks.plausibility import counted, in_words
from radimagenet_monai.io.discovery.left_out import printable
from radimagenet_monai.loading.native_dataset import left_out_of
from radimagenet_monai.loading.resize import QUESTIONS
from radimagenet_monai.statistics.classification import evaluate_binary
from radimagenet_monai.statistics.multiclass import evaluate_multiclass
from radimagenet_monai.statistics.multilabel import evaluate_findings, findings_to_dict
from radimagenet_monai.statistics.predictions import (
    PREDICTIONS_CSV,
    PredictionTable,
    by_exam,
    check_exam_rule,
    exam_of,
    known_labels,
    write_rows,
)

logger = logging.getLogger(__name__)

PREDICTIONS_JSON = "predictions.json"
EXAMS_CSV = "exams.csv"
LEFT_OUT_CSV = "left_out.csv"
QUESTIONS_CSV = "questions.csv"
EVALUATION_JSON = "evaluation.json"

_MOST_COLUMNS = 20  # with more classes, only the most probable are written
TOP = 5


class PredictionWriter:
    """Handler that writes ``predictions.csv`` and ``predictions.json`` when an engine completes.

    A row holds the file (relative to ``root``, with ``/``), the frame, the probability of every class (with more than
    20 classes, the five most probable), the decision and, where known, the true class and the reason why an image could
    not be read. With findings, each has its probability and its decision, 1 or 0. Nothing from an image's header is
    written: no name, no id, no date. With ``aggregate``, ``exams.csv`` holds one row per exam, with its name and the
    file of its first slice. The name comes from the records; without records, or if they name no exam, it is that of
    the file or of the first file of the series.

    ``left_out.csv`` lists the files of the folder that were left out, with the reason; ``questions.csv`` lists the
    images with doubtful values and the question about each. ``predictions.json`` counts the questions.

    The run ends in a `RecordsError`, after the files are written, if no image could be read.

    Parameters
    ----------
    folder
        Output folder.
    data
        ``data`` of the engine's dataset.
    classes
        Class names in index order.
    root
        Image folder, or a single image file.
    checkpoint
        Trained model; its operating point is stored beside it.
    threshold
        Replaces that operating point. With two classes, an image is called ``classes[1]`` at or above this probability;
        with more, the decision is the most probable class. The engine's ``state.thresholds`` is set.
    findings
        Names of findings that may occur together; used instead of classes.
    aggregate
        Aggregation rule, see `by_exam`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        data: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        root: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str],
        threshold: float | None = None,
        findings: Sequence[str] | None = None,
        aggregate: str = "none",
    ) -> None:
        check_exam_rule(aggregate)
        self.folder = Path(folder)
        self.data = data
        self.classes = list(classes)
        self.findings = list(findings or ())
        self.root = Path(root)
        self.checkpoint = checkpoint
        self.threshold = threshold
        self.aggregate = aggregate
        self._unreadable: dict[int, str] = {}
        self._questions: dict[int, str] = {}

    def attach(self, engine: Engine) -> None:
        PredictionCollector(exclusive=not self.findings).attach(engine)
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note_unreadable)
        engine.add_event_handler(Events.COMPLETED, self)

    def _start(self, engine: Any) -> None:
        self._unreadable, self._questions = {}, {}
        engine.state.thresholds = operating_points(self.checkpoint, self._decided(), self.threshold)

    def _decided(self) -> list[str]:
        """Names of what a threshold decides on."""
        if self.findings:
            return self.findings
        return self.classes[1:] if len(self.classes) == 2 else []

    def _note_unreadable(self, engine: Any) -> None:
        for item in engine.state.batch:
            if item.get("unreadable"):
                self._unreadable[int(item["index"])] = str(item["unreadable"])
            if item.get(QUESTIONS):
                self._questions[int(item["index"])] = str(item[QUESTIONS])

    def __call__(self, engine: Any) -> None:
        if rank() != 0:
            return
        table, thresholds = engine.state.predictions, engine.state.thresholds
        rows = self.rows(table, thresholds)
        write_rows(self.folder / PREDICTIONS_CSV, rows)
        write_left_out(self.folder, self.data)
        report: dict[str, Any] = {
            "classes": self.findings or self.classes,
            "thresholds": thresholds,
            "predictions": rows,
            "questions": write_questions(self.folder, self.data, self.root, self._questions),
        }
        if self.aggregate != "none":
            report["exams"] = self.exam_rows(table, thresholds)
            write_rows(self.folder / EXAMS_CSV, report["exams"])
        atomic_write_text(self.folder / PREDICTIONS_JSON, json.dumps(report, indent=1) + "\n")
        self._report_problems(rows)

    def _report_problems(self, rows: Sequence[Mapping[str, Any]]) -> None:
        report_problems([f"{row['file']}: {row['problem']}" for row in rows if row["problem"]], len(rows), self.folder)

    def rows(self, table: PredictionTable, thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
        """One row per image."""
        rows = []
        for position, index in enumerate(table.index.tolist()):
            item = self.data[index]
            row: dict[str, Any] = {
                "file": relative_to(self.root, str(item["image"])),
                "frame": frame_number(item),
            }
            problem = self._unreadable.get(index)
            row |= self._result(table, position, thresholds, bool(problem))
            row["problem"] = problem
            rows.append(row)
        return rows

    def exam_rows(self, table: PredictionTable, thresholds: Mapping[str, float]) -> list[dict[str, Any]]:
        """One row per exam, without unreadable slices."""
        readable = np.array([index not in self._unreadable for index in table.index.tolist()], dtype=bool)
        kept = table.at(table.index[readable])
        exams = by_exam(kept, self.data, self.aggregate)
        slices: dict[tuple[str, str], int] = {}
        for index in kept.index.tolist():
            exam = exam_of(self.data[index], index)
            slices[exam] = slices.get(exam, 0) + 1
        rows = []
        for position, index in enumerate(exams.index.tolist()):
            item = self.data[index]
            # Exams of two patients may share a name; the file of the first slice identifies the exam.
            row = {
                "file": relative_to(self.root, str(item["image"])),
                "exam": self._exam_name(item),
                "slices": slices[exam_of(item, index)],
            }
            rows.append(row | self._result(exams, position, thresholds, False))
        return rows

    def _exam_name(self, item: Mapping[str, Any]) -> str:
        """Name of the exam in the records; otherwise its file, or the first file of its series."""
        named = str(item.get("exam") or "")
        if named and "patient_id" in item and not Path(named).is_absolute():
            return named
        return relative_to(self.root, named or str(item["image"]))

    def _result(
        self, table: PredictionTable, position: int, thresholds: Mapping[str, float], failed: bool
    ) -> dict[str, Any]:
        label = None if table.labels is None else table.labels[position]
        probabilities = None if failed else table.probabilities[position]
        return prediction_columns(probabilities, self.classes, self.findings, thresholds, label)


def prediction_columns(
    probabilities: np.ndarray | None,
    classes: Sequence[str],
    findings: Sequence[str],
    thresholds: Mapping[str, float],
    label: Any = None,
) -> dict[str, Any]:
    """Probabilities, decisions and label of a row of ``predictions.csv``.

    Parameters
    ----------
    probabilities
        ``(outputs,)``; ``None`` for an image without a prediction, whose columns are then empty.
    classes, findings
        Names of the outputs; findings, which may occur together, are used instead of classes.
    thresholds
        By name of what is decided on, from `radimagenet_monai.engine.trained.model_file.operating_points`.
    label
        True class or findings, if known.
    """
    if findings:
        return _findings_columns(probabilities, findings, thresholds, label)
    row: dict[str, Any] = {}
    if len(classes) <= _MOST_COLUMNS:
        for number, name in enumerate(classes):
            row[f"probability_{name}"] = None if probabilities is None else digits(probabilities[number])
    else:
        order = range(TOP) if probabilities is None else np.argsort(-probabilities, kind="stable")[:TOP].tolist()
        for place, number in enumerate(order, start=1):
            row[f"top{place}"] = None if probabilities is None else classes[number]
            row[f"probability_top{place}"] = None if probabilities is None else digits(probabilities[number])
    threshold = thresholds.get(classes[-1]) if len(classes) == 2 else None
    if threshold is not None:
        row["threshold"] = digits(threshold)
    row["decision"] = None if probabilities is None else classes[_decide(probabilities, threshold)]
    if label is not None:
        row["label"] = classes[int(label)]
    return row


def _findings_columns(
    probabilities: np.ndarray | None, findings: Sequence[str], thresholds: Mapping[str, float], label: Any
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    values = [None] * len(findings) if probabilities is None else probabilities.tolist()
    for name, probability in zip(findings, values, strict=True):
        row[f"probability_{name}"] = None if probability is None else digits(probability)
    for name, probability in zip(findings, values, strict=True):
        row[f"decision_{name}"] = None if probability is None else int(probability >= thresholds[name])
    if label is not None:
        for name, value in zip(findings, label.tolist(), strict=True):
            row[f"label_{name}"] = None if np.isnan(value) else int(value)
    return row


class EvaluationWriter:
    """Handler that writes ``evaluation.json``: metrics of the labeled predictions with their intervals.

    Attach it after a `PredictionWriter`, whose collected predictions and thresholds it uses. With ``aggregate`` the
    metrics are per exam, and ``metrics_of_images`` holds those per slice at the same thresholds.

    Parameters
    ----------
    folder, data, classes, findings, aggregate
        See `PredictionWriter`.
    settings
        The run's settings, saved with the metrics.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        data: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        settings: Mapping[str, Any],
        findings: Sequence[str] | None = None,
        aggregate: str = "none",
    ) -> None:
        self.path = Path(folder) / EVALUATION_JSON
        self.data = data
        self.classes = list(classes)
        self.findings = list(findings or ())
        self.settings = dict(settings)
        self.aggregate = aggregate

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        if rank() != 0:
            return
        table, thresholds = engine.state.predictions, engine.state.thresholds
        report: dict[str, Any] = {
            "settings": without_folders(self.settings),
            "classes": self.findings or self.classes,
            "aggregate": self.aggregate,
            "metrics": self._metrics(by_exam(table, self.data, self.aggregate), thresholds),
        }
        if self.aggregate != "none":
            report["metrics_of_images"] = self._metrics(table, thresholds)
        atomic_write_text(self.path, json.dumps(report, indent=2) + "\n")

    def _metrics(self, table: PredictionTable, thresholds: Mapping[str, float]) -> dict[str, Any]:
        labels = known_labels(table)
        patients = [str(self.data[index].get("patient_id") or "") for index in table.index.tolist()]
        if self.findings:
            evaluations = evaluate_findings(labels, table.probabilities, self.findings, thresholds, patients)
            return {"findings": findings_to_dict(evaluations)}
        if len(self.classes) == 2:
            threshold = thresholds[self.classes[1]]
            return evaluate_binary(labels, table.probabilities[:, 1], threshold, patient_ids=patients).to_dict()
        return evaluate_multiclass(labels, table.probabilities, self.classes, patients).to_dict()


def write_left_out(folder: Path, data: Any) -> None:
    """Write ``left_out.csv``, one row per file left out of ``data``; remove that of an earlier run."""
    left_out = left_out_of(data)
    rows = [{"file": path, "reason": reason} for reason, paths in left_out.items() for path in paths]
    if rows:
        write_rows(folder / LEFT_OUT_CSV, rows)
    else:
        (folder / LEFT_OUT_CSV).unlink(missing_ok=True)


def write_questions(
    folder: Path, data: Sequence[Mapping[str, Any]], root: Path, questions: Mapping[int, str]
) -> dict[str, int]:
    """Write ``questions.csv``, one row per question about an image; remove that of an earlier run.

    Parameters
    ----------
    questions
        Questions by index of the image in ``data``, one sentence per line.

    Returns
    -------
    dict
        Number of images for each question.
    """
    asked = {index: text.split("\n") for index, text in sorted(questions.items())}
    counts = counted(asked.values())
    if not counts:
        (folder / QUESTIONS_CSV).unlink(missing_ok=True)
        return counts
    rows = [
        {
            "file": relative_to(root, str(data[index]["image"])),
            "frame": frame_number(data[index]),
            "question": question,
        }
        for index, sentences in asked.items()
        for question in sentences
    ]
    write_rows(folder / QUESTIONS_CSV, rows)
    for sentence in in_words(counts, len(data)):
        logger.warning("%s", sentence)
    return counts


def relative_to(root: Path, image: str) -> str:
    """Name of a file in the outputs: relative to the image folder, with ``/``."""
    return printable(Path(os.path.relpath(image, images_folder(root))).as_posix())


def images_folder(root: Path) -> Path:
    """The folder that file names in the outputs are relative to: ``root``, or the folder of that file."""
    return root if root.is_dir() else root.parent


def report_problems(problems: Sequence[str], images: int, folder: Path) -> None:
    """Warn of images that could not be used; raise if there were no others.

    Raises
    ------
    RecordsError
        If no image could be used.
    """
    if not problems:
        return
    if len(problems) == images:
        raise RecordsError(f"none of {images} images could be used; the first: {problems[0]}")
    logger.warning(
        "%d of %d images have no prediction, see column 'problem' of %s; the first: %s",
        len(problems),
        images,
        folder / PREDICTIONS_CSV,
        problems[0],
    )


def digits(value: Any) -> float:
    """Round to nine significant digits, so that probabilities near 0 and 1 keep their order in few characters."""
    return float(f"{float(value):.9g}")


def _decide(probabilities: np.ndarray, threshold: float | None) -> int:
    return int(probabilities.argmax()) if threshold is None else int(probabilities[1] >= threshold)
