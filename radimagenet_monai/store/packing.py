"""Packing a data set into a store that training reads instead of the images: ``radimagenet pack``.

The images are prepared as the bundle of a task prepares them, and so are found by it: `PackedStore` names the folder
of a store after the preparation.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
import pandas as pd
from monai.transforms import Compose

from radimagenet_monai import intensity
from radimagenet_monai.catalog.phantom_notice import is_phantom
from radimagenet_monai.catalog.tasks import Kind, Task, get_task
from radimagenet_monai.core.errors import ConfigurationError, StoreError
from radimagenet_monai.datasets.masks.channel import AppendMaskd
from radimagenet_monai.datasets.records.root import root_of, table_of
from radimagenet_monai.datasets.records.table import ITEM_COLUMNS, PLANE, RECORDS_FILE, item_of_row, read_records
from radimagenet_monai.datasets.records.white_level import WHITE, with_white_level
from radimagenet_monai.datasets.registry import get_reader, read_dataset
from radimagenet_monai.intensity import CanonicalRangeCheckd
from radimagenet_monai.intensity.checks.stated_modality import require_fitting_column
from radimagenet_monai.intensity.values.ct_region import REGION_KEY
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.store.packed_row import Progress
from radimagenet_monai.store.packed_store import QUARANTINE_FILE, PackedStore
from radimagenet_monai.store.sealed.sealing import seal_store
from radimagenet_monai.store.sealed.sharing import check_shared_folder, pseudonymized, share_store

logger = logging.getLogger(__name__)

PRETRAINING = "radimagenet_resnet50_pretraining"
"""The task whose preparation is the default; that of the other encoders' pretraining is the same."""

Omission = Literal["skip", "stop"]
Blank = Literal["skip", "keep"]


@dataclass(frozen=True)
class PackSummary:
    """Result of a packing run.

    Attributes
    ----------
    folder
        Folder of the store's size and transform.
    images
        Number of records whose image is in the store.
    packed
        Images packed by this run.
    unreadable, blank
        Records whose image is not in the store, for each of the two reasons; ``quarantine.csv`` lists them.
    parts, size
        Number of parts in the folder, and bytes of all their images.
    seconds
        Time from the first access to the records' files to the seal.
    questions
        Number of images in the store for each question about their values.
    """

    folder: Path
    images: int
    packed: int
    unreadable: int
    blank: int
    parts: int
    size: int
    seconds: float
    questions: dict[str, int] = field(default_factory=dict)


