"""The common encoder: input normalization and a backbone, in the variant its weights were trained in."""

from typing import Any

import torch
from torch import Tensor, nn

from radimagenet_monai.errors import ConfigurationError
from radimagenet_monai.networks.architectures import get_architecture
from radimagenet_monai.networks.backbone import Backbone
from radimagenet_monai.networks.densenet import DenseNet121
from radimagenet_monai.networks.inceptionresnetv2 import InceptionResNetV2
from radimagenet_monai.networks.inceptionv3 import InceptionV3
from radimagenet_monai.networks.input_norm import InputNorm
from radimagenet_monai.networks.resnet import ResNet50
from radimagenet_monai.weights.catalogue import resolve_weights
from radimagenet_monai.weights.spec import NetworkVariant, WeightSpec

BACKBONES: dict[str, type[Backbone]] = {
    "resnet50": ResNet50,
    "densenet121": DenseNet121,
    "inceptionv3": InceptionV3,
    "inceptionresnetv2": InceptionResNetV2,
}


class Encoder(nn.Module):
    """Canonical image to features.

    ``encoder(image)``, ``image`` of shape (N, 1 or 3, H, W) in [0, 1], is the final feature map
    (N, ``num_features``, h, w) as the published network gives it. `pooled` averages it over space; `pyramid` gives
    five maps at 1/2 ... 1/32 for a U-Net.

    Not only the input convention but also the network's variant (stride, epsilon, pooling) is a buffer of the state
    dict and takes effect when a state dict is loaded: nothing besides it is needed to rebuild a trained network.
    """

    variant: Tensor

    def __init__(self, architecture: str, spec: WeightSpec) -> None:
        super().__init__()
        get_architecture(architecture)
        self.input_norm = InputNorm(spec.convention)
        self.backbone = BACKBONES[architecture]()
        self.num_features = self.backbone.num_features
        self.register_buffer("variant", _variant_to_tensor(spec.variant))
        self.backbone.apply_variant(spec.variant)
        self.register_load_state_dict_post_hook(_apply_loaded_variant)

    def forward(self, image: Tensor) -> Tensor:
        return self.backbone(self.input_norm(image))

    def pooled(self, image: Tensor) -> Tensor:
        """Features averaged over space, (N, ``num_features``)."""
        return self.forward(image).mean(dim=(2, 3))

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """Five maps at exactly 1/2, 1/4, 1/8, 1/16 and 1/32; H and W must be multiples of 32."""
        return self.backbone.pyramid(self.input_norm(image))


def build_encoder(architecture: str = "resnet50", weights: str = "random") -> Encoder:
    """An encoder with the named weights.

    Raises
    ------
    ConfigurationError
        For an unknown architecture or weight name.
    """
    return Encoder(architecture, resolve_weights(architecture, weights))


def _variant_to_tensor(variant: NetworkVariant) -> Tensor:
    values = [variant.bn_eps, variant.stride_on == "1x1", variant.pool_padding == "ignored"]
    return torch.tensor(values, dtype=torch.float64)


def _apply_loaded_variant(module: nn.Module, incompatible_keys: Any) -> None:
    assert isinstance(module, Encoder)
    eps, stride_on_1x1, pool_ignores_padding = module.variant.tolist()
    if not 0 < eps < 1:
        raise ConfigurationError(f"the state dict holds a batch norm epsilon of {eps}, expected one in (0, 1)")
    module.backbone.apply_variant(
        NetworkVariant(
            bn_eps=eps,
            stride_on="1x1" if stride_on_1x1 else "3x3",
            pool_padding="ignored" if pool_ignores_padding else "counted",
        )
    )
