"""The sets of weights known to this version, and the resolution of names. Imports no torch.

There are two unrelated sets of RadImageNet weights, each trained on a different presentation of the image, and ImageNet
baselines with their own conventions. With the wrong convention the same tensors load without an error and give useless
features, so each set is listed here with the one it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders.architectures import ARCHITECTURES, Architecture, get_architecture
from radimagenet_monai.encoders.spec import CONVENTIONS, Published, WeightSpec

RANDOM = "random"

_RADIMAGENET_PAPER = (
    "Mei et al., RadImageNet: An Open Radiologic Deep Learning Research Dataset for Effective Transfer Learning, "
    "Radiology: Artificial Intelligence 2022;4(5):e210315"
)
_IMAGENET_PAPER = "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015"
_RADIMAGENET_LICENCE = (
    "given out by the authors of RadImageNet on request, under an agreement to be signed; whether weights derived from "
    "the data may be passed on is contested, so they are never shipped: use the copy you were given, under its terms"
)
_RADIMAGENET_OBTAIN = "RadImageNet weights are given out by their authors"
_IMAGENET_TERMS = "the images of ImageNet are for non-commercial research and education"


@dataclass(frozen=True)
class Source:
    """What the published weights of a tag have in common; ``{file}`` in ``obtain`` is the file's name.

    ``convention`` is a name of `CONVENTIONS`; empty if it differs between the encoders, which then state it.
    """

    origin: str
    licence: str
    obtain: str
    references: tuple[str, ...]
    convention: str
    variant: str


SOURCES: dict[str, Source] = {
    "radimagenet_keras": Source(
        "RadImageNet, the Keras weights of the paper",
        _RADIMAGENET_LICENCE,
        _RADIMAGENET_OBTAIN,
        (_RADIMAGENET_PAPER, "https://github.com/BMEII-AI/RadImageNet"),
        "radimagenet_keras",
        "keras",
    ),
    "radimagenet_torch": Source(
        "RadImageNet, the PyTorch weights that the authors added later; another training than the paper's",
        _RADIMAGENET_LICENCE,
        _RADIMAGENET_OBTAIN,
        (_RADIMAGENET_PAPER, "https://github.com/BMEII-AI/RadImageNet"),
        "radimagenet_torch",
        "torch",
    ),
    # torchvision names a file by the first eight digits of its SHA-256.
    "imagenet_torchvision": Source(
        "ImageNet-1k, as torchvision gives them out",
        f"torchvision's code is BSD-3-Clause; it states no licence for its weights, and {_IMAGENET_TERMS}",
        "torchvision gives them out as {file}",
        (_IMAGENET_PAPER, "https://docs.pytorch.org/vision/stable/models.html"),
        "imagenet",
        "torch",
    ),
    "imagenet_keras": Source(
        "ImageNet-1k, as Keras applications give them out",
        f"Keras is Apache-2.0; its weights keep the terms of those who trained them, and {_IMAGENET_TERMS}",
        "Keras gives them out as {file}",
        (_IMAGENET_PAPER, "https://keras.io/api/applications/"),
        "",
        "keras",
    ),
    "imagenet_timm": Source(
        "ImageNet-1k, as timm gives them out (inception_resnet_v2.tf_in1k, from TensorFlow)",
        f"timm states Apache-2.0 for these weights, and {_IMAGENET_TERMS}",
        "timm gives them out as inception_resnet_v2.tf_in1k",
        (_IMAGENET_PAPER, "https://huggingface.co/timm/inception_resnet_v2.tf_in1k"),
        "centred",
        "torch",
    ),
}
"""By the tag of published weights."""

_OWN_SOURCE = Source(
    "stated by no one", "stated by no one", "their publisher gives them out as {file}", (), "", "torch"
)


def _random(architecture: Architecture) -> WeightSpec:
    return WeightSpec(
        architecture=architecture.name,
        tag=RANDOM,
        origin="random initialization (He et al. 2015 for convolutions), drawn from the run's seed",
        licence="none needed",
        convention=CONVENTIONS["centred"],
        variant=architecture.variants["torch"],
    )


def _published(architecture: Architecture, item: Published) -> WeightSpec:
    source = SOURCES.get(item.tag, _OWN_SOURCE)
    convention = item.convention or source.convention or "centred"
    return WeightSpec(
        architecture=architecture.name,
        tag=item.tag,
        origin=item.origin or source.origin,
        licence=item.licence or source.licence,
        convention=CONVENTIONS[convention] if isinstance(convention, str) else convention,
        variant=architecture.variants[item.variant or source.variant],
        references=item.references or source.references,
        file=item.file,
        obtain=item.obtain or source.obtain.format(file=item.file),
        sha256=item.sha256,
    )


CATALOGUE: dict[str, WeightSpec] = {
    spec.name: spec
    for architecture in ARCHITECTURES.values()
    for spec in (_random(architecture), *(_published(architecture, item) for item in architecture.published))
}


def resolve_weights(architecture: str, weights: str) -> WeightSpec:
    """The catalogue's specification of ``weights`` for ``architecture``.

    Parameters
    ----------
    architecture
        A name of `ARCHITECTURES`.
    weights
        A tag such as ``"random"``, or a full name such as ``"resnet50.random"``.

    Raises
    ------
    ConfigurationError
        For an unknown architecture or weight name, or a full name of another architecture.
    """
    get_architecture(architecture)
    name = str(weights)
    refuse_other_architecture(architecture, name)
    try:
        return CATALOGUE[name if name in CATALOGUE else f"{architecture}.{name}"]
    except KeyError:
        raise unknown_weights(architecture, name) from None


def refuse_other_architecture(architecture: str, name: str) -> None:
    """Raise `ConfigurationError` if ``name`` starts with the name of another architecture."""
    named = name.partition(".")[0]
    if named in ARCHITECTURES and named != architecture:
        raise ConfigurationError(
            f"weights {name!r} are of {named}, but the architecture is {architecture!r}; "
            f"give --architecture {named} or other weights"
        )


def unknown_weights(architecture: str, name: str, also: tuple[str, ...] = ()) -> ConfigurationError:
    """The error for a name that is neither in the catalogue nor, as ``also``, in the weight store."""
    known = ", ".join([*(spec.tag for spec in CATALOGUE.values() if spec.architecture == architecture), *also])
    return ConfigurationError(f"unknown weights {name!r} for {architecture}; known: {known}")
