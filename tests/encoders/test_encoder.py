"""Encoders against MONAI's own networks, and the contract that all of them share."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from batch_norm_statistics import settle_batch_norm
from monai.networks.nets import DenseNet121 as MonaiDenseNet121
from monai.networks.nets import resnet50 as monai_resnet50

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders import Encoder
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.encoders.encoder import BACKBONES
from radimagenet_monai.encoders.spec import InputConvention, NetworkVariant, PoolPadding, WeightSpec
from radimagenet_monai.models import build_encoder
from radimagenet_monai.weights.catalogue import resolve_weights

pytestmark = pytest.mark.slow

ALL = list(ARCHITECTURES)


def monai_oracle(architecture: str) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """MONAI's network in the configuration that equals torchvision's, and its state dict with torchvision's keys."""
    torch.manual_seed(0)
    if architecture == "resnet50":
        network = monai_resnet50(
            spatial_dims=2, n_input_channels=3, conv1_t_stride=2, bias_downsample=False, feed_forward=False
        )
        settle_batch_norm(network)
        return network.eval(), network.state_dict()
    network = MonaiDenseNet121(spatial_dims=2, in_channels=3, out_channels=2)
    settle_batch_norm(network)
    state = {
        name.replace(".layers.", "."): tensor
        for name, tensor in network.state_dict().items()
        if name.startswith("features.")
    }
    return network.eval(), state


@pytest.mark.parametrize("architecture", ["resnet50", "densenet121"])
def test_backbone_equals_monais_network(architecture: str) -> None:
    oracle, state = monai_oracle(architecture)
    backbone = BACKBONES[architecture]().eval()
    backbone.load_state_dict(state, strict=True)
    image = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        ours = backbone(image)
        if architecture == "resnet50":
            theirs = oracle(image)
            ours = ours.mean((2, 3))
        else:
            theirs = torch.relu(oracle.features(image))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ALL)
def test_architecture_is_described_truly(architecture: str) -> None:
    described = ARCHITECTURES[architecture]
    backbone = BACKBONES[architecture]()
    assert sum(parameter.numel() for parameter in backbone.parameters()) == described.num_parameters
    assert backbone.num_features == described.num_features
    assert backbone.pyramid_channels == described.pyramid_channels
    for name in backbone.last_10_keras_layers:
        assert next(backbone.get_submodule(name).parameters()) is not None


