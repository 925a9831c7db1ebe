"""InceptionResNetV2 (Szegedy et al. 2017) with timm's key names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radimagenet_monai.encoders.architectures import Architecture
from radimagenet_monai.encoders.backbone import Backbone, initialize_convolutions
from radimagenet_monai.encoders.conv_block import ConvBlock, check_size, pad_one
from radimagenet_monai.encoders.keras_graph import KerasGraph
from radimagenet_monai.encoders.spec import FeatureMap, NetworkVariant, Published

ENCODER = Architecture(
    name="inceptionresnetv2",
    title="InceptionResNetV2",
    network="InceptionResNetV2",
    num_features=1536,
    num_parameters=54_306_464,
    pyramid_channels=(64, 192, 320, 1088, 1536),
    minimum_size=75,
    key_names="timm",
    reference="Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning, "
    "AAAI 2017",
    variants={
        "torch": NetworkVariant(bn_eps=1e-3, pool_padding="ignored"),
        "keras": NetworkVariant(bn_eps=1e-3, pool_padding="ignored"),
    },
    variant_parts=("pool_padding",),
    feature_maps={
        "1/32": FeatureMap("encoder", 32, 37),
        "1/16": FeatureMap("encoder.backbone.repeat_1", 16, 21),
    },
    published=(
        Published("radimagenet_keras", "RadImageNet-IRV2_notop.h5"),
        Published("imagenet_timm", "model.safetensors"),
        Published(
            "imagenet_keras",
            "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
            convention="tensorflow",
        ),
    ),
    position=4,
)


class Mixed5b(nn.Module):
    """1x1, 5x5, two 3x3 and pooled: 192 to 320 channels, at 1/8 of the input size."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = ConvBlock(192, 96, 1)
        self.branch1 = nn.Sequential(ConvBlock(192, 48, 1), ConvBlock(48, 64, 5))
        self.branch2 = nn.Sequential(ConvBlock(192, 64, 1), ConvBlock(64, 96, 3), ConvBlock(96, 96, 3))
        self.branch3 = nn.Sequential(
            nn.AvgPool2d(kernel_size=3, stride=1, padding=1, count_include_pad=False), ConvBlock(192, 64, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)], 1)


class Mixed6a(nn.Module):
    """Reduces 1/8 to 1/16 of the input size: 320 to 1 088 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = ConvBlock(320, 384, 3, stride=2, valid=True)
        self.branch1 = nn.Sequential(
            ConvBlock(320, 256, 1), ConvBlock(256, 256, 3), ConvBlock(256, 384, 3, stride=2, valid=True)
        )
        self.branch2 = nn.MaxPool2d(kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x)], 1)


class Mixed7a(nn.Module):
    """Reduces 1/16 to 1/32 of the input size: 1 088 to 2 080 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.branch0 = nn.Sequential(ConvBlock(1088, 256, 1), ConvBlock(256, 384, 3, stride=2, valid=True))
        self.branch1 = nn.Sequential(ConvBlock(1088, 256, 1), ConvBlock(256, 288, 3, stride=2, valid=True))
        self.branch2 = nn.Sequential(
            ConvBlock(1088, 256, 1), ConvBlock(256, 288, 3), ConvBlock(288, 320, 3, stride=2, valid=True)
        )
        self.branch3 = nn.MaxPool2d(kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)], 1)


class Residual(nn.Module):
    """Adds ``scale`` times a 1x1 convolution (with bias) of its branches, then ReLU unless it is the last block.

    The branches are ``branch0`` and on, in that order; scaling keeps the training of deep residual Inception
    networks stable (Szegedy et al. 2017, section 3.3).
    """

    def __init__(self, mixed_channels: int, out_channels: int, scale: float, relu: bool = True) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(mixed_channels, out_channels, kernel_size=1)
        self.scale = scale
        self.relu = relu

    def add_to(self, x: Tensor, branches: list[Tensor]) -> Tensor:
        out = torch.add(x, self.conv2d(torch.cat(branches, 1)), alpha=self.scale)
        return F.relu(out, inplace=True) if self.relu else out


