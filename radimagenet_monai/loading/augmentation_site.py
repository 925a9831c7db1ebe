"""Where augmentation happens: image by image in the workers, or batch by batch on a GPU."""

from __future__ import annotations

import torch

from radimagenet_monai.loading.augmentation import AffineAugmentation


def augmentation_in_workers(
    augmentation: AffineAugmentation | None, device: str | torch.device
) -> AffineAugmentation | None:
    """The augmentation for `PackedDataset` if training runs on the CPU, otherwise None."""
    return augmentation if torch.device(device).type == "cpu" else None


def augmentation_on_device(
    augmentation: AffineAugmentation | None, device: str | torch.device
) -> AffineAugmentation | None:
    """The augmentation for `PrepareBatch` if training runs on a GPU, otherwise None."""
    return None if torch.device(device).type == "cpu" else augmentation
