"""Turn MRNet v1.0, the knee MRI exams of Bien et al., into records.

Bien N, Rajpurkar P, Ball RL, et al. *Deep-learning-assisted diagnosis for knee magnetic resonance imaging.* PLOS
Medicine 2018;15(11):e1002699.

The folder ``MRNet-v1.0`` holds ``train`` and ``valid``, each with ``axial``, ``coronal`` and ``sagittal``, which hold
one NPY file per exam, ``0000.npy``, of shape ``(slices, 256, 256)``. Beside them lie tables without a header line such
as ``train-acl.csv`` with rows ``0000,1``.

Labels belong to exams. Neither the slices that show a tear nor the RadImageNet authors' rule for choosing slices is
published; here the middle slices of each series are used, as many as `DEFAULT_SLICES` says: in the sagittal plane the
cruciate ligaments run in the notch at the middle of the knee, the menisci on both sides of it. The third part of MRNet,
120 exams, was never released; the ``valid`` exams are the test set here. Exams are named but patients are not, so each
exam counts as a patient.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from radimagenet_monai.catalog.datasets import Certainty, Count, Dataset
from radimagenet_monai.core import file_hash
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.readers.authors_csv import read_authors_csv
from radimagenet_monai.datasets.records.slices import choose_slices
from radimagenet_monai.datasets.records.split_columns import DEFAULT_FOLDS, divide
from radimagenet_monai.datasets.records.splits import DEFAULT_FRACTIONS, assign_splits
from radimagenet_monai.datasets.records.summary import summarize
from radimagenet_monai.datasets.records.table import check_records
from radimagenet_monai.datasets.tables.spellings import map_labels

DATASET = Dataset(
    name="mrnet",
    title="MRNet v1.0 (knee MRI)",
    access="Request form of the Stanford ML group.",
    terms="Research use agreement of its authors.",
    format="{train,valid}/{axial,coronal,sagittal}/0000.npy of [slices, 256, 256]; train-acl.csv, ... without header",
    counts={
        "exams": Count(1_370),
        "ACL tears": Count(319),
        "meniscal tears": Count(508),
        "train exams": Count(1_130),
        "valid exams": Count(120),
        "acl exams": Count(262, Certainty.REMEMBERED),
        "meniscus exams": Count(449, Certainty.REMEMBERED),
        "abnormal exams": Count(1_008, Certainty.REMEMBERED),
    },
    notes=(
        "The 120 exams of the test part are not public: of 1 370 exams 1 250 can be had. The last three counts "
        "are of those.",
        "Labels are per exam; the authors' rule for choosing slices is not published.",
    ),
)

Target = Literal["acl", "meniscus", "abnormal"]
Plane = Literal["axial", "coronal", "sagittal"]

DATASET_FOLDER = "MRNet-v1.0"
PARTS = ("train", "valid")
TARGETS: tuple[Target, ...] = get_args(Target)
PLANES: tuple[Plane, ...] = get_args(Plane)
CLASSES: dict[Target, tuple[str, str]] = {
    "acl": ("no tear", "tear"),
    "meniscus": ("no tear", "tear"),
    "abnormal": ("normal", "abnormal"),
}
DEFAULT_SLICES: dict[Target, str] = {"acl": "central:5", "meniscus": "central:9", "abnormal": "central:9"}
"""Rule of `radimagenet_monai.datasets.records.slices.choose_slices` by target."""

PUBLISHED_COUNTS = DATASET.published("train exams", "valid exams", "acl exams", "meniscus exams", "abnormal exams")
"""Exams that were given out, and those of them with each label; the latter are not verified. The paper counts 319 ACL
tears and 508 meniscal tears in 1 370 exams, of which 120 are not published."""

_SERIES = re.compile(r"(\d+)\.npy", re.IGNORECASE)
_TABLE = re.compile(r"(train|valid)[-_](acl|meniscus|abnormal)\.csv", re.IGNORECASE)
_LISTED = re.compile(r"(?:.*/)?(\d+)_(axial|coronal|sagittal)_(\d+)(?:\.\d+)?(?:\.[a-z]+)?", re.IGNORECASE)
_SILENT = frozenset({"thumbs.db", "desktop.ini"})
_SHOWN = 5
_SIDE = 256


def looks_like_mrnet(root: str | os.PathLike[str]) -> bool:
    """Whether ``root`` is an MRNet folder, or contains one named ``MRNet-v1.0``."""
    return _find_folder(Path(root)) is not None


def read_mrnet(
    root: str | os.PathLike[str],
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int = DEFAULT_FOLDS,
    progress: bool = True,
    target: Target = "acl",
    plane: Plane = "sagittal",
    slices: str | None = None,
    authors_csv: str | None = None,
    authors_fold: int | None = None,
    official: bool = True,
    hash_files: bool = True,
) -> pd.DataFrame:
    """List MRNet as a records table, one row per slice.

    Parameters
    ----------
    root
        ``MRNet-v1.0`` or its parent folder; paths in the table are relative to it.
    seed, fractions, folds
        Random seed, shares and number of folds, by exam and stratified by label, see
        `radimagenet_monai.datasets.records.splits`; the same for every choice of slices. Folds cover all exams.
    progress
        Whether to show a progress bar on a terminal.
    target
        ``"acl"`` and ``"meniscus"``: ``tear`` or ``no tear``; ``"abnormal"``: ``abnormal`` or ``normal``.
    plane
        ``"sagittal"``, ``"coronal"`` or ``"axial"``.
    slices
        Slices to take from each series, see `radimagenet_monai.datasets.records.slices.choose_slices`; by default the
        target's `DEFAULT_SLICES`.
    authors_csv, authors_fold
        CSV file of the RadImageNet authors, or a folder of them, see
        `radimagenet_monai.datasets.readers.authors_csv.read_authors_csv`: names such as
        ``1054_sagittal_19.000000.png``, interpreted as exam, plane and zero-based slice (not verified). They define the
        slices and their labels.
    official
        Whether the ``valid`` exams are the test set and ``train`` is divided into train and validation. Otherwise all
        exams are divided together.
    hash_files
        Whether to read every file for the ``sha256`` column.

    Returns
    -------
    pandas.DataFrame
        A records table in order of exams and slices; ``frame`` is the slice, ``exam`` and ``patient_id`` the exam. The
        free columns ``acl``, ``meniscus`` and ``abnormal`` hold 0, 1 or nothing. ``attrs["notes"]`` has one sentence on
        each anomaly.

    Raises
    ------
    RecordsError
        For a folder that is not MRNet or has no exam with a label, and for a class with fewer exams than splits.
    ConfigurationError
        For an unknown target, plane or slice rule, or a rule combined with the authors' selection.
    """
    for name, value, known in (("target", target, TARGETS), ("plane", plane, PLANES)):
        if value not in known:
            raise ConfigurationError(f"{name} '{value}' was given; expected one of {', '.join(known)}")
    if authors_csv and slices:
        raise ConfigurationError(f"slices '{slices}' and authors_csv were both given; the CSV files choose the slices")
    rule = slices or DEFAULT_SLICES[target]
    choose_slices(1, rule)
    root = Path(root)
    folder = _find_folder(root)
    if folder is None:
        state = "is not a folder" if not root.is_dir() else "does not hold MRNet"
        raise RecordsError(
            f"'{root}' {state}; expected {DATASET_FOLDER} with train and valid, in them sagittal/0000.npy, and tables "
            "such as train-acl.csv"
        )
    notes: list[str] = []
    exams = _labelled_exams(folder, target, notes)
    if authors_csv:
        frame = _authors_slices(folder, root, exams, read_authors_csv(authors_csv, authors_fold), target, notes)
    else:
        series = _list_series(folder, plane, notes)
        notes.extend(
            f"exam {exam:04d} has no {target} label: it was left out" for exam in sorted(series.keys() - exams.keys())
        )
        _note_missing(sorted(exams.keys() - series.keys()), plane, notes)
        elsewhere = set().union(*(_list_series(folder, other, []) for other in PLANES))
        exams = {exam: info for exam, info in exams.items() if exam in elsewhere}
        labelled = {exam: path for exam, path in series.items() if exam in exams}
        frame = _chosen_slices(root, labelled, rule, progress, notes)
        frame["label"] = [CLASSES[target][exams[int(exam)].labels[target]] for exam in frame["exam"]]
        frame["plane"] = plane
    if frame.empty:
        raise RecordsError(
            f"'{folder}': no exam has both a {plane} series and a label of {target}; complete the folder"
        )
    division = _Division(seed, fractions, folds, official)
    frame = _divide(frame, exams, target, not authors_csv, division, notes)
    for name in TARGETS:
        values = {exam: str(info.labels.get(name, "")) for exam, info in exams.items()}
        frame[name] = [values.get(int(exam), "") for exam in frame["exam"]]
    if hash_files:
        images = frame["image"].drop_duplicates()
        digests = dict(zip(images, file_hash.hash_files(root, images.tolist(), progress), strict=True))
        frame["sha256"] = frame["image"].map(digests)
    frame.attrs["notes"] = notes
    return check_records(frame, folder, CLASSES[target])


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Compare the counts of a `read_mrnet` table with the published dataset, see `summarize`."""
    exams = frame.drop_duplicates("exam")
    valid = exams["image"].str.contains(r"(?:^|/)valid/", regex=True)
    found = {"train exams": int((~valid).sum()), "valid exams": int(valid.sum())}
    found |= {f"{name} exams": int((exams[name] == "1").sum()) for name in TARGETS}
    return summarize(frame, PUBLISHED_COUNTS, found, patient_id="the exam: MRNet names no patients")


