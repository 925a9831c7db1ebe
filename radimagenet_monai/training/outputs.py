"""Writing what an evaluation or inference run found: predictions and metrics."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from radimagenet_monai.evaluation.classification import evaluate_binary
from radimagenet_monai.io.atomic import atomic_write_text
from radimagenet_monai.training.distributed import rank
from radimagenet_monai.training.predictions import PredictionCollector, PredictionTable, area_under_roc

PREDICTIONS_CSV = "predictions.csv"
PREDICTIONS_JSON = "predictions.json"
EVALUATION_JSON = "evaluation.json"


class PredictionWriter:
    """Handler that writes ``predictions.csv`` and ``predictions.json`` when an engine completes.

    A row holds the file (relative to ``root``, with ``/``), the frame, the probability of every class, the decision
    and, where known, the true class and the reason why an image could not be read. Nothing of an image's header is
    written: no name, no id, no date.

    Parameters
    ----------
    folder
        Where the two files go.
    data
        ``data`` of the engine's dataset.
    classes
        Names in index order.
    threshold
        For two classes, an image is called ``classes[1]`` at this probability and above; otherwise unused, and the
        most probable class is the decision.
    root
        Folder (or file) that the images lie in.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        data: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        threshold: float,
        root: str | os.PathLike[str],
    ) -> None:
        self.folder = Path(folder)
        self.data = data
        self.classes = list(classes)
        self.threshold = float(threshold)
        self.root = Path(root)
        self._unreadable: dict[int, str] = {}

    def attach(self, engine: Engine) -> None:
        PredictionCollector().attach(engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._note_unreadable)
        engine.add_event_handler(Events.COMPLETED, self)

    def _note_unreadable(self, engine: Any) -> None:
        for item in engine.state.batch:
            if item.get("unreadable"):
                self._unreadable[int(item["index"])] = str(item["unreadable"])

    def __call__(self, engine: Any) -> None:
        if rank() != 0:
            return
        rows = self.rows(engine.state.predictions)
        stream = io.StringIO()
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else ["file"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        atomic_write_text(self.folder / PREDICTIONS_CSV, stream.getvalue())
        report = {
            "classes": self.classes,
            "threshold": self.threshold if len(self.classes) == 2 else None,
            "predictions": rows,
        }
        atomic_write_text(self.folder / PREDICTIONS_JSON, json.dumps(report, indent=1) + "\n")

    def rows(self, table: PredictionTable) -> list[dict[str, Any]]:
        """The rows of both files."""
        rows = []
        for position, index in enumerate(table.index.tolist()):
            item = self.data[index]
            row: dict[str, Any] = {"file": self._relative(str(item["image"])), "frame": int(item.get("frame", 0))}
            problem = self._unreadable.get(index)
            probabilities = table.probabilities[position]
            for name, probability in zip(self.classes, probabilities, strict=True):
                row[f"probability_{name}"] = None if problem else round(float(probability), 6)
            row["decision"] = None if problem else self.classes[self._decide(probabilities)]
            if table.labels is not None:
                row["label"] = self.classes[table.labels[position]]
            row["problem"] = problem
            rows.append(row)
        return rows

    def _decide(self, probabilities: Any) -> int:
        if len(self.classes) == 2:
            return int(probabilities[1] >= self.threshold)
        return int(probabilities.argmax())

    def _relative(self, image: str) -> str:
        root = self.root if self.root.is_dir() else self.root.parent
        return Path(os.path.relpath(image, root)).as_posix()


class EvaluationWriter:
    """Handler that writes ``evaluation.json``: metrics of the labeled predictions with their intervals.

    Attach it after a `PredictionWriter`, whose collected predictions it uses.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        data: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        threshold: float,
        settings: Mapping[str, Any],
    ) -> None:
        self.path = Path(folder) / EVALUATION_JSON
        self.data = data
        self.classes = list(classes)
        self.threshold = float(threshold)
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
                table.labels, table.probabilities[:, 1], self.threshold, patient_ids=patients
            ).to_dict()
        else:
            report["metrics"] = {"n": len(table.index), "auc_macro": area_under_roc(table)}
        atomic_write_text(self.path, json.dumps(report, indent=2) + "\n")
