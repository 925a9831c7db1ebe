"""What a model.json may have rebuilt, and what not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from radimagenet_monai.core import registry
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.models import Classifier, UNet, trained_classifier, trained_unet
from radimagenet_monai.models.recorded import rebuild_network, why_not_rebuilt

DENSENET = {
    "_target_": "DenseNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 3,
    "init_features": 8,
    "block_config": [2, 2],
}
LAYER = {"_target_": "torch.nn.TransformerEncoderLayer", "d_model": 4, "nhead": 1, "batch_first": True}


def test_own_networks_are_built_by_the_bundle() -> None:
    own = {"_target_": "radimagenet_monai.models.build_classifier", "weights": "/gone/encoder.safetensors"}
    for recorded in (None, own, json.dumps(own)):
        network = trained_classifier(recorded, architecture="densenet121", num_classes=3)
        assert isinstance(network, Classifier)
        assert network.head.out_features == 3
    assert isinstance(trained_unet(own, architecture="densenet121"), UNet)


def test_networks_of_libraries_are_rebuilt_without_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_download(*arguments: Any, **options: Any) -> None:
        raise AssertionError("weights were asked for")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", no_download)
    monkeypatch.setattr("torch.utils.model_zoo.load_url", no_download)
    monkeypatch.setattr("monai.networks.nets.resnet.get_pretrained_resnet_medicalnet", no_download)
    efficient = {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0", "spatial_dims": 2, "in_channels": 1}
    assert type(rebuild_network({**efficient, "pretrained": True})).__name__ == "EfficientNetBN"
    assert type(rebuild_network(efficient)).__name__ == "EfficientNetBN"  # whose default is to download
    options = {"spatial_dims": 2, "n_input_channels": 1, "pretrained": True}
    assert type(rebuild_network({"_target_": "monai.networks.nets.resnet18", **options})).__name__ == "ResNet"
    assert trained_classifier(json.dumps(DENSENET)).eval()(torch.rand(2, 1, 32, 32)).shape == (2, 3)


def test_a_component_within_a_network_is_built_too() -> None:
    network = rebuild_network({"_target_": "torch.nn.TransformerEncoder", "num_layers": 1, "encoder_layer": LAYER})
    assert isinstance(network, nn.TransformerEncoder)
    assert isinstance(next(network.layers.children()), nn.TransformerEncoderLayer)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"_target_": "os.system", "command": "true"}, "names 'os.system', expected a network of monai"),
        (
            {"_target_": "torch.nn.modules.module.functools.partial", "func": "x"},
            "not known to be a network of torch",
        ),
        ({"_target_": "torch.nn.modules.module.torch.load", "f": "x"}, "not known to be a network of torch"),
        ({"_target_": "torch.hub.load", "repo_or_dir": "a/b"}, "expected a network of"),
        ({"_target_": "torch.nn.utils.clip_grad_norm_", "parameters": []}, "not known to be a network of torch"),
        ({"_target_": "monai.networks.nets.get_pretrained_resnet_medicalnet"}, "not known to be a network of monai"),
        ({"_target_": "monai.networks.nets.resnet.torch.hub.load"}, "not known to be a network of monai"),
        ({"_target_": "evil.Net"}, "names 'evil.Net', expected a network of"),
        ({**DENSENET, "act": "$__import__('os').system('true')"}, "would have to be evaluated"),
        ({**DENSENET, "act": ["@network"]}, "network_def::act::0 .* would have to be evaluated"),
        ({**DENSENET, "act": {"_target_": "os.mkdir"}}, "network_def::act .* 'os.mkdir'"),
        ({**DENSENET, "_debug_": True}, "the key '_debug_'"),
        ({**DENSENET, "_mode_": "debug"}, "the mode 'debug'"),
        ({"_target_": "timm.create_model", "model_name": "hf-hub:evil/net"}, "its network from 'hf-hub:evil/net'"),
        ({"_target_": "timm.create_model", "model_name": "local-dir:/x"}, "takes its network from"),
        ({"_target_": ["os", "system"]}, "expected a network of"),
        ({"_target_": "torch.nn.Linear\n"}, "expected a network of"),
    ],
)
def test_a_model_that_names_anything_else_is_refused(config: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigurationError, match=match) as raised:
        trained_classifier(config)
    assert "\n" not in str(raised.value)
    assert "give --network_def as in training" in str(raised.value)
    assert why_not_rebuilt(config)


def test_what_does_not_build_is_one_line() -> None:
    linear = {"_target_": "torch.nn.Linear", "in_features": 3}
    with pytest.raises(ConfigurationError, match=r"torch.nn.Linear, cannot be built \(.*missing.*\); give --network"):
        rebuild_network(linear)
    assert why_not_rebuilt({**linear, "out_features": 1}) == ""


NET = """
import pathlib
from torch import nn
pathlib.Path(__file__).with_suffix(".ran").touch()
class Net(nn.Linear):
    pass
def made() -> nn.Linear:
    return nn.Linear(1, 1)
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two packages beside each other; one is installed as a plug-in."""
    for name, group in (("plugged", "radimagenet_monai.encoders"), ("stranger", "another.group")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("")
        (tmp_path / name / "nets.py").write_text(NET)
        (tmp_path / name / "broken.py").write_text("1 / 0")
        installed = tmp_path / f"{name}-1.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (installed / "entry_points.txt").write_text(f"[{group}]\nmine = {name}.not_imported\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry._entry_points.cache_clear()
    yield tmp_path
    registry._entry_points.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in ("plugged", "stranger")]:
        del sys.modules[name]


LINEAR = {"in_features": 3, "out_features": 2}


def test_a_class_of_an_installed_plugin_is_rebuilt(packages: Path) -> None:
    config = {"_target_": "plugged.nets.Net", **LINEAR}
    assert why_not_rebuilt(config) == ""
    network = trained_classifier(json.dumps(config))
    assert type(network).__module__ == "plugged.nets"
    assert network(torch.rand(1, 3)).shape == (1, 2)


def test_a_package_that_is_no_plugin_is_not_imported(packages: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"names 'stranger\.nets\.Net', expected .* or of an installed plug-in"
    ):
        trained_classifier({"_target_": "stranger.nets.Net", **LINEAR})
    with pytest.raises(ConfigurationError, match="give --network_def as in training"):
        trained_classifier({"_target_": "pluggedtoo.nets.Net", **LINEAR})
    assert "stranger" not in sys.modules
    assert not (packages / "stranger" / "nets.ran").exists()


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("plugged.nets.made", "not known to be a network of plugged"),
        ("plugged.nets.pathlib.Path", "not known to be a network of plugged"),
        ("plugged.nets.nn.Linear", "not known to be a network of plugged"),
        ("plugged.nets.Other", "not known to be a network of plugged"),
        ("plugged.__main__.Net", "expected a network of"),
        ("plugged.broken.Net", r"which cannot be imported \(division by zero\)"),
    ],
)
def test_only_classes_of_the_plugin_itself_are_taken(target: str, match: str, packages: Path) -> None:
    with pytest.raises(ConfigurationError, match=match):
        trained_classifier({"_target_": target, **LINEAR})
