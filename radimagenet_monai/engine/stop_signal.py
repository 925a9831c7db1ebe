"""SIGTERM as a request to save and end, on which all processes of a run agree."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch
from torch import distributed

from radimagenet_monai.engine.distributed import is_distributed

STOPPED_STATUS = 75
"""Exit status of a run that was told to end and saved where it was: EX_TEMPFAIL of sysexits.h, "try again"."""


class RunStopped(SystemExit):
    """Ends a run on request, with `STOPPED_STATUS`."""

    def __init__(self) -> None:
        super().__init__(STOPPED_STATUS)


class StopSignal:
    """Records SIGTERM, which schedulers send some time before they kill a job.

    Call `agreed` at the same points in all processes. Each call starts a reduction over the processes in the
    background and takes the result of the call before, so no process waits for it and all get the same answer, one
    call late. With a single process the answer is immediate.
    """

    def __init__(self) -> None:
        self.received = False
        self._agreed = False
        self._before: Any = None
        self._pending: tuple[Any, torch.Tensor] | None = None

    def listen(self) -> None:
        """Handle SIGTERM, if Python allows it (only in the main thread)."""
        self.received = self._agreed = False
        self._pending = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)

    def ignore(self) -> None:
        """Restore the previous SIGTERM handler."""
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def agreed(self) -> bool:
        """Whether any process was told to end; a collective call."""
        if not is_distributed():
            return self.received
        if self._pending is not None:
            work, flag = self._pending
            work.wait()
            self._agreed = self._agreed or bool(flag.item())
        flag = torch.tensor([int(self.received)], dtype=torch.int32)
        self._pending = (distributed.all_reduce(flag, distributed.ReduceOp.MAX, async_op=True), flag)
        return self._agreed

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = True
