"""The classifier head, and what each freezing policy trains."""

from __future__ import annotations

import doctest
import importlib

import pytest
import torch

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.models import build_classifier
from radimagenet_monai.models.freezing import Freeze

pytestmark = pytest.mark.slow

ALL = list(ARCHITECTURES)


def one_step(network: torch.nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """State dicts before and after a training step with weight decay, which moves even gradient-free tensors."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    network.train()
    loss = torch.nn.functional.cross_entropy(network(torch.rand(4, 1, 80, 80)), torch.tensor([0, 1, 0, 1]))
    loss.backward()
    optimizer.step()
    return before, network.state_dict()


# Which layers are the last ten is a matter of the encoder, all and none are not.
POLICIES = [
    pytest.param(policy, name, marks=() if policy is Freeze.ALL_BUT_LAST_10 or name == ALL[1] else pytest.mark.long)
    for policy in Freeze
    for name in ALL
]


@pytest.mark.parametrize(("policy", "architecture"), POLICIES)
def test_frozen_tensors_stay_bit_identical_and_others_move(architecture: str, policy: Freeze) -> None:
    torch.manual_seed(0)
    network = build_classifier(architecture, num_classes=2, freeze=policy)
    before, after = one_step(network)
    trained = {
        Freeze.NONE: ("encoder.backbone.",),
        Freeze.ENCODER: (),
        Freeze.ALL_BUT_LAST_10: tuple(
            f"encoder.backbone.{name}." for name in network.encoder.backbone.last_10_keras_layers
        ),
    }[policy]
    for name, tensor in after.items():
        moved = not torch.equal(before[name], tensor)
        assert moved == name.startswith(("head.", *trained)), name


def test_frozen_layers_follow_the_protocols_keras_layers() -> None:
    trainable = {
        architecture: sorted(
            {
                name.rsplit(".", 2)[0] if "denselayer16" in name or "layer4" in name else name.rsplit(".", 1)[0]
                for name, parameter in build_classifier(
                    architecture, freeze="all_but_last_10"
                ).encoder.backbone.named_parameters()
                if parameter.requires_grad
            }
        )
        for architecture in ("resnet50", "densenet121")
    }
    assert trainable == {
        "resnet50": ["layer4.2"],
        "densenet121": ["features.denseblock4.denselayer16", "features.norm5"],
    }


@pytest.mark.parametrize("policy", [Freeze.ENCODER, Freeze.ALL_BUT_LAST_10])
def test_frozen_batch_norm_stays_in_evaluation_mode(policy: Freeze) -> None:
    network = build_classifier("resnet50", freeze=policy).train()
    assert network.training
    assert network.dropout.training
    assert not network.encoder.backbone.bn1.training
    assert network.encoder.backbone.layer4[2].bn3.training == (policy is Freeze.ALL_BUT_LAST_10)
    assert not network.eval().encoder.backbone.layer4[2].bn3.training


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    network = build_classifier("densenet121", freeze="encoder")
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        assert not torch.equal(network.train()(image), network(image))
        assert torch.equal(network.eval()(image), network(image))


def test_gray_image_and_its_three_equal_channels_give_the_same_logits() -> None:
    network = build_classifier("densenet121").eval()
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(image), network(image.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes is 1"),
        ({"freeze": "half"}, "unknown freezing policy 'half'; choose one of none, encoder, all_but_last_10"),
        ({"dropout": 1.5}, "dropout is 1.5"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_classifier("densenet121", **options)


@pytest.mark.parametrize("module", ["classifier", "unet"])
def test_examples_of_the_docstrings_run(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"radimagenet_monai.models.{module}"))
    assert tried
    assert not failed
