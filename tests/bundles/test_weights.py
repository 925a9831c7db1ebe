"""Fine-tuning from imported weights: every encoder, every freezing policy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pandas as pd
import pytest
import torch
from bundle_runs import copy_bundle, run_command, run_whole_workflow
from monai.bundle import ckpt_export, load, onnx_export

from radimagenet_monai.datasets import write_records
from radimagenet_monai.datasets.readers.busi import read_busi
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.encoders.encoder import BACKBONES
from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.models import build_classifier
from radimagenet_monai.models.freezing import Freeze
from radimagenet_monai.weights.importers.import_file import import_weights

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_classification"
ORIGIN = dict.fromkeys(ARCHITECTURES, "imagenet_torchvision") | {"inceptionresnetv2": "imagenet_timm"}
SIZE = 96  # the Inception networks need 75

# The policy that is hardest to get right; all pairs of the networks alone are in `tests/models/test_classifier.py`.
QUICK = {("densenet121", "all_but_last_10")}
PAIRS = [
    pytest.param(name, policy, marks=[] if (name, policy) in QUICK else pytest.mark.long)
    for name in ARCHITECTURES
    for policy in map(str, Freeze)
]


@pytest.fixture(autouse=True)
def _shallow_densenet() -> None:
    """Not here: these are tests of every encoder."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight store, empty at first; `imported` fills it."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def few_images(busi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of few images, so that an epoch of a large network takes seconds."""
    frame = read_busi(busi, progress=False)
    train = frame[frame["split"] == "train"].groupby("label").head(6)
    validation = frame[frame["split"] == "validation"].groupby("label").head(2)
    table = tmp_path_factory.mktemp("few") / "records.csv"
    write_records(pd.concat([train, validation], ignore_index=True), table)
    return table


@pytest.fixture
def imported(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], dict[str, torch.Tensor]]:
    """Import a published-looking file of one encoder into the store; returns the tensors that were in it."""
    monkeypatch.setenv("RADIMAGENET_HOME", str(store))

    def bring(architecture: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(len(architecture))
        backbone = BACKBONES[architecture]()
        for module in backbone.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.05)
                module.running_var.uniform_(0.8, 1.2)
        state = backbone.state_dict()
        path = tmp_path / "downloaded.pth"
        torch.save(state, path)
        import_weights(str(path), f"{architecture}.{ORIGIN[architecture]}", replace_existing=True)
        return state

    return bring


Bring = Callable[[str], dict[str, torch.Tensor]]


def fine_tune(bundle: Path, busi: Path, table: Path, architecture: str, policy: str) -> torch.nn.Module:
    """A run of one epoch with imported weights; returns the network it ended with."""
    workflow = run_whole_workflow(
        bundle,
        "train",
        dataset_dir=str(busi),
        datalist=str(table),
        architecture=architecture,
        weights=ORIGIN[architecture],
        freeze=policy,
        image_size=SIZE,
        batch_size=6,
        learning_rate=1e-3,
        max_epochs=1,
        num_workers=0,
    )
    return workflow.network_def


@pytest.mark.parametrize(("architecture", "policy"), PAIRS)
def test_fine_tuning_moves_what_the_policy_says_and_nothing_else(
    architecture: str, policy: str, busi: Path, few_images: Path, imported: Bring, tmp_path: Path
) -> None:
    weights = imported(architecture)
    bundle = copy_bundle(NAME, tmp_path)
    network = fine_tune(bundle, busi, few_images, architecture, policy)
    trained = {
        "none": ("",),
        "encoder": (),
        "all_but_last_10": tuple(f"{name}." for name in BACKBONES[architecture].last_10_keras_layers),
    }[policy]
    after = network.encoder.backbone.state_dict()
    wrong = [
        name
        for name, tensor in weights.items()
        if torch.equal(tensor, after[name]) == name.startswith(trained) and tensor.numel() > 1
    ]
    assert wrong == []
    run = json.loads((bundle / "output" / "run.json").read_text())
    assert run["weights"]["name"] == f"{architecture}.{ORIGIN[architecture]}"
    assert len(run["weights"]["source_sha256"]) == 64
    facts = json.loads((bundle / "models" / "model.json").read_text())
    assert (facts["architecture"], facts["weights"]) == (architecture, ORIGIN[architecture])


def test_trained_bundle_needs_no_weight_store(
    busi: Path, few_images: Path, imported: Bring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its convention travels in the state dict: without the store, inference still normalizes as the import said."""
    imported("densenet121")
    bundle = copy_bundle(NAME, tmp_path)
    fine_tune(bundle, busi, few_images, "densenet121", "encoder")
    monkeypatch.setenv("RADIMAGENET_HOME", str(tmp_path / "nothing"))
    (tmp_path / "images").mkdir()
    shutil.copy(busi / "Dataset_BUSI_with_GT" / "benign" / "benign (1).png", tmp_path / "images")
    workflow = run_whole_workflow(bundle, "inference", dataset_dir=str(tmp_path / "images"), num_workers=0)
    scale = workflow.network_def.encoder.input_norm.scale.flatten()
    torch.testing.assert_close(scale, 1 / torch.tensor([0.229, 0.224, 0.225]))
    assert not (tmp_path / "nothing").exists()
    assert (bundle / "output" / "inference" / "predictions.csv").is_file()


def test_weights_that_were_not_imported_are_named_with_the_way_to_get_them(
    busi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADIMAGENET_HOME", str(tmp_path / "home"))
    bundle = copy_bundle(NAME, tmp_path)
    done = run_command(bundle, "train", tmp_path, dataset_dir=busi, weights="radimagenet_keras")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "resnet50.radimagenet_keras" in line
    assert "radimagenet weights import" in line
    assert not (bundle / "output").exists()
    assert not (tmp_path / "home").exists()


@pytest.mark.long  # `test_life.py` exports a bundle, `test_export.py` every network
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_export_and_load_work_with_every_encoder(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = copy_bundle(NAME, tmp_path / "bundles")
    torch.manual_seed(0)
    network = build_classifier(architecture, num_classes=2).eval()
    save_model(bundle / "models" / "model.pt", network, {"architecture": architecture})
    monkeypatch.chdir(tmp_path)
    arguments = {
        "net_id": "network_def",
        "ckpt_file": str(bundle / "models" / "model.pt"),
        "meta_file": str(bundle / "configs" / "metadata.json"),
        "config_file": str(bundle / "configs" / "inference.json"),
        "bundle_root": str(bundle),
        "input_shape": [1, 1, SIZE, SIZE],
    }
    ckpt_export(filepath="model.ts", **arguments)
    onnx_export(filepath="model.onnx", args_file=str(bundle / "configs" / "onnx_export.json"), **arguments)
    loaded = load(
        NAME,
        bundle_dir=str(tmp_path / "bundles"),
        workflow_type="inference",
        net_override={"architecture": architecture},
    ).eval()
    image = torch.rand(2, 1, SIZE, SIZE)
    with torch.no_grad():
        expected = network(image)
        torch.testing.assert_close(loaded(image), expected)
        torch.testing.assert_close(torch.jit.load("model.ts").eval()(image), expected, rtol=1e-4, atol=1e-4)
    (output,) = onnxruntime.InferenceSession("model.onnx").run(["pred"], {"image": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), expected, rtol=1e-4, atol=1e-4)
