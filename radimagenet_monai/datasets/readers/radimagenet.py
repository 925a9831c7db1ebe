"""Turn RadImageNet, 1.35 million CT, MR and ultrasound images of 165 classes, into records.

Mei X, Liu Z, Robson PM, et al. *RadImageNet: An Open Radiologic Deep Learning Research Dataset for Effective Transfer
Learning.* Radiology: Artificial Intelligence 2022;4(5):e210315.

The folder ``radiology_ai`` holds ``CT/<region>/<class>/*.png``, ``MR/<region>/<class>/*.png`` and, without a region,
``US/<class>/*.png``. Beside it lie ``RadiologyAI_train.csv``, ``RadiologyAI_val.csv`` and ``RadiologyAI_test.csv`` with
the columns ``filename`` (which starts with ``radiology_ai/``) and ``label`` (such as ``abd-normal``).

The 131 872 patients are not identified. Only the authors, who know them, can have split the images by patient, so
their CSV files define the split; a split made here would put images of one patient on both sides, and a note says so.

The class of an image is its folder; the text in the CSV is checked against it. A table of 1.35 million rows takes
well under 1 GB: text is stored once, columns with few distinct values refer to it, and each folder is listed once to
check which files exist.
"""

from __future__ import annotations

import csv
import os
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from tqdm import tqdm

from radimagenet_monai.catalog.datasets import Certainty, Count, Dataset
from radimagenet_monai.catalog.labels import LABELS, RadImageNetLabel
from radimagenet_monai.core import file_hash
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.records.splits import DEFAULT_FRACTIONS, assign_folds, assign_splits
from radimagenet_monai.datasets.records.summary import summarize
from radimagenet_monai.datasets.records.table import SPLITS, Split, check_records

DATASET = Dataset(
    name="radimagenet",
    title="RadImageNet",
    access="Request form and signed agreement with the authors (BMEII-AI/RadImageNet).",
    terms="The authors' agreement; whether weights derived from the images may be redistributed is contested, so "
    "this project ships none.",
    format="PNG in radiology_ai/{CT,MR}/<region>/<class>/ and radiology_ai/US/<class>/; "
    "RadiologyAI_{train,val,test}.csv with filename,label",
    counts={
        "images": Count(1_350_000),
        "patients": Count(131_872),
        "classes": Count(165),
        "CT images": Count(292_367, Certainty.REMEMBERED),
        "MR images": Count(672_600, Certainty.REMEMBERED),
        "US images": Count(389_885, Certainty.REMEMBERED),
        "CT_abd_normal": Count(69_238, Certainty.CLAIMED),
        "MR_mriabd_normal": Count(72_054, Certainty.CLAIMED),
    },
    notes=(
        "Patient ids are not published: the split cannot be derived again, use the official CSVs.",
        "Identical images under different labels and blank images exist.",
        "Strong class imbalance: report balanced accuracy beside plain accuracy.",
    ),
)

DATASET_FOLDER = "radiology_ai"
CLASSES = tuple(label.key for label in LABELS)
MODALITIES = ("CT", "MR", "US")
PUBLISHED_COUNTS = DATASET.published("classes", "CT images", "US images", "CT_abd_normal", "MR_mriabd_normal")
"""Counts of the whole dataset that are known to the last image. Only the number of classes is the authors' own; the
images of CT and US are not verified, and those of the two normal classes are from one public retraining. The paper says
1.35 million images, of which about 672 600 are MR."""

Missing = Literal["stop", "skip", "keep"]

_TABLE = re.compile(r"radiologyai_(?P<part>train|val|valid|validation|test)\.csv", re.IGNORECASE)
_SPLIT_OF: dict[str, Split] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_PICTURES = (".png", ".jpg", ".jpeg")
_SILENT = frozenset({"thumbs.db", "desktop.ini"})
_SHOWN = 5


def looks_like_radimagenet(root: str | os.PathLike[str]) -> bool:
    """Whether ``root`` is or holds ``radiology_ai``, with or without its CSV files, or holds only the CSV files."""
    place = _find(Path(root))
    return bool(place.tables) or (place.folder is not None and next(_class_folders(place.folder), None) is not None)


