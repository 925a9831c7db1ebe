"""The encoder of a trained network, saved as a weight file that every bundle accepts."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from radimagenet_monai.encoders.encoder import variant_of
from radimagenet_monai.encoders.spec import WeightSpec
from radimagenet_monai.models.encoder_copy import take_encoder
from radimagenet_monai.weights.fingerprint import take_fingerprint
from radimagenet_monai.weights.own_files import convention_of
from radimagenet_monai.weights.store import write_stored

ENCODER_TAG = "radimagenet_pretraining"


def save_encoder(path: str | os.PathLike[str], network: nn.Module, facts: Mapping[str, Any]) -> None:
    """Write the encoder of ``network`` as safetensors with its specification, atomically.

    Use the file by path, ``--weights path/to/encoder.safetensors``, or add it to the weight store with
    ``radimagenet weights import``, where it is called ``<architecture>.radimagenet_pretraining``.

    Parameters
    ----------
    path
        Output path.
    network
        A `Classifier` or a `UNet`.
    facts
        Facts of the training run, JSON-serializable; kept as the provenance of the weights.
    """
    encoder = take_encoder(network)
    state = encoder.state_dict()
    bundle = facts.get("bundle", "a bundle of this package")
    spec = WeightSpec(
        architecture=encoder.architecture,
        tag=ENCODER_TAG,
        origin=f"trained with {bundle}, epoch {facts.get('epoch')}, from weights '{facts.get('weights')}'",
        licence="that of the images it was trained on; for RadImageNet, the agreement with its authors",
        convention=convention_of(state),
        variant=variant_of(state["variant"]),
    )
    text = json.dumps(dict(facts), sort_keys=True, default=str)
    provenance = {
        # The encoder was not imported from a file, so the run's facts are hashed instead.
        "source": {"file": Path(path).name, "sha256": hashlib.sha256(text.encode()).hexdigest(), "layout": str(bundle)},
        "num_parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        "fingerprint": take_fingerprint(encoder),
        "run": dict(facts),
    }
    write_stored(spec, state, provenance, Path(path))
