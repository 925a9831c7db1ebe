"""InceptionV3 (Szegedy et al. 2016) with torchvision's key names, without its auxiliary head.

The module names, and the letters of the five kinds of blocks, are torchvision's; Keras applications calls the
blocks ``mixed0`` ... ``mixed10``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from radimagenet_monai.encoders.architectures import Architecture
from radimagenet_monai.encoders.backbone import Backbone, initialize_convolutions
from radimagenet_monai.encoders.conv_block import ConvBlock, check_size, pad_one
from radimagenet_monai.encoders.keras_graph import KerasGraph
from radimagenet_monai.encoders.spec import FeatureMap, NetworkVariant, Published

ENCODER = Architecture(
    name="inceptionv3",
    title="InceptionV3",
    network="InceptionV3",
    num_features=2048,
    num_parameters=21_785_568,
    pyramid_channels=(64, 192, 288, 768, 2048),
    minimum_size=75,
    key_names="torchvision",
    reference="Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016",
    variants={
        "torch": NetworkVariant(bn_eps=1e-3),
        "keras": NetworkVariant(bn_eps=1e-3, pool_padding="ignored"),
    },
    variant_parts=("pool_padding",),
    feature_maps={
        "1/32": FeatureMap("encoder", 32, 37),
        "1/16": FeatureMap("encoder.backbone.Mixed_6e", 16, 21),
    },
    published=(
        Published("radimagenet_keras", "RadImageNet-InceptionV3_notop.h5"),
        Published("radimagenet_torch", "InceptionV3.pt"),
        # torchvision's InceptionV3 undoes its transforms' mean and deviation inside the network (transform_input) for
        # weights that came from TensorFlow; the convolutions see [-1, 1].
        Published("imagenet_torchvision", "inception_v3_google-0cc3c7bd.pth", ("0cc3c7bd",), convention="centred"),
        Published(
            "imagenet_keras", "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5", convention="tensorflow"
        ),
    ),
    position=3,
)


def _average_pool() -> nn.AvgPool2d:
    return nn.AvgPool2d(kernel_size=3, stride=1, padding=1)


class InceptionA(nn.Module):
    """1x1, 5x5, two 3x3 and pooled, at 1/8 of the input size."""

    def __init__(self, in_channels: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBlock(in_channels, 64, 1)
        self.branch5x5_1 = ConvBlock(in_channels, 48, 1)
        self.branch5x5_2 = ConvBlock(48, 64, 5)
        self.branch3x3dbl_1 = ConvBlock(in_channels, 64, 1)
        self.branch3x3dbl_2 = ConvBlock(64, 96, 3)
        self.branch3x3dbl_3 = ConvBlock(96, 96, 3)
        self.pool = _average_pool()
        self.branch_pool = ConvBlock(in_channels, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = [
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, 1)


class InceptionB(nn.Module):
    """Reduces 1/8 to 1/16 of the input size."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch3x3 = ConvBlock(in_channels, 384, 3, stride=2, valid=True)
        self.branch3x3dbl_1 = ConvBlock(in_channels, 64, 1)
        self.branch3x3dbl_2 = ConvBlock(64, 96, 3)
        self.branch3x3dbl_3 = ConvBlock(96, 96, 3, stride=2, valid=True)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        branches = [
            self.branch3x3(x),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
            self.pool(x),
        ]
        return torch.cat(branches, 1)


class InceptionC(nn.Module):
    """1x1, one and two factorized 7x7 and pooled, at 1/16 of the input size."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBlock(768, 192, 1)
        self.branch7x7_1 = ConvBlock(768, width, 1)
        self.branch7x7_2 = ConvBlock(width, width, (1, 7))
        self.branch7x7_3 = ConvBlock(width, 192, (7, 1))
        self.branch7x7dbl_1 = ConvBlock(768, width, 1)
        self.branch7x7dbl_2 = ConvBlock(width, width, (7, 1))
        self.branch7x7dbl_3 = ConvBlock(width, width, (1, 7))
        self.branch7x7dbl_4 = ConvBlock(width, width, (7, 1))
        self.branch7x7dbl_5 = ConvBlock(width, 192, (1, 7))
        self.pool = _average_pool()
        self.branch_pool = ConvBlock(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branches = [
            self.branch1x1(x),
            self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
            self.branch7x7dbl_5(self.branch7x7dbl_4(twice)),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, 1)


class InceptionD(nn.Module):
    """Reduces 1/16 to 1/32 of the input size."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = ConvBlock(768, 192, 1)
        self.branch3x3_2 = ConvBlock(192, 320, 3, stride=2, valid=True)
        self.branch7x7x3_1 = ConvBlock(768, 192, 1)
        self.branch7x7x3_2 = ConvBlock(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvBlock(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvBlock(192, 192, 3, stride=2, valid=True)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        branches = [
            self.branch3x3_2(self.branch3x3_1(x)),
            self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))),
            self.pool(x),
        ]
        return torch.cat(branches, 1)


