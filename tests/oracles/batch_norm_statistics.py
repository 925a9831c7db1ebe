"""Convolutions and batch norm statistics of a network that looks trained."""

from __future__ import annotations

import torch
from torch import nn


def settle_batch_norm(network: torch.nn.Module, seed: int = 0) -> None:
    """Statistics and affine parameters that are not 0 and 1, so that a swapped tensor shows."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.1)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.weight.data.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
            module.bias.data.copy_(torch.randn(module.num_features, generator=generator) * 0.1)


def settle_convolutions(network: nn.Module) -> None:
    """He's deviation; with torch's smaller one a deep network without shortcuts answers the same to all images."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