@dataclass
class _Exam:
    part: str  # one of PARTS
    labels: dict[str, int]


@dataclass(frozen=True)
class _Division:
    """How exams are divided, see `read_mrnet`."""

    seed: int
    fractions: Sequence[float]
    folds: int
    official: bool


def _find_folder(root: Path) -> Path | None:
    for folder in (root, root / DATASET_FOLDER):
        if any((folder / part / plane).is_dir() for part in PARTS for plane in PLANES):
            return folder
    return None


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if not entry.name.startswith("."))
    except OSError:
        return []


def _labelled_exams(folder: Path, target: Target, notes: list[str]) -> dict[int, _Exam]:
    """Exams with a label of the target, with all their labels."""
    exams: dict[int, _Exam] = {}
    found = False
    for name in _names(folder):
        if match := _TABLE.fullmatch(name):
            part, label = match[1].lower(), match[2].lower()
            found |= label == target
            for exam, value in _read_labels(folder / name, notes).items():
                known = exams.setdefault(exam, _Exam(part, {}))
                if known.part == part:
                    known.labels[label] = value
                else:
                    notes.append(f"exam {exam:04d} is in {name} and in a table of {known.part}: it is of {known.part}")
    if not found:
        raise RecordsError(
            f"'{folder}': no table train-{target}.csv or valid-{target}.csv; put it beside train and valid"
        )
    return {number: exam for number, exam in sorted(exams.items()) if target in exam.labels}