def read_radimagenet(
    root: str | os.PathLike[str],
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int = 0,
    progress: bool = True,
    missing: Missing = "stop",
    hash_files: bool = False,
) -> pd.DataFrame:
    """List RadImageNet as a records table with the split of the authors' CSV files.

    Parameters
    ----------
    root
        Folder that holds ``radiology_ai``, or that folder itself; the CSV files lie in either, or beside
        ``radiology_ai``. Paths in the table are relative to it.
    seed, fractions, folds
        Random seed, shares and number of folds of a division by image, stratified by class: for the splits if there are
        no CSV files, and for folds if requested. Images of one patient then fall on both sides.
    progress
        Whether to show a progress bar on a terminal.
    missing
        Behavior if a CSV file lists a missing image: ``"stop"``; ``"skip"``, leave it out; ``"keep"``, do not check, so
        that a table can be made without the images.
    hash_files
        Whether to read every file for the ``sha256`` column.

    Returns
    -------
    pandas.DataFrame
        A records table in the order of the CSV files, train first, or sorted by path. ``label`` is the ``key`` of
        `radimagenet_monai.catalog.labels.LABELS`; ``patient_id`` is empty; the free columns are ``modality`` (CT, MR,
        US) and ``region`` (the region code of the class). ``attrs["notes"]`` has one sentence on each anomaly.

    Raises
    ------
    RecordsError
        For a folder that is not RadImageNet, CSV files that are not such tables, or missing listed images.
    ConfigurationError
        For any other value of ``missing``.
    """
    if missing not in get_args(Missing):
        raise ConfigurationError(f"missing '{missing}' was given; expected one of {', '.join(get_args(Missing))}")
    root = Path(root)
    place = _find(root)
    notes: list[str] = []
    if place.tables:
        rows = _listed(place.tables, notes, progress)
        if missing != "keep":
            _look_on_disk(rows, place.folder, missing, notes)
    elif place.folder is not None:
        rows = _found(place.folder, notes)
    else:
        state = "is not a folder" if not root.is_dir() else "does not hold RadImageNet"
        raise RecordsError(
            f"'{root}' {state}; expected {DATASET_FOLDER} with folders CT, MR or US, and RadiologyAI_train.csv, "
            "RadiologyAI_val.csv and RadiologyAI_test.csv beside it"
        )
    _drop_other_folders(rows, notes)
    if not rows.names:
        raise RecordsError(
            f"'{root}': no image lies in a folder of one of the {len(CLASSES)} classes, such as "
            f"{DATASET_FOLDER}/{class_folder(LABELS[0])}; give the folder that holds {DATASET_FOLDER}"
        )
    frame = _without_repeated(_as_frame(rows, place.prefix), notes)
    if not place.tables:
        notes.insert(
            0,
            "no RadiologyAI_train.csv, RadiologyAI_val.csv and RadiologyAI_test.csv were found: images were split one "
            "by one at random, and since patients are not published, the same patient is on both sides of this split "
            "and results on it are too good; put the authors' CSV files beside the folder",
        )
        frame["split"] = _by_image(frame, place.prefix, lambda one, ids: assign_splits(one, ids, fractions, seed))
    if folds:
        notes.append("folds were assigned image by image, since patients are not published")
        frame["fold"] = _by_image(frame, place.prefix, lambda one, ids: assign_folds(one, ids, folds, seed))
    if hash_files:
        frame["sha256"] = _digests(frame["image"], root, progress)
    frame.attrs["notes"] = notes
    return check_records(frame, root, CLASSES)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Compare the counts of a `read_radimagenet` table with the published dataset, see `summarize`."""
    labels = frame["label"].value_counts()
    modalities = frame["modality"].value_counts()
    found = {name: int(labels.get(name, 0)) for name in PUBLISHED_COUNTS if name in CLASSES}
    found |= {f"{name} images": int(modalities.get(name, 0)) for name in MODALITIES}
    found["classes"] = len(labels)
    regions = frame.groupby(["modality", "region"]).size()
    return summarize(
        frame,
        PUBLISHED_COUNTS,
        found,
        published_images="1.35 million",
        regions={f"{modality} {region}": int(count) for (modality, region), count in regions.items()},
        classes_without_images=[name for name in CLASSES if name not in labels.index],
        classes_of_split={
            split: int(frame.loc[frame["split"] == split, "label"].nunique())
            for split in SPLITS
            if (frame["split"] == split).any()
        },
    )


@dataclass(frozen=True)
class _Place:
    folder: Path | None  # the folder with CT, MR and US
    prefix: str  # of paths in the table, before CT, MR or US
    tables: Mapping[Split, Path]


@dataclass
class _Rows:
    """Images by folder: ``names[i]`` lies in ``folders[codes[i]]``, a POSIX path below ``radiology_ai``."""

    names: list[str]
    folders: list[str]
    codes: np.ndarray
    splits: np.ndarray | None = None  # index in SPLITS

    def keep(self, wanted: np.ndarray) -> None:
        """Drop the rows for which ``wanted`` ``(n,)`` is false."""
        if not wanted.all():
            self.names = list(compress(self.names, wanted.tolist()))
            self.codes = self.codes[wanted]
            self.splits = None if self.splits is None else self.splits[wanted]

    def rename_folders(self, folders: Sequence[str]) -> None:
        """Replace the path of every folder; folders that then share a path are merged."""
        number = {folder: code for code, folder in enumerate(dict.fromkeys(folders))}
        self.codes = np.array([number[folder] for folder in folders], np.int32)[self.codes]
        self.folders = list(number)

    def by_folder(self) -> Iterator[tuple[str, np.ndarray]]:
        """Each folder with its row numbers."""
        order = np.argsort(self.codes, kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=len(self.folders)))
        return zip(self.folders, np.split(order, ends[:-1]), strict=True)


def _find(root: Path) -> _Place:
    names = _names_in(root) or []
    inner = next((name for name in names if name.casefold() == DATASET_FOLDER and (root / name).is_dir()), None)
    if inner is not None:
        return _Place(root / inner, f"{inner}/", _tables((root, root / inner)))
    if any(name.upper() in MODALITIES and (root / name).is_dir() for name in names):
        return _Place(root, "", _tables((root, root.absolute().parent)))
    return _Place(None, f"{DATASET_FOLDER}/", _tables((root,)))


def _names_in(folder: str | os.PathLike[str]) -> list[str] | None:
    """Sorted names in a folder, or ``None`` if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except OSError:
        return None


