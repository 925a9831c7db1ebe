"""One part of a packed store: how it is built, checked for completeness, and read back."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.core.errors import StoreError
from radimagenet_monai.store.mapped_images import damaged_part, open_images
from radimagenet_monai.store.packed_row import Row

KEY_BYTES = 16
HASH_BYTES = 32
PART_BYTES = 2**30
"""A part holds as many rows as fit into so many bytes: large enough to be few files, small enough to be made again."""

BUILDING = ".building-"

_PART = "part-"
_IMAGES, _KEYS, _HASHES, _UNREADABLE = "images.npy", "keys.npy", "hashes.npy", "unreadable.json"
_QUESTIONS = "questions.json"
_VERIFIED_AT_ONCE = 256  # rows

KnownReason = tuple[str, int | None, str, str]
"""Image, frame, stage and cause of an image that could not be packed: a line of ``quarantine.csv``."""


@dataclass(frozen=True)
class Target:
    """Where workers write rows: a file that already has its full length.

    Attributes
    ----------
    path
        Path of ``images.npy``.
    first_byte
        Byte offset of row 0.
    shape
        Rows, columns and channels of each row, uint8.
    """

    path: str
    first_byte: int
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Damage:
    """A row of a part that is not what was written, or with no row a file that cannot be read."""

    part: str
    row: int | None
    cause: str


class NewPart:
    """A part being written, in a hidden folder that becomes ``part-N`` when complete.

    Parameters
    ----------
    folder
        Folder of the store's size and transform.
    number
        Number of the part.
    keys
        uint8 ``(rows, 16)``: the images that the rows are meant for.
    shape
        Rows, columns and channels of an image.

    Raises
    ------
    OSError
        If there is no room for it.
    """

    def __init__(self, folder: Path, number: int, keys: np.ndarray, shape: tuple[int, int, int]) -> None:
        self.number = number
        self._unreadable: dict[bytes, KnownReason] = {}
        self._questions: dict[str, list[int]] = {}
        self._wanted = keys
        self._images: Any = None
        self._keys = np.zeros_like(keys)
        self._hashes = np.zeros((len(keys), 2, HASH_BYTES), np.uint8)
        self._folder = folder
        self._building = folder / f"{BUILDING}{os.getpid()}-{number:05d}"
        try:
            self._building.mkdir()
            self._images = open(self._building / _IMAGES, "wb")  # noqa: SIM115  # until it is finished or discarded
            np.lib.format.write_array_header_1_0(
                self._images, {"descr": "|u1", "fortran_order": False, "shape": (len(keys), *shape)}
            )
            self._images.flush()
            self.target = Target(os.fspath(self._building / _IMAGES), self._images.tell(), shape)
            _reserve(self._images.fileno(), self.target.first_byte + len(keys) * int(np.prod(shape)))
        except BaseException:
            self.discard()
            raise

    @property
    def is_empty(self) -> bool:
        """Whether no row has been filled."""
        return not self._keys.any()

    def fill(self, row: int, packed: Row) -> None:
        """Note that a row has been written; its pixels are written here if no worker has done so."""
        if packed.pixels is not None:
            write_row(self._images.fileno(), self.target, row, packed.pixels)
        self._keys[row] = self._wanted[row]
        self._hashes[row] = np.frombuffer(packed.hashes, np.uint8).reshape(2, HASH_BYTES)
        for question in packed.questions:
            self._questions.setdefault(question, []).append(row)

    def leave_empty(self, row: int, reason: KnownReason) -> None:
        """Note why a row has not been written."""
        self._unreadable[self._wanted[row].tobytes()] = reason

    def finish(self) -> None:
        """Flush the part to disk and rename it.

        Raises
        ------
        OSError
            If writing to disk fails.
        """
        try:
            with self._images as images:
                os.fsync(images.fileno())
            write_arrays(self._building, self._keys, self._hashes)
            if self._unreadable:
                with open(self._building / _UNREADABLE, "w", encoding="utf-8") as stream:
                    json.dump(entries_of(self._unreadable), stream, indent=0)
                    _flush(stream)
            if self._questions:
                rows = {question: sorted(self._questions[question]) for question in sorted(self._questions)}
                with open(self._building / _QUESTIONS, "w", encoding="utf-8") as stream:
                    json.dump(rows, stream, indent=0)
                    _flush(stream)
            self._building.replace(self._folder / f"{_PART}{self.number:05d}")
            _flush_folder(self._folder)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the part; does nothing if it is finished."""
        if self._images is not None:
            self._images.close()
        shutil.rmtree(self._building, ignore_errors=True)


def write_arrays(part: Path, keys: np.ndarray, hashes: np.ndarray) -> None:
    """Write and flush the keys and hashes of a part.

    Raises
    ------
    OSError
        If writing to disk fails.
    """
    for name, array in ((_KEYS, keys), (_HASHES, hashes)):
        with open(part / name, "wb") as stream:
            np.save(stream, array)
            _flush(stream)


