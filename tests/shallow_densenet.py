"""DenseNet121 with two layers a block in place of 6 to 24, for tests in which it stands for any network.

Names, channels and sizes of all maps are those of the whole network; training and exports take a sixth of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from radimagenet_monai.encoders import densenet


def _shallow(self: densenet.DenseBlock, layers: int, in_channels: int) -> None:
    """All layers but the last one become one."""
    added = (layers - 1) * 32
    first, last = densenet.DenseLayer(in_channels), densenet.DenseLayer(in_channels + added)
    first.conv2 = nn.Conv2d(first.conv2.in_channels, added, kernel_size=3, padding=1, bias=False)
    nn.ModuleDict.__init__(self, {"denselayer1": first, f"denselayer{layers}": last})


def make_shallow() -> None:
    """From now on, in this process."""
    densenet.DenseBlock.__init__ = _shallow  # type: ignore[method-assign]  # put back below


@contextmanager
def shallow_densenet() -> Iterator[None]:
    """While in the context."""
    before = densenet.DenseBlock.__init__
    make_shallow()
    try:
        yield
    finally:
        densenet.DenseBlock.__init__ = before  # type: ignore[method-assign]  # as it was
