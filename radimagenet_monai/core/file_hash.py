"""Hashes of whole files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from radimagenet_monai.core.errors import RecordsError

_THREADS = 8  # hashing and reading both release the interpreter lock


def file_digest(path: str | os.PathLike[str], algorithm: str = "sha256") -> str:
    """Hexadecimal digest of a file.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def hash_files(root: str | os.PathLike[str], images: Sequence[str], progress: bool = True) -> list[str]:
    """SHA-256 of each image file, in hexadecimal.

    Parameters
    ----------
    root
        Folder that the paths are relative to.
    images
        ``(n,)`` paths.
    progress
        Whether to show a progress bar on a terminal.

    Raises
    ------
    RecordsError
        For a file that cannot be read.
    """
    from tqdm import tqdm  # here, so that what hashes one file does not wait for it

    folder = os.fspath(root)
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = pool.map(lambda image: _sha256(os.path.join(folder, image)), images)
        bar = tqdm(digests, total=len(images), desc="Hashing", unit="file", disable=None if progress else True)
        return list(bar)


def _sha256(path: str) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise RecordsError(f"{path}: cannot be read for its hash ({error.strerror}); leave out hash_files") from error