def _read_labels(path: Path, notes: list[str]) -> dict[int, int]:
    """Label 0 or 1 by exam."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RecordsError(f"{path}: cannot be read as a table of rows such as 0000,1 ({error})") from error
    labels: dict[int, int] = {}
    contradictory: set[int] = set()
    odd: list[str] = []
    for number, row in enumerate(rows):
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        exam = cells[0].removesuffix(".npy").removesuffix(".0")
        value = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}.get(cells[1]) if len(cells) > 1 else None
        if not (exam.isascii() and exam.isdigit() and len(exam) < 10) or value is None:
            if number:  # the first line may be an added header
                odd.append(",".join(cells))
        elif labels.setdefault(int(exam), value) != value:
            contradictory.add(int(exam))
    if odd:
        notes.append(f"{path.name}: {len(odd)} rows are not of the form 0000,1 and were left out, first '{odd[0]}'")
    for exam_number in sorted(contradictory):
        del labels[exam_number]
        notes.append(f"{path.name}: exam {exam_number:04d} has two labels and was left out")
    return labels


def _list_series(folder: Path, plane: Plane, notes: list[str]) -> dict[int, Path]:
    """The NPY file of each exam in a plane."""
    series: dict[int, Path] = {}
    for part in PARTS:
        for name in _names(folder / part / plane):
            path = folder / part / plane / name
            shown = path.relative_to(folder).as_posix()
            match = _SERIES.fullmatch(name)
            if match is None:
                if name.casefold() not in _SILENT:
                    notes.append(f"'{shown}' was left out: its name is not of the form '0000.npy'")
            elif int(match[1]) in series:
                other = series[int(match[1])].relative_to(folder).as_posix()
                notes.append(f"'{shown}' was left out: it has the number of '{other}'")
            else:
                series[int(match[1])] = path
    return series


def _note_missing(exams: Sequence[int], plane: str, notes: list[str]) -> None:
    if exams:
        first = ", ".join(f"{exam:04d}" for exam in exams[:_SHOWN])
        notes.append(f"{len(exams)} exams with a label have no {plane} series and were left out, first {first}")


def _shape(path: Path) -> tuple[int, int, int] | str:
    """``(slices, rows, columns)`` from the file's header, or a description of the fault."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        return f"it is not a readable NPY file ({error})"
    if not isinstance(array, np.ndarray) or array.ndim != 3 or 0 in array.shape or array.dtype.kind not in "uif":
        shape, kind = getattr(array, "shape", "unknown"), getattr(array, "dtype", "no numbers")
        return f"it holds {kind} of shape {shape}, not numbers of (slices, rows, columns)"
    return int(array.shape[0]), int(array.shape[1]), int(array.shape[2])


