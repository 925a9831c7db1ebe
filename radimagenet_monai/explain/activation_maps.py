"""Where a classifier looks: Grad-CAM and Grad-CAM++ of any of its feature maps.

Gradients stop at the chosen feature map, so frozen encoders work, the network is not changed, and the images of a batch
may be explained for different classes. The tests compare this module with `monai.visualize`, which computes the same
maps for a single image. In a batch, MONAI sums the gradients of all requested classes; its Grad-CAM++ vanishes if a
logit is far below zero; its hooks stay on the network; frozen layers give no map; and its maps are inverted, with 0 for
the most important pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor, nn

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.core.registry import Resolved
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.encoders.spec import FeatureMap as FeatureMap

FINAL = "1/32"
"""Level of the final feature map, the one that the head sees."""


FEATURE_MAPS: Mapping[str, Mapping[str, FeatureMap]] = Resolved(ARCHITECTURES, lambda item: item.feature_maps)
"""Of each architecture, by level: the size of a map as a share of the image's."""

# Below this share of the largest weighted activation, a map is rounding noise around zero.
_NOTHING = 1e-6


class Method(StrEnum):
    """How the channels of a feature map are weighted.

    ``gradcam`` is after Selvaraju et al., ICCV 2017; ``gradcam++`` after Chattopadhyay et al., WACV 2018, which weights
    pixels by higher derivatives, so that several lesions of one class are all marked.
    """

    GRADCAM = "gradcam"
    GRADCAM_PLUS_PLUS = "gradcam++"

    @classmethod
    def parse(cls, name: str) -> Method:
        """The method of that name; otherwise `ConfigurationError` with the valid names."""
        try:
            return cls(name)
        except ValueError:
            raise ConfigurationError(f"unknown method {name!r}; choose one of {', '.join(cls)}") from None


def activation_maps(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    method: str = "gradcam",
    feature_map: FeatureMap | None = None,
) -> np.ndarray:
    """One map of the evidence for a class per image.

    Parameters
    ----------
    network
        Gives logits ``(N, classes)``. It runs in evaluation mode; weights, gradients and mode are restored afterwards.
    images
        Canonical images ``(N, 1 or 3, H, W)`` in [0, 1], upright, on the network's device.
    targets
        ``(N,)`` int64, the class of each image whose logit is explained.
    method
        ``"gradcam"`` or ``"gradcam++"``.
    feature_map
        Default: the final one of a `Classifier`; see `classifier_feature_map` for the finer one.

    Returns
    -------
    numpy.ndarray
        float32 ``(N, H, W)`` in [0, 1], upright: evidence for the class, 1 at its maximum. A map without positive
        evidence is all 0.

    Raises
    ------
    ConfigurationError
        For an unknown method or layer, or a layer whose output is not a feature map.
    RadImageNetError
        If the network outputs NaN or infinite values.
    """
    rule = Method.parse(method)
    where = feature_map or classifier_feature_map(network)
    features, gradients = _features_and_gradients(network, images, targets, where.layer)
    if rule is Method.GRADCAM:
        weights = gradients.mean(dim=(2, 3), keepdim=True)
    else:
        squared = gradients.square()
        # The derivatives of exp(logit), of which the factor exp(logit) cancels in the normalized map.
        curvature = 2 * squared + (features * gradients**3).sum(dim=(2, 3), keepdim=True)
        alpha = torch.where(curvature != 0, squared / torch.where(curvature != 0, curvature, 1), 0)
        weights = (alpha * gradients.relu()).sum(dim=(2, 3), keepdim=True)
    weighted = weights * features
    evidence = weighted.sum(dim=1, keepdim=True).relu()
    if not torch.isfinite(evidence).all():
        raise RadImageNetError(
            "the activation map holds values that are not finite; look for where the network or its input became "
            "infinite"
        )
    evidence[evidence <= _NOTHING * weighted.abs().sum(dim=1, keepdim=True).amax(dim=(2, 3), keepdim=True)] = 0
    maps = _to_pixels(evidence, images.shape[2], images.shape[3], where)
    highest = maps.amax(dim=(2, 3), keepdim=True)
    normalized = torch.where(highest > 0, maps / torch.where(highest > 0, highest, 1), 0)
    return normalized[:, 0].cpu().numpy()


def classifier_feature_map(network: nn.Module, level: str = FINAL) -> FeatureMap:
    """A feature map of a `Classifier`.

    Parameters
    ----------
    network
        A classifier on one of the encoders.
    level
        ``"1/32"``, the final map, or ``"1/16"``, which is finer but farther from the decision.

    Raises
    ------
    ConfigurationError
        For another network or level.
    """
    maps = FEATURE_MAPS.get(getattr(getattr(network, "encoder", None), "architecture", ""))
    if not maps:
        raise ConfigurationError(
            f"a {type(network).__name__} has no feature map known by name; give a Classifier, or a feature_map"
        )
    if level not in maps:
        raise ConfigurationError(f"unknown level {level!r} of a feature map; choose one of {', '.join(maps)}")
    return maps[level]


def _to_pixels(evidence: Tensor, rows: int, columns: int, where: FeatureMap) -> Tensor:
    """Cells ``(N, 1, h, w)`` to pixels ``(N, 1, rows, columns)``, linear between the centers of the cells.

    The common alternative, stretching the map over the image, would shift it: by half a cell, 16 pixels, to the right
    and down for ResNet50, whose cells are centered on pixels 0, 32, 64 and so on.
    """
    across = [
        _interpolation(length, cells, where).to(evidence)
        for length, cells in ((rows, evidence.shape[2]), (columns, evidence.shape[3]))
    ]
    return across[0] @ evidence @ across[1].T


def _interpolation(length: int, cells: int, where: FeatureMap) -> Tensor:
    """Weights ``(length, cells)`` of the cells at each pixel; beyond the first and last centers the map is constant."""
    place = ((torch.arange(length) - where.first) / where.stride).clamp(0, cells - 1)
    return (1 - (place[:, None] - torch.arange(cells)).abs()).clamp(min=0)


def _features_and_gradients(network: nn.Module, images: Tensor, targets: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """A layer's output and the derivative of each image's target logit by it, both float64 ``(N, C, h, w)``."""
    try:
        module = network.get_submodule(layer)
    except AttributeError:
        raise ConfigurationError(
            f"the network has no layer {layer!r}; give a name of network.named_modules(), such as 'encoder'"
        ) from None
    captured: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            raise ConfigurationError(f"layer {layer!r} gives no feature map (N, C, h, w); choose another layer")
        captured.append(output.detach().clone().requires_grad_())
        # The next layers may work in place, which autograd does not allow on a leaf tensor.
        return captured[-1].clone()

    modes = {name: part.training for name, part in network.named_modules()}
    hook = module.register_forward_hook(cut)
    try:
        network.eval()
        with torch.enable_grad():
            logits = network(images)
            chosen = logits.gather(1, targets.view(-1, 1).to(logits.device)).sum()
            # The layer may be used several times; the last use is what the head sees.
            (gradients,) = torch.autograd.grad(chosen, captured[-1])
    finally:
        hook.remove()
        for name, part in network.named_modules():
            part.training = modes[name]
    return captured[-1].detach().double(), gradients.double()
