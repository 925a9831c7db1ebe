"""The encoder architectures, described without importing torch."""

from __future__ import annotations

from dataclasses import dataclass

from radimagenet_monai.errors import ConfigurationError


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
    key_names
        Library whose state-dict key names the encoder uses.
    """

    name: str
    title: str
    num_features: int
    num_parameters: int
    pyramid_channels: tuple[int, int, int, int, int]
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
            "torchvision",
            "He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
        ),
        Architecture(
            "densenet121",
            "DenseNet121",
            1024,
            6_953_856,
            (64, 256, 512, 1024, 1024),
            "torchvision",
            "Huang et al., Densely Connected Convolutional Networks, CVPR 2017",
        ),
    )
}


def get_architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises
    ------
    ConfigurationError
        Where there is none; the message lists those there are.
    """
    try:
        return ARCHITECTURES[name]
    except (KeyError, TypeError):
        raise ConfigurationError(f"unknown architecture {name!r}; choose one of {', '.join(ARCHITECTURES)}") from None