def _chosen_slices(root: Path, series: Mapping[int, Path], rule: str, progress: bool, notes: list[str]) -> pd.DataFrame:
    rows: list[tuple[str, str, int]] = []
    unusual = 0
    for exam in tqdm(sorted(series), desc="Reading MRNet", unit="exam", disable=None if progress else True):
        path = series[exam]
        shape = _shape(path)
        image = path.relative_to(root).as_posix()
        if isinstance(shape, str):
            notes.append(f"'{image}' was left out: {shape}")
            continue
        unusual += shape[1:] != (_SIDE, _SIDE)
        rows += [(image, f"{exam:04d}", number) for number in choose_slices(shape[0], rule)]
    if unusual:
        notes.append(f"{unusual} series have slices of another size than {_SIDE} x {_SIDE}")
    return pd.DataFrame(rows, columns=["image", "exam", "frame"])


def _authors_slices(
    folder: Path, root: Path, exams: Mapping[int, _Exam], listed: pd.DataFrame, target: Target, notes: list[str]
) -> pd.DataFrame:
    """The existing slices listed in the authors' CSV files."""
    notes.extend(listed.attrs.get("notes", []))
    series = {plane: _list_series(folder, plane, []) for plane in PLANES}
    shapes: dict[Path, tuple[int, int, int] | str] = {}
    labels = map_labels(listed["label"], CLASSES[target], source="the authors' CSV")
    kept: list[int] = []
    rows: list[tuple[str, str, int, str, str]] = []
    unnamed, missing, other_label = [], [], 0
    for index, (name, label) in enumerate(zip(listed["filename"], labels, strict=True)):
        match = _LISTED.fullmatch(name)
        if match is None or not label:
            unnamed.append(name)
            continue
        exam, number = int(match[1]), int(match[3])
        path = series[match[2].lower()].get(exam)  # type: ignore[index]  # the pattern names planes only
        shape = shapes.setdefault(path, _shape(path)) if path is not None else "missing"
        if path is None or isinstance(shape, str) or number >= shape[0]:
            missing.append(name)
            continue
        if exam in exams:
            other_label += CLASSES[target][exams[exam].labels[target]] != label
        kept.append(index)
        rows.append((path.relative_to(root).as_posix(), f"{exam:04d}", number, label, match[2].lower()))
    for names, reason in (
        (unnamed, "are not named like 1054_sagittal_19.000000.png, or have no label"),
        (missing, "name a series or slice that is not there"),
    ):
        if names:
            notes.append(f"{len(names)} rows of the authors' CSV {reason} and were left out, first '{names[0]}'")
    if other_label:
        notes.append(f"the authors' label of {other_label} slices is not the label of their exam: theirs was taken")
    frame = pd.DataFrame(rows, columns=["image", "exam", "frame", "label", "plane"])
    for column in ("split", "fold"):
        if column in listed.columns:
            frame[column] = listed[column].iloc[kept].to_numpy()
    return frame.sort_values(["exam", "image", "frame"], ignore_index=True)


