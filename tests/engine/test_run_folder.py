"""A run's folder belongs to one run at a time, and no finished model is replaced unasked."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Engine, Events

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.start.run_folder import LOCK_NAME, RunFolder, require_unused

SETTINGS = {"architecture": "densenet121", "seed": 0, "max_epochs": 2, "bundle_version": "0.1.0"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def train(
    folder: Path, models: Path, step: Callable[[], Any] = lambda: None, name: str = "model", **options: Any
) -> RunFolder:
    """A run of one iteration that saves a model, and may do something else."""
    handler = RunFolder(folder, models, {**SETTINGS, **options.pop("settings", {})}, **options)

    def update(engine: Engine, batch: Any) -> None:
        write_model(folder, name, handler.settings)
        (folder / "checkpoint.pt").write_text(name)
        step()

    engine = Engine(update)
    handler.attach(engine)
    engine.add_event_handler(Events.EXCEPTION_RAISED, raise_again)
    engine.run([0], max_epochs=1)
    return handler


def raise_again(engine: Engine, error: BaseException) -> None:
    """What a run's record does after all others."""
    raise error


def write_model(folder: Path, name: str, settings: dict[str, Any]) -> None:
    (folder / "model.pt").write_text(name)
    (folder / "model.json").write_text(json.dumps({**settings, "name": name}))


def state(*folders: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.name != LOCK_NAME}


def refusals(folder: Path, models: Path, message: str, **options: Any) -> None:
    """Both the early check and the run itself refuse, and neither changes anything."""
    before = state(folder, models)
    settings = {**SETTINGS, **options.pop("settings", {})}
    with pytest.raises(ConfigurationError, match=message):
        require_unused(folder, models.parent, settings, **options)
    with pytest.raises(ConfigurationError, match=message):
        train(folder, models, name="another", settings=settings, **options)
    assert state(folder, models) == before


def test_the_bundle_gets_a_copy_when_the_run_ends(folder: Path, models: Path) -> None:
    seen = []
    train(folder, models, lambda: seen.append((models / "model.pt").exists()))
    assert seen == [False]
    assert (models / "model.pt").read_text() == "model"
    assert json.loads((models / "model.json").read_text())["name"] == "model"
    assert not (models / "model.pt").samefile(folder / "model.pt")


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_run_that_fails_leaves_the_bundles_model(error: BaseException, folder: Path, models: Path) -> None:
    write_model(models, "earlier", SETTINGS)
    before = state(models)

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        train(folder, models, fail, overwrite=True)
    assert state(models) == before
    # The lock was given back.
    train(folder, models, name="second", overwrite=True)
    assert (models / "model.pt").read_text() == "second"


def test_a_used_folder_is_refused(folder: Path, models: Path) -> None:
    train(folder, models)
    refusals(folder, models, "holds checkpoint.pt of an earlier training; give --resume true .* --overwrite true")
    (folder / "checkpoint.pt").unlink()
    refusals(folder, models, "holds model.pt of an earlier training")


def test_the_bundles_model_is_not_replaced_from_another_folder(folder: Path, models: Path, tmp_path: Path) -> None:
    train(folder, models)
    other = tmp_path / "other"
    other.mkdir()
    refusals(other, models, "trained with the same settings, and .* has no checkpoint")
    refusals(other, models, "trained with seed=0, and this run has seed=1", settings={"seed": 1})
    refusals(other, models, "has no checkpoint", resume=True)


def test_resuming_the_same_run_is_welcome_and_another_is_not(folder: Path, models: Path) -> None:
    train(folder, models)
    require_unused(folder, models.parent, {**SETTINGS, "max_epochs": 5, "bundle_version": "9"}, resume=True)
    train(folder, models, name="longer", settings={"max_epochs": 5}, resume=True)
    assert (models / "model.pt").read_text() == "longer"
    # The checkpoint is what refuses other settings here, by its own name.
    require_unused(folder, models.parent, {**SETTINGS, "seed": 1}, resume=True)
    write_model(models, "of another run", {**SETTINGS, "seed": 2})
    refusals(folder, models, "trained with seed=2, and this run has seed=0", resume=True)


def test_a_model_of_version_0_1_is_kept_and_gone_on_with(folder: Path, models: Path) -> None:
    """It lies in the bundle alone, its run has a checkpoint, and its facts lack what is newer."""
    write_model(models, "earlier", {"architecture": "densenet121", "seed": 0})
    folder.mkdir()
    (folder / "checkpoint.pt").write_text("earlier")
    require_unused(folder, models.parent, {**SETTINGS, "newer": 1}, resume=True)
    refusals(folder, models, "holds checkpoint.pt")
    (models / "model.json").unlink()
    refusals(folder, models, "unknown settings", resume=True)


def test_overwriting_removes_the_earlier_run_at_the_start(folder: Path, models: Path) -> None:
    """So that nothing of it is gone on with when the new one is killed; the bundle's model stays until the end."""
    train(folder, models)
    (folder / "encoder.safetensors").write_text("earlier")
    handler = RunFolder(folder, models, SETTINGS, overwrite=True)
    handler._start(None)
    assert [path.name for path in folder.iterdir()] == [LOCK_NAME]
    assert (models / "model.pt").exists()
    handler._release(None, RuntimeError())
    train(folder, models, name="again", overwrite=True, settings={"seed": 5})
    train(folder, models, lambda: None, name="resumed", overwrite=True, resume=True, settings={"seed": 5})
    assert (models / "model.pt").read_text() == "resumed"


def test_resuming_and_overwriting_goes_on_from_the_checkpoint(folder: Path, models: Path) -> None:
    train(folder, models)
    handler = RunFolder(folder, models, SETTINGS, resume=True, overwrite=True)
    handler._start(None)
    assert (folder / "checkpoint.pt").exists()
    handler._release(None, RuntimeError())


def test_one_trainer_may_run_again(folder: Path, models: Path) -> None:
    """As federated learning does, a round at a time."""
    handler = RunFolder(folder, models, SETTINGS)
    engine = Engine(lambda engine, batch: write_model(folder, f"{engine.state.epoch}", SETTINGS))
    handler.attach(engine)
    for _ in range(2):
        engine.run([0], max_epochs=1)
    assert (models / "model.pt").exists()


_HOLD = """
import sys
import filelock
lock = filelock.FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_training_at_once_is_refused_and_a_dead_one_does_not_block(folder: Path, models: Path) -> None:
    folder.mkdir()
    torn = folder / ".checkpoint.pt.abcdefgh.part"
    torn.write_text("being written")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder / LOCK_NAME)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        for options in ({}, {"resume": True}, {"overwrite": True}):
            refusals(folder, models, "another process is training in", **options)
        assert torn.exists()
        other.kill()
    assert (folder / LOCK_NAME).exists()
    train(folder, models)
    assert (models / "model.pt").exists()


def test_the_check_creates_nothing(tmp_path: Path, folder: Path) -> None:
    require_unused(folder, tmp_path, SETTINGS)
    assert list(tmp_path.iterdir()) == []
