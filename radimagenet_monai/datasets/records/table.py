"""The records table: one row per image, the single description of a dataset that every task reads.

A table is a UTF-8 CSV file with a header line. These columns have a defined meaning; only ``image`` (and ``label`` if a
task needs it) must be filled:

============== ========================================================================================
``image``      path of the image file or series folder, relative to the dataset folder or absolute
``label``      class name, exactly as the task spells it
``patient_id`` text, so ``0001`` keeps its zeros; a patient never has rows in two splits or two folds
``split``      ``train``, ``validation``, ``test`` or empty
``fold``       0, 1, ... of a cross-validation, or empty
``mask``       path of the mask, with statements about it (`radimagenet_monai.datasets.masks.reference`), or
               ``N.xml#K``; several masks of one image are joined by ``;``
``frame``      zero-based frame of a multi-frame file or slice of a volume; empty means 0
``sha256``     SHA-256 of the image file in hexadecimal, or empty
============== ========================================================================================

Every other column is free (sex, age, scanner, site, ...), is kept as text and can become a subgroup. Three free columns
have a fixed meaning: ``exam`` names the exam or scan that contains an image, within its patient, so that slices can be
scored together; ``modality`` (``CT``, ``MR``, ``US``, ``radiograph``) tells the intensity policy of a mixed dataset the
modality of a file without a header; ``plane`` (``axial``, ``coronal``, ``sagittal`` or nothing) is the plane that
``frame`` counts in; `radimagenet_monai.datasets.registry.prepare` writes it. Tables of release 0.1 have no such column:
their frames are counted as in that release, along the third stored axis (`plane_of_row`).
"""

from __future__ import annotations

import codecs
import csv
import io
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from radimagenet_monai.core.atomic import atomic_open
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.masks.reference import mask_file
from radimagenet_monai.datasets.tables.cells import (
    clean,
    identity,
    is_nothing,
    mapped,
    one_name_each,
    says_nothing,
    whole_number,
    without_nothing,
    without_zeros,
)
from radimagenet_monai.datasets.tables.disk_names import DiskNames
from radimagenet_monai.io.geometry import PLANES

logger = logging.getLogger(__name__)

Split = Literal["train", "validation", "test"]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
RECORD_COLUMNS = ("image", "label", "patient_id", "split", "fold", "mask", "frame", "sha256")
RECORDS_FILE = "records.csv"
MASK_SEPARATOR = ";"
PLANE = "plane"
CARRIED_COLUMNS = ("exam", "modality", PLANE, "white_level")
"""Free columns that items of a datalist keep."""
ITEM_COLUMNS = ("image", "frame", "mask", "sha256")
"""Columns that `item_of_row` needs."""
ANY_FINDING = "any"
"""The finding that is present wherever another one of its row is."""

_IDENTIFYING = ("image", "split", "fold", "mask", "frame", "sha256", "exam", "modality")
_FIRST_ROW = 2  # the header is row 1, as in a spreadsheet
_SHOWN = 3
_VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr")  # read as volumes by release 0.1


