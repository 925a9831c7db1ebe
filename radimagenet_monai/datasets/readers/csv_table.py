"""Read your own data described by a CSV table: reader ``csv``.

One row per image, volume or series folder, in any readable format. Columns are found by their usual names or named
in options; every other column is kept and can become a subgroup.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.masks.stating import named_values, state_frames, state_values
from radimagenet_monai.datasets.readers.own_images import (
    below,
    check_modality_option,
    check_plane_option,
    divide_own,
    file_hashes,
    named,
    one_row_a_slice,
    own_patients,
    patients_from_headers,
)
from radimagenet_monai.datasets.records.split_columns import DEFAULT_FOLDS
from radimagenet_monai.datasets.records.splits import DEFAULT_FRACTIONS
from radimagenet_monai.datasets.records.summary import summarize
from radimagenet_monai.datasets.records.table import MASK_SEPARATOR, RECORD_COLUMNS, check_records, mask_file
from radimagenet_monai.datasets.tables.cells import (
    clean,
    mapped,
    one_name_each,
    says_nothing,
    whole_number,
    without_nothing,
)
from radimagenet_monai.datasets.tables.disk_names import DiskNames
from radimagenet_monai.datasets.tables.frame_column import FrameColumn, with_frames
from radimagenet_monai.datasets.tables.spellings import SPLIT_SPELLINGS, map_labels, map_splits, plain
from radimagenet_monai.datasets.tables.text_table import read_text_table
from radimagenet_monai.io.discovery.left_out import LeftOut

USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "image": (
        *("image_path", "imagepath", "img", "img_path", "imgpath", "img_dir", "image_file", "path", "file", "filename"),
        *("file_name", "filepath", "file_path", "dicom", "dicom_path", "dcm", "volume", "nifti", "nii", "scan_path"),
    ),
    "label": ("class", "target", "diagnosis", "category", "class_name", "y", "ground_truth", "gt"),
    "patient_id": ("patient", "patientid", "pid", "subject", "subject_id", "subjectid", "participant_id", "case_id"),
    "mask": ("mask_path", "segmentation", "seg", "seg_path", "segmentation_path", "annotation_path"),
    "split": ("set", "subset", "partition", "dataset_split"),
    "exam": ("exam_id", "study", "study_id", "scan", "scan_id", "session", "accession"),
    "fold": ("cv_fold", "kfold"),
    "frame": ("slice", "slice_number", "frame_number"),
    "modality": (),
}
"""Names that a column of the records table often goes by; its own name counts first. Case, ``-`` and blanks between
words make no difference."""

NO_COLUMN = "none"
ROW = "\0row"
"""Column that says where in the file a row stands, while the table is read."""

_IDENTIFYING = ("split", "exam", "fold", "frame", "modality")
_SHOWN = 3


def looks_like_csv(root: str | os.PathLike[str]) -> bool:
    """Whether the folder holds exactly one CSV file with an image column."""
    files = _csv_files(Path(root))
    if len(files) != 1:
        return False
    try:
        table = read_text_table(files[0])
    except RecordsError:
        return False
    names = {plain(str(column)).replace(" ", "_") for column in table.columns}
    return bool(names & {"image", *USUAL_NAMES["image"]})


def read_csv(
    root: str | os.PathLike[str],
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int = DEFAULT_FOLDS,
    progress: bool = True,
    csv: str = "",
    classes: str | Sequence[str] = "",
    image_column: str = "",
    label_column: str = "",
    patient_column: str = "",
    mask_column: str = "",
    mask_values: str | Sequence[object] = "",
    mask_at_least: float | None = None,
    split_column: str = "",
    exam_column: str = "",
    frame_column: str = "",
    first_frame: str | int = "auto",
    missing: str = "error",
    slices: str = "all",
    plane: str = "acquired",
    modality: str = "",
    patient_from_header: bool = False,
    patient_salt: str = "",
    hash_files: bool = False,
) -> pd.DataFrame:
    """Read a table of images as records.

    Parameters
    ----------
    root
        Folder that relative paths in the table start from.
    seed, fractions, folds
        Random seed, shares and number of folds, see `radimagenet_monai.datasets.records.splits`. A split or fold in the
        table is kept; if it has only train and test rows, some patients of the train rows become validation.
    progress
        Whether to show progress bars on a terminal.
    csv
        Path of the table; by default the only CSV file in ``root``. See `radimagenet_monai.datasets.tables.text_table`.
    classes
        Names in the order of the network's outputs, ``"benign,malignant"``; of two classes the last is positive and may
        be written 1, yes, positive, ... in the table (see `radimagenet_monai.datasets.tables.spellings`). By default
        all labels of the table, in alphabetical order, numbers by value. A class called None, NA or the like has to be
        named here; otherwise those words mean that the row has no label.
    image_column, label_column, patient_column, mask_column, split_column, exam_column, frame_column
        Column names, if they are not among the `USUAL_NAMES`; ``none`` means that there is no such column, whatever the
        names. A column recognized only by its name as split (``set``) or frame (``slice``) is kept as a free column if
        its cells hold no split, or the images have one frame each.
    mask_values
        Mask values that are the lesion, ``"2"`` or ``"1,2"``, optionally with their names, ``"edema=1,core=2"``. By
        default the content of each mask decides; a mask with several labels is then refused
        (`radimagenet_monai.datasets.masks.values`).
    mask_at_least
        Smallest value that is lesion, for masks with many gray values.
    first_frame
        Whether the frame column counts from 0 or 1. By default the files decide: 0 if 0 occurs, 1 if the number of
        frames itself occurs; if neither does, an error asks for this option.
    missing
        ``"error"`` refuses a table that names missing files, ``"skip"`` leaves them out with a note.
    slices
        Slices to take from volumes, multi-frame files, series folders and the DICOM files of one series in a folder:
        ``"all"``, ``"central:N"`` or ``"every:N"``, counted by position along the slice normal, in each volume of a
        file with several.
    plane
        Plane of the slices of volumes: ``"acquired"``, the plane of acquisition, or ``"axial"``, ``"coronal"`` or
        ``"sagittal"``. Frames in the table are counted in this plane. Single-slice files in another plane are left out.
    modality
        ``CT``, ``MR``, ``US`` or ``radiograph``, for files that do not state their modality.
    patient_from_header
        If no column names patients, use a pseudonym of the Patient ID of DICOM files; the id itself is not kept.
    patient_salt
        Secret text that enters the pseudonym.
    hash_files
        Fill the column ``sha256`` even for more than 20 000 files.

    Returns
    -------
    pandas.DataFrame
        A records table in the table's order. Each image without a known patient counts as a separate patient, which
        ``attrs["notes"]`` states; ``attrs["classes"]`` holds the classes. ``label`` is empty if the table has masks but
        no label column.

    Raises
    ------
    RecordsError
        For a table that cannot be read or names missing files, and for a class with fewer patients than splits.
    ConfigurationError
        For a missing column, two matching columns, or unknown options.
    """
    if missing not in ("error", "skip"):
        raise ConfigurationError(f"missing '{missing}' is unknown; expected error or skip")
    check_modality_option(modality)
    lesion = named_values(named(mask_values), mask_at_least)
    check_plane_option(plane)
    root = Path(root)
    path = _table(root, csv)
    given = {
        "image": image_column,
        "label": label_column,
        "patient_id": patient_column,
        "mask": mask_column,
        "split": split_column,
        "exam": exam_column,
        "frame": frame_column,
    }
    notes: list[str] = []
    left_out = LeftOut(root)
    frame = _with_our_names(read_text_table(path), given, path, notes)
    frame = _cleaned(frame)
    frame = _with_paths(frame, root, path, missing, notes, left_out)
    frame = _with_labels(frame, named(classes), path, notes, left_out)
    names = frame.attrs["classes"]
    if "patient_id" in frame.columns:
        frame["patient_id"] = one_name_each(frame["patient_id"], frame[ROW].tolist(), str(path), notes=notes)
    frame = _without_repeated(frame, path, left_out)
    if "split" in frame.columns:
        way_out = "; where the column is no split, say --split_column none"
        frame["split"] = map_splits(frame["split"], str(path), way_out, frame[ROW].tolist())
    frame = _with_patients(frame, root, patient_from_header, patient_salt, progress, notes)
    if "frame" in frame.columns:
        name = frame.attrs["columns"]["frame"]
        column = FrameColumn(str(path), name, frame[ROW], stated=bool(frame_column) or plain(name) == "frame")
        frame = with_frames(frame, root, column, str(first_frame), notes, progress, plane)
    if modality:
        frame["modality"] = modality
    frame = state_frames(frame, root)
    frame = one_row_a_slice(frame, root, slices, progress, plane, left_out)
    if frame.empty:
        raise RecordsError(f"{path}: it names no image that can be used; {'; '.join(left_out.notes)}")
    frame = state_values(frame, list(lesion), mask_at_least)
    frame["sha256"] = file_hashes(frame["image"].tolist(), root, hash_files, progress)
    frame = divide_own(frame, notes, seed, fractions, folds)
    rows = frame.pop(ROW).to_numpy()
    frame.attrs = {
        "notes": [*notes, *left_out.notes],
        "classes": names,
        "left_out": left_out.counts,
        "mask_values": lesion,
    }
    return check_records(frame, path, names or None, require_label=bool(names), rows=rows)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Count a table of `read_csv` or `read_folder`; ``classes`` are in order."""
    return summarize(frame, {}, {}, classes=list(frame.attrs.get("classes", [])))


