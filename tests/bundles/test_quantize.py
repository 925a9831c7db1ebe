"""An int8 model is used if it measures the same as the network in float32 on validation data, and only then."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle_runs import TINY, copy_bundle, run_workflow

from radimagenet_monai.cli import main
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.integrations.runtimes import quantize_bundle, runtime_network, torch_int8
from radimagenet_monai.integrations.runtimes.changes import change_of_dice, changes_of_auc
from radimagenet_monai.integrations.runtimes.passed_models import require_passed
from radimagenet_monai.integrations.runtimes.quantization import QuantizationError
from radimagenet_monai.statistics.auc.delong import compare_aucs
from radimagenet_monai.statistics.overlap.segmentation import measure_overlap
from radimagenet_monai.statistics.predictions import PredictionTable

pytestmark = pytest.mark.slow

QUICK = {"num_workers": 0, "batch_size": 16}


def copied(bundle: Path, folder: Path) -> Path:
    return Path(shutil.copytree(bundle, folder / bundle.name))


def inference(bundle: Path, images: Path, out: Path, **keys: Any) -> np.ndarray:
    run_workflow(bundle, "inference", dataset_dir=str(images), output_dir=str(out), **QUICK, **keys)
    rows = json.loads((out / "predictions.json").read_text())["predictions"]
    return np.array([row["probability_malignant"] for row in rows])


@pytest.mark.long
def test_a_model_that_passes_is_used_and_one_that_does_not_is_not(
    trained: Path, busi: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = copied(trained, tmp_path)
    images = next(busi.glob("**/malignant"))
    command = ["quantize", str(bundle), "--data", str(busi), "--runtime", "torch-int8", "--images", "20"]
    command += ["--num_workers", "0", "--batch_size", "16"]
    main([*command, "--max_auc_change", "0.5"])
    assert "runtime torch-int8 can be used with this model now" in capsys.readouterr().out
    report = json.loads((bundle / "output" / "quantization" / "torch-int8.json").read_text())
    (change,) = report["changes"]
    assert report["passed"]
    assert report["shape"] == [1, 32, 32]
    assert change["change"] == pytest.approx(change["after"] - change["before"])
    assert abs(change["change"]) <= 0.5
    before = inference(bundle, images, tmp_path / "torch")
    after = inference(bundle, images, tmp_path / "int8", runtime="torch-int8")
    assert 0 < np.abs(after - before).max() < 0.2  # not torch's, and near them

    with pytest.raises(ConfigurationError, match="the int8 model was validated for"):
        runtime_network("torch-int8", torch.nn.Identity(), bundle / "models" / "model.pt")(torch.rand(1, 1, 64, 64))

    # Another model: what was validated is not this one.
    model = bundle / "models" / "model.pt"
    kept = model.read_bytes()
    state = torch.load(model, weights_only=True)
    state["head.bias"] += 1
    torch.save(state, model)
    with pytest.raises(ConfigurationError, match=r"exactly this model\.pt"):
        require_passed(model, "torch-int8")
    model.write_bytes(kept)
    assert require_passed(model, "torch-int8")["passed"]

    # One that ranks the other way round is refused, and the one that passed before is no longer used.
    load = torch_int8.load

    def reversed_load(*given: Any) -> Callable[[np.ndarray], np.ndarray]:
        run = load(*given)
        return lambda images: -run(images)

    monkeypatch.setattr(torch_int8, "load", reversed_load)
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert "runtime torch-int8 is refused: AUC" in error
    assert "at most 0.005 is allowed" in error
    report = json.loads((bundle / "output" / "quantization" / "torch-int8.json").read_text())
    assert not report["passed"]
    with pytest.raises(ConfigurationError, match="radimagenet quantize"):
        require_passed(model, "torch-int8")


def test_refusals_before_anything_runs(trained: Path, busi: Path, tmp_path: Path) -> None:
    bundle = copied(trained, tmp_path)
    with pytest.raises(ConfigurationError, match="does not compute in int8; give torch-int8 or openvino-int8"):
        quantize_bundle(bundle, busi, runtime="onnx")
    with pytest.raises(ConfigurationError, match=r"no such keys of evaluate\.json"):
        quantize_bundle(bundle, busi, runtime="torch-int8", settings={"batchsize": 4})
    with pytest.raises(ConfigurationError, match=r"has no configs/evaluate\.json"):
        quantize_bundle(tmp_path, busi, runtime="torch-int8")
    (bundle / "models" / "runtimes").write_text("a file where the folder would be")
    with pytest.raises(ConfigurationError, match=r"runtimes"):
        quantize_bundle(bundle, busi, runtime="torch-int8")


def tables(cases: int, classes: int, noise: float) -> tuple[PredictionTable, PredictionTable]:
    random = np.random.default_rng(0)
    labels = random.integers(classes, size=cases)
    logits = random.normal(size=(cases, classes)) + 1.5 * np.eye(classes)[labels]
    both = []
    for values in (logits, logits + noise * random.normal(size=logits.shape)):
        odds = np.exp(values)
        both.append(PredictionTable(np.arange(cases), odds / odds.sum(axis=1, keepdims=True), labels))
    return both[0], both[1]


def test_the_change_of_the_auc_is_delongs() -> None:
    before, after = tables(200, 2, 0.5)
    (change,) = changes_of_auc(before, after, [{}] * 200)
    (expected,) = compare_aucs(before.labels == 1, {"after": after.scores, "before": before.scores}).pairs
    assert change.change == pytest.approx(expected.difference, abs=1e-12)
    assert change.low == pytest.approx(expected.low, abs=1e-9)
    assert change.high == pytest.approx(expected.high, abs=1e-9)
    assert change.cases == change.patients == 200


def test_changes_of_several_classes_and_of_findings() -> None:
    before, after = tables(120, 3, 0.5)
    (macro,) = changes_of_auc(before, after, [{"patient_id": str(place // 2)} for place in range(120)])
    assert macro.measure == "macro AUC"
    assert macro.patients == 60
    assert macro.low is not None
    assert macro.low < macro.change < (macro.high or 0)
    findings = [
        PredictionTable(table.index, table.probabilities[:, :2], np.eye(3)[table.labels][:, :2], False)
        for table in (before, after)
    ]
    named = changes_of_auc(findings[0], findings[1], [{}] * 120, ["any", "subdural"])
    assert [item.measure for item in named] == ["AUC of any", "AUC of subdural"]
    assert all(abs(item.change) > 0 for item in named)


def test_the_change_of_dice() -> None:
    reference = np.zeros((8, 8), bool)
    reference[2:6, 2:6] = True
    half = reference.copy()
    half[4:] = False
    before = {place: measure_overlap(reference, reference) for place in range(4)}
    after = {place: measure_overlap(half if place == 0 else reference, reference) for place in range(4)}
    change = change_of_dice(before, after, [{"patient_id": str(place)} for place in range(4)])
    assert change.before == 1
    assert change.change == pytest.approx((2 * 8 / 24 - 1) / 4)


@pytest.mark.long
@pytest.mark.learns
@pytest.mark.parametrize("runtime", ["openvino-int8", "torch-int8"])
def test_int8_keeps_the_auc_of_a_classifier(runtime: str, busi: Path, tmp_path: Path, seed: int) -> None:
    """On a phantom, by the bound of the command line."""
    pytest.importorskip("nncf")
    bundle = copy_bundle("breast_mass_us_classification", tmp_path)
    settings = {**TINY, "image_size": 64, "learning_rate": 1e-3}
    run_workflow(bundle, "train", dataset_dir=str(busi), max_epochs=6, seed=seed, **settings)
    report = quantize_bundle(bundle, busi, runtime=runtime, settings=QUICK)
    (change,) = report["changes"]
    assert change["before"] > 0.8
    assert abs(change["change"]) <= 0.005
    require_passed(bundle / "models" / "model.pt", runtime)


@pytest.mark.long
@pytest.mark.parametrize("runtime", ["openvino-int8", "torch-int8"])
def test_int8_of_a_segmentation_is_measured_by_dice(runtime: str, busi: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    bundle = copy_bundle("breast_mass_us_segmentation", tmp_path)
    run_workflow(bundle, "train", dataset_dir=str(busi), max_epochs=2, **{**TINY, "image_size": 64})
    try:
        report = quantize_bundle(bundle, busi, runtime=runtime, settings=QUICK)
    except QuantizationError:
        report = json.loads((bundle / "output" / "quantization" / f"{runtime}.json").read_text())
        assert abs(report["changes"][0]["change"]) > report["bound"]
    (change,) = report["changes"]
    assert change["measure"] == "Dice"
    assert report["bound"] == 0.01
    assert change["before"] > 0
