"""The dataset of a bundle's config: out of a sealed store where there is one, else packed from the source images."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from radimagenet_monai.data.augmentation import AffineAugmentation
from radimagenet_monai.data.filling import Progress
from radimagenet_monai.data.packed_images import MappedParts, PackedImages
from radimagenet_monai.data.packed_store import PackedDataset, PackedStore
from radimagenet_monai.data.sealed_index import SealedIndex
from radimagenet_monai.data.sealed_records import SealedRecords
from radimagenet_monai.data.sealed_store import check_parts, sealed_folders
from radimagenet_monai.datasets.records import Split
from radimagenet_monai.errors import StoreError

logger = logging.getLogger(__name__)


def packed_dataset(
    data: Sequence[Mapping[str, Any]],
    transform: Callable[..., Any] | Sequence[Callable[..., Any]],
    store_dir: str | os.PathLike[str],
    image_size: int | Sequence[int],
    keep_aspect: bool = False,
    transform_keys: Sequence[str] = (),
    num_workers: int | None = None,
    unreadable: Literal["stop", "skip"] = "stop",
    augmentation: AffineAugmentation | None = None,
    progress: Progress = True,
    path_keys: Sequence[str] = (),
    with_mask: bool = False,
    classes: Sequence[str] | None = None,
    split: Split | None = None,
    fold: int | None = None,
    findings: Sequence[str] | None = None,
    require_mask: bool = False,
) -> PackedImages:
    """`PackedDataset`, which a sealed store can give without records and without their images.

    Records that are given decide: their images are packed into the store where they are not yet in it. Without
    records, and with a store that ``radimagenet pack`` has sealed, the records are the store's own; nothing is written
    then and no source image is looked for. Without either, the dataset is empty, as in a workflow that is built to be
    checked.

    Parameters
    ----------
    data, transform, store_dir, image_size, keep_aspect, transform_keys, num_workers
        As for `PackedDataset`.
    unreadable, augmentation, progress, path_keys, with_mask
        As for `PackedDataset`.
    classes, split, fold, findings, require_mask
        Which of a sealed store's records, and with which labels: as for
        `radimagenet_monai.datasets.records.to_datalist`.

    Raises
    ------
    StoreError
        As `PackedDataset`; for a store that is sealed, but not for this size and transform, or not whole.
    RecordsError
        As `PackedDataset` and `SealedRecords`.
    ConfigurationError
        As `PackedDataset` and `SealedRecords`.
    """
    if not data:
        store = PackedStore(store_dir, transform, image_size, keep_aspect, transform_keys=transform_keys)
        folder = _sealed_folder(store)
        if folder is not None:
            index = SealedIndex(folder)
            records = SealedRecords(index, classes, split, fold, findings, require_mask)
            return PackedImages(
                records,
                MappedParts(check_parts(index)),
                records.places(),
                not_scalar={"mask", "label"} if findings else {"mask"},
                vectors={"label"} if findings else set(),
                augmentation=augmentation,
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
    )


def _sealed_folder(store: PackedStore) -> Path | None:
    """The sealed folder that fits the store's size and transform; ``None`` where nothing is sealed."""
    folders = sealed_folders(store.store_dir)
    if not folders or store.folder in folders:
        return store.folder if folders else None
    wanted = json.loads(json.dumps(store.manifest))
    manifests = {folder: _manifest(folder) for folder in folders}
    for folder, manifest in manifests.items():
        if {**manifest, "versions": None} == {**wanted, "versions": None}:
            # Nothing can be packed anew without the source images, and the pixels are what they are.
            logger.warning(
                "sealed store %s was packed with %s, here is %s; its images are taken as they are",
                folder,
                _versions(manifest),
                _versions(wanted),
            )
            return folder
    sizes = sorted({"x".join(map(str, manifest["image_size"])) for manifest in manifests.values()})
    size = "x".join(map(str, store.size))
    if size not in sizes:
        raise StoreError(
            f"store {store.store_dir} is sealed for images of {', '.join(sizes)} and {size} is asked for; give "
            f"--image_size as packed, or run 'radimagenet pack' with --size {store.size[0]}"
        )
    same_size = next(manifest for manifest in manifests.values() if manifest["image_size"] == wanted["image_size"])
    different = [key for key in wanted if key != "versions" and same_size.get(key) != wanted[key]]
    raise StoreError(
        f"store {store.store_dir} is sealed for another preparation of the images ({', '.join(different)} differ, see "
        "manifest.json in it); run 'radimagenet pack' with the settings of this bundle, or give --dataset_dir"
    )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not {"image_size", "versions"} <= manifest.keys():
            raise ValueError("no image_size and versions in it")
    except (OSError, ValueError, AttributeError) as error:
        raise StoreError(f"sealed store: {path} cannot be read ({error}); copy the store again") from error
    return manifest


def _versions(manifest: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
