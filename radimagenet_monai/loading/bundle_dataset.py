"""The dataset of a bundle's config: read from a sealed store if there is one, else packed from source images."""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from monai.transforms import Compose

from radimagenet_monai.core.errors import ConfigurationError, StoreError
from radimagenet_monai.datasets import masks
from radimagenet_monai.datasets.masks.channel import AppendMaskd
from radimagenet_monai.datasets.records.table import PLANE, Split
from radimagenet_monai.loading.file_grid import require_mask_files
from radimagenet_monai.loading.packed_items import PackedDataset, PackedImages
from radimagenet_monai.loading.random_steps import Steps, deterministic, split_where_random
from radimagenet_monai.loading.resize import ResizeCanonicald
from radimagenet_monai.store.first_release import MARK
from radimagenet_monai.store.mapped_images import ImageSource, MappedParts
from radimagenet_monai.store.packed_row import Progress
from radimagenet_monai.store.packed_store import PackedStore
from radimagenet_monai.store.sealed.index import SealedIndex
from radimagenet_monai.store.sealed.records import SealedRecords
from radimagenet_monai.store.sealed.remote import RemoteStore
from radimagenet_monai.store.sealed.sealing import check_parts, is_address, sealed_folders

logger = logging.getLogger(__name__)


def packed_dataset(
    data: Sequence[Mapping[str, Any]],
    transform: Steps,
    store_dir: str | os.PathLike[str],
    image_size: int | Sequence[int],
    keep_aspect: bool = False,
    transform_keys: Sequence[str] = (),
    num_workers: int | None = None,
    unreadable: Literal["stop", "skip"] = "stop",
    augmentation: Steps | None = None,
    progress: Progress = True,
    path_keys: Sequence[str] = (),
    with_mask: bool = False,
    classes: Sequence[str] | None = None,
    split: Split | None = None,
    fold: int | None = None,
    findings: Sequence[str] | None = None,
    require_mask: bool = False,
    seed: int | None = None,
) -> PackedImages:
    """`PackedDataset`, or the same items from a sealed store without records and source images.

    Records that are given decide: their images are packed into the store where they are not yet in it. Without
    records, and with a store that ``radimagenet pack`` has sealed, the records are the store's own; nothing is written
    then and no source image is looked for. That store may be at an address, ``s3://bucket/store``, and gives the same
    items from there (`radimagenet_monai.store.sealed.remote`). Without either, the dataset is empty, as in a workflow
    that is built to be checked.

    The store keeps images as they are before the first random transform of ``transform``. The steps from there on are
    applied to the stored image, at its size, each time it is read (`RandomSteps`).

    Parameters
    ----------
    data, transform, store_dir, image_size, keep_aspect, transform_keys, num_workers
        See `PackedDataset`.
    unreadable, augmentation, progress, path_keys, with_mask
        See `PackedDataset`.
    classes, split, fold, findings, require_mask
        Selection and labels of a sealed store's records, see
        `radimagenet_monai.datasets.records.table.to_datalist`.
    seed
        Seed of the random transforms; `AffineAugmentation` has its own. Without it, as in validation, the random ones
        of ``transform`` are left out.

    Raises
    ------
    StoreError
        See `PackedDataset`; if a sealed store is incomplete or has another size or transform.
    RecordsError
        See `PackedDataset` and `SealedRecords`.
    ConfigurationError
        See `PackedDataset`, `SealedRecords` and `radimagenet_monai.loading.file_grid.require_mask_files`.
    """
    if is_address(store_dir) and data:
        raise ConfigurationError(
            f"store_dir '{store_dir}' comes with its own records, and nothing can be packed into it; leave out "
            "--dataset_dir"
        )
    transform, steps = split_where_random(_before_the_store(transform, with_mask))
    require_mask_files(data if with_mask else (), transform)
    steps = deterministic(steps) if seed is None else steps
    seed = seed or 0
    opened = None if data else _open_sealed(store_dir, transform, image_size, keep_aspect, transform_keys)
    if opened is not None:
        index, source = opened
        records = SealedRecords(index, classes, split, fold, findings, require_mask)
        if require_mask and index.mask_rules < masks.RULES and (index.integers("frame")[:] > 0).any():
            logger.warning(
                "sealed store %s was packed by version 0.1, which took slice 0 of a mask for every slice of its image; "
                "pack it again",
                os.fspath(store_dir),
            )
        return PackedImages(
            records,
            source,
            records.places(),
            not_scalar={"mask", PLANE, "label"} if findings else {"mask", PLANE},
            vectors={"label"} if findings else set(),
            augmentation=augmentation,
            steps=steps,
            seed=seed,
            with_mask=with_mask,
        )
    return PackedDataset(
        data,
        transform,
        store_dir,
        image_size,
        keep_aspect,
        transform_keys=transform_keys,
        num_workers=num_workers,
        unreadable=unreadable,
        augmentation=augmentation,
        progress=progress,
        path_keys=path_keys,
        with_mask=with_mask,
        steps=steps,
        seed=seed,
    )


