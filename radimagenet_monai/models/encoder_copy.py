"""The encoder of a trained network, to continue with in another."""

from __future__ import annotations

import torch
from torch import nn

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders.encoder import Encoder, EncoderParts
from radimagenet_monai.weights.catalogue import resolve_weights


def take_encoder(network: nn.Module) -> Encoder:
    """A copy of the encoder of a `Classifier` or a `UNet`, with everything trainable again.

    To move an encoder between the two: ``unet.encoder.load_state_dict(take_encoder(classifier).state_dict())``.

    Raises
    ------
    ConfigurationError
        If the network has no encoder of this package.
    """
    source = getattr(network, "encoder", None)
    if not isinstance(source, EncoderParts):
        raise ConfigurationError(f"a {type(network).__name__} has no encoder to take; give a Classifier or a UNet")
    # The meta device draws no random numbers, so the caller's random state is untouched.
    with torch.device("meta"):
        encoder = Encoder(source.architecture, resolve_weights(source.architecture, "random"))
    encoder.load_state_dict({name: tensor.clone() for name, tensor in source.state_dict().items()}, assign=True)
    return encoder
