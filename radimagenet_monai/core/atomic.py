"""Write files atomically: a file is complete or absent, even after a kill or on a full disk."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_OF_PROCESS = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)\.[^.]*\.part")
_OF_ANY = re.compile(r"\..+\.part")
_ABANDONED_AFTER = 24 * 3600.0
"""Seconds after which what another machine, or an earlier version, was writing is taken to be abandoned."""

_looked_through: set[str] = set()


@contextlib.contextmanager
def atomic_open(path: str | os.PathLike[str], mode: str = "wb", **kwargs: Any) -> Iterator[IO[Any]]:
    """Open a temporary file beside ``path`` for writing and rename it to ``path`` if the block succeeds.

    The data reach the disk before the name does (``fsync``), so a crash leaves either the old file or the new one,
    never a truncated one. If the block raises, the temporary file is removed and ``path`` is untouched.

    Raises
    ------
    OSError
        From the file system: no space left, read-only folder, ...
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    _look_through(target.parent)
    handle, name = tempfile.mkstemp(prefix=_prefix(target.name), suffix=".part", dir=target.parent)
    try:
        # mkstemp makes files private; give the output the permissions of the umask.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        with os.fdopen(handle, mode, **kwargs) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 to ``path`` atomically, with ``\\n`` line endings on every platform.

    Bytes of a file name that are not UTF-8 become ``\\udcNN``, which JSON reads back unchanged.
    """
    with atomic_open(path, "w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
        stream.write(text)


def atomic_write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_open(path, "wb") as stream:
        stream.write(data)


def atomic_copy(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Copy a file so that ``target`` is either the old file or the new one, never a truncated one."""
    with Path(source).open("rb") as reading, atomic_open(target, "wb") as stream:
        shutil.copyfileobj(reading, stream, 2**20)


@contextlib.contextmanager
def scratch_folder(parent: str | os.PathLike[str], name: str) -> Iterator[Path]:
    """A temporary folder in ``parent``, on the same disk as the result; removed with its remaining contents.

    Such folders that killed processes left in ``parent`` are removed first.
    """
    remove_abandoned(parent)
    with tempfile.TemporaryDirectory(prefix=_prefix(name), suffix=".part", dir=parent) as folder:
        yield Path(folder)


def remove_abandoned(folder: str | os.PathLike[str]) -> list[str]:
    """Remove the half-written files and folders of killed processes from ``folder``, and return their names.

    Files that a living process is writing are left alone. Leftovers of another machine that shares the folder, or of
    version 0.1, whose names do not give the process, are removed if they have not been touched for a day.
    """
    removed = []
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []
    for entry in entries:
        if not _OF_ANY.fullmatch(entry.name) or not _is_abandoned(entry):
            continue
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
            removed.append(entry.name)
    return removed


def read_json_if_whole(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no such file, or it is no whole JSON object."""
    try:
        return dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _prefix(name: str) -> str:
    # File names are limited to 255 bytes; the suffix needs 32 of them.
    short = name.encode()[:160].decode(errors="ignore")
    return f".{short}.{_machine()}-{os.getpid()}."


def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _look_through(folder: Path) -> None:
    """Run `remove_abandoned` when this process first writes into a folder."""
    key = f"{os.getpid()} {folder.absolute()}"
    if key not in _looked_through:
        _looked_through.add(key)
        remove_abandoned(folder)


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    found = _OF_PROCESS.fullmatch(entry.name)
    if found and found.group(1) == _machine():
        return not _is_alive(int(found.group(2)))
    if not found and not _is_ours(entry.name):
        return False
    with contextlib.suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_AFTER
    return False


def _is_ours(name: str) -> bool:
    """Whether an earlier version made the name: eight characters from `tempfile` before the end."""
    return re.fullmatch(r"\..+\.[a-z0-9_]{8}\.part", name) is not None


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
