"""The common encoder: input normalization and a backbone, in the variant its weights were trained in."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.registry import Resolved, resolve
from radimagenet_monai.encoders.architectures import ARCHITECTURES, get_architecture
from radimagenet_monai.encoders.backbone import Backbone
from radimagenet_monai.encoders.input_norm import InputNorm
from radimagenet_monai.encoders.spec import NetworkVariant, WeightSpec

BACKBONES: Mapping[str, type[Backbone]] = Resolved(ARCHITECTURES, lambda item: resolve(item.module, item.network))
"""The network of each architecture, imported on first use."""


class EncoderParts(nn.Module):
    """Input normalization and backbone: the tensors of an encoder, whatever its ``forward`` returns.

    The input convention and the network variant (stride, epsilon, pooling) are buffers of the state dict and take
    effect when it is loaded: nothing else is needed to rebuild a trained network.
    """

    variant: Tensor

    def __init__(self, architecture: str, spec: WeightSpec) -> None:
        super().__init__()
        self.architecture = get_architecture(architecture).name
        self.input_norm = InputNorm(spec.convention)
        self.backbone = BACKBONES[architecture]()
        self.num_features = self.backbone.num_features
        self.register_buffer("variant", _variant_to_tensor(spec.variant))
        self.backbone.apply_variant(spec.variant)
        self.register_load_state_dict_post_hook(_apply_loaded_variant)

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Five maps at exactly 1/2, 1/4, 1/8, 1/16 and 1/32; H and W must be multiples of 32."""
        return self.backbone.pyramid(self.input_norm(image))


class Encoder(EncoderParts):
    """Canonical image to features.

    ``encoder(image)``, ``image`` of shape (N, 1 or 3, H, W) in [0, 1], is the final feature map
    (N, ``num_features``, h, w) as the published network gives it. `pooled` averages it over space; `pyramid` gives
    five maps at 1/2 ... 1/32 for a U-Net.
    """

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone(self.input_norm(image))

    def pooled(self, image: Tensor) -> Tensor:
        """Features averaged over space, (N, ``num_features``)."""
        return self.forward(image).mean(dim=(2, 3))


def _variant_to_tensor(variant: NetworkVariant) -> Tensor:
    values = [variant.bn_eps, variant.stride_on == "1x1", variant.pool_padding == "ignored"]
    return torch.tensor(values, dtype=torch.float64)


def variant_of(values: Tensor) -> NetworkVariant:
    """The network variant stored in the buffer ``variant`` of an encoder's state dict.

    Raises
    ------
    ConfigurationError
        If the buffer does not describe a variant.
    """
    if values.shape != (3,):
        raise ConfigurationError(f"the state dict holds a network variant of {list(values.shape)} values, expected 3")
    eps, stride_on_1x1, pool_ignores_padding = values.tolist()
    if not 0 < eps < 1:
        raise ConfigurationError(f"the state dict holds a batch norm epsilon of {eps}, expected one in (0, 1)")
    return NetworkVariant(
        bn_eps=eps,
        stride_on="1x1" if stride_on_1x1 else "3x3",
        pool_padding="ignored" if pool_ignores_padding else "counted",
    )


def _apply_loaded_variant(module: nn.Module, incompatible_keys: Any) -> None:
    assert isinstance(module, EncoderParts)
    module.backbone.apply_variant(variant_of(module.variant))
