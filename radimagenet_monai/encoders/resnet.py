"""ResNet50 (He et al. 2016) with torchvision's key names, as v1 (stride on the 1x1) or v1.5 (stride on the 3x3)."""

from __future__ import annotations

from torch import Tensor, nn

from radimagenet_monai.encoders.architectures import Architecture
from radimagenet_monai.encoders.backbone import Backbone, initialize_convolutions
from radimagenet_monai.encoders.keras_graph import KerasGraph
from radimagenet_monai.encoders.spec import FeatureMap, NetworkVariant, Published

ENCODER = Architecture(
    name="resnet50",
    title="ResNet50",
    network="ResNet50",
    num_features=2048,
    num_parameters=23_508_032,
    pyramid_channels=(64, 256, 512, 1024, 2048),
    minimum_size=32,
    key_names="torchvision",
    reference="He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
    variants={"torch": NetworkVariant(), "keras": NetworkVariant(bn_eps=1.001e-5, stride_on="1x1")},
    variant_parts=("stride_on",),
    feature_maps={
        "1/32": FeatureMap("encoder", 32, 0),
        "1/16": FeatureMap("encoder.backbone.layer3", 16, 0),
    },
    published=(
        Published(
            "radimagenet_keras",
            "RadImageNet-ResNet50_notop.h5",
            ("1f1d1c9fe6ab6980daa5e528145fe0db249c55415f8b3e1f3e3b1624d184f159",),
        ),
        Published(
            "radimagenet_torch",
            "ResNet50.pt",
            ("08629f7e7bd3e29b8ee9522ca3f65ce4d010a7ddf74f0ea3c7e3f3d0bbab0734",),
        ),
        Published("imagenet_torchvision", "resnet50-0676ba61.pth", ("0676ba61", "11ad3fa6")),
        Published("imagenet_keras", "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", convention="caffe"),
    ),
    position=1,
)

_EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with a shortcut; the output has four times as many channels as the 3x3."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * _EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def stride_on(self, which: str) -> None:
        """Move the stride of this block to its first 1x1 or to its 3x3 convolution."""
        stride = (max(self.conv1.stride[0], self.conv2.stride[0]),) * 2
        self.conv1.stride, self.conv2.stride = (stride, (1, 1)) if which == "1x1" else ((1, 1), stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.conv3(out)
        out = self.bn3(out)
        out += shortcut
        return self.relu(out)


def _stage(in_channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(in_channels, width, stride)
    return nn.Sequential(first, *(Bottleneck(width * _EXPANSION, width, 1) for _ in range(blocks - 1)))


class ResNet50(Backbone):
    """See `Backbone`. 2 048 features at 1/32 of the input size."""

    num_features = ENCODER.num_features
    pyramid_channels = ENCODER.pyramid_channels
    # Keras: conv5_block3_{1,2}_{conv,bn,relu}, _3_{conv,bn}, _add, _out.
    last_10_keras_layers = ("layer4.2",)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(64, 64, blocks=3, stride=1)
        self.layer2 = _stage(256, 128, blocks=4, stride=2)
        self.layer3 = _stage(512, 256, blocks=6, stride=2)
        self.layer4 = _stage(1024, 512, blocks=3, stride=2)
        initialize_convolutions(self)

    def apply_variant(self, variant: NetworkVariant) -> None:
        super().apply_variant(variant)
        for module in self.modules():
            if isinstance(module, Bottleneck):
                module.stride_on(variant.stride_on)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        return self.layer4(x)

    def pyramid(self, x: Tensor) -> list[Tensor]:
        stem = self.relu(self.bn1(self.conv1(x)))
        quarter = self.layer1(self.maxpool(stem))
        eighth = self.layer2(quarter)
        sixteenth = self.layer3(eighth)
        return [stem, quarter, eighth, sixteenth, self.layer4(sixteenth)]


def keras_layers(graph: KerasGraph) -> None:
    """The layers of Keras' ResNet50, see `radimagenet_monai.encoders.keras_graph`."""

    def conv_norm(x: int, name: str, conv: str, norm: str) -> int:
        return graph.norm(graph.conv(x, conv, f"{name}_conv", bias=True, folds_into=norm), norm, f"{name}_bn")

    x = graph.other(conv_norm(graph.other(0), "conv1", "conv1", "bn1"))
    x = graph.other(graph.other(x))
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            name, module = f"conv{stage + 1}_block{block + 1}", f"layer{stage}.{block}"
            shortcut = x
            if block == 0:
                shortcut = conv_norm(x, f"{name}_0", f"{module}.downsample.0", f"{module}.downsample.1")
            for i in (1, 2, 3):
                x = conv_norm(x, f"{name}_{i}", f"{module}.conv{i}", f"{module}.bn{i}")
                if i < 3:
                    x = graph.other(x)
            x = graph.other(graph.other(shortcut, x))
