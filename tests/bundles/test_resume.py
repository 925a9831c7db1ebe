"""A run that is killed and resumed ends in the weights of one that never stopped, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import forks
import numpy as np
import pytest
import torch
from bundle_runs import TINY, command, copy_bundle, run_command, run_workflow
from shallow_densenet import make_shallow

from radimagenet_monai.engine.start.error_lines import user_error_line
from radimagenet_monai.engine.start.run_folder import LOCK_NAME

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_classification"
EPOCHS = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, busi: Path, few_records: Callable[[str], Path]) -> dict[str, Any]:
    """Few images, in epochs of 8 batches: long enough to be killed in the middle."""
    store = tmp_path_factory.mktemp("store")
    return {
        **TINY,
        "batch_size": 2,
        "dataset_dir": str(busi),
        "datalist": str(few_records(NAME)),
        "store_dir": str(store),
        "max_epochs": EPOCHS,
    }


def train(bundle: Path, options: dict[str, Any]) -> None:
    """In a process of its own."""
    forks.run(command(bundle, "train", options), check=True, first=make_shallow)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, place: dict[str, Any]) -> Path:
    bundle = copy_bundle(NAME, tmp_path_factory.mktemp("uninterrupted"))
    train(bundle, place)
    return bundle


KILLED = """
import json, os, signal, sys
from ignite.engine import Events
from monai.bundle import create_workflow

bundle, options, batches = json.loads(sys.argv[1])
workflow = create_workflow(
    config_file=bundle + "/configs/train.json", workflow_type="train", bundle_root=bundle, **options
)
trainer = workflow.trainer

def kill():
    if trainer.state.epoch == 2 and trainer.state.iteration - trainer.state.epoch_length == batches + 1:
        os.killpg(0, signal.SIGKILL)

trainer.add_event_handler(Events.ITERATION_STARTED, kill)
workflow.run()
"""


def kill_in_second_epoch(bundle: Path, options: dict, batches: int) -> None:
    """Train, and be killed by SIGKILL with all workers after so many batches of the second epoch."""
    arguments = [sys.executable, "-c", KILLED, json.dumps([str(bundle), options, batches])]
    done = forks.run(arguments, start_new_session=True, first=make_shallow)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def states(bundle: Path) -> dict[str, torch.Tensor]:
    """Network and optimizer tensors of the last checkpoint, and the best model, by name."""
    checkpoint = torch.load(bundle / "output" / "checkpoint.pt", weights_only=True)
    assert checkpoint["epoch"] == EPOCHS
    tensors = {f"network.{name}": tensor for name, tensor in checkpoint["network"].items()}
    for number, state in checkpoint["optimizer"]["state"].items():
        tensors.update({f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in state.items()})
    best = torch.load(bundle / "models" / "model.pt", weights_only=True)
    tensors.update({f"best.{name}": tensor for name, tensor in best.items()})
    tensors["best_metric"] = torch.tensor(checkpoint["best_metric"])
    return tensors


@pytest.mark.parametrize("workers", [pytest.param(0, marks=pytest.mark.long), 2])
def test_killed_and_resumed_run_ends_bit_identical(
    workers: int, uninterrupted: Path, place: dict[str, Any], tmp_path: Path
) -> None:
    bundle = copy_bundle(NAME, tmp_path)
    options = {**place, "num_workers": workers}
    kill_in_second_epoch(bundle, options, batches=4)
    assert torch.load(bundle / "output" / "checkpoint.pt", weights_only=True)["epoch"] == 1
    train(bundle, {**options, "resume": True})
    run = json.loads((bundle / "output" / "run.json").read_text())
    assert (run["status"], run["first_epoch"], run["epochs"]) == ("completed", 2, EPOCHS)
    expected, resumed = states(uninterrupted), states(bundle)
    assert expected.keys() == resumed.keys()
    different = [name for name in expected if not torch.equal(expected[name], resumed[name])]
    assert different == []
    # The comparison can fail: one epoch earlier the weights were others.
    facts = [json.loads((folder / "models" / "model.json").read_text()) for folder in (uninterrupted, bundle)]
    assert facts[0] == facts[1]


def train_until(bundle: str, options: dict, moment: int, first_checkpoint: Any = None) -> None:
    """Train, and be killed by SIGKILL at a given number of operations on files of the bundle; 0: never.

    ``first_checkpoint``, a shared integer, receives the number at which the first checkpoint got its name.
    """
    done = 0

    def count(event: str, arguments: tuple) -> None:
        nonlocal done
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.chmod") and str(arguments[0]).startswith(bundle):
            done += 1
            if done == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            renamed = event == "os.rename" and str(arguments[1]).endswith("checkpoint.pt")
            if renamed and first_checkpoint is not None and first_checkpoint.value == 0:
                first_checkpoint.value = done

    sys.addaudithook(count)
    run_workflow(Path(bundle), "train", **options)


def exit_code_of(bundle: Path, options: dict, moment: int = 0, first_checkpoint: Any = None) -> int | None:
    process = forks.FORKS.Process(target=train_until, args=(str(bundle), options, moment, first_checkpoint))
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.long
def test_killed_at_ten_random_moments_and_gone_on_with_each_time(place: dict[str, Any], tmp_path: Path) -> None:
    """A moment is a place between two things done to the bundle's files; a step and its checkpoint have three."""
    whole, killed = (copy_bundle(NAME, tmp_path / folder) for folder in ("whole", "killed"))
    options = {**place, "checkpoint_minutes": 1e-6}
    first = forks.FORKS.Value("i", 0)
    assert exit_code_of(whole, options, first_checkpoint=first) == 0
    assert first.value > 0
    options["resume"] = True
    # From shortly before the first checkpoint of a start to about three steps behind it.
    for moment in np.random.default_rng(7).integers(first.value - 2, first.value + 10, 10).tolist():
        assert exit_code_of(killed, options, moment) == -signal.SIGKILL
        assert not (killed / "models" / "model.pt").exists()
    saved = torch.load(killed / "output" / "checkpoint.pt", weights_only=True)
    assert saved["epoch"] or saved["samples"], "nothing was gone on from"
    assert exit_code_of(killed, options) == 0
    expected, resumed = states(whole), states(killed)
    assert expected.keys() == resumed.keys()
    assert [name for name in expected if not torch.equal(expected[name], resumed[name])] == []
    assert list(killed.rglob(".*.part")) == []


