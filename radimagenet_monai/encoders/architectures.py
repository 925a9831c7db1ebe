"""The encoder architectures, described without importing torch."""

from __future__ import annotations

from dataclasses import dataclass

from radimagenet_monai.core.errors import ConfigurationError


@dataclass(frozen=True)
class Architecture:
    """One encoder.

    Attributes
    ----------
    num_features
        Channels of the final feature map.
    num_parameters
        Parameters of the encoder without a head.
    pyramid_channels
        Channels of the five maps at 1/2 ... 1/32 of the input.
    minimum_size
        Smallest number of rows and columns of an image.
    key_names
        Library whose state-dict key names the encoder uses.
    """

    name: str
    title: str
    num_features: int
    num_parameters: int
    pyramid_channels: tuple[int, int, int, int, int]
    minimum_size: int
    key_names: str
    reference: str


ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "resnet50",
            "ResNet50",
            2048,
            23_508_032,
            (64, 256, 512, 1024, 2048),
            32,
            "torchvision",
            "He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
        ),
        Architecture(
            "densenet121",
            "DenseNet121",
            1024,
            6_953_856,
            (64, 256, 512, 1024, 1024),
            32,
            "torchvision",
            "Huang et al., Densely Connected Convolutional Networks, CVPR 2017",
        ),
        Architecture(
            "inceptionv3",
            "InceptionV3",
            2048,
            21_785_568,
            (64, 192, 288, 768, 2048),
            75,
            "torchvision",
            "Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016",
        ),
        Architecture(
            "inceptionresnetv2",
            "InceptionResNetV2",
            1536,
            54_306_464,
            (64, 192, 320, 1088, 1536),
            75,
            "timm",
            "Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning, "
            "AAAI 2017",
        ),
    )
}


def get_architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises
    ------
    ConfigurationError
        For an unknown name; the message lists the known ones.
    """
    try:
        return ARCHITECTURES[name]
    except (KeyError, TypeError):
        raise ConfigurationError(f"unknown architecture {name!r}; choose one of {', '.join(ARCHITECTURES)}") from None
