"""The encoder in files of this package: trained models, checkpoints, bundles and stored weights."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.encoders.spec import InputConvention
from radimagenet_monai.weights.catalogue import CATALOGUE

CONVENTION_NAMES = ("input_norm.scale", "input_norm.offset", "input_norm.channel_order", "variant")
"""Tensors of an encoder's state dict that are not of its backbone."""


def file_of(path: str | os.PathLike[str]) -> Path:
    """``path``, or the trained model if ``path`` is a bundle folder.

    Raises
    ------
    WeightsError
        For a folder without a trained model.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    model = path / "models" / "model.pt"
    if not model.is_file():
        raise WeightsError(f"{path} is a folder without models/model.pt; give a trained bundle or a file of weights")
    return model


def encoder_prefix(tensors: Mapping[str, Tensor]) -> str | None:
    """Prefix of the `Encoder`'s names in a network of this package; None if there is no encoder.

    It is found by the buffers of the input convention, whatever the surrounding network.
    """
    scale = CONVENTION_NAMES[0]
    prefixes = [name.removesuffix(scale) for name in tensors if name.endswith(scale)]
    if len(prefixes) != 1 or any(f"{prefixes[0]}{name}" not in tensors for name in CONVENTION_NAMES):
        return None
    return prefixes[0]


def encoder_state(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The state dict of the `Encoder` whose names start with ``prefix``."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def convention_of(state: Mapping[str, Tensor]) -> InputConvention:
    """The input convention in the buffers of an encoder's state dict; known ones exactly as in the catalogue.

    Raises
    ------
    WeightsError
        If the buffers do not describe a convention.
    """
    try:
        scale, offset = (state[f"input_norm.{name}"].double().flatten().tolist() for name in ("scale", "offset"))
        order = {(0, 1, 2): "RGB", (2, 1, 0): "BGR"}[tuple(state["input_norm.channel_order"].tolist())]
        mean, std = [-o / s for o, s in zip(offset, scale, strict=True)], [1 / s for s in scale]
        found = InputConvention(order, 1.0, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))  # type: ignore[arg-type] # the mapping's values are the two literals
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise WeightsError(f"the buffers of input_norm hold no input convention: {error!r}") from error
    for spec in CATALOGUE.values():
        if _same(spec.convention, found):
            return spec.convention
    return found


def _same(one: InputConvention, other: InputConvention) -> bool:
    """Whether two conventions map every image identically, to float32 precision."""

    def affine(convention: InputConvention) -> list[float]:
        factors = [convention.scale / std for std in convention.std]
        return factors + [mean / std for mean, std in zip(convention.mean, convention.std, strict=True)]

    return one.order == other.order and all(
        abs(a - b) <= 1e-6 * max(1.0, abs(a)) for a, b in zip(affine(one), affine(other), strict=True)
    )