def read_records(
    path: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    require_label: bool = True,
    allow_leakage: bool = False,
) -> pd.DataFrame:
    """Read and check a records table.

    Parameters
    ----------
    path
        CSV file; UTF-8 with or without byte order mark, any line endings.
    classes
        Valid labels; ``None`` accepts any text.
    require_label
        Whether the ``label`` column must exist and be filled in every row.
    allow_leakage
        Accept a table that lists an image twice or has a patient in two splits or two folds: for an audit, which names
        them all. Such a table should not be used for training.

    Returns
    -------
    pandas.DataFrame
        All columns of ``RECORD_COLUMNS`` followed by the free ones, in the file's row order. Text columns hold ``str``
        with ``""`` for no value, ``frame`` is ``int64`` and ``fold`` the nullable ``Int64``.

    Raises
    ------
    RecordsError
        For a file that is not a valid table; names the file, row (the header is row 1), column and value.
    """
    path = Path(path)
    try:
        # The parser gets bytes, since a text stream of a large table takes four bytes per character.
        content = path.read_bytes()
        content.decode("utf-8")
    except FileNotFoundError:
        raise RecordsError(
            f"{path}: no such records table; write one with 'radimagenet prepare' or give its path as datalist"
        ) from None
    except OSError as error:
        raise RecordsError(
            f"{path}: the records table cannot be read ({error.strerror}); expected a CSV file"
        ) from error
    except UnicodeDecodeError as error:
        raise RecordsError(
            f"{path}: byte {error.start} is not UTF-8; expected a CSV file, save it as 'CSV UTF-8'"
        ) from error
    if b"\0" in content:
        raise RecordsError(f"{path}: byte 0 inside; expected a CSV file, not a binary one")
    content = content.removeprefix(codecs.BOM_UTF8)
    header = _header(content, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.BytesIO(content),
                dtype=str,
                na_filter=False,
                skip_blank_lines=False,
                index_col=False,
                low_memory=False,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        raise RecordsError(
            f"{path}: not a CSV table with {len(header)} columns in every row ({error}); quote cells that hold a comma"
        ) from error
    frame = frame.fillna("")
    filled = (frame != "").any(axis=1).to_numpy()
    rows = np.flatnonzero(filled) + _FIRST_ROW
    return check_records(frame[filled].reset_index(drop=True), path, classes, require_label, rows, allow_leakage)


def check_records(
    frame: pd.DataFrame,
    source: str | os.PathLike[str] = "records table",
    classes: Sequence[str] | None = None,
    require_label: bool = True,
    rows: np.ndarray | None = None,
    allow_leakage: bool = False,
) -> pd.DataFrame:
    """Convert a table made in memory to the form of `read_records`, with the same checks.

    Parameters
    ----------
    frame
        Any data frame with an ``image`` column; missing standard columns are added empty.
    source
        Name of the table in error messages.
    classes, require_label
        As for `read_records`.
    rows
        ``(n,)`` row numbers, or text such as ``"row 17"``, for error messages; by default the row numbers of the table
        once written to a file.
    allow_leakage
        As for `read_records`.

    Raises
    ------
    RecordsError
        As `read_records` does.
    """
    source = os.fspath(source)
    required = ("image", "label") if require_label else ("image",)
    for column in required:
        if column not in frame.columns:
            raise RecordsError(
                f"{source}: no column '{column}' among {_listed(map(str, frame.columns))}; "
                f"expected a comma-separated table with a header line that names '{column}'"
            )
    if frame.empty:
        raise RecordsError(f"{source}: the table has no rows; expected one row an image")
    rows = np.arange(len(frame)) + _FIRST_ROW if rows is None else rows

    columns: dict[str, pd.Series] = {}
    for column in RECORD_COLUMNS:
        if column in ("fold", "frame"):
            columns[column] = _whole_numbers(frame, column, source, rows)
        else:
            columns[column] = _text(frame, column, source, rows)
    columns["frame"] = columns["frame"].fillna(0).astype("int64")
    for name in frame.columns:
        if name not in columns:
            columns[str(name)] = _text(frame, name, source, rows)
    checked = pd.DataFrame(columns)
    checked.attrs = dict(frame.attrs)
    checked = _understood(checked, classes, source, rows)

    for column in required:
        _refuse(checked[column] == "", checked[column], rows, source, f"expected every row to have its {column}")
    if classes is not None:
        outside = ~checked["label"].isin([*classes, ""])
        _refuse(outside, checked["label"], rows, source, f"expected one of the classes {_listed(classes)}")
    outside = ~checked["split"].isin([*SPLITS, ""])
    _refuse(outside, checked["split"], rows, source, f"expected {', '.join(SPLITS)} or nothing")
    given = checked["sha256"] != ""
    if given.any():
        malformed = given & ~checked["sha256"].str.fullmatch(r"[0-9a-fA-F]{64}")
        _refuse(malformed, checked["sha256"], rows, source, "expected 64 hexadecimal digits or nothing")
    if not allow_leakage:
        repeated = checked.duplicated(["image", "frame"])
        if repeated.any():
            _refuse(repeated, checked["image"], rows, source, _listed_before(checked, repeated, rows))
        _refuse_straddling(checked, "split", rows, source)
        _refuse_straddling(checked, "fold", rows, source)
    return checked


def _understood(frame: pd.DataFrame, classes: Sequence[str] | None, source: str, rows: np.ndarray) -> pd.DataFrame:
    """Cells as interpreted by `radimagenet_monai.datasets.tables.cells`."""
    known = {identity(label): label for label in classes or ()}
    for name in frame.columns:
        if name in ("fold", "frame", "sha256"):
            continue
        if name == "patient_id":
            frame[name] = one_name_each(frame[name], rows.tolist(), source, refuse_zeros=False).astype(str)
        elif name == "label":
            frame[name] = mapped(frame[name], lambda text: known.get(identity(text), clean(text))).astype(str)
            if classes is not None:
                named = frame[name].isin(list(classes))
                frame[name] = frame[name].where(named, without_nothing(frame[name], identifies=True))
        elif name == "image":
            frame[name] = frame[name].where(frame[name].str.strip() != "", "")
        elif name == "mask":
            frame[name] = frame[name].where(~is_nothing(frame[name]), "")
        else:
            frame[name] = without_nothing(frame[name], identifies=name in _IDENTIFYING).astype(str)
    lower = frame["split"].str.casefold()
    frame["split"] = frame["split"].where(~lower.isin(SPLITS), lower)
    return frame


def write_records(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Check a records table and write it atomically as CSV; the same table always gives the same bytes.

    Rows keep their order. The standard columns come first, then the free ones in their order.

    Raises
    ------
    RecordsError
        If `read_records` would refuse the table (labels may be missing).
    """
    checked = check_records(frame, path, require_label=False)
    with atomic_open(path, "w", encoding="utf-8", newline="") as stream:
        checked.to_csv(stream, index=False, lineterminator="\n")


def to_datalist(
    frame: pd.DataFrame,
    root: str | os.PathLike[str],
    classes: Sequence[str] | None,
    split: Split | None = None,
    fold: int | None = None,
    check_files: bool = True,
    findings: Sequence[str] | None = None,
    require_mask: bool = False,
) -> list[dict[str, Any]]:
    """Select rows of a records table as the list of dictionaries that MONAI's dataset classes take.

    Parameters
    ----------
    frame
        Table from `read_records` or `check_records`.
    root
        Dataset folder that relative paths start from.
    classes
        Class names in the order of the network's outputs; ``None`` leaves ``label`` out.
    split
        Split to select; ``None`` takes every row.
    fold
        ``None`` uses the ``split`` column. A number ``k`` uses the ``fold`` column instead: fold ``k`` is ``test``, the
        next fold (the first follows the last) is ``validation``, the others are ``train``.
    check_files
        Whether every selected image and mask must exist.
    findings
        Names of findings that may occur together. ``label`` is then a list with 1.0, 0.0 or, if unknown, NaN for each:
        from the free column of that name, or, for the first finding, from the column ``label``, whose last class means
        that it is present.
    require_mask
        Leave out rows without a mask, with a warning.

    Returns
    -------
    list of dict
        In table order: ``image`` (path), ``frame`` (int), ``record`` (zero-based position in the table), ``patient_id``
        (str), ``label`` (class index; if ``classes`` is given), ``mask`` (list of paths; if the row has any),
        ``sha256``, ``exam``, ``modality``, ``white_level`` and ``plane`` (if the row has them, see `plane_of_row`).

    Raises
    ------
    RecordsError
        For an empty selection, a label outside the classes or missing files.
    ConfigurationError
        For an unknown split name, or a fold without a split.
    """
    positions = np.flatnonzero(selected_rows(frame, split, fold))
    if require_mask:
        positions = keep_masked(positions, (frame["mask"].iloc[positions] != "").to_numpy(dtype=bool))
    part = frame.iloc[positions]
    root = os.fspath(root)
    names = [name for name in (*ITEM_COLUMNS, *CARRIED_COLUMNS) if name in part.columns]
    rows = zip(*(part[name].tolist() for name in names), strict=True)
    items: list[dict[str, Any]] = [
        {**item_of_row(dict(zip(names, row, strict=True)), root), "record": position, "patient_id": patient}
        for row, position, patient in zip(rows, positions.tolist(), part["patient_id"].tolist(), strict=True)
    ]
    if classes is not None:
        index = {name: number for number, name in enumerate(classes)}
        labels = part["label"].map(index)
        outside = labels.isna()
        _refuse(outside, part["label"], positions + _FIRST_ROW, "records table", f"expected one of {_listed(classes)}")
        for item, label in zip(items, labels.astype(int).tolist(), strict=True):
            item["label"] = label
        if findings is not None:
            for item, known in zip(
                items, _known_findings(part, findings, classes, positions + _FIRST_ROW), strict=True
            ):
                item["label"] = known
    if check_files:
        _find_files(items, root)
    return items


def item_of_row(row: Mapping[str, Any], root: str = "", carried: Sequence[str] = CARRIED_COLUMNS) -> dict[str, Any]:
    """What datasets and transforms see of a row of a records table.

    Parameters
    ----------
    row
        Cells by column: `ITEM_COLUMNS`, and those of ``carried`` and ``plane`` that the table has.
    root
        Folder that relative paths start from.
    carried
        Free columns to keep where they are filled.

    Returns
    -------
    dict
        ``image`` (path), ``frame`` (int) and, if the row has them, ``mask`` (list of paths), ``sha256``, the carried
        columns and ``plane`` (see `plane_of_row`).
    """
    item: dict[str, Any] = {"image": os.path.join(root, row["image"]), "frame": int(row["frame"])}
    for name in carried:
        if value := row.get(name):
            item[name] = str(value)
    item[PLANE] = plane_of_row(item["image"], item["frame"], row.get(PLANE))
    item["mask"] = [os.path.join(root, mask) for mask in row["mask"].split(MASK_SEPARATOR) if mask]
    item["sha256"] = row["sha256"]
    for name in (PLANE, "mask", "sha256"):
        if not item[name]:
            del item[name]
    return item


def plane_of_row(image: str, frame: int, stated: str | None) -> str:
    """The plane in which the frame of a row is counted, for `radimagenet_monai.io.read_frame`.

    Parameters
    ----------
    image, frame
        Image and frame of the row.
    stated
        Cell of the column ``plane``; ``None`` if the table has no such column, as in release 0.1.

    Returns
    -------
    str
        A plane; ``"stored"``, as counted by release 0.1, for a volume or a frame after the first if the column is
        missing or holds another word; ``""`` if there is nothing to count.
    """
    plane = (stated or "").strip().lower()
    if plane in PLANES or stated == "":
        return plane
    return "stored" if frame or image.lower().endswith(_VOLUME_SUFFIXES) else ""


def frame_number(item: Mapping[str, Any]) -> int:
    """The frame of an item for tables of results: 0 if it names none, since images of several frames are then refused.

    `radimagenet_monai.io.transforms.LoadNativeImaged` refuses them.
    """
    frame = item.get("frame")
    return 0 if frame is None or frame == "" else int(frame)


def load_datalist(
    datalist: str | os.PathLike[str] | None,
    dataset_dir: str | os.PathLike[str],
    classes: Sequence[str] | None,
    split: Split | None = None,
    fold: int | None = None,
    check_files: bool = True,
    findings: Sequence[str] | None = None,
    require_mask: bool = False,
) -> list[dict[str, Any]]:
    """Read a records table and select from it; called by the bundles' configs.

    Parameters
    ----------
    datalist
        Path of the records table; ``None`` or ``""`` uses ``records.csv`` in ``dataset_dir``.
    dataset_dir
        Folder that relative paths in the table start from.
    classes, split, fold, check_files, findings, require_mask
        As for `to_datalist`.

    Raises
    ------
    RecordsError
        As `read_records` and `to_datalist`, and for a missing or empty dataset folder.
    ConfigurationError
        As `to_datalist`.
    """
    folder = Path(dataset_dir)
    if not folder.is_dir():
        raise RecordsError(f"dataset_dir '{folder}' is not a folder; give the folder that holds the images")
    if not datalist and next(folder.iterdir(), None) is None:
        raise RecordsError(f"dataset_dir '{folder}' is empty; expected images and {RECORDS_FILE}")
    frame = read_records(datalist or folder / RECORDS_FILE, classes, require_label=classes is not None)
    return to_datalist(frame, folder, classes, split, fold, check_files, findings, require_mask)


def settle_findings(values: np.ndarray, positive: np.ndarray, findings: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Make the first finding agree with the label and, if it is called "any", with the other findings.

    Parameters
    ----------
    values
        ``(n, findings)``: 1.0, 0.0, or NaN for unknown.
    positive
        ``(n,)`` booleans: whether the label is the positive class.
    findings
        Names of the findings.

    Returns
    -------
    settled
        ``(n, findings)``. An unknown first finding takes the value of the label. `ANY_FINDING` is the largest of
        itself, the label and the other findings.
    raised
        ``(n,)`` booleans: where it was 0, by itself or by the label, and became 1.
    """
    settled, first = values.copy(), values[:, 0]
    settled[:, 0] = stated = np.where(np.isnan(first), positive, first)
    if findings[0] == ANY_FINDING:
        settled[:, 0] = np.fmax(np.fmax.reduce(settled, axis=1), positive)
    return settled, (stated == 0) & (settled[:, 0] == 1)


def selected_rows(frame: pd.DataFrame, split: Split | None, fold: int | None) -> np.ndarray:
    """Rows of a records table that are in a split, ``(n,)`` booleans.

    Parameters
    ----------
    frame
        Table with at least the columns ``split`` and ``fold``.
    split, fold
        As for `to_datalist`.

    Raises
    ------
    RecordsError, ConfigurationError
        As `to_datalist`.
    """
    if split is None:
        if fold is not None:
            raise ConfigurationError(f"fold {fold} was given without a split; say which of {', '.join(SPLITS)} of it")
        return np.ones(len(frame), dtype=bool)
    if split not in SPLITS:
        raise ConfigurationError(f"split '{split}' is unknown; expected one of {', '.join(SPLITS)}")
    if fold is None:
        selected = (frame["split"] == split).to_numpy(dtype=bool)
        if not selected.any():
            counts = frame["split"].astype(str).replace("", "no split").value_counts()
            raise RecordsError(
                f"no row of the records table is in split '{split}' ({_counted(counts.to_dict())}); "
                "fill its split column, or give a fold"
            )
        return selected
    folds = sorted(int(number) for number in frame["fold"].dropna().unique())
    if fold not in folds or len(folds) < 3:
        raise RecordsError(
            f"fold {fold} was asked of a records table with folds {folds}; expected one of them and three or more"
        )
    if frame["fold"].isna().any():
        raise RecordsError(
            f"fold {fold} was asked but {int(frame['fold'].isna().sum())} rows have no fold; fill the fold column"
        )
    after = folds[(folds.index(fold) + 1) % len(folds)]
    numbers = frame["fold"].to_numpy(dtype=np.int64)
    if split == "test":
        return numbers == fold
    return numbers == after if split == "validation" else (numbers != fold) & (numbers != after)


def keep_masked(positions: np.ndarray, has_mask: np.ndarray) -> np.ndarray:
    """The ``positions`` ``(n,)`` with ``has_mask`` ``(n,)`` true; warns how many are left out.

    Raises
    ------
    RecordsError
        If none has a mask.
    """
    if not has_mask.any():
        raise RecordsError(
            f"none of {len(positions)} rows of the records table has a mask; fill the mask column, several masks of an "
            f"image joined by '{MASK_SEPARATOR}'"
        )
    if not has_mask.all():
        logger.warning("%d of %d images have no mask and are left out", int((~has_mask).sum()), len(positions))
    return positions[has_mask]


def missing_files(paths: Sequence[str]) -> list[str]:
    """The ``paths`` at which neither a file nor a folder exists, in their order.

    Each folder is listed once: a look-up per file would take minutes for a million files on a network disk.
    """
    disk = DiskNames()
    return [path for path in paths if disk.find(path) is None]


def _header(content: bytes, path: Path) -> list[str]:
    """The column names; pandas would silently rename repeated ones."""
    header = next(csv.reader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")), [])
    if not any(header):
        raise RecordsError(f"{path}: the file is empty; expected a CSV table whose first line names the columns")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise RecordsError(f"{path}: column {_listed(repeated)} occurs twice in the header; rename one of them")
    return header


def _text(frame: pd.DataFrame, column: Any, source: str, rows: np.ndarray) -> pd.Series:
    if column not in frame.columns:
        return pd.Series("", index=frame.index, dtype=str)
    values = frame[column]
    if column in RECORD_COLUMNS and pd.api.types.is_float_dtype(values) and values.notna().any():
        raise RecordsError(
            f"{source}: column '{column}' holds floating point numbers such as {values.dropna().iloc[0]!r}; "
            "expected text, read the table with dtype=str"
        )
    values = values.astype(object).where(values.notna(), "").astype(str)
    joined = "".join(values)
    if "\n" in joined or "\r" in joined:
        _refuse(values.str.contains("[\r\n]"), values, rows, source, "expected text without line breaks")
    return values


def _whole_numbers(frame: pd.DataFrame, column: str, source: str, rows: np.ndarray) -> pd.Series:
    if column not in frame.columns:
        return pd.Series(pd.NA, index=frame.index, dtype="Int64")
    # A table has few distinct folds and frames, so parsing only distinct values is fast even for a million rows.
    codes, distinct = pd.factorize(frame[column])
    parsed = [_whole_number(value) for value in distinct]
    numbers = np.array([-1 if number is None else number for number in parsed] + [-2], dtype=np.int64)[codes]
    _refuse(pd.Series(numbers == -1), frame[column], rows, source, "expected a whole number from 0, or nothing")
    return pd.Series(pd.array(numbers, dtype="Int64"), index=frame.index).mask(numbers < 0)


def _whole_number(value: object) -> int | None:
    """The number in a cell, -2 for an empty cell, ``None`` for anything else."""
    if isinstance(value, str):
        if says_nothing(value, identifies=True):
            return -2
        value = whole_number(clean(value))
        return int(value) if value.isdecimal() and value.isascii() and len(value) < 10 else None
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return int(value) if 0 <= int(value) < 10**9 else None
    if isinstance(value, float | np.floating) and float(value).is_integer() and 0 <= value < 10**9:
        return int(value)
    return None


def _refuse(wrong: pd.Series, values: pd.Series, rows: np.ndarray, source: str, expected: str) -> None:
    positions = np.flatnonzero(wrong.to_numpy(dtype=bool))
    if positions.size:
        others = f" (and {positions.size - 1} more rows)" if positions.size > 1 else ""
        value = values.iloc[positions[0]]
        raise RecordsError(
            f"{source}: {_place(rows[positions[0]])}, column '{values.name}' is {value!r}{others}; {expected}"
        )


def _place(row: object) -> str:
    return row if isinstance(row, str) else f"row {row}"


def _listed_before(frame: pd.DataFrame, repeated: pd.Series, rows: np.ndarray) -> str:
    """Describe the first repeated row and the row that it repeats."""
    second = int(np.flatnonzero(repeated.to_numpy())[0])
    same = (frame["image"] == frame["image"].iloc[second]) & (frame["frame"] == frame["frame"].iloc[second])
    first = int(np.flatnonzero(same.to_numpy())[0])
    labels = frame["label"].iloc[[first, second]].tolist()
    unlike = "" if labels[0] == labels[1] else f", as '{labels[0]}' and not '{labels[1]}'"
    return f"the image and frame are listed before ({_place(rows[first])}){unlike}; keep one of the rows"


def _refuse_straddling(frame: pd.DataFrame, column: str, rows: np.ndarray, source: str) -> None:
    """Refuse a patient on both sides of a split, which would make the test set easier than new patients."""
    known = (frame["patient_id"] != "") & frame[column].notna() & (frame[column] != "")
    if not known.any():
        return
    pairs = frame.loc[known, ["patient_id", column]].drop_duplicates()
    # 007 and 7 may be one patient or two; on one side of a split it makes no difference.
    pairs["patient_id"] = mapped(pairs["patient_id"], lambda name: without_zeros(identity(name)))
    pairs = pairs[~pairs.duplicated()]
    straddling = pairs[pairs.duplicated("patient_id")]
    if len(straddling):
        patient = straddling["patient_id"].iloc[0]
        parts = pairs.loc[pairs["patient_id"] == patient, column]
        names = frame.loc[parts.index, "patient_id"].unique().tolist()
        patient = names[0] if len(names) == 1 else " or ".join(names)
        where = " and ".join(f"{column} {value} ({_place(rows[position])})" for position, value in parts.items())
        raise RecordsError(
            f"{source}: patient_id {patient!r} is in {where}, as are {straddling['patient_id'].nunique() - 1} more "
            f"patients; expected each patient in one {column} only, split by patient"
        )


def _known_findings(
    part: pd.DataFrame, findings: Sequence[str], classes: Sequence[str], rows: np.ndarray
) -> list[list[float]]:
    """For each row, whether each finding is present: 1.0, 0.0 or NaN."""
    values = np.full((len(part), len(findings)), np.nan)
    for column, name in enumerate(findings):
        if name in part.columns:
            cells = part[name].map({"1": 1.0, "0": 0.0, "": np.nan})
            wrong = cells.isna() & (part[name] != "")
            _refuse(wrong, part[name], rows, "records table", "expected 1, 0 or nothing")
            values[:, column] = cells
    settled, raised = settle_findings(values, (part["label"] == classes[-1]).to_numpy(dtype=bool), findings)
    if raised.any():
        logger.warning(
            "%d of %d rows have '%s' 0 beside a label or a finding that is present, the first in row %d: "
            "it counts as 1",
            int(raised.sum()),
            len(part),
            ANY_FINDING,
            rows[int(np.flatnonzero(raised)[0])],
        )
    return settled.tolist()


def _find_files(items: Sequence[dict[str, Any]], root: str) -> None:
    """Give images and masks their names on disk; refuse items with missing files."""
    disk = DiskNames()
    paths = [*(item["image"] for item in items), *(mask_file(path) for item in items for path in item.get("mask", ()))]
    found = {path: disk.find(path) for path in dict.fromkeys(paths)}
    missing = [path for path in paths if found[path] is None]
    if missing:
        alike = disk.alike(missing[0])
        hint = f" ('{alike}' is there)" if alike else ""
        raise RecordsError(
            f"{len(missing)} of {len(paths)} files of the records table do not exist under '{root}', first "
            f"{_listed(missing)}{hint}; check dataset_dir or write the table again"
        )
    renamed = {path: real for path, real in found.items() if real is not None and real != path}
    for item in items if renamed else ():
        item["image"] = renamed.get(item["image"], item["image"])
        if "mask" in item:
            files = [(path, mask_file(path)) for path in item["mask"]]
            item["mask"] = [renamed.get(file, file) + path[len(file) :] for path, file in files]


def _listed(names: Any) -> str:
    names = [f"'{name}'" for name in names]
    more = f" and {len(names) - _SHOWN * 3} more" if len(names) > _SHOWN * 3 else ""
    return ", ".join(names[: _SHOWN * 3]) + more


def _counted(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items())
