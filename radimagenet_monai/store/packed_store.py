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
                hashes.npy           uint8 (rows of the part, 2, 32): SHA-256 of its source file and of the row
                unreadable.json      images whose rows are empty, where there are any
                questions.json       rows whose values are doubtful, by question, where there are any
            part-00001/ …
            index/                   the records themselves, once `radimagenet_monai.store.sealed.sealing` has sealed it

Images are packed in record order into parts with a fixed number of images, about 1 GiB. A part is
written in a hidden folder beside it, reaches the disk, and is then renamed; it never changes afterwards. So a kill, a
full disk or a crash leaves parts that are whole, and hidden folders that the next writer removes; it goes on with the
first image that no part was meant for, and ends with the same files, byte for byte, as without the interruption. Images
that were unreadable are tried again last, so that they never move others.

A row is found by its key: path, frame, size and modification time of the file (and its SHA-256 where the record gives
one; in a store of release 0.1, whether the image is made otherwise today, see `first_release`). Train, validation and
test sets, all folds, and any other subset are therefore views of one store: opening one packs only the images that no
part holds yet, as new parts. Labels and all other columns stay in the records. Rows of files that have changed since
are never read again; delete the folder, which is only a cache, to have their space back.

One process at a time adds to a folder, on one machine or many: a lock file makes the others wait. Its file system has
to honor locks; of network file systems, NFS 4 and Lustre mounted with ``flock`` do.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import functools
import itertools
import json
import logging
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
from monai.transforms import Compose

from radimagenet_monai.core.atomic import atomic_open, atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError, RecordsError, StoreError
from radimagenet_monai.core.transform_steps import flattened
from radimagenet_monai.core.workers import WorkerPool, available_cores, only_process
from radimagenet_monai.datasets import masks
from radimagenet_monai.datasets.records.table import PLANE
from radimagenet_monai.intensity import AutoIntensityd
from radimagenet_monai.intensity.values.ct_region import REGION_KEY
from radimagenet_monai.io.geometry import PlaneChoice
from radimagenet_monai.store.fingerprint import Stamp, describe_transform, digest, file_stamp, image_key
from radimagenet_monai.store.first_release import MARK, changes_since, is_of_first_release
from radimagenet_monai.store.mapped_images import damaged_part, open_images
from radimagenet_monai.store.packed_part import (
    BUILDING,
    KEY_BYTES,
    Damage,
    KnownReason,
    NewPart,
    entries_of,
    has_unreadable,
    images_file,
    part_folders,
    part_number,
    read_keys,
    read_questions,
    read_unreadable,
    reasons_of,
    rows_in,
    rows_of_a_part,
    verify_part,
)
from radimagenet_monai.store.packed_row import Packer, Progress, Row, Unreadable
from radimagenet_monai.store.packing_progress import PackingProgress
from radimagenet_monai.store.packing_workers import Job, packing_pool

logger = logging.getLogger(__name__)

FORMAT = 2
QUARANTINE_FILE = "quarantine.csv"

_WHITE_KEY = "white_level"  # what `radimagenet_monai.datasets.records.white_level` decided
_LARGEST_EDGE = 8192
_UNREADABLE_FILE = "unreadable.json"
_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp")
_KEYS_AT_ONCE = 8192  # records
_STAMPS = 65_536  # files whose state is kept in mind while keys are made: those of a multi-frame file come together


