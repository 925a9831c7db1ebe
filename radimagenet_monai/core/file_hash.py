"""The ``sha256`` column of a records table, for datasets that fill it only on request."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from radimagenet_monai.core.errors import RecordsError

_THREADS = 8  # hashing and reading both release the interpreter lock


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
    folder = os.fspath(root)
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = pool.map(lambda image: _sha256(os.path.join(folder, image)), images)
        bar = tqdm(digests, total=len(images), desc="Hashing", unit="file", disable=None if progress else True)
        return list(bar)


def _sha256(path: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RecordsError(f"{path}: cannot be read for its hash ({error.strerror}); leave out hash_files") from error
