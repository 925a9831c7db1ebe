"""Where augmentation happens: image by image in the workers, or batch by batch on a GPU."""

from __future__ import annotations

from typing import Any

import torch

from radimagenet_monai.loading.augmentation import AffineAugmentation


def augmentation_in_workers(augmentation: Any, device: str | torch.device) -> Any:
    """The augmentation for `PackedDataset`, or None where `PrepareBatch` does it on the GPU.

    Only `AffineAugmentation` by itself runs on a GPU; all other transforms run image by image.
    """
    return None if augmentation_on_device(augmentation, device) is not None else augmentation


def augmentation_on_device(augmentation: Any, device: str | torch.device) -> AffineAugmentation | None:
    """The augmentation for `PrepareBatch`, or None where `PackedDataset` does it."""
    alone = isinstance(augmentation, AffineAugmentation)
    return augmentation if alone and torch.device(device).type != "cpu" else None