@pytest.mark.long
def test_a_pretraining_killed_within_an_epoch_ends_bit_identical(
    few_records: Callable[[str], Path], phantom: Callable[[str], Path], tmp_path: Path
) -> None:
    """With all of the recipe that has a state: weight average, schedule, gathered batches, growing images."""
    name = "radimagenet_densenet121_pretraining"
    options = {
        "dataset_dir": str(phantom("radimagenet")),
        "datalist": str(few_records(name)),
        "store_dir": str(tmp_path / "store"),
        "batch_size": 2,
        "image_size": 64,
        "max_epochs": EPOCHS,
        "num_workers": 0,
        "warmup_epochs": 1,
        "accumulate": 3,
        "clip_gradient_norm": 1.0,
        "ema_decay": 0.9,
        "progressive_resizing": 2,
        "first_image_size": 32,
        "measure_rates": False,
        "checkpoint_minutes": 1e-6,  # after every step of the optimizer
    }
    whole, killed = (copy_bundle(name, tmp_path / folder) for folder in ("whole", "killed"))
    train(whole, options)
    kill_in_second_epoch(killed, options, batches=4)
    saved = torch.load(killed / "output" / "checkpoint.pt", weights_only=True)
    assert (saved["epoch"], saved["samples"]) == (1, 6)
    train(killed, {**options, "resume": True})
    expected, resumed = states(whole), states(killed)
    assert expected.keys() == resumed.keys()
    assert [key for key in expected if not torch.equal(expected[key], resumed[key])] == []
    ours, theirs = (
        torch.load(bundle / "output" / "checkpoint.pt", weights_only=True)["also"]["average"]
        for bundle in (killed, whole)
    )
    assert ours["steps"] == theirs["steps"] == 9
    assert [key for key, value in theirs["network"].items() if not torch.equal(value, ours["network"][key])] == []


@pytest.mark.long
def test_another_seed_gives_other_weights(uninterrupted: Path, place: dict[str, Any], tmp_path: Path) -> None:
    bundle = copy_bundle(NAME, tmp_path)
    run_workflow(bundle, "train", **{**place, "seed": 1})
    name = "network.head.weight"
    assert not torch.equal(states(bundle)[name], states(uninterrupted)[name])


