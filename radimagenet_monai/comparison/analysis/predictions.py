"""The predictions of a comparison's runs, joined with their records."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radimagenet_monai.catalog.tasks import Task
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.engine.outputs.writers import relative_to
from radimagenet_monai.statistics.predictions import PREDICTIONS_CSV, PredictionTable, by_exam, read_predictions


class RecordIndex:
    """Finds the row of the records table for a line of ``predictions.csv``.

    Parameters
    ----------
    frame
        The records table.
    root
        Folder that its paths are relative to.
    """

    def __init__(self, frame: pd.DataFrame, root: Path) -> None:
        self.frame = frame
        self.items = [
            {"patient_id": patient, "exam": exam}
            for patient, exam in zip(
                frame["patient_id"].astype(str),
                frame["exam"].astype(str) if "exam" in frame.columns else [""] * len(frame),
                strict=True,
            )
        ]
        names = [relative_to(root, os.path.join(root, image)) for image in frame["image"]]
        frames = frame["frame"].fillna(0).astype(int)
        self._row_of = {key: row for row, key in enumerate(zip(names, frames, strict=True))}

    def row_of(self, file: str, frame: int, source: Path) -> int:
        """The row of an image.

        Raises
        ------
        RecordsError
            If the table has no such row.
        """
        try:
            return self._row_of[file, frame]
        except KeyError:
            raise RecordsError(
                f"{source} is about '{file}', frame {frame}, which the comparison's records do not hold; "
                "remove the run's folder to repeat it"
            ) from None


def read_run(folder: Path, index: RecordIndex, task: Task, classes: Sequence[str], aggregate: str) -> PredictionTable:
    """The predictions of a run on its test set, one row per image, or per exam if exams are scored.

    Its ``index`` is the row in the records table (for an exam, of its first slice), ascending; its labels are class
    indices, and for findings 0 or 1 for the first one; it has decisions at the run's own threshold for two classes.

    Parameters
    ----------
    folder
        Folder with ``predictions.csv``.
    index
        Index of the comparison's records.
    task
        The task, for its findings.
    classes
        In index order.
    aggregate
        Rule of `by_exam`.

    Raises
    ------
    RecordsError
        If the file is missing or belongs to other records.
    """
    path = folder / PREDICTIONS_CSV
    if not path.exists():
        raise RecordsError(f"'{folder}' holds no {PREDICTIONS_CSV}; remove the run's folder to repeat it")
    table = read_predictions(folder)
    readable = table["problem"] == ""
    table, unreadable = table[readable], int((~readable).sum())
    if task.findings:
        table = table[table[f"label_{task.findings[0]}"] != ""]
    rows = np.array(
        [index.row_of(file, int(frame), path) for file, frame in zip(table["file"], table["frame"], strict=True)],
        dtype=np.int64,
    )
    labels, probabilities, decisions = _columns(table, task, classes)
    order = np.argsort(rows)
    decisions = None if decisions is None else decisions[order]
    images = PredictionTable(rows[order], probabilities[order], labels[order], True, decisions, unreadable)
    if aggregate == "none":
        return images
    exams = by_exam(images, index.items, aggregate)
    threshold = float(table["threshold"].iloc[0]) if "threshold" in table.columns and len(table) else None
    called = None if threshold is None else exams.scores >= threshold
    return replace(exams, decisions=called, unreadable=unreadable)


def _columns(
    table: pd.DataFrame, task: Task, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Labels, probabilities and decisions."""
    if task.findings:
        name = task.findings[0]
        scores = table[f"probability_{name}"].astype(float).to_numpy()
        labels = table[f"label_{name}"].astype(int).to_numpy()
        return labels, np.stack([1 - scores, scores], axis=1), (table[f"decision_{name}"] == "1").to_numpy()
    probabilities = np.stack([table[f"probability_{name}"].astype(float).to_numpy() for name in classes], axis=1)
    labels = table["label"].map({name: number for number, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    decisions = (table["decision"] == classes[1]).to_numpy() if len(classes) == 2 else None
    return labels, probabilities, decisions


def patients_of(frame: pd.DataFrame) -> list[str] | None:
    """The patient of each row; ``None`` if none is known."""
    patients: list[Any] = frame["patient_id"].astype(str).tolist()
    return patients if any(patients) else None
