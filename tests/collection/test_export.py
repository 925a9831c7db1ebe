"""Exports of a bundle with three classes of its own state what was trained, and equal the network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from monai.bundle import ckpt_export
from monai.data import load_net_with_metadata
from released_bundle import NAME
from shallow_densenet import shallow_densenet

from radimagenet_monai.collection.bundle_files import BundleError
from radimagenet_monai.collection.export import export_model
from radimagenet_monai.collection.render import write_bundles
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.engine.trained.stated_facts import state_trained_facts
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow

CLASSES = ["normal", "benign", "malignant"]


@pytest.fixture(autouse=True)
def _shallow() -> Iterator[None]:
    with shallow_densenet():
        yield


@pytest.fixture
def network() -> torch.nn.Module:
    return build_classifier("densenet121", num_classes=3).eval()


@pytest.fixture
def own(tmp_path: Path, network: torch.nn.Module) -> Path:
    """A bundle as a training with own classes leaves it."""
    (folder,) = write_bundles(tmp_path / "bundles", [NAME])
    facts = {"architecture": "densenet121", "image_size": 64, "classes": CLASSES, "weights": "random"}
    save_model(folder / "models" / "model.pt", network, facts)
    state_trained_facts(folder)
    return folder


def test_torchscript_of_monais_command(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ckpt_export` with its defaults, in the bundle's folder."""
    monkeypatch.chdir(own)
    ckpt_export(filepath=str(tmp_path / "model.ts"), config_file="configs/inference.json")
    _, metadata, extra = load_net_with_metadata(str(tmp_path / "model.ts"), more_extra_files=["inference.json"])
    assert metadata["trained_model"]["classes"] == CLASSES
    assert metadata["trained_model"]["architecture"] == "densenet121"
    layout = metadata["network_data_format"]
    assert layout["inputs"]["image"]["spatial_shape"] == [64, 64]
    assert list(layout["outputs"]["pred"]["channel_def"].values()) == CLASSES
    config = json.loads(extra["inference.json"])
    assert "'densenet121'" in config["architecture"]
    assert str(CLASSES) in config["classes"]


@pytest.mark.long
def test_onnx(own: Path, network: torch.nn.Module, tmp_path: Path) -> None:
    out = export_model(own, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["bundles", "model.onnx"]
    stated = {entry.key: entry.value for entry in onnx.load(out).metadata_props}
    assert json.loads(stated["classes"]) == CLASSES
    assert json.loads(stated["architecture"]) == "densenet121"
    assert json.loads(stated["image_size"]) == 64
    assert stated["name"] == NAME
    assert json.loads(stated["metadata.json"]) == json.loads((own / "configs" / "metadata.json").read_text())
    session = onnxruntime.InferenceSession(out)
    assert session.get_inputs()[0].shape[1:] == [1, 64, 64]
    assert session.get_outputs()[0].shape[1:] == [3]
    assert session.get_modelmeta().custom_metadata_map["classes"] == stated["classes"]
    for batch in (1, 3):
        image = torch.rand(batch, 1, 64, 64)
        (found,) = session.run(None, {"image": image.numpy()})
        np.testing.assert_allclose(found, network(image).detach().numpy(), rtol=0, atol=1e-4)


def test_refusals(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"'model\.h5' was given, expected a file name that ends in"):
        export_model(own, tmp_path / "model.h5")
    with pytest.raises(ConfigurationError, match=r"folder of .* does not exist"):
        export_model(own, tmp_path / "nowhere" / "model.ts")
    (own / "models" / "model.pt").unlink()
    with pytest.raises(BundleError, match="train the bundle first"):
        export_model(own, tmp_path / "model.ts")
