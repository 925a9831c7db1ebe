"""U-Net of every encoder through MONAI's FlexibleUNet: sizes, freezing, and encoders that move between networks."""

from __future__ import annotations

import pytest
import torch
from batch_norm_statistics import settle_batch_norm
from monai.data import MetaTensor
from monai.networks.nets import FLEXUNET_BACKBONE, FlexibleUNet

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders import Encoder
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.models import build_classifier, build_encoder, build_unet, take_encoder
from radimagenet_monai.models.freezing import Freeze
from radimagenet_monai.weights.catalogue import CATALOGUE

pytestmark = pytest.mark.slow

ALL = list(ARCHITECTURES)
# What is the U-Net's own is tested with one encoder in a quick run.
QUICK = ("densenet121",)
some_encoders = pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in ALL]
)


# How many channels there are is a matter of the input normalization, the same for all.
@pytest.mark.parametrize(
    ("architecture", "channels"),
    [
        *(pytest.param(name, 1, marks=pytest.mark.long if name == "inceptionresnetv2" else ()) for name in ALL),
        *(pytest.param(name, 3, marks=() if name == ALL[1] else pytest.mark.long) for name in ALL),
    ],
)
def test_output_has_the_size_of_the_input(architecture: str, channels: int) -> None:
    network = build_unet(architecture, num_classes=3).eval()
    with torch.no_grad():
        for size in ((122, 102), (64, 32), (33, 1)):
            assert network(torch.rand(1, channels, *size)).shape == (1, 3, *size)


def test_padding_is_no_part_of_an_image_that_needs_none() -> None:
    """Cropped logits of an image continued by hand are the logits of the image; one that fits goes straight through."""
    network = build_unet("densenet121").eval()
    settle_batch_norm(network)
    image = torch.rand(1, 1, 60, 50)
    whole = torch.nn.functional.pad(image, (0, 14, 0, 4), mode="replicate")
    with torch.no_grad():
        torch.testing.assert_close(network(image), network(whole)[:, :, :60, :50])
        plain = FlexibleUNet.forward(network, whole)
        torch.testing.assert_close(network(whole), plain)


@some_encoders
def test_weights_have_a_backbone_of_their_name_in_monai(architecture: str) -> None:
    network = FlexibleUNet(in_channels=1, out_channels=2, backbone=f"{architecture}.random").eval()
    ours = build_unet(architecture).eval()
    ours.load_state_dict(network.state_dict(), strict=True)
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), network(image))


def test_registry_holds_every_set_of_weights_and_still_monais_own() -> None:
    registered = FLEXUNET_BACKBONE.register_dict
    assert set(CATALOGUE) <= set(registered)
    assert {"resnet50", "efficientnet-b0"} <= set(registered)
    for name, spec in CATALOGUE.items():
        architecture = ARCHITECTURES[spec.architecture]
        assert tuple(registered[name]["feature_channel"]) == architecture.pyramid_channels
        assert registered[name]["feature_number"] == 5


