"""A run that ends anywhere in an epoch goes on at the next batch, in as many processes as there are."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pytest
import torch
from small_training import run, seen
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from radimagenet_monai.engine.stop_signal import STOPPED_STATUS

pytestmark = pytest.mark.slow

LENGTH = 22  # in batches of 4: the last of an epoch is not full


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert run(folder) == 0
    return folder


def loss_curve(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")]


def mean_losses(folder: Path) -> dict[str, str]:
    """The mean loss that the log shows of each epoch."""
    return dict(re.findall(r"training epoch (\d+)/\d+: loss ([\d.]+)", (folder / "log.txt").read_text()))


def assert_same_course(folder: Path, uninterrupted: Path) -> None:
    assert seen(folder) == seen(uninterrupted)
    assert loss_curve(folder) == loss_curve(uninterrupted)
    assert mean_losses(folder) == mean_losses(uninterrupted)
    ours, theirs = (torch.load(path / "final.pt", weights_only=True) for path in (folder, uninterrupted))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def checkpoint(folder: Path) -> dict:
    return torch.load(folder / "checkpoint.pt", weights_only=True)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_killed_in_an_epoch_and_resumed_is_bit_identical(workers: int, uninterrupted: Path, tmp_path: Path) -> None:
    # Saved in the second epoch after 2 of 6 batches, killed two batches later, and again in the third.
    assert run(tmp_path, workers=workers, save_at=[8], signals_of={0: {11: signal.SIGKILL}}) == -signal.SIGKILL
    saved = checkpoint(tmp_path)
    assert (saved["epoch"], saved["samples"], saved["iteration"]) == (1, 8, 8)
    assert len(loss_curve(tmp_path)) == 10
    options = {"workers": workers, "resume": True}
    assert run(tmp_path, save_at=[15], signals_of={0: {16: signal.SIGKILL}}, **options) == -signal.SIGKILL
    assert run(tmp_path, **options) == 0
    assert_same_course(tmp_path, uninterrupted)
    text = (tmp_path / "log.txt").read_text()
    assert "resumed after 8 of 22 samples of epoch 2 of 3" in text
    assert "resumed after 12 of 22 samples of epoch 3 of 3" in text
    assert json.loads((tmp_path / "run.json").read_text())["first_epoch"] == 3


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_sigterm_saves_and_ends_with_its_own_status(workers: int, uninterrupted: Path, tmp_path: Path) -> None:
    assert run(tmp_path, workers=workers, signals_of={0: {9: signal.SIGTERM}}) == STOPPED_STATUS
    assert checkpoint(tmp_path)["samples"] == 12
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "stopped"
    assert "stopped by SIGTERM after 12 of 22 samples of epoch 2" in (tmp_path / "log.txt").read_text()
    # In the last batch of an epoch it ends with the epoch.
    options = {"workers": workers, "resume": True}
    assert run(tmp_path, signals_of={0: {12: signal.SIGTERM}}, **options) == STOPPED_STATUS
    assert (checkpoint(tmp_path)["epoch"], checkpoint(tmp_path)["samples"]) == (2, 0)
    assert run(tmp_path, **options) == 0
    assert_same_course(tmp_path, uninterrupted)
