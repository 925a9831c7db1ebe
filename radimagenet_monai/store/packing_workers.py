"""Packing one image into its row of a store, in the worker processes of a `WorkerPool`.

The parent hands out records and gets back hashes and reasons; the pixels go from a worker straight into the file of
the part.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from radimagenet_monai.core.errors import StoreError
from radimagenet_monai.core.workers import WorkerPool
from radimagenet_monai.io.failures import quiet_libraries
from radimagenet_monai.store.packed_part import Target, write_row
from radimagenet_monai.store.packed_row import Packer, Row, Unreadable


@dataclass(frozen=True)
class Job:
    """One image to pack.

    Attributes
    ----------
    row
        Row of the part to write to.
    record
        Keys visible to the transform.
    sha256
        Expected SHA-256 of its file, if known.
    """

    row: int
    record: Mapping[str, Any]
    sha256: str | None = None


@contextlib.contextmanager
def packing_pool(packer: Packer, workers: int, images: int) -> Iterator[WorkerPool[Job, Row | Unreadable]]:
    """A pool of processes that pack; see `WorkerPool`. With ``workers=0``, this process packs."""

    def died(job: Job, how: str) -> StoreError:
        return StoreError(
            f"{job.record[packer.image_key]}: the process that was reading it {how}; take the image out of the "
            "records, or use fewer workers if memory ran out"
        )

    writer = RowWriter(packer)
    with contextlib.closing(writer), WorkerPool(writer, workers, images, died, quiet_libraries) as pool:
        yield pool


class RowWriter:
    """Packs jobs into the file of a part, which stays open from one to the next; the function of a `WorkerPool`.

    Parameters
    ----------
    packer
        Makes the rows.
    """

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self._path = ""
        self._descriptor = -1

    def __call__(self, job: Job, target: Target | None) -> Row | Unreadable:
        """The outcome of a job; without ``target`` the row keeps its pixels.

        Raises
        ------
        StoreError
            If memory runs out, or the row has another shape than ``target``.
        OSError
            If the row cannot be written.
        """
        packed = self._packer(job.record, job.sha256)
        if isinstance(packed, Unreadable) or target is None:
            return packed
        assert packed.pixels is not None  # the packer has just made them
        if packed.pixels.shape != target.shape:
            raise StoreError(
                f"{job.record[self._packer.image_key]}: the transform gave {packed.pixels.shape[2]} channels, other "
                f"images of the store have {target.shape[2]}; let it give the same number for all"
            )
        self._write(target, job.row, packed.pixels)
        return Row(None, packed.hashes, packed.questions)

    def _write(self, target: Target, row: int, pixels: np.ndarray) -> None:
        if target.path != self._path:
            self.close()
            self._descriptor = os.open(target.path, os.O_WRONLY)
            self._path = target.path
        write_row(self._descriptor, target, row, pixels)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._path, self._descriptor = "", -1
