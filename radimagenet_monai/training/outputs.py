"""Writing what an evaluation or inference run found: predictions and metrics."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from radimagenet_monai.errors import RecordsError
from radimagenet_monai.evaluation.classification import evaluate_binary
from radimagenet_monai.io.atomic import atomic_write_text
from radimagenet_monai.training.distributed import rank
from radimagenet_monai.training.model_file import operating_point
from radimagenet_monai.training.predictions import PredictionCollector, PredictionTable, area_under_roc

logger = logging.getLogger(__name__)

PREDICTIONS_CSV = "predictions.csv"
PREDICTIONS_JSON = "predictions.json"
EVALUATION_JSON = "evaluation.json"


class PredictionWriter:
    """Handler that writes ``predictions.csv`` and ``predictions.json`` when an engine completes.

    A row holds the file (relative to ``root``, with ``/``), the frame, the probability of every class, the decision
    and, where known, the true class and the reason why an image could not be read. Nothing of an image's header is
    written: no name, no id, no date.

    Where no image at all could be read, the run ends in a `RecordsError` after both files are written.

    Parameters
    ----------
    folder
        Where the two files go.
    data
        ``data`` of the engine's dataset.
    classes
        Names in index order.
    root
        Folder (or file) that the images lie in.
    checkpoint
        The trained model, beside which its operating point is kept.
    threshold
        Instead of that operating point. For two classes, an image is called ``classes[1]`` at this probability and
        above; otherwise unused, and the most probable class is the decision. The engine's ``state.threshold`` is set.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        data: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        root: str | os.PathLike[str],
        checkpoint: str | os.PathLike[str],
        threshold: float | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.data = data
        self.classes = list(classes)
        self.root = Path(root)
        self.checkpoint = checkpoint
        self.threshold = threshold
        self._unreadable: dict[int, str] = {}

    def attach(self, engine: Engine) -> None:
        PredictionCollector().attach(engine)
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note_unreadable)
        engine.add_event_handler(Events.COMPLETED, self)

    def _start(self, engine: Any) -> None:
        self._unreadable = {}
        engine.state.threshold = operating_point(self.checkpoint, self.threshold) if len(self.classes) == 2 else None

    def _note_unreadable(self, engine: Any) -> None:
        for item in engine.state.batch:
            if item.get("unreadable"):
                self._unreadable[int(item["index"])] = str(item["unreadable"])

    def __call__(self, engine: Any) -> None:
        if rank() != 0:
            return
        rows = self.rows(engine.state.predictions, engine.state.threshold)
        stream = io.StringIO()
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else ["file"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        atomic_write_text(self.folder / PREDICTIONS_CSV, stream.getvalue())
        report = {
            "classes": self.classes,
            "threshold": engine.state.threshold,
            "predictions": rows,
        }
        atomic_write_text(self.folder / PREDICTIONS_JSON, json.dumps(report, indent=1) + "\n")
        self._report_problems(rows)

    def _report_problems(self, rows: Sequence[Mapping[str, Any]]) -> None:
        problems = [f"{row['file']}: {row['problem']}" for row in rows if row["problem"]]
        if not problems:
            return
        if len(problems) == len(rows):
            raise RecordsError(f"none of {len(rows)} images could be used; the first: {problems[0]}")
        logger.warning(
            "%d of %d images have no prediction, see column 'problem' of %s; the first: %s",
            len(problems),
            len(rows),
            self.folder / PREDICTIONS_CSV,
            problems[0],
        )

    def rows(self, table: PredictionTable, threshold: float | None) -> list[dict[str, Any]]:
        """The rows of both files."""
        rows = []
        for position, index in enumerate(table.index.tolist()):
            item = self.data[index]
            row: dict[str, Any] = {"file": self._relative(str(item["image"])), "frame": int(item.get("frame", 0))}
            problem = self._unreadable.get(index)
            probabilities = table.probabilities[position]
            for name, probability in zip(self.classes, probabilities, strict=True):
                row[f"probability_{name}"] = None if problem else round(float(probability), 6)
            if threshold is not None:
                row["threshold"] = round(threshold, 6)
            row["decision"] = None if problem else self.classes[_decide(probabilities, threshold)]
            if table.labels is not None:
                row["label"] = self.classes[table.labels[position]]
            row["problem"] = problem
            rows.append(row)
        return rows

    def _relative(self, image: str) -> str:
        root = self.root if self.root.is_dir() else self.root.parent
        return Path(os.path.relpath(image, root)).as_posix()


class EvaluationWriter:
    """Handler that writes ``evaluation.json``: metrics of the labeled predictions with their intervals.

    Attach it after a `PredictionWriter`, whose collected predictions and threshold it uses.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        data: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        settings: Mapping[str, Any],
    ) -> None:
        self.path = Path(folder) / EVALUATION_JSON
        self.data = data
        self.classes = list(classes)
        self.settings = dict(settings)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        if rank() != 0:
            return
        table: PredictionTable = engine.state.predictions
        area_under_roc(table)  # refuses labels of a single class, by name
        report: dict[str, Any] = {"settings": self.settings, "classes": self.classes}
        if len(self.classes) == 2 and table.labels is not None:
            patients = [str(self.data[index].get("patient_id") or index) for index in table.index.tolist()]
            report["metrics"] = evaluate_binary(
                table.labels, table.probabilities[:, 1], engine.state.threshold, patient_ids=patients
            ).to_dict()
        else:
            report["metrics"] = {"n": len(table.index), "auc_macro": area_under_roc(table)}
        atomic_write_text(self.path, json.dumps(report, indent=2) + "\n")


def _decide(probabilities: np.ndarray, threshold: float | None) -> int:
    return int(probabilities.argmax()) if threshold is None else int(probabilities[1] >= threshold)
