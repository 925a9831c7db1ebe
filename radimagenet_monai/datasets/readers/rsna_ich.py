"""Turn the RSNA Intracranial Hemorrhage Detection Challenge (2019), as distributed by Kaggle, into records.

Flanders AE, Prevedello LM, Shih G, et al. *Construction of a Machine Learning Dataset through Collaboration: The RSNA
2019 Brain CT Hemorrhage Challenge.* Radiology: Artificial Intelligence 2020;2(3):e190211.

``stage_2_train/ID_xxxxxxxxx.dcm`` holds one CT slice per file, ``stage_2_train.csv`` six rows per slice: ``ID`` is the
file name followed by ``_epidural``, ``_intraparenchymal``, ``_intraventricular``, ``_subarachnoid``, ``_subdural`` or
``_any``, ``Label`` is 0 or 1. Only the DICOM header states the patient and series of a slice.

Rules for contradictory labels, which occur in the file:

- Repeated rows count once.
- An ID with both Label 0 and 1 has no known label for that subtype.
- If *any* is missing or contradictory, it follows from the subtypes: 1 if one of them is 1, 0 if all are 0.
- *any* of 0 with a subtype of 1 counts as 1, the larger of the two; ``summary.json`` counts such slices.
- Slices whose *any* remains unknown are left out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radimagenet_monai.catalog.datasets import Certainty, Count, Dataset
from radimagenet_monai.core import file_hash
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.readers.authors_csv import select_listed
from radimagenet_monai.datasets.records.split_columns import DEFAULT_FOLDS, divide
from radimagenet_monai.datasets.records.splits import DEFAULT_FRACTIONS
from radimagenet_monai.datasets.records.summary import summarize
from radimagenet_monai.datasets.records.table import check_records
from radimagenet_monai.datasets.tables.dicom_headers import FAULT, list_dicom_files, read_header_table

DATASET = Dataset(
    name="rsna_ich",
    title="RSNA Intracranial Hemorrhage Detection Challenge",
    access="Public (Kaggle).",
    terms="The challenge's terms.",
    format="stage_2_train/ID_xxxxxxxxx.dcm; stage_2_train.csv with ID,Label",
    counts={
        "images in the authors' CSVs": Count(573_614, Certainty.REMEMBERED),
        "images": Count(752_803, Certainty.REMEMBERED),
        "any": Count(107_933, Certainty.REMEMBERED),
        "epidural": Count(3_145, Certainty.REMEMBERED),
        "intraparenchymal": Count(36_118, Certainty.REMEMBERED),
        "intraventricular": Count(26_205, Certainty.REMEMBERED),
        "subarachnoid": Count(35_675, Certainty.REMEMBERED),
        "subdural": Count(47_166, Certainty.REMEMBERED),
    },
    notes=("Duplicated rows exist; patient and series ids are in the DICOM headers.",),
)

DATASET_FOLDER = "rsna-intracranial-hemorrhage-detection"
IMAGE_FOLDERS = ("stage_2_train", "stage_2_train_images")
LABELS_FILE = "stage_2_train.csv"
CLASSES = ("no hemorrhage", "hemorrhage")
ANY = "any"
SUBTYPES = ("epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural")
PUBLISHED_COUNTS = DATASET.published(
    "images", "any", "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"
)
"""Slices of the training set, and those with each label. From memory, not verified."""

PAPER_IMAGES = DATASET.counts["images in the authors' CSVs"].value
"""Slices in the RadImageNet authors' selection. From memory, not verified."""

_COLUMNS = (ANY, *SUBTYPES)
_UNKNOWN, _NO, _YES = -1, 0, 1
_VALUES = {"0": _NO, "1": _YES, "0.0": _NO, "1.0": _YES}
_HEADER = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "PixelRepresentation", "RescaleIntercept")
_ROWS_AT_ONCE = 500_000
_LEAST_WRAPPED_INTERCEPT = -100
_SHOWN = 3


def looks_like_rsna_ich(root: str | os.PathLike[str]) -> bool:
    """Whether ``root`` holds the challenge's table and its training images."""
    return _find_folders(Path(root)) is not None


