"""Weights under a wrong input: same tensors, another answer, and marked as what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from radimagenet_monai.commands import weights as commands
from radimagenet_monai.core.errors import ConfigurationError, WeightsError
from radimagenet_monai.engine.trained.encoder_file import save_encoder
from radimagenet_monai.models import build_classifier, build_encoder
from radimagenet_monai.weights.ablation import WRONG_INPUT, write_ablation
from radimagenet_monai.weights.catalogue import CATALOGUE
from radimagenet_monai.weights.importers.import_file import import_weights
from radimagenet_monai.weights.store import identify_weights, read_stored

pytestmark = pytest.mark.slow

NAME = "densenet121"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder file as a pretraining bundle writes it."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("trained") / "encoder.safetensors"
    save_encoder(path, build_classifier(NAME), {"bundle": "a test", "epoch": 1, "weights": "random"})
    return path


@pytest.mark.parametrize(
    "convention",
    ["radimagenet_keras"]
    + [pytest.param(name, marks=pytest.mark.long) for name in ("imagenet_torchvision", "resnet50.imagenet_keras")],
)
def test_same_tensors_see_another_image(trained: Path, tmp_path: Path, convention: str) -> None:
    spec = CATALOGUE.get(convention) or CATALOGUE[f"{NAME}.{convention}"]
    path = tmp_path / "ablation.safetensors"
    stored = write_ablation(str(trained), NAME, convention, path)
    assert stored.spec.convention == spec.convention
    assert stored.spec.origin.startswith(WRONG_INPUT)
    assert "wrong_input" in stored.spec.name
    right, wrong = build_encoder(NAME, str(trained)).eval(), build_encoder(NAME, str(path)).eval()
    tensors = wrong.backbone.state_dict()
    for name, tensor in right.backbone.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    # By hand, from the numbers of the catalogue alone.
    order = [0, 1, 2] if spec.convention.order == "RGB" else [2, 1, 0]
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.convention.mean, spec.convention.std))
    with torch.inference_mode():
        expected = right.backbone((image[:, order] * spec.convention.scale - mean) / std)
        found, before = wrong(image), right(image)
    assert torch.linalg.norm(found - expected) < 1e-3 * torch.linalg.norm(expected)
    assert torch.linalg.norm(found - before) > 0.05 * torch.linalg.norm(before)


def test_what_it_came_from_is_kept(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "ablation.safetensors"
    stored = write_ablation(str(trained), NAME, "imagenet_torchvision", path)
    assert stored.record["source"]["file"] == "encoder.safetensors"
    ours, theirs = identify_weights(NAME, str(path)), identify_weights(NAME, str(trained))
    assert ours["name"].endswith("_wrong_input")
    assert ours["tensors_sha256"] != theirs["tensors_sha256"]


@pytest.mark.long
def test_a_trained_model_and_stored_weights_can_be_ablated(trained: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = build_classifier(NAME)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    import_weights(trained)
    for weights, tag in ((tmp_path / "model.pt", "own"), ("radimagenet_pretraining", "radimagenet_pretraining")):
        stored = write_ablation(str(weights), NAME, "radimagenet_torch", tmp_path / f"{tag}.safetensors")
        assert read_stored(stored.path).spec.tag == f"{tag}_wrong_input"


def test_what_cannot_be_wrong_is_refused(trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "ablation.safetensors"
    with pytest.raises(ConfigurationError, match="trained on no input"):
        write_ablation("random", NAME, "imagenet_torchvision", path)
    with pytest.raises(ConfigurationError, match="give another one"):
        write_ablation(str(trained), NAME, "random", path)
    with pytest.raises(ConfigurationError, match=r"unknown convention 'imagenet_timm'.*imagenet_torchvision"):
        write_ablation(str(trained), NAME, "imagenet_timm", path)
    with pytest.raises(WeightsError, match="not in the weight store"):
        write_ablation("radimagenet_keras", NAME, "imagenet_torchvision", path)
    assert not path.exists()


def test_the_command_prints_what_it_wrote(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "ablation.safetensors"
    commands.ablate(str(trained), NAME, "imagenet_torchvision", str(path))
    assert capsys.readouterr().out.splitlines()[0].startswith(WRONG_INPUT)
    assert read_stored(path).spec.architecture == NAME
