"""Checkpoints of training programs: the encoder under a prefix, beside heads, losses, metrics and other encoders.

The oracle is torchvision's network before it was wrapped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from batch_norm_statistics import settle_batch_norm, settle_convolutions
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision_oracle import HEADS, final_features, published_network

from radimagenet_monai import load_encoder
from radimagenet_monai.cli import main
from radimagenet_monai.core.errors import ConfigurationError, WeightsError
from radimagenet_monai.weights.importers.import_file import import_weights
from radimagenet_monai.weights.importers.torch_layouts import read_torch

pytestmark = pytest.mark.slow

State = dict[str, Tensor]
MEAN, STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
BESIDE = {
    "criterion.weight": torch.ones(2),
    "val_auroc.confmat": torch.zeros(2, 2),
    "classifier.weight": torch.ones(2, 9),
}


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    networks = {}
    for architecture in ("resnet50", "densenet121"):
        torch.manual_seed(3)
        networks[architecture] = published_network(architecture)
        settle_convolutions(networks[architecture])
        settle_batch_norm(networks[architecture])
    return networks


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def headless(architecture: str, network: nn.Module) -> State:
    return {name: item for name, item in network.state_dict().items() if not name.startswith(HEADS[architecture])}


def is_whole(found: State, network: nn.Module) -> bool:
    expected = network.state_dict()
    return all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@pytest.mark.parametrize("architecture", ["resnet50", pytest.param("densenet121", marks=pytest.mark.long)])
def test_features_of_a_lightning_checkpoint_are_those_of_the_network(
    networks: dict[str, nn.Module], architecture: str, tmp_path: Path
) -> None:
    network = networks[architecture]
    state = {**under("model.encoder.", network.state_dict()), **BESIDE}
    content = {"epoch": 3, "state_dict": state, "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}]}
    torch.save({**content, "hyper_parameters": {"lr": 0.1}}, tmp_path / "x.ckpt")
    report = import_weights(tmp_path / "x.ckpt", "imagenet_torchvision")
    heads = {f"model.encoder.{name}" for name in network.state_dict() if name.startswith(HEADS[architecture])}
    assert set(report.published.head) == heads | BESIDE.keys()
    assert "prefix        'model.encoder.'" in "\n".join(report.describe())
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = final_features(architecture, network, (image - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1))
        found = load_encoder(architecture, "imagenet_torchvision")(image)
    assert expected.std() > 0
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


WRAPPED: dict[str, Callable[[State], dict[str, object]]] = {
    "model": lambda state: {"state_dict": {**under("model.", state), "model.head.weight": torch.ones(2, 9), **BESIDE}},
    "net": lambda state: {"model_state_dict": under("net.", state)},
    "module inside": lambda state: under("model.module.", state),
    "network": lambda state: {"model": {"state_dict": under("network.", state)}},
    "backbone": lambda state: {"state_dict": {**under("backbone.", state), **BESIDE}},
    "encoder": lambda state: {"state_dict": {**under("encoder.", state), "fc.weight": torch.ones(2, 9)}},
    "sequence": lambda state: {**under("0.", state), "1.weight": torch.ones(2, 9)},
    "no prefix": lambda state: {"state_dict": {**state, **BESIDE}},
    "registered twice": lambda state: {"state_dict": {**under("net.", state), **under("net_again.", state)}},
    "compiled": lambda state: {"state_dict": under("_orig_mod.model.", state)},
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED.keys())
@pytest.mark.parametrize("architecture", ["resnet50", pytest.param("densenet121", marks=pytest.mark.long)])
def test_any_common_prefix_is_taken_off(
    networks: dict[str, nn.Module], architecture: str, wrapped: Callable[[State], object], tmp_path: Path
) -> None:
    state = headless(architecture, networks[architecture])
    torch.save(wrapped(state), tmp_path / "x.ckpt")
    found = read_torch(tmp_path / "x.ckpt")
    assert found.architecture == architecture
    assert is_whole(found.tensors, networks[architecture])


@pytest.mark.long
def test_children_of_a_network_and_its_features_alone(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    children = nn.Sequential(*list(networks["resnet50"].children())[:-1]).state_dict()
    for prefix in ("encoder.", "backbone.", "model.backbone.", ""):
        torch.save({**under(prefix, children), "head.weight": torch.ones(2, 9)}, tmp_path / "x.ckpt")
        assert is_whole(read_torch(tmp_path / "x.ckpt").tensors, networks["resnet50"])
        with pytest.raises(ConfigurationError, match=r"does not tell what it was\s+trained on"):
            import_weights(tmp_path / "x.ckpt")
    features = networks["densenet121"].features.state_dict()
    save_file(under("encoder.", features), tmp_path / "x.safetensors")
    assert is_whole(read_torch(tmp_path / "x.safetensors").tensors, networks["densenet121"])


def test_a_prefix_of_some_tensors_only_is_not_taken_off(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    state = under("model.", headless("resnet50", networks["resnet50"]))
    last = [name for name in state if name.startswith("model.layer4.2.") and "num_batches" not in name]
    moved = {f"student.{name}" if name in last else name: tensor for name, tensor in state.items()}
    torch.save({"state_dict": moved}, tmp_path / "x.ckpt")
    with pytest.raises(WeightsError, match=rf"'model\.' {len(last)} missing \(first: layer4\.2\.conv1\.weight\)"):
        read_torch(tmp_path / "x.ckpt")
    extra = {**state, "model.layer1.0.se.weight": torch.ones(2)}
    torch.save({"state_dict": extra}, tmp_path / "x.ckpt")
    with pytest.raises(WeightsError, match=r"1 unexpected \(first: layer1\.0\.se\.weight\)"):
        read_torch(tmp_path / "x.ckpt")


def test_two_encoders_are_refused_until_one_is_named(
    networks: dict[str, nn.Module], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = headless("resnet50", networks["resnet50"])
    other = {name: tensor + 1 for name, tensor in state.items()}
    for content, choose in (
        ({"state_dict": {**under("student.", state), **under("teacher.", other)}}, "student."),
        ({"state_dict": {**under("model.", state), **under("ema.module.", other)}}, "model"),
        ({"state_dict": state, "state_dict_ema": other}, "state_dict."),
    ):
        torch.save(content, tmp_path / "x.ckpt")
        with pytest.raises(WeightsError, match=r"holds 2 encoders, under .* and .*say which with --prefix"):
            read_torch(tmp_path / "x.ckpt")
        assert is_whole(read_torch(tmp_path / "x.ckpt", choose).tensors, networks["resnet50"])
    with pytest.raises(WeightsError, match=r"no tensor under the prefix 'studnet\.'"):
        read_torch(tmp_path / "x.ckpt", "studnet")
    main(["weights", "import", str(tmp_path / "x.ckpt"), "--as", "imagenet_torchvision", "--prefix", "state_dict_ema"])
    assert "imported as   resnet50.imagenet_torchvision" in capsys.readouterr().out


def test_hyper_parameters_that_need_code_are_refused_with_a_way_out(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "hyper_parameters": argparse.Namespace(lr=1)}, tmp_path / "x.ckpt")
    with pytest.raises(WeightsError, match=r"would run code .*argparse\.Namespace.*under its key 'state_dict'"):
        read_torch(tmp_path / "x.ckpt")
