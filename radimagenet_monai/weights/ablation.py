"""Weights with a wrong input convention, to measure what the right one is worth."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.encoders.encoder import Encoder, variant_of
from radimagenet_monai.encoders.input_norm import InputNorm
from radimagenet_monai.encoders.spec import InputConvention
from radimagenet_monai.weights.catalogue import CATALOGUE
from radimagenet_monai.weights.fingerprint import take_fingerprint
from radimagenet_monai.weights.own_files import convention_of, file_of
from radimagenet_monai.weights.store import StoredWeights, find_weights, read_source, write_stored
from radimagenet_monai.weights.strict import load_strictly

WRONG_INPUT = "ablation: wrong input"
"""How the origin of such weights begins, wherever it is shown."""


def write_ablation(
    weights: str, architecture: str, convention: str | InputConvention, path: str | os.PathLike[str]
) -> StoredWeights:
    """Write a weight file with the tensors of ``weights`` but another input convention.

    The file can be used by path wherever weights are accepted. It reproduces a common mistake, such as RadImageNet
    weights fed with ImageNet's mean and standard deviation, and says so in its specification.

    Parameters
    ----------
    weights
        A tag or full name in the weight store, or a path; see `find_weights`.
    architecture
        A name of `ARCHITECTURES`.
    convention
        The convention to impose: that of the catalogue's weights of this name for the architecture
        (``"imagenet_torchvision"``) or, by full name, for any (``"resnet50.imagenet_keras"``, values 0 to 255 minus a
        mean), or an `InputConvention`.
    path
        Output path; an existing file is replaced.

    Raises
    ------
    ConfigurationError
        For random weights, which have no trained convention; for an unknown convention, or the weights' own.
    WeightsError
        If the weights are missing from the store or damaged.
    """
    source = find_weights(architecture, weights)
    if source.path is None:
        raise ConfigurationError(
            f"weights {weights!r} were trained on no input, so none is wrong for them; give trained weights"
        )
    wrong = convention if isinstance(convention, InputConvention) else _named(architecture, str(convention))
    state = read_source(source)
    right = convention_of(state)
    changed = {**state, **{f"input_norm.{name}": value for name, value in InputNorm(wrong).state_dict().items()}}
    if convention_of(changed) == right:
        raise ConfigurationError(
            f"weights {weights!r} expect {right.describe()}, which is the convention that was given; give another one"
        )
    known = source.stored is not None
    spec = replace(
        source.spec,
        tag=f"{source.spec.tag if known else 'own'}_wrong_input",
        origin=f"{WRONG_INPUT}. The network sees {wrong.describe()}, but its tensors, of "
        f"{source.spec.name if known else 'a network of this package'}, were trained on {right.describe()}",
        licence=source.spec.licence if known else "that of the images it was trained on",
        convention=wrong,
        variant=variant_of(state["variant"]),
        file=None,
        obtain="",
        sha256=(),
    )
    encoder = Encoder(architecture, spec)
    load_strictly(encoder, changed, source.path)
    file = file_of(source.path)
    provenance = {
        "source": {
            "file": file.name,
            "sha256": file_digest(file),
            "bytes": file.stat().st_size,
            "layout": "encoder of this package",
        },
        "num_parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        "fingerprint": take_fingerprint(encoder),
    }
    return write_stored(spec, encoder.state_dict(), provenance, Path(path))


def _named(architecture: str, name: str) -> InputConvention:
    spec = CATALOGUE.get(name) or CATALOGUE.get(f"{architecture}.{name}")
    if spec is None:
        known = ", ".join(spec.tag for spec in CATALOGUE.values() if spec.architecture == architecture)
        raise ConfigurationError(
            f"unknown convention {name!r}; expected that of weights of {architecture} ({known}) or a full name such as "
            f"resnet50.imagenet_keras"
        )
    return spec.convention
