"""From canonical images to batches: datasets, augmentation, sampler and loader.

A JSON config names these as ``radimagenet_monai.loading.<Name>``; importing this package loads neither torch nor MONAI
until one of them is accessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.datasets.masks.channel import AppendMaskd
    from radimagenet_monai.loading.augmentation import AffineAugmentation
    from radimagenet_monai.loading.augmentation_site import augmentation_in_workers, augmentation_on_device
    from radimagenet_monai.loading.bundle_dataset import packed_dataset
    from radimagenet_monai.loading.loader import (
        EpochLoader,
        PrepareBatch,
        build_loader,
        collate_packed,
        dataset_items,
        records_of,
    )
    from radimagenet_monai.loading.native_dataset import NativeDataset, list_native_images, white_level_of
    from radimagenet_monai.loading.packed_items import PackedDataset
    from radimagenet_monai.loading.progressive_size import ProgressiveSize
    from radimagenet_monai.loading.resize import ResizeCanonicald
    from radimagenet_monai.loading.sampler import EpochBatches, EpochSampler, SampleKey

_MODULE_OF = {
    "AffineAugmentation": "augmentation",
    "AppendMaskd": "radimagenet_monai.datasets.masks.channel",
    "EpochBatches": "sampler",
    "EpochLoader": "loader",
    "EpochSampler": "sampler",
    "NativeDataset": "native_dataset",
    "PackedDataset": "packed_items",
    "PrepareBatch": "loader",
    "ProgressiveSize": "progressive_size",
    "ResizeCanonicald": "resize",
    "SampleKey": "sampler",
    "augmentation_in_workers": "augmentation_site",
    "augmentation_on_device": "augmentation_site",
    "build_loader": "loader",
    "collate_packed": "loader",
    "dataset_items": "loader",
    "list_native_images": "native_dataset",
    "packed_dataset": "bundle_dataset",
    "records_of": "loader",
    "white_level_of": "native_dataset",
}

__all__ = [
    "AffineAugmentation",
    "AppendMaskd",
    "EpochBatches",
    "EpochLoader",
    "EpochSampler",
    "NativeDataset",
    "PackedDataset",
    "PrepareBatch",
    "ProgressiveSize",
    "ResizeCanonicald",
    "SampleKey",
    "augmentation_in_workers",
    "augmentation_on_device",
    "build_loader",
    "collate_packed",
    "dataset_items",
    "list_native_images",
    "packed_dataset",
    "records_of",
    "white_level_of",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
