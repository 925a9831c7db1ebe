"""What a training decided stands in the bundle's own files, for clients that read nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from radimagenet_monai.collection.render import write_bundles
from radimagenet_monai.collection.verification.verify import verify_bundle
from radimagenet_monai.engine.trained.stated_facts import state_trained_facts

CLASSIFICATION, SEGMENTATION = "breast_mass_us_classification", "breast_mass_us_segmentation"
FACTS = {
    "architecture": "densenet121",
    "image_size": 64,
    "classes": ["a", "it's b", "c"],
    "aggregate": "max",
    "threshold": 0.25,
    "network_def": {"_target_": "radimagenet_monai.models.build_classifier", "architecture": "densenet121"},
    "weights": "random",
    "epoch": 3,
    "sha256": "0" * 64,
}


def stated(folder: Path, name: str, **facts: object) -> Path:
    (bundle,) = write_bundles(folder, [name])
    (bundle / "models" / "model.json").write_text(json.dumps({**FACTS, **facts}))
    state_trained_facts(bundle)
    return bundle


def config(bundle: Path, name: str) -> dict:
    return json.loads((bundle / "configs" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["inference", "evaluate"])
def test_the_network_is_right_without_a_model_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As `monai.bundle.load` builds it: from another folder, with ``bundle_root`` "."."""
    bundle = stated(tmp_path / "bundles", CLASSIFICATION)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / f"{name}.json")
    for key in ("architecture", "image_size", "classes", "aggregate"):
        assert parser.get_parsed_content(key) == FACTS[key], key
    assert parser.get_parsed_content("network_def::num_classes") == 3


def test_training_goes_on_from_the_model(tmp_path: Path) -> None:
    train = config(stated(tmp_path, CLASSIFICATION), "train")
    assert {key: train[key] for key in ("architecture", "image_size", "classes")} == {
        key: FACTS[key] for key in ("architecture", "image_size", "classes")
    }


def test_metadata_and_card_state_size_classes_and_threshold(tmp_path: Path) -> None:
    bundle = stated(tmp_path, CLASSIFICATION)
    metadata = config(bundle, "metadata")
    layout = metadata["network_data_format"]
    assert layout["inputs"]["image"]["spatial_shape"] == [64, 64]
    for group in ("outputs", "post_processed_outputs"):
        assert layout[group]["pred"]["channel_def"] == {"0": "a", "1": "it's b", "2": "c"}
        assert layout[group]["pred"]["num_channels"] == 3
    assert metadata["label_classes"] == "0 a, 1 it's b, 2 c"
    assert metadata["trained_model"]["threshold"] == 0.25
    card = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    for fact in ("densenet121", "64 x 64", "a, it's b, c", "0.25"):
        assert fact in card
    assert verify_bundle(bundle) == [] or all("model" in problem for problem in verify_bundle(bundle))


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    bundle = stated(tmp_path, SEGMENTATION, classes=["background", "lesion"])
    before = {path: path.read_bytes() for path in bundle.rglob("*.json")}
    assert state_trained_facts(bundle) == []
    assert {path: path.read_bytes() for path in bundle.rglob("*.json")} == before


def test_a_library_network_is_named_for_training_and_inference(tmp_path: Path) -> None:
    network = {"_target_": "monai.networks.nets.DenseNet121", "spatial_dims": 2, "in_channels": 1, "out_channels": 3}
    bundle = stated(tmp_path, CLASSIFICATION, network_def=network, architecture="monai DenseNet121")
    assert config(bundle, "train")["network_def"] == network
    assert config(bundle, "train")["architecture"] == "resnet50"
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    assert parser.get_parsed_content("network_def::recorded") == network


def test_files_of_the_user_stay_as_they_are(tmp_path: Path) -> None:
    (bundle,) = write_bundles(tmp_path, [CLASSIFICATION])
    (bundle / "configs" / "train.json").write_text("{ broken")
    (bundle / "docs" / "README.md").write_text("my own card")
    own = config(bundle, "inference")
    own["slices"] = "central:3"
    (bundle / "configs" / "inference.json").write_text(json.dumps(own))
    (bundle / "models" / "model.json").write_text(json.dumps({**FACTS, "fold": "@x"}))
    changed = state_trained_facts(bundle)
    assert (bundle / "configs" / "train.json").read_text() == "{ broken"
    assert (bundle / "docs" / "README.md").read_text() == "my own card"
    assert config(bundle, "inference")["slices"] == "central:3"
    assert "@x" not in json.dumps(config(bundle, "evaluate")), "MONAI would take it for a reference"
    assert sorted(changed) == ["configs/evaluate.json", "configs/inference.json", "configs/metadata.json"]


def test_a_training_is_not_told_to_reslice(tmp_path: Path) -> None:
    """A model states its plane; volumes of the next training keep that of their acquisition."""
    train = config(stated(tmp_path, CLASSIFICATION, plane="sagittal"), "train")
    assert train["plane"] == "acquired"


@pytest.mark.parametrize(
    "facts",
    [
        {"architecture": "$__import__('os').abort()"},
        {"classes": ["a", "$__import__('os').abort()"]},
        {"image_size": "%/etc/passwd"},
        {"network_def": {"_target_": "os.system", "command": "true"}, "architecture": "x"},
        {
            "network_def": {"_target_": "torch.nn.Linear", "in_features": "$__import__('os').abort()"},
            "architecture": "x",
        },
    ],
    ids=str,
)
def test_a_model_file_from_elsewhere_puts_no_code_into_a_config(tmp_path: Path, facts: dict) -> None:
    """As of a site of federated learning: in train.json, whose values MONAI evaluates, nothing of it is stated."""
    (plain,) = write_bundles(tmp_path / "plain", [CLASSIFICATION])
    train = config(stated(tmp_path / "stated", CLASSIFICATION, **facts), "train")
    for key in facts:
        assert train[key] == config(plain, "train")[key]
    parser = ConfigParser()
    parser.read_config(tmp_path / "stated" / CLASSIFICATION / "configs" / "inference.json")
    # Data, which is rebuilt by a list of libraries; not built by MONAI.
    assert isinstance(parser.get_parsed_content("network_def::recorded"), dict | None)
    assert "abort" not in str([parser.get_parsed_content(key) for key in ("architecture", "classes", "image_size")])
