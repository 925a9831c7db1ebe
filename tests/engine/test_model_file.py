"""Loading trained weights: right or not at all."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from processes import wait_until
from small_training import CONTEXT

from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.engine import TrainingCheckpoint
from radimagenet_monai.engine.trained.model_file import load_model, operating_points, save_model, trained_fact
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_classifier("densenet121")


def test_saved_model_comes_back(tmp_path: Path, network: torch.nn.Module) -> None:
    save_model(tmp_path / "models" / "model.pt", network, {"architecture": "densenet121", "threshold": 0.25})
    other = build_classifier("densenet121")
    load_model(tmp_path / "models" / "model.pt", other, "densenet121")
    tensors = other.state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name
    assert operating_points(tmp_path / "models" / "model.pt", ["tear"]) == {"tear": 0.25}
    assert operating_points(tmp_path / "models" / "model.pt", ["tear"], 0.7) == {"tear": 0.7}
    assert trained_fact(tmp_path, "architecture", "resnet50") == "densenet121"
    assert trained_fact(tmp_path / "elsewhere", "architecture", "resnet50") == "resnet50"


def test_model_of_another_architecture_is_refused_by_name(tmp_path: Path, network: torch.nn.Module) -> None:
    save_model(tmp_path / "model.pt", network, {"architecture": "densenet121"})
    with pytest.raises(WeightsError, match=r"holds a trained densenet121.*--architecture densenet121"):
        load_model(tmp_path / "model.pt", build_classifier("resnet50"), "resnet50")
    (tmp_path / "model.json").unlink()
    with pytest.raises(WeightsError, match=r"made for another network: .* missing .* unexpected"):
        load_model(tmp_path / "model.pt", build_classifier("resnet50"), "resnet50")


def test_threshold_of_another_model_is_refused(tmp_path: Path, network: torch.nn.Module) -> None:
    save_model(tmp_path / "model.pt", network, {"threshold": 0.25})
    torch.save({}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match=r"SHA-256 differs.*--threshold"):
        operating_points(tmp_path / "model.pt", ["tear"])


def test_unknown_threshold_is_one_half_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert operating_points(tmp_path / "model.pt", ["tear"]) == {"tear": 0.5}
    assert "no operating point of tear is known" in caplog.text


def test_findings_have_thresholds_of_their_own(tmp_path: Path, network: torch.nn.Module) -> None:
    save_model(tmp_path / "model.pt", network, {"thresholds": {"any": 0.2, "subdural": 0.7}})
    found = operating_points(tmp_path / "model.pt", ["any", "epidural", "subdural"])
    assert found == {"any": 0.2, "epidural": 0.5, "subdural": 0.7}


class _Malicious:
    def __reduce__(self) -> tuple:
        return os.system, ("touch executed",)


@pytest.mark.parametrize("kind", ["absent", "page", "pickle", "truncated", "list", "missing", "extra", "misshaped"])
def test_bad_file_is_refused_in_one_line(
    kind: str, tmp_path: Path, network: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pt"
    state = dict(network.state_dict())
    if kind == "page":
        path.write_text("<html><body>Sign in</body></html>")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(_Malicious()))
    elif kind == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:-5000])
    elif kind == "list":
        torch.save([1, 2], path)
    elif kind == "missing":
        state.pop("head.weight")
    elif kind == "extra":
        state["head.extra"] = torch.zeros(1)
    elif kind == "misshaped":
        state["head.weight"] = torch.zeros(3, 1024)
    if kind in ("missing", "extra", "misshaped"):
        torch.save(state, path)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_model(path, network)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert {"absent": "does not exist", "list": "holds a list", "misshaped": "[3, 1024], expected [2, 1024]"}.get(
        kind, ""
    ) in message
    assert not (tmp_path / "executed").exists()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_facts_that_are_no_json_are_refused(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.json").write_text("{")
    with pytest.raises(WeightsError, match="is not JSON"):
        trained_fact(tmp_path, "architecture", "resnet50")


def save_models(path: Path) -> None:
    """Overwrite a model with the next version, for ever."""
    network = torch.nn.Linear(1000, 2000)
    for version in range(10**6):
        torch.nn.init.constant_(network.weight, version)
        save_model(path, network, {"version": version})


def save_checkpoints(path: Path) -> None:
    """Train epochs of one iteration, for ever; the weights are the number of the epoch."""
    network = torch.nn.Linear(1000, 2000)
    optimizer = torch.optim.Adam(network.parameters())
    engine = Engine(lambda engine, batch: torch.nn.init.constant_(network.weight, engine.state.epoch))
    TrainingCheckpoint(path.parent, network, optimizer, {}, []).attach(engine)
    engine.run([0], max_epochs=10**6)


@pytest.mark.parametrize(("save", "name"), [(save_models, "model.pt"), (save_checkpoints, "checkpoint.pt")])
def test_kill_while_saving_leaves_a_whole_file(save: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    for attempt in range(3):
        process = CONTEXT.Process(target=save, args=(path,))
        process.start()
        wait_until(path.exists, "the first file")
        time.sleep(0.05 + 0.033 * attempt)  # any moment will do
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        state = torch.load(path, weights_only=True)
        weight = state["weight"] if name == "model.pt" else state["network"]["weight"]
        assert len(weight.unique()) == 1, "a file of two versions"
        if name == "checkpoint.pt":
            assert weight.unique().item() == state["epoch"]
        path.unlink()