class PackedStore:
    """The parts of one size and transform in a store folder, with what is needed to add to them.

    Parameters
    ----------
    store_dir
        Folder for stores, created when missing; it may hold stores of several sizes and transforms.
    transform
        Deterministic dictionary transform, or a sequence of them, that gives the canonical image under ``image_key``:
        floating point ``(C, H, W)`` in [0, 1], C = 1 or 3, upright. It sees only the image, the frame with its
        ``plane``, ``transform_keys`` and, where it goes by the region of CT images, the ``region`` of a record.
    image_size
        Rows and columns, or one number for both.
    keep_aspect
        ``False`` stretches to ``image_size`` as the protocol does; ``True`` fits inside it on black.
    image_key, frame_key
        Record keys of the path and of the frame.
    transform_keys
        Further record keys (with JSON values) that the transform reads; a changed value repacks the image.
    path_keys
        Those of ``transform_keys`` that hold one or more mask references; changes to these files also repack it.
    with_mask
        The last channel of the transform's result is a mask: C = 2 or 4.
    refuse_blank
        Treat images that are blank by `radimagenet_monai.intensity.checks.plausibility.is_blank` as unreadable.
    num_workers
        Number of packing processes; ``None``: one per core; 0: this process.
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
        refuse_blank: bool = False,
    ) -> None:
        self.size = _rows_and_columns(image_size)
        self.image_key = image_key
        self.frame_key = frame_key
        self.transform_keys = tuple(transform_keys)
        self.path_keys = tuple(path_keys)
        self.num_workers = available_cores() if num_workers is None else num_workers
        self.progress = progress
        if isinstance(transform, Sequence):
            transform = Compose(transform)
        self._by_region = _goes_by_region(transform)
        self._packer = Packer(transform, image_key, self.size, keep_aspect, with_mask, refuse_blank)
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

    def keys(self, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Key of each record in the present state of its file, uint8 ``(N, 16)``.

        Raises
        ------
        RecordsError
            If a record has no path, or its frame is no number.
        """
        old = is_of_first_release(self.folder / "manifest.json")
        make = functools.partial(self._keys_between, records, old)
        starts = range(0, len(records), _KEYS_AT_ONCE)
        processes = min(len(starts), self.num_workers) if multiprocessing.get_start_method() == "fork" else 0
        # Forked processes inherit the records; on a network disk, each waits for other files.
        with WorkerPool(make, processes if processes > 1 else 0, len(starts), _key_maker_died) as pool:
            keys = list(pool.map(starts))
        return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)

    def _keys_between(self, records: Sequence[Mapping[str, Any]], old: bool, start: int, _: None) -> bytes:
        stamp = functools.lru_cache(_STAMPS)(_stamp)  # taken on each call, but about once a file
        stop = min(start + _KEYS_AT_ONCE, len(records))
        return b"".join(self._key(records[position], position, stamp, old) for position in range(start, stop))

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """Part (in the order of their numbers) and row of each key, int64 ``(N, 2)``; -1 if no part holds it.

        Raises
        ------
        StoreError
            If a part is damaged.
        """
        parts = [read_keys(part) for part in part_folders(self.folder)]
        if not parts:
            return np.full((len(keys), 2), -1, np.int64)
        places = [np.stack([np.full(len(part), number), np.arange(len(part))], 1) for number, part in enumerate(parts)]
        return _looked_up(np.concatenate(parts), np.concatenate(places), keys)

    def questions(self, places: np.ndarray) -> dict[str, int]:
        """How many of the rows at ``places``, as `rows` gives them, have each question, most frequent first."""
        counts: Counter[str] = Counter()
        for number, part in enumerate(part_folders(self.folder)):
            wanted = np.unique(places[places[:, 0] == number, 1])
            for question, rows in read_questions(part).items():
                counts[question] += int(np.isin(wanted, rows).sum())
        return {question: count for question, count in counts.most_common() if count}

    def image_files(self) -> list[Path]:
        """The memory-mapped file of each part, in the order of `rows`."""
        return [images_file(part) for part in part_folders(self.folder)]

    def unreadable(self) -> dict[bytes, Unreadable]:
        """Images known to be unpackable, and why, by key."""
        return {key: Unreadable(stage, cause) for key, (_, _, stage, cause) in self._known_reasons().items()}

    def verify(self) -> list[Damage]:
        """Read all rows again and compare them with their hashes; returns the damaged ones.

        The folder of a damaged part can be deleted; packing again restores its images.
        """
        found: list[Damage] = []
        parts = part_folders(self.folder)
        with PackingProgress(sum(map(rows_in, parts)), self.progress, "verifying") as progress:
            for part in parts:
                for checked, damaged in verify_part(part, self.num_workers):
                    progress.update(checked)
                    found += damaged
        return found

    def add(self, records: Sequence[Mapping[str, Any]], keys: np.ndarray, retry_unreadable: bool) -> None:
        """Pack the records whose keys no part holds, as new parts, and write ``quarantine.csv``.

        A second process that wants to add to the same store waits until the first has finished, and then finds
        its images there. After an interruption, adding the same records goes on behind the last whole part.

        Parameters
        ----------
        records
            Records, accessed when handed to a worker, so that a table can create them lazily.
        keys
            Keys of the records, from `keys`.
        retry_unreadable
            Whether to retry images known to be unreadable, after all others.

        Raises
        ------
        StoreError
            If the store cannot be written or a worker dies. Nothing half-written is left.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.locked():
                self._remove_abandoned()
                if not (self.folder / "manifest.json").exists():
                    text = json.dumps({**self.manifest, MARK: "fitted"}, indent=2, ensure_ascii=False, sort_keys=True)
                    atomic_write_text(self.folder / "manifest.json", text + "\n")
                self._add_locked(records, keys, retry_unreadable)
        except OSError as error:
            raise StoreError(
                f"packed store {self.folder} cannot be written: {error.strerror or error}; "
                "free some space or choose another store_dir that you may write to"
            ) from error

    def _add_locked(self, records: Sequence[Mapping[str, Any]], keys: np.ndarray, retry_unreadable: bool) -> None:
        known = self._known_reasons()
        if known:
            known = self._still_true(known, records, keys)
        wanted = np.flatnonzero(self.rows(keys)[:, 0] < 0)
        wanted = wanted[_first_of_each(keys[wanted])]
        tried = np.fromiter((keys[position].tobytes() in known for position in wanted), bool, len(wanted))
        new, again = wanted[~tried], wanted[tried] if retry_unreadable else wanted[:0]
        images = len(new) + len(again)
        if images:
            with (
                packing_pool(self._packer, self.num_workers, images) as workers,
                PackingProgress(images, self.progress) as progress,
            ):
                for positions in (new, again):
                    self._write_parts(records, keys, positions, known, workers, progress)
        self._write_unreadable(known)

    def _write_parts(
        self,
        records: Sequence[Mapping[str, Any]],
        keys: np.ndarray,
        wanted: np.ndarray,
        known: dict[bytes, KnownReason],
        workers: WorkerPool[Job, Row | Unreadable],
        progress: PackingProgress,
    ) -> None:
        """Pack the records at the positions ``wanted``, and bring ``known`` up to date."""
        done: dict[int, Row | Unreadable] = {}
        shape = self._shape_of_parts()
        if shape is None:
            # How many channels the transform gives, only an image can tell; then the length of a part is known, too.
            for position in wanted.tolist():
                outcome = done[position] = next(workers.map([self._job(records[position], position)]))
                progress.update()
                if isinstance(outcome, Row) and outcome.pixels is not None:
                    shape = outcome.pixels.shape
                    break
        if shape is None:
            for position, outcome in done.items():
                self._note(outcome, records[position], keys[position], known)
            return
        self._require_space(len(wanted), shape)
        taken = {part_number(part) for part in part_folders(self.folder)}
        number = 0
        length = rows_of_a_part(shape)
        with ThreadPoolExecutor(1) as finisher:
            finishing: Future[None] | None = None
            for start in range(0, len(wanted), length):
                positions = wanted[start : start + length]
                while number in taken:
                    number += 1
                part = NewPart(self.folder, number, keys[positions], shape)
                try:
                    self._fill(part, records, positions.tolist(), keys, known, done, workers, progress)
                    # One part reaches the disk while the next one is filled, not more: the disk may be the slower.
                    if finishing is not None:
                        finishing.result()
                except BaseException:
                    part.discard()
                    raise
                if part.is_empty:
                    part.discard()
                    self._write_unreadable(known)  # no part remembers that these have been tried
                else:
                    taken.add(number)
                    finishing = finisher.submit(part.finish)
            if finishing is not None:
                finishing.result()

    def _fill(
        self,
        part: NewPart,
        records: Sequence[Mapping[str, Any]],
        positions: Sequence[int],
        keys: np.ndarray,
        known: dict[bytes, KnownReason],
        done: Mapping[int, Row | Unreadable],
        workers: WorkerPool[Job, Row | Unreadable],
        progress: PackingProgress,
    ) -> None:
        """Pack the records at ``positions`` into a part, but for those that are ``done``."""
        undone = [row for row, position in enumerate(positions) if position not in done]
        jobs = (self._job(records[positions[row]], row) for row in undone)
        packed = ((undone[number], outcome) for number, outcome in workers.run(jobs, part.target))
        outcomes = ((row, done[position]) for row, position in enumerate(positions) if position in done)
        for row, outcome in itertools.chain(outcomes, packed):
            position = positions[row]
            if isinstance(outcome, Row):
                part.fill(row, outcome)
            else:
                part.leave_empty(row, self._reason(outcome, records[position]))
            self._note(outcome, records[position], keys[position], known)
            if position not in done:
                progress.update()

    def _job(self, record: Mapping[str, Any], row: int) -> Job:
        return Job(row, self._visible(record), _text(record.get("sha256")))

    def _note(
        self,
        outcome: Row | Unreadable,
        record: Mapping[str, Any],
        key: np.ndarray,
        known: dict[bytes, KnownReason],
    ) -> None:
        if isinstance(outcome, Unreadable):
            known[key.tobytes()] = self._reason(outcome, record)
        elif known:
            known.pop(key.tobytes(), None)

    def _reason(self, outcome: Unreadable, record: Mapping[str, Any]) -> KnownReason:
        return str(record[self.image_key]), self._frame(record), outcome.stage, outcome.cause

    def _shape_of_parts(self) -> tuple[int, int, int] | None:
        parts = part_folders(self.folder)
        if not parts:
            return None
        rows, columns, channels = open_images(images_file(parts[0])).shape[1:]
        return rows, columns, channels

    def _require_space(self, rows: int, shape: tuple[int, int, int]) -> None:
        """Refuse a disk that is too small before hours of work."""
        needed, free = rows * int(np.prod(shape)), shutil.disk_usage(self.folder).free
        if needed > free:
            reason = f"{os.strerror(errno.ENOSPC)}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
            raise OSError(errno.ENOSPC, reason)

    def _still_true(
        self, known: Mapping[bytes, KnownReason], records: Sequence[Mapping[str, Any]], keys: np.ndarray
    ) -> dict[bytes, KnownReason]:
        """Without what is known of a former state of a file: one that was repaired or changed has a new key."""
        images = {reason[:2] for reason in known.values()}
        present = {}
        for position, record in enumerate(records):
            image = (str(record[self.image_key]), self._frame(record))
            if image in images:
                present[image] = keys[position].tobytes()
        return {key: reason for key, reason in known.items() if present.get(reason[:2], key) == key}

    def _key(self, record: Mapping[str, Any], position: int, stamp: Callable[[str], Stamp], old: bool) -> bytes:
        if not isinstance(record.get(self.image_key), str | os.PathLike):
            raise RecordsError(
                f"record {position}: expected a path under {self.image_key!r}, found {record.get(self.image_key)!r}"
            )
        path = os.fspath(record[self.image_key])
        extra: list[Any] = [record.get(key) for key in self.transform_keys]
        if plane := _plane(record):
            extra.append(plane)
        if region := self._region(record):
            extra.append([REGION_KEY, region])
        extra += [stamp(file) for key in self.path_keys for file in _paths(record.get(key))]
        if self._packer.with_mask:
            extra.append(["masks", masks.RULES])
        if white := _text(record.get(_WHITE_KEY)):  # only then, so that stores of other data keep their keys
            extra.append({_WHITE_KEY: white})
        if old and not path.lower().endswith(_PICTURES):
            plane, modality = _plane(record) or "stored", str(record.get("modality") or "")
            extra += changes_since(path, stamp(path), cast(PlaneChoice, plane), modality, self._by_region)
        return image_key(path, self._frame(record), stamp(path), _text(record.get("sha256")), extra)

    def _region(self, record: Mapping[str, Any]) -> str | None:
        """What the record says of the region, where the transform goes by it: pictures have been windowed already."""
        if not self._by_region or os.fspath(record[self.image_key]).lower().endswith(_PICTURES):
            return None
        return _text(record.get(REGION_KEY))

    def _frame(self, record: Mapping[str, Any]) -> int | None:
        frame = record.get(self.frame_key)
        if type(frame) is int:
            return frame
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
        if record.get(PLANE):
            visible[PLANE] = record[PLANE]
        if region := self._region(record):
            visible[REGION_KEY] = region
        visible.update((key, record[key]) for key in self.transform_keys if key in record)
        if white := _text(record.get(_WHITE_KEY)):
            visible[_WHITE_KEY] = white
        return visible

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes from adding to the store; waits for one that is adding."""
        return only_process(self.folder / ".lock", f"filling {self.folder}")

    def _remove_abandoned(self) -> None:
        """Remove what killed builders left; whoever holds the lock knows that none is alive."""
        for folder in self.folder.glob(f"{BUILDING}*"):
            shutil.rmtree(folder)
        for file in self.folder.glob(".*.part"):
            file.unlink()

    def _known_reasons(self) -> dict[bytes, KnownReason]:
        """What `_write_unreadable` wrote, and what parts tell that a killed process did not come to write."""
        try:
            noted = json.loads((self.folder / _UNREADABLE_FILE).read_text(encoding="utf-8"))
            parts, known = set(noted["parts"]), reasons_of(noted["images"])
        except FileNotFoundError:
            parts, known = set(), {}
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise damaged_part(self.folder / _UNREADABLE_FILE, error) from error
        for part in part_folders(self.folder):
            if part.name not in parts:
                known |= read_unreadable(part)
        return known

    def _write_unreadable(self, known: Mapping[bytes, KnownReason]) -> None:
        parts = [part.name for part in part_folders(self.folder) if has_unreadable(part)]
        if known or parts:
            noted = {"parts": parts, "images": entries_of(known)}
            atomic_write_text(self.folder / _UNREADABLE_FILE, json.dumps(noted, indent=0))
        else:
            (self.folder / _UNREADABLE_FILE).unlink(missing_ok=True)
        quarantine = self.store_dir / QUARANTINE_FILE
        if not known:
            quarantine.unlink(missing_ok=True)
            return
        with atomic_open(quarantine, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(["image", "frame", "stage", "cause"])
            by_image = sorted(known.values(), key=lambda entry: (entry[0], entry[1] or 0))
            table.writerows(by_image)


def _goes_by_region(transform: Any) -> bool:
    return any(isinstance(step, AutoIntensityd) and step.goes_by_region for step in flattened(transform))


def _paths(value: Any) -> list[str]:
    references = value if isinstance(value, list | tuple) else [value] if value else []
    return [masks.mask_file(str(reference)) for reference in references]


def _rows_and_columns(image_size: int | Sequence[int]) -> tuple[int, int]:
    edges = [image_size, image_size] if isinstance(image_size, int) else list(image_size)
    if len(edges) != 2 or not all(isinstance(edge, int) and 0 < edge <= _LARGEST_EDGE for edge in edges):
        raise ConfigurationError(
            f"image_size={image_size!r}: expected (rows, columns) or one number, each from 1 to {_LARGEST_EDGE}"
        )
    return edges[0], edges[1]


def _plane(record: Mapping[str, Any]) -> str | None:
    """The plane that a frame is counted in, where it is another than a store of release 0.1 would have."""
    plane = record.get(PLANE)
    return str(plane) if plane and plane != "stored" else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _key_maker_died(start: int, how: str) -> StoreError:
    return StoreError(f"a process that was looking at the files of record {start} and later ones {how}; try again")


def _stamp(path: str) -> Stamp:
    try:
        return file_stamp(path)
    except OSError:
        return "missing"  # packing gives the reason, and an image that comes back a new key


def _first_of_each(keys: np.ndarray) -> np.ndarray:
    """Positions of keys that no earlier one equals, in order."""
    if not len(keys):
        return np.arange(0)
    return np.sort(np.unique(keys, axis=0, return_index=True)[1])


def _looked_up(keys: np.ndarray, places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The place of each wanted key; -1 if not found."""
    found = np.full((len(wanted), 2), -1, np.int64)
    # Halves of a key as numbers: a sorted column takes a tenth of the memory of a dictionary of bytes.
    halves, wanted_halves = keys.view(">u8").astype(np.uint64), wanted.view(">u8").astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    halves = halves[order]
    at = np.searchsorted(halves[:, 0], wanted_halves[:, 0])
    left = np.arange(len(wanted))
    while True:
        left = left[at[left] < len(halves)]
        left = left[halves[at[left], 0] == wanted_halves[left, 0]]
        if not len(left):
            return found
        hit = halves[at[left], 1] == wanted_halves[left, 1]
        found[left[hit]] = places[order[at[left[hit]]]]
        left = left[~hit]
        at[left] += 1