class InceptionE(nn.Module):
    """1x1, one and two 3x3 that end side by side as 1x3 and 3x1, and pooled, at 1/32 of the input size."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1x1 = ConvBlock(in_channels, 320, 1)
        self.branch3x3_1 = ConvBlock(in_channels, 384, 1)
        self.branch3x3_2a = ConvBlock(384, 384, (1, 3))
        self.branch3x3_2b = ConvBlock(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvBlock(in_channels, 448, 1)
        self.branch3x3dbl_2 = ConvBlock(448, 384, 3)
        self.branch3x3dbl_3a = ConvBlock(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvBlock(384, 384, (3, 1))
        self.pool = _average_pool()
        self.branch_pool = ConvBlock(in_channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch3x3_1(x)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(once),
            self.branch3x3_2b(once),
            self.branch3x3dbl_3a(twice),
            self.branch3x3dbl_3b(twice),
            self.branch_pool(self.pool(x)),
        ]
        return torch.cat(branches, 1)


class InceptionV3(Backbone):
    """See `Backbone`. 2 048 features; images from 75 x 75.

    `forward` pads nothing where the published network does not: 224 pixels give 5 x 5 features, 256 give 6 x 6, 299
    give 8 x 8. `pyramid` pads the input of each of those layers and blocks by one pixel, so that every map halves
    exactly, with the same weights. Its five maps, each the last of its size, are ``Conv2d_2b_3x3``, ``Conv2d_4a_3x3``,
    ``Mixed_5d``, ``Mixed_6e`` and ``Mixed_7c``.
    """

    num_features = ENCODER.num_features
    pyramid_channels = ENCODER.pyramid_channels
    # Keras: activation_{87,88,91,92}, batch_normalization_93, activation_85, mixed9_1, concatenate_1, activation_93,
    # mixed10; one batch norm is all that has parameters, since Keras orders layers by depth.
    last_10_keras_layers = ("Mixed_7c.branch_pool.bn",)

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvBlock(3, 32, 3, stride=2, valid=True)
        self.Conv2d_2a_3x3 = ConvBlock(32, 32, 3, valid=True)
        self.Conv2d_2b_3x3 = ConvBlock(32, 64, 3)
        self.maxpool1 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.Conv2d_3b_1x1 = ConvBlock(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvBlock(80, 192, 3, valid=True)
        self.maxpool2 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.Mixed_5b = InceptionA(192, pooled=32)
        self.Mixed_5c = InceptionA(256, pooled=64)
        self.Mixed_5d = InceptionA(288, pooled=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(128)
        self.Mixed_6c = InceptionC(160)
        self.Mixed_6d = InceptionC(160)
        self.Mixed_6e = InceptionC(192)
        self.Mixed_7a = InceptionD()
        self.Mixed_7b = InceptionE(1280)
        self.Mixed_7c = InceptionE(2048)
        initialize_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        check_size(x, 75)
        # One layer per statement, so that each large early map is freed as soon as the next one exists.
        x = self.Conv2d_1a_3x3(x)
        x = self.Conv2d_2a_3x3(x)
        x = self.Conv2d_2b_3x3(x)
        x = self.maxpool1(x)
        x = self.Conv2d_3b_1x1(x)
        x = self.Conv2d_4a_3x3(x)
        x = self.maxpool2(x)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        return self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))

    def pyramid(self, x: Tensor) -> list[Tensor]:
        half = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(pad_one(self.Conv2d_1a_3x3(pad_one(x)))))
        quarter = self.Conv2d_4a_3x3(pad_one(self.Conv2d_3b_1x1(self.maxpool1(pad_one(half)))))
        eighth = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(pad_one(quarter)))))
        sixteenth = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(pad_one(eighth))))))
        last = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(pad_one(sixteenth))))
        return [half, quarter, eighth, sixteenth, last]


def keras_layers(graph: KerasGraph) -> None:
    """The layers of Keras' InceptionV3, see `radimagenet_monai.encoders.keras_graph`."""

    unit = graph.conv_norm_relu
    x = unit(0, "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3")
    x = unit(graph.other(x), "Conv2d_3b_1x1", "Conv2d_4a_3x3")
    x = graph.other(x)

    def branch(x: int, module: str, name: str, count: int) -> int:
        return unit(x, *(f"{module}.{name}_{i}" for i in range(1, count + 1)))

    for module in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        single = unit(x, f"{module}.branch1x1")
        five = branch(x, module, "branch5x5", 2)
        three = branch(x, module, "branch3x3dbl", 3)
        x = graph.other(single, five, three, unit(graph.other(x), f"{module}.branch_pool"))
    single = unit(x, "Mixed_6a.branch3x3")
    three = branch(x, "Mixed_6a", "branch3x3dbl", 3)
    x = graph.other(single, three, graph.other(x))
    for module in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        single = unit(x, f"{module}.branch1x1")
        seven = branch(x, module, "branch7x7", 3)
        double = branch(x, module, "branch7x7dbl", 5)
        x = graph.other(single, seven, double, unit(graph.other(x), f"{module}.branch_pool"))
    three = branch(x, "Mixed_7a", "branch3x3", 2)
    seven = branch(x, "Mixed_7a", "branch7x7x3", 4)
    x = graph.other(three, seven, graph.other(x))
    for module in ("Mixed_7b", "Mixed_7c"):
        single = unit(x, f"{module}.branch1x1")
        ends = []
        for name, count in (("branch3x3", 1), ("branch3x3dbl", 2)):
            stem = branch(x, module, name, count)
            wide = unit(stem, f"{module}.{name}_{count + 1}a")
            ends.append(graph.other(wide, unit(stem, f"{module}.{name}_{count + 1}b")))
        x = graph.other(single, *ends, unit(graph.other(x), f"{module}.branch_pool"))