def _csv_files(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return sorted(
        entry for entry in root.iterdir() if entry.suffix.lower() == ".csv" and not entry.name.startswith(".")
    )


def _table(root: Path, csv: str) -> Path:
    if not root.is_dir():
        raise RecordsError(f"'{root}' is not a folder; give the folder that the paths of the table start from")
    if csv:
        return Path(csv) if Path(csv).is_file() or not (root / csv).is_file() else root / csv
    files = _csv_files(root)
    if len(files) != 1:
        found = f"{len(files)} CSV files" if files else "no CSV file"
        raise RecordsError(f"'{root}' holds {found}; name the table with --csv FILE")
    return files[0]


def _with_our_names(table: pd.DataFrame, given: Mapping[str, str], path: Path, notes: list[str]) -> pd.DataFrame:
    """Rename known columns to those of a records table; `ROW` holds the position of each row."""
    by_plain: dict[str, str] = {}
    for column in table.columns:
        by_plain.setdefault(plain(str(column)).replace(" ", "_"), str(column))
    source: dict[str, str] = {}
    for ours, usual in USUAL_NAMES.items():
        if given.get(ours, "").lower() == NO_COLUMN and NO_COLUMN not in table.columns:
            continue
        if given.get(ours):
            if given[ours] not in table.columns:
                raise ConfigurationError(
                    f"{path}: no column '{given[ours]}' among {', '.join(map(str, table.columns))}; "
                    f"give --{_option(ours)} one of them"
                )
            source[ours] = given[ours]
            continue
        candidates = [by_plain[name] for name in usual if name in by_plain]
        if ours in by_plain:
            source[ours] = by_plain[ours]
        elif len(candidates) > 1 and ours in given:
            raise ConfigurationError(
                f"{path}: columns {' and '.join(repr(name) for name in candidates)} may both be the {ours}; "
                f"choose with --{_option(ours)}"
            )
        elif len(candidates) == 1:
            source[ours] = candidates[0]
    if "image" not in source:
        raise ConfigurationError(
            f"{path}: no column of images among {', '.join(map(str, table.columns))}; name it with --image_column"
        )
    if "label" not in source and "mask" not in source:
        raise ConfigurationError(
            f"{path}: no column of labels among {', '.join(map(str, table.columns))}; name it with --label_column"
        )
    guessed = "split" in source and not given.get("split") and plain(source["split"]) != "split"
    if guessed and not any(plain(cell) in SPLIT_SPELLINGS for cell in table[source["split"]].unique()):
        notes.append(
            f"column '{source['split']}' holds no splits such as train and test and was kept as it is; name the column "
            "of splits with --split_column"
        )
        del source["split"]
    columns = {ours: table[name].str.strip() for ours, name in source.items()}
    taken = set(source.values())
    for name in table.columns:
        free = str(name).strip()
        # An unnamed column is the row number that pandas writes.
        if name in taken or free in ("", "sha256"):
            continue
        columns[f"{free} column" if free in columns or free in RECORD_COLUMNS else free] = table[name]
    frame = pd.DataFrame(columns)
    frame[ROW] = frame.index.to_numpy()
    frame.attrs["columns"] = source
    return frame.reset_index(drop=True)


def _cleaned(frame: pd.DataFrame) -> pd.DataFrame:
    """Cells as interpreted by `radimagenet_monai.datasets.tables.cells`; labels and patients are handled later."""
    frame = frame.copy(deep=False)
    for name in frame.columns:
        if name in ("image", "mask", "label", "patient_id", ROW):
            continue
        frame[name] = without_nothing(frame[name], identifies=name in _IDENTIFYING)
        if name in ("fold", "frame"):
            frame[name] = mapped(frame[name], whole_number)
    for name in ("image", "mask"):
        if name in frame.columns:
            frame[name] = frame[name].where(~frame[name].map(says_nothing_here), "")
    return frame


def _option(ours: str) -> str:
    return {"patient_id": "patient_column"}.get(ours, f"{ours}_column")


def says_nothing_here(cell: str) -> bool:
    """`says_nothing` for a cell that names a file."""
    return says_nothing(cell, identifies=True)


def _with_paths(
    frame: pd.DataFrame, root: Path, path: Path, missing: str, notes: list[str], left_out: LeftOut
) -> pd.DataFrame:
    """Existing image and mask paths only, relative to ``root`` if they lie in it."""
    nameless = frame["image"] == ""
    if nameless.any():
        for row in frame.loc[nameless, ROW]:
            left_out.add("row without an image", row)
        frame = frame[~nameless].reset_index(drop=True)
    frame["image"] = [below(Path(name.replace("\\", "/")), root) for name in frame["image"]]
    if "mask" not in frame.columns:
        frame["mask"] = ""
    masks = [
        [
            below(Path(part.strip().replace("\\", "/")), root)
            for part in cell.split(MASK_SEPARATOR)
            if not says_nothing_here(part)
        ]
        for cell in frame["mask"]
    ]
    frame["mask"] = [MASK_SEPARATOR.join(parts) for parts in masks]
    files = dict.fromkeys([*frame["image"], *(mask_file(part) for parts in masks for part in parts)])
    disk = DiskNames()
    found = {name: disk.find(os.path.join(root, name)) for name in files}
    renamed = {name: below(Path(real), root) for name, real in found.items() if real not in (None, str(root / name))}
    frame["image"] = [renamed.get(name, name) for name in frame["image"]]
    absent = {name for name, real in found.items() if real is None}
    if absent:
        listed = [name for name in files if name in absent]
        first = ", ".join(f"'{name}'" for name in listed[:_SHOWN])
        alike = disk.alike(os.path.join(root, listed[0]))
        if missing == "error":
            hint = f" ('{alike}' is there)" if alike else ""
            raise RecordsError(
                f"{path}: {len(listed)} of {len(files)} files do not exist under '{root}', first {first}{hint}; "
                "check root, or leave them out with --missing skip"
            )
        gone = frame["image"].isin(absent)
        for name in listed:
            left_out.add("file that is not there", name)
        frame = frame[~gone].reset_index(drop=True)
        masks = [parts for parts, out in zip(masks, gone, strict=True) if not out]
        if frame.empty:
            raise RecordsError(f"{path}: none of its images exists under '{root}'; check root")
    kept = ([part for part in parts if mask_file(part) not in absent] for parts in masks)
    frame["mask"] = [MASK_SEPARATOR.join(_mask_on_disk(part, renamed) for part in parts) for parts in kept]
    return frame


def _mask_on_disk(reference: str, renamed: Mapping[str, str]) -> str:
    file = mask_file(reference)
    return renamed.get(file, file) + reference[len(file) :]


def _with_labels(
    frame: pd.DataFrame, classes: list[str], path: Path, notes: list[str], left_out: LeftOut
) -> pd.DataFrame:
    if "label" not in frame.columns:
        frame["label"] = ""
        frame.attrs["classes"] = []
        notes.append("the table has no column of labels: records for segmentation only")
        return frame
    if not classes:
        classes = _classes_of(frame["label"], frame[ROW], str(path))
        if len(classes) < 2:
            state = f"all labels are '{classes[0]}'" if classes else "no row has a label"
            raise RecordsError(f"{path}: {state}; a task needs two classes, name the column with --label_column")
        last = f"; the last, '{classes[-1]}', is the positive one" if len(classes) == 2 else ""
        notes.append(f"classes in alphabetical order: {', '.join(classes)}{last}; choose another with --classes")
    written = frame["label"]
    frame["label"] = map_labels(written, classes, source=str(path), rows=frame[ROW].tolist())
    unlabeled = frame["label"] == ""
    if unlabeled.any():
        words = written[unlabeled & (written.str.strip() != "")].value_counts()
        if len(words):
            counted = ", ".join(f"'{word}' ({count} rows)" for word, count in words.items())
            notes.append(f"labels that say nothing: {counted}; where one of them is a class, name it in --classes")
        for row in frame.loc[unlabeled, ROW]:
            left_out.add("row without a label", row)
        frame = frame[~unlabeled].reset_index(drop=True)
    frame.attrs["classes"] = classes
    return frame


def _without_repeated(frame: pd.DataFrame, path: Path, left_out: LeftOut) -> pd.DataFrame:
    """Leave out rows that repeat an earlier one; refuse rows that contradict an earlier one about the same image."""
    cells = [name for name in frame.columns if name != ROW]
    same = frame.duplicated(cells)
    for row in frame.loc[same, ROW]:
        left_out.add("row that repeats another", row)
    frame = frame[~same].reset_index(drop=True)
    key = [name for name in ("image", "frame") if name in frame.columns]
    again = frame.duplicated(key)
    if again.any():
        second = int(again.idxmax())
        others = (frame.loc[: second - 1, key] == frame.loc[second, key]).all(axis=1)
        first = int(others.idxmax())
        differing = [name for name in cells if frame.at[first, name] != frame.at[second, name]]
        column = "label" if "label" in differing else differing[0]
        raise RecordsError(
            f"{path}: {frame.at[first, ROW]} and {frame.at[second, ROW]} both list '{frame.at[second, 'image']}', with "
            f"{column} '{frame.at[first, column]}' and '{frame.at[second, column]}' ({int(again.sum())} such rows); "
            "keep one row of an image"
        )
    return frame


def _classes_of(labels: pd.Series, rows: pd.Series, source: str) -> list[str]:
    """One name, the most frequent spelling, per label; sorted by value for numbers, then by name."""
    given = ~labels.map(says_nothing_here)
    counts = labels[given].value_counts()
    names: dict[str, str] = {}
    for spelling in counts.index:
        names.setdefault(plain(spelling), whole_number(clean(spelling)))
    one_name_each(labels[given], rows[given].tolist(), source, "label")  # refuses 01 beside 1

    def order(name: str) -> tuple[bool, float, str]:
        try:
            return False, float(name), ""
        except ValueError:
            return True, 0.0, plain(name)

    return sorted(names.values(), key=order)


def _with_patients(
    frame: pd.DataFrame, root: Path, from_header: bool, salt: str, progress: bool, notes: list[str]
) -> pd.DataFrame:
    if "patient_id" not in frame.columns:
        frame["patient_id"] = ""
        if from_header:
            frame["patient_id"] = patients_from_headers(frame["image"].tolist(), root, salt, progress)
    frame["patient_id"] = own_patients(frame, notes, "say --patient_column, or --patient_from_header true for DICOM")
    return frame
