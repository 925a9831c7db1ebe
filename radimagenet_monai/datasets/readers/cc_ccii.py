"""Turn CC-CCII, the chest CT slices of the China Consortium of Chest CT Image Investigation, into records.

Zhang K, Liu X, Shen J, et al. *Clinically Applicable AI System for Accurate Diagnosis, Quantitative Measurements, and
Prognosis of COVID-19 Pneumonia Using Computed Tomography.* Cell 2020;181(6):1423-1433.

``{CP,NCP,Normal}/<patient>/<scan>/<slice>.png`` (or ``.jpg``): common pneumonia, novel coronavirus pneumonia, and
neither. Patients, scans and slices are numbers. The slices are pictures that are already windowed.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from tqdm import tqdm

from radimagenet_monai.catalog.datasets import Certainty, Count, Dataset
from radimagenet_monai.core import file_hash
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.readers.authors_csv import select_listed
from radimagenet_monai.datasets.records.slices import choose_slices
from radimagenet_monai.datasets.records.split_columns import DEFAULT_FOLDS, divide
from radimagenet_monai.datasets.records.splits import DEFAULT_FRACTIONS
from radimagenet_monai.datasets.records.summary import summarize
from radimagenet_monai.datasets.records.table import check_records
from radimagenet_monai.io.reader import is_junk

DATASET = Dataset(
    name="cc_ccii",
    title="CC-CCII (China consortium of chest CT image investigation)",
    access="Public.",
    terms="See the data set's own page; cite its authors.",
    format="{CP,NCP,Normal}/<patient>/<scan>/<slice>.png|jpg",
    counts={"images": Count(58_766, Certainty.REMEMBERED)},
)

CLASSES = ("CP", "NCP")
LEFT_OUT_FOLDER = "Normal"
PUBLISHED_COUNTS = DATASET.published("images")
"""Slices in the RadImageNet authors' selection (from memory, not verified); the whole dataset is larger."""

_SUFFIXES = (".png", ".jpg", ".jpeg")
_DIGITS = re.compile(r"(\d+)")
_SHOWN = 3


def looks_like_cc_ccii(root: str | os.PathLike[str]) -> bool:
    """Whether ``root``, or a folder in it, has subfolders CP and NCP that contain folders."""
    return _find_folder(Path(root)) is not None


def read_cc_ccii(
    root: str | os.PathLike[str],
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int = DEFAULT_FOLDS,
    progress: bool = True,
    slices: str = "all",
    authors_csv: str = "",
    hash_files: bool = False,
) -> pd.DataFrame:
    """List a CC-CCII folder as a records table, divided by patient.

    Parameters
    ----------
    root
        The folder that holds ``CP`` and ``NCP``, or its parent; paths in the table are relative to ``root``.
    seed, fractions, folds
        Random seed, shares and number of folds, see `radimagenet_monai.datasets.records.splits`.
    progress
        Whether to show a progress bar on a terminal.
    slices
        Slices to take from each scan, see `radimagenet_monai.datasets.records.slices.choose_slices`.
    authors_csv
        The RadImageNet authors' CSV files (see `radimagenet_monai.datasets.readers.authors_csv`), which define
        selection, labels and split. Requires ``slices="all"``.
    hash_files
        Whether to fill the ``sha256`` column, which reads every file.

    Returns
    -------
    pandas.DataFrame
        A records table, one row per slice, ordered by class, patient, scan and slice number. ``patient_id`` is the
        patient's folder; a number that occurs under both classes counts as one patient and so stays on one side of a
        split. ``exam`` is the scan. ``attrs["notes"]`` describes anomalies and the number of normal patients left out.

    Raises
    ------
    RecordsError
        For a folder that is not CC-CCII, and for a class with fewer patients than splits.
    ConfigurationError
        For an unknown slice rule, or a rule combined with the authors' selection.
    """
    root = Path(root)
    choose_slices(1, slices)
    if authors_csv and slices != "all":
        raise ConfigurationError(f"slices '{slices}' and authors_csv were both given; the CSV files choose the slices")
    folder = _find_folder(root)
    if folder is None:
        state = "is not a folder" if not root.is_dir() else "does not hold CC-CCII"
        raise RecordsError(f"'{root}' {state}; expected folders CP and NCP of <patient>/<scan>/<slice>.png")
    notes: list[str] = []
    scans: list[_Scan] = []
    for name in CLASSES:
        patients = tqdm(
            _folders(folder / name, root, notes),
            desc=f"Listing {name}",
            unit="patient",
            disable=None if progress else True,
        )
        for patient in patients:
            scans += _scans(patient, name, root, notes)
    _note_left_out(folder / LEFT_OUT_FOLDER, notes)
    shared = _shared_patients(scans, notes)
    rows = [
        (
            f"{scan.path}/{name}",
            scan.label,
            scan.patient,
            f"{scan.label} {scan.name}" if scan.patient in shared else scan.name,
        )
        for scan in scans
        for name in (scan.slices[number] for number in choose_slices(len(scan.slices), slices))
    ]
    if not rows:
        raise RecordsError(f"'{folder}': no slice in the folders CP and NCP; expected <patient>/<scan>/<slice>.png")
    frame = pd.DataFrame(rows, columns=["image", "label", "patient_id", "exam"])
    if authors_csv:
        frame = _as_authors(frame, authors_csv, notes)
    if hash_files:
        frame["sha256"] = file_hash.hash_files(root, frame["image"], progress)
    frame = divide(frame, notes, seed, fractions, folds)
    frame.attrs["notes"] = notes
    return check_records(frame, folder, CLASSES)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Compare the counts of a `read_cc_ccii` table with the authors' selection, see `summarize`."""
    patients = frame.groupby("label")["patient_id"].nunique()
    exams = frame.drop_duplicates(["label", "patient_id", "exam"])["label"].value_counts()
    return summarize(
        frame,
        PUBLISHED_COUNTS,
        {"images": len(frame)},
        patients_by_label={name: int(patients.get(name, 0)) for name in CLASSES},
        exams_by_label={name: int(exams.get(name, 0)) for name in CLASSES},
    )