def write_row(descriptor: int, target: Target, row: int, pixels: np.ndarray) -> None:
    """Write a row to its place in an open file.

    Raises
    ------
    OSError
        If writing to disk fails.
    """
    content = np.ascontiguousarray(pixels).data.cast("B")
    place = target.first_byte + row * len(content)
    while content:
        written = os.pwrite(descriptor, content, place)
        content, place = content[written:], place + written


def rows_of_a_part(shape: tuple[int, int, int]) -> int:
    """How many rows of that shape a part holds at most."""
    return max(1, PART_BYTES // int(np.prod(shape)))


def rows_in(part: Path) -> int:
    """Number of rows in a finished part; 0 if it is damaged."""
    try:
        return len(open_images(part / _IMAGES))
    except StoreError:
        return 0


def part_folders(folder: Path) -> list[Path]:
    """The finished parts of a store's size and transform, by number."""
    return sorted(folder.glob(f"{_PART}[0-9]*"))


def part_number(part: Path) -> int:
    """The number in a part's name."""
    return int(part.name.removeprefix(_PART))


def images_file(part: Path) -> Path:
    """The memory-mapped file of a part."""
    return part / _IMAGES


def read_keys(part: Path) -> np.ndarray:
    """Key of the image in each row, uint8 ``(rows, 16)``; zeros for an empty row.

    Raises
    ------
    StoreError
        If the part is damaged.
    """
    keys = _read_array(part / _KEYS, (KEY_BYTES,))
    if len(keys) != len(open_images(part / _IMAGES)):
        raise damaged_part(part / _KEYS, "not as many keys as images")
    return keys


def read_hashes(part: Path) -> np.ndarray:
    """SHA-256 of each row's source file and of the row itself, uint8 ``(rows, 2, 32)``; zeros for no row.

    The hash of a source that is a folder is that of the lines ``path NUL hash`` of the files in it.

    Raises
    ------
    StoreError
        If the part is damaged.
    """
    return _read_array(part / _HASHES, (2, HASH_BYTES))


def has_unreadable(part: Path) -> bool:
    """Whether any image that was meant for this part could not be packed."""
    return (part / _UNREADABLE).exists()


def read_unreadable(part: Path) -> dict[bytes, KnownReason]:
    """Images that were meant for this part and could not be packed, by key.

    Raises
    ------
    StoreError
        If the part is damaged.
    """
    try:
        return reasons_of(json.loads((part / _UNREADABLE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise damaged_part(part / _UNREADABLE, error) from error


def read_questions(part: Path) -> dict[str, list[int]]:
    """The rows of a part that are doubtful, by question; none in parts that were packed before these were asked.

    Raises
    ------
    StoreError
        If the part is damaged.
    """
    try:
        found = json.loads((part / _QUESTIONS).read_text(encoding="utf-8"))
        return {str(question): [int(row) for row in rows] for question, rows in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise damaged_part(part / _QUESTIONS, error) from error


def entries_of(reasons: Mapping[bytes, KnownReason]) -> dict[str, list[Any]]:
    """Reasons as a JSON value, in the same order for the same reasons."""
    return dict(sorted((key.hex(), list(reason)) for key, reason in reasons.items()))


def reasons_of(entries: Mapping[str, Sequence[Any]]) -> dict[bytes, KnownReason]:
    """What `entries_of` was given."""
    return {bytes.fromhex(key): (image, frame, stage, why) for key, (image, frame, stage, why) in entries.items()}


def verify_part(part: Path, num_threads: int) -> Iterator[tuple[int, list[Damage]]]:
    """Read a part again; gives how many rows were read since the last time, and those that are damaged.

    Parameters
    ----------
    num_threads
        Number of hashing threads.
    """
    try:
        keys, hashes, images = read_keys(part), read_hashes(part), open_images(part / _IMAGES)
        if len(hashes) != len(images):
            raise damaged_part(part / _HASHES, "not as many hashes as images")
    except StoreError as error:
        yield 0, [Damage(part.name, None, str(error))]
        return
    filled = np.asarray(keys.any(axis=1))

    def damaged_rows(start: int) -> tuple[int, list[Damage]]:
        found = []
        rows = range(start, min(start + _VERIFIED_AT_ONCE, len(images)))
        for row in rows:
            image = np.ascontiguousarray(images[row])
            if not filled[row]:
                if image.any():
                    found.append(Damage(part.name, row, "no image belongs here, yet the row is not empty"))
            elif hashlib.sha256(image.data).digest() != hashes[row, 1].tobytes():
                found.append(Damage(part.name, row, "its SHA-256 is another than when it was packed"))
        return len(rows), found

    with ThreadPoolExecutor(max(1, num_threads)) as threads:
        yield from threads.map(damaged_rows, range(0, len(images), _VERIFIED_AT_ONCE))


def _read_array(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
        if array.dtype != np.uint8 or array.shape[1:] != shape:
            raise ValueError(f"{array.dtype} of shape {array.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise damaged_part(path, error) from error
    return array


def _reserve(descriptor: int, length: int) -> None:
    """Make a disk that is too small fail at once and not after hours."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, length)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    os.ftruncate(descriptor, length)


def _flush(stream: Any) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every system opens folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
