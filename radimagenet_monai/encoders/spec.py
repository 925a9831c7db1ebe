"""The contract of a set of weights: which input they expect, and which variant of the network they were trained in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

ChannelOrder = Literal["RGB", "BGR"]
StrideOn = Literal["1x1", "3x3"]
PoolPadding = Literal["counted", "ignored"]


@dataclass(frozen=True)
class InputConvention:
    """The presentation of a canonical image, value range [0, 1], that weights expect.

    The network sees ``(image * scale - mean) / std`` per channel, with channels in ``order``. ``mean`` and ``std`` are
    in the same order, in units of ``scale``.
    """

    order: ChannelOrder
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def describe(self) -> str:
        """The convention as text, with ``x`` the image in [0, 1]: ``"BGR, (x * 255 - 127.5) / 127.5"``."""
        scaled = "x" if self.scale == 1 else f"x * {self.scale:g}"
        divided = "" if set(self.std) == {1.0} else f" / {_per_channel(self.std)}"
        return f"{self.order}, ({scaled} - {_per_channel(self.mean)}){divided}"


@dataclass(frozen=True)
class NetworkVariant:
    """Differences between libraries in the same architecture that leave no trace in its tensor names.

    ``stride_on`` is the convolution of a ResNet bottleneck that halves the size: torchvision strides the 3x3 ("v1.5"),
    Keras applications the first 1x1. ``bn_eps`` is the epsilon of every batch normalization. ``pool_padding`` says
    whether the padded average pools of the Inception networks count the padded zeros into their means: torchvision's
    do, those of Keras applications and timm do not.
    """

    bn_eps: float = 1e-5
    stride_on: StrideOn = "3x3"
    pool_padding: PoolPadding = "counted"


_HALVES = (0.5, 0.5, 0.5)
_MIDDLE = (127.5, 127.5, 127.5)
_CAFFE_MEAN = (103.939, 116.779, 123.68)  # of ImageNet, channels BGR, 0-255

CONVENTIONS: dict[str, InputConvention] = {
    # A randomly initialized network has no convention to keep; [-1, 1] is centred and symmetric.
    "centred": InputConvention("RGB", 1.0, _HALVES, _HALVES),
    "imagenet": InputConvention("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "caffe": InputConvention("BGR", 255.0, _CAFFE_MEAN, (1.0, 1.0, 1.0)),
    "tensorflow": InputConvention("RGB", 255.0, _MIDDLE, _MIDDLE),
    "radimagenet_keras": InputConvention("BGR", 255.0, _CAFFE_MEAN, (255.0, 255.0, 255.0)),
    # The authors' scripts read with OpenCV and never swap the channels.
    "radimagenet_torch": InputConvention("BGR", 255.0, _MIDDLE, _MIDDLE),
}
"""Input conventions of published weights, by name."""


@dataclass(frozen=True)
class FeatureMap:
    """A feature map, and where its cells lie on the image.

    ``layer`` is the name, from ``network.named_modules()``, of the module that outputs it. The receptive field of its
    cell ``i`` is centered on pixel ``first + stride * i`` of its axis (Araujo et al., Computing Receptive Fields of
    Convolutional Neural Networks, Distill 2019).
    """

    layer: str
    stride: int
    first: int


@dataclass(frozen=True)
class Published:
    """Published weights of an encoder.

    Attributes
    ----------
    tag
        A source of `radimagenet_monai.weights.catalogue.SOURCES`, which then gives what is left empty here; or a tag of
        your own, with ``convention``, ``origin`` and ``licence``.
    file, sha256, origin, licence, obtain, references
        As in `WeightSpec`.
    convention
        A name of `CONVENTIONS`, or an `InputConvention`.
    variant
        A key of the architecture's ``variants``.
    """

    tag: str
    file: str
    sha256: tuple[str, ...] = ()
    convention: str | InputConvention = ""
    variant: str = ""
    origin: str = ""
    licence: str = ""
    obtain: str = ""
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class WeightSpec:
    """One set of weights of one architecture.

    Attributes
    ----------
    name
        ``architecture.tag``, e.g. ``"resnet50.random"``.
    origin
        Origin of the weights, as text.
    licence
        Terms of use as far as known.
    file
        Published file name, if any. Never used to recognize a file.
    obtain
        How to obtain them, as the end of an error message.
    sha256
        SHA-256 of files known to hold them: whole, or the leading digits that the publisher states.
    """

    architecture: str
    tag: str
    origin: str
    licence: str
    convention: InputConvention
    variant: NetworkVariant
    references: tuple[str, ...] = ()
    file: str | None = None
    obtain: str = ""
    sha256: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.architecture}.{self.tag}"

    def describe_network(self) -> str:
        """Describe the parts of `variant` that matter to this architecture."""
        from radimagenet_monai.encoders.architectures import get_architecture

        words = f"batch norm epsilon {self.variant.bn_eps:g}"
        for part in get_architecture(self.architecture).variant_parts:
            words += f", {_VARIANT_WORDS[part].format(getattr(self.variant, part))}"
        return words

    def to_dict(self) -> dict[str, Any]:
        """JSON-serializable form."""
        return {"name": self.name, **asdict(self)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> WeightSpec:
        """The inverse of `to_dict`, even after a round trip through JSON.

        Raises
        ------
        TypeError, ValueError, KeyError
            If the content is not a valid specification.
        """
        fields = {**content}
        fields.pop("name", None)
        convention = {**fields.pop("convention")}
        for part in ("mean", "std"):
            first, second, third = (float(value) for value in convention[part])
            convention[part] = (first, second, third)
        for part in ("references", "sha256"):
            fields[part] = tuple(fields.get(part, ()))
        return cls(convention=InputConvention(**convention), variant=NetworkVariant(**fields.pop("variant")), **fields)


_VARIANT_WORDS = {"stride_on": "stride on the {} convolution", "pool_padding": "zeros around average pools {}"}


def _per_channel(values: tuple[float, float, float]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"[{', '.join(f'{value:g}' for value in values)}]"
