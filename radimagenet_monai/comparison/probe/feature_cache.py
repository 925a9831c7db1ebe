"""Features of frozen encoders on disk, so that an image passes through each encoder only once.

One folder for each encoder, intensity policy and image size::

    cache_dir/
        densenet121-160x160-1f0c…/
            about.json       what the features are of, to be read by people
            features.f32     float32 (rows, num_features), little-endian, one row after the other
            rows.bin         for each row the hash of the canonical pixels (32 bytes) and the CRC-32 of its features

Both files only grow, one batch at a time, features first. A row exists once ``rows.bin`` lists it: the next writer cuts
off anything beyond that from a killed process and keeps the finished rows. A row with a wrong checksum counts as
absent.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import StoreError
from radimagenet_monai.core.workers import only_process
from radimagenet_monai.store.fingerprint import digest

logger = logging.getLogger(__name__)

FORMAT = 1
_CHECKED_AT_ONCE = 4096
_ROW = np.dtype([("image", "V32"), ("crc", "<u4")])


class FeatureCache:
    """The features of one encoder with one intensity policy at one image size.

    Parameters
    ----------
    cache_dir
        Folder for caches, created when something is written.
    architecture
        Name of the architecture, the first part of the folder's name.
    image_size
        Rows and columns in pixels.
    num_features
        Length of a row.
    facts
        JSON values that the features depend on besides the pixels: hash of the encoder's tensors, intensity policy.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike[str],
        architecture: str,
        image_size: int,
        num_features: int,
        facts: Mapping[str, Any],
    ) -> None:
        self.num_features = num_features
        self._about = {
            "format": FORMAT,
            "architecture": architecture,
            "image_size": image_size,
            "num_features": num_features,
            **facts,
        }
        name = f"{architecture}-{image_size}x{image_size}-{digest(self._about)[:16]}"
        self.folder = Path(cache_dir) / name
        self._features = self.folder / "features.f32"
        self._rows = self.folder / "rows.bin"

    def find(self, images: Sequence[bytes]) -> np.ndarray:
        """Row of each image by its `image_hash`, int64 ``(n,)``; -1 if it is not cached."""
        rows = self._read_rows()
        places = {image.tobytes(): row for row, image in enumerate(rows["image"])}
        found = np.array([places.get(image, -1) for image in images], dtype=np.int64)
        damaged = 0
        for start in range(0, len(found), _CHECKED_AT_ONCE):
            chunk = found[start : start + _CHECKED_AT_ONCE]
            known = np.flatnonzero(chunk >= 0)
            for place, features in zip(known, self.read(chunk[known]), strict=True):
                if zlib.crc32(features) != rows["crc"][chunk[place]]:
                    chunk[place] = -1
                    damaged += 1
        if damaged:
            logger.warning("%d damaged rows in %s are computed again", damaged, self.folder)
        return found

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Features of rows from `find`, float32 ``(len(rows), num_features)``."""
        if not len(rows):
            return np.empty((0, self.num_features), np.float32)
        mapped = np.memmap(self._features, "<f4", "r", shape=(len(self._read_rows()), self.num_features))
        return np.ascontiguousarray(mapped[rows], dtype=np.float32)

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Lock the cache for writing; a second process waits and then finds the rows added by the first.

        Raises
        ------
        StoreError
            If the cache cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with only_process(self.folder / ".lock", f"filling {self.folder}"):
                self._cut_off_unfinished()
                atomic_write_text(self.folder / "about.json", json.dumps(self._about, indent=2, sort_keys=True) + "\n")
                yield
        except OSError as error:
            raise StoreError(
                f"feature cache {self.folder} cannot be written: {error.strerror or error}; "
                "free some space or give another --cache_dir"
            ) from error

    def append(self, images: Sequence[bytes], features: np.ndarray) -> None:
        """Add rows; only inside `filling`. They are on disk before this returns.

        Parameters
        ----------
        images
            ``(n,)`` hashes from `image_hash`.
        features
            float32 ``(n, num_features)``.
        """
        features = np.ascontiguousarray(features, dtype="<f4")
        rows = np.array([(image, zlib.crc32(row)) for image, row in zip(images, features, strict=True)], dtype=_ROW)
        for path, data in ((self._features, features), (self._rows, rows)):
            with path.open("ab") as stream:
                stream.write(data.tobytes())
                stream.flush()
                os.fsync(stream.fileno())

    def _read_rows(self) -> np.ndarray:
        try:
            data = self._rows.read_bytes()
            named = len(data) // _ROW.itemsize
            held = self._features.stat().st_size // (4 * self.num_features)
        except FileNotFoundError:
            return np.empty(0, _ROW)
        return np.frombuffer(data, _ROW, min(named, held))

    def _cut_off_unfinished(self) -> None:
        rows = len(self._read_rows())
        for path, length in ((self._features, 4 * self.num_features), (self._rows, _ROW.itemsize)):
            if path.exists() and path.stat().st_size != rows * length:
                os.truncate(path, rows * length)


def image_hash(pixels: np.ndarray) -> bytes:
    """SHA-256 of shape and values of a canonical 8-bit image: all that an encoder sees of a file."""
    return hashlib.sha256(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()).digest()
