"""Which parameters get weight decay."""

from __future__ import annotations

from typing import Any

from torch import nn


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for an optimizer of torch: weights of convolutions and linear layers are decayed, the rest is not.

    Biases and the scales and shifts of normalization are left alone, as in He et al., Bag of Tricks for Image
    Classification with Convolutional Neural Networks, CVPR 2019.
    """
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    kept = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": float(weight_decay)}, {"params": kept, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
