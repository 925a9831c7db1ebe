"""What the readers of published files have in common: how they name their tensors, and what they found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from torch import Tensor

from radimagenet_monai.weights.spec import WeightSpec


class Layout(StrEnum):
    """How a file names its tensors, which says more about its origin than anything else in it."""

    KERAS = "layers of a Keras application"
    CHILDREN = "backbone.N.*, the children of a torchvision network as the authors of RadImageNet saved them"
    BIASED = (
        "torchvision's names with biases on the convolutions, as in the conversion that MONAI's perceptual loss uses"
    )
    LIBRARY = "names of torchvision or timm"
    OWN = "an encoder trained with this package"
    STORED = "weights of another weight store"


@dataclass(frozen=True)
class PublishedWeights:
    """A file of weights, read whole.

    Attributes
    ----------
    tensors
        State dict of our backbone: every name that it has, float32 (int64 for counters of batches).
    num_values
        Numbers in the file's encoder, with running statistics and biases: what Keras calls parameters.
    head
        Names of the tensors that are not of the encoder: a classification head, and what a training program saved.
    head_classes
        Number of classes of that head, where there is one.
    folded_biases
        How many convolution biases went into the running means of the batch norms behind them.
    prefix
        What stood before all names of the encoder, as in ``model.encoder.conv1.weight``.
    spec
        For `Layout.OWN` and `Layout.STORED`: what the file itself says of its weights.
    source
        For `Layout.STORED`: the file that the other store imported.
    """

    path: Path
    layout: Layout
    architecture: str
    tensors: dict[str, Tensor]
    num_values: int
    head: tuple[str, ...] = ()
    head_classes: int | None = None
    folded_biases: int = 0
    prefix: str = ""
    spec: WeightSpec | None = None
    source: dict[str, object] | None = None


IMAGENET_CLASSES = 1000
