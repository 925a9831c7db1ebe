"""The encoder architectures. Each describes itself in its file; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from radimagenet_monai.core.registry import Registry
from radimagenet_monai.encoders.spec import FeatureMap, InputConvention, NetworkVariant, Published


@dataclass(frozen=True)
class Architecture:
    """One encoder.

    Attributes
    ----------
    network
        Name of the `radimagenet_monai.encoders.backbone.Backbone` in the file that describes it.
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
    variants
        The network variant that the weights of a library were trained in, by library; ``"torch"`` is that of random
        weights.
    variant_parts
        Fields of `NetworkVariant`, beside the epsilon, that make a difference to this network.
    feature_maps
        By level, ``"1/32"`` for the final map and ``"1/16"``: maps that explanations can be computed from, named as in
        a `Classifier`.
    published
        Published weights; random ones always exist.
    position
        Place in lists: the networks of the RadImageNet paper come first.
    module
        The module that describes the encoder and holds the network; filled in.
    """

    name: str
    title: str
    network: str
    num_features: int
    num_parameters: int
    pyramid_channels: tuple[int, int, int, int, int]
    minimum_size: int
    key_names: str
    reference: str
    variants: dict[str, NetworkVariant] = field(default_factory=lambda: {"torch": NetworkVariant()})
    variant_parts: tuple[str, ...] = ()
    feature_maps: dict[str, FeatureMap] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    position: int = 99
    module: str = ""

    def to_dict(self) -> dict[str, Any]:
        """What ``radimagenet info`` shows, JSON-serializable."""
        shown = (
            "name",
            "title",
            "num_features",
            "num_parameters",
            "pyramid_channels",
            "minimum_size",
            "key_names",
            "reference",
        )
        return {name: getattr(self, name) for name in shown}


ARCHITECTURES: Registry[Architecture] = Registry(
    "encoders",
    "architecture",
    Architecture,
    "ENCODER",
    folder="encoders",
    vocabulary=(Architecture, FeatureMap, InputConvention, NetworkVariant, Published),
    order=lambda item: (item.position, item.name),
)


def get_architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises
    ------
    ConfigurationError
        For an unknown name; the message lists the known ones.
    """
    return ARCHITECTURES.require(name)