def read_rsna_ich(
    root: str | os.PathLike[str],
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int = DEFAULT_FOLDS,
    progress: bool = True,
    headers: bool = True,
    header_cache: str = "",
    authors_csv: str = "",
    hash_files: bool = False,
    workers: int = 0,
) -> pd.DataFrame:
    """List the challenge's training slices as a records table, divided by patient.

    Parameters
    ----------
    root
        The folder with the challenge's files, or its parent; paths in the table are relative to ``root``.
    seed, fractions, folds
        Random seed, shares and number of folds, see `radimagenet_monai.datasets.records.splits`.
    progress
        Whether to show progress bars on a terminal.
    headers
        Whether to read patient and series from the DICOM headers. Without them every slice counts as a separate
        patient, neighboring slices of one head end up in training and test, and results are worthless.
    header_cache
        CSV file that caches the headers, so that they are read only once.
    authors_csv
        The RadImageNet authors' CSV files (see `radimagenet_monai.datasets.readers.authors_csv`), which define
        selection, labels, patients and split.
    hash_files
        Whether to fill the ``sha256`` column, which reads every file.
    workers
        Processes that read headers; 0 means one per processor.

    Returns
    -------
    pandas.DataFrame
        A records table, one row per slice, in order of file name. ``patient_id`` is the Patient ID of the header, a
        pseudonym of the challenge; ``exam`` is the series (a UID is shortened to a hash). Free columns ``any``,
        ``epidural``, ``intraparenchymal``, ``intraventricular``, ``subarachnoid``, ``subdural``: ``"1"``, ``"0"``, or
        ``""`` if unknown. ``attrs["notes"]`` describes anomalies.

    Raises
    ------
    RecordsError
        For a folder that does not contain the challenge, a table without the expected columns, and a class with fewer
        patients than splits.
    """
    root = Path(root)
    found = _find_folders(root)
    if found is None:
        state = "is not a folder" if not root.is_dir() else "does not hold the RSNA hemorrhage challenge"
        raise RecordsError(f"'{root}' {state}; expected {LABELS_FILE} beside the folder {IMAGE_FOLDERS[0]}")
    table_path, folder = found
    notes: list[str] = []
    names = list_dicom_files(folder, notes)
    labels = _read_labels(table_path, notes)
    prefix = folder.relative_to(root).as_posix()
    if authors_csv:
        listed = select_listed(authors_csv, [f"{prefix}/{name}" for name in names], CLASSES, ignore_suffix=True)
        notes.extend(listed.attrs["notes"])
        frame = _with_subtypes(listed, labels, notes)
    else:
        frame = _labeled(names, prefix, labels, notes)
    frame = _with_patients(frame, folder, headers, header_cache, workers, progress, notes)
    if hash_files:
        frame["sha256"] = file_hash.hash_files(root, frame["image"], progress)
    frame = divide(frame, notes, seed, fractions, folds)
    stems = [Path(image).stem for image in frame["image"]]
    frame.attrs |= {"notes": notes, "raised_any": int(labels.raised.isin(stems).sum())}
    return check_records(frame, folder, CLASSES)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Compare the counts of a `read_rsna_ich` table with the challenge's training set, see `summarize`."""
    found = {"images": len(frame), **{name: int((frame[name] == "1").sum()) for name in _COLUMNS}}
    unknown = {name: int((frame[name] == "").sum()) for name in _COLUMNS}
    return summarize(
        frame,
        PUBLISHED_COUNTS,
        found,
        unknown_labels=unknown,
        raised_any=frame.attrs.get("raised_any", 0),
        images_in_the_paper=PAPER_IMAGES,
    )


