"""Converts state dicts of other libraries to tensors of our backbone."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.encoders.spec import WeightSpec
from radimagenet_monai.weights.importers.find_encoder import below, find_encoder, without_data_parallel
from radimagenet_monai.weights.importers.keras_layers import keras_layers
from radimagenet_monai.weights.importers.published import Layout, PublishedWeights
from radimagenet_monai.weights.own_files import CONVENTION_NAMES, convention_of, encoder_prefix, encoder_state
from radimagenet_monai.weights.strict import backbone_shapes, describe_mismatch, recognize_architecture
from radimagenet_monai.weights.tensor_file import read_state_dicts

# Top-level modules without a counterpart in an encoder: torchvision, torchvision, timm, Cadene.
_HEADS = ("fc.", "classifier.", "classif.", "last_linear.", "AuxLogits.")
# What training programs keep in the same module as the encoder: their own heads, weights of a loss, metrics.
_OF_TRAINING = re.compile(
    r"(?:\w+_)?(?:heads?|fc\d?|classifier|linear|projector|projection|criterion|loss|loss_fn|class_weights?|pos_weight|"
    r"metrics?|acc|accuracy|auc|auroc|f1|confmat)(?:_\w+)?(?:\.|$)"
)
_COUNTER = "num_batches_tracked"
_BACKBONE = "backbone."
_CHILD = re.compile(r"backbone\.(\d+)\.(.+)")

# Children of torchvision's networks that have weights, by their index.
_RESNET_CHILDREN = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4"}
_DENSENET_CHILDREN = {0: "features"}
# fmt: off
_INCEPTION_CHILDREN = (
    "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool2",
    "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e",
    "Mixed_7a", "Mixed_7b", "Mixed_7c",
)
# fmt: on
_AUXILIARY_AT = 15


def read_torch(path: str | os.PathLike[str], prefix: str | None = None) -> PublishedWeights:
    """A torch or safetensors file of any known layout, as tensors of our backbone.

    A prefix common to all names of the encoder, as added by Lightning and other training programs, is removed;
    ``prefix`` selects the encoder if there are several.

    Raises
    ------
    WeightsError
        If the file is damaged, needs code, holds several encoders, or its encoder's tensors are not exactly those of
        one of the four networks.
    """
    path = Path(path)
    states = {place: without_data_parallel(state) for place, state in read_state_dicts(path).items()}
    if prefix:
        states = below(path, states, prefix)
    for state in states.values():
        own = encoder_prefix(state)
        if own is not None:
            return _read_own(path, state, own)
    authors = [state for state in states.values() if all(_CHILD.fullmatch(name) for name in state)]
    layout, taken_off = Layout.LIBRARY, ""
    beside: tuple[str, ...] = ()
    if len(authors) == len(states) == 1:
        layout, state = Layout.CHILDREN, _name_children(path, authors[0])
        architecture = recognize_architecture({name: tuple(tensor.shape) for name, tensor in state.items()})
    else:
        found = find_encoder(path, states, lambda state: _name_children(path, _as_authors(state)))
        state, architecture = max(states.values(), key=len), None
        if found is not None:
            state, architecture, taken_off, beside = found.tensors, found.architecture, found.prefix, found.beside
    if architecture is None:
        raise WeightsError(
            f"{path} is none of {', '.join(ARCHITECTURES)}: {len(state)} tensors such as {', '.join(list(state)[:3])}"
        )
    modules = {name.partition(".")[0] for name in backbone_shapes(architecture)}
    head = {name: tensor for name, tensor in state.items() if name.startswith(_HEADS)}
    training = [
        name
        for name in state
        if _OF_TRAINING.match(name) and name not in head and name.partition(".")[0] not in modules
    ]
    state = {name: tensor for name, tensor in state.items() if name not in head and name not in training}
    num_values = _count(state)
    state, folded = _fold_biases(architecture, state)
    if folded:
        layout = Layout.BIASED
    tensors = _complete(path, architecture, state, taken_off)
    left_out = (*(f"{taken_off}{name}" for name in (*head, *training)), *beside)
    return PublishedWeights(
        path, layout, architecture, tensors, num_values, left_out, _classes(head), folded, prefix=taken_off
    )


def _read_own(path: Path, state: Mapping[str, Tensor], prefix: str) -> PublishedWeights:
    from radimagenet_monai.encoders.encoder import variant_of

    encoder = encoder_state(state, prefix)
    backbone = {name.removeprefix(_BACKBONE): tensor for name, tensor in encoder.items() if name.startswith(_BACKBONE)}
    architecture = recognize_architecture({name: tuple(tensor.shape) for name, tensor in backbone.items()})
    if architecture is None:
        raise WeightsError(f"{path} holds an encoder of none of {', '.join(ARCHITECTURES)}")
    strange = [name for name in encoder if name not in CONVENTION_NAMES and not name.startswith(_BACKBONE)]
    if strange:
        raise WeightsError(f"{path} holds {len(strange)} unexpected tensors in its encoder (first: {strange[0]})")
    spec = WeightSpec(
        architecture=architecture,
        tag="own",
        origin="trained with this package",
        licence="as the data and the weights that the training started from allow",
        convention=convention_of(encoder),
        variant=variant_of(encoder["variant"]),
    )
    tensors = _complete(path, architecture, backbone)
    rest = tuple(name for name in state if not name.startswith(prefix))
    return PublishedWeights(path, Layout.OWN, architecture, tensors, _count(backbone), rest, spec=spec)


def _as_authors(children: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{_BACKBONE}{name}": tensor for name, tensor in children.items()}


def _name_children(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``backbone.4.0.conv1.weight`` to ``layer1.0.conv1.weight``, for the network whose children these are."""
    children = {_CHILD.fullmatch(name)[1] for name in state}  # type: ignore[index] # the caller has matched all
    if children == {"0"}:
        names = _DENSENET_CHILDREN
    elif "backbone.0.conv.weight" in state:
        order = list(_INCEPTION_CHILDREN)
        # An auxiliary head among the children shifts all later ones by one.
        if f"backbone.{_AUXILIARY_AT}.fc.weight" in state:
            order.insert(_AUXILIARY_AT, "AuxLogits")
        names = dict(enumerate(order))
    else:
        names = _RESNET_CHILDREN
    renamed = {}
    for name, tensor in state.items():
        index, rest = _CHILD.fullmatch(name).groups()  # type: ignore[union-attr] # as above
        if int(index) not in names:
            raise WeightsError(
                f"{path} holds {name}, but the torchvision network that it looks like has no weights in child {index}"
            )
        renamed[f"{names[int(index)]}.{rest}"] = tensor
    return renamed


