"""The columns of a sealed store on disk: written once, then mapped into memory and read row by row.

On disk, in ``index/`` of a store's folder::

    index.json          format, records, image_shape, phantoms, mask_rules; parts: name, rows, bytes of
                        images.npy, SHA-256 of hashes.npy; columns: name, kind, file, values; files: bytes and
                        SHA-256 of those below
    00.codes.npy        uint8, uint16 or uint32 (N,): a column of few different values, which are in index.json
    01.offsets.npy      int64 (N + 1,), and 01.text: where each row of a column of free text begins in its UTF-8 bytes
    frame.npy fold.npy record.npy    int32 (N,): frame; fold, -1 for none; row of the records table
    places.npy          int32 (N, 2): part and row of the image
    content.npy         uint8 (N, 16): BLAKE2b over file name, frame, names of the masks and SHA-256 of the image file

Nothing of it is read when a store is opened but ``index.json``, and nothing of it becomes a Python object before a
record is asked for: 1.35 million dictionaries take more than a gigabyte in every process.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radimagenet_monai.core.errors import StoreError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.datasets.masks import RULES
from radimagenet_monai.datasets.records.table import MASK_SEPARATOR, PLANE

INDEX_FOLDER = "index"
INDEX_FILE = "index.json"
INDEX_FORMAT = 1

CONTENT_BYTES = 16
_INTEGERS = ("frame", "fold", "record")
_ALWAYS_CODED = ("label", "split")
_MOST_CODES = 4096
_ROWS_AT_ONCE = 65536


class CodedColumn:
    """Text with few distinct values: ``values[codes[row]]``."""

    def __init__(self, values: Sequence[str], codes: np.ndarray) -> None:
        self.values = list(values)
        self.codes = codes

    def __getitem__(self, row: int) -> str:
        return self.values[self.codes[row]]

    def filled(self) -> np.ndarray:
        """Whether each row has text, booleans ``(N,)``."""
        return np.array([bool(value) for value in self.values], dtype=bool)[self.codes]


class TextColumn:
    """Free text: UTF-8 between two offsets."""

    def __init__(self, offsets: np.ndarray, text: np.ndarray) -> None:
        self._offsets = offsets
        self._text = text

    def __getitem__(self, row: int) -> str:
        start, end = self._offsets[row : row + 2].tolist()
        return self._text[start:end].tobytes().decode("utf-8", "surrogateescape")

    def filled(self) -> np.ndarray:
        """Whether each row has text, booleans ``(N,)``."""
        return np.diff(self._offsets) > 0


class SealedIndex:
    """Columns of a sealed store, each mapped when it is first asked for.

    Parameters
    ----------
    folder
        Folder of one size and transform in a store.

    Raises
    ------
    StoreError
        If the index is missing, of another format or incomplete.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        path = self.folder / INDEX_FOLDER / INDEX_FILE
        try:
            header = json.loads(path.read_text(encoding="utf-8"))
            if header["format"] != INDEX_FORMAT:
                raise ValueError(f"format {header['format']}, expected {INDEX_FORMAT}")
            self.length = int(header["records"])
            rows, columns, channels = header["image_shape"]
            self.image_shape: tuple[int, int, int] = (rows, columns, channels)
            self.phantoms = bool(header["phantoms"])
            self.mask_rules = int(header.get("mask_rules", 1))
            self.parts: list[dict[str, Any]] = header["parts"]
            self.files: dict[str, list[Any]] = header["files"]
            self._columns: dict[str, dict[str, Any]] = {column["name"]: column for column in header["columns"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged_index(path, error) from error
        self._opened: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def column(self, name: str) -> CodedColumn | TextColumn:
        """A text column of the records table."""
        if name not in self._opened:
            entry = self._columns[name]
            if entry["kind"] == "codes":
                codes = self._array(f"{entry['file']}.codes.npy", (self.length,))
                self._opened[name] = CodedColumn(entry["values"], codes)
            else:
                offsets = self._array(f"{entry['file']}.offsets.npy", (self.length + 1,))
                self._opened[name] = TextColumn(offsets, self._bytes(f"{entry['file']}.text", int(offsets[-1])))
        return self._opened[name]

    def coded(self, name: str) -> CodedColumn:
        """``label`` or ``split``."""
        column = self.column(name)
        assert isinstance(column, CodedColumn)
        return column

    def integers(self, name: str) -> np.ndarray:
        """``frame``, ``fold`` or ``record``, int32 ``(N,)``."""
        return self._array(f"{name}.npy", (self.length,))

    def places(self) -> np.ndarray:
        """Part and row of each image, int32 ``(N, 2)``."""
        return self._array("places.npy", (self.length, 2))

    def content(self) -> np.ndarray:
        """What tells one record's file, frame and masks from another's, uint8 ``(N, 16)``."""
        return self._array("content.npy", (self.length, CONTENT_BYTES))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}

    def _array(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in self._opened:
            path = self.folder / INDEX_FOLDER / name
            try:
                array = np.load(path, mmap_mode="r", allow_pickle=False)
                if array.shape != shape:
                    raise ValueError(f"shape {array.shape}, expected {shape}")
            except (OSError, ValueError, EOFError) as error:
                raise _damaged_index(path, error) from error
            # A plain view of the map, since indexing numpy.memmap itself is slow.
            self._opened[name] = array.view(np.ndarray)
        return self._opened[name]

    def _bytes(self, name: str, length: int) -> np.ndarray:
        path = self.folder / INDEX_FOLDER / name
        try:
            if path.stat().st_size != length:
                raise ValueError(f"{path.stat().st_size} bytes, expected {length}")
            return np.memmap(path, np.uint8, "r").view(np.ndarray)
        except (OSError, ValueError) as error:
            raise _damaged_index(path, error) from error


def write_index(
    folder: Path,
    frame: pd.DataFrame,
    rows: np.ndarray,
    places: np.ndarray,
    image_shape: Sequence[int],
    parts: Sequence[Mapping[str, Any]],
    hashes: np.ndarray,
    phantoms: bool,
) -> None:
    """Write the columns and ``index.json`` into an empty folder, byte for byte the same for the same input.

    Parameters
    ----------
    folder
        Exists and is empty.
    frame
        Checked records.
    rows
        Those to be kept, ascending positions in ``frame`` ``(N,)``.
    places
        Part and row of their images, ``(N, 2)``.
    image_shape, parts
        For ``index.json``.
    hashes
        SHA-256 of the image files, uint8 ``(N, 32)``.
    phantoms
        Whether the images are phantoms.
    """
    columns: list[dict[str, Any]] = []
    for name in frame.columns:
        if name not in _INTEGERS:
            columns.append(_write_text_column(folder, f"{len(columns):02d}", str(name), frame[name].iloc[rows]))
    _write_array(folder / "frame.npy", frame["frame"].to_numpy(np.int32)[rows])
    _write_array(folder / "fold.npy", frame["fold"].fillna(-1).to_numpy(np.int32)[rows])
    _write_array(folder / "record.npy", rows.astype(np.int32))
    _write_array(folder / "places.npy", places.astype(np.int32))
    _write_array(folder / "content.npy", _content(frame, rows, hashes))
    header = {
        "format": INDEX_FORMAT,
        "records": len(rows),
        "phantoms": phantoms,
        "mask_rules": RULES,
        "image_shape": list(image_shape),
        "parts": list(parts),
        "columns": columns,
        "files": {file.name: [file.stat().st_size, file_digest(file)] for file in sorted(folder.iterdir())},
    }
    with open(folder / INDEX_FILE, "w", encoding="utf-8", newline="\n") as stream:
        json.dump(header, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())


def _write_text_column(folder: Path, file: str, name: str, cells: pd.Series) -> dict[str, Any]:
    codes, distinct = pd.factorize(cells, sort=True)
    if len(distinct) <= _MOST_CODES or name in _ALWAYS_CODED:
        kind = np.min_scalar_type(max(len(distinct) - 1, 0))
        _write_array(folder / f"{file}.codes.npy", codes.astype(kind))
        return {"name": name, "kind": "codes", "file": file, "values": [str(value) for value in distinct]}
    offsets = np.zeros(len(cells) + 1, np.int64)
    with open(folder / f"{file}.text", "wb") as stream:
        for start in range(0, len(cells), _ROWS_AT_ONCE):
            encoded = [cell.encode("utf-8", "surrogateescape") for cell in cells.iloc[start : start + _ROWS_AT_ONCE]]
            stream.write(b"".join(encoded))
            offsets[start + 1 : start + 1 + len(encoded)] = [len(cell) for cell in encoded]
        stream.flush()
        os.fsync(stream.fileno())
    _write_array(folder / f"{file}.offsets.npy", np.cumsum(offsets))
    return {"name": name, "kind": "text", "file": file}


def _content(frame: pd.DataFrame, rows: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    content = np.empty((len(rows), CONTENT_BYTES), np.uint8)
    encode = json.JSONEncoder().encode
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = frame.iloc[rows[start : start + _ROWS_AT_ONCE]]
        planes = part[PLANE].tolist() if PLANE in part else [""] * len(part)
        cells = zip(part["image"].to_numpy(), part["frame"].tolist(), part["mask"].to_numpy(), planes, strict=True)
        digests = []
        for place, (image, number, mask, plane) in enumerate(cells, start):
            masks = [Path(path).name for path in mask.split(MASK_SEPARATOR) if path]
            name = os.path.basename(image) or Path(image).name  # noqa: PTH119  # a million times
            described = encode([name, number, *([plane] if plane else []), *masks]).encode() + hashes[place].tobytes()
            digests.append(hashlib.blake2b(described, digest_size=CONTENT_BYTES).digest())
        found = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, CONTENT_BYTES)
        content[start : start + len(found)] = found
    return content


def _write_array(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as stream:
        np.save(stream, array)
        stream.flush()
        os.fsync(stream.fileno())


def _damaged_index(path: Path, cause: object) -> StoreError:
    return StoreError(
        f"the index of a sealed store, {path}, cannot be read ({cause}); seal the store again with 'radimagenet pack'"
    )
