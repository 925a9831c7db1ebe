"""Find files on disk whose names a table writes with other Unicode characters.

``ö`` is one character (NFC) or two, ``o`` and a diaeresis (NFD). A table and an archive packed on a Mac may differ in
this, and Linux treats them as two names.
"""

from __future__ import annotations

import os
import unicodedata


class DiskNames:
    """Looks up paths and lists each folder once: one look-up per file takes minutes for a million on a network disk."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[str, dict[str, str]] | None] = {}

    def find(self, path: str) -> str | None:
        """``path`` as spelled on disk, or ``None`` if neither a file nor a folder exists."""
        folder, name = os.path.split(path)
        listed = self._listed(folder)
        if listed is None:
            return None
        there, names = listed
        found = names.get(name) or names.get(_composed(name))
        if found is None:
            return None
        return path if found == name and there == folder else os.path.join(there, found)

    def alike(self, path: str) -> str | None:
        """A name in the folder of ``path`` that differs only in case or suffix, for an error message."""
        folder, name = os.path.split(path)
        listed = self._listed(folder)
        if listed is None:
            return None
        wanted = _composed(name).casefold()
        stem = wanted.partition(".")[0]
        names = sorted(listed[1].values())
        return next((other for other in names if _composed(other).casefold() == wanted), None) or next(
            (other for other in names if stem and _composed(other).casefold().partition(".")[0] == stem), None
        )

    def _listed(self, folder: str) -> tuple[str, dict[str, str]] | None:
        """The folder as spelled on disk, and its names, keyed by both the name and its composed form."""
        if folder not in self._names:
            there: str | None = folder
            names = _names_in(folder)
            if names is None:
                above, name = os.path.split(folder)
                # The root is its own parent.
                there = self.find(folder) if name and above != folder else None
                names = _names_in(there) if there is not None else None
            if names is None:
                self._names[folder] = None
            else:
                known = {_composed(name): name for name in names} | {name: name for name in names}
                self._names[folder] = (there or "", known)
        return self._names[folder]


def _names_in(folder: str) -> list[str] | None:
    try:
        with os.scandir(folder or ".") as entries:
            return [entry.name for entry in entries]
    except OSError:
        return None


def _composed(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)
