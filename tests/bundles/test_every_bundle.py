"""Each bundle from its dataset's own files to exports, on phantoms."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from bundle_runs import BUNDLES, copy_bundle, run_workflow
from monai.bundle import ckpt_export, load, onnx_export

from radimagenet_monai.catalog.tasks import Kind, Task, get_task
from radimagenet_monai.datasets import read_records
from radimagenet_monai.io.discovery.survey import series_files
from radimagenet_monai.weights.store import find_weights

pytestmark = pytest.mark.slow

# The smallest sizes that every layer of the networks takes.
SIDE = {"inceptionv3": 80, "inceptionresnetv2": 80}
# One of each kind in `make test`: pretraining, two classes, exams of volumes, several findings, segmentation.
REPRESENTATIVE = {
    "radimagenet_densenet121_pretraining",
    "breast_mass_us_classification",
    "meniscal_tear_mri_classification",
    "intracranial_hemorrhage_ct_classification",
    "thyroid_nodule_us_segmentation",
}
NAMES = [
    pytest.param(bundle.name, marks=() if bundle.name in REPRESENTATIVE else pytest.mark.long) for bundle in BUNDLES
]

Fixture = Callable[[str], Path]


def tiny(task: Task) -> dict[str, Any]:
    architecture = task.architecture if task.kind is Kind.PRETRAINING else "densenet121"
    return {
        "architecture": architecture,
        "image_size": SIDE.get(architecture, 64),
        "batch_size": 8,
        "learning_rate": 1e-3,
        "num_workers": 0,
        "max_epochs": 1,
    }


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("name", NAMES)
def test_whole_life(
    name: str, phantom: Fixture, few_records: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = get_task(name)
    data, table = phantom(task.dataset), few_records(name)
    bundle = copy_bundle(name, tmp_path / "bundles")
    place = {"dataset_dir": str(data), "datalist": str(table)}

    run_workflow(bundle, "train", **place, **tiny(task))
    first = (bundle / "output" / "checkpoint.pt").read_bytes()
    run_workflow(bundle, "train", **place, **{**tiny(task), "max_epochs": 2}, resume=True)
    assert (bundle / "output" / "checkpoint.pt").read_bytes() != first
    run = json.loads((bundle / "output" / "run.json").read_text())
    assert (run["status"], run["first_epoch"], run["epochs"]) == ("completed", 2, 2)

    run_workflow(bundle, "evaluate", **place, num_workers=0)
    check_evaluation(task, bundle, table)
    check_inference(task, bundle, data, table, tmp_path)
    if name not in REPRESENTATIVE:  # nor those of `test_life.py` and `test_runtimes.py`
        check_exports(task, bundle, tmp_path, monkeypatch)


def check_evaluation(task: Task, bundle: Path, table: Path) -> None:
    folder = bundle / "output" / "evaluation"
    metrics = json.loads((folder / "evaluation.json").read_text())["metrics"]
    rows = read_csv(folder / "predictions.csv")
    frame = read_records(table, require_label=False)
    assert len(rows) == (frame["split"] == "test").sum()
    if task.kind is Kind.SEGMENTATION:
        dice = [float(row["dice"]) for row in rows if row["dice"]]
        assert metrics["dice"]["mean"] == pytest.approx(np.mean(dice), abs=1e-5)
        assert list((folder / "overlays").rglob("*.png"))
    elif task.kind is Kind.PRETRAINING:
        assert metrics["classes"] == 165
        right = [row["label"] in [row[f"top{place}"] for place in range(1, 6)] for row in rows]
        assert metrics["top5"]["estimate"] == pytest.approx(np.mean(right))
        facts = json.loads((bundle / "models" / "model.json").read_text())
        assert {"val_top1", "val_top5", "val_auc", "val_balanced_accuracy"} <= facts.keys()
        assert find_weights(task.architecture, str(bundle / "models" / "encoder.safetensors")).stored is not None
    elif task.findings:
        assert list(metrics["findings"]) == list(task.findings)
        assert 0 <= metrics["findings"]["any"]["auc"]["auc"] <= 1
    else:
        assert 0 <= metrics["auc"]["auc"] <= 1
        if task.aggregate != "none":
            exams = read_csv(folder / "exams.csv")
            assert len(exams) == metrics["images"] == frame.loc[frame["split"] == "test", "exam"].nunique()
            assert sum(int(exam["slices"]) for exam in exams) == len(rows)


def check_inference(task: Task, bundle: Path, data: Path, table: Path, tmp_path: Path) -> None:
    """On copies of a few files without their records: the same predictions as the evaluation's."""
    evaluated = read_csv(bundle / "output" / "evaluation" / "predictions.csv")
    chosen = sorted({row["file"] for row in evaluated})[:3]
    # Where each file or series of the evaluation lies for inference, by the name that inference will give it.
    original_of: dict[tuple[str, str], tuple[str, str]] = {}
    images = tmp_path / "images"
    images.mkdir()
    frames = max(int(row["frame"]) for row in evaluated) + 1
    for number, file in enumerate(chosen):
        source = data / file
        if source.is_dir():
            copied = Path(shutil.copytree(source, images / str(number)))
            for frame, path in enumerate(series_files(sorted(copied.iterdir())[0])):
                original_of[Path(path).relative_to(images).as_posix(), "0"] = (file, str(frame))
        else:
            copied = Path(shutil.copy(source, images / f"{number}{source.suffix}"))
            original_of |= {(copied.name, str(frame)): (file, str(frame)) for frame in range(frames)}
    run_workflow(bundle, "inference", dataset_dir=str(images), num_workers=0, unreadable="stop")
    rows = read_csv(bundle / "output" / "inference" / "predictions.csv")
    known = {(row["file"], row["frame"]): row for row in evaluated}
    compared = 0
    for row in rows:
        original = known.get(original_of.get((row["file"], row["frame"]), ("", "")))
        if original is None:
            continue
        compared += 1
        if task.kind is Kind.SEGMENTATION:
            masks = [
                cv2.imread(str(bundle / "output" / run / item["mask"]), cv2.IMREAD_GRAYSCALE)
                for run, item in (("inference", row), ("evaluation", original))
            ]
            np.testing.assert_array_equal(*masks)
        else:
            for column in (key for key in row if key.startswith("probability_")):
                assert float(row[column]) == pytest.approx(float(original[column]), abs=2e-5)
    assert compared >= len(chosen)


