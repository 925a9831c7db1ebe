"""From canonical images to batches: datasets, augmentation, sampler and loader.

A JSON config names these as ``radimagenet_monai.loading.<Name>``; importing this package loads neither torch nor MONAI
until one of them is accessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.datasets.masks.channel import AppendMaskd as AppendMaskd
    from radimagenet_monai.loading.augmentation import AffineAugmentation as AffineAugmentation
    from radimagenet_monai.loading.augmentation_site import augmentation_in_workers as augmentation_in_workers
    from radimagenet_monai.loading.augmentation_site import augmentation_on_device as augmentation_on_device
    from radimagenet_monai.loading.bundle_dataset import packed_dataset as packed_dataset
    from radimagenet_monai.loading.loader import EpochLoader as EpochLoader
    from radimagenet_monai.loading.loader import PrepareBatch as PrepareBatch
    from radimagenet_monai.loading.loader import build_loader as build_loader
    from radimagenet_monai.loading.loader import collate_packed as collate_packed
    from radimagenet_monai.loading.loader import dataset_items as dataset_items
    from radimagenet_monai.loading.loader import records_of as records_of
    from radimagenet_monai.loading.native_dataset import NativeDataset as NativeDataset
    from radimagenet_monai.loading.native_dataset import list_native_images as list_native_images
    from radimagenet_monai.loading.native_dataset import white_level_of as white_level_of
    from radimagenet_monai.loading.packed_items import PackedDataset as PackedDataset
    from radimagenet_monai.loading.progressive_size import ProgressiveSize as ProgressiveSize
    from radimagenet_monai.loading.resize import ResizeCanonicald as ResizeCanonicald
    from radimagenet_monai.loading.sampler import EpochBatches as EpochBatches
    from radimagenet_monai.loading.sampler import EpochSampler as EpochSampler
    from radimagenet_monai.loading.sampler import SampleKey as SampleKey
    from radimagenet_monai.loading.whole_image import EachSlice as EachSlice

_MODULE_OF = {
    "AffineAugmentation": "augmentation",
    "AppendMaskd": "radimagenet_monai.datasets.masks.channel",
    "EachSlice": "whole_image",
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

__all__ = [*_MODULE_OF]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
