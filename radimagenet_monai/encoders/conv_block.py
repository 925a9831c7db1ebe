"""The building block of the Inception networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm (epsilon 1e-3), ReLU.

    Keeps the size, or pads nothing with ``valid``, as the published networks do in their strided layers.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int | tuple[int, int], stride: int = 1, valid: bool = False
    ) -> None:
        super().__init__()
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (0, 0) if valid else (rows // 2, columns // 2)
        self.conv = nn.Conv2d(in_channels, out_channels, (rows, columns), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def check_size(x: Tensor, least: int) -> None:
    """Refuse an image that unpadded convolutions would shrink to nothing.

    Raises
    ------
    ValueError
        If a side of ``x`` is under ``least`` pixels.
    """
    if x.shape[2] < least or x.shape[3] < least:
        raise ValueError(f"the network takes images of at least {least} x {least}, not {x.shape[2]} x {x.shape[3]}")


def pad_one(x: Tensor) -> Tensor:
    """Pad one zero on each side, so that an unpadded 3x3 keeps the size, or halves it exactly.

    Before a max pool it acts as minus infinity, since every map here has gone through a ReLU.
    """
    return torch.constant_pad_nd(x, [1, 1, 1, 1])
