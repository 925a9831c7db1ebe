"""Walk a folder of images: links are followed, loops are not, and skipped files are counted."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.discovery.left_out import BROKEN_LINK, HIDDEN, LINK_AGAIN, LINK_LOOP, SPECIAL_FILE, LeftOut


@dataclass(frozen=True)
class _Folder:
    path: str
    above: frozenset[str]  # real paths of the enclosing folders
    links: int  # number of links among those and itself

    def inner(self, entry: os.DirEntry[str], real: str) -> _Folder:
        return _Folder(entry.path, self.above | {real}, self.links + entry.is_symlink())


def walk_files(root: str | os.PathLike[str], left_out: LeftOut | None = None) -> Iterator[str]:
    """The files below a folder, by name within each folder.

    Links to files and folders are followed. A link to a folder that contains the link would be circular and is left
    out; so is a link inside a linked folder to a folder already walked.

    Parameters
    ----------
    root
        Folder to walk.
    left_out
        Receives what is skipped: hidden files and folders, broken links, loops, sockets and the like.

    Raises
    ------
    UnreadableImageError
        If a folder cannot be listed.
    """
    left_out = LeftOut() if left_out is None else left_out
    folders: list[_Folder] = [_Folder(os.fspath(root), frozenset(), 0)]
    linked: deque[_Folder] = deque()
    walked: set[str] = set()
    while folders or linked:
        # Linked folders wait, so that a folder is first walked at its own place.
        is_link = not folders
        folder = linked.popleft() if is_link else folders.pop()
        real = os.path.realpath(folder.path)
        if real in folder.above:
            left_out.add(LINK_LOOP, folder.path)
            continue
        if is_link and folder.links > 1 and real in walked:
            left_out.add(LINK_AGAIN, folder.path)
            continue
        walked.add(real)
        inner: list[_Folder] = []
        for entry in _entries(folder.path):
            kind = _kind(entry)
            if entry.name.startswith("."):
                left_out.add(HIDDEN, entry.path)
            elif kind == "folder":
                (linked if entry.is_symlink() else inner).append(folder.inner(entry, real))
            elif kind == "file":
                yield entry.path
            else:
                left_out.add(BROKEN_LINK if entry.is_symlink() else SPECIAL_FILE, entry.path)
        folders += reversed(inner)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UnreadableImageError(folder, "open", f"the folder cannot be listed: {error.strerror}") from None


def _kind(entry: os.DirEntry[str]) -> str | None:
    try:
        return "folder" if entry.is_dir() else "file" if entry.is_file() else None
    except OSError:  # such as a link to itself
        return None
