"""``monai.bundle.load`` gives the trained network whole, with its own architecture and classes, or an error."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import forks
import monai.bundle
import pytest
import torch
from bundle_runs import BUNDLES, copy_bundle
from shallow_densenet import make_shallow, shallow_densenet
from torch import nn

from radimagenet_monai.collection.release import release_bundles
from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.engine.start.error_lines import user_error_line
from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.models import build_classifier, build_unet

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_classification"
CLASSES = ["normal", "benign", "malignant"]


def trained(folder: Path, name: str, network: nn.Module, **facts: Any) -> nn.Module:
    """A bundle with a trained model, as a run leaves it: another architecture and other classes than the config's."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.25)  # what no initialization gives
    save_model(folder / name / "models" / "model.pt", network, facts)
    return network


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    copy_bundle(NAME, folder)
    with shallow_densenet():
        network = build_classifier("densenet121", num_classes=3)
    trained(folder, NAME, network, architecture="densenet121", classes=CLASSES)
    return folder


def assert_same(network: nn.Module, bundle: Path) -> None:
    expected = torch.load(bundle / "models" / "model.pt", weights_only=True)
    found = network.state_dict()
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.mark.parametrize("kind", ["train", "inference"])  # MONAI knows no other
def test_architecture_and_classes_come_from_the_trained_model(
    kind: str, bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = monai.bundle.load(NAME, bundle_dir=bundles, workflow_type=kind, device="cpu")
    assert_same(network, bundles / NAME)
    assert network(torch.rand(1, 1, 64, 64)).shape == (1, 3)
    assert list(tmp_path.iterdir()) == []


def test_a_model_in_the_current_folder_is_not_mistaken_for_it(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = copy_bundle(NAME, tmp_path)
    trained(tmp_path, NAME, build_classifier("resnet50"), architecture="resnet50", classes=["a", "b"])
    monkeypatch.chdir(other)
    network = monai.bundle.load(NAME, bundle_dir=bundles, workflow_type="inference", device="cpu")
    assert_same(network, bundles / NAME)


@pytest.mark.parametrize(
    ("override", "left"),
    [
        ({"architecture": "resnet50"}, r"\d+ of the network's 3\d\d tensors \(first: [\w.]+\) and \d+ of the file's"),
        ({"num_classes": 2}, r"2 of the network's \d+ tensors \(first: head.bias\) and 2 of the file's"),
    ],
)
def test_another_network_is_refused(override: dict[str, Any], left: str, bundles: Path) -> None:
    with pytest.raises(WeightsError, match=f"model.pt was made for another network: {left}"):
        monai.bundle.load(NAME, bundle_dir=bundles, workflow_type="inference", net_override=override, device="cpu")


def test_a_network_of_ones_own_is_refused_where_it_does_not_fit(bundles: Path) -> None:
    with pytest.raises(WeightsError, match="of the network's"):
        monai.bundle.load(NAME, model=build_classifier("densenet121", num_classes=2), bundle_dir=bundles, device="cpu")
    fitting = build_classifier("densenet121", num_classes=3)
    assert_same(monai.bundle.load(NAME, model=fitting, bundle_dir=bundles, device="cpu"), bundles / NAME)


def test_a_part_is_loaded_where_it_is_asked_for(bundles: Path) -> None:
    network = build_classifier("densenet121", num_classes=2)
    head = network.head.weight.clone()
    monai.bundle.load(
        NAME, model=network, bundle_dir=bundles, device="cpu", copy_model_args={"exclude_vars": r"^head\."}
    )
    assert torch.equal(network.head.weight, head)


def test_a_misspelt_override_is_refused(bundles: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        monai.bundle.load(NAME, bundle_dir=bundles, net_override={"architecure": "densenet121"}, device="cpu")
    assert "did you mean --network_def::architecture?" in str(user_error_line(caught.value))


def test_a_segmentation_is_loaded_whole(tmp_path: Path) -> None:
    name = "breast_mass_us_segmentation"
    bundle = copy_bundle(name, tmp_path)
    trained(tmp_path, name, build_unet("densenet121"), architecture="densenet121")
    assert_same(monai.bundle.load(name, bundle_dir=tmp_path, workflow_type="inference", device="cpu"), bundle)
    with pytest.raises(WeightsError, match="another network"):
        monai.bundle.load(name, bundle_dir=tmp_path, net_override={"architecture": "resnet50"}, device="cpu")


@pytest.mark.parametrize("name", [NAME, "breast_mass_us_segmentation"])
def test_a_released_bundle_is_loaded_whole(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From another folder and without any override; the configs state what was trained, too."""
    copy_bundle(name, tmp_path / "source")
    network = build_unet("densenet121") if "segm" in name else build_classifier("densenet121", num_classes=3)
    classes = ["background", "lesion"] if "segm" in name else CLASSES
    of_run = {"architecture": "densenet121", "image_size": 64, "classes": classes, "weights": "random"}
    trained(tmp_path / "source", name, network, **of_run)
    (archive,) = release_bundles(tmp_path / "source", tmp_path / "release")
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "unpacked")
    bundle = tmp_path / "unpacked" / name
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert_same(monai.bundle.load(name, bundle_dir=tmp_path / "unpacked", device="cpu"), bundle)
    (bundle / "models" / "model.json").unlink()
    for options in ({}, {"workflow_type": "inference"}):
        assert_same(monai.bundle.load(name, bundle_dir=tmp_path / "unpacked", device="cpu", **options), bundle)


def test_without_facts_beside_it_a_model_of_another_network_is_refused(bundles: Path, tmp_path: Path) -> None:
    """A bundle of which somebody kept ``model.pt`` alone."""
    bundle = copy_bundle(NAME, tmp_path)
    (bundle / "models" / "model.pt").write_bytes((bundles / NAME / "models" / "model.pt").read_bytes())
    with pytest.raises(WeightsError, match="another network"):
        monai.bundle.load(NAME, bundle_dir=tmp_path, workflow_type="inference", device="cpu")


def card_python(bundle: Path) -> str:
    """The Python lines of a model card."""
    (block,) = re.findall(r"^```python\n(.*?)^```", (bundle / "docs" / "README.md").read_text(), re.M | re.S)
    return block


@pytest.mark.parametrize("source", BUNDLES, ids=lambda path: path.name)
def test_the_card_names_its_own_bundle(source: Path) -> None:
    assert f'"{source.name}"' in card_python(source)


def test_the_lines_of_the_model_card_run(bundles: Path, tmp_path: Path) -> None:
    """As somebody types them, in a folder that has nothing to do with the bundle."""
    code = card_python(bundles / NAME).replace('"MODELS"', repr(str(bundles)))
    code += "\nassert probabilities.shape == (1, 3), probabilities.shape\n"
    forks.run([sys.executable, "-c", code], cwd=tmp_path, check=True, first=make_shallow)
    assert list(tmp_path.iterdir()) == []