@dataclass(frozen=True)
class _Scan:
    path: str  # relative to the root, with /
    label: str
    patient: str
    name: str
    slices: list[str]


def _find_folder(root: Path) -> Path | None:
    if not root.is_dir():
        return None
    candidates = [root, *sorted(entry for entry in root.iterdir() if entry.is_dir() and not is_junk(entry.name))]
    for folder in candidates:
        if all((folder / name).is_dir() for name in CLASSES) and all(
            any(entry.is_dir() for entry in os.scandir(folder / name)) for name in CLASSES
        ):
            return folder
    return None


def _scans(patient: Path, label: str, root: Path, notes: list[str]) -> Iterator[_Scan]:
    for scan in _folders(patient, root, notes):
        names = _slices(scan, root, notes)
        path = scan.relative_to(root).as_posix()
        if names:
            yield _Scan(path, label, patient.name, scan.name, names)
        else:
            notes.append(f"'{path}' was left out: it holds no slice")


def _folders(folder: Path, root: Path, notes: list[str]) -> list[Path]:
    found = []
    others = []
    for entry in os.scandir(folder):
        if entry.is_dir():
            if not entry.name.startswith("."):
                found.append(entry.name)
        elif not is_junk(entry.name):
            others.append(entry.name)
    _note_others(folder, others, root, notes)
    return [folder / name for name in sorted(found, key=_by_number)]


def _slices(scan: Path, root: Path, notes: list[str]) -> list[str]:
    """Slice files of one scan in numerical order; only the first of ``7.png`` and ``7.jpg``."""
    names: dict[str, str] = {}
    others, twins = [], 0
    for name in sorted((entry.name for entry in os.scandir(scan)), key=lambda name: (_suffix_rank(name), name)):
        if is_junk(name):
            continue
        path = PurePosixPath(name)
        if path.suffix.lower() not in _SUFFIXES:
            others.append(name)
        elif path.stem in names:
            twins += 1
        else:
            names[path.stem] = name
    _note_others(scan, others, root, notes)
    if twins:
        notes.append(
            f"'{scan.relative_to(root).as_posix()}': {twins} slices are there as PNG and JPEG: the PNG is used"
        )
    return [names[stem] for stem in sorted(names, key=_by_number)]


def _suffix_rank(name: str) -> int:
    suffix = PurePosixPath(name).suffix.lower()
    return _SUFFIXES.index(suffix) if suffix in _SUFFIXES else len(_SUFFIXES)


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorting key that puts ``2`` before ``10``, whatever surrounds the numbers."""
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in _DIGITS.split(name)]


def _note_others(folder: Path, names: Iterable[str], root: Path, notes: list[str]) -> None:
    names = sorted(names)
    if names:
        where = folder.relative_to(root).as_posix()
        notes.append(
            f"'{where}': {len(names)} files were left out, first '{names[0]}': not a slice in its scan's folder"
        )


def _note_left_out(folder: Path, notes: list[str]) -> None:
    if folder.is_dir():
        count = sum(entry.is_dir() for entry in os.scandir(folder))
        notes.append(f"{count} patients of the folder {LEFT_OUT_FOLDER} were left out: the task is CP against NCP")


def _shared_patients(scans: Sequence[_Scan], notes: list[str]) -> set[str]:
    labels = defaultdict(set)
    for scan in scans:
        labels[scan.patient].add(scan.label)
    shared = {patient for patient, found in labels.items() if len(found) > 1}
    if shared:
        notes.append(
            f"{len(shared)} patient numbers occur under CP and NCP, first {_shown(shared)}: each is kept on one "
            "side of every split"
        )
    return shared


def _as_authors(frame: pd.DataFrame, authors_csv: str, notes: list[str]) -> pd.DataFrame:
    listed = select_listed(authors_csv, frame["image"], CLASSES)
    notes.extend(listed.attrs["notes"])
    known = frame.set_index("image")
    chosen = listed.drop(columns="pid", errors="ignore").assign(
        patient_id=listed["image"].map(known["patient_id"]), exam=listed["image"].map(known["exam"])
    )
    other = chosen["label"] != chosen["image"].map(known["label"])
    if other.any():
        notes.append(
            f"{int(other.sum())} images are labeled unlike their folder, first {_shown(chosen.loc[other, 'image'])}: "
            "the label of the CSV file stands"
        )
    return chosen


def _shown(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)[:_SHOWN])
