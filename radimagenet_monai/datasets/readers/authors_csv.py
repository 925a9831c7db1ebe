"""Read the CSV files that the RadImageNet authors provide with their downstream tasks, for any task.

In the folder ``dataframe`` of each task, Mei et al. publish which images they used, with label and split:
``thyroid_train_fold1.csv``, ``thyroid_val_fold1.csv``, ``thyroid_test_fold1.csv`` ... ``_fold5.csv`` for the small
tasks (``acl``: ``train_fold1.csv``), and ``covid19_train.csv``, ``_val.csv``, ``_test.csv`` for the large ones. The
columns differ from task to task:

============ =========================================================
thyroid      ``img_dir,label`` (malignant, benign)
breast       ``filename,label`` (malignant, benign)
ACL          ``filename,acl_label`` (yes, no)
meniscus     ``img_dir,label`` (p, n)
pneumonia    row number, ``filename,Target,label`` (1, 0; yes, no)
COVID-19     row number, ``filename,label`` (positive, negative)
SARS-CoV-2   row number, ``imgpath,pid,label,filename`` (CP, NCP)
hemorrhage   ``pid,label,dir`` (yes, no)
============ =========================================================

A dataset reader takes the three steps one by one, or calls `select_listed`, which does all of them::

    table = read_authors_csv(csv)                        # filename, label, and pid, split, fold where given
    matches = match_files(table["filename"], files)      # files: POSIX paths below the dataset's folder
    labels = map_labels(table["label"], CLASSES)         # of radimagenet_monai.datasets.tables.spellings
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.records.table import SPLITS, Split
from radimagenet_monai.datasets.tables.cells import is_nothing, mapped, one_name_each
from radimagenet_monai.datasets.tables.spellings import SPLIT_SPELLINGS, map_labels, plain
from radimagenet_monai.datasets.tables.text_table import read_text_table

# If a file has several of these columns, the first one counts.
FILENAME_COLUMNS = ("imgpath", "img_dir", "dir", "filename", "image", "path")
LABEL_COLUMNS = ("acl_label", "label", "target")
PATIENT_COLUMNS = ("pid", "patient_id", "patientid")

_SPLIT_WORD = re.compile(r"(?<![a-z])(training|train|validation|valid|val|testing|test)(?=$|[^a-z]|fold)")
_FOLD_NUMBER = re.compile(r"(?:fold|cv|train|val|test)[ _-]*(\d{1,3})(?!\d)|(?:^|[ _-])(\d{1,3})$")
_IMAGE_SUFFIXES = frozenset({"png", "jpg", "jpeg", "dcm", "dicom", "tif", "tiff", "bmp", "npy", "nii", "nrrd"})
_SHOWN = 3


def read_authors_csv(source: str | os.PathLike[str], fold: int | None = None) -> pd.DataFrame:
    """Read one of the authors' CSV files, or a set of them, as a table of listed images.

    Parameters
    ----------
    source
        A CSV file with labels and the images used. Or a folder of CSV files, or several files joined by commas, whose
        names contain *train*, *val* and *test*, and optionally the number of a fold (``thyroid_val_fold3.csv``,
        ``test_1.csv``; case-insensitive). Columns are found by name, see `FILENAME_COLUMNS`, `LABEL_COLUMNS` and
        `PATIENT_COLUMNS`.
    fold
        ``None`` reads all files. A number, as in the file names, selects the authors' train, validation and test files
        of that fold only.

    Returns
    -------
    pandas.DataFrame
        One row per image, in the order of the files: ``filename`` as listed, with ``/`` between folders; ``label``, the
        raw text; ``pid`` if a file has it; ``split`` (``train``, ``validation``, ``test``) for a set of files without
        folds, or if ``fold`` is given; ``fold`` (0, 1, ... as text, or empty) for a set with folds: the fold whose test
        file, or validation file if there are no test files, lists the image. The authors' validation files of several
        folds do not fit a records table, where the fold after the test fold is the validation set. ``attrs["notes"]``
        has one sentence on each anomaly.

    Raises
    ------
    RecordsError
        For files that are not such tables or whose names do not identify them, a missing column, an image in two splits
        or in two test folds, and a patient (``pid``) in two splits.
    """
    notes: list[str] = []
    parts = _parts(_csv_files(source), notes)
    numbers = sorted({part.fold for part in parts if part.fold is not None})
    if fold is not None:
        parts = [part for part in parts if part.fold == fold]
        if not parts:
            raise RecordsError(f"'{source}': no CSV file of fold {fold}; there are those of {numbers or 'no fold'}")
    tables = [_listed_images(part.path, notes) for part in parts]
    by_fold = bool(numbers) and fold is None
    for part, table in zip(parts, tables, strict=True):
        table["split"] = part.split or ""
        table["fold"] = "" if part.fold is None else str(numbers.index(part.fold))
    table = pd.concat(tables, ignore_index=True).fillna("")
    table = _without_contradictions(table, notes)
    if by_fold:
        table = _by_fold(table, notes)
    else:
        if any(part.split for part in parts):
            _refuse_twice(table, "filename", "split")
            if "pid" in table.columns:
                _refuse_twice(table[table["pid"] != ""], "pid", "split")
        else:
            table = table.drop(columns="split")
        table = table.drop(columns="fold")
    repeated = table.duplicated("filename")
    if repeated.any():
        notes.append(f"{int(repeated.sum())} images are listed more than once, with the same label: counted once")
    table = table[~repeated].reset_index(drop=True)
    table.attrs["notes"] = notes
    return table


@dataclass(frozen=True)
class MatchedFiles:
    """Result of `match_files`.

    Attributes
    ----------
    files
        ``(n,)`` file of each listed name, ``""`` if there is none.
    missing
        Listed names that match no file.
    ambiguous
        Listed names that match several files equally well.
    """

    files: list[str]
    missing: list[str]
    ambiguous: list[str]

    @property
    def notes(self) -> list[str]:
        """Sentences with the number of names without a file."""
        sentences = []
        if self.missing:
            sentences.append(f"{len(self.missing)} listed images are not there, first {_shown(self.missing)}")
        if self.ambiguous:
            sentences.append(
                f"{len(self.ambiguous)} listed images fit several files and were left out, first "
                f"{_shown(self.ambiguous)}"
            )
        return sentences


def match_files(
    filenames: Sequence[str] | pd.Series, files: Iterable[str], ignore_suffix: bool = False
) -> MatchedFiles:
    """Match the names in a table to files, by the longest common end of their paths.

    ``images/CP/1082/3127/0031.jpg`` matches ``CC-CCII/CP/1082/3127/0031.jpg``. A path end shared by several files or
    several listed names is ignored: another patient's ``0031.jpg`` is never used for a missing one.

    Parameters
    ----------
    filenames
        ``(n,)`` listed names; ``\\`` counts as ``/``.
    files
        Existing paths, with ``/``, relative to the dataset's folder.
    ignore_suffix
        Whether ``x.png`` in the table may be ``x.dcm`` on disk.

    Returns
    -------
    MatchedFiles
    """
    listed = [_path_parts(name, ignore_suffix) for name in filenames]
    there: dict[tuple[str, ...], str] = {}
    doubtful: set[tuple[str, ...]] = set()
    for file in files:
        key = _path_parts(file, ignore_suffix)
        if key in there:
            doubtful.add(key)
        there[key] = file
    found = [there.get(name, "") if name not in doubtful else "" for name in listed]
    rest = [index for index, file in enumerate(found) if not file and listed[index]]
    wanted = {listed[index][-1] for index in rest}
    # Index only the path ends of names still unmatched: all ends of a million files would not fit in memory.
    holders: dict[tuple[str, ...], list[str]] = {}
    for key, file in there.items():
        if key and key[-1] in wanted:
            for start in range(len(key)):
                holders.setdefault(key[start:], []).append(file)
    claims = Counter(name[start:] for name in set(listed) if name for start in range(len(name)) if name[-1] in wanted)
    missing, ambiguous = [], []
    names = [str(name) for name in filenames]
    for index in (index for index, file in enumerate(found) if not file):
        name = listed[index]
        end = next((name[start:] for start in range(len(name)) if name[start:] in holders), ())
        if not end or claims[end] > 1:
            missing.append(names[index])
        elif len(holders[end]) > 1 or end in doubtful:
            ambiguous.append(names[index])
        else:
            found[index] = holders[end][0]
    return MatchedFiles(found, missing, ambiguous)


def select_listed(
    source: str | os.PathLike[str],
    files: Iterable[str],
    classes: Sequence[str],
    aliases: Mapping[str, str] | None = None,
    fold: int | None = None,
    ignore_suffix: bool = False,
) -> pd.DataFrame:
    """The listed images that exist, with the task's own class names.

    Parameters
    ----------
    source, fold
        As for `read_authors_csv`.
    files, ignore_suffix
        As for `match_files`.
    classes, aliases
        As for `radimagenet_monai.datasets.tables.spellings.map_labels`.

    Returns
    -------
    pandas.DataFrame
        ``image`` (from ``files``), ``label``, and ``pid``, ``split``, ``fold`` if the files give them. Names without a
        file are counted in ``attrs["notes"]``.

    Raises
    ------
    RecordsError
        As the three functions do, and if no listed image exists.
    """
    table = read_authors_csv(source, fold)
    notes = table.attrs["notes"]
    matches = match_files(table["filename"], files, ignore_suffix)
    notes.extend(matches.notes)
    labels = map_labels(table["label"], classes, aliases, str(source))
    table = table.rename(columns={"filename": "image"}).assign(image=matches.files, label=labels)
    if (table["label"] == "").any():
        notes.append(f"{int((table['label'] == '').sum())} listed images have no label and were left out")
    table = table[(table["image"] != "") & (table["label"] != "")].reset_index(drop=True)
    if table.empty:
        raise RecordsError(
            f"'{source}': none of its {len(labels)} images is there with a label, first {_shown(matches.missing)}; "
            "check the folder of the images, or give the CSV files of this dataset"
        )
    table.attrs["notes"] = notes
    return table


@dataclass(frozen=True)
class _Part:
    path: Path
    split: Split | None
    fold: int | None


def _csv_files(source: str | os.PathLike[str]) -> list[Path]:
    text = os.fspath(source)
    if Path(text).is_dir():
        files = sorted(
            entry
            for entry in Path(text).iterdir()
            if entry.suffix.lower() == ".csv" and entry.is_file() and not entry.name.startswith(".")
        )
        if not files:
            raise RecordsError(f"'{text}' holds no CSV file; expected files such as train.csv, val.csv and test.csv")
        return files
    if Path(text).is_file():
        return [Path(text)]
    files = [Path(name.strip()) for name in text.split(",") if name.strip()]
    absent = [file for file in files if not file.is_file()]
    if absent or not files:
        raise RecordsError(f"'{absent[0] if absent else text}': no such CSV file; expected a file or a folder of them")
    return files


def _parts(files: list[Path], notes: list[str]) -> list[_Part]:
    if len(files) == 1:
        return [_Part(files[0], None, None)]
    parts = []
    for file in files:
        stem = file.stem.lower()
        splits = {SPLIT_SPELLINGS[word] for word in _SPLIT_WORD.findall(stem)}
        if len(splits) > 1:
            raise RecordsError(f"'{file}': the name says {' and '.join(sorted(splits))}; expected one of them")
        number = _FOLD_NUMBER.search(stem)
        parts.append(_Part(file, next(iter(splits), None), int(number[1] or number[2]) if number else None))
    unnamed = [part for part in parts if part.split is None]
    if len(unnamed) == len(parts) and all(part.fold is not None for part in parts):
        parts = [_Part(part.path, "test", part.fold) for part in parts]
    elif unnamed:
        if len(unnamed) == len(parts):
            raise RecordsError(
                f"'{parts[0].path}' and {len(parts) - 1} more CSV files: their names say neither train, val nor test; "
                "give one file, or name them so"
            )
        notes.extend(f"'{part.path.name}' was left out: its name says neither train, val nor test" for part in unnamed)
        parts = [part for part in parts if part.split is not None]
    folds = {part.fold is None for part in parts}
    if len(folds) > 1:
        one, other = (next(part.path for part in parts if (part.fold is None) is state) for state in (False, True))
        raise RecordsError(f"'{one}' names a fold and '{other}' does not; expected one kind, give the files by name")
    roles = Counter((part.split, part.fold) for part in parts)
    twins = [part.path.name for part in parts if roles[part.split, part.fold] > 1]
    if twins:
        raise RecordsError(
            f"'{parts[0].path.parent}': {' and '.join(twins[:_SHOWN])} are the same part by their names; give the "
            "files wanted, joined by commas"
        )
    return sorted(parts, key=lambda part: (part.fold or 0, SPLITS.index(part.split or "train")))


def _listed_images(path: Path, notes: list[str]) -> pd.DataFrame:
    frame = read_text_table(path)
    found = {}
    for name, candidates, required in (
        ("filename", FILENAME_COLUMNS, True),
        ("label", LABEL_COLUMNS, True),
        ("pid", PATIENT_COLUMNS, False),
    ):
        present = {str(column).strip().lower(): column for column in frame.columns}
        column = next((present[candidate] for candidate in candidates if candidate in present), None)
        if column is not None:
            found[name] = frame[column].str.strip()
            if name == "pid":
                found[name] = one_name_each(frame[column], frame.index.tolist(), str(path), "pid", notes)
        elif required:
            raise RecordsError(
                f"{path}: no column {' or '.join(candidates)} among {', '.join(map(str, frame.columns))}; "
                "expected a CSV file as the RadImageNet authors write them"
            )
    table = pd.DataFrame(found)
    table["filename"] = table["filename"].str.replace("\\", "/")
    nameless = is_nothing(table["filename"])
    if nameless.any():
        notes.append(f"{path.name}: {int(nameless.sum())} rows without a file name were left out")
    return table[~nameless]


def _without_contradictions(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    pairs = table[["filename", "label"]].assign(label=mapped(table["label"], plain)).drop_duplicates()
    contradictory = pairs.loc[pairs.duplicated("filename"), "filename"].unique().tolist()
    if contradictory:
        notes.append(
            f"{len(contradictory)} images are listed with two labels and were left out, first {_shown(contradictory)}"
        )
        table = table[~table["filename"].isin(contradictory)]
    return table


def _by_fold(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    held_out = "test" if (table["split"] == "test").any() else "validation"
    tested = table[table["split"] == held_out]
    _refuse_twice(tested, "filename", "fold")
    others = table[~table["filename"].isin(tested["filename"])].assign(fold="")
    count = others["filename"].nunique()
    if count:
        first = _shown(others["filename"])
        notes.append(f"{count} listed images are in no {held_out} file and have no fold, first {first}")
    return pd.concat([tested, others], ignore_index=True).drop(columns="split")


def _refuse_twice(table: pd.DataFrame, key: str, column: str) -> None:
    pairs = table[[key, column]].drop_duplicates()
    twice = pairs[pairs.duplicated(key)]
    if len(twice):
        name = twice[key].iloc[0]
        where = " and ".join(pairs.loc[pairs[key] == name, column])
        raise RecordsError(
            f"{key} '{name}' is in {column} {where}, as are {twice[key].nunique() - 1} more; expected each in one "
            f"{column} only"
        )


def _path_parts(name: str, ignore_suffix: bool) -> tuple[str, ...]:
    text = unicodedata.normalize("NFC", str(name)).replace("\\", "/")
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    if ignore_suffix and parts:
        stem, _, suffix = parts[-1].rpartition(".")
        if stem and suffix.lower() in _IMAGE_SUFFIXES:
            parts = (*parts[:-1], stem)
    return parts


def _shown(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in list(names)[:_SHOWN])
