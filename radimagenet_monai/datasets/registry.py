"""Registry of dataset readers: how each dataset is recognized, read, summarized, and found by a bundle."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radimagenet_monai.catalog.datasets import DATASETS
from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.core.registry import resolve
from radimagenet_monai.datasets.masks.survey import refuse_undecided, survey_masks
from radimagenet_monai.datasets.records.table import (
    MASK_SEPARATOR,
    RECORDS_FILE,
    Split,
    load_datalist,
    mask_file,
    to_datalist,
    write_records,
)
from radimagenet_monai.datasets.records.white_level import with_white_level
from radimagenet_monai.io.discovery.left_out import USUAL, LeftOut
from radimagenet_monai.io.discovery.walk import walk_files
from radimagenet_monai.io.reader import junk_reason

SUMMARY_FILE = "summary.json"
NOT_LISTED = "file that these options do not use"


@dataclass(frozen=True)
class DatasetReader:
    """The functions of the file that describes a dataset ``NAME``.

    Attributes
    ----------
    read
        ``read_NAME(root, seed=0, ...)``: the records table; further parameters are options of ``radimagenet prepare``.
    looks_like
        ``looks_like_NAME(root)``: whether a folder holds the dataset.
    summary
        ``summary(frame)``: the content of ``summary.json``, see `radimagenet_monai.datasets.records.summary`.
    """

    read: Callable[..., pd.DataFrame]
    looks_like: Callable[[str | os.PathLike[str]], bool]
    summary: Callable[[pd.DataFrame], dict[str, Any]]


class _Readers(Mapping[str, DatasetReader]):
    """The reader of each dataset, imported on first use, and those of own data."""

    _OWN: Mapping[str, str] = {
        "csv": "radimagenet_monai.datasets.readers.csv_table",
        "folder": "radimagenet_monai.datasets.readers.folder",
    }

    def __getitem__(self, name: str) -> DatasetReader:
        module = self._OWN[name] if name in self._OWN else DATASETS[name].module
        return DatasetReader(
            *(resolve(module, function) for function in (f"read_{name}", f"looks_like_{name}", "summary"))
        )

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in DATASETS or name in self._OWN)

    def __iter__(self) -> Iterator[str]:
        return iter((*DATASETS, *self._OWN))

    def __len__(self) -> int:
        return len(DATASETS) + len(self._OWN)


READERS: Mapping[str, DatasetReader] = _Readers()


def get_reader(name: str) -> DatasetReader:
    """The reader with a given name.

    Raises
    ------
    ConfigurationError
        If there is none; the message lists the known names.
    """
    if name in READERS:
        return READERS[name]
    broken = "".join(f"; {sentence}" for sentence in DATASETS.left_out)
    raise ConfigurationError(f"no reader for dataset {name!r}; there is one for {', '.join(READERS)}{broken}")


def read_dataset(name: str, root: str | os.PathLike[str], seed: int = 0, **options: Any) -> pd.DataFrame:
    """The records table of the dataset ``name`` in ``root``.

    Parameters
    ----------
    name
        Name of the dataset, one of `READERS`.
    root
        Folder of the dataset; paths in the table are relative to it.
    seed
        Random seed of splits and folds.
    options
        Options of the dataset's reader.

    Raises
    ------
    ConfigurationError
        For an unknown dataset or option; the message lists the known ones.
    RecordsError
        For a folder that does not contain the dataset.
    """
    reader = get_reader(name)
    known = [option for option in inspect.signature(reader.read).parameters if option not in ("root", "seed")]
    for option in options:
        if option not in known:
            raise ConfigurationError(f"dataset '{name}' has no option '{option}'; it has {', '.join(known)}")
    return reader.read(root, seed=seed, **options)


def prepare(
    name: str,
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    seed: int = 0,
    overwrite: bool = False,
    **options: Any,
) -> tuple[Path, dict[str, Any]]:
    """Read the dataset ``name`` in ``root`` and write ``records.csv`` and ``summary.json`` into ``out``.

    Image paths in the table are relative to ``root``. ``options`` are options of the dataset's reader. Preparing the
    same folder again replaces its table; that of other data only with ``overwrite``.

    Returns
    -------
    tuple
        Path of the table, and the summary: counts beside the published ones, differences, odd files, ``left_out``
        (number of files or rows left out for each reason), ``root``, from which an audit finds the images again,
        ``dataset``, the reader, and ``options``, the reader options that decide what the labels mean.

    Raises
    ------
    ConfigurationError
        For an unknown dataset or option.
    RecordsError
        For a folder that does not contain the dataset, for masks in own data that hold several labels without a
        statement which are the lesion, and where ``out`` holds the records of other data.
    """
    if not overwrite:
        _require_own_table(name, root, Path(out))
    frame, white = with_white_level(read_dataset(name, root, seed, **options), root)
    if "left_out" not in frame.attrs:
        left_out = _not_listed(frame, root)
        counts = left_out.counts
        # A dataset's own tables and texts are counted without a sentence.
        for reason in USUAL:
            left_out.pop(reason, None)
        frame.attrs |= {"left_out": counts, "notes": [*frame.attrs.get("notes", []), *left_out.notes]}
    masks = _survey_masks(name, frame, root, bool(options.get("progress", True)))
    facts = {
        **get_reader(name).summary(frame),
        **({"masks": masks} if masks else {}),
        **({"white_level": white} if white else {}),
        "left_out": dict(frame.attrs.get("left_out", {})),
        "root": str(Path(root).resolve()),
        "dataset": name,
        "options": _options_of_labels(name, options),
    }
    out = Path(out)
    write_records(frame, out / RECORDS_FILE)
    atomic_write_text(out / SUMMARY_FILE, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return out / RECORDS_FILE, facts


def _require_own_table(name: str, root: str | os.PathLike[str], out: Path) -> None:
    """Refuse to replace a table that was not prepared from this dataset in this folder."""
    table = out / RECORDS_FILE
    if not table.exists():
        return
    try:
        facts = dict(json.loads((out / SUMMARY_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        facts = {}
    if (facts.get("dataset"), facts.get("root")) != (name, str(Path(root).resolve())):
        whose = f"of {facts['dataset']} in '{facts.get('root')}'" if facts.get("dataset") else "of unknown origin"
        raise RecordsError(
            f"'{table}' holds the records {whose}; choose another --out, or replace them with --overwrite true"
        )


def _options_of_labels(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The option ``target`` of a reader that has one, as given or by default."""
    known = inspect.signature(get_reader(name).read).parameters
    return {"target": options.get("target", known["target"].default)} if "target" in known else {}