def _subfolders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _class_folders(folder: Path) -> Iterator[tuple[str, RadImageNetLabel | None]]:
    """Folders below ``radiology_ai`` that are, or by their position could be, class folders."""
    for modality in _subfolders(folder):
        for second in _subfolders(folder / modality):
            label = _label_of_folder(f"{modality}/{second}")
            thirds = [] if label else _subfolders(folder / modality / second)
            if not thirds:
                yield f"{modality}/{second}", label
            for third in thirds:
                path = f"{modality}/{second}/{third}"
                yield path, _label_of_folder(path)


def _tables(places: Sequence[Path]) -> dict[Split, Path]:
    """The CSV files by split, from the first place that has any."""
    for place in places:
        found: dict[Split, Path] = {}
        for name in _names_in(place) or []:
            if match := _TABLE.fullmatch(name):
                split = _SPLIT_OF[match["part"].lower()]
                if split in found:
                    raise RecordsError(
                        f"'{found[split]}' and '{place / name}' both give the {split} split; keep one of them"
                    )
                found[split] = place / name
        if found:
            return {split: found[split] for split in SPLITS if split in found}
    return {}


def _plain(text: str) -> str:
    """A spelling without the parts that vary between copies: case, spaces, hyphens, underscores, punctuation."""
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def class_folder(label: RadImageNetLabel) -> str:
    """The folder of a class below ``radiology_ai``."""
    region = "" if label.modality == "US" else f"{label.region_code}/"
    return f"{label.modality}/{region}{label.class_name}"


_LABEL_OF_PARTS = {tuple(_plain(part) for part in class_folder(label).split("/")): label for label in LABELS}


@lru_cache(maxsize=4096)
def _label_of_folder(folder: str) -> RadImageNetLabel | None:
    """The class of ``folder`` (below ``radiology_ai``), whatever its spelling."""
    return _LABEL_OF_PARTS.get(tuple(_plain(part) for part in folder.split("/")))


def _classes_of_text() -> dict[str, set[str]]:
    """Plain spelling of a label in the CSV files, such as ``abdnormal``, to the keys of the classes it may mean."""
    classes: dict[str, set[str]] = {}
    for label in LABELS:
        for before in ("", label.region_code, label.modality, f"{label.modality} {label.region_code}"):
            classes.setdefault(_plain(before + label.class_name), set()).add(label.key)
    return classes


_CLASSES_OF_TEXT = _classes_of_text()


def _listed(tables: Mapping[Split, Path], notes: list[str], progress: bool) -> _Rows:
    """The rows of the CSV files, unchanged, and notes on labels that contradict the folder."""
    notes.extend(
        f"no CSV file gives the {split} split: the table has no such images" for split in SPLITS if split not in tables
    )
    code_of: dict[str, int] = {}
    names: list[str] = []
    codes, splits = array("i"), array("b")
    texts: dict[tuple[int, str], list[Any]] = {}
    for split, path in tables.items():
        number = SPLITS.index(split)
        for filename, text in tqdm(
            _table_rows(path), desc=f"Reading {path.name}", unit="image", disable=None if progress else True
        ):
            folder, _, name = filename.rpartition("/")
            code = code_of.setdefault(folder, len(code_of))
            names.append(name)
            codes.append(code)
            splits.append(number)
            texts.setdefault((code, text), [0, filename])[0] += 1
    rows = _Rows(names, list(code_of), np.array(codes, np.int32), np.array(splits, np.int8))
    rows.rename_folders([_below_dataset_folder(folder) for folder in rows.folders])
    _compare_texts(texts, list(code_of), notes)
    return rows


