"""Encoder plus the classification head of the RadImageNet protocol."""

from __future__ import annotations

from torch import Tensor, nn

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders.encoder import Encoder
from radimagenet_monai.models.freezing import Freeze, freeze_encoder, keep_frozen_in_evaluation
from radimagenet_monai.models.partial_copy import RefusesPartialCopy
from radimagenet_monai.weights.pretrained_encoder import build_encoder


class Classifier(RefusesPartialCopy, nn.Module):
    """Encoder, global average pool, dropout and one dense layer, as in the scripts of Mei et al. 2022.

    Takes canonical images (N, 1 or 3, H, W) in [0, 1] and gives **logits** (N, ``num_classes``); softmax belongs to
    the loss and to the bundle's postprocessing.
    """

    def __init__(self, encoder: Encoder, num_classes: int, freeze: str = "none", dropout: float = 0.5) -> None:
        super().__init__()
        if num_classes < 2:
            raise ConfigurationError(f"num_classes is {num_classes}, expected at least 2")
        if not 0 <= dropout < 1:
            raise ConfigurationError(f"dropout is {dropout}, expected a value in [0, 1)")
        self.freeze = str(Freeze.parse(freeze))
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.num_features, num_classes)
        freeze_encoder(encoder, Freeze(self.freeze))

    def forward(self, image: Tensor) -> Tensor:
        features = self.encoder(image).mean(dim=(2, 3))
        return self.head(self.dropout(features))

    def train(self, mode: bool = True) -> Classifier:
        """As in PyTorch, except that frozen modules stay in evaluation mode."""
        super().train(mode)
        if mode:
            keep_frozen_in_evaluation(self.encoder, Freeze(self.freeze))
        return self


def build_classifier(
    architecture: str = "resnet50",
    num_classes: int = 2,
    weights: str = "random",
    freeze: str = "none",
    dropout: float = 0.5,
) -> Classifier:
    """A classifier on one of the encoders.

    Parameters
    ----------
    architecture
        ``"resnet50"``, ``"densenet121"``, ``"inceptionv3"`` or ``"inceptionresnetv2"``; the Inception networks take
        images from 75 x 75.
    num_classes
        Number of logits.
    weights
        Initialization of the encoder, by name; see ``radimagenet info``.
    freeze
        ``"none"``, ``"encoder"`` or ``"all_but_last_10"``.
    dropout
        Dropout probability before the dense layer; 0.5 in the protocol.

    Returns
    -------
    Classifier
        Takes (N, 1 or 3, H, W) in [0, 1], gives logits (N, ``num_classes``).

    Raises
    ------
    ConfigurationError
        For an unknown name or a value out of range.

    Examples
    --------
    >>> import torch
    >>> network = build_classifier("densenet121", num_classes=2).eval()
    >>> network(torch.rand(4, 1, 64, 64)).shape
    torch.Size([4, 2])
    """
    return Classifier(build_encoder(architecture, weights), num_classes, freeze=freeze, dropout=dropout)
