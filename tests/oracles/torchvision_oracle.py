"""torchvision's and timm's own networks, beside a torch build that may be another than theirs.

torchvision's compiled operators are not needed for its networks, but its import wants two of their schemas. A test
that asks for a network skips, with the reason, where the library is not installed.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch
from torch import nn

HEADS = {"resnet50": "fc.", "densenet121": "classifier.", "inceptionv3": "fc.", "inceptionresnetv2": "classif."}
"""Prefix of the classification head's tensors."""

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_defined: list[torch.library.Library] = []


def published_network(architecture: str) -> nn.Module:
    """The network of torchvision (timm for InceptionResNetV2) with random weights, in evaluation mode."""
    if architecture == "inceptionresnetv2":
        library("torchvision")
        return library("timm").create_model("inception_resnet_v2", pretrained=False).eval()
    models = library("torchvision").models
    if architecture == "inceptionv3":
        return models.inception_v3(weights=None, aux_logits=False, init_weights=False).eval()
    return getattr(models, architecture)(weights=None).eval()


def final_features(architecture: str, network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """The last feature map of a published network, from a hook or its own feature method."""
    if architecture == "densenet121":
        return torch.relu(network.features(image))
    if architecture == "inceptionresnetv2":
        return network.forward_features(image)
    kept: list[torch.Tensor] = []
    last = network.layer4 if architecture == "resnet50" else network.Mixed_7c
    hook = last.register_forward_hook(lambda module, inputs, output: kept.append(output))
    network(image)
    hook.remove()
    return kept[0]


def without_head(architecture: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict without the classification head."""
    return {name: tensor for name, tensor in state.items() if not name.startswith(HEADS[architecture])}


def library(name: str) -> ModuleType:
    """``torchvision`` or ``timm``; timm imports torchvision, so ask for that first."""
    if name == "torchvision" and not _defined:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, operator):
                library.define(operator + _SCHEMA)
        _defined.append(library)
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name} is not installed: {error}")
