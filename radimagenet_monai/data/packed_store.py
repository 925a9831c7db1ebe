"""Canonical images kept as uint8 in memory-mapped files, made once and shared by all datasets of an experiment.

On disk::

    store_dir/
        quarantine.csv               images that the last packing knew as unreadable: image, frame, stage, cause
        224x224-1f0c…/               one folder for each size and transform
            manifest.json            format, size and transform, to be read by people
            unreadable.json          what could not be packed, by key
            part-00000/
                images.npy           uint8 (rows of the part, H, W, C)
                keys.npy             uint8 (rows of the part, 16): which image each row holds
            part-00001/ …

A part is written in a hidden folder beside it, reaches the disk, and is then renamed; it never changes afterwards.
So a kill, a full disk or a crash leaves parts that are whole, and a hidden folder that the next writer removes. A row
is found by its key: path, frame, size and modification time of the file (and its SHA-256 where the record gives one).
Train, validation and test sets, all folds, and any other subset are therefore views of one store: opening one packs
only the images that no part holds yet, as one new part. Labels and all other columns stay in the records. Opening the
largest set first gives a single file. Rows of files that have changed since are never read again; delete the folder,
which is only a cache, to have their space back.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
from monai.transforms import Compose

from radimagenet_monai.data.augmentation import AffineAugmentation
from radimagenet_monai.data.filling import Job, Packer, Progress, Unreadable, pack_all
from radimagenet_monai.data.fingerprint import Stamp, describe_transform, digest, file_stamp, image_key
from radimagenet_monai.data.packed_images import MappedParts, PackedImages, damaged_part, open_images
from radimagenet_monai.datasets.records import mask_file
from radimagenet_monai.errors import ConfigurationError, RecordsError, StoreError, one_line
from radimagenet_monai.io.atomic import atomic_open, atomic_write_text

logger = logging.getLogger(__name__)

FORMAT = 1
QUARANTINE_FILE = "quarantine.csv"

_KEY_BYTES = 16
_LARGEST_EDGE = 8192
_PART = "part-"
_BUILDING = ".building-"
_UNREADABLE_FILE = "unreadable.json"
_Scalar = bool | int | float | str | None


class PackedStore:
    """The parts of one size and transform in a store folder, with what is needed to add to them.

    Parameters
    ----------
    store_dir
        Folder for stores, created when missing; it may hold stores of several sizes and transforms.
    transform
        Deterministic dictionary transform, or a sequence of them, that gives the canonical image under ``image_key``:
        floating point ``(C, H, W)`` in [0, 1], C = 1 or 3, upright. It sees only the image, the frame and
        ``transform_keys`` of a record.
    image_size
        Rows and columns, or one number for both.
    keep_aspect
        ``False`` stretches to ``image_size`` as the protocol does; ``True`` fits inside it on black.
    image_key, frame_key
        Record keys of the path and of the frame.
    transform_keys
        Further record keys (with JSON values) that the transform reads; a change of theirs repacks the image.
    path_keys
        Those of ``transform_keys`` that hold a mask reference or a list of them; a change of these files repacks the
        image, too.
    with_mask
        The last channel of the transform's result is a mask: C = 2 or 4.
    num_workers
        Processes that pack; ``None``: one for each core; 0: this process.
    progress
        ``True``: a bar on a terminal; ``"lines"``: elsewhere a log line now and then; ``False``: nothing.

    Raises
    ------
    ConfigurationError
        For a random transform or an impossible size.
    """

    def __init__(
        self,
        store_dir: str | os.PathLike[str],
        transform: Callable[..., Any] | Sequence[Callable[..., Any]],
        image_size: int | Sequence[int],
        keep_aspect: bool = False,
        image_key: str = "image",
        frame_key: str = "frame",
        transform_keys: Sequence[str] = (),
        num_workers: int | None = None,
        progress: Progress = True,
        path_keys: Sequence[str] = (),
        with_mask: bool = False,
    ) -> None:
        self.size = _rows_and_columns(image_size)
        self.image_key = image_key
        self.frame_key = frame_key
        self.transform_keys = tuple(transform_keys)
        self.path_keys = tuple(path_keys)
        self.num_workers = _cores() if num_workers is None else num_workers
        self.progress = progress
        if isinstance(transform, Sequence):
            transform = Compose(transform)
        self._packer = Packer(transform, image_key, self.size, keep_aspect, with_mask)
        self.manifest = {
            "format": FORMAT,
            "image_size": list(self.size),
            "keep_aspect": keep_aspect,
            "image_key": image_key,
            "transform_keys": list(self.transform_keys),
            **describe_transform(transform),
        }
        self.store_dir = Path(store_dir)
        self.folder = self.store_dir / f"{self.size[0]}x{self.size[1]}-{digest(self.manifest)[:16]}"
        self._stamps: dict[str, Stamp] = {}

    def keys(self, records: Sequence[Mapping[str, Any]]) -> list[bytes]:
        """Key of each record in the present state of its file.

        Raises
        ------
        RecordsError
            If a record has no path, or its frame is no number.
        """
        # Stamps are taken anew each time, but once a file: a multi-frame file has many records.
        self._stamps = {}
        return [self._key(record, position) for position, record in enumerate(records)]

    def rows(self, keys: Sequence[bytes]) -> np.ndarray:
        """Part and row of each key, int64 ``(N, 2)``; -1 where no part holds it.

        Raises
        ------
        StoreError
            If a part is damaged.
        """
        places: dict[bytes, tuple[int, int]] = {}
        for part, folder in enumerate(self._parts()):
            places.update((key, (part, row)) for row, key in enumerate(_read_keys(folder)))
        return np.array([places.get(key, (-1, -1)) for key in keys], dtype=np.int64).reshape(-1, 2)

    def image_files(self) -> list[Path]:
        """The memory-mapped file of each part, in the order of `rows`."""
        return [folder / "images.npy" for folder in self._parts()]

    def unreadable(self) -> dict[bytes, Unreadable]:
        """What is known not to be packable, and why, by key."""
        return {key: Unreadable(stage, cause) for key, (_, _, stage, cause) in self._read_unreadable().items()}

    def add(self, records: Sequence[Mapping[str, Any]], keys: Sequence[bytes], retry_unreadable: bool) -> None:
        """Pack the records whose keys no part holds, as one new part, and write ``quarantine.csv``.

        A second process that wants to add to the same store waits until the first has finished, and then finds
        its images there.

        Parameters
        ----------
        retry_unreadable
            Whether images that are known to be unreadable are tried once more.

        Raises
        ------
        StoreError
            If the store cannot be written or a worker dies. Nothing half-written is left.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock():
                self._remove_abandoned()
                if not (self.folder / "manifest.json").exists():
                    text = json.dumps(self.manifest, indent=2, ensure_ascii=False, sort_keys=True)
                    atomic_write_text(self.folder / "manifest.json", text + "\n")
                self._add_locked(records, keys, retry_unreadable)
        except OSError as error:
            raise StoreError(
                f"packed store {self.folder} cannot be written: {error.strerror or error}; "
                "free some space or choose another store_dir that you may write to"
            ) from error

    def _add_locked(self, records: Sequence[Mapping[str, Any]], keys: Sequence[bytes], retry_unreadable: bool) -> None:
        # A file that was repaired or changed has a new key: what was known of its former state is of no use.
        present = {
            (str(record[self.image_key]), self._frame(record)): key for key, record in zip(keys, records, strict=True)
        }
        known = {key: entry for key, entry in self._read_unreadable().items() if present.get(entry[:2], key) == key}
        wanted: dict[bytes, Mapping[str, Any]] = {}
        for key, record, (part, _) in zip(keys, records, self.rows(keys).tolist(), strict=True):
            if part < 0 and (retry_unreadable or key not in known):
                wanted.setdefault(key, record)
        if wanted:
            failures = self._write_part(wanted)
            for key, record in wanted.items():
                known.pop(key, None)
                if key in failures:
                    reason = failures[key]
                    known[key] = (str(record[self.image_key]), self._frame(record), reason.stage, reason.cause)
        self._write_unreadable(known)

    def _write_part(self, wanted: Mapping[bytes, Mapping[str, Any]]) -> dict[bytes, Unreadable]:
        """Pack into a new part; the row of an image that is unreadable stays empty. Returns the unreadable."""
        parts = self._parts()
        channels = open_images(parts[0] / "images.npy").shape[3] if parts else None
        order = list(wanted)
        jobs = [Job(self._visible(record), _text(record.get("sha256"))) for record in wanted.values()]
        keys = np.zeros((len(order), _KEY_BYTES), np.uint8)
        failures: dict[bytes, Unreadable] = {}
        building = self.folder / f"{_BUILDING}{os.getpid()}"
        try:
            building.mkdir()
            with open(building / "images.npy", "wb") as images:
                first_row = 0
                for position, row in pack_all(self._packer, jobs, self.num_workers, self.progress):
                    if isinstance(row, Unreadable):
                        failures[order[position]] = row
                        continue
                    if channels is not None and row.shape[2] != channels:
                        raise StoreError(
                            f"{jobs[position].record[self.image_key]}: the transform gave {row.shape[2]} channels, "
                            f"other images of the store have {channels}; let it give the same number for all"
                        )
                    if not first_row:
                        channels = row.shape[2]
                        first_row = _write_header(images, (len(order), *row.shape))
                        _reserve(images.fileno(), first_row + len(order) * row.nbytes)
                    images.seek(first_row + position * row.nbytes)
                    images.write(row.tobytes())
                    keys[position] = np.frombuffer(order[position], np.uint8)
                _flush(images)
            if first_row:
                with open(building / "keys.npy", "wb") as stream:
                    np.save(stream, keys)
                    _flush(stream)
                number = int(parts[-1].name.removeprefix(_PART)) + 1 if parts else 0
                building.replace(self.folder / f"{_PART}{number:05d}")
                _flush_folder(self.folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return failures

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob(f"{_PART}[0-9]*"))

    def _key(self, record: Mapping[str, Any], position: int) -> bytes:
        if not isinstance(record.get(self.image_key), str | os.PathLike):
            raise RecordsError(
                f"record {position}: expected a path under {self.image_key!r}, found {record.get(self.image_key)!r}"
            )
        path = os.fspath(record[self.image_key])
        extra: list[Any] = [record.get(key) for key in self.transform_keys]
        extra += [self._stamp(file) for key in self.path_keys for file in _paths(record.get(key))]
        return image_key(path, self._frame(record), self._stamp(path), _text(record.get("sha256")), extra)

    def _stamp(self, path: str) -> Stamp:
        if path not in self._stamps:
            try:
                self._stamps[path] = file_stamp(path)
            except OSError:
                self._stamps[path] = "missing"  # packing gives the reason, and an image that comes back a new key
        return self._stamps[path]

    def _frame(self, record: Mapping[str, Any]) -> int | None:
        frame = record.get(self.frame_key)
        if frame is None or frame == "" or frame != frame:  # an empty table cell is read as NaN
            return None
        try:
            return int(frame)
        except (TypeError, ValueError):
            raise RecordsError(
                f"{record[self.image_key]}: expected a number under {self.frame_key!r}, found {frame!r}"
            ) from None

    def _visible(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """What the transform may see of a record: nothing that the key does not cover."""
        visible = {self.image_key: os.fspath(record[self.image_key])}
        frame = self._frame(record)
        if frame is not None:
            visible[self.frame_key] = frame
        visible.update((key, record[key]) for key in self.transform_keys if key in record)
        return visible

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        lock = filelock.FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            logger.info("waiting for another process that is filling %s", self.folder)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _remove_abandoned(self) -> None:
        """Remove what killed builders left; whoever holds the lock knows that none is alive."""
        for folder in self.folder.glob(f"{_BUILDING}*"):
            shutil.rmtree(folder)
        for file in self.folder.glob(".*.part"):
            file.unlink()

    def _read_unreadable(self) -> dict[bytes, tuple[str, int | None, str, str]]:
        try:
            entries = json.loads((self.folder / _UNREADABLE_FILE).read_text(encoding="utf-8"))
            return {
                bytes.fromhex(key): (image, frame, stage, why) for key, (image, frame, stage, why) in entries.items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, AttributeError) as error:
            raise damaged_part(self.folder / _UNREADABLE_FILE, error) from error

    def _write_unreadable(self, known: Mapping[bytes, tuple[str, int | None, str, str]]) -> None:
        entries = dict(sorted((key.hex(), list(entry)) for key, entry in known.items()))
        quarantine = self.store_dir / QUARANTINE_FILE
        if not entries:
            (self.folder / _UNREADABLE_FILE).unlink(missing_ok=True)
            quarantine.unlink(missing_ok=True)
            return
        atomic_write_text(self.folder / _UNREADABLE_FILE, json.dumps(entries, indent=0, ensure_ascii=False))
        with atomic_open(quarantine, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(["image", "frame", "stage", "cause"])
            by_image = sorted(known.values(), key=lambda entry: (entry[0], entry[1] or 0))
            table.writerows(by_image)


class PackedDataset(PackedImages):
    """Dictionary items with a uint8 image out of a `PackedStore`; takes the place of MONAI's dataset classes.

    Every image is read and transformed once, before the first epoch, by worker processes; afterwards an item costs a
    copy out of a memory-mapped file. It is made of plain arrays and paths, so it goes to forked and spawned workers.

    An item, ``dataset[i]`` or ``dataset[SampleKey(epoch, i)]`` (a plain index is epoch 0), holds the image (under
    ``image_key``) as uint8 ``(C, H, W)``, 255 for 1.0; ``index`` (int), the place in `data`; ``epoch`` (int); and
    every other column that holds only numbers, strings, booleans and None, such as ``label``; a column of lists of
    numbers, such as the labels of several findings, becomes float32 vectors. With ``with_mask`` the last channel is the
    mask. A slice or a list of indices gives a ``torch.utils.data.Subset``, as in MONAI.

    Parameters
    ----------
    data
        May be empty, as in a workflow that is built without data to be checked; nothing is written then. Else one
        dictionary an image: a path under ``image_key``, optionally a frame under ``frame_key`` and the file's
        ``sha256`` (then checked), and free columns.
    transform, store_dir, image_size, keep_aspect, image_key, frame_key, transform_keys, num_workers
        As for `PackedStore`.
    progress, path_keys, with_mask
        As for `PackedStore`.
    unreadable
        ``"stop"``: raise if any image cannot be packed, after all have been tried and listed in
        ``store_dir/quarantine.csv``. ``"skip"``: leave them out, with one warning.
    augmentation
        Applied to each image on the CPU, in uint8. Leave it out to augment whole batches on the device instead
        (`PrepareBatch`).

    Attributes
    ----------
    data : list of dict
        The records in use; `unreadable` ones are gone when skipped.

    Raises
    ------
    StoreError
        If images are unreadable, all of them or any with ``"stop"``; if the store cannot be written or is damaged.
    RecordsError
        If a record has no path or a column named ``index`` or ``epoch``.
    ConfigurationError
        As `PackedStore`, and for an unknown value of ``unreadable``.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[..., Any] | Sequence[Callable[..., Any]],
        store_dir: str | os.PathLike[str],
        image_size: int | Sequence[int],
        keep_aspect: bool = False,
        image_key: str = "image",
        frame_key: str = "frame",
        transform_keys: Sequence[str] = (),
        num_workers: int | None = None,
        unreadable: Literal["stop", "skip"] = "stop",
        augmentation: AffineAugmentation | None = None,
        progress: Progress = True,
        path_keys: Sequence[str] = (),
        with_mask: bool = False,
    ) -> None:
        if unreadable not in ("stop", "skip"):
            raise ConfigurationError(f"unreadable={unreadable!r}: expected 'stop' or 'skip'")
        for taken in ("index", "epoch"):
            if data and taken in data[0]:
                raise RecordsError(f"records have a column {taken!r}, which the dataset gives itself; rename it")
        store = PackedStore(
            store_dir,
            transform,
            image_size,
            keep_aspect,
            image_key,
            frame_key,
            transform_keys,
            num_workers,
            progress,
            path_keys,
            with_mask,
        )
        keys = store.keys(data)
        places = store.rows(keys)
        if self._is_incomplete(store, keys, places, unreadable):
            store.add(data, keys, retry_unreadable=unreadable == "stop")
            places = store.rows(keys)
        present = places[:, 0] >= 0
        if not present.all():
            self._report(store, data, keys, present, unreadable)
        kept = [_plain(record) for record, there in zip(data, present.tolist(), strict=True) if there]
        not_scalar = {key for record in kept for key, value in record.items() if not isinstance(value, _Scalar)}
        vectors = {key for key in not_scalar if all(_is_vector(record.get(key)) for record in kept)}
        source = MappedParts(store.image_files())
        super().__init__(kept, source, places[present], not_scalar, vectors, augmentation, image_key)

    @staticmethod
    def _is_incomplete(store: PackedStore, keys: Sequence[bytes], places: np.ndarray, unreadable: str) -> bool:
        missing = [key for key, (part, _) in zip(keys, places.tolist(), strict=True) if part < 0]
        # Known reasons are good enough to skip an image; before stopping, see whether they still hold.
        known = store.unreadable() if missing and unreadable == "skip" else {}
        return any(key not in known for key in missing)

    @staticmethod
    def _report(
        store: PackedStore,
        data: Sequence[Mapping[str, Any]],
        keys: Sequence[bytes],
        present: np.ndarray,
        unreadable: str,
    ) -> None:
        missing = np.flatnonzero(~present)
        first = int(missing[0])
        reason = store.unreadable()[keys[first]]
        which = (
            f"{len(missing)} of {len(data)} images cannot be packed, the first: {data[first][store.image_key]} "
            f"({reason.stage}): {reason.cause}; all are listed in {store.store_dir / QUARANTINE_FILE}"
        )
        if len(missing) == len(data):
            raise StoreError(f"{which}; no image is left, so look at the causes first")
        if unreadable == "stop":
            raise StoreError(f"{which}; repair them, or leave them out with --unreadable skip")
        logger.warning("%s; left out", one_line(which))


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in record.items()}


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(number) in (int, float) for number in value)


def _paths(value: Any) -> list[str]:
    references = value if isinstance(value, list | tuple) else [value] if value else []
    return [mask_file(str(reference)) for reference in references]


def _rows_and_columns(image_size: int | Sequence[int]) -> tuple[int, int]:
    edges = [image_size, image_size] if isinstance(image_size, int) else list(image_size)
    if len(edges) != 2 or not all(isinstance(edge, int) and 0 < edge <= _LARGEST_EDGE for edge in edges):
        raise ConfigurationError(
            f"image_size={image_size!r}: expected (rows, columns) or one number, each from 1 to {_LARGEST_EDGE}"
        )
    return edges[0], edges[1]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _read_keys(part: Path) -> list[bytes]:
    path = part / "keys.npy"
    try:
        keys = np.load(path, allow_pickle=False)
        if keys.dtype != np.uint8 or keys.ndim != 2 or keys.shape[1] != _KEY_BYTES:
            raise ValueError(f"{keys.dtype} of shape {keys.shape}")
        if len(keys) != len(open_images(part / "images.npy")):
            raise ValueError("not as many keys as images")
    except (OSError, ValueError, EOFError) as error:
        raise damaged_part(path, error) from error
    return [row.tobytes() for row in keys]


def _write_header(stream: Any, shape: tuple[int, ...]) -> int:
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return int(stream.tell())


def _reserve(descriptor: int, length: int) -> None:
    """Let a disk that is too small fail at once and not after hours."""
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
