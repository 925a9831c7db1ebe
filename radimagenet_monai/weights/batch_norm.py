"""Checks whether batch norm statistics are plausible for a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from radimagenet_monai.core.errors import WeightsError

VARIANCE_BOUND = 1e4
"""Running variances above this are pointed out. Trained networks stay far below; the DenseNet121 of the PyTorch
RadImageNet weights has one of 56 296. Features behind such a channel overflow in float16, whose largest number is
65 504; bfloat16 and float32 are not affected."""


@dataclass(frozen=True)
class BatchNormReport:
    """Running statistics of all batch norms of a network.

    Attributes
    ----------
    layers, channels
        Number of batch norm layers, and of their channels.
    largest_variance, largest_at
        The largest running variance, and its layer.
    above_bound
        Layers with a running variance over `VARIANCE_BOUND`.
    dead_channels
        Channels whose running variance is exactly 0, i.e. whose input never varied.
    """

    layers: int
    channels: int
    largest_variance: float
    largest_at: str
    above_bound: tuple[str, ...]
    dead_channels: int

    def describe(self) -> list[str]:
        """Readable lines: a summary, then one for each point worth checking."""
        lines = [
            f"{self.layers} batch norms, {self.channels} channels; largest running variance "
            f"{self.largest_variance:.6g} ({self.largest_at})"
        ]
        if self.above_bound:
            lines.append(
                f"note: running variance above {VARIANCE_BOUND:.0f} in {', '.join(self.above_bound)}: "
                "do not run this encoder in float16 (bfloat16 and float32 are safe)"
            )
        if self.dead_channels:
            lines.append(f"note: {self.dead_channels} channels with a running variance of 0")
        return lines


def inspect_batch_norm(state: Mapping[str, Tensor], origin: object) -> BatchNormReport:
    """Report on the batch norms of a state dict, and refuse values that training cannot produce.

    Raises
    ------
    WeightsError
        If any tensor of ``state``, read from ``origin``, holds NaN or infinity, or a running variance is negative.
    """
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{origin} holds numbers that are not finite in {name}; the file is damaged")
    variances = {
        name.removesuffix(".running_var"): tensor for name, tensor in state.items() if name.endswith(".running_var")
    }
    for name, variance in variances.items():
        if float(variance.min()) < 0:
            raise WeightsError(
                f"{origin} holds a running variance of {float(variance.min()):g} in {name}, expected >= 0"
            )
    largest = max(variances, key=lambda name: float(variances[name].max()))
    return BatchNormReport(
        layers=len(variances),
        channels=sum(variance.numel() for variance in variances.values()),
        largest_variance=float(variances[largest].max()),
        largest_at=largest,
        above_bound=tuple(name for name, variance in variances.items() if float(variance.max()) > VARIANCE_BOUND),
        dead_channels=sum(int((variance == 0).sum()) for variance in variances.values()),
    )