def _before_the_store(transform: Steps, with_mask: bool) -> Steps:
    """The transforms of an evaluation as those of a training, which leave the final size to the store."""
    if not isinstance(transform, Compose) or not isinstance(transform.transforms[-1], ResizeCanonicald):
        return transform
    before = copy.copy(transform)  # keeps the options, and so the store
    before.transforms = (*transform.transforms[:-1], *([AppendMaskd("image")] if with_mask else []))
    return before


def _open_sealed(
    store_dir: str | os.PathLike[str],
    transform: Callable[..., Any] | Sequence[Callable[..., Any]],
    image_size: int | Sequence[int],
    keep_aspect: bool,
    transform_keys: Sequence[str],
) -> tuple[SealedIndex, ImageSource] | None:
    """Index and images of what a sealed store holds for that size and transform; ``None`` if nothing is sealed."""
    wanted = PackedStore(store_dir, transform, image_size, keep_aspect, transform_keys=transform_keys)
    if is_address(store_dir):
        remote = RemoteStore(os.fspath(store_dir))
        return remote.open(_fitting_folder(remote.folders(), remote.manifest, wanted, remote.address))
    folders = {folder.name: folder for folder in sealed_folders(store_dir)}
    if not folders:
        return None
    name = _fitting_folder(list(folders), lambda name: _read_manifest(folders[name]), wanted, os.fspath(store_dir))
    index = SealedIndex(folders[name])
    return index, MappedParts(check_parts(index))


def _fitting_folder(
    folders: Sequence[str], manifest_of: Callable[[str], dict[str, Any]], store: PackedStore, store_dir: str
) -> str:
    """Which of the sealed folders has the store's size and transform."""
    if store.folder.name in folders:
        return store.folder.name
    wanted = json.loads(json.dumps(store.manifest))
    manifests = {folder: manifest_of(folder) for folder in folders}
    for folder, manifest in manifests.items():
        if {**manifest, "versions": None, MARK: None} == {**wanted, "versions": None, MARK: None}:
            # Nothing can be packed again without the source images, and the pixels are what they are.
            logger.warning(
                "sealed store %s/%s was packed with %s, here is %s; its images are taken as they are",
                store_dir,
                folder,
                _versions(manifest),
                _versions(wanted),
            )
            return folder
    sizes = sorted({_size(manifest) for manifest in manifests.values()})
    if _size(wanted) not in sizes:
        raise StoreError(
            f"store {store_dir} is sealed for images of {', '.join(sizes)} and {_size(wanted)} is asked for; give "
            f"--image_size as packed, or run 'radimagenet pack' with --size {store.size[0]}"
        )
    same_size = next(manifest for manifest in manifests.values() if _size(manifest) == _size(wanted))
    different = [key for key in wanted if key != "versions" and same_size.get(key) != wanted[key]]
    raise StoreError(
        f"store {store_dir} is sealed for another preparation of the images ({', '.join(different)} differ, see "
        "manifest.json in it); run 'radimagenet pack' with the settings of this bundle, or give --dataset_dir"
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise StoreError(f"sealed store: {path} cannot be read ({error}); copy the store again") from error


def _size(manifest: Mapping[str, Any]) -> str:
    return "x".join(map(str, manifest.get("image_size", ())))


def _versions(manifest: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items())
