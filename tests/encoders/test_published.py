"""Encoders against torchvision's and timm's own networks: the same tensors, the same function."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from batch_norm_statistics import settle_batch_norm, settle_convolutions
from torchvision_oracle import final_features, published_network, without_head

from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.encoders.encoder import BACKBONES
from radimagenet_monai.weights.catalogue import resolve_weights

pytestmark = pytest.mark.slow

ALL = list(ARCHITECTURES)


DAILY = [pytest.param(name, marks=() if name == "densenet121" else pytest.mark.long) for name in ALL]


@pytest.fixture(scope="module", params=ALL)
def pair(request: pytest.FixtureRequest) -> tuple[str, torch.nn.Module, torch.nn.Module]:
    """Architecture, published network, and ours in that library's variant with its tensors."""
    architecture = request.param
    torch.manual_seed(0)
    published = published_network(architecture)
    settle_convolutions(published)
    settle_batch_norm(published)
    ours = BACKBONES[architecture]().eval()
    ours.apply_variant(resolve_weights(architecture, "random").variant)
    ours.load_state_dict(without_head(architecture, published.state_dict()), strict=True)
    return architecture, published, ours


# Even, odd and unequal sides. In a quick run smaller ones with the same remainders, which is what padding depends on.
USUAL = [(224, 224), (256, 256), (299, 299), (250, 171)]
QUICK = [(128, 128), (139, 139), (122, 107)]


@pytest.mark.parametrize("size", [*QUICK, *(pytest.param(size, marks=pytest.mark.long) for size in USUAL)])
def test_features_equal_those_of_the_published_network(
    pair: tuple[str, torch.nn.Module, torch.nn.Module], size: tuple[int, int]
) -> None:
    architecture, published, ours = pair
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs = final_features(architecture, published, image)
        features = ours(image)
    assert features.shape == theirs.shape
    # Features that hardly depend on the image would agree whatever the network does.
    assert theirs.std(dim=(2, 3)).mean() > 0.01 * theirs.abs().max()
    assert (features - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("pair", DAILY, indirect=True)
def test_training_gives_the_gradients_and_statistics_of_the_published_network(
    pair: tuple[str, torch.nn.Module, torch.nn.Module],
) -> None:
    """In double precision, because a hundred batch norms over four small maps amplify rounding."""
    architecture, published, ours = pair[0], *(deepcopy(network).double().train() for network in pair[1:])
    image = torch.randn(4, 3, 96, 80, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    final_features(architecture, published, image).square().mean().backward()
    ours(image).square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in published.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-6, atol=1e-9, msg=name)
    state = published.state_dict()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize("pair", DAILY, indirect=True)
def test_our_state_loads_into_the_published_network(pair: tuple[str, torch.nn.Module, torch.nn.Module]) -> None:
    architecture, published, ours = pair
    features = without_head(architecture, published.state_dict())
    head = {name: tensor for name, tensor in published.state_dict().items() if name not in features}
    assert len(head) == 2
    published_network(architecture).load_state_dict({**ours.state_dict(), **head}, strict=True)


@pytest.mark.parametrize("architecture", ["inceptionv3", pytest.param("inceptionresnetv2", marks=pytest.mark.long)])
def test_padding_of_average_pools_is_as_the_library_has_it(architecture: str) -> None:
    """What InceptionV3 and InceptionResNetV2 do differently, on a constant map, where only the border can tell."""
    published = published_network(architecture)
    variant = resolve_weights(architecture, "random").variant
    backbone = BACKBONES[architecture]()
    backbone.apply_variant(variant)
    pools = [module for module in backbone.modules() if isinstance(module, torch.nn.AvgPool2d)]
    assert len(pools) == (9 if architecture == "inceptionv3" else 1)
    ones = torch.ones(1, 1, 4, 4)
    counted = architecture == "inceptionv3"
    for pool in pools:
        torch.testing.assert_close(pool(ones)[0, 0, 0, 0].item(), 4 / 9 if counted else 1.0)
    if not counted:
        theirs = next(module for module in published.modules() if isinstance(module, torch.nn.AvgPool2d))
        torch.testing.assert_close(pools[0](ones), theirs(ones))
