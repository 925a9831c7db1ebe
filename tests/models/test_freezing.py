"""What `all_but_last_10` trains, against the layers of Keras applications, and the tables of the documentation."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from keras_oracle import keras_application

from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.encoders.encoder import BACKBONES
from radimagenet_monai.models import build_encoder
from radimagenet_monai.models.freezing import Freeze, freeze_encoder

pytestmark = pytest.mark.slow

ALL = list(ARCHITECTURES)
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "freezing.md"


@functools.cache
def trained_by_keras(architecture: str) -> list[Any]:
    """The last ten layers of the Keras application."""
    return keras_application(architecture).layers[-10:]


def producer(layer: Any) -> Any:
    """The layer that a layer with one input takes it from."""
    return layer.input._keras_history.operation


def trained_by_us(architecture: str) -> list[tuple[str, torch.nn.Module]]:
    """Convolutions and batch norms under the modules that `all_but_last_10` trains."""
    backbone = BACKBONES[architecture]()
    return [
        (f"{name}.{child}".rstrip("."), module)
        for name in backbone.last_10_keras_layers
        for child, module in backbone.get_submodule(name).named_modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d)
    ]


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=() if name == "resnet50" else pytest.mark.long) for name in ALL]
)
def test_last_ten_keras_layers_are_the_modules_left_trainable(architecture: str) -> None:
    """The same convolutions, by the shape of their kernels, and the same batch norms, by their channels."""
    theirs: Counter[tuple] = Counter()
    for layer in trained_by_keras(architecture):
        kind, shapes = type(layer).__name__, [tuple(weight.shape) for weight in layer.weights]
        if kind == "Conv2D":
            rows, columns, channels_in, channels_out = shapes[0]
            theirs["conv", (channels_out, channels_in, rows, columns)] += 1
        elif kind == "BatchNormalization":
            theirs["norm", shapes[0]] += 1
        else:
            assert not shapes, layer.name
    ours = Counter(
        ("conv" if isinstance(module, torch.nn.Conv2d) else "norm", tuple(module.weight.shape))
        for _, module in trained_by_us(architecture)
    )
    assert ours == theirs


@pytest.mark.long
def test_the_one_layer_of_inceptionv3_follows_the_pooled_branch() -> None:
    """Shapes alone could be those of another batch norm: this one belongs to the convolution after the pool."""
    layers = trained_by_keras("inceptionv3")
    (norm,) = (layer for layer in layers if layer.weights)
    pooled_branch = layers[-1].input[-1]
    assert layers[-1].name == "mixed10"
    assert producer(pooled_branch._keras_history.operation) is norm
    assert type(producer(producer(norm))).__name__ == "AveragePooling2D"
    assert BACKBONES["inceptionv3"].last_10_keras_layers == ("Mixed_7c.branch_pool.bn",)


@pytest.mark.long
def test_the_batch_norms_of_inceptionresnetv2_end_the_branches_of_its_last_block() -> None:
    layers = {layer.name: layer for layer in trained_by_keras("inceptionresnetv2")}
    ends = [producer(tensor._keras_history.operation) for tensor in layers["block8_10_mixed"].input]
    assert [end.name for end in ends] == [
        name for name, layer in layers.items() if type(layer).__name__ == "BatchNormalization" and name != "conv_7b_bn"
    ]
    assert {"block8.branch0.bn", "block8.branch1.2.bn"} < set(BACKBONES["inceptionresnetv2"].last_10_keras_layers)
    block = BACKBONES["inceptionresnetv2"]().block8
    assert [end.weights[0].shape[0] for end in ends] == [
        block.branch0.bn.num_features,
        block.branch1[2].bn.num_features,
    ]


def table_of_policies() -> list[str]:
    """One row for each architecture and policy, in Markdown."""
    rows = []
    for architecture in ALL:
        encoder = build_encoder(architecture)
        backbone = encoder.backbone
        for policy in Freeze:
            freeze_encoder(encoder, policy)
            trained = sum(parameter.numel() for parameter in backbone.parameters() if parameter.requires_grad)
            modules = {
                Freeze.NONE: "all",
                Freeze.ENCODER: "none",
                Freeze.ALL_BUT_LAST_10: ", ".join(f"`{name}`" for name in backbone.last_10_keras_layers),
            }[policy]
            total = ARCHITECTURES[architecture].num_parameters
            rows.append(f"| `{architecture}` | `{policy}` | {modules} | {trained:,} | {100 * trained / total:.2f} % |")
    return rows


def table_of_keras_layers() -> list[str]:
    """One row for each architecture: its last ten layers, those with parameters in bold, and their parameters."""
    rows = []
    for architecture in ALL:
        layers = trained_by_keras(architecture)
        names = ", ".join(f"**{name_of(layer)}**" if layer.weights else name_of(layer) for layer in layers)
        parameters = sum(int(weight.numpy().size) for layer in layers for weight in layer.trainable_weights)
        rows.append(f"| `{architecture}` | {names} | {parameters:,} |")
    return rows


def name_of(layer: Any) -> str:
    """The name without the number that Keras counts up for a whole session."""
    name = layer.name
    stem, _, number = name.rpartition("_")
    counted = stem in {"activation", "batch_normalization", "concatenate", "custom_scale_layer"} and number.isdigit()
    return stem if counted else name


@pytest.mark.parametrize("table", [table_of_policies, pytest.param(table_of_keras_layers, marks=pytest.mark.long)])
def test_page_holds_the_numbers_of_this_version(table: Any) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    missing = [row for row in table() if row not in lines]
    assert not missing, f"{PAGE.name} lacks\n" + "\n".join(missing)
