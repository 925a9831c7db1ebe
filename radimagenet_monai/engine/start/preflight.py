"""Cheap checks before hours of work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.core.plain_config import is_own
from radimagenet_monai.encoders.architectures import get_architecture
from radimagenet_monai.engine.distributed import rank
from radimagenet_monai.loading.native_dataset import left_out_of
from radimagenet_monai.statistics.predictions import PredictionTable, by_exam
from radimagenet_monai.store.sealed.records import SealedRecords
from radimagenet_monai.store.sealed.sealing import is_sealed


def require_writable(*folders: str | os.PathLike[str]) -> None:
    """Refuse folders that are not writable. Creates nothing.

    A sealed store is only read, so it may be on a read-only disk.

    Raises
    ------
    ConfigurationError
        For a path that is a file, lies below a file, or is not writable.
    """
    for folder in folders:
        if is_sealed(folder):
            continue
        existing = Path(folder).absolute()
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            raise ConfigurationError(
                f"'{folder}' cannot be an output folder: '{existing}' is a file; give another --output_dir"
            )
        if not os.access(existing, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"'{folder}' cannot be written to: '{existing}' is read-only for this user; give another --output_dir"
            )


def require_image_size(architecture: str, image_size: int, network: Any = None) -> None:
    """Refuse images that are too small for the network's layers.

    Parameters
    ----------
    architecture, image_size
        Value of the run.
    network
        Config of the network. Of a library's network the smallest size is not known.

    Raises
    ------
    ConfigurationError
        For an image size that is too small, or an unknown architecture.
    """
    least = get_architecture(architecture).minimum_size
    if is_own(network) and int(image_size) < least:
        raise ConfigurationError(
            f"image_size {image_size} is too small for {architecture}, which needs at least {least}; "
            f"give --image_size {least} or more"
        )


def require_images(*datasets: Sized) -> None:
    """Refuse to run on nothing: a bundle can be built and checked without data, but not run.

    Reports how many files of a folder are left out, and why.

    Raises
    ------
    RecordsError
        For an empty dataset.
    """
    for dataset in datasets:
        if not len(dataset):
            raise RecordsError(
                "no images to run on; give --dataset_dir with the file or folder that holds them, or --store_dir with "
                "a store that 'radimagenet pack' has sealed"
            )
        data = getattr(dataset, "data", ())
        notes = [*getattr(data, "notes", ()), *left_out_of(data).notes]
        for note in notes if rank() == 0 else ():
            print(f"note: {note}", flush=True)


def require_classes(
    train: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    aggregate: str = "none",
    findings: Sequence[str] | None = None,
) -> None:
    """Refuse a training or validation part with one class only, for which the area under the ROC curve is undefined.

    Parameters
    ----------
    train, validation
        ``data`` of the two datasets. An empty part is skipped, since a workflow without data is only built.
    classes
        Class names in index order.
    aggregate
        Rule of `by_exam`; when aggregating, exams of both classes are needed.
    findings
        Names of findings that may occur together; the first must be present in some images and absent in others.

    Raises
    ------
    RecordsError
        For a part with one class, or an exam with several classes if there are more than two.
    ConfigurationError
        For an unsuitable rule.
    """
    for part, data in (("train", train), ("validation", validation)):
        if not len(data):
            continue
        labels = data.labels() if isinstance(data, SealedRecords) else np.array([item["label"] for item in data])
        outputs = len(findings or classes)
        nothing = PredictionTable(np.arange(len(data)), np.zeros((len(data), outputs)), labels, not findings)
        found = np.asarray(by_exam(nothing, data, aggregate).labels)
        if findings:
            found = found[~np.isnan(found[:, 0]), 0].astype(np.int64)
        present = np.unique(found).tolist()
        if len(present) < 2:
            names = [f"no {findings[0]}", findings[0]] if findings else list(classes)
            kind = f"only {names[present[0]]!r}" if present else "no known label"
            raise RecordsError(
                f"the {part} part holds {kind} ({len(found)} {'images' if aggregate == 'none' else 'exams'}); training "
                f"needs both of {' and '.join(map(repr, names)) if len(names) == 2 else 'two classes or more'} there: "
                "divide the records again, or give another --fold"
            )


def require_lesions(validation: Any) -> None:
    """Refuse a validation part in which no mask holds a lesion, for which Dice is undefined.

    Parameters
    ----------
    validation
        A dataset whose images have their mask as the last channel; an empty one is skipped.

    Raises
    ------
    RecordsError
    """
    if len(validation) and not any(
        bool((validation[place]["image"][-1] > 0).any()) for place in range(len(validation))
    ):
        raise RecordsError(
            f"none of the {len(validation)} masks of the validation part holds a lesion, so Dice is not defined there; "
            "check the masks, divide the records again, or give another --fold"
        )
