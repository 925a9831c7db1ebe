"""The contract of a set of weights: which input they expect, and which variant of the network they were trained in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

ChannelOrder = Literal["RGB", "BGR"]
StrideOn = Literal["1x1", "3x3"]


@dataclass(frozen=True)
class InputConvention:
    """How weights want a canonical image, value range [0, 1], to be presented.

    The network sees ``(image * scale - mean) / std`` a channel, channels in ``order``. ``mean`` and ``std`` are given
    in that same order, in units of ``scale``.
    """

    order: ChannelOrder
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def describe(self) -> str:
        """The convention in words, e.g. for ``radimagenet info``."""
        return f"{self.order}, (x * {self.scale:g} - {list(self.mean)}) / {list(self.std)}"


@dataclass(frozen=True)
class NetworkVariant:
    """Where libraries build the same architecture differently, without a trace in the names of its tensors.

    ``stride_on`` is the convolution of a ResNet bottleneck that halves the size: torchvision strides the 3x3 ("v1.5"),
    Keras applications the first 1x1. ``bn_eps`` is the epsilon of every batch normalization.
    """

    bn_eps: float = 1e-5
    stride_on: StrideOn = "3x3"


@dataclass(frozen=True)
class WeightSpec:
    """One set of weights of one architecture.

    Attributes
    ----------
    name
        ``architecture.tag``, e.g. ``"resnet50.random"``.
    origin
        Where the weights come from, in words.
    licence
        Terms of use as far as known.
    """

    architecture: str
    tag: str
    origin: str
    licence: str
    convention: InputConvention
    variant: NetworkVariant
    references: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.architecture}.{self.tag}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-serializable form."""
        return {"name": self.name, **asdict(self)}
