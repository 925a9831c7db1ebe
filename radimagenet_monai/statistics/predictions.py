"""The table of predictions that every metric, threshold and report starts from: in memory and as a file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError, RecordsError

PREDICTIONS_CSV = "predictions.csv"

EXAM_RULES = ("none", "mean", "max")
"""How the slices of an exam are scored together: each by itself; their mean; the most suspicious one."""


@dataclass(frozen=True)
class PredictionTable:
    """Predictions of one pass, ordered by ``index``, each image once.

    ``index`` (N,) is the position in the dataset's ``data``; ``probabilities`` are (N, classes) with rows that sum to
    one, or independent values (N, findings); ``labels`` are class indices (N,), or 1, 0 and NaN for each finding
    (N, findings), or ``None`` if unknown. ``exclusive`` is true for classes and false for findings. ``decisions`` (N,)
    are true where the positive class of two is called, if that is known; ``unreadable`` counts images left out.
    """

    index: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray | None
    exclusive: bool = True
    decisions: np.ndarray | None = None
    unreadable: int = 0

    @property
    def scores(self) -> np.ndarray:
        """(N,) probabilities of the positive class of two."""
        return self.probabilities[:, 1]

    def at(self, index: np.ndarray) -> PredictionTable:
        """The rows of some images, all of which must be present."""
        places = np.searchsorted(self.index, index)
        labels = None if self.labels is None else self.labels[places]
        decisions = None if self.decisions is None else self.decisions[places]
        return replace(self, index=index, probabilities=self.probabilities[places], labels=labels, decisions=decisions)


def check_labels(labels: ArrayLike) -> np.ndarray:
    """Labels as ``(n,)`` booleans, true for the positive class.

    Raises
    ------
    RadImageNetError
        For an empty array, a wrong shape, or values other than 0 and 1.
    """
    array = np.asarray(labels)
    if array.ndim != 1 or not array.size:
        raise RadImageNetError(f"labels have shape {array.shape}; expected one label an image and at least one image")
    if not np.isin(array, (0, 1)).all():
        raise RadImageNetError(
            f"label {_first(array, ~np.isin(array, (0, 1)))} was given; expected 1 for the positive class and 0 else"
        )
    return array.astype(bool)


def check_scores(scores: ArrayLike, count: int, probabilities: bool = False) -> np.ndarray:
    """Scores, higher for the positive class, as ``(count,)`` float64.

    Parameters
    ----------
    scores
        Model output for each image.
    count
        Number of labels.
    probabilities
        Whether they must lie in [0, 1].

    Raises
    ------
    RadImageNetError
        For a wrong shape, a value that is not finite, or a value outside [0, 1] if probabilities are required.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.shape != (count,):
        raise RadImageNetError(f"scores have shape {array.shape} for {count} labels; expected one score an image")
    if not np.isfinite(array).all():
        raise RadImageNetError(
            f"score {_first(array, ~np.isfinite(array))} was given; expected finite numbers, look for where the model "
            "or its input became infinite"
        )
    outside = (array < 0) | (array > 1)
    if probabilities and outside.any():
        raise RadImageNetError(
            f"probability {_first(array, outside)} was given; expected values from 0 to 1, apply softmax to the logits"
        )
    return array


def known_labels(table: PredictionTable) -> np.ndarray:
    """The labels of a table.

    Raises
    ------
    RecordsError
        If the table has no labels.
    """
    if table.labels is None or not len(table.labels):
        raise RecordsError("the records have no labels; an evaluation needs them")
    return table.labels


def by_exam(table: PredictionTable, data: Sequence[Mapping[str, Any]], rule: str) -> PredictionTable:
    """Aggregate slices to one row per exam.

    Parameters
    ----------
    table
        Predictions per slice.
    data
        ``data`` of the dataset: an item's ``patient_id`` and ``exam`` identify its exam; an item without
        ``exam`` is an exam by itself.
    rule
        ``"none"`` gives the table itself; ``"mean"`` the mean probabilities; ``"max"`` those of the slice with the
        highest probability of the last class (two classes), or the highest of each finding.

    Returns
    -------
    PredictionTable
        ``index`` is that of the exam's first slice. An exam is positive if any of its slices is.

    Raises
    ------
    ConfigurationError
        For an unknown rule, or ``"max"`` with more than two exclusive classes.
    RecordsError
        If the slices of an exam differ in class and there are more than two classes.
    """
    check_exam_rule(rule)
    if rule == "none" or not len(table.index):
        return table
    if rule == "max" and table.exclusive and table.probabilities.shape[1] > 2:
        raise ConfigurationError("aggregate 'max' is for two classes or for findings; give --aggregate mean")
    exams: dict[tuple[str, str], list[int]] = {}
    for row, index in enumerate(table.index.tolist()):
        exams.setdefault(exam_of(data[index], index), []).append(row)
    members = list(exams.values())
    probabilities = np.stack([combined_slices(table.probabilities[rows], rule, table.exclusive) for rows in members])
    labels = None
    if table.labels is not None:
        labels = np.stack([_common_label(table.labels[rows], table.probabilities.shape[1]) for rows in members])
    return PredictionTable(table.index[[rows[0] for rows in members]], probabilities, labels, table.exclusive)


def exam_of(item: Mapping[str, Any], index: int) -> tuple[str, str]:
    """Identifier of an item's exam: patient and exam, or the item's index if it names no exam."""
    exam = str(item.get("exam") or "")
    return (str(item.get("patient_id") or ""), exam) if exam else ("", f"item {index}")


def check_exam_rule(rule: str) -> None:
    """Refuse a rule that is not in `EXAM_RULES`.

    Raises
    ------
    ConfigurationError
        For an unknown rule.
    """
    if rule not in EXAM_RULES:
        raise ConfigurationError(f"aggregate '{rule}' is unknown; expected one of {', '.join(EXAM_RULES)}")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table of results, such as ``predictions.csv``, atomically; without rows it has the column ``file``."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else ["file"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    atomic_write_text(path, stream.getvalue())


def read_predictions(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """``predictions.csv`` of a run, one row per image, all columns as text and ``""`` for no value.

    Raises
    ------
    RecordsError
        If the folder has no such file.
    """
    try:
        return pd.read_csv(Path(folder) / PREDICTIONS_CSV, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise RecordsError(f"'{folder}' holds no {PREDICTIONS_CSV}; run the evaluation again") from None


def _first(array: np.ndarray, wrong: np.ndarray) -> Any:
    position = int(np.flatnonzero(wrong)[0])
    return f"{array[position]} at position {position}"


def combined_slices(probabilities: np.ndarray, rule: str, exclusive: bool) -> np.ndarray:
    """Probabilities (slices, classes) of one exam as one row (classes,); ``rule`` is ``"mean"`` or ``"max"``."""
    if rule == "mean":
        return probabilities.mean(axis=0)
    return probabilities[probabilities[:, -1].argmax()] if exclusive else probabilities.max(axis=0)


def _common_label(labels: np.ndarray, columns: int) -> np.ndarray:
    if labels.ndim == 2:
        known = ~np.isnan(labels)
        return np.where(known.any(axis=0), np.where(known, labels, 0).max(axis=0), np.nan)
    if columns > 2 and len(np.unique(labels)) > 1:
        raise RecordsError(
            f"slices of one exam have the class indices {np.unique(labels).tolist()}; expected one class an exam, or "
            "give --aggregate none"
        )
    return labels.max()
