"""Keras applications in HDF5, array by array: whole models of Keras 2 and 3, and weights alone in both layouts.

Of the file only arrays and the lists of layer and weight names are used. The model's configuration, which may hold
Lambda layers with code in them, is never read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from radimagenet_monai.errors import RadImageNetError, WeightsError
from radimagenet_monai.networks.architectures import ARCHITECTURES
from radimagenet_monai.weights.importers.keras_layers import KerasLayer, keras_layers, saved_order
from radimagenet_monai.weights.importers.published import Layout, PublishedWeights
from radimagenet_monai.weights.strict import backbone_shapes

# Layer names that Keras makes up itself, with the number that says when the layer was built.
_NUMBERED = re.compile(r"(conv2d|batch_normalization)(?:_(\d+))?")
_HEAD = re.compile(r"(predictions|dense(_\d+)?)")
_POSITION = re.compile(r"(.*/)?(conv2d|batch_normalization|dense)(?:_(\d+))?/vars")
_PARTS_OF_NORM = {4: ("gamma", "beta", "moving_mean", "moving_variance"), 3: ("beta", "moving_mean", "moving_variance")}
_TORCH_NAME = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_ENOUGH_TO_RECOGNIZE = 0.5


@dataclass(frozen=True)
class _FoundLayer:
    """A layer of the file: its name, whether that is its position, and its arrays by their Keras names."""

    name: str
    by_position: bool
    arrays: dict[str, h5py.Dataset]


def read_keras(path: str | os.PathLike[str]) -> PublishedWeights:
    """One of the four Keras applications, as tensors of our backbone.

    Kernels go from (rows, columns, in, out) to (out, in, rows, columns). A bias in front of a batch norm folds into it
    exactly: ``running_mean = moving_mean - bias``. Batch norms without gamma get ones.

    Raises
    ------
    WeightsError
        Where the file is damaged, or not every array of one of the four networks is there, and nothing else.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r") as file:
            layers = _find_layers(path, file)
            head = [layer for layer in layers if _HEAD.fullmatch(layer.name)]
            matched = _match(path, [layer for layer in layers if layer not in head])
            return PublishedWeights(
                path,
                Layout.KERAS,
                matched.architecture,
                _convert(path, matched),
                sum(array.size for layer in matched.found.values() for array in layer.arrays.values()),
                head=tuple(f"{layer.name}/{part}" for layer in head for part in layer.arrays),
                head_classes=_classes(head),
                folded_biases=sum(bool(layer.folds_into) for layer in matched.layers),
            )
    except (RadImageNetError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # OSError, RuntimeError, KeyError, TypeError, ... depending on where the file is damaged
        raise WeightsError(f"{path} is a damaged or incomplete HDF5 file: {error}") from error


def _find_layers(path: Path, file: h5py.File) -> list[_FoundLayer]:
    """All layers with arrays. Every array of the file belongs to one, except an optimizer's."""
    root = file.get("model_weights", file)
    arrays: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name.partition("/")[0] not in ("optimizer", "optimizer_weights"):
            arrays[item.name] = item

    root.visititems(collect)
    if not arrays:
        raise WeightsError(f"{path} is an HDF5 file without arrays, expected the weights of a Keras application")
    for name, array in arrays.items():
        # Both would have h5py read other files than the one that was given.
        if array.is_virtual or array.external:
            raise WeightsError(f"{path} keeps {name} in another file; expected the arrays themselves")
    layers = list(_named_layers(root) if _names(root, "layer_names") else _positioned_layers(path, arrays))
    used = {array.name for layer in layers for array in layer.arrays.values()}
    unused = [name for name in arrays if name not in used]
    if unused:
        raise WeightsError(f"{path} holds {len(unused)} arrays of no layer (first: {unused[0]}); nothing was imported")
    return layers


def _named_layers(root: h5py.Group) -> Iterator[_FoundLayer]:
    """The layout of whole models, and of weights in Keras 2: groups that list their weights."""
    for group_name in _names(root, "layer_names"):
        group = root[group_name]
        layers: dict[str, dict[str, h5py.Dataset]] = {}
        for weight_name in _names(group, "weight_names"):
            layer, _, part = weight_name.rpartition("/")
            array = group[weight_name]
            if not isinstance(array, h5py.Dataset):
                raise ValueError(f"{array.name} is no array")
            layers.setdefault(layer, {})[part.partition(":")[0]] = array
        for layer, arrays in layers.items():
            # A model inside a model lists the layers of the inner one; else the group has the layer's true name,
            # which older versions put before its weights with a number of their own.
            name = group_name if len(layers) == 1 else layer
            yield _FoundLayer(name.replace("/", "_"), False, arrays)


def _positioned_layers(path: Path, arrays: Mapping[str, h5py.Dataset]) -> Iterator[_FoundLayer]:
    """The layout of weights in Keras 3: ``layers/conv2d_17/vars/0``, with the layer's name where it was recorded."""
    groups: dict[str, list[h5py.Dataset]] = {}
    for name in sorted(arrays, key=lambda name: (name.rpartition("/")[0], len(name), name)):
        groups.setdefault(name.rpartition("/")[0], []).append(arrays[name])
    for group, members in groups.items():
        position = _POSITION.fullmatch(group)
        if position is None:
            raise WeightsError(
                f"{path} holds {group}, which is no layer of a Keras application; expected layer_names, or groups "
                "such as layers/conv2d/vars"
            )
        parts = _PARTS_OF_NORM.get(len(members), ()) if position[2] == "batch_normalization" else ("kernel", "bias")
        if len(members) > len(parts):
            raise WeightsError(f"{path} holds {len(members)} arrays in {group}, more than such a layer has")
        recorded = members[0].parent.attrs.get("name")
        own_name = str(recorded) if recorded is not None else f"{position[2]}_{position[3] or 0}"
        yield _FoundLayer(own_name, recorded is None, dict(zip(parts, members, strict=False)))


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names, which HDF5's limit on attributes may have broken into numbered pieces."""
    pieces = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(pieces)}" in group.attrs:
        pieces.append(f"{attribute}{len(pieces)}")
    names = [name for piece in pieces for name in np.atleast_1d(group.attrs[piece])]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


