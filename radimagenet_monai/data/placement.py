"""Where augmentation happens: image by image in the workers, or batch by batch on a GPU."""

from __future__ import annotations

import torch

from radimagenet_monai.data.augmentation import AffineAugmentation


def augmentation_in_workers(
    augmentation: AffineAugmentation | None, device: str | torch.device
) -> AffineAugmentation | None:
    """What to give to `PackedDataset`: the augmentation where training runs on the CPU, else nothing."""
    return augmentation if torch.device(device).type == "cpu" else None


def augmentation_on_device(
    augmentation: AffineAugmentation | None, device: str | torch.device
) -> AffineAugmentation | None:
    """What to give to `PrepareBatch`: the augmentation where training runs on a GPU, else nothing."""
    return None if torch.device(device).type == "cpu" else augmentation
