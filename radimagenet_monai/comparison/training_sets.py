"""The records tables of a comparison: its folds, and smaller training sets for the learning curve."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radimagenet_monai.comparison.plan import OWN_SPLIT, Plan
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.records.splits import assign_folds
from radimagenet_monai.datasets.records.table import read_records, write_records

RECORDS_FOLDER = "records"
_LEAST = 2  # minimum number of patients of a class in a training set
_PARTS = ("train", "validation", "test")


def with_folds(frame: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """The table with the planned number of folds: its own if that matches, otherwise new ones by patient.

    Raises
    ------
    RecordsError
        If a patient id is missing, a class has fewer patients than folds, or the table's own split is planned and lacks
        a part.
    """
    if plan.folds == OWN_SPLIT:
        for part in ("train", "test") if plan.is_probe else _PARTS:
            if not (frame["split"] == part).any():
                raise RecordsError(
                    f"no row of the records table is in split '{part}'; fill its split column, or give --folds 5"
                )
        return frame
    own = frame["fold"].dropna()
    if len(own) == len(frame) and sorted(own.unique()) == list(range(plan.folds)):
        return frame
    frame = frame.copy(deep=False)
    folds = assign_folds(frame["label"], frame["patient_id"], plan.folds, plan.seed)
    frame["fold"] = pd.array(folds, dtype="Int64")
    return frame


def check_classes(frame: pd.DataFrame, plan: Plan) -> None:
    """Raise for parts with one class, which cannot be trained on or compared, before anything is run.

    A fold whose test part lacks a class is excluded from the analysis; a comparison with only such folds is rejected.

    Raises
    ------
    RecordsError
        For a training or validation part, or all test parts, with fewer than two classes.
    """
    tested = 0
    for fold in [None] if plan.folds == OWN_SPLIT else range(plan.folds):
        parts = part_of(frame, fold, plan.folds)
        where = "" if fold is None else f" of fold {fold}"
        for part in _PARTS:
            rows = frame[parts == part]
            several = rows["label"].nunique() > 1
            if several and plan.aggregate != "none" and "exam" in rows.columns and (rows["exam"] != "").all():
                # An exam has the last of its slices' classes.
                places = rows["label"].map({name: place for place, name in enumerate(plan.classes)})
                several = places.groupby([rows["patient_id"], rows["exam"]]).max().nunique() > 1
            if part == "test":
                tested += several
            elif not several and not (part == "validation" and plan.is_probe):
                raise RecordsError(
                    f"the {part} part{where} holds only '{rows['label'].iloc[0]}' ({len(rows)} rows); a comparison "
                    "needs both classes there: divide the records again, or give other --folds"
                )
    if not tested:
        raise RecordsError(
            "no test part holds two classes, so no two models could be compared; divide the records again, or give "
            "other --folds"
        )


def part_of(frame: pd.DataFrame, fold: int | None, folds: int) -> np.ndarray:
    """``(n,)`` ``"train"``, ``"validation"``, ``"test"`` or ``""`` for each row, as the bundles use a fold."""
    if fold is None:
        return frame["split"].fillna("").to_numpy(dtype=str)
    numbers = frame["fold"].to_numpy(dtype=np.int64)
    parts = np.full(len(frame), "train", dtype="<U10")
    parts[numbers == (fold + 1) % folds] = "validation"
    parts[numbers == fold] = "test"
    return parts


def fewer_training_patients(frame: pd.DataFrame, parts: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """``(n,)`` booleans: all rows outside training, and the rows of a share of the training patients.

    Patients are taken by class (a patient of several classes counts for the last one by name), in an order that depends
    only on the seed and the patient. The first two patients who have a given class are always included. So no class is
    lost, and a smaller training set is a subset of a larger one.

    Raises
    ------
    RecordsError
        If a patient id is missing.
    """
    if fraction >= 1:
        return np.ones(len(frame), dtype=bool)
    patients = frame["patient_id"].to_numpy(dtype=str)
    training = parts == "train"
    if (patients[training] == "").any():
        raise RecordsError(
            "smaller training sets are made by patient, and rows without patient_id were found; fill it, with one id "
            "an image if patients are unknown"
        )
    labels = pd.Series(frame["label"].to_numpy(dtype=str)[training])
    of_rows = patients[training]
    counted = labels.groupby(of_rows).max()
    taken: set[str] = set()
    for label in labels.unique():
        taken.update(_in_order(set(of_rows[labels == label]), seed)[:_LEAST])
        own = _in_order(set(counted.index[counted == label]), seed)
        taken.update(own[: round(fraction * len(own))])
    return ~training | np.isin(patients, list(taken))


def _in_order(patients: set[str], seed: int) -> list[str]:
    return sorted(patients, key=lambda name: hashlib.blake2b(f"{seed}/{name}".encode()).digest())


def write_training_sets(plan: Plan, frame: pd.DataFrame, folder: Path) -> None:
    """Write the records table of every fold and fraction into ``folder/records``; existing tables are kept.

    Raises
    ------
    RecordsError
        As for `fewer_training_patients`.
    """
    for run in plan.runs():
        path = records_path(folder, run.fold, run.fraction)
        if path.exists():
            continue
        parts = part_of(frame, run.fold, plan.folds)
        kept = fewer_training_patients(frame, parts, run.fraction, plan.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_records(frame[kept], path)


def records_path(folder: Path, fold: int | None, fraction: float) -> Path:
    """Path of a table from `write_training_sets`; the whole training set needs only one for all folds."""
    if fraction >= 1:
        return folder / RECORDS_FOLDER / "all.csv"
    return folder / RECORDS_FOLDER / f"{'split' if fold is None else f'fold{fold}'}-{fraction:g}.csv"


def read_all(folder: Path) -> pd.DataFrame:
    """The whole table of a comparison."""
    return read_records(folder / RECORDS_FOLDER / "all.csv")


def describe_folds(plan: Plan, frame: pd.DataFrame, fraction: float = 1.0) -> list[dict[str, Any]]:
    """Images, patients and positive images of each part of each fold."""
    described = []
    for fold in [None] if plan.folds == OWN_SPLIT else range(plan.folds):
        parts = part_of(frame, fold, plan.folds)
        kept = fewer_training_patients(frame, parts, fraction, plan.seed)
        described.append({"fold": fold, **{part: _counts(plan, frame[kept & (parts == part)]) for part in _PARTS}})
    return described


def _counts(plan: Plan, rows: pd.DataFrame) -> dict[str, Any]:
    known = (rows["patient_id"] != "").all()
    return {
        "images": len(rows),
        "patients": int(rows["patient_id"].nunique()) if known else None,
        "positives": int((rows["label"] == plan.classes[-1]).sum()) if len(plan.classes) == 2 else None,
    }
