"""The keys of the pretraining recipe, given as a user gives them."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_runs import copy_bundle, run_command, run_workflow
from ignite.engine import Events
from monai.bundle import create_workflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = pytest.mark.long

NAME = "radimagenet_densenet121_pretraining"
Fixture = Callable[[str], Path]

# 16 images of training: two steps an epoch, each on two batches.
SMALL = {"image_size": 64, "batch_size": 4, "num_workers": 0, "max_epochs": 2, "accumulate": 2, "warmup_epochs": 1}
ALL_ON = {
    **SMALL,
    "ema_decay": 0.9,
    "logit_adjustment": 1,
    "progressive_resizing": 1,
    "first_image_size": 32,
    "clip_gradient_norm": 1,
    "reference_batch": 8,
}


@pytest.fixture
def place(phantom: Fixture, few_records: Fixture) -> dict[str, Any]:
    return {"dataset_dir": str(phantom("radimagenet")), "datalist": str(few_records(NAME))}


def checkpoint(bundle: Path) -> dict[str, Any]:
    return torch.load(bundle / "output" / "checkpoint.pt", weights_only=True)


def largest_difference(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name].double() - right[name].double()).abs().max()) for name in left)


def test_all_parts_together(place: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = copy_bundle(NAME, tmp_path)
    sizes = []
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "train.json"),
        workflow_type="train",
        bundle_root=str(bundle),
        **place,
        **ALL_ON,
    )
    trainer = workflow.trainer
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: sizes.append(trainer.state.output["image"].shape[-1]))
    workflow.run()
    assert sizes == [32] * 4 + [64] * 4

    state = checkpoint(bundle)
    average, best = state["also"]["average"], torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert average["steps"] == 4
    assert largest_difference(average["network"], state["network"]) > 1e-4
    if json.loads((bundle / "models" / "model.json").read_text())["epoch"] == 2:
        assert largest_difference(average["network"], best) == 0
    decays = {group["weight_decay"] for group in state["optimizer"]["param_groups"]}
    assert decays == {0.05, 0.0}

    run = json.loads((bundle / "output" / "run.json").read_text())
    assert run["rates"]["network_images_per_second"] > 0
    assert [0 <= figures["data_wait"] <= 1 for figures in run["throughput"]] == [True, True]
    assert run["settings"]["ema_decay"] == 0.9
    out = capfd.readouterr().out
    assert "network alone" in out
    assert "data wait" in out
    events = EventAccumulator(str(bundle / "output" / "tensorboard"))
    events.Reload()
    assert {"images_per_second", "data_wait", "learning_rate", "val_top1"} <= set(events.Tags()["scalars"])


def test_all_parts_off(place: dict[str, Any], tmp_path: Path) -> None:
    off = {"ema_decay": 0, "label_smoothing": 0, "weight_decay": 0, "measure_rates": "false", "tensorboard": "false"}
    bundle = copy_bundle(NAME, tmp_path)
    run_workflow(bundle, "train", **place, **SMALL, **off, channels_last="false", compile="false", reference_batch=0)
    state = checkpoint(bundle)
    assert state["also"]["average"] == {}
    assert not (bundle / "output" / "tensorboard").exists()
    run = json.loads((bundle / "output" / "run.json").read_text())
    assert "rates" not in run
    assert run["status"] == "completed"
    # The last of eight batches begins at 7/8 of the run, three quarters down the cosine, unscaled.
    expected = 1e-3 * 0.5 * (1 + math.cos(0.75 * math.pi))
    assert run["throughput"][-1]["learning_rate"] == pytest.approx(expected, rel=1e-3)


def test_stopped_within_an_epoch_and_resumed_it_ends_in_the_same_average(place: dict[str, Any], tmp_path: Path) -> None:
    whole, stopped = copy_bundle(NAME, tmp_path / "whole"), copy_bundle(NAME, tmp_path / "stopped")
    run_workflow(whole, "train", **place, **ALL_ON)
    workflow = create_workflow(
        config_file=str(stopped / "configs" / "train.json"),
        workflow_type="train",
        bundle_root=str(stopped),
        **place,
        **ALL_ON,
    )
    # In the middle of the second epoch, and of a group of batches: it goes on to the group's end first.
    workflow.trainer.add_event_handler(Events.ITERATION_STARTED(once=5), lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - SystemExit, which MONAI may wrap
        workflow.run()
    assert "75" in repr(caught.value) or "RunStopped" in repr(caught.value.__cause__)
    assert checkpoint(stopped)["samples"] == 8
    run_workflow(stopped, "train", **place, **ALL_ON, resume=True)
    left, right = checkpoint(whole), checkpoint(stopped)
    assert left["also"]["average"]["steps"] == right["also"]["average"]["steps"] == 4
    assert largest_difference(left["also"]["average"]["network"], right["also"]["average"]["network"]) == 0
    assert largest_difference(left["network"], right["network"]) == 0


def test_a_loss_that_is_no_number_ends_in_one_line(place: dict[str, Any], tmp_path: Path) -> None:
    bundle = copy_bundle(NAME, tmp_path)
    options = {**SMALL, "learning_rate": 1e30, "warmup_epochs": 0, "amp": False, "ema_decay": 0}
    done = run_command(bundle, "train", tmp_path, **place, **options)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "the loss is nan at iteration" in line
    assert "Traceback" not in done.stderr
    assert (bundle / "output" / "non_finite_batch.csv").exists()
    assert json.loads((bundle / "output" / "run.json").read_text())["status"] == "failed"


def test_mlflow_that_is_not_installed_is_said_at_once(place: dict[str, Any], tmp_path: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("mlflow") is not None:
        pytest.skip("MLflow is installed")
    done = run_command(copy_bundle(NAME, tmp_path), "train", tmp_path, **place, **SMALL, mlflow=str(tmp_path / "runs"))
    assert done.returncode == 1
    assert "pip install 'radimagenet-monai[mlflow]'" in done.stderr
    assert "Traceback" not in done.stderr
