"""Read your own data sorted into one folder per class: reader ``folder``.

``root/<class>/...`` or ``root/<split>/<class>/...``, with images of any readable format at any depth below. A folder
below the class is the patient, and a folder below that a scan.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from radimagenet_monai.core.errors import ConfigurationError, RecordsError, UnreadableImageError
from radimagenet_monai.datasets.readers import csv_table
from radimagenet_monai.datasets.readers.own_images import (
    check_modality_option,
    check_plane_option,
    divide_own,
    file_hashes,
    named,
    one_row_a_slice,
    own_patients,
    patients_from_headers,
)
from radimagenet_monai.datasets.records.slices import choose_slices
from radimagenet_monai.datasets.records.split_columns import DEFAULT_FOLDS
from radimagenet_monai.datasets.records.splits import DEFAULT_FRACTIONS
from radimagenet_monai.datasets.records.table import check_records
from radimagenet_monai.datasets.tables.cells import one_name_each
from radimagenet_monai.datasets.tables.spellings import SPLIT_SPELLINGS, map_labels, plain
from radimagenet_monai.io.discovery.left_out import LeftOut
from radimagenet_monai.io.discovery.survey import series_files, survey

LAYOUTS = ("auto", "class", "split")
NO_CLASS_FOLDER = "image in no class folder"
OTHER_CLASS = "image in a folder of another class"


def looks_like_folder(root: str | os.PathLike[str]) -> bool:
    """Whether the folder has two or more subfolders that may be classes or splits."""
    root = Path(root)
    return root.is_dir() and sum(entry.is_dir() and not entry.name.startswith(".") for entry in root.iterdir()) > 1


def read_folder(
    root: str | os.PathLike[str],
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int = DEFAULT_FOLDS,
    progress: bool = True,
    classes: str | Sequence[str] = "",
    layout: str = "auto",
    patient_pattern: str = "",
    slices: str = "all",
    plane: str = "acquired",
    modality: str = "",
    patient_from_header: bool = False,
    patient_salt: str = "",
    hash_files: bool = False,
) -> pd.DataFrame:
    """Read a folder of class folders as records.

    Parameters
    ----------
    root
        Folder to read; paths in the table are relative to it.
    seed, fractions, folds
        Random seed, shares and number of folds, see `radimagenet_monai.datasets.records.splits`. Splits given by
        folders are kept; if there are only train and test, some patients of train become validation.
    progress
        Whether to show progress bars on a terminal.
    classes
        Names in the order of the network's outputs, ``"benign,malignant"``; folders may spell them differently (see
        `radimagenet_monai.datasets.tables.spellings`), and other folders are left out. By default the folder names in
        alphabetical order.
    layout
        ``"class"``: class folders in ``root``; ``"split"``: folders of train, validation and test (or val, valid, dev)
        that hold class folders; ``"auto"``: by the names of the folders in ``root``.
    patient_pattern
        Regular expression searched in the path below ``root``; its first group is the patient, as in ``"/(\\\\d+)_"``.
        By default the folder below the class, or each file separately if there is none.
    slices
        Slices to take from volumes, multi-frame files and DICOM series in one folder: ``"all"``, ``"central:N"`` or
        ``"every:N"``, counted by position along the slice normal, in each volume of a file with several.
    plane
        Plane of the slices of volumes: ``"acquired"``, the plane of acquisition, or ``"axial"``, ``"coronal"`` or
        ``"sagittal"``. Single-slice files in another plane are left out.
    modality, patient_from_header, patient_salt, hash_files
        As for `radimagenet_monai.datasets.readers.csv_table.read_csv`.

    Returns
    -------
    pandas.DataFrame
        A records table in order of the paths. ``exam`` names the series, the volume, or the folder below the patient.
        ``attrs["notes"]`` describes anomalies, ``attrs["classes"]`` holds the classes.

    Raises
    ------
    RecordsError
        For a folder without class folders that hold images, and for a class with fewer patients than splits.
    ConfigurationError
        For unknown options, and a pattern that is invalid, has no group, or does not match a path.
    """
    if layout not in LAYOUTS:
        raise ConfigurationError(f"layout '{layout}' is unknown; expected one of {', '.join(LAYOUTS)}")
    check_modality_option(modality)
    choose_slices(1, slices)
    check_plane_option(plane)
    pattern = _compiled(patient_pattern)
    root = Path(root)
    notes: list[str] = []
    frame, left_out = _listed(root, layout, notes)
    frame, names = _with_classes(frame, root, named(classes), notes, left_out)
    if pattern is not None:
        frame["patient_id"] = _by_pattern(frame["image"], pattern)
    elif patient_from_header:
        stated = pd.Series(patients_from_headers(frame["image"].tolist(), root, patient_salt, progress))
        frame["patient_id"] = stated.where(stated != "", frame["patient_id"])
    frame = _with_series(frame, root)
    names_of = frame["image"].tolist()
    frame["patient_id"] = one_name_each(frame["patient_id"], names_of, str(root), notes=notes)
    frame["patient_id"] = own_patients(frame, notes, "say --patient_pattern, or --patient_from_header true for DICOM")
    frame = one_row_a_slice(frame, root, slices, progress, plane, left_out)
    _require_rows(frame, root, left_out)
    exams = frame.pop("scan_folder")
    for closer in ("series", "exam"):
        if closer in frame.columns:
            exams = exams.where(frame[closer] == "", frame[closer])
    frame = frame.drop(columns="series").assign(exam=exams)
    if (exams == "").all():
        frame = frame.drop(columns="exam")
    if modality:
        frame["modality"] = modality
    frame["sha256"] = file_hashes(frame["image"].tolist(), root, hash_files, progress)
    frame = divide_own(frame, notes, seed, fractions, folds)
    frame.attrs = {"notes": [*notes, *left_out.notes], "classes": names, "left_out": left_out.counts}
    return check_records(frame, root, names)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Count a table of `read_folder`; ``classes`` are in order."""
    return csv_table.summary(frame)


