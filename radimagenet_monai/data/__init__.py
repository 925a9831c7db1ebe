"""From canonical images to batches: packed store, augmentation, sampler and loader.

A JSON config names these as ``radimagenet_monai.data.<Name>``; importing this package loads neither torch nor MONAI
until one of them is touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.data.augmentation import AffineAugmentation
    from radimagenet_monai.data.bundle_dataset import packed_dataset
    from radimagenet_monai.data.loader import EpochLoader, PrepareBatch, build_loader, collate_packed
    from radimagenet_monai.data.mask_channel import AppendMaskd
    from radimagenet_monai.data.native_dataset import NativeDataset, list_native_images, white_level_of
    from radimagenet_monai.data.packed_items import PackedDataset
    from radimagenet_monai.data.packed_store import PackedStore
    from radimagenet_monai.data.placement import augmentation_in_workers, augmentation_on_device
    from radimagenet_monai.data.progressive_size import ProgressiveSize
    from radimagenet_monai.data.resize import ResizeCanonicald
    from radimagenet_monai.data.sampler import EpochBatches, EpochSampler, SampleKey
    from radimagenet_monai.data.sealed_records import SealedRecords

_MODULE_OF = {
    "AffineAugmentation": "augmentation",
    "AppendMaskd": "mask_channel",
    "EpochBatches": "sampler",
    "EpochLoader": "loader",
    "EpochSampler": "sampler",
    "NativeDataset": "native_dataset",
    "PackedDataset": "packed_items",
    "PackedStore": "packed_store",
    "PrepareBatch": "loader",
    "ProgressiveSize": "progressive_size",
    "ResizeCanonicald": "resize",
    "SampleKey": "sampler",
    "SealedRecords": "sealed_records",
    "augmentation_in_workers": "placement",
    "augmentation_on_device": "placement",
    "build_loader": "loader",
    "collate_packed": "loader",
    "list_native_images": "native_dataset",
    "packed_dataset": "bundle_dataset",
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
    "PackedStore",
    "PrepareBatch",
    "ProgressiveSize",
    "ResizeCanonicald",
    "SampleKey",
    "SealedRecords",
    "augmentation_in_workers",
    "augmentation_on_device",
    "build_loader",
    "collate_packed",
    "list_native_images",
    "packed_dataset",
    "white_level_of",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
