"""Import of torch files against torchvision's and timm's own networks, in every layout that was published."""

from __future__ import annotations

import functools
import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from batch_norm_statistics import settle_batch_norm, settle_convolutions
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision_oracle import final_features, published_network

from radimagenet_monai import load_encoder
from radimagenet_monai.core.errors import ConfigurationError, WeightsError
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.encoders.encoder import BACKBONES
from radimagenet_monai.weights.importers.import_file import import_weights
from radimagenet_monai.weights.importers.torch_layouts import read_torch
from radimagenet_monai.weights.strict import load_strictly

pytestmark = pytest.mark.slow

SIZE = 160
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.long if name.startswith("inception") else ()) for name in ARCHITECTURES
    ],
)
def published(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    return request.param, settled_network(request.param)


@functools.cache
def settled_network(architecture: str) -> nn.Module:
    """A published network whose features depend on the image as those of a trained one do; no test may change it."""
    torch.manual_seed(0)
    network = published_network(architecture)
    settle_convolutions(network)
    settle_batch_norm(network)
    return network


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def normalized(image: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (image - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def as_the_authors_did(image: Tensor) -> Tensor:
    """The RadImageNet notebooks: channels as OpenCV reads them (BGR), 0-255, ``(x - 127.5) * 2 / 255``."""
    return (image.flip(1) * 255 - 127.5) * 2 / 255


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    assert expected.std(dim=(2, 3)).mean() > 0.01 * expected.max()
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def children_file(architecture: str, network: nn.Module, path: Path) -> nn.Sequential:
    """Save as the authors of RadImageNet did: ``self.backbone = nn.Sequential(*list(net.children())[:k])``."""
    kept = {"resnet50": 9, "densenet121": 1, "inceptionv3": 20}[architecture]
    holder = nn.Module()
    holder.backbone = nn.Sequential(*list(network.children())[:kept])
    torch.save(holder.state_dict(), path)
    return holder.backbone


def test_imagenet_files_give_the_features_of_their_library(
    published: tuple[str, nn.Module], image: Tensor, tmp_path: Path
) -> None:
    """With the head they come with, which tells that they are of ImageNet."""
    architecture, network = published
    library = "timm" if architecture == "inceptionresnetv2" else "torchvision"
    torch.save(network.state_dict(), tmp_path / "x.bin")
    report = import_weights(tmp_path / "x.bin")
    assert report.stored.spec.name == f"{architecture}.imagenet_{library}"
    assert set(report.published.head) == {name for name in network.state_dict() if name.startswith(("fc.", "class"))}
    half = (0.5, 0.5, 0.5)
    prepared = normalized(image, half, half)
    if library == "torchvision":
        prepared = normalized(image, IMAGENET_MEAN, IMAGENET_STD)
        if architecture == "inceptionv3":
            network.transform_input = True  # as torchvision sets it together with its weights
    with torch.no_grad():
        expected = final_features(architecture, network, prepared)
        assert_same(load_encoder(architecture, f"imagenet_{library}")(image), expected)
    if architecture == "inceptionv3":
        network.transform_input = False


@pytest.mark.parametrize(
    "published",
    ["densenet121", *(pytest.param(name, marks=pytest.mark.long) for name in ("resnet50", "inceptionv3"))],
    indirect=True,
)
def test_files_of_the_authors_give_the_features_of_their_networks(
    published: tuple[str, nn.Module], image: Tensor, tmp_path: Path
) -> None:
    architecture, network = published
    backbone = children_file(architecture, network, tmp_path / "x.bin")
    report = import_weights(tmp_path / "x.bin")
    assert report.stored.spec.name == f"{architecture}.radimagenet_torch"
    found = load_encoder(architecture, "radimagenet_torch")
    with torch.no_grad():
        expected = as_the_authors_did(image)
        # The last children of ResNet50 and InceptionV3 pool; DenseNet121's authors did it by hand, after a ReLU.
        for child in backbone:
            if not isinstance(child, nn.AdaptiveAvgPool2d | nn.Dropout):
                expected = child(expected)
        if architecture == "densenet121":
            expected = torch.relu(expected)
        assert_same(found(image), expected)
        assert_same(found(image), final_features(architecture, network, as_the_authors_did(image)))
        wrong = final_features(architecture, network, normalized(image, IMAGENET_MEAN, IMAGENET_STD))
        assert (found(image) - wrong).abs().max() > 1e-2 * wrong.abs().max()


@pytest.mark.long
def test_inception_with_its_auxiliary_head_is_not_shifted(image: Tensor, tmp_path: Path) -> None:
    """With the head, child 15 is the head and all behind it stand one further (issue 16 of the authors' repository)."""
    with_head = sys.modules["torchvision"].models.inception_v3(weights=None, aux_logits=True, init_weights=False).eval()
    settle_convolutions(with_head)
    settle_batch_norm(with_head)
    children_file("inceptionv3", with_head, tmp_path / "x.bin")
    names = torch.load(tmp_path / "x.bin", weights_only=True)
    assert "backbone.15.fc.weight" in names
    assert "backbone.18.branch1x1.conv.weight" in names
    report = import_weights(tmp_path / "x.bin")
    assert all(name.startswith("AuxLogits.") for name in report.published.head)
    with torch.no_grad():
        expected = final_features("inceptionv3", with_head, as_the_authors_did(image))
        assert_same(load_encoder("inceptionv3", "radimagenet_torch")(image), expected)


class BiasedBottleneck(nn.Module):
    """A v1 block whose convolutions have biases, under torchvision's names."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, stride), nn.BatchNorm2d(width, eps=1.001e-5)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width, eps=1.001e-5)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1), nn.BatchNorm2d(4 * width, eps=1.001e-5)
        self.downsample: nn.Module = nn.Identity()
        if channels != 4 * width:
            norm = nn.BatchNorm2d(4 * width, eps=1.001e-5)
            self.downsample = nn.Sequential(nn.Conv2d(channels, 4 * width, 1, stride), norm)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(out)))))
        return torch.relu(out + self.downsample(x))


def biased_resnet50() -> nn.Sequential:
    """The network of the conversion that MONAI's RadImageNet perceptual loss downloads."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, 64, 7, 2, 3)),
        ("bn1", nn.BatchNorm2d(64, eps=1.001e-5)),
        ("relu", nn.ReLU()),
        ("maxpool", nn.MaxPool2d(3, 2, 1)),
    ]
    channels = 64
    for stage, (blocks, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), start=1):
        members = []
        for block in range(blocks):
            members.append(BiasedBottleneck(channels, width, 2 if block == 0 and stage > 1 else 1))
            channels = 4 * width
        layers.append((f"layer{stage}", nn.Sequential(*members)))
    return nn.Sequential(OrderedDict(layers)).eval()


@pytest.mark.long
def test_biased_conversion_of_monai_gives_the_features_of_its_network(image: Tensor, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = biased_resnet50()
    settle_convolutions(network)
    settle_batch_norm(network)
    torch.save(network.state_dict(), tmp_path / "x.bin")
    report = import_weights(tmp_path / "x.bin")
    assert report.stored.spec.name == "resnet50.radimagenet_keras"
    assert report.published.folded_biases == 53
    assert report.published.num_values == 23_587_712
    means = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    with torch.no_grad():
        expected = network((image.flip(1) * 255 - means) / 255)
        assert_same(load_encoder("resnet50", "radimagenet_keras")(image), expected)
    state = network.state_dict()
    del state["layer2.1.conv2.bias"]
    torch.save(state, tmp_path / "y.bin")
    with pytest.raises(WeightsError, match=r"52 unexpected \(first: conv1\.bias\)"):
        import_weights(tmp_path / "y.bin")


def rename(pattern: str, replacement: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {re.sub(pattern, replacement, name): tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "change",
    [
        rename(r"(denselayer\d+\.\w+?)([12])\.", r"\1.\2."),
        rename(r"^", "module."),
        lambda state: {name: tensor for name, tensor in state.items() if "num_batches" not in name},
        lambda state: {name: tensor.double() if "num" not in name else tensor for name, tensor in state.items()},
        lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"lr": 0.1}},
        lambda state: {"model": rename(r"^", "module.")(state)},
    ],
    ids=["old names", "data parallel", "no counters", "double", "checkpoint", "checkpoint of data parallel"],
)
def test_forms_of_the_same_state_dict(change: Callable, tmp_path: Path) -> None:
    state = settled_network("densenet121").state_dict()
    torch.save(change(state), tmp_path / "x.bin")
    read = read_torch(tmp_path / "x.bin")
    assert read.architecture == "densenet121"
    backbone = BACKBONES["densenet121"]()
    load_strictly(backbone, read.tensors, tmp_path / "x.bin")
    found = backbone.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in found if "num_batches" not in name)


def test_safetensors_and_legacy_torch_files(tmp_path: Path) -> None:
    state = settled_network("densenet121").state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "x.bin")
    torch.save(state, tmp_path / "y.bin", _use_new_zipfile_serialization=False)
    for name in ("x.bin", "y.bin"):
        assert import_weights(tmp_path / name, replace_existing=True).stored.spec.tag == "imagenet_torchvision"


@pytest.mark.long
def test_names_of_a_library_alone_do_not_tell_the_origin(tmp_path: Path) -> None:
    state = {k: v for k, v in settled_network("resnet50").state_dict().items() if not k.startswith("fc.")}
    torch.save(state, tmp_path / "imagenet_torchvision.pth")
    with pytest.raises(
        ConfigurationError,
        match=r"say which with --as resnet50\.radimagenet_torch or --as resnet50\.imagenet_torchvision",
    ):
        import_weights(tmp_path / "imagenet_torchvision.pth")
    assert import_weights(tmp_path / "imagenet_torchvision.pth", "resnet50.radimagenet_torch").hash_known is False
