"""The file format of weights, recognized by its first bytes and never by its name. Imports no torch."""

from __future__ import annotations

import os
import zipfile
from enum import StrEnum
from pathlib import Path

from radimagenet_monai.core.errors import WeightsError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_OFFSETS = (0, 512, 1024, 2048)  # the superblock may follow a user block (HDF5 file format, II.A)
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
_KERAS_ARCHIVE_MEMBER = "model.weights.h5"


class Container(StrEnum):
    """A file format that can hold weights."""

    HDF5 = "HDF5"
    TORCH = "torch"
    SAFETENSORS = "safetensors"


def recognize_container(path: str | os.PathLike[str]) -> Container:
    """The format of the file at ``path``.

    Raises
    ------
    WeightsError
        If the file is missing or has none of the three formats; common accidents, such as a web page saved instead
        of the file, are named.
    """
    path = Path(path)
    if not path.exists():
        raise WeightsError(f"{path} does not exist; give the path of a file of weights")
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the path of a file of weights, or of a bundle")
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(4096)
    if any(start[offset : offset + len(_HDF5)] == _HDF5 for offset in _HDF5_OFFSETS):
        return Container.HDF5
    # Checked before pickle: a header whose length ends in 0x80 starts like one.
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8:
        return Container.SAFETENSORS
    if start.startswith((_ZIP, _PICKLE)):
        if _is_keras_archive(path):
            raise WeightsError(
                f"{path} is an archive of Keras 3; unpack {_KERAS_ARCHIVE_MEMBER} from it (it is a zip file) and "
                "import that"
            )
        return Container.TORCH
    raise WeightsError(f"{path} is {_describe(start)}, expected an HDF5 file of Keras, a torch file or safetensors")


def _is_keras_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return _KERAS_ARCHIVE_MEMBER in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False  # not a zip file, or a damaged one, which the torch reader reports better


def _describe(start: bytes) -> str:
    if not start:
        return "empty"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:256].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page and not weights (the download gave a page in their place; fetch the file itself)"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer and not the weights it points to (run 'git lfs pull')"
    return f"of no known format (it starts with {start[:8]!r})"
