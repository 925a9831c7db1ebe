"""All-or-nothing loading; an error names missing, unexpected and misshaped tensors in one line."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor, nn

from radimagenet_monai.core.errors import WeightsError, one_line
from radimagenet_monai.encoders.architectures import ARCHITECTURES

Shapes = Mapping[str, tuple[int, ...]]

ENOUGH_TO_RECOGNIZE = 0.5
"""Share of a network's tensors, by name and shape, from which on a file is taken for that network."""


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], origin: str | os.PathLike[str]) -> None:
    """``load_state_dict(strict=True)``, in place, with a one-line error.

    Raises
    ------
    WeightsError
        If ``state``, read from ``origin``, does not match ``network`` tensor by tensor.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    problem = describe_mismatch(expected, {name: tuple(tensor.shape) for name, tensor in state.items()})
    if problem:
        raise WeightsError(f"{origin} was made for another network: of {len(expected)} tensors {problem}")
    network.load_state_dict(state, strict=True)


def describe_mismatch(expected: Shapes, found: Shapes) -> str:
    """What keeps ``found`` from being loaded as ``expected``: ``"2 missing (first: fc.bias)"``; empty if nothing."""
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    misshaped = [
        f"{name} is {list(found[name])}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    return ", ".join(
        f"{len(names)} {kind} (first: {names[0]})"
        for kind, names in (("missing", missing), ("unexpected", extra), ("misshaped", misshaped))
        if names
    )


@cache
def backbone_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors of the backbone, without building it in memory."""
    from radimagenet_monai.encoders.encoder import BACKBONES

    with torch.device("meta"):
        network = BACKBONES[architecture]()
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@cache
def recognizable() -> tuple[str, ...]:
    """The architectures whose network can be built; a plug-in's that cannot is left out, with a warning."""
    names = []
    for name in ARCHITECTURES:
        try:
            backbone_shapes(name)
        except Exception as error:
            if name in ARCHITECTURES.builtin():
                raise
            package = ARCHITECTURES.packages[name]
            logging.getLogger(__name__).warning(
                "warning: encoder '%s' of %s cannot be built: %s", name, package, one_line(error)
            )
        else:
            names.append(name)
    return tuple(names)


def recognize_architecture(found: Shapes) -> str | None:
    """The architecture with most of its tensors in ``found``; None if none has at least half of them.

    Name and shape must match, so that a wider or shallower relative is not mistaken for a damaged file.
    """
    share = {
        architecture: sum(found.get(name) == shape for name, shape in backbone_shapes(architecture).items())
        / len(backbone_shapes(architecture))
        for architecture in recognizable()
    }
    best = max(share, key=lambda architecture: share[architecture])
    return best if share[best] >= ENOUGH_TO_RECOGNIZE else None
