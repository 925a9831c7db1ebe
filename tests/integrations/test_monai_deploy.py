"""``examples/monai_deploy``: an application of MONAI Deploy's SDK; with the SDK itself in ``make test-deploy``."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from clinic_images import oblique, series, standard_errors
from small_bundles import Bright, Mean, untrained, window

from radimagenet_monai import predict
from radimagenet_monai.integrations.prediction.trained_bundle import TrainedBundle

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed (extra: dicom)")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "monai_deploy"
INSTALLED = importlib.util.find_spec("holoscan") is not None
NEEDS_SDK = pytest.mark.skipif(
    not INSTALLED, reason="MONAI Deploy is not installed; 'make test-deploy' has an environment with it"
)


def ct(folder: Path, description: str) -> None:
    """A CT series with a lesion on three of its slices, whose files are not in the order of the slices."""
    rng = np.random.default_rng(len(description))
    for file in series(folder, oblique(), SeriesDescription=description)[0]:
        dataset = pydicom.dcmread(file)
        pixels = rng.integers(-1000, -200, (dataset.Rows, dataset.Columns)).astype(np.int16)
        if int(dataset.InstanceNumber) - 1 in (1, 2, 3):
            pixels[2:9, 5 : 12 + int(dataset.InstanceNumber)] = 900
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(file)


def classifier(folder: Path) -> Path:
    return untrained("covid19_ct_classification", folder, Mean(), threshold=0.5)


def segmenter(folder: Path) -> Path:
    return window(untrained("breast_mass_us_segmentation", folder, Bright(), image_size=64))


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example's operators; without the SDK, on stand-ins for the names that they import of it."""
    if not INSTALLED:
        core = ModuleType("monai.deploy.core")

        class Operator:
            def __init__(self, fragment: Any, *args: Any, name: str = "", **kwargs: Any) -> None:
                assert not kwargs

        core.__dict__.update(
            Operator=Operator, Fragment=object, OperatorSpec=object, ConditionType=SimpleNamespace(NONE=None)
        )
        monkeypatch.setitem(sys.modules, "monai.deploy", ModuleType("monai.deploy"))
        monkeypatch.setitem(sys.modules, "monai.deploy.core", core)
    spec = importlib.util.spec_from_file_location("operators", EXAMPLE / "operators.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "operators", module)
    spec.loader.exec_module(module)
    return module


class Ports(dict[str, Any]):
    """Named values that an operator receives or emits."""

    def receive(self, name: str) -> Any:
        return self[name]

    def emit(self, value: Any, name: str) -> None:
        self[name] = value


def selection(*folders: Path) -> list[Any]:
    """What the SDK's selector emits, in the attributes that the operators read."""
    studies = []
    for folder in folders:
        datasets = [pydicom.dcmread(file) for file in sorted(folder.glob("*.dcm"))]
        files = [SimpleNamespace(get_native_sop_instance=lambda dataset=dataset: dataset) for dataset in datasets]
        uid = datasets[0].SeriesInstanceUID
        one = SimpleNamespace(SeriesInstanceUID=uid, get_sop_instances=lambda files=files: files)
        studies.append(SimpleNamespace(selected_series=[SimpleNamespace(series=one)]))
    return studies


def test_operators_answer_for_what_was_selected(operators: Any, tmp_path: Path) -> None:
    ct(tmp_path / "in" / "a", "first")
    ct(tmp_path / "in" / "b", "the second")
    trained = TrainedBundle(classifier(tmp_path))
    (expected,) = predict(trained.folder, tmp_path / "in" / "b")
    ports = Ports({"study_selected_series_list": selection(tmp_path / "in" / "b")})
    operators.PredictionOperator(operators.Fragment(), trained=trained, name="prediction").compute(ports, ports, None)
    writer = operators.ResultWriterOperator(
        operators.Fragment(), trained=trained, output_folder=tmp_path / "out", kinds=("sr",)
    )
    writer.compute(ports, Ports(), None)
    (row,) = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert 0.1 < row["probability_positive"] < 0.9
    assert row["probability_positive"] == pytest.approx(expected.row["probability_positive"], abs=1e-6)
    assert row["dicom"] is None
    with pytest.raises(ValueError, match="no series was selected"):
        operators.selected_studies(trained, [], "series")
    chosen = selection(tmp_path / "in" / "b")
    chosen[0].selected_series[0].series.SeriesInstanceUID = "1.2.3"
    with pytest.raises(ValueError, match="none of 1 selected series"):
        operators.selected_studies(trained, chosen, "series")


def run_app(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Type a command beside the repository's ``examples``, with the networks of `small_bundles` at hand."""
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(ROOT / "examples")
    paths = [str(ROOT), *(str(ROOT / "tests" / part) for part in ("", "io", "integrations"))]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([*paths, str(EXAMPLE)]),
    }
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def command_of_page() -> str:
    from test_documents import blocks_of, only

    return only("app.py -i", blocks_of(ROOT / "docs" / "how-to" / "monai_deploy.md")).text


@NEEDS_SDK
def test_the_application_gives_the_probability_of_the_command_line(tmp_path: Path) -> None:
    ct(tmp_path / "INPUT" / "a", "first")
    ct(tmp_path / "INPUT" / "b", "the second")
    bundle = classifier(tmp_path).rename(tmp_path / "BUNDLE")
    done = run_app(tmp_path, command_of_page())
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "OUTPUT" / "predictions.json").read_text())
    expected = predict(bundle, tmp_path / "INPUT")
    found = [row["probability_positive"] for row in rows]
    assert found == pytest.approx([each.row["probability_positive"] for each in expected], abs=1e-6)
    assert len(set(found)) == 2
    for number, row in enumerate(rows, start=1):
        path = tmp_path / "OUTPUT" / "dicom" / f"{number:06d}_sr.dcm"
        assert f"{row['probability_positive']:.4f}"[:5] in str(highdicom.sr.srread(path))
        assert standard_errors(path) == []

    # One series, by a rule of the SDK's selector.
    rules = json.dumps({"selections": [{"name": "one", "conditions": {"SeriesDescription": "the second"}}]})
    arguments = ["python", "app.py", "-i", "INPUT", "-o", "SELECTED", "-m", "BUNDLE"]
    code = f"import app; app.RULES = {rules!r}; app.RadImageNetApp({arguments!r}).run()"
    done = run_app(tmp_path, f"python -c \"$(cat <<'END'\n{code}\nEND\n)\"")
    assert done.returncode == 0, done.stderr[-3000:]
    (row,) = json.loads((tmp_path / "SELECTED" / "predictions.json").read_text())
    assert row["probability_positive"] == pytest.approx(found[1], abs=1e-6)

    done = run_app(tmp_path, "python examples/monai_deploy/app.py -i INPUT -o NO -m INPUT")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")


@NEEDS_SDK
def test_the_segmentation_is_the_mask_of_the_command_line(tmp_path: Path) -> None:
    ct(tmp_path / "INPUT", "first")
    bundle = segmenter(tmp_path).rename(tmp_path / "BUNDLE")
    done = run_app(tmp_path, command_of_page())
    assert done.returncode == 0, done.stderr[-3000:]
    predict(bundle, tmp_path / "INPUT", tmp_path / "cli", dicom=["seg"])
    uids = [str(pydicom.dcmread(file).SOPInstanceUID) for file in (tmp_path / "INPUT").glob("*.dcm")]
    masks = []
    for folder in ("OUTPUT", "cli"):
        path = tmp_path / folder / "dicom" / "000001_seg.dcm"
        assert standard_errors(path) == []
        stored = highdicom.seg.segread(path)
        masks.append(
            stored.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
        )
    assert masks[0].sum() > 100
    np.testing.assert_array_equal(*masks)