def test_one_construction_leaves_nothing_for_the_next() -> None:
    """MONAI writes into a parameter dictionary that all networks of a name share."""
    first = FlexibleUNet(in_channels=3, out_channels=2, backbone="densenet121.random")
    with pytest.raises(ConfigurationError, match=r"pretrained=True contradicts backbone 'densenet121.random'"):
        FlexibleUNet(in_channels=1, out_channels=2, backbone="densenet121.random", pretrained=True)
    second = FlexibleUNet(in_channels=1, out_channels=2, backbone="densenet121.random")
    assert {name: tensor.shape for name, tensor in first.state_dict().items()} == {
        name: tensor.shape for name, tensor in second.state_dict().items()
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [({"spatial_dims": 3, "in_channels": 1}, "spatial_dims is 3"), ({"in_channels": 4}, "in_channels is 4")],
)
def test_monai_is_told_what_the_encoders_take(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FlexibleUNet(out_channels=2, backbone="densenet121.random", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes is 0"),
        ({"architecture": "unet"}, "unknown architecture 'unet'"),
        ({"weights": "imagenet"}, "unknown weights 'imagenet'"),
        ({"freeze": "half"}, "unknown freezing policy 'half'"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_unet(**{"architecture": "densenet121", **options})


# Which layers are the last ten is a matter of the encoder: `test_classifier.py` has them all.
POLICIES = [
    pytest.param(policy, name, marks=() if name == QUICK[0] else pytest.mark.long) for policy in Freeze for name in ALL
]


@pytest.mark.parametrize(("policy", "architecture"), POLICIES)
def test_frozen_tensors_stay_bit_identical_and_others_move(architecture: str, policy: Freeze) -> None:
    torch.manual_seed(0)
    network = build_unet(architecture, freeze=policy).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    target = torch.randint(0, 2, (2, 32, 64))
    torch.nn.functional.cross_entropy(network(torch.rand(2, 1, 32, 64)), target).backward()
    optimizer.step()
    last_10 = tuple(f"encoder.backbone.{name}." for name in network.encoder.backbone.last_10_keras_layers)
    trained = {Freeze.NONE: ("encoder.backbone.",), Freeze.ENCODER: (), Freeze.ALL_BUT_LAST_10: last_10}[policy]
    for name, tensor in network.state_dict().items():
        moved = not torch.equal(before[name], tensor)
        assert moved == name.startswith(("decoder.", "segmentation_head.", *trained)), name


@some_encoders
def test_encoder_moves_between_classifier_and_unet(architecture: str) -> None:
    classifier = build_classifier(architecture, freeze="encoder").eval()
    settle_batch_norm(classifier)
    unet = build_unet(architecture).eval()
    state = torch.get_rng_state()
    taken = take_encoder(classifier)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(taken) is Encoder
    assert all(parameter.requires_grad for parameter in taken.parameters())
    unet.encoder.load_state_dict(taken.state_dict(), strict=True)
    back = build_encoder(architecture).eval()
    back.load_state_dict(take_encoder(unet).state_dict(), strict=True)
    image = torch.rand(1, 1, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(back(image), classifier.encoder(image))
        # A copy: what happens to it is nothing to the network it was taken from.
        next(taken.backbone.parameters()).zero_()
        assert not torch.allclose(taken.eval()(image), classifier.encoder(image))


def test_network_without_an_encoder_has_none_to_take() -> None:
    with pytest.raises(ConfigurationError, match="a Linear has no encoder"):
        take_encoder(torch.nn.Linear(2, 2))


@some_encoders
def test_training_as_the_bundles_do_it_moves_every_parameter(architecture: str) -> None:
    """bf16 autocast, channels_last, MONAI's tensors, and a size that has to be padded."""
    network = build_unet(architecture).to(memory_format=torch.channels_last).train()
    image = MetaTensor(torch.rand(2, 1, 60, 40)).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        loss = torch.nn.functional.cross_entropy(network(image).float(), torch.randint(0, 2, (2, 60, 40)))
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.long
@pytest.mark.learns
def test_unet_learns_to_outline_a_disc(seed: int) -> None:
    """Gradients reach decoder and encoder: a few steps on one picture separate it."""
    torch.manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(60), torch.arange(50), indexing="ij")
    disc = ((rows - 30) ** 2 + (columns - 25) ** 2 < 200).long()[None]
    image = (0.3 + 0.4 * disc[:, None].float() + 0.02 * torch.randn(1, 1, 60, 50)).clamp(0, 1)
    network = build_unet("densenet121").train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(12):
        optimizer.zero_grad()
        logits = network(image)
        torch.nn.functional.cross_entropy(logits, disc).backward()
        optimizer.step()
    found = logits.argmax(1)
    dice = 2 * (found * disc).sum() / (found.sum() + disc.sum())
    # 0.976 to 0.998 for seeds 0 to 9.
    assert dice > 0.9