def check_exports(task: Task, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TorchScript, ONNX and `monai.bundle.load` from elsewhere agree with each other."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    architecture, side = tiny(task)["architecture"], 96
    network = load(
        task.name, bundle_dir=str(bundle.parent), workflow_type="inference", net_override={"architecture": architecture}
    ).eval()
    arguments = {
        "net_id": "network_def",
        "ckpt_file": str(bundle / "models" / "model.pt"),
        "meta_file": str(bundle / "configs" / "metadata.json"),
        "config_file": str(bundle / "configs" / "inference.json"),
        "bundle_root": str(bundle),
        "input_shape": [1, task.in_channels, side, side],
    }
    ckpt_export(filepath="model.ts", **arguments)
    onnx_export(filepath="model.onnx", args_file=str(bundle / "configs" / "onnx_export.json"), **arguments)
    image = torch.rand(2, task.in_channels, side, side)
    with torch.no_grad():
        expected = network(image)
        scripted = torch.jit.load("model.ts").eval()(image)
    assert expected.shape[1] == len(task.outputs)
    # Of noise a network after four steps makes logits of a thousand and more, of which float32 holds six digits.
    tolerance = {"rtol": 1e-4, "atol": max(1e-4, 2e-6 * float(expected.abs().max()))}
    torch.testing.assert_close(scripted, expected, **tolerance)
    (output,) = onnxruntime.InferenceSession("model.onnx").run(["pred"], {"image": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(output), expected, **tolerance)


@pytest.mark.long
def test_two_bundles_in_one_process(phantom: Fixture, few_records: Fixture, tmp_path: Path) -> None:
    """Their code, classes and networks do not get mixed up."""
    names = ("breast_mass_us_classification", "breast_mass_us_segmentation")
    bundles = [copy_bundle(name, tmp_path) for name in names]
    data = str(phantom("busi"))
    for name, bundle in zip(names, bundles, strict=True):
        run_workflow(bundle, "train", dataset_dir=data, datalist=str(few_records(name)), **tiny(get_task(name)))
    for name, bundle in zip(names, bundles, strict=True):
        run_workflow(bundle, "evaluate", dataset_dir=data, datalist=str(few_records(name)), num_workers=0)
        settings = json.loads((bundle / "output" / "evaluation" / "evaluation.json").read_text())["settings"]
        assert settings["bundle"] == name
