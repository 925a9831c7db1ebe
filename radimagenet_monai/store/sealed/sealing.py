"""Sealing: a packed store gets its own index, so that it can be read without the source images."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import StoreError
from radimagenet_monai.store.mapped_images import damaged_part, open_images
from radimagenet_monai.store.packed_part import BUILDING, images_file, part_folders, read_hashes
from radimagenet_monai.store.sealed.index import INDEX_FILE, INDEX_FOLDER, SealedIndex, write_index

SEALED_FILE = "sealed.json"
"""In a store: the names of its sealed folders, since an address on the internet cannot be listed everywhere."""


def seal_store(folder: str | os.PathLike[str], frame: pd.DataFrame, places: np.ndarray, phantoms: bool = False) -> None:
    """Write the index of a packed store, the same bytes for the same input; an older one is replaced.

    Parameters
    ----------
    folder
        Folder of one size and transform in a store, with all its parts.
    frame
        Records, as `radimagenet_monai.datasets.records.table.check_records` gives them.
    places
        Integers ``(len(frame), 2)``: part (in the order of the folders' names) and row of each image; -1 where
        it is not packed, which leaves the record out.
    phantoms
        Whether the images are phantoms, which results must then state.

    Raises
    ------
    StoreError
        If no record is left, a place is outside the parts, or the folder cannot be written.
    """
    folder = Path(folder)
    kept = np.flatnonzero(places[:, 0] >= 0)
    if not kept.size:
        raise StoreError(f"packed store {folder} cannot be sealed: none of {len(frame)} records is packed")
    places = places[kept]
    parts = part_folders(folder)
    images = [open_images(images_file(part)) for part in parts]
    lengths = np.array([len(part) for part in images], dtype=np.int64)
    if places[:, 0].max() >= len(lengths) or (places[:, 1] >= lengths[places[:, 0]]).any() or places.min() < 0:
        raise StoreError(f"packed store {folder} cannot be sealed: a record lies outside its {len(lengths)} parts")
    described, hashes = [], np.empty((len(kept), 32), np.uint8)
    for number, part in enumerate(parts):
        of_part = read_hashes(part)
        if len(of_part) != lengths[number]:
            raise damaged_part(part, "not as many hashes as images")
        here = np.flatnonzero(places[:, 0] == number)
        hashes[here] = of_part[places[here, 1], 0]
        length = images_file(part).stat().st_size
        digest = hashlib.sha256(of_part.tobytes()).hexdigest()
        described.append({"name": part.name, "rows": int(lengths[number]), "bytes": length, "sha256": digest})
    building = folder / f"{BUILDING}index"  # packing removes what a killed run leaves
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        write_index(building, frame, kept, places, images[0].shape[1:], described, hashes, phantoms)
        shutil.rmtree(folder / INDEX_FOLDER, ignore_errors=True)
        building.replace(folder / INDEX_FOLDER)
        names = [sealed.name for sealed in sealed_folders(folder.parent)]
        atomic_write_text(folder.parent / SEALED_FILE, json.dumps({"folders": names}, indent=1) + "\n")
    except OSError as error:
        raise StoreError(
            f"packed store {folder} cannot be sealed: {error.strerror or error}; free some space and pack again"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def sealed_folders(store_dir: str | os.PathLike[str]) -> list[Path]:
    """Folders of sizes and transforms in a store that are sealed, by name."""
    return sorted(path.parent.parent for path in Path(store_dir).glob(f"*/{INDEX_FOLDER}/{INDEX_FILE}"))


def is_sealed(store_dir: str | os.PathLike[str]) -> bool:
    """Whether a store can be read without its source images; one at an address, such as s3://…, has to be."""
    return is_address(store_dir) or bool(sealed_folders(store_dir))


def is_address(store_dir: str | os.PathLike[str]) -> bool:
    """Whether a store is on object storage, as in ``s3://bucket/store``."""
    return "://" in os.fspath(store_dir)


def check_parts(index: SealedIndex) -> list[Path]:
    """The image file of each part of a sealed store.

    Raises
    ------
    StoreError
        For the first that is missing or has another length than when the store was sealed.
    """
    files = []
    for part in index.parts:
        path = images_file(index.folder / part["name"])
        try:
            length = path.stat().st_size
        except OSError as error:
            raise _lost_part(path, error.strerror) from error
        if length != part["bytes"]:
            raise _lost_part(path, f"{length} bytes, expected {part['bytes']}")
        files.append(path)
    return files


def _lost_part(path: Path, cause: object) -> StoreError:
    return StoreError(
        f"sealed store: {path} is missing or damaged ({cause}); copy that part again, or delete its folder and run "
        "'radimagenet pack' again"
    )