def test_resuming_a_finished_run_changes_nothing_and_more_epochs_go_on(
    trained: Path, busi: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(trained, tmp_path / NAME))
    before = (bundle / "output" / "checkpoint.pt").read_bytes()
    run_workflow(bundle, "train", dataset_dir=str(busi), max_epochs=2, resume=True, **TINY)
    assert (bundle / "output" / "checkpoint.pt").read_bytes() == before
    run_workflow(bundle, "train", dataset_dir=str(busi), max_epochs=3, resume=True, **TINY)
    assert torch.load(bundle / "output" / "checkpoint.pt", weights_only=True)["epoch"] == 3


@pytest.mark.long
def test_resume_without_a_checkpoint_starts_from_the_beginning(
    trained: Path, busi: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = copy_bundle(NAME, tmp_path)
    store = str(trained / "output" / "store")
    run_workflow(bundle, "train", dataset_dir=str(busi), store_dir=store, max_epochs=1, resume=True, **TINY)
    assert torch.load(bundle / "output" / "checkpoint.pt", weights_only=True)["epoch"] == 1


@pytest.mark.long
def test_words_of_the_command_line_switch_off_too(trained: Path, busi: Path, tmp_path: Path) -> None:
    """``--amp false --resume false`` arrive as text; taken by Python's truth, both would be on."""
    bundle = copy_bundle(NAME, tmp_path)
    options = {**TINY, "dataset_dir": str(busi), "store_dir": str(trained / "output" / "store"), "max_epochs": 1}
    run_workflow(bundle, "train", **options, amp="false", resume="false")
    run = json.loads((bundle / "output" / "run.json").read_text())
    assert run["settings"]["amp"] is False
    workflow = run_workflow(bundle, "train", **options, amp="false", resume="false", overwrite="true")
    run = json.loads((bundle / "output" / "run.json").read_text())
    assert run["first_epoch"] == 1, "resumed although told not to"
    assert workflow.train_inferer.amp is False
    done = run_command(bundle, "train", tmp_path, **options, amp="perhaps")
    assert done.returncode == 2
    assert "error: --amp perhaps was given: expected true or false" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 1}, "seed=0, this run has seed=1"), ({"batch_size": 4}, "batch_size=8, this run has batch_size=4")],
)
def test_resuming_with_other_settings_is_refused(
    change: dict, message: str, trained: Path, busi: Path, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(trained, tmp_path / NAME))
    with pytest.raises(RuntimeError) as caught:
        run_workflow(bundle, "train", **{**TINY, "dataset_dir": str(busi), "max_epochs": 3, "resume": True, **change})
    assert message in (user_error_line(caught.value) or "")


def test_a_second_training_in_a_used_folder_is_refused(trained: Path, busi: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(trained, tmp_path / NAME))
    same = {**TINY, "dataset_dir": str(busi), "max_epochs": 2}

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file() and path.suffix != ".lock"}

    before = files()
    for change, message in (
        ({}, "of an earlier training; give --resume true"),
        ({"learning_rate": 1e-2}, "of an earlier training"),
        ({"output_dir": str(tmp_path / "other"), "learning_rate": 1e-2}, "trained with learning_rate=0.001, and this"),
        ({"output_dir": str(tmp_path / "other")}, "trained with the same settings"),
        ({"output_dir": str(tmp_path / "other"), "resume": True}, "has no checkpoint to go on from"),
    ):
        with pytest.raises(RuntimeError) as caught:
            run_workflow(bundle, "train", **{**same, **change})
        assert message in (user_error_line(caught.value) or "")
        assert files() == before
    assert not (tmp_path / "other").exists()
    with filelock.FileLock(bundle / "output" / LOCK_NAME), pytest.raises(RuntimeError) as caught:
        run_workflow(bundle, "train", **same, overwrite=True)
    assert "another process is training" in (user_error_line(caught.value) or "")
    assert files() == before
    run_workflow(bundle, "train", **{**same, "max_epochs": 1}, overwrite=True)
    assert json.loads((bundle / "models" / "model.json").read_text())["max_epochs"] == 1
    assert (bundle / "models" / "model.pt").read_bytes() == (bundle / "output" / "model.pt").read_bytes()