class TableRecords(Sequence[dict[str, Any]]):
    """What a store has to see of each row of a records table, made when it is asked for.

    An item holds ``image`` (path), ``frame`` and, where the row has them, ``mask`` (list of paths), ``plane``,
    ``modality`` and ``sha256``, as those of `radimagenet_monai.datasets.to_datalist` do; a list of a million of these
    would take a gigabyte.

    Parameters
    ----------
    frame
        Records from `radimagenet_monai.datasets.records.table.check_records`.
    root
        Folder that relative paths start from.
    """

    def __init__(self, frame: pd.DataFrame, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)
        names = (*ITEM_COLUMNS, PLANE, "modality", REGION_KEY, WHITE)
        self._columns = {name: frame[name].to_numpy() for name in names if name in frame}

    def __len__(self) -> int:
        return len(self._columns["image"])

    @overload
    def __getitem__(self, item: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, item: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, item: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(item, slice):
            return [self[index] for index in range(*item.indices(len(self)))]
        row = {name: cells[item] for name, cells in self._columns.items()}
        return item_of_row(row, self._root, ("modality", REGION_KEY, WHITE))


def task_preparation(task: Task) -> tuple[Compose, dict[str, Any]]:
    """The transform by which a bundle prepares its images, and the options of `PackedStore` that go with it."""
    options = dict(task.intensity)
    policy = getattr(intensity, options.pop("name"))
    steps = [
        LoadNativeImaged("image"),
        policy("image", **options, allow_modality_mismatch=False),
        CanonicalRangeCheckd("image"),
    ]
    if task.kind is not Kind.SEGMENTATION:
        return Compose(steps), {"transform_keys": ["modality"]}
    keys = {"transform_keys": ["modality", "mask"], "path_keys": ["mask"], "with_mask": True}
    return Compose([*steps, AppendMaskd("image")]), keys


def pack_records(
    records: str | os.PathLike[str],
    out: str | os.PathLike[str],
    size: int | None = None,
    task: str = PRETRAINING,
    root: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    keep_aspect: bool = False,
    unreadable: Omission = "skip",
    blank: Blank = "skip",
    progress: Progress = "lines",
    verify: bool = False,
    share: str | os.PathLike[str] | None = None,
    share_salt: str | None = None,
    share_columns: Sequence[str] = (),
) -> PackSummary:
    """Pack the images of a records table into a store, and seal it.

    After an interruption the same call continues after the last complete part. Unreadable images are tried again.

    Parameters
    ----------
    records
        The table, the folder that holds ``records.csv``, or a folder that is the task's dataset as distributed by its
        authors.
    out
        Folder of the store.
    size
        Rows and columns of the packed images; the task's by default.
    task
        Name of the bundle whose preparation is used.
    root
        Folder that the table's paths start from; by default the one that ``radimagenet prepare`` noted, or the
        table's own.
    workers
        Number of processes; by default one per core.
    keep_aspect
        Fit images on black instead of stretching them.
    unreadable
        ``"skip"``: leave unreadable images out. ``"stop"``: raise once all others are packed, and do not seal.
    blank
        ``"skip"``: treat images as unreadable that are blank by
        `radimagenet_monai.intensity.checks.plausibility.is_blank`. ``"keep"``: pack them.
    progress
        See `radimagenet_monai.store.packing_progress.PackingProgress`.
    verify
        Read the whole store again at the end and compare each row with its hash.
    share
        Folder for a copy to give away, see `radimagenet_monai.store.sealed.sharing.share_store`; it must not exist.
    share_salt, share_columns
        See ``salt`` and ``columns`` there.

    Raises
    ------
    StoreError
        If the store cannot be written, no image can be read, or any with ``"stop"``; if ``verify`` finds damage.
    RecordsError
        For an invalid table or missing image files.
    IntensityError
        For a row whose ``modality`` is not the task's, before any image is read.
    ConfigurationError
        For an unknown task or word.
    """
    for name, value, words in (("unreadable", unreadable, Omission), ("blank", blank, Blank)):
        if value not in get_args(words):
            raise ConfigurationError(f"{name}={value!r}: expected one of {', '.join(get_args(words))}")
    description = get_task(task)
    if share is not None:
        check_shared_folder(share)
    frame, folder = _table(records, root, description)
    frame, _ = with_white_level(frame, folder)
    if share is not None:
        frame_to_share = pseudonymized(frame, description.findings, share_columns, share_salt)
    started = time.monotonic()
    transform, options = task_preparation(description)
    store = PackedStore(
        out,
        transform,
        description.image_size if size is None else size,
        keep_aspect,
        num_workers=workers,
        progress=progress,
        refuse_blank=blank == "skip",
        **options,
    )
    rows = np.arange(len(frame))
    if store.path_keys:  # without a mask there is nothing to learn from
        rows = np.flatnonzero(frame["mask"] != "")
    if "modality" in frame:
        require_fitting_column(frame["modality"].tolist(), frame["image"].tolist(), rows.tolist(), transform)
    table = TableRecords(frame.iloc[rows], folder)
    keys = store.keys(table)
    before = int((store.rows(keys)[:, 0] >= 0).sum())
    store.add(table, keys, retry_unreadable=True)
    places = np.full((len(frame), 2), -1, np.int64)
    places[rows] = store.rows(keys)
    left_out = _left_out(store, keys, places[rows, 0] < 0)
    images = len(rows) - left_out.total()
    if left_out and (not images or (unreadable == "stop" and left_out["unreadable"])):
        raise StoreError(_refusal(store, left_out, len(rows)))
    with store.locked():
        seal_store(store.folder, frame, places, is_phantom(folder))
        if share is not None:
            share_store(store.folder, share, frame_to_share, places, is_phantom(folder))
    seconds = time.monotonic() - started
    if verify:
        _verify(store)
    files = store.image_files()
    return PackSummary(
        folder=store.folder,
        images=images,
        packed=images - before,
        unreadable=left_out["unreadable"],
        blank=left_out["blank"],
        parts=len(files),
        size=sum(file.stat().st_size for file in files),
        seconds=seconds,
        questions=store.questions(places[rows]),
    )


def _table(
    records: str | os.PathLike[str], root: str | os.PathLike[str] | None, task: Task
) -> tuple[pd.DataFrame, Path]:
    """The checked records, and the folder that their paths start from."""
    path = Path(records)
    if path.is_dir() and not (path / RECORDS_FILE).exists() and get_reader(task.dataset).looks_like(path):
        options = dict(task.reader_options)
        if task.dataset == "radimagenet":
            options["missing"] = "skip"  # with a note, as for anything else that cannot be packed
        frame = read_dataset(task.dataset, path, **options)
        for note in frame.attrs.get("notes", ()):
            logger.warning("%s", note)
        return frame, path
    frame = read_records(table_of(path), require_label=False)
    return frame, root_of(table_of(path), frame, root)


def _left_out(store: PackedStore, keys: np.ndarray, missing: np.ndarray) -> Counter[str]:
    reasons = store.unreadable() if missing.any() else {}
    return Counter("blank" if reasons[key.tobytes()].stage == "blank" else "unreadable" for key in keys[missing])


def _refusal(store: PackedStore, left_out: Mapping[str, int], images: int) -> str:
    counts = " and ".join(f"{count} {reason}" for reason, count in sorted(left_out.items(), reverse=True))
    way_out = "look at the causes" if sum(left_out.values()) == images else "repair them, or give --unreadable skip"
    return f"{counts} of {images} images are not packed; {store.store_dir / QUARANTINE_FILE} lists them: {way_out}"


def _verify(store: PackedStore) -> None:
    damages = store.verify()
    if damages:
        parts = sorted({damage.part for damage in damages})
        first = damages[0] if damages[0].row is None else f"{damages[0].part}, row {damages[0].row}: {damages[0].cause}"
        raise StoreError(
            f"packed store {store.folder}: {len(damages)} rows or files are damaged, the first in {first}; delete "
            f"{', '.join(parts)} there and pack again"
        )
