"""Memory-mapped uint8 images of a packed store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from radimagenet_monai.core.errors import StoreError

_BLOCK_BYTES = 4 << 20


class ImageSource(Protocol):
    """Where images are read from, by part and row."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of every image."""

    def read(self, places: np.ndarray) -> Iterator[np.ndarray]:
        """Images at parts and rows ``(n, 2)``, in that order: uint8 ``(H, W, C)`` that must not be written to."""


class MappedParts:
    """Image files of a store, each mapped when it is first read, by each process for itself.

    Parameters
    ----------
    files
        ``images.npy`` of each part, at least one where anything is read.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._images: list[np.ndarray | None] = [None] * len(self._files)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        rows, columns, channels = self._part(0).shape[1:]
        return rows, columns, channels

    def read(self, places: np.ndarray) -> Iterator[np.ndarray]:
        for part, row in places.tolist():
            yield self._part(part)[row]

    def __getstate__(self) -> dict[str, Any]:
        # A process maps the files itself: pickling a memory map would send the images.
        return {"_files": self._files, "_images": [None] * len(self._files)}

    def _part(self, part: int) -> np.ndarray:
        images = self._images[part]
        if images is None:
            # A plain view of the map: indexing numpy.memmap itself costs more than copying a small image.
            images = self._images[part] = open_images(self._files[part]).view(np.ndarray)
        return images


def rows_of_a_block(image_shape: tuple[int, int, int]) -> int:
    """Images in a block: what is shuffled together and fetched from far at once, about 4 MiB."""
    return max(1, _BLOCK_BYTES // int(np.prod(image_shape)))


def open_images(path: Path) -> np.ndarray:
    """Map the images of a part, uint8 ``(rows, H, W, C)``.

    Raises
    ------
    StoreError
        If the file is missing or is none of that form.
    """
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged_part(path, error) from error
    if images.dtype != np.uint8 or images.ndim != 4:
        raise damaged_part(path, f"{images.dtype} of shape {images.shape}")
    return images


def damaged_part(path: Path, cause: object) -> StoreError:
    """The error for a file of a part that is not what it should be."""
    return StoreError(
        f"packed store {path} is damaged ({cause}); delete the folder {path.parent}, it will be packed again"
    )
