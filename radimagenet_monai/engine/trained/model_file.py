"""The trained network of a bundle, ``models/model.pt``, and its facts, ``models/model.json``."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from radimagenet_monai.core.atomic import atomic_write_bytes, atomic_write_text
from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.core.named_roots import without_folders
from radimagenet_monai.weights.strict import load_strictly
from radimagenet_monai.weights.tensor_file import is_state_dict, read_torch_file

logger = logging.getLogger(__name__)

DEFAULT_THRESHOLD = 0.5


def save_model(path: str | os.PathLike[str], network: nn.Module, facts: dict[str, Any]) -> None:
    """Write the state dict of ``network`` to ``path`` and ``facts`` beside it, each atomically.

    The facts include the SHA-256 of their state dict, so that a mismatched pair left by a kill is detected.
    """
    stream = io.BytesIO()
    torch.save({name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}, stream)
    data = stream.getvalue()
    atomic_write_bytes(path, data)
    shown = without_folders({**facts, "sha256": hashlib.sha256(data).hexdigest()})
    if "radimagenet" in str(facts.get("weights", "")).lower():
        shown["derived_from_radimagenet"] = True  # a release needs this after the folder name that said so is gone
    facts = shown
    atomic_write_text(_facts_path(path), json.dumps(facts, indent=2) + "\n")


def load_model(path: str | os.PathLike[str], network: nn.Module, architecture: str | None = None) -> None:
    """Load a state dict into ``network``, strictly and in place.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, needs code to load, or was made for another network; the message names
        the architecture it was made for, if known.
    """
    path = Path(path)
    state = load_torch_file(path)
    facts = read_facts(path)
    if not facts:
        logger.warning(
            "%s has no %s beside it: its classes, image size and intensities are taken to be those of this config",
            path,
            _facts_path(path).name,
        )
    trained = facts.get("architecture")
    if architecture and trained and trained != architecture:
        raise WeightsError(
            f"{path} holds a trained {trained}, but the architecture is {architecture!r}; give --architecture {trained}"
        )
    if not is_state_dict(state):
        raise WeightsError(f"{path} holds a {type(state).__name__}, expected a state dict of tensors")
    load_strictly(network, state, path)


def load_torch_file(path: str | os.PathLike[str]) -> Any:
    """Read tensors and plain containers from a torch file; nothing in it is executed.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, or needs code to load.
    """
    try:
        return read_torch_file(Path(path))
    except FileNotFoundError:
        raise WeightsError(
            f"{path} does not exist; train the bundle first, or give the path of trained weights"
        ) from None


def trained_fact(model: str | os.PathLike[str], name: str, default: Any) -> Any:
    """A fact of a trained model, such as ``"architecture"``, or ``default`` if there is none.

    Parameters
    ----------
    model
        Path of ``model.pt`` or of the bundle folder.
    name, default
        Key of ``model.json``, and the value to return if the model or the key does not exist.
    """
    path = Path(model)
    if path.is_dir() or not path.suffix:
        path = path / "models" / "model.pt"
    return read_facts(path).get(name, default)


def operating_points(
    model: str | os.PathLike[str], names: Sequence[str], threshold: float | None = None
) -> dict[str, float]:
    """Decision thresholds of a trained model: the given one, those chosen on its validation data, or 0.5.

    Parameters
    ----------
    model
        Path of ``model.pt``.
    names
        Names to decide on: the positive class of two, or each of several findings.
    threshold
        Threshold to use for all of them instead.

    Raises
    ------
    WeightsError
        If ``model.json`` belongs to another ``model.pt``: its thresholds would be wrong.
    """
    if threshold is not None:
        return {name: float(threshold) for name in names}
    facts = read_facts(model)
    known = dict(facts.get("thresholds") or {})
    if "threshold" in facts and len(names) == 1:
        known[names[0]] = facts["threshold"]
    unknown = [name for name in names if name not in known]
    if unknown:
        logger.warning(
            "no operating point of %s is known for %s; decisions are made at %s",
            ", ".join(unknown),
            model,
            DEFAULT_THRESHOLD,
        )
    if known and Path(model).is_file() and facts.get("sha256") != file_digest(model):
        raise WeightsError(
            f"{_facts_path(model)} does not describe {Path(model).name} (SHA-256 differs); give --threshold"
        )
    return {name: float(known.get(name, DEFAULT_THRESHOLD)) for name in names}


def _facts_path(path: str | os.PathLike[str]) -> Path:
    return Path(path).with_suffix(".json")


def read_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The facts beside a ``model.pt``; empty if there are none.

    Raises
    ------
    WeightsError
        If they are no JSON object.
    """
    facts = _facts_path(path)
    try:
        return dict(json.loads(facts.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{facts} is not JSON: {error}") from error