def _compiled(pattern: str) -> re.Pattern[str] | None:
    if not pattern:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigurationError(f"patient_pattern '{pattern}' is no regular expression: {error}") from None
    if not compiled.groups:
        raise ConfigurationError(f"patient_pattern '{pattern}' has no group; put the patient in (...)")
    return compiled


def _listed(root: Path, layout: str, notes: list[str]) -> tuple[pd.DataFrame, LeftOut]:
    """``image``, ``label`` (the class folder's name), ``patient_id`` and ``scan_folder`` if there are such folders,
    and ``split`` if folders give it; and the files that are not in the table."""
    if not root.is_dir():
        raise RecordsError(f"'{root}' is not a folder; give one that holds a folder for each class")
    try:
        images, left_out = survey(root)
    except UnreadableImageError as error:
        raise RecordsError(str(error)) from error
    paths = [Path(item.path).relative_to(root) for item in images]
    tops = sorted({path.parts[0] for path in paths if len(path.parts) > 1})
    if not tops:
        found = f"; {left_out.notes[0]}" if left_out else ""
        raise RecordsError(f"'{root}' holds no images in folders; expected a folder for each class{found}")
    suffixes = Counter("".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffix).lower() for path in paths)
    if len(suffixes) > 1:
        listed = ", ".join(f"{suffix or 'no suffix'} ({count})" for suffix, count in suffixes.most_common())
        notes.append(f"the images are files of several kinds: {listed}; a kind must not tell the class")
    splits = [top for top in tops if plain(top) in SPLIT_SPELLINGS]
    if layout == "auto":
        if splits and len(splits) < len(tops):
            others = ", ".join(f"'{top}'" for top in tops if top not in splits)
            raise RecordsError(
                f"'{root}' holds '{splits[0]}', which may be a split, beside {others}; say --layout class or split"
            )
        layout = "split" if splits else "class"
    elif layout == "split" and len(splits) < len(tops):
        odd = next(top for top in tops if top not in splits)
        raise RecordsError(f"'{root}': folder '{odd}' is neither train, validation nor test; say --layout class")
    depth = 1 if layout == "split" else 0  # path parts above the class
    loose = [path.as_posix() for path in paths if len(path.parts) < depth + 2]
    for name in loose:
        left_out.add(NO_CLASS_FOLDER, name)
    rows = []
    for path in paths:
        if len(path.parts) < depth + 2:
            continue
        inner = path.parts[depth + 1 :]
        row = {
            "image": path.as_posix(),
            "label": path.parts[depth],
            "patient_id": inner[0] if len(inner) > 1 else "",
            "scan_folder": path.parent.as_posix() if len(inner) > 2 else "",
        }
        if layout == "split":
            row["split"] = SPLIT_SPELLINGS[plain(path.parts[0])]
        rows.append(row)
    if not rows:
        raise RecordsError(f"'{root}' holds no images in class folders; expected root/<split>/<class>/image")
    return pd.DataFrame(rows), left_out


