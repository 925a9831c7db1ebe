"""Finds the encoder in a checkpoint, despite prefixes, wrappers and whatever else a training program saved."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.weights.strict import ENOUGH_TO_RECOGNIZE, backbone_shapes, recognizable, recognize_architecture

# torchvision before 0.3 named the parts of a dense layer norm.1, conv.1, norm.2, conv.2; its files still do.
_OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
# DenseNet121 keeps its encoder in this module, which some training programs keep alone.
_FEATURES = "features."
_DATA_PARALLEL = "module."

States = Mapping[str, Mapping[str, Tensor]]
Rename = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class FoundEncoder:
    """An encoder inside a file.

    Attributes
    ----------
    place
        Keys of its state dict, joined by dots; empty for the file's top level.
    prefix
        Prefix of all its names there.
    architecture
        Architecture of which it has at least half of the tensors.
    tensors
        Tensors under the prefix, with torchvision or timm names; includes a head, if there is one.
    beside
        Names of the file's other tensors.
    """

    place: str
    prefix: str
    architecture: str
    tensors: dict[str, Tensor] = field(repr=False)
    beside: tuple[str, ...] = field(repr=False)

    @property
    def full_prefix(self) -> str:
        """Place and prefix, in the form of the option ``prefix``."""
        return _joined(self.place, self.prefix)


def without_data_parallel(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` without the ``module.`` that data-parallel training puts before every name."""
    if state and all(name.startswith(_DATA_PARALLEL) for name in state):
        return {name.removeprefix(_DATA_PARALLEL): tensor for name, tensor in state.items()}
    return dict(state)


def below(path: Path, states: States, prefix: str) -> dict[str, dict[str, Tensor]]:
    """Tensors under ``prefix``: a prefix of names, the keys of a state dict in the file, or both.

    Raises
    ------
    WeightsError
        If there are none.
    """
    wanted = prefix.rstrip(".") + "."
    kept = {
        place: {
            name: tensor
            for name, tensor in state.items()
            if name.startswith(wanted) or _joined(place, name).startswith(wanted)
        }
        for place, state in states.items()
    }
    kept = {place: state for place, state in kept.items() if state}
    if not kept:
        there = sorted({f"{name.partition('.')[0]}." for state in states.values() for name in state})
        raise WeightsError(f"{path} has no tensor under the prefix {wanted!r}; its names start with {_some(there)}")
    return kept


def find_encoder(path: Path, states: States, rename_children: Rename) -> FoundEncoder | None:
    """The encoder in a file; ``None`` if none is recognized.

    Encoders with identical tensors, as saved for a module registered twice, count as one.

    Parameters
    ----------
    states
        State dicts of the file, by place.
    rename_children
        Maps numbered children of a torchvision network (``0.weight``) to their names, or raises `WeightsError`.

    Raises
    ------
    WeightsError
        If several encoders differ; the message lists their prefixes and how to choose one.
    """
    found = [encoder for place, state in states.items() for encoder in _encoders(place, state, rename_children)]
    if not found:
        return None
    first, *others = found
    unlike = [other for other in others if not _same(first, other)]
    if unlike:
        names = [encoder.full_prefix or "no prefix" for encoder in (first, *unlike)]
        raise WeightsError(
            f"{path} holds {len(names)} encoders, under {' and '.join(map(repr, names))}; say which with "
            f"--prefix {first.full_prefix or unlike[0].full_prefix}"
        )
    elsewhere = [
        _joined(place, name) for place, state in states.items() if place != first.place for name in sorted(state)
    ]
    return FoundEncoder(first.place, first.prefix, first.architecture, first.tensors, (*first.beside, *elsewhere))


def _encoders(place: str, state: Mapping[str, Tensor], rename_children: Rename) -> Iterator[FoundEncoder]:
    shares: Counter[tuple[str, str, str]] = Counter()  # prefix, expected start after it, architecture
    named = {_OLD_DENSE_LAYER.sub(r"\1\2.", name): name for name in state}
    for name, original in named.items():
        shape = tuple(state[original].shape)
        for prefix, rest in _divisions(name):
            for architecture in recognizable():
                shapes = backbone_shapes(architecture)
                if shapes.get(rest) == shape:
                    shares[prefix, "", architecture] += 1
                elif shapes.get(_FEATURES + rest) == shape and not prefix.endswith(_FEATURES):
                    shares[prefix, _FEATURES, architecture] += 1
    for (prefix, insert, architecture), count in shares.items():
        if count < ENOUGH_TO_RECOGNIZE * len(backbone_shapes(architecture)):
            continue
        under = {name.removeprefix(prefix): old for name, old in named.items() if name.startswith(prefix)}
        tensors = {insert + name: state[old] for name, old in under.items()}
        yield FoundEncoder(place, prefix, architecture, tensors, _beside(state, prefix))
    for prefix, children in _children(state).items():
        try:
            renamed = dict(rename_children(children))
        except WeightsError:
            continue
        renamed = {_OLD_DENSE_LAYER.sub(r"\1\2.", name): tensor for name, tensor in renamed.items()}
        recognized = recognize_architecture({name: tuple(tensor.shape) for name, tensor in renamed.items()})
        if recognized is not None:
            yield FoundEncoder(place, prefix, recognized, renamed, _beside(state, prefix))


def _divisions(name: str) -> Iterator[tuple[str, str]]:
    """``a.b.c`` as ``("", "a.b.c")``, ``("a.", "b.c")`` and ``("a.b.", "c")``."""
    yield "", name
    for dot in re.finditer(r"\.", name):
        yield name[: dot.end()], name[dot.end() :]


def _children(state: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """By prefix, the tensors whose names continue with a number."""
    children: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in state.items():
        for prefix, rest in _divisions(name):
            if rest.partition(".")[0].isdecimal():
                children[prefix][rest] = tensor
    return children


def _beside(state: Mapping[str, Tensor], prefix: str) -> tuple[str, ...]:
    return tuple(name for name in state if not name.startswith(prefix))


def _same(one: FoundEncoder, other: FoundEncoder) -> bool:
    names = backbone_shapes(one.architecture)
    return one.architecture == other.architecture and all(
        name in one.tensors and name in other.tensors and torch.equal(one.tensors[name], other.tensors[name])
        for name in names
        if name in one.tensors or name in other.tensors
    )


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
