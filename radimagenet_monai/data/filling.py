"""Worker processes that turn records into rows of a packed store, and say which image was in hand when one dies."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from tqdm import tqdm

from radimagenet_monai.data.fingerprint import file_sha256
from radimagenet_monai.errors import IntensityError, StoreError, UnreadableImageError, one_line

logger = logging.getLogger(__name__)

Progress = bool | Literal["lines"]

_CHUNK = 16  # images a worker takes at a time: long enough to hide the pipe, short enough to end together
_SECONDS_BETWEEN_LINES = 10.0
_TOLERANCE = 1e-5  # float32 arithmetic may leave [0, 1] by a few units in the last place


@dataclass(frozen=True)
class Unreadable:
    """Why an image is not in a store: the columns of ``quarantine.csv`` beside image and frame."""

    stage: str
    cause: str


Packed = tuple[int, np.ndarray | Unreadable]  # position in the list of jobs, and row or reason


@dataclass(frozen=True)
class Packer:
    """Makes one row of a store from one record: transform, check, resize, round.

    Parameters
    ----------
    transform
        Dictionary transform whose result under ``image_key`` is the canonical image: floating point ``(C, H, W)`` in
        [0, 1] with C = 1 or 3.
    image_key
        Key of the path in the record and of the image in the result.
    size
        Rows and columns of the row.
    keep_aspect
        Fit the image inside ``size`` and fill the rest with 0, instead of stretching it.
    with_mask
        The last channel of the result is a mask.
    """

    transform: Callable[[dict[str, Any]], Mapping[str, Any]]
    image_key: str
    size: tuple[int, int]
    keep_aspect: bool
    with_mask: bool = False

    def __call__(self, record: Mapping[str, Any], sha256: str | None) -> np.ndarray | Unreadable:
        """Row of one record, uint8 ``(H, W, C)``, or why there is none.

        Raises
        ------
        StoreError
            If memory runs out.
        """
        path = str(record[self.image_key])
        try:
            if sha256 and Path(path).is_file():
                found = file_sha256(path)
                if found != sha256.lower():
                    return Unreadable("open", f"SHA-256 is {found}, the record says {sha256}: the file has changed")
            image = canonical_array(self.transform(dict(record))[self.image_key], self.with_mask)
        except MemoryError as error:
            raise StoreError(f"{path}: memory ran out while it was read; use fewer workers") from error
        except Exception as error:
            # Whatever it is, the user needs to know which image and why; a fault of the transform shows in all of them.
            return describe_failure(error, record)
        return resize_to_uint8(image, self.size, self.keep_aspect)


def canonical_array(image: Any, with_mask: bool = False) -> np.ndarray:
    """Check a transform's result and give it as float32 ``(C, H, W)``.

    Raises
    ------
    IntensityError
        If it is not floating point ``(1 or 3, H, W)`` within [0, 1]; ``with_mask`` expects one channel more.
    """
    array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    channels = (2, 4) if with_mask else (1, 3)
    if array.ndim != 3 or array.shape[0] not in channels or 0 in array.shape or array.dtype.kind != "f":
        raise IntensityError(
            f"the transform gave {array.dtype} of shape {array.shape}; expected floating point "
            f"({channels[0]} or {channels[1]}, rows, columns)"
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # written so that NaN fails
        raise IntensityError(f"the transform gave values from {low:g} to {high:g}; expected 0 to 1")
    return array.astype(np.float32, copy=False)


def resize_to_uint8(image: np.ndarray, size: tuple[int, int], keep_aspect: bool) -> np.ndarray:
    """Resize a canonical image once and round it to 8 bits.

    An axis that shrinks is averaged over the area that each new pixel covers (antialiased, ``cv2.INTER_AREA``), an
    axis that grows is interpolated linearly. OpenCV averages areas only where both axes shrink, hence two steps.

    Parameters
    ----------
    image
        float32 ``(C, H, W)`` in [0, 1].
    size
        Rows and columns wanted.
    keep_aspect
        Fit inside ``size``, centered on 0, instead of stretching.

    Returns
    -------
    numpy.ndarray
        uint8 ``(rows, columns, C)``, 255 for 1.
    """
    rows, columns = size
    if keep_aspect:
        scale = min(rows / image.shape[1], columns / image.shape[2])
        rows = min(max(round(image.shape[1] * scale), 1), rows)
        columns = min(max(round(image.shape[2] * scale), 1), columns)
    pixels = np.ascontiguousarray(np.moveaxis(image, 0, 2))
    smaller = (min(columns, pixels.shape[1]), min(rows, pixels.shape[0]))
    if smaller != (pixels.shape[1], pixels.shape[0]):
        pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (columns, rows):
        pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)
    packed = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8).reshape(rows, columns, image.shape[0])
    if (rows, columns) == size:
        return packed
    framed = np.zeros((*size, image.shape[0]), np.uint8)
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    framed[top : top + rows, left : left + columns] = packed
    return framed


@dataclass(frozen=True)
class Job:
    """One image to pack: the keys the transform sees, and the SHA-256 that its file must have, if known."""

    record: Mapping[str, Any]
    sha256: str | None = None


def pack_all(
    packer: Packer, jobs: Sequence[Job], num_workers: int, progress: Progress
) -> Generator[Packed, None, None]:
    """Pack ``jobs`` in worker processes; gives ``(position, row or reason)`` as they come, in no fixed order.

    Parameters
    ----------
    num_workers
        Processes; 0 packs in this one.
    progress
        ``True``: a bar on a terminal, nothing elsewhere; ``"lines"``: a bar on a terminal, elsewhere a log line every
        ten seconds; ``False``: nothing.

    Raises
    ------
    StoreError
        If a worker dies or memory runs out; names the image.
    """
    if multiprocessing.current_process().daemon:
        num_workers = 0  # a daemon, such as a data loader's worker, may not have children
    num_workers = min(num_workers, -(-len(jobs) // _CHUNK))
    rows = _pack_in_processes(packer, jobs, num_workers) if num_workers else _pack_here(packer, jobs)
    with (
        contextlib.closing(rows),
        _Bar(total=len(jobs), desc="packing", unit="image", disable=not (progress and sys.stderr.isatty())) as bar,
    ):
        next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        for done, row in enumerate(rows, start=1):
            yield row
            bar.update()
            if progress == "lines" and bar.disable and time.monotonic() >= next_line:
                logger.info("packed %d of %d images", done, len(jobs))
                next_line = time.monotonic() + _SECONDS_BETWEEN_LINES


class _Bar(tqdm):
    """A progress bar of this process alone.

    tqdm's own lock is shared by all processes that were forked from one parent: if one is killed while it holds the
    lock, every bar of the others waits for ever. Nor may a monitor thread run while workers are forked.
    """

    _lock = threading.RLock()
    monitor_interval = 0


def _pack_here(packer: Packer, jobs: Sequence[Job]) -> Generator[Packed, None, None]:
    for position, job in enumerate(jobs):
        yield position, packer(job.record, job.sha256)


@dataclass
class _Worker:
    process: Any
    connection: Connection
    slot: int
    busy: bool = False


def _pack_in_processes(packer: Packer, jobs: Sequence[Job], num_workers: int) -> Generator[Packed, None, None]:
    context = multiprocessing.get_context()
    in_hand = context.RawArray("q", [-1] * num_workers)
    chunks = iter(range(0, len(jobs), _CHUNK))
    workers: list[_Worker] = []

    def send_chunk(worker: _Worker) -> None:
        start = next(chunks, None)
        worker.busy = start is not None
        if start is not None:
            in_hand[worker.slot] = start
            with contextlib.suppress(BrokenPipeError):  # its death is found, and named, while waiting
                worker.connection.send((start, jobs[start : start + _CHUNK]))

    try:
        for slot in range(num_workers):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_work, args=(theirs, ours, packer, in_hand, slot), name=f"packing-{slot}", daemon=True
            )
            process.start()
            theirs.close()
            workers.append(_Worker(process, ours, slot))
            send_chunk(workers[-1])
        while busy := [worker for worker in workers if worker.busy]:
            wait([worker.connection for worker in busy] + [worker.process.sentinel for worker in busy])
            for worker in busy:
                if worker.connection.poll():
                    try:
                        results = worker.connection.recv()
                    except (EOFError, ConnectionResetError):
                        raise _death(worker, jobs[in_hand[worker.slot]].record[packer.image_key]) from None
                    if isinstance(results, Exception):
                        raise results
                    send_chunk(worker)
                    yield from results
                elif not worker.process.is_alive():
                    raise _death(worker, jobs[in_hand[worker.slot]].record[packer.image_key])
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.connection.close()
        for worker in workers:
            worker.process.join()


def _work(connection: Connection, parents_end: Connection, packer: Packer, in_hand: Any, slot: int) -> None:
    parents_end.close()  # a copy kept open here would hide the parent's death
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the workers
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    # The parent is gone when the pipe breaks: nobody is left to work for.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            start, chunk = connection.recv()
            results: list[Packed] = []
            try:
                for position, job in enumerate(chunk, start=start):
                    in_hand[slot] = position
                    results.append((position, packer(job.record, job.sha256)))
            except StoreError as error:
                connection.send(error)
            else:
                connection.send(results)


def _death(worker: _Worker, path: object) -> StoreError:
    worker.process.join()
    code = worker.process.exitcode
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    if code == -signal.SIGKILL:
        how += ", as the system does when memory runs out"
    return StoreError(
        f"{path}: the process that was reading it {how}; take the image out of the records, "
        "or use fewer workers if memory ran out"
    )


def describe_failure(error: Exception, record: Mapping[str, Any]) -> Unreadable:
    """The innermost cause that is one of ours or the system's: MONAI wraps what a transform raises in RuntimeError."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, UnreadableImageError):
            # It may be another file of the record, such as a mask.
            other = link.path not in map(str, record.values())
            return Unreadable(link.stage, f"{link.path}: {link.cause}" if other else link.cause)
        if isinstance(link, IntensityError):
            return Unreadable("intensity", str(link))
        if isinstance(link, OSError):
            return Unreadable("open", one_line(f"{type(link).__name__}: {link}"))
        error_below = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        if error_below is None:
            break
        link = error_below
    cause = f"{type(link).__name__}: {link}"
    if isinstance(link, KeyError):
        cause += f" (the transform sees {', '.join(record)}; name other keys in transform_keys)"
    return Unreadable("transform", one_line(cause))
