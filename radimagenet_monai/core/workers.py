"""A pool of worker processes for work on many images or files, and a lock between processes.

If a process dies, the error names the item that it had in hand, which a pool of the standard library cannot tell.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, TypeVar

import filelock

from radimagenet_monai.core.errors import RadImageNetError

logger = logging.getLogger(__name__)

_LARGEST_CHUNK = 16  # items a worker takes at a time: long enough to hide the pipe, short enough to end together
_CHUNKS_AHEAD = 2  # one in work and one waiting in the pipe, so that a worker never waits for the parent

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerPool(Generic[Item, Result]):
    """Processes that call a function with one item after another, as a context; they end with it and with their parent.

    Parameters
    ----------
    function
        Called as ``function(item, shared)``. Forked processes inherit it; where they are spawned, it is pickled. What
        it raises from `RadImageNetError` and `OSError` is raised in the parent, anything else ends its process.
    workers
        Number of processes; 0 calls the function in this process, as does a daemon, such as a data loader's worker,
        which may not have children.
    items
        Total number of items; small numbers are split into smaller chunks, over no more workers than items.
    died
        Makes the error for a process that died from the item it had in hand and a description of its end.
    within
        Context that each process enters once.
    """

    def __init__(
        self,
        function: Callable[[Item, Any], Result],
        workers: int,
        items: int,
        died: Callable[[Item, str], RadImageNetError],
        within: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self._function = function
        self._died = died
        self._within = within
        self._count = 0 if multiprocessing.current_process().daemon else min(workers, items)
        self._chunk = min(_LARGEST_CHUNK, max(1, items // (8 * max(1, self._count))))
        self._workers: list[_Worker[Item]] = []

    def __enter__(self) -> WorkerPool[Item, Result]:
        try:
            context = multiprocessing.get_context()
            in_hand = context.RawArray("q", [-1] * self._count)
            for slot in range(self._count):
                ours, theirs = context.Pipe()
                arguments = (theirs, ours, self._function, self._within, in_hand, slot)
                process = context.Process(target=_work, args=arguments, name=f"worker-{slot}", daemon=True)
                process.start()
                theirs.close()
                self._workers.append(_Worker(process, ours, slot, in_hand))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.terminate()
            worker.connection.close()
        for worker in self._workers:
            worker.process.join()

    def run(self, items: Iterable[Item], shared: Any = None) -> Iterator[tuple[int, Result]]:
        """Number from 0 and result of each item, in no fixed order.

        Parameters
        ----------
        items
            Consumed lazily, so that they can be made while others are worked on.
        shared
            Second argument of the function.

        Raises
        ------
        RadImageNetError
            If a process dies, or the function raises it.
        OSError
            If the function raises it.
        """
        left = enumerate(items)
        if not self._count:
            for number, item in left:
                yield number, self._function(item, shared)
            return

        def give(worker: _Worker[Item]) -> None:
            chunk = list(itertools.islice(left, self._chunk))
            if chunk:
                worker.chunks.append(chunk)
                with contextlib.suppress(BrokenPipeError):  # its death is found, and named, while waiting
                    worker.connection.send((shared, chunk))

        for _ in range(_CHUNKS_AHEAD):
            for worker in self._workers:
                give(worker)
        while busy := [worker for worker in self._workers if worker.chunks]:
            wait([worker.connection for worker in busy] + [worker.process.sentinel for worker in busy])
            for worker in busy:
                if worker.connection.poll():
                    try:
                        results = worker.connection.recv()
                    except (EOFError, ConnectionResetError):
                        raise self._died(*worker.end()) from None
                    if isinstance(results, Exception):
                        raise results
                    worker.chunks.popleft()
                    give(worker)
                    yield from results
                elif not worker.process.is_alive():
                    raise self._died(*worker.end())

    def map(self, items: Iterable[Item], shared: Any = None) -> Iterator[Result]:
        """The result of each item, in order; otherwise as `run`."""
        ahead: dict[int, Result] = {}
        turn = 0
        for number, result in self.run(items, shared):
            ahead[number] = result
            while turn in ahead:
                yield ahead.pop(turn)
                turn += 1


def available_cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def only_process(lock_file: str | os.PathLike[str], work: str) -> Iterator[None]:
    """Keep other processes out of the block; waits for one that is inside, and says so.

    Parameters
    ----------
    lock_file
        File that is locked; it stays. The lock is gone with the process that holds it.
    work
        What the other process does, such as ``"filling the store"``.
    """
    lock = filelock.FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        logger.info("waiting for another process that is %s", work)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@dataclass
class _Worker(Generic[Item]):
    process: Any
    connection: Connection
    slot: int
    in_hand: Any
    chunks: deque[list[tuple[int, Item]]] = field(default_factory=deque)

    def end(self) -> tuple[Item, str]:
        """The item in hand, and how the process ended."""
        self.process.join()
        code = self.process.exitcode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        if code == -signal.SIGKILL:
            how += ", as the system does when memory runs out"
        items = dict(itertools.chain.from_iterable(self.chunks))
        return items.get(self.in_hand[self.slot], next(iter(items.values()))), how


def _work(
    connection: Connection,
    parents_end: Connection,
    function: Callable[[Any, Any], Any],
    within: Callable[[], AbstractContextManager[Any]],
    in_hand: Any,
    slot: int,
) -> None:
    parents_end.close()  # a copy kept open here would hide the parent's death
    # Ctrl-C reaches the whole group; the parent ends the workers, by a signal that it may handle itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)
    # The parent is gone when the pipe breaks: nobody is left to work for.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError), within():
        while True:
            shared, chunk = connection.recv()
            results = []
            try:
                for number, item in chunk:
                    in_hand[slot] = number
                    results.append((number, function(item, shared)))
            except (RadImageNetError, OSError) as error:
                connection.send(error)
            else:
                connection.send(results)
