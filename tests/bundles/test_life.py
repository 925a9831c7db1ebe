"""One bundle from training to export, on phantoms."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
from pathlib import Path

import forks
import numpy as np
import onnxruntime
import pydicom
import pytest
import torch
from bundle_runs import TINY, command, copy_bundle, run_command, run_workflow
from monai.bundle import ckpt_export, load, onnx_export
from processes import PATIENCE
from pydicom.data import get_testdata_file
from shallow_densenet import make_shallow, shallow_densenet
from sklearn.metrics import roc_auc_score

from radimagenet_monai.engine.trained.model_file import load_model
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_classification"


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_training_leaves_what_it_promises(trained: Path) -> None:
    output = trained / "output"
    run = json.loads((output / "run.json").read_text())
    facts = json.loads((trained / "models" / "model.json").read_text())
    assert run["status"] == "completed"
    assert run["epochs"] == 2
    assert run["settings"]["architecture"] == facts["architecture"] == "densenet121"
    assert re.fullmatch("[0-9a-f]{64}", run["data_sha256"])
    assert re.fullmatch("[0-9a-f]{64}", run["weights_sha256"])
    assert 0 <= facts["val_auc"] <= 1
    assert 0 <= facts["threshold"] <= 1
    assert (output / "checkpoint.pt").is_file()
    assert list((output / "tensorboard").glob("events.out.tfevents.*"))


def test_tensorboard_holds_loss_and_validation_auc(trained: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "output" / "tensorboard"))
    events.Reload()
    run = json.loads((trained / "output" / "run.json").read_text())
    aucs = [event.value for event in events.Scalars("val_auc")]
    assert max(aucs) == pytest.approx(run["best_metric"]["value"], abs=1e-6)
    assert len(events.Scalars("train_loss")) == 2 * (63 // 8 + 1)


def test_evaluation_equals_scikit_learn_on_its_own_predictions(trained: Path, busi: Path) -> None:
    run_workflow(trained, "evaluate", dataset_dir=str(busi), num_workers=0)
    folder = trained / "output" / "evaluation"
    rows = read_csv(folder / "predictions.csv")
    labels = [row["label"] == "malignant" for row in rows]
    scores = [float(row["probability_malignant"]) for row in rows]
    metrics = json.loads((folder / "evaluation.json").read_text())["metrics"]
    assert metrics["auc"]["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    threshold = json.loads((trained / "models" / "model.json").read_text())["threshold"]
    decided = [row["decision"] == "malignant" for row in rows]
    assert decided == [score >= threshold for score in scores]
    hits = sum(d and label for d, label in zip(decided, labels, strict=True))
    assert metrics["operating_point"]["true_positives"] == hits
    run = json.loads((folder / "run.json").read_text())
    assert run["status"] == "completed"


def test_inference_gives_the_probabilities_of_the_evaluation(trained: Path, busi: Path, tmp_path: Path) -> None:
    """Same network, same pictures, once through the packed store and once straight from the files."""
    run_workflow(trained, "evaluate", dataset_dir=str(busi), num_workers=0)
    evaluated = {
        row["file"]: float(row["probability_malignant"])
        for row in read_csv(trained / "output" / "evaluation" / "predictions.csv")
    }
    run_workflow(trained, "inference", dataset_dir=str(busi), output_dir=str(tmp_path), num_workers=0)
    inferred = {row["file"]: float(row["probability_malignant"]) for row in read_csv(tmp_path / "predictions.csv")}
    assert len(evaluated) > 10
    for file, probability in evaluated.items():
        assert inferred[file] == pytest.approx(probability, abs=2e-6)


def test_inference_on_native_files_keeps_names_out(trained: Path, tmp_path: Path) -> None:
    """Planted identifiers reach neither an output nor the log; wrong modalities and damaged files have a reason."""
    images = tmp_path / "images"
    images.mkdir()
    planted = ("Doe^Jane^Planted", "PLANTED-ID-4711", "19700102", "Planted General Hospital", "PLANTEDACC99")
    for number, name in enumerate(("examples_rgb_color.dcm", "examples_palette.dcm", "CT_small.dcm")):
        dataset = pydicom.dcmread(get_testdata_file(name, download=False))
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = planted[:3]
        dataset.InstitutionName, dataset.AccessionNumber = planted[3:]
        # Values that pydicom itself complains about, in elements it checks.
        dataset.add_new(0x00101010, "AS", planted[1])
        dataset.save_as(images / f"{number}.dcm")
    (images / "3.dcm").write_bytes((images / "0.dcm").read_bytes()[:3000])
    (images / "notes.txt").write_text("not an image")
    (images / "Thumbs.db").write_bytes(b"junk")
    out = tmp_path / "out"
    done = run_command(trained, "inference", tmp_path, dataset_dir=images, output_dir=out, num_workers=0)
    assert done.returncode == 0, done.stderr
    rows = {row["file"]: row for row in read_csv(out / "predictions.csv")}
    assert sorted(rows) == ["0.dcm", "1.dcm", "2.dcm", "3.dcm"]
    for name in ("0.dcm", "1.dcm"):
        row = rows[name]
        assert row["problem"] == ""
        total = float(row["probability_benign"]) + float(row["probability_malignant"])
        assert total == pytest.approx(1, abs=1e-5)
    assert "modality CT" in rows["2.dcm"]["problem"]
    assert "--allow_modality_mismatch" in rows["2.dcm"]["problem"]
    assert rows["3.dcm"]["problem"]
    written = "".join(path.read_text() for path in out.rglob("*") if path.is_file())
    for secret in planted:
        assert secret not in written + done.stdout + done.stderr


def test_wrong_modality_is_refused_and_can_be_allowed(trained: Path, tmp_path: Path) -> None:
    image = get_testdata_file("CT_small.dcm", download=False)
    done = run_command(trained, "inference", tmp_path, dataset_dir=image, output_dir=tmp_path / "a", num_workers=0)
    assert done.returncode == 1
    assert "none of 1 images could be used" in done.stderr
    assert "modality CT" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_command(
        trained,
        "inference",
        tmp_path,
        dataset_dir=image,
        output_dir=tmp_path / "b",
        num_workers=0,
        allow_modality_mismatch=True,
    )
    assert done.returncode == 0, done.stderr
    assert read_csv(tmp_path / "b" / "predictions.csv")[0]["problem"] == ""


@pytest.fixture(scope="module")
def network(trained: Path) -> torch.nn.Module:
    """The trained network, eager."""
    with shallow_densenet():
        net = build_classifier("densenet121", num_classes=2).eval()
    load_model(trained / "models" / "model.pt", net, "densenet121")
    return net


def test_exports_equal_the_network(trained: Path, network: torch.nn.Module, tmp_path: Path) -> None:
    arguments = {
        "net_id": "network_def",
        "ckpt_file": str(trained / "models" / "model.pt"),
        "meta_file": str(trained / "configs" / "metadata.json"),
        "config_file": str(trained / "configs" / "inference.json"),
        "bundle_root": str(trained),
        "input_shape": [1, 1, 64, 64],
    }
    ckpt_export(filepath=str(tmp_path / "model.ts"), **arguments)
    onnx_export(
        filepath=str(tmp_path / "model.onnx"), args_file=str(trained / "configs" / "onnx_export.json"), **arguments
    )
    scripted = torch.jit.load(tmp_path / "model.ts").eval()
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for batch in (1, 3):
        image = torch.rand(batch, 1, 64, 64)
        with torch.no_grad():
            expected = network(image)
            torch.testing.assert_close(scripted(image), expected, rtol=0, atol=1e-4)
        (output,) = session.run(["pred"], {"image": image.numpy()})
        np.testing.assert_allclose(output, expected.numpy(), rtol=0, atol=1e-4)


def test_monai_load_works_from_another_folder(
    trained: Path, network: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load(
        NAME,
        bundle_dir=str(trained.parent),
        workflow_type="inference",
        net_override={"architecture": "densenet121"},
    ).eval()
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), network(image))
    assert list(tmp_path.iterdir()) == []


def test_monai_load_works_with_the_default_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = copy_bundle(NAME, tmp_path / "bundles")
    torch.manual_seed(5)
    source = build_classifier("resnet50", num_classes=2).eval()
    torch.save(source.state_dict(), bundle / "models" / "model.pt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = load(NAME, bundle_dir=str(tmp_path / "bundles"), workflow_type="inference").eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), source(image))


def test_two_processes_train_one_network(busi: Path, tmp_path: Path) -> None:
    bundle = copy_bundle(NAME, tmp_path)
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train")]
    overrides = {**TINY, "dataset_dir": busi, "max_epochs": 1, "freeze": "encoder"}
    arguments = [str(configs) if part.endswith("train.json") else part for part in command(bundle, "train", overrides)]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # What torchrun sets; `test_ranks.py` starts torchrun itself.
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        forks.Popen(
            arguments, cwd=tmp_path, env={**os.environ, **group, "RANK": rank, "LOCAL_RANK": rank}, first=make_shallow
        )
        for rank in "01"
    ]
    outputs = [rank.communicate(PATIENCE) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    run = json.loads((bundle / "output" / "run.json").read_text())
    assert (run["status"], run["processes"]) == ("completed", 2)
    assert sum(out.count("training epoch 1/1") for out, _ in outputs) == 1, "every process talks"
    checkpoint = torch.load(bundle / "output" / "checkpoint.pt", weights_only=True)
    # 63 training images in two halves of 31, batches of 8.
    assert checkpoint["epoch_length"] == 4
    assert (bundle / "models" / "model.pt").is_file()
    assert not any("part-00002" in str(path) for path in (bundle / "output" / "store").rglob("*")), "packed twice"


@pytest.mark.parametrize("freeze", ["none", "encoder", "all_but_last_10"])
def test_freezing_reaches_the_run(freeze: str, busi: Path, tmp_path: Path, trained: Path) -> None:
    bundle = copy_bundle(NAME, tmp_path)
    workflow = run_workflow(
        bundle,
        "train",
        dataset_dir=str(busi),
        max_epochs=1,
        freeze=freeze,
        store_dir=str(trained / "output" / "store"),
        **TINY,
    )
    torch.manual_seed(0)
    start = build_classifier("densenet121", num_classes=2, freeze=freeze).state_dict()
    end = workflow.network_def.state_dict()
    prefix = "encoder.backbone.features.conv0"
    assert torch.equal(start[f"{prefix}.weight"], end[f"{prefix}.weight"]) == (freeze != "none")
    moved = not torch.equal(
        start["encoder.backbone.features.norm5.running_mean"], end["encoder.backbone.features.norm5.running_mean"]
    )
    assert moved == (freeze != "encoder")
    assert not torch.equal(start["head.weight"], end["head.weight"])