def _not_listed(frame: pd.DataFrame, root: str | os.PathLike[str]) -> LeftOut:
    """The files of a dataset's folder that its table does not list, judged by name."""
    listed = set(frame["image"])  # does not copy the strings
    listed.update(mask_file(part) for cell in frame["mask"].unique() for part in cell.split(MASK_SEPARATOR) if part)
    left_out = LeftOut(root)
    start = len(os.path.join(root, ""))
    for path in walk_files(root, left_out):
        if path[start:] not in listed:
            left_out.add(junk_reason(Path(path).name) or NOT_LISTED, path)
    return left_out


def _survey_masks(name: str, frame: pd.DataFrame, root: str | os.PathLike[str], progress: bool) -> dict[str, Any]:
    """Facts about the masks of a table, also added as notes to its ``attrs``; empty for a table without masks."""
    if not (frame["mask"] != "").any():
        return {}
    survey = survey_masks(frame, root, progress)
    if name in ("csv", "folder"):
        refuse_undecided(survey, os.fspath(root))
    stated = dict(frame.attrs.get("mask_values", {}))
    absent = [value for value in stated if value not in survey.found_levels]
    if absent:
        raise RecordsError(
            f"'{os.fspath(root)}': no mask holds the value {absent[0]}; they hold {', '.join(survey.found_levels)}; "
            "check --mask_values"
        )
    frame.attrs["notes"] = [*frame.attrs.get("notes", []), *survey.notes()]
    return {**survey.to_dict(), **({"names": stated} if any(stated.values()) else {})}


def bundle_datalist(
    dataset: str,
    dataset_dir: str | os.PathLike[str],
    datalist: str | os.PathLike[str] | None,
    classes: Sequence[str] | None,
    split: Split | None = None,
    fold: int | None = None,
    options: Mapping[str, Any] | None = None,
    findings: Sequence[str] | None = None,
    require_mask: bool = False,
) -> list[dict[str, Any]]:
    """The items of one split, from a records table or directly from a dataset in its original format.

    Parameters
    ----------
    dataset
        Name of the bundle's dataset.
    dataset_dir
        Folder of the images. Empty gives an empty list: MONAI builds workflows without data to check them, and a sealed
        store needs none.
    datalist
        Records table; if empty, ``records.csv`` in ``dataset_dir``. If that does not exist either and the folder is the
        dataset as published by its authors, the split that ``radimagenet prepare`` makes with seed 0.
    classes, split, fold, findings, require_mask
        As for `radimagenet_monai.datasets.records.table.to_datalist`.
    options
        Options of the dataset's reader, used if there is no records table.

    Raises
    ------
    RecordsError
        If the input yields no records.
    """
    if not dataset_dir:
        if datalist:
            # A sealed store would be read with its own records, unnoticed.
            raise RecordsError(
                f"datalist '{datalist}' was given without dataset_dir, the folder that its paths start from; give "
                "both, or neither with a sealed store"
            )
        return []
    folder = Path(dataset_dir)
    reader = READERS.get(dataset)
    if not datalist and reader and not (folder / RECORDS_FILE).exists() and reader.looks_like(folder):
        frame = _read_once(dataset, str(folder.resolve()), tuple(sorted((options or {}).items())))
        return to_datalist(frame, folder, classes, split, fold, findings=findings, require_mask=require_mask)
    return load_datalist(datalist, folder, classes, split, fold, findings=findings, require_mask=require_mask)


@functools.lru_cache(maxsize=4)
def _read_once(dataset: str, folder: str, options: tuple[tuple[str, Any], ...]) -> pd.DataFrame:
    # Training and validation both read the same folder, which may mean hashing every picture.
    return read_dataset(dataset, folder, **dict(options))
