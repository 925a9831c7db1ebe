"""Read a few header elements of many DICOM files into a table: without pixels, in worker processes, with a cache."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from tqdm import tqdm

from radimagenet_monai.core.atomic import atomic_open
from radimagenet_monai.core.errors import RecordsError, UnreadableImageError
from radimagenet_monai.core.workers import WorkerPool, available_cores
from radimagenet_monai.io.dicom.files import load_dataset
from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.reader import is_junk

FAULT = "fault"
"""Column that says why a file's header could not be read; empty where it could."""

_NAME = "name"
_WORTH_A_POOL = 4000  # files; with fewer, starting processes takes longer than reading
_MOST_WORKERS = 16


def read_header_table(
    folder: str | os.PathLike[str],
    names: Sequence[str],
    keywords: Sequence[str],
    cache: str | os.PathLike[str] = "",
    workers: int = 0,
    progress: bool = True,
) -> pd.DataFrame:
    """Read header elements of DICOM files without their pixels.

    Parameters
    ----------
    folder
        Folder of the files.
    names
        File names in the folder, each once.
    keywords
        Keywords of the header elements to read.
    cache
        CSV file that caches the table; empty for no cache. Listed files are not opened again, even if they have
        changed; files missing from it are read and added if readable. It contains header values, including patient ids:
        store it together with the images.
    workers
        Reader processes; 0 means one per processor (16 at most), and only this process for few files.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``names``, in their order; one text column per keyword, ``""`` if the element is absent or empty, and
        multiple values joined by ``\\``; and the column ``fault``.

    Raises
    ------
    RecordsError
        For a cache file that is not such a table, or if a process dies, naming the file that it was reading.
    """
    columns = [*keywords, FAULT]
    known = _read_cache(Path(cache), columns) if cache else None
    unread = names if known is None else pd.Index(names).difference(known.index, sort=False).tolist()
    rows: list[tuple[str, ...]] = []
    if unread:
        bar = tqdm(total=len(unread), desc="Reading headers", unit="file", disable=None if progress else True)
        with bar:
            for row in _read_in_processes(os.fspath(folder), unread, tuple(keywords), workers):
                # Ids repeat from slice to slice; sharing one copy keeps a million rows small.
                rows.append(tuple(map(sys.intern, row)))
                bar.update()
    table = pd.DataFrame(rows, index=pd.Index(unread, dtype=str), columns=columns, dtype=str)
    if known is not None:
        table = pd.concat([known, table])
    if cache and unread:
        with atomic_open(cache, "w", encoding="utf-8", newline="") as stream:
            table[table[FAULT] == ""].to_csv(stream, index_label=_NAME, lineterminator="\n")
    return table.loc[list(names)]


def list_dicom_files(folder: str | os.PathLike[str], notes: list[str]) -> list[str]:
    """Names of the ``.dcm`` files in a folder, sorted.

    Hidden files, thumbnails and the like are skipped; ``notes`` receives a sentence on anything else.
    """
    names, others = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(".dcm") and not entry.name.startswith("."):
                names.append(entry.name)
            elif not is_junk(entry.name):
                others.append(entry.name)
    if others:
        notes.append(
            f"{len(others)} files of '{Path(folder).name}' are not .dcm and were left out, first '{min(others)}'"
        )
    return sorted(names)


def _read_in_processes(
    folder: str, names: Sequence[str], keywords: tuple[str, ...], workers: int
) -> Iterator[tuple[str, ...]]:
    if workers == 0:
        workers = min(available_cores(), _MOST_WORKERS) if len(names) >= _WORTH_A_POOL else 1

    with WorkerPool(_read_header, 0 if workers == 1 else workers, len(names), _died) as pool:
        yield from pool.map((os.path.join(folder, name) for name in names), keywords)


def _died(path: str, how: str) -> RecordsError:
    return RecordsError(f"{path}: the process that was reading its header {how}; take the file out of its folder")


def _read_header(path: str, keywords: tuple[str, ...]) -> tuple[str, ...]:
    try:
        dataset = load_dataset(path, header_only=True, tags=keywords)
        with stage(path, "header"):  # keeps pydicom from printing invalid values
            values = tuple(_value(dataset, keyword) for keyword in keywords)
    except UnreadableImageError as error:
        return *itertools.repeat("", len(keywords)), error.cause
    return *values, "" if any(values) else "its header holds none of the elements"


def _value(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
        if value is None:
            return ""
        return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value).strip()
    except (AttributeError, NotImplementedError, TypeError, UnicodeError, ValueError):
        # pydicom converts an element on first access; a damaged one counts as empty.
        return ""


def _read_cache(path: Path, columns: list[str]) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        known = pd.read_csv(path, dtype=str, na_filter=False, index_col=_NAME)
    except (OSError, UnicodeError, ValueError) as error:
        raise RecordsError(
            f"{path}: cannot be read as a table of headers ({error}); remove it, or give another file"
        ) from error
    if list(known.columns) != columns or known.index.has_duplicates:
        raise RecordsError(
            f"{path}: expected a table with the columns {_NAME}, {', '.join(columns)} and each name once; remove it, "
            "or give another file"
        )
    return known
