"""What a checkpoint is refused for, and which ones are taken."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from small_training import Pictures, small_network, train

from radimagenet_monai.core.errors import ConfigurationError, WeightsError
from radimagenet_monai.engine import TrainingCheckpoint
from radimagenet_monai.engine.start.error_lines import user_error_line
from radimagenet_monai.loading import EpochLoader, build_loader


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The checkpoint of one epoch."""
    folder = tmp_path_factory.mktemp("saved")
    train(folder, epochs=1)
    return torch.load(folder / "checkpoint.pt", weights_only=True)


def test_a_checkpoint_of_the_first_format_is_gone_on_with(saved: dict[str, Any], tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    for folder in (whole, resumed):
        folder.mkdir()
    train(whole, epochs=2)
    added = {"format", "samples", "processes", "also"}
    torch.save({key: value for key, value in saved.items() if key not in added}, resumed / "checkpoint.pt")
    train(resumed, epochs=2, resume=True)
    ours, theirs = (torch.load(folder / "final.pt", weights_only=True) for folder in (resumed, whole))
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


def _newer(state: dict[str, Any]) -> None:
    state["format"] = 3


def _other_recipe(state: dict[str, Any]) -> None:
    state["also"]["average"] = {}


def _other_settings(state: dict[str, Any]) -> None:
    state["settings"]["seed"] = 7


def _other_records(state: dict[str, Any]) -> None:
    state["settings"]["data"] = "0" * 64


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (_newer, WeightsError, "has format 3, this version reads up to 2"),
        (_other_recipe, ConfigurationError, "saved with average, progress, tensorboard .* this run has progress, ten"),
        (_other_settings, ConfigurationError, "seed=7, this run has seed=1"),
        (_other_records, ConfigurationError, "other training records"),
    ],
)
def test_what_does_not_fit_is_refused(
    change: Callable, kind: type[Exception], words: str, saved: dict[str, Any], tmp_path: Path
) -> None:
    state = {**saved, "also": dict(saved["also"]), "settings": dict(saved["settings"])}
    change(state)
    torch.save(state, tmp_path / "checkpoint.pt")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(kind, match=words):
        train(tmp_path, resume=True)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_torn_file_is_refused_and_leftovers_are_removed(saved: dict[str, Any], tmp_path: Path) -> None:
    torch.save(saved, tmp_path / "checkpoint.pt")
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    leftover = tmp_path / ".checkpoint.pt.abc.part"
    leftover.write_bytes(b"killed while saving")
    with pytest.raises(WeightsError, match=r"checkpoint\.pt"):
        train(tmp_path, resume=True)
    assert not leftover.exists()


def test_never_between_the_batches_of_one_optimizer_step(tmp_path: Path) -> None:
    """Groups of 4 of the 6 batches of an epoch: the only places are after the fourth and at the end."""
    saves = []

    class Noting(TrainingCheckpoint):
        def _save(self, engine: Any, finished_epochs: int, samples: int) -> None:
            saves.append((finished_epochs, samples))

    network = small_network()
    checkpoint = Noting(tmp_path, network, torch.optim.SGD(network.parameters(), 0.1), {}, [], minutes=1e-12)
    _run(checkpoint, group=4)
    assert saves == [(0, 16), (1, 0), (1, 16), (2, 0)]
    saves.clear()
    _run(checkpoint, group=1)
    assert saves == [
        (0, 4),
        (0, 8),
        (0, 12),
        (0, 16),
        (0, 20),
        (1, 0),
        (1, 4),
        (1, 8),
        (1, 12),
        (1, 16),
        (1, 20),
        (2, 0),
    ]


def _run(checkpoint: TrainingCheckpoint, group: int, loader: Any = None) -> None:
    def step(engine: Any, batch: Any) -> None:
        place = (engine.state.iteration - 1) % engine.state.epoch_length + 1
        engine.state.gradients_pending = place % group != 0 and place != engine.state.epoch_length

    engine = Engine(step)
    checkpoint.attach(engine)
    loader = loader or build_loader(Pictures(22), 4)
    if isinstance(loader, EpochLoader):
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: loader.sampler.set_epoch(engine.state.epoch))
    engine.run(loader, max_epochs=2)


def test_with_another_loader_a_run_is_saved_at_the_ends_of_epochs_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = small_network()
    arguments = (tmp_path, network, torch.optim.SGD(network.parameters(), 0.1), {}, [])
    _run(TrainingCheckpoint(*arguments, minutes=1e-12), 1, torch.utils.data.DataLoader([1, 2, 3]))
    assert "a DataLoader of a list: checkpoints are saved and resumed at the ends of epochs only" in caplog.text
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (saved["epoch"], saved["samples"], saved["epoch_length"]) == (2, 0, 3)
    with pytest.raises(ConfigurationError, match="checkpoint_minutes -1"):
        TrainingCheckpoint(*arguments, minutes=-1)


def test_settings_that_an_earlier_version_did_not_save_are_not_compared(tmp_path: Path) -> None:
    network = small_network()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    _run(TrainingCheckpoint(tmp_path, network, optimizer, {"seed": 0}, []), 1)
    now = {"seed": 0, "network_def": {"_target_": "DenseNet"}}
    _run(TrainingCheckpoint(tmp_path, network, optimizer, now, [], resume=True), 1)
    with pytest.raises(ConfigurationError, match="seed=0, this run has seed=1"):
        _run(TrainingCheckpoint(tmp_path, network, optimizer, {**now, "seed": 1}, [], resume=True), 1)


def test_a_lost_process_is_told_of_in_one_line() -> None:
    error = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:547]\n Connection closed by peer [127.0.0.1]")
    line = user_error_line(error) or ""
    assert line.startswith("error: another process of this run has ended or cannot be reached")
    assert "--resume true" in line
    assert "\n" not in line
    assert user_error_line(RuntimeError("something else")) is None
