"""Common types of the readers of published files: tensor layouts, and the weights read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from torch import Tensor

from radimagenet_monai.encoders.spec import WeightSpec


class Layout(StrEnum):
    """How a file names its tensors, the best evidence of its origin."""

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
    """A weight file, read completely.

    Attributes
    ----------
    tensors
        Complete state dict of our backbone, float32 (int64 for batch counters).
    num_values
        Number of values in the file's encoder, including running statistics and biases: what Keras calls parameters.
    head
        Names of tensors outside the encoder: a classification head, and what a training program saved.
    head_classes
        Number of classes of that head, if there is one.
    folded_biases
        Number of convolution biases folded into the running means of the batch norms that follow.
    prefix
        Prefix of all names of the encoder, as in ``model.encoder.conv1.weight``.
    spec
        For `Layout.OWN` and `Layout.STORED`: the specification in the file itself.
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
