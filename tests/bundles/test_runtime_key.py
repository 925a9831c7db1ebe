"""The key ``runtime`` of inference.json and evaluate.json: the same answers, or one line before an image is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from bundle_runs import run_command, run_workflow

from radimagenet_monai.collection.verification.verify import verify_bundle

pytestmark = pytest.mark.slow


def probabilities(folder: Path) -> np.ndarray:
    rows = json.loads((folder / "predictions.json").read_text())["predictions"]
    return np.array([row["probability_malignant"] for row in rows])


def test_inference_by_onnx_runtime_equals_torch(trained: Path, busi: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    bundle = Path(shutil.copytree(trained, tmp_path / trained.name))
    images = next(busi.glob("**/malignant"))
    for runtime in ("torch", "onnx"):
        out = str(tmp_path / runtime)
        # Seven images a batch: the last one is smaller, which a fixed batch size would refuse.
        run_workflow(
            bundle, "inference", dataset_dir=str(images), output_dir=out, runtime=runtime, num_workers=0, batch_size=7
        )
    torch, onnx = probabilities(tmp_path / "torch"), probabilities(tmp_path / "onnx")
    assert len(torch) > 10
    assert torch.std() > 0
    np.testing.assert_allclose(onnx, torch, atol=1e-5)
    assert len(list((bundle / "models" / "runtimes").iterdir())) == 1
    # What a run leaves there is no part of the bundle, and no reason to refuse it.
    assert verify_bundle(bundle) == []


@pytest.mark.long
def test_evaluation_by_openvino_equals_torch(trained: Path, busi: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    found = {}
    for runtime in ("torch", "openvino"):
        out = tmp_path / runtime
        run_workflow(trained, "evaluate", dataset_dir=str(busi), output_dir=str(out), runtime=runtime, num_workers=0)
        report = json.loads((out / "evaluation.json").read_text())
        assert report["settings"]["runtime"] == runtime
        found[runtime] = report["metrics"]["auc"]["auc"], json.loads((out / "run.json").read_text())
    assert found["openvino"][0] == pytest.approx(found["torch"][0], abs=1e-9)
    assert "weights_sha256" in found["torch"][1]
    assert found["openvino"][1]["weights_sha256"] == found["torch"][1]["weights_sha256"]


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ("onxx", "runtime 'onxx' is unknown; expected one of torch, onnx, openvino, torch-int8, openvino-int8"),
        ("torch-int8", "run 'radimagenet quantize BUNDLE --data VALIDATION --runtime torch-int8'"),
    ],
)
def test_a_runtime_that_cannot_run_is_refused_before_images_are_read(
    trained: Path, tmp_path: Path, runtime: str, expected: str
) -> None:
    """The folder of images does not exist: had it been looked for, the line would say so."""
    done = run_command(trained, "inference", tmp_path, dataset_dir=str(tmp_path / "none"), runtime=runtime)
    assert done.returncode == 1
    output = done.stdout + done.stderr
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert expected in line
    assert "Traceback" not in output
