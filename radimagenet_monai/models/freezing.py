"""Which parts of an encoder are trained: the three policies of the RadImageNet protocol."""

from __future__ import annotations

from enum import StrEnum

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders.encoder import EncoderParts


class Freeze(StrEnum):
    """Freezing policy of an encoder; the head is always trained."""

    NONE = "none"
    ENCODER = "encoder"
    ALL_BUT_LAST_10 = "all_but_last_10"

    @classmethod
    def parse(cls, name: str) -> Freeze:
        """The policy of that name, or a `ConfigurationError` that lists the known names."""
        try:
            return cls(name)
        except ValueError:
            raise ConfigurationError(f"unknown freezing policy {name!r}; choose one of {', '.join(cls)}") from None


def freeze_encoder(encoder: EncoderParts, policy: Freeze) -> None:
    """Stop gradients into the frozen parameters, in place. Call `keep_frozen_in_evaluation` after every ``train()``."""
    encoder.requires_grad_(policy is Freeze.NONE)
    if policy is Freeze.ALL_BUT_LAST_10:
        for name in encoder.backbone.last_10_keras_layers:
            encoder.backbone.get_submodule(name).requires_grad_(True)


def keep_frozen_in_evaluation(encoder: EncoderParts, policy: Freeze) -> None:
    """Put frozen modules into evaluation mode, in place.

    A frozen batch norm must neither normalize by the batch nor update its statistics, as in Keras, where a layer with
    ``trainable = False`` runs in inference mode; otherwise "frozen" weights still drift.
    """
    if policy is Freeze.NONE:
        return
    encoder.eval()
    if policy is Freeze.ALL_BUT_LAST_10:
        for name in encoder.backbone.last_10_keras_layers:
            encoder.backbone.get_submodule(name).train()
