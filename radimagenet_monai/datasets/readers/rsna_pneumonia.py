"""Turn the RSNA Pneumonia Detection Challenge (2018), as distributed by Kaggle, into records.

Shih G, Wu CC, Halabi SS, et al. *Augmenting the National Institutes of Health Chest Radiograph Dataset with Expert
Annotations of Possible Pneumonia.* Radiology: Artificial Intelligence 2019;1(1):e180041.

``stage_2_train_images/<patientId>.dcm`` holds the radiographs, ``stage_2_train_labels.csv`` one row per box
(``patientId,x,y,width,height,Target``; a patient without a box has one row with Target 0) and
``stage_2_detailed_class_info.csv`` the class behind the target (``patientId,class``). The radiographs of
``stage_2_test_images`` have no labels and are not read.

A ``patientId`` of the challenge stands for one radiograph. The radiographs come from the NIH ChestX-ray14 collection,
where a person may have several; the challenge's files do not state the person, but a mapping that RSNA publishes
beside them does (see ``mapping``).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from radimagenet_monai.catalog.datasets import Count, Dataset
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.readers.authors_csv import select_listed
from radimagenet_monai.datasets.records.split_columns import DEFAULT_FOLDS, divide
from radimagenet_monai.datasets.records.summary import summarize
from radimagenet_monai.datasets.records.table import check_records
from radimagenet_monai.datasets.tables.dicom_headers import FAULT, list_dicom_files, read_header_table
from radimagenet_monai.datasets.tables.text_table import read_text_table

DATASET = Dataset(
    name="rsna_pneumonia",
    title="RSNA Pneumonia Detection Challenge",
    access="Public (Kaggle).",
    terms="The challenge's terms.",
    format="stage_2_train_images/<patientId>.dcm; stage_2_train_labels.csv, one row a box",
    counts={
        "images": Count(26_684),
        "Normal": Count(8_851),
        "No Lung Opacity / Not Normal": Count(11_821),
        "Lung Opacity": Count(6_012),
    },
)

DATASET_FOLDER = "rsna-pneumonia-detection-challenge"
IMAGES_FOLDER = "stage_2_train_images"
LABELS_FILE = "stage_2_train_labels.csv"
DETAILS_FILE = "stage_2_detailed_class_info.csv"
CLASSES = ("no lung opacity", "lung opacity")
FINDINGS = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
FRACTIONS = (0.76, 0.09, 0.15)
"""Shares of train, validation and test nearest to the paper's, about 76 / 8.5 / 15 %."""