def _table_rows(path: Path) -> Iterator[tuple[str, str]]:
    """``filename`` with forward slashes and ``label`` of each row with a file name."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream)
            header = [name.strip().casefold() for name in next(lines, [])]
            if "filename" not in header:
                raise RecordsError(
                    f"{path}: the first line is {','.join(header)!r}; expected the columns filename,label"
                )
            filename = header.index("filename")
            label = header.index("label") if "label" in header else -1
            for cells in lines:
                if len(cells) > filename and (name := cells[filename].strip()):
                    if "\\" in name:
                        name = name.replace("\\", "/")
                    yield name, cells[label] if 0 <= label < len(cells) else ""
    except OSError as error:
        raise RecordsError(f"{path}: cannot be read ({error.strerror}); expected a CSV file") from error
    except UnicodeDecodeError as error:
        raise RecordsError(f"{path}: byte {error.start} is not UTF-8; expected a CSV file") from error
    except csv.Error as error:
        raise RecordsError(f"{path}: no CSV table with filename,label ({error})") from error


def _below_dataset_folder(folder: str) -> str:
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    starts = [place + 1 for place, part in enumerate(parts) if part.casefold() == DATASET_FOLDER]
    return "/".join(parts[starts[-1] if starts else 0 :])


def _compare_texts(texts: Mapping[tuple[int, str], Sequence[Any]], folders: Sequence[str], notes: list[str]) -> None:
    other: list[tuple[int, str, str]] = []
    unknown: list[tuple[int, str, str]] = []
    for (code, text), (count, filename) in texts.items():
        label = _label_of_folder(_below_dataset_folder(folders[code]))
        if label is not None and text.strip():
            means = _CLASSES_OF_TEXT.get(_plain(text))
            if means is None:
                unknown.append((count, text, filename))
            elif label.key not in means:
                other.append((count, text, filename))
    for found, reason in ((other, "another class than the folder"), (unknown, "no spelling of a class")):
        if found:
            _, text, filename = found[0]
            notes.append(
                f"the label of {sum(count for count, _, _ in found)} images in the CSV files is {reason}, first "
                f"'{text}' for '{filename}': the folder decides"
            )


def _look_on_disk(rows: _Rows, folder: Path | None, missing: Missing, notes: list[str]) -> None:
    """Use the spelling of folders on disk, and drop or refuse missing images."""
    on_disk: dict[RadImageNetLabel, list[str]] = {}
    for path, label in _class_folders(folder) if folder is not None else ():
        if label is not None:
            on_disk.setdefault(label, []).append(path)
    existing = {path for paths in on_disk.values() for path in paths}
    renamed = []
    for path in rows.folders:
        label = _label_of_folder(path)
        same = on_disk.get(label, []) if label is not None else []
        renamed.append(same[0] if path not in existing and len(same) == 1 else path)
    rows.rename_folders(renamed)

    present = np.ones(len(rows.names), bool)
    unlisted = 0
    for path, positions in rows.by_folder():
        if _label_of_folder(path) is not None:
            existing.discard(path)
            names = set(_names_in(folder / path) or ()) if folder is not None else set()
            listed = [rows.names[position] for position in positions.tolist()]
            present[positions] = [name in names for name in listed]
            unlisted += sum(map(_is_picture, names.difference(listed)))
    if folder is not None:
        unlisted += sum(_is_picture(name) for path in existing for name in _names_in(folder / path) or ())
    if unlisted:
        notes.append(f"{unlisted} images in class folders are in no CSV file and were left out")
    gone = np.flatnonzero(~present)
    if gone.size:
        first = ", ".join(f"'{rows.folders[rows.codes[row]]}/{rows.names[row]}'" for row in gone[:_SHOWN].tolist())
        what = f"{gone.size} of {len(rows.names)} images that the CSV files list are not there, first {first}"
        if missing == "stop":
            raise RecordsError(f"{what}; complete the folder, or leave them out with --missing skip")
        notes.append(f"{what}: left out")
        rows.keep(present)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_PICTURES) and not name.startswith(".")


def _found(folder: Path, notes: list[str]) -> _Rows:
    """The content of the class folders, sorted by path."""
    names: list[str] = []
    folders: list[str] = []
    sizes: list[int] = []
    strange: list[str] = []
    for path, _ in _class_folders(folder):
        listed = _names_in(folder / path) or []
        pictures = [name for name in listed if _is_picture(name)]
        strange += [
            f"{path}/{name}"
            for name in set(listed).difference(pictures)
            if not name.startswith(".") and name.casefold() not in _SILENT
        ]
        if pictures:
            names += pictures
            folders.append(path)
            sizes.append(len(pictures))
    if strange:
        notes.append(f"{len(strange)} files that are no pictures were left out, such as '{min(strange)}'")
    return _Rows(names, folders, np.repeat(np.arange(len(folders), dtype=np.int32), sizes))


def _drop_other_folders(rows: _Rows, notes: list[str]) -> None:
    """Keep the images of the 165 classes, and note which folders were recognized or not."""
    counts = np.bincount(rows.codes, minlength=len(rows.folders))
    unknown: Counter[str] = Counter()
    spelled: list[str] = []
    for folder, count in zip(rows.folders, counts.tolist(), strict=True):
        label = _label_of_folder(folder)
        if label is None:
            unknown[folder] = count
        elif folder != class_folder(label) and count:
            spelled.append(f"'{folder}' for {label.key}")
    if spelled:
        more = f" and {len(spelled) - _SHOWN} more" if len(spelled) > _SHOWN else ""
        notes.append(f"folders spelled in another way were taken for a class: {', '.join(spelled[:_SHOWN])}{more}")
    if unknown.total():
        first = ", ".join(f"'{folder}' ({count})" for folder, count in unknown.most_common(_SHOWN))
        notes.append(
            f"{unknown.total()} images in {len(unknown)} folders that are none of the {len(CLASSES)} classes were left "
            f"out: {first}{' and more' if len(unknown) > _SHOWN else ''}; rename a folder that is one of them"
        )
    known = np.array([_label_of_folder(folder) is not None for folder in rows.folders], bool)
    rows.keep(known[rows.codes] if known.size else np.empty(0, bool))


def _as_frame(rows: _Rows, prefix: str) -> pd.DataFrame:
    """The table; ``rows.names`` become the paths, so that text is not stored twice."""
    paths = rows.names
    codes = rows.codes.tolist()
    for row, code in enumerate(codes):
        paths[row] = f"{prefix}{rows.folders[code]}/{paths[row]}"
    labels = [_label_of_folder(folder) for folder in rows.folders]
    columns = {"image": np.array(paths, object)}
    for name, attribute in (("label", "key"), ("modality", "modality"), ("region", "region_code")):
        values = np.array([getattr(label, attribute, "") for label in labels], object)
        columns[name] = values[rows.codes]
    if rows.splits is not None:
        columns["split"] = np.array(SPLITS, object)[rows.splits]
    return pd.DataFrame(columns)


def _without_repeated(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Keep the first row of an image that the CSV files list more than once."""
    repeated = frame["image"].duplicated().to_numpy()
    if not repeated.any():
        return frame
    again = frame[repeated]
    splits_of = frame[frame["image"].isin(again["image"])].groupby("image")["split"].nunique()
    notes.append(
        f"{len(again)} rows list an image again, first '{again['image'].iloc[0]}', and were left out; "
        f"{int((splits_of > 1).sum())} of these images are in more than one split and stay in the first of "
        f"{', '.join(SPLITS)}"
    )
    return frame[~repeated].reset_index(drop=True)


def _by_image(
    frame: pd.DataFrame, prefix: str, divide: Callable[[Sequence[str], Sequence[str]], np.ndarray]
) -> pd.Series:
    """Divide the images class by class: a table of all images and classes would not fit into memory."""
    parts: list[pd.Series] = []
    for label, images in frame.groupby("label", sort=True)["image"]:
        names = [image[len(prefix) :] for image in images]
        parts.append(pd.Series(divide([str(label)] * len(names), names), index=images.index))
    return pd.concat(parts).sort_index()


def _digests(images: pd.Series, root: Path, progress: bool) -> list[str]:
    digests: list[str] = []
    with tqdm(total=len(images), desc="Hashing RadImageNet", unit="image", disable=None if progress else True) as bar:
        # Batches, since a thread pool creates an object of a kilobyte for every file.
        for start in range(0, len(images), 10_000):
            batch = images.iloc[start : start + 10_000].tolist()
            digests += file_hash.hash_files(root, batch, progress=False)
            bar.update(len(batch))
    return digests
