"""Sealing: a packed store gets an index of its own, so that it is read without the images it was made from."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from radimagenet_monai.data.packed_images import open_images
from radimagenet_monai.data.sealed_index import INDEX_FILE, INDEX_FOLDER, SealedIndex, write_index
from radimagenet_monai.errors import StoreError

IMAGES_FILE = "images.npy"

_PART = "part-[0-9]*"
_BUILDING = ".building-index"  # packing removes what is named so and was left by a kill


def seal_store(folder: str | os.PathLike[str], frame: pd.DataFrame, places: np.ndarray) -> None:
    """Write the index of a packed store, the same bytes for the same input; an older one is replaced.

    Parameters
    ----------
    folder
        Folder of one size and transform in a store, with all its parts.
    frame
        Records, as `radimagenet_monai.datasets.records.check_records` gives them.
    places
        Integers ``(len(frame), 2)``: part (in the order of the folders' names) and row of each image; -1 where
        it is not packed, which leaves the record out.

    Raises
    ------
    StoreError
        If no record is left, a place is outside the parts, or the folder cannot be written.
    """
    folder = Path(folder)
    files = [part / IMAGES_FILE for part in sorted(folder.glob(_PART))]
    images = [open_images(file) for file in files]
    rows = np.flatnonzero(places[:, 0] >= 0)
    if not rows.size:
        raise StoreError(f"packed store {folder} cannot be sealed: none of {len(frame)} records is packed")
    places = places[rows]
    lengths = np.array([len(part) for part in images], dtype=np.int64)
    if places[:, 0].max() >= len(lengths) or (places[:, 1] >= lengths[places[:, 0]]).any() or places.min() < 0:
        raise StoreError(f"packed store {folder} cannot be sealed: a record lies outside its {len(lengths)} parts")
    parts = [
        {"name": file.parent.name, "rows": len(part), "bytes": file.stat().st_size}
        for file, part in zip(files, images, strict=True)
    ]
    building = folder / _BUILDING
    try:
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        write_index(building, frame, rows, places, images[0].shape[1:], parts)
        shutil.rmtree(folder / INDEX_FOLDER, ignore_errors=True)
        building.replace(folder / INDEX_FOLDER)
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
    """Whether a store can be read without the images it was made from."""
    return bool(sealed_folders(store_dir))


def check_parts(index: SealedIndex) -> list[Path]:
    """The image file of each part of a sealed store.

    Raises
    ------
    StoreError
        For the first that is missing or has another length than when the store was sealed.
    """
    files = []
    for part in index.parts:
        path = index.folder / part["name"] / IMAGES_FILE
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
