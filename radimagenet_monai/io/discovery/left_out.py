"""Files left out of a folder or a table, by reason: nothing is dropped uncounted."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

HIDDEN = "hidden"
SYSTEM_FILE = "file of an operating system or DICOM directory"
TEXT = "text or table"
NOT_AN_IMAGE = "no known image format"
NO_PIXELS = "DICOM without pixels"
PIXELS_ALONE = "pixels without their header file"
MASK = "mask beside its image"
BROKEN_LINK = "link to nothing"
LINK_LOOP = "link to a folder that contains it"
LINK_AGAIN = "link to a folder that is there already"
SPECIAL_FILE = "neither a file nor a folder"
NOT_UTF8 = "name that is not UTF-8"

USUAL = (HIDDEN, SYSTEM_FILE, TEXT)
"""Reasons that nobody asks about."""

_SHOWN = 3


class LeftOut(dict[str, list[str]]):
    """Maps a reason to the paths left out for it, in the order found.

    Parameters
    ----------
    root
        Folder; paths below it are kept relative to it, with ``/``. Bytes of a name that are not UTF-8 become ``\\xNN``.
    """

    def __init__(self, root: str | os.PathLike[str] = "") -> None:
        super().__init__()
        self.root = os.fspath(root)

    def add(self, reason: str, path: str | os.PathLike[str]) -> None:
        """Record that ``path`` was left out; ``reason`` completes "left out: "."""
        self.setdefault(reason, []).append(self._shown(os.fspath(path)))

    @property
    def counts(self) -> dict[str, int]:
        """Number of files for each reason, sorted by reason."""
        return {reason: len(self[reason]) for reason in sorted(self)}

    @property
    def notes(self) -> list[str]:
        """A sentence for each reason, with the first names; usual reasons come last."""
        reasons = sorted(self, key=lambda reason: (reason in USUAL, reason))
        return [f"left out: {len(self[reason])} x {reason}, {first_names(self[reason])}" for reason in reasons]

    def _shown(self, path: str) -> str:
        if self.root and Path(path).is_relative_to(self.root):
            path = Path(path).relative_to(self.root).as_posix()
        return printable(path)


def printable(path: str | os.PathLike[str]) -> str:
    r"""``path`` as text that can be printed and written as UTF-8: bytes that are not UTF-8 become ``\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_utf8(name: str) -> bool:
    """Whether a file name can be written to a table; Linux allows any bytes."""
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


def first_names(names: Iterable[str], most: int = _SHOWN) -> str:
    """The first of ``names`` in quotes, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more