@dataclass(frozen=True)
class _Match:
    architecture: str
    layers: tuple[KerasLayer, ...]
    found: dict[str, _FoundLayer]
    """By the module of our backbone."""


def _match(path: Path, layers: list[_FoundLayer]) -> _Match:
    """The architecture that the layers fit best, if they fit it wholly."""
    duplicates = {layer.name for layer in layers if sum(other.name == layer.name for other in layers) > 1}
    if duplicates:
        raise WeightsError(f"{path} holds two layers {min(duplicates)!r}; expected one network")
    best: tuple[float, str, list[str], dict[str, _FoundLayer]] | None = None
    for architecture in ARCHITECTURES:
        share, problems, found = _fit(architecture, layers)
        if best is None or share > best[0]:
            best = (share, architecture, problems, found)
    assert best is not None
    share, architecture, problems, found = best
    if share < _ENOUGH_TO_RECOGNIZE:
        counts = [sum(name in layer.arrays for layer in layers) for name in ("kernel", "moving_mean")]
        expected = "; ".join(f"{name} {_count(name, 'conv')} and {_count(name, 'bn')}" for name in ARCHITECTURES)
        raise WeightsError(
            f"{path} is none of the four Keras applications: it holds {counts[0]} convolutions and {counts[1]} batch "
            f"norms, expected {expected}"
        )
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(f"{path} looks like {architecture} but is not: {'; '.join(problems[:3])}{more}")
    return _Match(architecture, tuple(layer for layer in keras_layers(architecture) if layer.weights), found)


def _count(architecture: str, kind: str) -> int:
    return sum(layer.kind == kind for layer in keras_layers(architecture))


