"""A copy of a packed store to give away: pixels and labels, without names.

What a sealed store needs for training is kept: the images, ``label``, ``split``, ``fold``, ``frame``, findings,
modality and plane. Patients and exams become pseudonyms, keyed hashes that still group; images and masks get names of
the same kind; every other column is left out. The hashes of the source files, which would tell whose scan a row is to
anyone who has the file, and the list of unreadable images stay behind.

Pixels may identify, too: burnt-in text, faces in head scans. Look before you give a store away.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from radimagenet_monai.core.errors import ConfigurationError, StoreError
from radimagenet_monai.datasets.records.table import MASK_SEPARATOR, RECORD_COLUMNS
from radimagenet_monai.store.packed_part import (
    KEY_BYTES,
    images_file,
    part_folders,
    read_hashes,
    read_keys,
    write_arrays,
)
from radimagenet_monai.store.sealed.sealing import seal_store

MANIFEST_FILE = "manifest.json"

_CLEAR = ("modality", "plane")
_GROUPS = ("patient_id", "exam")
_DIGITS = 16


def check_shared_folder(out: str | os.PathLike[str]) -> None:
    """Refuse an existing folder: its contents would be given away as well.

    Raises
    ------
    ConfigurationError
    """
    if Path(out).exists():
        raise ConfigurationError(f"'{os.fspath(out)}' exists already; give --share a new folder")


def pseudonymized(
    frame: pd.DataFrame, findings: Sequence[str] = (), columns: Sequence[str] = (), salt: str | None = None
) -> pd.DataFrame:
    """Records without patient ids, file names, or columns that were not requested.

    Parameters
    ----------
    frame
        Records from `radimagenet_monai.datasets.records.table.check_records`.
    findings
        Label columns of a task with several findings; they are kept.
    columns
        Further columns to keep in clear.
    salt
        Key of the hashes. The same salt gives the same pseudonyms. By default random and forgotten, so that nobody
        can find a patient by trying all ids.

    Returns
    -------
    pandas.DataFrame
        The same rows.

    Raises
    ------
    ConfigurationError
        For a column that the table lacks, or one that cannot be kept in clear.
    """
    hidden = {*_GROUPS, "image", "mask", "sha256"}
    for name in columns:
        if name not in frame.columns or name in hidden:
            fault = "always hidden" if name in hidden else "no column of the records"
            raise ConfigurationError(f"--share_columns: '{name}' is {fault}")
    key = (secrets.token_bytes(32) if salt is None else hashlib.sha256(salt.encode()).digest())[:32]
    kept = [name for name in frame.columns if name in {*RECORD_COLUMNS, *_CLEAR, *_GROUPS, *findings, *columns}]
    shared = frame[kept].copy()
    shared["image"] = _pseudonyms(frame["image"], key, "image")
    shared["patient_id"] = _pseudonyms(frame["patient_id"], key, "p")
    shared["mask"] = [
        MASK_SEPARATOR.join(f"mask-{_digest(name, key)}" for name in cell.split(MASK_SEPARATOR) if name)
        for cell in frame["mask"]
    ]
    shared["sha256"] = ""
    if "exam" in shared.columns:
        # The name of an exam is unique within its patient only.
        shared["exam"] = _pseudonyms(
            frame["exam"].where(frame["exam"] == "", frame["patient_id"] + "\0" + frame["exam"]), key, "e"
        )
    return shared


def share_store(
    folder: Path, out: str | os.PathLike[str], frame: pd.DataFrame, places: np.ndarray, phantoms: bool
) -> None:
    """Write a sealed copy of a store's folder into ``out``, a new folder.

    Pixels are linked where the file system can (nothing is copied then), else copied. A kill leaves no ``out``.

    Parameters
    ----------
    folder
        Folder of one size and transform in a store.
    out
        Folder for the copy.
    frame
        Records from `pseudonymized`.
    places, phantoms
        See `seal_store`.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    out = Path(out)
    building = out.with_name(f".{out.name}.part")
    target = building / folder.name
    try:
        shutil.rmtree(building, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copy2(folder / MANIFEST_FILE, target / MANIFEST_FILE)
        for number, part in enumerate(part_folders(folder)):
            (target / part.name).mkdir()
            _share_part(part, target / part.name, places[places[:, 0] == number, 1])
        seal_store(target, frame, places, phantoms)
        building.replace(out)
    except OSError as error:
        raise StoreError(
            f"'{out}' cannot be written: {error.strerror or error}; free some space or choose another --share"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _share_part(part: Path, target: Path, wanted: np.ndarray) -> None:
    """Rows of a part, of which those that no shared record names are blanked."""
    keys, hashes = read_keys(part), read_hashes(part)
    shared = np.zeros(len(keys), bool)
    shared[wanted] = True
    others = np.flatnonzero(keys.any(axis=1) & ~shared)
    if others.size:
        shutil.copyfile(images_file(part), images_file(target))
        images = np.load(images_file(target), mmap_mode="r+", allow_pickle=False)
        images[others] = 0
        images.flush()
    else:
        _link_or_copy(images_file(part), images_file(target))
    # In place of the source files' keys and hashes those of the pixels: they tell filled rows and damage.
    of_pixels = np.where(shared[:, None], hashes[:, 1], 0).astype(np.uint8)
    write_arrays(target, of_pixels[:, :KEY_BYTES], np.stack([of_pixels, of_pixels], axis=1))


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _pseudonyms(values: pd.Series, key: bytes, prefix: str) -> list[str]:
    codes, distinct = pd.factorize(values)
    names = [f"{prefix}-{_digest(str(value), key)}" if value else "" for value in distinct]
    return [names[code] for code in codes]


def _digest(text: str, key: bytes) -> str:
    encoded = text.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(encoded, key=key, digest_size=_DIGITS // 2).hexdigest()