def _with_classes(
    frame: pd.DataFrame, root: Path, classes: list[str], notes: list[str], left_out: LeftOut
) -> tuple[pd.DataFrame, list[str]]:
    if not classes:
        frame = frame.assign(label=_one_spelling(frame["label"], notes))
    folders = sorted(frame["label"].unique(), key=plain)
    if not classes:
        if len(folders) < 2:
            raise RecordsError(f"'{root}' holds images in one class folder, '{folders[0]}'; a task needs two or more")
        last = f"; the last, '{folders[-1]}', is the positive one" if len(folders) == 2 else ""
        notes.append(f"classes in alphabetical order: {', '.join(folders)}{last}; choose another with --classes")
        return frame, folders
    class_of: dict[str, str] = {}
    for folder in folders:
        try:
            class_of[folder] = map_labels([folder], classes)[0]
        except RecordsError:
            images = frame.loc[frame["label"] == folder, "image"].tolist()
            notes.append(f"folder '{folder}' with {len(images)} images is none of the classes and was left out")
            for image in images:
                left_out.add(OTHER_CLASS, image)
    without = [name for name in classes if name not in class_of.values()]
    if without:
        listed = ", ".join(f"'{folder}'" for folder in folders)
        raise RecordsError(f"'{root}' has no folder of class '{without[0]}'; it has {listed}")
    frame = frame[frame["label"].isin(list(class_of))].reset_index(drop=True)
    return frame.assign(label=frame["label"].map(class_of)), classes


def _one_spelling(labels: pd.Series, notes: list[str]) -> pd.Series:
    """Merge folders that differ only in spelling, such as ``train/Benign`` and ``test/benign``, into one class."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for folder, _ in sorted(labels.value_counts().items(), key=lambda counted: (-counted[1], counted[0])):
        spellings[plain(str(folder))].append(str(folder))
    notes.extend(
        f"folders {' and '.join(repr(name) for name in names)} are one class, '{names[0]}'"
        for names in spellings.values()
        if len(names) > 1
    )
    return labels.map({folder: names[0] for names in spellings.values() for folder in names})


def _by_pattern(images: pd.Series, pattern: re.Pattern[str]) -> list[str]:
    patients = []
    for image in images:
        match = pattern.search(image)
        if match is None or not match[1]:
            raise ConfigurationError(f"patient_pattern '{pattern.pattern}' names no patient in '{image}'")
        patients.append(match[1])
    return patients


def _with_series(frame: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Add the series of single-frame DICOM files."""
    images = frame["image"].tolist()
    position_of = {image: position for position, image in enumerate(images)}
    series = [""] * len(images)
    numbers: dict[str, int] = defaultdict(int)
    seen: set[str] = set()
    for image in images:
        if image in seen:
            continue
        siblings = [Path(file).relative_to(root).as_posix() for file in series_files(root / image)]
        siblings = [sibling for sibling in siblings if sibling in position_of] or [image]
        seen.update(siblings)
        if len(siblings) < 2:
            continue
        folder = Path(image).parent.as_posix()
        numbers[folder] += 1
        # A second series in the folder needs a separate name.
        name = folder if numbers[folder] == 1 else f"{folder}#{numbers[folder]}"
        for sibling in siblings:
            series[position_of[sibling]] = name
    return frame.assign(series=series)


def _require_rows(frame: pd.DataFrame, root: Path, left_out: LeftOut) -> None:
    if frame.empty:
        raise RecordsError(f"'{root}' holds no image that can be used; {'; '.join(left_out.notes)}")
