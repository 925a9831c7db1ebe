"""What the four encoder architectures have in common."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from radimagenet_monai.encoders.spec import NetworkVariant


class Backbone(nn.Module):
    """A convolutional network without head, over an already normalized 3-channel image.

    Its state dict has exactly the keys of the library named in its `Architecture`, so that published weights load
    strictly. Subclasses set the class attributes and implement the three methods.
    """

    num_features: ClassVar[int]
    """Channels of the final feature map."""

    pyramid_channels: ClassVar[tuple[int, ...]]
    """Channels of the five maps of `pyramid`."""

    last_10_keras_layers: ClassVar[tuple[str, ...]]
    """Modules that hold the parameters of the last ten layers of the Keras application of this network: what the
    protocol's ``all_but_last_10`` leaves trainable."""

    def forward(self, x: Tensor) -> Tensor:
        """``(N, 3, H, W)`` to the final feature map ``(N, num_features, h, w)``, after its activation."""
        raise NotImplementedError

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """``(N, 3, H, W)``, H and W multiples of 32, to five maps at exactly 1/2, 1/4, 1/8, 1/16 and 1/32."""
        raise NotImplementedError

    def apply_variant(self, variant: NetworkVariant) -> None:
        """Switch to the network variant that the weights were trained in. Changes no tensor."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = variant.bn_eps
            elif isinstance(module, nn.AvgPool2d):
                module.count_include_pad = variant.pool_padding == "counted"


def initialize_convolutions(network: nn.Module) -> None:
    """Draw convolutions from He's normal distribution (He et al. 2015), batch norms as identity, in place."""
    if next(network.parameters()).is_meta:
        return  # no values, but torch would import its compiler to draw them
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