def _fit(architecture: str, layers: list[_FoundLayer]) -> tuple[float, list[str], dict[str, _FoundLayer]]:
    """Share of the expected arrays that are there in their shapes, what is wrong, and the layers by module."""
    names = _expected_names(architecture, layers)
    shapes = backbone_shapes(architecture)
    by_name = {layer.name: layer for layer in layers}
    right = total = 0
    problems, found = [], {}
    for module, (name, expected) in names.items():
        layer = by_name.pop(name, None)
        total += len(expected.weights)
        if layer is None:
            problems.append(f"layer {name} is missing")
            continue
        found[module] = layer
        for part in expected.weights:
            shape = _keras_shape(expected, part, shapes)
            if part not in layer.arrays:
                problems.append(f"{name}/{part} is missing")
            elif layer.arrays[part].shape != shape:
                problems.append(f"{name}/{part} is {list(layer.arrays[part].shape)}, expected {list(shape)}")
            else:
                right += 1
        problems += [f"{name}/{part} is unexpected" for part in layer.arrays if part not in expected.weights]
    problems += [f"layer {name} is unexpected" for name in by_name]
    return right / total, problems, found


def _expected_names(architecture: str, layers: list[_FoundLayer]) -> dict[str, tuple[str, KerasLayer]]:
    """For each module with weights, the name that its layer has in a file with these layers."""
    if layers and all(layer.by_position for layer in layers):
        counts = {"conv": 0, "bn": 0}
        result = {}
        for layer in saved_order(architecture):
            if layer.weights:
                result[layer.module] = (f"{_KERAS_CLASS[layer.kind]}_{counts[layer.kind]}", layer)
                counts[layer.kind] += 1
        return result
    # Numbers start where the session that built the network had come to.
    numbers: dict[str, list[int]] = {"conv2d": [], "batch_normalization": []}
    for found in layers:
        match = _NUMBERED.fullmatch(found.name)
        if match:
            numbers[match[1]].append(int(match[2] or 0))
    following = {name: min(values, default=0) for name, values in numbers.items()}
    result = {}
    for layer in keras_layers(architecture):
        if not layer.weights:
            continue
        name = layer.name
        if name is None:
            kind = _KERAS_CLASS[layer.kind]
            number = following[kind]
            name = f"{kind}_{number}" if number else kind
            following[kind] += 1
        result[layer.module] = (name, layer)
    return result


_KERAS_CLASS = {"conv": "conv2d", "bn": "batch_normalization"}


def _keras_shape(layer: KerasLayer, part: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    if part == "kernel":
        out_channels, in_channels, rows, columns = shapes[f"{layer.module}.weight"]
        return rows, columns, in_channels, out_channels
    if layer.folds_into and part == "bias":
        return shapes[f"{layer.folds_into}.bias"]
    return shapes[f"{layer.module}.bias"]


def _convert(path: Path, matched: _Match) -> dict[str, Tensor]:
    arrays: dict[str, np.ndarray] = {}
    biases: dict[str, np.ndarray] = {}
    for layer in matched.layers:
        for part, dataset in matched.found[layer.module].arrays.items():
            array = _read(path, dataset)
            if part == "kernel":
                array = array.transpose(3, 2, 0, 1)
            if layer.folds_into and part == "bias":
                biases[layer.folds_into] = array
            else:
                arrays[f"{layer.module}.{_TORCH_NAME[part]}"] = array
    for module, bias in biases.items():
        arrays[f"{module}.running_mean"] = arrays[f"{module}.running_mean"] - bias
    tensors = {}
    for name, shape in backbone_shapes(matched.architecture).items():
        if name in arrays:
            tensors[name] = torch.from_numpy(np.ascontiguousarray(arrays[name], dtype=np.float32))
        elif name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(0)
        else:
            tensors[name] = torch.ones(shape)  # gamma, which the Inception networks of Keras do not have
    return tensors


def _read(path: Path, dataset: h5py.Dataset) -> np.ndarray:
    if dataset.dtype.kind != "f" or "dtype" in dataset.attrs:
        kind = dataset.attrs.get("dtype", dataset.dtype)
        raise WeightsError(f"{path} holds {dataset.name} as {kind}, expected float16, float32 or float64")
    # In float64, so that folding a bias rounds once.
    return np.asarray(dataset[()], dtype=np.float64)


def _classes(head: list[_FoundLayer]) -> int | None:
    shapes = [layer.arrays["kernel"].shape for layer in head if "kernel" in layer.arrays]
    return int(shapes[-1][-1]) if shapes else None
