"""DenseNet121 (Huang et al. 2017) with torchvision's key names."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radimagenet_monai.encoders.architectures import Architecture
from radimagenet_monai.encoders.backbone import Backbone, initialize_convolutions
from radimagenet_monai.encoders.keras_graph import KerasGraph
from radimagenet_monai.encoders.spec import FeatureMap, NetworkVariant, Published

ENCODER = Architecture(
    name="densenet121",
    title="DenseNet121",
    network="DenseNet121",
    num_features=1024,
    num_parameters=6_953_856,
    pyramid_channels=(64, 256, 512, 1024, 1024),
    minimum_size=32,
    key_names="torchvision",
    reference="Huang et al., Densely Connected Convolutional Networks, CVPR 2017",
    variants={"torch": NetworkVariant(), "keras": NetworkVariant(bn_eps=1.001e-5)},
    feature_maps={
        "1/32": FeatureMap("encoder", 32, 14),
        "1/16": FeatureMap("encoder.backbone.features.denseblock3", 16, 6),
    },
    published=(
        Published("radimagenet_keras", "RadImageNet-DenseNet121_notop.h5"),
        Published("radimagenet_torch", "DenseNet121.pt"),
        Published("imagenet_torchvision", "densenet121-a639ec97.pth", ("a639ec97",)),
        Published("imagenet_keras", "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5", convention="imagenet"),
    ),
    position=2,
)

_GROWTH = 32
_BOTTLENECK = 4 * _GROWTH


class DenseLayer(nn.Module):
    """Batch norm, ReLU, 1x1, batch norm, ReLU, 3x3: adds 32 channels."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, _BOTTLENECK, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(_BOTTLENECK)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(_BOTTLENECK, _GROWTH, kernel_size=3, padding=1, bias=False)

    def forward(self, maps: list[Tensor]) -> Tensor:
        # The maps are concatenated here: the caller would keep the result alive until this layer has finished.
        x = self.conv1(self.relu1(self.norm1(torch.cat(maps, 1))))
        return self.conv2(self.relu2(self.norm2(x)))


class DenseBlock(nn.ModuleDict):
    """Dense layers, each of which takes the maps of all layers before it."""

    def __init__(self, layers: int, in_channels: int) -> None:
        super().__init__({f"denselayer{i + 1}": DenseLayer(in_channels + i * _GROWTH) for i in range(layers)})

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.values():
            maps.append(layer(maps))
        return torch.cat(maps, 1)


class Transition(nn.Sequential):
    """Halves channels and size."""

    def __init__(self, in_channels: int) -> None:
        super().__init__(
            OrderedDict(
                norm=nn.BatchNorm2d(in_channels),
                relu=nn.ReLU(inplace=True),
                conv=nn.Conv2d(in_channels, in_channels // 2, kernel_size=1, bias=False),
                pool=nn.AvgPool2d(kernel_size=2, stride=2),
            )
        )


class DenseNet121(Backbone):
    """See `Backbone`. 1 024 features at 1/32 of the input size, after the final batch norm and ReLU."""

    num_features = ENCODER.num_features
    pyramid_channels = ENCODER.pyramid_channels
    # Keras: conv5_block16_{0_bn, 0_relu, 1_conv, 1_bn, 1_relu, 2_conv, concat}, bn, relu; the tenth from the end,
    # conv5_block15_concat, has no parameters.
    last_10_keras_layers = ("features.denseblock4.denselayer16", "features.norm5")

    def __init__(self) -> None:
        super().__init__()
        stem: list[tuple[str, nn.Module]] = [
            ("conv0", nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)),
            ("norm0", nn.BatchNorm2d(64)),
            ("relu0", nn.ReLU(inplace=True)),
            ("pool0", nn.MaxPool2d(kernel_size=3, stride=2, padding=1)),
        ]
        channels = 64
        for i, layers in enumerate((6, 12, 24, 16), start=1):
            stem.append((f"denseblock{i}", DenseBlock(layers, channels)))
            channels += layers * _GROWTH
            if i < 4:
                stem.append((f"transition{i}", Transition(channels)))
                channels //= 2
        stem.append(("norm5", nn.BatchNorm2d(channels)))
        self.features = nn.Sequential(OrderedDict(stem))
        initialize_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.features(x), inplace=True)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for name, module in self.features.named_children():
            x = module(x)
            if name in ("relu0", "denseblock1", "denseblock2", "denseblock3"):
                maps.append(x)
        maps.append(F.relu(x, inplace=True))
        return maps


def keras_layers(graph: KerasGraph) -> None:
    """The layers of Keras' DenseNet121, see `radimagenet_monai.encoders.keras_graph`."""

    x = graph.conv(graph.other(0), "features.conv0", "conv1_conv")
    x = graph.other(graph.norm(x, "features.norm0", "conv1_bn"))
    x = graph.other(graph.other(x))
    for stage, blocks in enumerate((6, 12, 24, 16), start=1):
        for block in range(1, blocks + 1):
            name, module = f"conv{stage + 1}_block{block}", f"features.denseblock{stage}.denselayer{block}"
            new = graph.other(graph.norm(x, f"{module}.norm1", f"{name}_0_bn"))
            new = graph.conv(new, f"{module}.conv1", f"{name}_1_conv")
            new = graph.other(graph.norm(new, f"{module}.norm2", f"{name}_1_bn"))
            new = graph.conv(new, f"{module}.conv2", f"{name}_2_conv")
            x = graph.other(x, new)
        if stage < 4:
            module = f"features.transition{stage}"
            x = graph.other(graph.norm(x, f"{module}.norm", f"pool{stage + 1}_bn"))
            x = graph.other(graph.conv(x, f"{module}.conv", f"pool{stage + 1}_conv"))
    graph.other(graph.norm(x, "features.norm5", "bn"))