PUBLISHED_COUNTS = DATASET.published("images", "Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
BOX_SEPARATOR = ";"

_HEADER = ("PatientSex", "PatientAge", "ViewPosition", "Rows", "Columns")
_BOX_COLUMNS = ("x", "y", "width", "height")
_AGE = re.compile(r"0*(\d{1,3})([YMWD]?)", re.IGNORECASE)
_OLDEST = 120
_SHOWN = 3

_Box = tuple[float, float, float, float]


def looks_like_rsna_pneumonia(root: str | os.PathLike[str]) -> bool:
    """Whether ``root`` holds the challenge's table of boxes and its training images."""
    return _find_folder(Path(root)) is not None


def read_rsna_pneumonia(
    root: str | os.PathLike[str],
    seed: int = 0,
    fractions: Sequence[float] = FRACTIONS,
    folds: int = DEFAULT_FOLDS,
    progress: bool = True,
    headers: bool = True,
    mapping: str = "",
    authors_csv: str = "",
    workers: int = 0,
) -> pd.DataFrame:
    """List the challenge's training radiographs as a records table.

    Parameters
    ----------
    root
        The folder with the challenge's files, or its parent; paths in the table are relative to ``root``.
    seed, fractions, folds
        Random seed, shares and number of folds, see `radimagenet_monai.datasets.records.splits`.
    progress
        Whether to show a progress bar on a terminal.
    headers
        Whether to read sex, age, view and size from the DICOM headers. Without them the columns are missing, and boxes
        cannot be limited to the image.
    mapping
        JSON file, published by RSNA beside the challenge, that names the NIH image of each radiograph
        (``subset_img_id``, ``img_id``). ``patient_id`` is then the NIH patient, and radiographs of one person stay
        together.
    authors_csv
        The RadImageNet authors' CSV files (see `radimagenet_monai.datasets.readers.authors_csv`): their selection,
        labels and split replace the challenge's targets.
    workers
        Processes that read headers; 0 means one per processor.

    Returns
    -------
    pandas.DataFrame
        A records table, one row per radiograph, in order of file name. ``label`` follows Target. Free columns:
        ``finding``, the detailed class; ``boxes``, ``x,y,width,height`` in pixels from the upper left corner of the
        stored image, joined by ``;``; with ``headers`` also ``sex``, ``age`` (years) and ``view``. ``attrs["notes"]``
        describes anomalies.

    Raises
    ------
    RecordsError
        For a folder that does not contain the challenge, tables without the expected columns, and a class with fewer
        patients than splits.
    """
    root = Path(root)
    folder = _find_folder(root)
    if folder is None:
        state = "is not a folder" if not root.is_dir() else "does not hold the RSNA pneumonia challenge"
        raise RecordsError(f"'{root}' {state}; expected {LABELS_FILE} beside the folder {IMAGES_FOLDER}")
    notes: list[str] = []
    names = list_dicom_files(folder / IMAGES_FOLDER, notes)
    prefix = (folder / IMAGES_FOLDER).relative_to(root).as_posix()
    targets, boxes = _read_labels(folder / LABELS_FILE, notes)
    findings = _read_details(folder / DETAILS_FILE, notes)
    frame = pd.DataFrame({"image": [f"{prefix}/{name}" for name in names], "identity": [name[:-4] for name in names]})
    if authors_csv:
        frame = _as_authors(frame, authors_csv, notes)
    else:
        frame["label"] = frame["identity"].map(targets).fillna("")
        _note_unlabeled(frame, targets, notes)
        frame = frame[frame["label"] != ""].reset_index(drop=True)
    if frame.empty:
        raise RecordsError(f"'{folder}': none of the {len(names)} images has a label in {LABELS_FILE}; give both")
    frame["patient_id"] = _patients(frame["identity"], mapping, notes)
    frame["finding"] = frame["identity"].map(findings).fillna("")
    sizes: dict[str, tuple[int, int]] = {}
    if headers:
        frame, sizes = _with_headers(frame, folder / IMAGES_FOLDER, workers, progress, notes)
    frame["boxes"] = _box_texts(frame["identity"].tolist(), boxes, sizes, notes)
    _note_contradictions(frame, notes)
    frame = divide(frame.drop(columns="identity"), notes, seed, fractions, folds)
    frame.attrs["notes"] = notes
    return check_records(frame, folder, CLASSES)


def parse_boxes(text: str) -> list[_Box]:
    """The boxes of a ``boxes`` cell as ``(x, y, width, height)`` in pixels."""
    return [_as_box(box.split(",")) for box in text.split(BOX_SEPARATOR) if box]


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Compare the counts of a `read_rsna_pneumonia` table with the published challenge, see `summarize`."""
    found = {"images": len(frame), **{finding: int((frame["finding"] == finding).sum()) for finding in FINDINGS}}
    counts = frame["boxes"].map(lambda text: len(parse_boxes(text)))
    return summarize(
        frame,
        PUBLISHED_COUNTS,
        found,
        boxes=int(counts.sum()),
        images_with_box=int((counts > 0).sum()),
        images_with_several_boxes=int((counts > 1).sum()),
    )


def _find_folder(root: Path) -> Path | None:
    for folder in (root, root / DATASET_FOLDER):
        if (folder / LABELS_FILE).is_file() and (folder / IMAGES_FOLDER).is_dir():
            return folder
    return None


def _read_labels(path: Path, notes: list[str]) -> tuple[dict[str, str], dict[str, list[list[str]]]]:
    """Label and box cells by patientId; a patient with contradictory rows has no label."""
    table = _read_table(path, ("patientId", *_BOX_COLUMNS, "Target"))
    repeated = table.duplicated()
    if repeated.any():
        notes.append(f"{LABELS_FILE}: {int(repeated.sum())} rows are there twice: counted once")
        table = table[~repeated]
    named = {"0": CLASSES[0], "0.0": CLASSES[0], "1": CLASSES[1], "1.0": CLASSES[1]}
    labels = table["Target"].map(named)
    if labels.isna().any():
        notes.append(f"{LABELS_FILE}: {int(labels.isna().sum())} rows were left out: their Target is neither 0 nor 1")
        table, labels = table[labels.notna()], labels[labels.notna()]
    boxed = (table[list(_BOX_COLUMNS)] != "").any(axis=1)
    kinds = pd.DataFrame({"identity": table["patientId"], "label": labels, "odd": boxed & (labels == CLASSES[0])})
    several = kinds.groupby("identity")["label"].nunique()
    contradictory = set(several.index[several > 1]) | set(kinds.loc[kinds["odd"], "identity"])
    if contradictory:
        notes.append(
            f"{len(contradictory)} patients were left out: they have Target 0 and 1, or Target 0 and a box, first "
            f"{_shown(contradictory)}"
        )
    targets = {
        identity: "" if identity in contradictory else label
        for identity, label in zip(kinds["identity"], kinds["label"], strict=True)
    }
    boxes: dict[str, list[list[str]]] = defaultdict(list)
    for row in table.loc[boxed, ["patientId", *_BOX_COLUMNS]].itertuples(index=False, name=None):
        boxes[row[0]].append(list(row[1:]))
    return targets, boxes


def _read_details(path: Path, notes: list[str]) -> dict[str, str]:
    if not path.is_file():
        notes.append(f"{DETAILS_FILE} is missing: the column finding is empty")
        return {}
    table = _read_table(path, ("patientId", "class"))[["patientId", "class"]].drop_duplicates()
    twice = table["patientId"].duplicated(keep=False)
    if twice.any():
        notes.append(
            f"{DETAILS_FILE}: {table.loc[twice, 'patientId'].nunique()} patients have several classes: no finding"
        )
    return dict(table[~twice].itertuples(index=False, name=None))


def _read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    table = read_text_table(path)
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise RecordsError(
            f"{path}: no column '{missing[0]}'; expected the challenge's own file with {', '.join(columns)}"
        )
    return table.apply(lambda column: column.str.strip())


def _as_authors(frame: pd.DataFrame, authors_csv: str, notes: list[str]) -> pd.DataFrame:
    listed = select_listed(authors_csv, frame["image"], CLASSES, ignore_suffix=True)
    notes.extend(listed.attrs["notes"])
    identities = frame.set_index("image")["identity"]
    return listed.drop(columns="pid", errors="ignore").assign(identity=listed["image"].map(identities))


def _note_unlabeled(frame: pd.DataFrame, targets: dict[str, str], notes: list[str]) -> None:
    absent = set(targets) - set(frame["identity"])
    if absent:
        notes.append(f"{len(absent)} patients of {LABELS_FILE} have no image, first {_shown(absent)}")
    unlisted = set(frame["identity"]) - set(targets)
    if unlisted:
        notes.append(
            f"{len(unlisted)} images were left out: {LABELS_FILE} does not list them, first {_shown(unlisted)}"
        )


def _patients(identities: pd.Series, mapping: str, notes: list[str]) -> pd.Series:
    """The NIH patient of each radiograph, or the radiograph itself."""
    if not mapping:
        return identities
    try:
        entries = json.loads(Path(mapping).read_text(encoding="utf-8-sig"))
        nih = {str(entry["subset_img_id"]): str(entry["img_id"]).partition("_")[0] for entry in entries}
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise RecordsError(
            f"{mapping}: cannot be read as the challenge's mapping ({type(error).__name__}); expected a JSON list of "
            "objects with subset_img_id and img_id"
        ) from error
    patients = identities.map(nih)
    unknown = patients.isna()
    if unknown.any():
        notes.append(f"{int(unknown.sum())} images are not in the mapping: each counts as a patient of its own")
    return patients.where(~unknown, identities)


def _with_headers(
    frame: pd.DataFrame, folder: Path, workers: int, progress: bool, notes: list[str]
) -> tuple[pd.DataFrame, dict[str, tuple[int, int]]]:
    names = [Path(image).name for image in frame["image"]]
    table = read_header_table(folder, names, _HEADER, workers=workers, progress=progress)
    table.index = frame.index
    faulty = table[FAULT] != ""
    if faulty.any():
        first = faulty.idxmax()
        notes.append(
            f"{int(faulty.sum())} images have no readable header, first '{frame.loc[first, 'image']}': "
            f"{table.loc[first, FAULT]}"
        )
    ages = table["PatientAge"].map(_years)
    old = pd.to_numeric(ages, errors="coerce") > _OLDEST
    if old.any():
        notes.append(f"{int(old.sum())} ages above {_OLDEST} years cannot be right and were left empty")
    frame = frame.assign(
        sex=table["PatientSex"].str.upper(), age=ages.where(~old, ""), view=table["ViewPosition"].str.upper()
    )
    sizes = {
        identity: (int(rows), int(columns))
        for identity, rows, columns in zip(frame["identity"], table["Rows"], table["Columns"], strict=True)
        if rows.isdecimal() and columns.isdecimal()
    }
    return frame, sizes


def _years(text: str) -> str:
    """Whole years from a DICOM age string; the challenge uses plain numbers."""
    match = _AGE.fullmatch(text)
    if match is None:
        return ""
    days = {"": 365, "Y": 365, "M": 30, "W": 7, "D": 1}[match[2].upper()]
    return str(int(match[1]) * days // 365)


def _box_texts(
    identities: Sequence[str], boxes: dict[str, list[list[str]]], sizes: dict[str, tuple[int, int]], notes: list[str]
) -> list[str]:
    texts, dropped, cut = [], [], []
    for identity in identities:
        kept = []
        for cells in boxes.get(identity, ()):
            box = _within(cells, sizes.get(identity))
            if box is None:
                dropped.append(identity)
            else:
                if box != _as_box(cells):
                    cut.append(identity)
                kept.append(",".join(f"{number:.10g}" for number in box))
        texts.append(BOX_SEPARATOR.join(kept))
    if dropped:
        notes.append(
            f"{len(dropped)} boxes were left out: no area within the image, first of {_shown(dropped[:1])}; the label "
            "stays"
        )
    if cut:
        notes.append(f"{len(cut)} boxes reach beyond their image and were cut, first of {_shown(cut[:1])}")
    return texts


def _within(cells: Sequence[str], size: tuple[int, int] | None) -> _Box | None:
    """The box clipped to the image; ``None`` if it is empty or not a box."""
    try:
        x, y, width, height = _as_box(cells)
    except ValueError:
        return None
    if not all(map(math.isfinite, (x, y, width, height))):
        return None
    rows, columns = size or (math.inf, math.inf)
    if x >= 0 and y >= 0 and width > 0 and height > 0 and x + width <= columns and y + height <= rows:
        return x, y, width, height
    left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + width, columns), min(y + height, rows)
    return (left, top, right - left, bottom - top) if left < right and top < bottom else None


def _as_box(cells: Sequence[str]) -> _Box:
    x, y, width, height = (float(cell) for cell in cells)
    return x, y, width, height


def _note_contradictions(frame: pd.DataFrame, notes: list[str]) -> None:
    positive = frame["label"] == CLASSES[1]
    unboxed = positive & (frame["boxes"] == "")
    if unboxed.any():
        notes.append(
            f"{int(unboxed.sum())} images with lung opacity have no box, first {_shown(frame.loc[unboxed, 'image'])}"
        )
    known = frame["finding"].isin(FINDINGS)
    other = (frame["finding"] != "") & ~known
    if other.any():
        notes.append(
            f"{int(other.sum())} images have a finding outside the published three, first "
            f"{frame.loc[other, 'finding'].iloc[0]!r}"
        )
    unlike = known & (positive != (frame["finding"] == FINDINGS[2]))
    if unlike.any():
        notes.append(
            f"{int(unlike.sum())} images have a label that their finding contradicts, first "
            f"{_shown(frame.loc[unlike, 'image'])}; the label stays"
        )


def _shown(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)[:_SHOWN])
