"""Worker processes that write rows of a packed store; if one dies, the error names its current image.

The parent hands out chunks of records and gets back hashes and reasons; the pixels go from a worker straight into the
file of the part.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2
import numpy as np
import torch

from radimagenet_monai.core.errors import StoreError
from radimagenet_monai.io.failures import quiet_libraries
from radimagenet_monai.store.packed_part import Target, write_row
from radimagenet_monai.store.packed_row import Packer, Row, Unreadable

_LARGEST_CHUNK = 16  # images a worker takes at a time: long enough to hide the pipe, short enough to end together
_CHUNKS_AHEAD = 2  # one in work and one waiting in the pipe, so that a worker never waits for the parent


@dataclass(frozen=True)
class Job:
    """One image to pack.

    Attributes
    ----------
    row
        Row of the part to write to.
    record
        Keys visible to the transform.
    sha256
        Expected SHA-256 of its file, if known.
    """

    row: int
    record: Mapping[str, Any]
    sha256: str | None = None


Outcome = tuple[int, Row | Unreadable]
"""Row of the part that a job was meant for, and what became of it."""


class PackingWorkers:
    """Processes that pack, as a context; they end with it, and with their parent.

    Parameters
    ----------
    packer
        Makes the rows.
    num_workers
        Processes; 0 packs in this one, as does a daemon, such as a data loader's worker, which may not have children.
    images
        Total number of images; small numbers are split into smaller chunks, over no more workers than images.
    """

    def __init__(self, packer: Packer, num_workers: int, images: int) -> None:
        self._packer = packer
        self._num_workers = 0 if multiprocessing.current_process().daemon else min(num_workers, images)
        self._chunk = min(_LARGEST_CHUNK, max(1, images // (8 * max(1, self._num_workers))))
        self._workers: list[_Worker] = []
        self._writer = _Writer()

    def __enter__(self) -> PackingWorkers:
        try:
            context = multiprocessing.get_context()
            in_hand = context.RawArray("q", [-1] * self._num_workers)
            for slot in range(self._num_workers):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_work, args=(theirs, ours, self._packer, in_hand, slot), name=f"packing-{slot}", daemon=True
                )
                process.start()
                theirs.close()
                self._workers.append(_Worker(process, ours, slot, in_hand))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join()
        self._writer.close()

    def try_one(self, job: Job) -> Row | Unreadable:
        """Pack one image and give its pixels back."""
        return next(outcome for _, outcome in list(self.fill([job], None)))

    def fill(self, jobs: Iterable[Job], target: Target | None) -> Iterator[Outcome]:
        """Pack ``jobs``; yields the outcome of each, in no fixed order.

        Parameters
        ----------
        jobs
            Consumed lazily, so that they can be made while others are packed.
        target
            Target for the rows; with ``None`` their pixels are returned.

        Raises
        ------
        StoreError
            If a worker dies, memory runs out, or a row has another shape than ``target``; names the image.
        OSError
            If a row cannot be written.
        """
        if not self._num_workers:
            for job in jobs:
                yield job.row, _pack(self._packer, self._writer, job, target)
            return
        left = iter(jobs)

        def give(worker: _Worker) -> None:
            chunk = list(itertools.islice(left, self._chunk))
            if chunk:
                worker.chunks.append(chunk)
                with contextlib.suppress(BrokenPipeError):  # its death is found, and named, while waiting
                    worker.connection.send((target, chunk))

        for _ in range(_CHUNKS_AHEAD):
            for worker in self._workers:
                give(worker)
        while busy := [worker for worker in self._workers if worker.chunks]:
            wait([worker.connection for worker in busy] + [worker.process.sentinel for worker in busy])
            for worker in busy:
                if worker.connection.poll():
                    try:
                        outcomes = worker.connection.recv()
                    except (EOFError, ConnectionResetError):
                        raise worker.death(self._packer.image_key) from None
                    if isinstance(outcomes, Exception):
                        raise outcomes
                    worker.chunks.popleft()
                    give(worker)
                    yield from outcomes
                elif not worker.process.is_alive():
                    raise worker.death(self._packer.image_key)


@dataclass
class _Worker:
    process: Any
    connection: Connection
    slot: int
    in_hand: Any
    chunks: deque[Sequence[Job]] = field(default_factory=deque)

    def death(self, image_key: str) -> StoreError:
        """The error to report after the process has died."""
        self.process.join()
        code = self.process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        if code == -signal.SIGKILL:
            how += ", as the system does when memory runs out"
        jobs = [job for chunk in self.chunks for job in chunk]
        job = next((job for job in jobs if job.row == self.in_hand[self.slot]), jobs[0])
        return StoreError(
            f"{job.record[image_key]}: the process that was reading it {how}; take the image out of the records, "
            "or use fewer workers if memory ran out"
        )


class _Writer:
    """Puts rows into the file of a part, which stays open from one to the next."""

    def __init__(self) -> None:
        self._path = ""
        self._descriptor = -1

    def write(self, target: Target, row: int, pixels: np.ndarray) -> None:
        if target.path != self._path:
            self.close()
            self._descriptor = os.open(target.path, os.O_WRONLY)
            self._path = target.path
        write_row(self._descriptor, target, row, pixels)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._path, self._descriptor = "", -1


def _pack(packer: Packer, writer: _Writer, job: Job, target: Target | None) -> Row | Unreadable:
    packed = packer(job.record, job.sha256)
    if isinstance(packed, Unreadable) or target is None:
        return packed
    assert packed.pixels is not None  # the packer has just made them
    if packed.pixels.shape != target.shape:
        raise StoreError(
            f"{job.record[packer.image_key]}: the transform gave {packed.pixels.shape[2]} channels, other images of "
            f"the store have {target.shape[2]}; let it give the same number for all"
        )
    writer.write(target, job.row, packed.pixels)
    return Row(None, packed.hashes, packed.questions)


def _work(connection: Connection, parents_end: Connection, packer: Packer, in_hand: Any, slot: int) -> None:
    parents_end.close()  # a copy kept open here would hide the parent's death
    # Ctrl-C reaches the whole group; the parent ends the workers, by a signal that it may handle itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    writer = _Writer()
    # The parent is gone when the pipe breaks: nobody is left to work for.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), quiet_libraries():
        while True:
            target, chunk = connection.recv()
            outcomes: list[Outcome] = []
            try:
                for job in chunk:
                    in_hand[slot] = job.row
                    outcomes.append((job.row, _pack(packer, writer, job, target)))
            except (StoreError, OSError) as error:
                connection.send(error)
            else:
                connection.send(outcomes)