@pytest.mark.parametrize("architecture", ALL)
@pytest.mark.parametrize("size", [(224, 224), (256, 256), (320, 320), (160, 32)])
def test_pyramid_halves_exactly(architecture: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):  # shapes alone
        maps = build_encoder(architecture).eval().pyramid(torch.rand(1, 1, *size))
    assert [tuple(level.shape[2:]) for level in maps] == [(size[0] // 2**i, size[1] // 2**i) for i in range(1, 6)]
    assert tuple(level.shape[1] for level in maps) == ARCHITECTURES[architecture].pyramid_channels


@pytest.mark.parametrize("architecture", ["resnet50", "densenet121"])
def test_pyramid_ends_in_the_features_where_the_published_network_pads(architecture: str) -> None:
    encoder = build_encoder(architecture).eval()
    image = torch.rand(1, 1, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(encoder.pyramid(image)[-1], encoder(image))


@pytest.mark.parametrize("architecture", ["inceptionv3", "inceptionresnetv2"])
def test_pyramid_of_an_unpadded_network_is_the_network_but_for_the_border(architecture: str) -> None:
    """One unpadded 3x3 with stride 2 sees pixels 2i ... 2i + 2, one padded by a pixel sees 2i - 1 ... 2i + 1: an image
    moved by one pixel gives the same map inside."""
    encoder = build_encoder(architecture).eval()
    first = encoder.backbone.get_submodule("Conv2d_1a_3x3" if architecture == "inceptionv3" else "conv2d_1a")
    image = torch.rand(1, 3, 64, 64)
    kept: list[torch.Tensor] = []
    first.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        encoder.pyramid(image)
        unpadded = first(encoder.input_norm(image)[:, :, 1:, 1:])
    torch.testing.assert_close(kept[0][:, :, 1:, 1:], unpadded, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ALL)
def test_pooled_features_are_the_mean_of_the_map(architecture: str) -> None:
    encoder = build_encoder(architecture).eval()
    image = torch.rand(1, 1, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(encoder.pooled(image), encoder(image).flatten(2).mean(2))


@pytest.mark.parametrize("architecture", ALL)
def test_smallest_image(architecture: str) -> None:
    encoder = build_encoder(architecture).eval()
    least = ARCHITECTURES[architecture].minimum_size
    with torch.no_grad():
        assert encoder(torch.rand(1, 1, least, least)).shape == (1, encoder.num_features, 1, 1)
        if least > 32:
            with pytest.raises(ValueError, match=f"at least {least} x {least}, not 300 x {least - 1}"):
                encoder(torch.rand(1, 1, 300, least - 1))


@pytest.mark.parametrize(
    "architecture", [pytest.param(name, marks=() if name == "densenet121" else pytest.mark.long) for name in ALL]
)
def test_state_dict_alone_rebuilds_convention_and_variant(architecture: str) -> None:
    """Weights of another convention, stride, epsilon and pooling load into a network built with the defaults."""
    usual = resolve_weights(architecture, "random").variant
    other_pooling: PoolPadding = "ignored" if usual.pool_padding == "counted" else "counted"
    spec = WeightSpec(
        architecture,
        "test",
        "none",
        "none",
        InputConvention("BGR", 255.0, (103.939, 116.779, 123.68), (255.0, 255.0, 255.0)),
        NetworkVariant(bn_eps=1e-2, stride_on="1x1", pool_padding=other_pooling),
    )
    torch.manual_seed(0)
    source = Encoder(architecture, spec)
    settle_batch_norm(source)
    image = torch.rand(2, 3, 96, 96)
    stream = io.BytesIO()
    torch.save(source.state_dict(), stream)
    stream.seek(0)
    target = build_encoder(architecture)
    with torch.no_grad():
        expected = source.eval()(image)
        assert not torch.allclose(target.eval()(image), expected, rtol=1e-2)
        target.load_state_dict(torch.load(stream, weights_only=True), strict=True)
        torch.testing.assert_close(target(image), expected)
        # Each of them is more than a detail: without it the output differs, where the network has such layers.
        usual_part = {
            "bn_eps": ("", 1e-5),
            "stride_on": ("resnet", "3x3"),
            "pool_padding": ("inception", usual.pool_padding),
        }
        for part, (concerned, value) in usual_part.items():
            target.backbone.apply_variant(replace(spec.variant, **{part: value}))
            differs = not torch.allclose(target(image), expected, rtol=1e-3)
            assert differs == architecture.startswith(concerned), part
        scripted = torch.jit.script(source)
        torch.testing.assert_close(scripted(image), expected)


def test_senseless_variant_in_a_state_dict_is_refused() -> None:
    encoder = build_encoder("densenet121")
    state = encoder.state_dict()
    state["variant"] = torch.tensor([0.0, 0.0, 0.0], dtype=torch.float64)
    with pytest.raises(ConfigurationError, match="epsilon"):
        encoder.load_state_dict(state)


@pytest.mark.parametrize(
    "convention",
    [
        InputConvention("RGB", 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        InputConvention("BGR", 255.0, (103.939, 116.779, 123.68), (255.0, 255.0, 255.0)),
        InputConvention("BGR", 255.0, (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    ],
)
def test_input_norm_follows_its_convention(convention: InputConvention) -> None:
    from radimagenet_monai.encoders.input_norm import InputNorm

    image = np.random.default_rng(0).random((2, 3, 5, 4), dtype=np.float32)
    ordered = image if convention.order == "RGB" else image[:, ::-1]
    mean, std = (np.reshape(value, (1, 3, 1, 1)) for value in (convention.mean, convention.std))
    expected = (ordered * convention.scale - mean) / std
    norm = InputNorm(convention)
    np.testing.assert_allclose(norm(torch.from_numpy(image)).numpy(), expected, rtol=1e-5, atol=1e-5)
    gray = torch.from_numpy(image[:, :1])
    torch.testing.assert_close(norm(gray), norm(gray.expand(-1, 3, -1, -1)))
    with pytest.raises(ValueError, match="1 or 3 channels"):
        norm(torch.rand(1, 2, 4, 4))


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [
        ("resnet51", "random", "unknown architecture 'resnet51'; choose one of resnet50"),
        ("resnet50", "imagenet", "unknown weights 'imagenet' for resnet50; known: random"),
        ("resnet50", "densenet121.random", "are of densenet121"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(architecture: str, weights: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build_encoder(architecture, weights)


def test_full_and_short_weight_names_are_the_same() -> None:
    assert resolve_weights("resnet50", "resnet50.random") is resolve_weights("resnet50", "random")
