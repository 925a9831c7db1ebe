"""An encoder with the weights of a name."""

from __future__ import annotations

from radimagenet_monai.encoders.encoder import Encoder
from radimagenet_monai.weights.store import find_weights, read_source
from radimagenet_monai.weights.strict import load_strictly


def build_encoder(architecture: str = "resnet50", weights: str = "random") -> Encoder:
    """An encoder with the named weights.

    Parameters
    ----------
    architecture
        A name of `ARCHITECTURES`.
    weights
        A tag or full name of the catalogue or the weight store, or a path; see `find_weights`.

    Raises
    ------
    ConfigurationError
        For an unknown architecture or weight name.
    WeightsError
        If the weights are missing from the store, damaged, or of another network.
    """
    source = find_weights(architecture, weights)
    encoder = Encoder(architecture, source.spec)
    if source.path is not None:
        load_strictly(encoder, read_source(source), source.path)
    return encoder
