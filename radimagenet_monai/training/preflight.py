"""Checks that cost nothing and are made before hours of work."""

from __future__ import annotations

import os
from collections.abc import Sized
from pathlib import Path

from radimagenet_monai.data.native_dataset import left_out_of
from radimagenet_monai.data.sealed_store import is_sealed
from radimagenet_monai.errors import ConfigurationError, RecordsError
from radimagenet_monai.networks.architectures import get_architecture
from radimagenet_monai.training.distributed import rank


def require_writable(*folders: str | os.PathLike[str]) -> None:
    """Refuse folders that could not be written to later. Creates nothing.

    A sealed store is only read, so it may lie on a read-only disk.

    Raises
    ------
    ConfigurationError
        For a path that is a file, lies below one, or that the user may not write to.
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


def require_image_size(architecture: str, image_size: int) -> None:
    """Refuse images that are smaller than the network's layers need.

    Raises
    ------
    ConfigurationError
        For a smaller size, or an unknown architecture.
    """
    least = get_architecture(architecture).minimum_size
    if int(image_size) < least:
        raise ConfigurationError(
            f"image_size {image_size} is too small for {architecture}, which needs at least {least}; "
            f"give --image_size {least} or more"
        )


def require_images(*datasets: Sized) -> None:
    """Refuse to run on nothing: a bundle can be built and checked without data, but not run.

    Says how many files of a folder are left out, and for which reasons.

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
        for note in left_out_of(getattr(dataset, "data", ())).notes if rank() == 0 else ():
            print(f"note: {note}", flush=True)
