"""The data file that a header names, which must lie beside the header."""

from __future__ import annotations

from pathlib import Path


def file_beside(path: str, name: str) -> str:
    """The file ``name`` in the folder of the header ``path``.

    A header may come from anywhere, so it must not be able to pick any file of the machine to show as an image. A link
    is followed if its target has the same suffix, as in folders filled by data management tools.

    Raises
    ------
    ValueError
        If the name contains folders, or is a link to a file of another kind.
    """
    name = name.removeprefix("./")
    if Path(name).name != name or name in ("", ".", "..") or "\\" in name:
        raise ValueError("the data file must lie in the same folder as the header and be given by name alone")
    source = Path(path).parent / name
    suffix = source.suffix.lower()
    if source.is_symlink() and (not suffix or source.resolve().suffix.lower() != suffix):
        raise ValueError("the data file is a link to a file of another kind; it must lie beside the header")
    return str(source)