def _fold_biases(architecture: str, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Fold biases of convolutions that have none in our backbone into the following batch norms, exactly."""
    folded = dict(state)
    pairs = [(layer.module, layer.folds_into) for layer in keras_layers(architecture) if layer.folds_into]
    biases = {norm: folded.pop(f"{conv}.bias") for conv, norm in pairs if f"{conv}.bias" in folded}
    for norm, bias in biases.items():
        mean = folded.get(f"{norm}.running_mean")
        if mean is not None and mean.shape == bias.shape:
            folded[f"{norm}.running_mean"] = (mean.double() - bias.double()).float()
    # A file with only some of the biases is damaged: put them back, to be reported as unexpected.
    if 0 < len(biases) < len(pairs):
        return dict(state), 0
    return folded, len(biases)


def _complete(path: Path, architecture: str, state: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The backbone's complete state dict, in its order and types; ``prefix`` was removed from the names."""
    expected = backbone_shapes(architecture)
    # Files older than the counters (PyTorch before 0.4.1) have none, and inference needs none.
    needed = {name: shape for name, shape in expected.items() if not name.endswith(_COUNTER) or name in state}
    problem = describe_mismatch(needed, {name: tuple(tensor.shape) for name, tensor in state.items()})
    if problem:
        where = f" behind the prefix {prefix!r}" if prefix else ""
        raise WeightsError(f"{path} looks like {architecture} but is not: of {len(needed)} tensors{where} {problem}")
    for name, tensor in state.items():
        if not tensor.is_floating_point() and not name.endswith(_COUNTER):
            raise WeightsError(f"{path} holds {name} as {tensor.dtype}, expected floating point")
    return {
        name: state.get(name, torch.tensor(0)).long() if name.endswith(_COUNTER) else state[name].float()
        for name in expected
    }


def _classes(head: Mapping[str, Tensor]) -> int | None:
    sizes = [tensor.shape[0] for name, tensor in head.items() if not name.startswith("AuxLogits") and tensor.dim() == 1]
    return int(sizes[-1]) if sizes else None


def _count(state: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() for name, tensor in state.items() if not name.endswith(_COUNTER))
