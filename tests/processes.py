"""Waiting for a state instead of a time, and children whose signals do not depend on how the tests were started."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
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


def mount_own(folder: str, options: str) -> bool:
    """Mount an empty file system that only this process, which must have one thread, and its children see.

    ``options`` are those of ``mount -t tmpfs``. False on a machine that lets no process have a mount namespace.
    """
    maps = {"uid_map": f"0 {os.getuid()} 1", "setgroups": "deny", "gid_map": f"0 {os.getgid()} 1"}
    if ctypes.CDLL(None).unshare(0x10000000 | 0x00020000):  # CLONE_NEWUSER, CLONE_NEWNS
        return False
    for name, text in maps.items():
        Path("/proc/self", name).write_text(text)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    return True
