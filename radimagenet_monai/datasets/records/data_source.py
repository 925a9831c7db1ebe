"""The origin of a run's data according to its records table: the reader that prepared it, or unknown."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from radimagenet_monai.catalog.datasets import DATASETS, Dataset
from radimagenet_monai.catalog.tasks import NOT_A_DEVICE, Task
from radimagenet_monai.datasets.records.table import RECORDS_FILE
from radimagenet_monai.datasets.registry import READERS, SUMMARY_FILE

_YOURS = "your own"
_MOST_NAMED = 6  # classes in a title


def source_of_table(table: str | os.PathLike[str]) -> dict[str, Any]:
    """Facts about the data from ``summary.json`` beside a records table.

    Returns
    -------
    dict
        ``table`` (file name), ``reader`` (``None`` if unknown), the reader ``options`` that decide what the labels
        mean, and ``left_out``, reason to number.
    """
    path = Path(table)
    try:
        summary = dict(json.loads((path.parent / SUMMARY_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        summary = {}
    reader, options, left_out = (summary.get(name) for name in ("dataset", "options", "left_out"))
    return {
        "table": path.name,
        "reader": reader if reader in READERS else None,
        "options": dict(options) if isinstance(options, dict) else {},
        "left_out": dict(left_out) if isinstance(left_out, dict) else {},
    }


def source_of_bundle(
    task: Task, dataset_dir: str | os.PathLike[str], datalist: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """As `source_of_table`, for a bundle's input: a table, a folder that holds one, or the dataset itself."""
    table = Path(datalist) if datalist else Path(dataset_dir or ".") / RECORDS_FILE
    if datalist or not dataset_dir or table.exists():
        return source_of_table(table)
    return {"table": None, "reader": task.dataset, "options": dict(task.reader_options), "left_out": {}}


def described(
    task: Task, classes: Sequence[str], source: Mapping[str, Any] | None, owner: str = _YOURS
) -> tuple[Task, Dataset]:
    """The task and dataset, limited to what is true of these data.

    A bundle's title, limits and dataset are those of a published dataset. For other data only modality and classes are
    known.

    Parameters
    ----------
    task
        Task of the bundle.
    classes
        Class names in index order, as trained.
    source
        Result of `source_of_table`; ``None`` if nothing is known.
    owner
        Phrase for own data in text that is read by others than their owner.
    """
    known = source or {}
    reader, table = known.get("reader"), known.get("table") or "a table"
    dataset = Dataset(
        name="own",
        title=f"{owner if owner != _YOURS else owner + ' data'} ({table}{f', prepared by {reader}' if reader else ''})",
        access="Your own." if owner == _YOURS else "Not stated.",
        terms="Your own." if owner == _YOURS else "Not stated.",
        format="a records table",
    )
    if reader in DATASETS and not DATASETS[str(reader)].own:
        dataset = DATASETS[str(reader)]
        options = known.get("options") or {}
        same_labels = all(options.get(name) == value for name, value in task.reader_options.items())
        if reader == task.dataset and same_labels and tuple(classes) == task.classes:
            return task, dataset
    images = f"{task.modality} images" if task.modality else "images"
    named = " or ".join(classes) if len(classes) <= _MOST_NAMED else f"{len(classes)} classes"
    of_whom = f" of {owner}" if dataset.name == "own" and owner == _YOURS else ""
    own = replace(
        task,
        title=f"{named} in {images}{of_whom}",
        anatomy="",
        body_parts=(),
        classes=tuple(classes),
        split="",
        intended_use="",
        limits=_LIMITS,
        references=(),
        reported_gain=None,
    )
    return own, dataset


_LIMITS = (NOT_A_DEVICE, "Where these data come from, and whom they represent, is for the author to say.")
