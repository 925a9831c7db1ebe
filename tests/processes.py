"""Waiting for a state instead of a time, and children whose signals do not depend on how the tests were started."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 240
"""Seconds after which a state is taken never to come: far more than a busy machine needs, so that a test fails and
does not hang."""


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return as soon as ``condition`` is true.

    Raises
    ------
    AssertionError
        If it is not after `PATIENCE` seconds; names ``what`` was waited for.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not after {PATIENCE} s"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def take_default_signals() -> None:
    """Call first in a child that is to be interrupted: what is started in the background ignores SIGINT, by POSIX."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
