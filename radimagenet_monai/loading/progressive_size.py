"""Images that start small and grow over the first epochs of a training."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from radimagenet_monai.core.errors import ConfigurationError

STEP = 32
"""Sizes on the way are multiples of this, the reduction of the encoders."""


class ProgressiveSize:
    """Size of the images as a function of the epoch, and the resizing of a batch on its device.

    Howard et al., fast.ai at DAWNBench, 2018; Tan and Le, EfficientNetV2, ICML 2021. Small images cost less, and the
    epochs at full size undo the shift between sizes (Touvron et al., Fixing the train-test resolution discrepancy,
    NeurIPS 2019).

    Parameters
    ----------
    image_size
        Rows and columns of the images as they are packed; one number.
    epochs
        Epochs over which the size grows evenly; later ones use full size. 0: all epochs use full size.
    first_size
        Image size in the first epoch, a multiple of 32.

    Raises
    ------
    ConfigurationError
        For sizes that are not multiples of 32 or larger than the images.
    """

    def __init__(self, image_size: int, epochs: int = 0, first_size: int = 128) -> None:
        self.image_size = int(image_size)
        self.epochs = int(epochs)
        self.first_size = int(first_size)
        if self.epochs < 0:
            raise ConfigurationError(f"progressive_resizing {epochs}: expected a number of epochs from 0 up")
        if self.epochs and (self.first_size % STEP or not 0 < self.first_size <= self.image_size):
            raise ConfigurationError(
                f"first_image_size {first_size}: expected a multiple of {STEP} up to image_size {image_size}"
            )

    def size(self, epoch: int) -> int:
        """Rows and columns in ``epoch``, counted from 1."""
        if not self.epochs or epoch > self.epochs:
            return self.image_size
        grown = self.first_size + (self.image_size - self.first_size) * max(epoch - 1, 0) / self.epochs
        return int(grown) // STEP * STEP

    def resize(self, images: torch.Tensor, epoch: int) -> torch.Tensor:
        """``(N, C, H, W)`` floating point at the size of ``epoch``, bilinear with antialiasing."""
        size = self.size(epoch)
        if images.shape[-2:] == (size, size):
            return images
        return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