class Block35(Residual):
    """At 1/8 of the input size: 320 channels."""

    def __init__(self) -> None:
        super().__init__(128, 320, scale=0.17)
        self.branch0 = ConvBlock(320, 32, 1)
        self.branch1 = nn.Sequential(ConvBlock(320, 32, 1), ConvBlock(32, 32, 3))
        self.branch2 = nn.Sequential(ConvBlock(320, 32, 1), ConvBlock(32, 48, 3), ConvBlock(48, 64, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.add_to(x, [self.branch0(x), self.branch1(x), self.branch2(x)])


class Block17(Residual):
    """At 1/16 of the input size: 1 088 channels."""

    def __init__(self) -> None:
        super().__init__(384, 1088, scale=0.10)
        self.branch0 = ConvBlock(1088, 192, 1)
        self.branch1 = nn.Sequential(ConvBlock(1088, 128, 1), ConvBlock(128, 160, (1, 7)), ConvBlock(160, 192, (7, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.add_to(x, [self.branch0(x), self.branch1(x)])


class Block8(Residual):
    """At 1/32 of the input size: 2 080 channels."""

    def __init__(self, scale: float = 0.20, relu: bool = True) -> None:
        super().__init__(448, 2080, scale, relu)
        self.branch0 = ConvBlock(2080, 192, 1)
        self.branch1 = nn.Sequential(ConvBlock(2080, 192, 1), ConvBlock(192, 224, (1, 3)), ConvBlock(224, 256, (3, 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.add_to(x, [self.branch0(x), self.branch1(x)])


class InceptionResNetV2(Backbone):
    """See `Backbone`. 1 536 features; images from 75 x 75.

    `forward` pads nothing where the published network does not, `pyramid` does, as in `InceptionV3`. Its five maps,
    each the last of its size, are ``conv2d_2b``, ``conv2d_4a``, ``repeat``, ``repeat_1`` and ``conv2d_7b``.
    """

    num_features = ENCODER.num_features
    pyramid_channels = ENCODER.pyramid_channels
    # Keras: batch_normalization_{199,202} and their activations, block8_10_{mixed,conv} and its scaling, conv_7b,
    # conv_7b_{bn,ac}. Keras orders layers by depth: only the last batch norm of each branch.
    last_10_keras_layers = ("block8.branch0.bn", "block8.branch1.2.bn", "block8.conv2d", "conv2d_7b")

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = ConvBlock(3, 32, 3, stride=2, valid=True)
        self.conv2d_2a = ConvBlock(32, 32, 3, valid=True)
        self.conv2d_2b = ConvBlock(32, 64, 3)
        self.maxpool_3a = nn.MaxPool2d(kernel_size=3, stride=2)
        self.conv2d_3b = ConvBlock(64, 80, 1)
        self.conv2d_4a = ConvBlock(80, 192, 3, valid=True)
        self.maxpool_5a = nn.MaxPool2d(kernel_size=3, stride=2)
        self.mixed_5b = Mixed5b()
        self.repeat = nn.Sequential(*(Block35() for _ in range(10)))
        self.mixed_6a = Mixed6a()
        self.repeat_1 = nn.Sequential(*(Block17() for _ in range(20)))
        self.mixed_7a = Mixed7a()
        self.repeat_2 = nn.Sequential(*(Block8() for _ in range(9)))
        self.block8 = Block8(scale=1.0, relu=False)
        self.conv2d_7b = ConvBlock(2080, 1536, 1)
        initialize_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        check_size(x, 75)
        # One layer per statement, so that each large early map is freed as soon as the next one exists.
        x = self.conv2d_1a(x)
        x = self.conv2d_2a(x)
        x = self.conv2d_2b(x)
        x = self.maxpool_3a(x)
        x = self.conv2d_3b(x)
        x = self.conv2d_4a(x)
        x = self.maxpool_5a(x)
        x = self.repeat(self.mixed_5b(x))
        x = self.repeat_1(self.mixed_6a(x))
        return self.conv2d_7b(self.block8(self.repeat_2(self.mixed_7a(x))))

    def pyramid(self, x: Tensor) -> list[Tensor]:
        half = self.conv2d_2b(self.conv2d_2a(pad_one(self.conv2d_1a(pad_one(x)))))
        quarter = self.conv2d_4a(pad_one(self.conv2d_3b(self.maxpool_3a(pad_one(half)))))
        eighth = self.repeat(self.mixed_5b(self.maxpool_5a(pad_one(quarter))))
        sixteenth = self.repeat_1(self.mixed_6a(pad_one(eighth)))
        last = self.conv2d_7b(self.block8(self.repeat_2(self.mixed_7a(pad_one(sixteenth)))))
        return [half, quarter, eighth, sixteenth, last]


def keras_layers(graph: KerasGraph) -> None:
    """The layers of Keras' InceptionResNetV2, see `radimagenet_monai.encoders.keras_graph`."""

    unit = graph.conv_norm_relu

    def branches(x: int, module: str, *counts: int) -> list[int]:
        """Branches of one or more units each; one of a single unit is no sequence in timm."""
        return [
            unit(x, *([f"{module}.branch{i}"] if n == 1 else [f"{module}.branch{i}.{j}" for j in range(n)]))
            for i, n in enumerate(counts)
        ]

    def residual(x: int, module: str, name: str, *counts: int, relu: bool = True) -> int:
        mixed = graph.other(*branches(x, module, *counts))
        x = graph.other(x, graph.conv(mixed, f"{module}.conv2d", f"{name}_conv", bias=True))
        return graph.other(x) if relu else x

    x = graph.other(unit(0, "conv2d_1a", "conv2d_2a", "conv2d_2b"))
    x = graph.other(unit(x, "conv2d_3b", "conv2d_4a"))
    mixed = branches(x, "mixed_5b", 1, 2, 3)
    x = graph.other(*mixed, unit(graph.other(x), "mixed_5b.branch3.1"))
    for i in range(10):
        x = residual(x, f"repeat.{i}", f"block35_{i + 1}", 1, 2, 3)
    mixed = branches(x, "mixed_6a", 1, 3)
    x = graph.other(*mixed, graph.other(x))
    for i in range(20):
        x = residual(x, f"repeat_1.{i}", f"block17_{i + 1}", 1, 3)
    mixed = branches(x, "mixed_7a", 2, 2, 3)
    x = graph.other(*mixed, graph.other(x))
    for i in range(9):
        x = residual(x, f"repeat_2.{i}", f"block8_{i + 1}", 1, 3)
    x = residual(x, "block8", "block8_10", 1, 3, relu=False)
    unit(x, "conv2d_7b", name="conv_7b")