def _divide(
    frame: pd.DataFrame,
    exams: Mapping[int, _Exam],
    target: Target,
    from_tables: bool,
    division: _Division,
    notes: list[str],
) -> pd.DataFrame:
    """Split and fold by exam: from the authors' files, the official parts, or our own division."""
    frame["patient_id"] = frame["exam"]
    for column in ("split", "fold"):
        if column in frame.columns:
            several = frame[frame[column] != ""].groupby("exam")[column].nunique() > 1
            if several.any():
                notes.append(
                    f"the authors' CSV files have slices of {int(several.sum())} exams, first {several.idxmax()}, on "
                    f"two sides of a {column}: the {column} was assigned again, by exam"
                )
                frame = frame.drop(columns=column)
    # Divide all existing labelled exams, so that the parts are the same for every plane and slice rule.
    part_of = {exam: info.part for exam, info in exams.items()}
    positive = {exam: bool(info.labels[target]) for exam, info in exams.items()}
    if not from_tables:
        positive = frame["label"].eq(CLASSES[target][1]).groupby(frame["exam"].astype(int)).any().to_dict()
    valid = frame["image"].str.contains(r"(?:^|/)valid/", regex=True)
    part_of |= {int(exam): PARTS[is_valid] for exam, is_valid in zip(frame["exam"], valid, strict=True)}
    table = pd.DataFrame({"exam": [f"{exam:04d}" for exam in sorted(positive)]})
    table["patient_id"] = table["exam"]
    table["label"] = [CLASSES[target][positive[int(exam)]] for exam in table["exam"]]
    for column in ("split", "fold"):
        if column in frame.columns:
            table[column] = table["exam"].map(frame.drop_duplicates("exam").set_index("exam")[column])
    if division.official and "split" not in table.columns:
        in_train = np.array([part_of[int(exam)] == "train" for exam in table["exam"]])
        if in_train.all() or not in_train.any():
            notes.append("only one of train and valid is there: its exams were divided into train, validation and test")
        else:
            training, validation = division.fractions[:2]
            share = training / (training + validation) if training + validation else 1.0
            table["split"] = "test"
            train = table[in_train]
            table.loc[in_train, "split"] = assign_splits(
                train["label"], train["patient_id"], (share, 1 - share, 0.0), division.seed
            )
    table = divide(table, notes, division.seed, division.fractions, division.folds).set_index("exam")
    for column in ("split", "fold"):
        if column in table.columns:
            frame[column] = frame["exam"].map(table[column])
    return frame