@dataclass(frozen=True)
class _Labels:
    """Labels by slice.

    ``values`` is ``(n, 6)`` int8 in the order of ``_COLUMNS``, -1 for unknown; ``raised`` names the slices whose *any*
    was 0 with a subtype of 1.
    """

    names: pd.Index
    values: np.ndarray
    raised: pd.Index

    def of(self, names: Sequence[str] | pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """``(m, 6)`` labels of slices, and ``(m,)`` booleans: whether the table lists them."""
        position = self.names.get_indexer(pd.Index(names))
        values = self.values[position]
        values[position < 0] = _UNKNOWN
        return values, position >= 0


def _find_folders(root: Path) -> tuple[Path, Path] | None:
    for folder in (root, root / DATASET_FOLDER):
        for images in IMAGE_FOLDERS:
            if (folder / LABELS_FILE).is_file() and (folder / images).is_dir():
                return folder / LABELS_FILE, folder / images
    return None


def _read_labels(path: Path, notes: list[str]) -> _Labels:
    """Read the table, with repetitions and contradictions resolved; it has four and a half million rows."""
    positions: dict[str, int] = {}
    keys, values = [], []
    strangers, invalid = 0, 0
    for ids, labels in _row_blocks(path):
        stems, _, kinds = zip(*(text.rpartition("_") for text in ids), strict=True)
        kind = pd.Index(_COLUMNS).get_indexer(pd.Index(kinds))
        value = pd.Series(labels).map(_VALUES).fillna(_UNKNOWN).to_numpy(np.int8)
        strangers += int((kind < 0).sum())
        invalid += int(((kind >= 0) & (value == _UNKNOWN)).sum())
        known = kind >= 0
        codes, distinct = pd.factorize(np.array(stems, dtype=object)[known])
        numbers = np.array([positions.setdefault(stem, len(positions)) for stem in distinct], dtype=np.int64)
        keys.append((numbers[codes] * len(_COLUMNS) + kind[known])[value[known] != _UNKNOWN])
        values.append(value[known & (value != _UNKNOWN)])
    if strangers:
        notes.append(f"{LABELS_FILE}: {strangers} rows were left out: their ID does not end in a subtype or '{ANY}'")
    if invalid:
        notes.append(f"{LABELS_FILE}: {invalid} labels are neither 0 nor 1 and count as unknown")
    names = pd.Index(list(positions), dtype=str)
    matrix = _settled(names, np.concatenate(keys), np.concatenate(values), notes)
    return _Labels(names, matrix, _settle_any(names, matrix, notes))


def _row_blocks(path: Path) -> Iterable[tuple[list[str], list[str]]]:
    rows = 0
    try:
        for block in pd.read_csv(
            path, dtype=str, na_filter=False, encoding="utf-8-sig", usecols=["ID", "Label"], chunksize=_ROWS_AT_ONCE
        ):
            rows += len(block)
            if len(block):
                yield block["ID"].str.strip().tolist(), block["Label"].str.strip().tolist()
    except (OSError, UnicodeError, ValueError, pd.errors.ParserError) as error:
        raise RecordsError(f"{path}: cannot be read as the challenge's table with ID,Label ({error})") from error
    if not rows:
        raise RecordsError(f"{path}: the table has no rows; expected six rows a slice")


def _settled(names: pd.Index, keys: np.ndarray, values: np.ndarray, notes: list[str]) -> np.ndarray:
    """``(n, 6)`` labels from rows ``(slice * 6 + column, label)``."""
    flat = np.full(len(names) * len(_COLUMNS), _UNKNOWN, dtype=np.int8)
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    if starts.size:
        lowest, highest = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        flat[keys[starts]] = np.where(lowest == highest, lowest, _UNKNOWN)
        contradictory = keys[starts[lowest != highest]]
        repeated = len(keys) - len(starts) - len(contradictory)
        if repeated > 0:
            notes.append(f"{LABELS_FILE}: {repeated} rows repeat another and count once")
        if contradictory.size:
            first = f"{names[contradictory[0] // len(_COLUMNS)]}_{_COLUMNS[contradictory[0] % len(_COLUMNS)]}"
            notes.append(
                f"{LABELS_FILE}: {contradictory.size} IDs have Label 0 and 1, first '{first}': that label is unknown"
            )
    matrix = flat.reshape(-1, len(_COLUMNS))
    partial = (matrix == _UNKNOWN).any(axis=1)
    if partial.any():
        notes.append(f"{int(partial.sum())} slices lack some of the six labels, first {_shown(names[partial])}")
    return matrix


def _settle_any(names: pd.Index, matrix: np.ndarray, notes: list[str]) -> pd.Index:
    """Complete the column *any* of ``matrix`` from the subtypes, in place; returns the slices whose 0 became 1."""
    subtypes = matrix[:, 1:]
    positive, negative = (subtypes == _YES).any(axis=1), (subtypes == _NO).all(axis=1)
    unknown = matrix[:, 0] == _UNKNOWN
    matrix[unknown & positive, 0] = _YES
    matrix[unknown & negative, 0] = _NO
    contradicted = ~unknown & (matrix[:, 0] == _NO) & positive
    matrix[contradicted, 0] = _YES
    if contradicted.any():
        notes.append(
            f"{int(contradicted.sum())} slices have a subtype but '{ANY}' is 0, first {_shown(names[contradicted])}: "
            f"'{ANY}' counts as 1"
        )
    untyped = ~unknown & (matrix[:, 0] == _YES) & negative
    if untyped.any():
        notes.append(f"{int(untyped.sum())} slices have '{ANY}' but no subtype, first {_shown(names[untyped])}: kept")
    return names[contradicted]


def _labeled(names: Sequence[str], prefix: str, labels: _Labels, notes: list[str]) -> pd.DataFrame:
    identities = pd.Index([name[:-4] for name in names], dtype=str)
    values, listed = labels.of(identities)
    absent = ~labels.names.isin(identities)
    if absent.any():
        notes.append(f"{int(absent.sum())} slices of {LABELS_FILE} have no image, first {_shown(labels.names[absent])}")
    if not listed.all():
        notes.append(
            f"{int((~listed).sum())} images were left out: {LABELS_FILE} does not list them, first "
            f"{_shown(identities[~listed])}"
        )
    unknown = listed & (values[:, 0] == _UNKNOWN)
    if unknown.any():
        notes.append(
            f"{int(unknown.sum())} slices were left out: whether they show hemorrhage is unknown, first "
            f"{_shown(identities[unknown])}"
        )
    kept = np.flatnonzero(values[:, 0] != _UNKNOWN).tolist()
    if not kept:
        raise RecordsError(f"{LABELS_FILE}: none of the {len(names)} images in '{prefix}' has a label; give both")
    frame = pd.DataFrame({"image": [f"{prefix}/{names[position]}" for position in kept]})
    frame["label"] = np.array(CLASSES, dtype=object)[values[kept, 0]]
    return _with_columns(frame, values[kept])


def _with_subtypes(listed: pd.DataFrame, labels: _Labels, notes: list[str]) -> pd.DataFrame:
    """The authors' selection and labels with the challenge's subtypes; the larger of two contradictory labels."""
    values, _ = labels.of([Path(image).stem for image in listed["image"]])
    bleeding = (listed["label"] == CLASSES[1]).to_numpy()
    lowered, missed = bleeding & (values[:, 0] == _NO), ~bleeding & (values[:, 0] == _YES)
    values[bleeding, 0] = _YES
    for wrong, name, found in ((lowered, CLASSES[1], 0), (missed, CLASSES[0], 1)):
        if wrong.any():
            notes.append(
                f"{int(wrong.sum())} slices have the authors' label '{name}' and '{ANY}' {found} in {LABELS_FILE}, "
                f"first {_shown(listed['image'][wrong])}: they count as '{CLASSES[1]}'"
            )
    listed.loc[missed, "label"] = CLASSES[1]
    return _with_columns(listed, values)


def _with_columns(frame: pd.DataFrame, values: np.ndarray) -> pd.DataFrame:
    texts = np.array(["0", "1", ""], dtype=object)  # -1, unknown, selects the last
    return frame.assign(**{name: texts[values[:, column]] for column, name in enumerate(_COLUMNS)})


def _with_patients(
    frame: pd.DataFrame,
    folder: Path,
    headers: bool,
    header_cache: str,
    workers: int,
    progress: bool,
    notes: list[str],
) -> pd.DataFrame:
    pids = frame.pop("pid") if "pid" in frame.columns else None
    names = [image.rpartition("/")[2] for image in frame["image"]]
    if headers:
        table = read_header_table(folder, names, _HEADER, header_cache, workers, progress)
        table.index = frame.index
        _note_headers(frame, table, notes)
        series = table["SeriesInstanceUID"].where(table["SeriesInstanceUID"] != "", table["StudyInstanceUID"])
        frame["exam"] = series.map({uid: _short(uid) for uid in series.unique()})
        patients = table["PatientID"] if pids is None else pids.where(pids != "", table["PatientID"])
    elif pids is not None:
        patients = pids
    else:
        notes.append(
            "PATIENTS ARE UNKNOWN: headers were not read, every slice counts as a patient of its own, and slices of "
            "one head stand in several splits; expect results that are far too good"
        )
        patients = pd.Series([name[:-4] for name in names], index=frame.index)
    unknown = patients == ""
    if unknown.all():
        raise RecordsError(
            f"'{folder}': no header names a patient; give the challenge's own DICOM files, or go on without patients "
            "with --headers false"
        )
    if unknown.any():
        notes.append(
            f"{int(unknown.sum())} slices were left out: their patient is unknown, first "
            f"{_shown(frame.loc[unknown, 'image'])}"
        )
    return frame.assign(patient_id=patients)[~unknown].reset_index(drop=True)


def _note_headers(frame: pd.DataFrame, table: pd.DataFrame, notes: list[str]) -> None:
    faulty = table[FAULT] != ""
    if faulty.any():
        first = faulty.idxmax()
        notes.append(
            f"{int(faulty.sum())} slices have no readable header, first '{frame.loc[first, 'image']}': "
            f"{table.loc[first, FAULT]}"
        )
    # Such files hold signed 12-bit values as unsigned, so air and fat, below 0 HU, appear above 3000 HU.
    intercepts = pd.to_numeric(table["RescaleIntercept"], errors="coerce")
    wrapped = (table["PixelRepresentation"] == "0") & (intercepts >= _LEAST_WRAPPED_INTERCEPT)
    if wrapped.any():
        notes.append(
            f"{int(wrapped.sum())} slices hold unsigned values with a Rescale Intercept near 0, first "
            f"{_shown(frame.loc[wrapped, 'image'])}: their values below 0 HU are probably wrapped around to white"
        )


def _short(uid: str) -> str:
    """Pseudonyms of the challenge (``ID_...``) unchanged; a UID, which could identify a patient, as a hash."""
    if not uid or not uid.replace(".", "").isdecimal():
        return uid
    return hashlib.sha256(uid.encode()).hexdigest()[:16]


def _shown(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in list(names)[:_SHOWN])
