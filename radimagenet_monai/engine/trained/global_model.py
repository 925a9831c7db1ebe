"""The model of several sites, put into a bundle."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import nn

from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.engine.trained.model_file import load_torch_file, read_facts, save_model
from radimagenet_monai.engine.trained.stated_facts import state_trained_facts

# What one site measured or chose on its own validation data, and where those lie.
_OF_ONE_SITE = re.compile(r"val_.*|validation_.*|threshold.*|epoch|sha256|source")


def save_global_model(
    bundle: str | os.PathLike[str],
    weights: Mapping[str, Any],
    site: str | os.PathLike[str],
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write averaged weights into ``models/`` of a bundle, with the facts on which all sites agree.

    Decision thresholds are left out: each site chose its own, on its own model. Evaluation and inference then decide at
    0.5 unless ``--threshold`` is given.

    Parameters
    ----------
    bundle
        Bundle folder that receives ``models/model.pt`` and ``models/model.json``; its configs state the facts.
    weights
        State dict of tensors or arrays.
    site
        Bundle folder of a site after its training, for architecture, classes, size and preparation of the images.
    facts
        Further facts to record, such as the number of sites and rounds.

    Returns
    -------
    Path
        ``models/model.pt``.

    Raises
    ------
    WeightsError
        If the site has no model, or a tensor is missing, unknown or of another shape.
    """
    model = Path(site) / "models" / "model.pt"
    expected = load_torch_file(model)
    given = {name: torch.as_tensor(value) for name, value in weights.items()}
    differ = [name for name in expected if name not in given or given[name].shape != expected[name].shape]
    differ += [name for name in given if name not in expected]
    if differ:
        raise WeightsError(
            f"{len(differ)} tensors of the global model are not those of {model} (first: {differ[0]}); give a site "
            "that trained the same network"
        )
    state = {name: given[name].to(expected[name].dtype) for name in expected}
    kept = {key: value for key, value in read_facts(model).items() if not _OF_ONE_SITE.fullmatch(key)}
    out = Path(bundle) / "models" / "model.pt"
    save_model(out, cast(nn.Module, SimpleNamespace(state_dict=lambda: state)), {**kept, **(facts or {})})
    state_trained_facts(bundle)
    return out
