"""The folder of a training run: used by one run at a time and never overwritten unless requested."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock
from ignite.engine import Engine, Events

from radimagenet_monai.core.atomic import atomic_copy
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.named_roots import without_folders
from radimagenet_monai.engine.distributed import gather_objects, rank
from radimagenet_monai.engine.handlers.checkpoint import CHECKPOINT_NAME, MAY_CHANGE, in_short
from radimagenet_monai.engine.trained.components import same_setting
from radimagenet_monai.engine.trained.stated_facts import state_trained_facts

logger = logging.getLogger(__name__)

LOCK_NAME = ".training.lock"
MODEL_NAME, FACTS_NAME, ENCODER_NAME = "model.pt", "model.json", "encoder.safetensors"
_RESULTS = (MODEL_NAME, FACTS_NAME, ENCODER_NAME)


class RunFolder:
    """Handler that guards the folder of a run, and copies the trained model to the bundle when the run ends.

    Attach it as the first handler of the trainer. When the run starts it takes a lock, which the system releases
    however the process ends, and then refuses a used folder like `require_unused`. When the run is complete,
    ``model.pt``, ``model.json`` and, for pretraining, ``encoder.safetensors`` are copied into ``models``, each
    atomically, and the bundle's configs state what the training decided (`state_trained_facts`). A run that is stopped,
    fails or is killed leaves the bundle unchanged.

    Parameters
    ----------
    folder
        Output folder of the run.
    models
        The bundle's ``models`` folder.
    settings
        The run's settings, JSON-serializable, as saved by `BestModel`.
    resume, overwrite
        Whether to continue from a checkpoint, and whether to replace an earlier run.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        models: str | os.PathLike[str],
        settings: Mapping[str, Any],
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.models = Path(models)
        self.settings = dict(settings)
        self.resume = bool(resume)
        self.overwrite = bool(overwrite)
        self._lock = filelock.FileLock(self.folder / LOCK_NAME)
        self._is_ours = False

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.COMPLETED, self._publish)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._release)

    def _start(self, engine: Any) -> None:
        problem = ""
        if rank() == 0:
            try:
                self._claim()
            except (ConfigurationError, OSError) as error:
                problem = str(error)
        _raise_everywhere(problem)

    def _claim(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise ConfigurationError(_in_use(self.folder)) from None
        if self._is_ours:
            return  # run again by the same trainer, as in federated learning
        problem = _used(self.folder, self.models, self.settings, self.resume, self.overwrite)
        if problem:
            self._lock.release()
            raise ConfigurationError(problem)
        if self.overwrite and not (self.resume and (self.folder / CHECKPOINT_NAME).exists()):
            for name in (CHECKPOINT_NAME, *_RESULTS):
                (self.folder / name).unlink(missing_ok=True)
        self._is_ours = True

    def _publish(self, engine: Any) -> None:
        if rank() == 0:
            try:
                for name in _RESULTS:
                    source, target = self.folder / name, self.models / name
                    if source.is_file() and not (target.exists() and source.samefile(target)):
                        atomic_copy(source, target)
                self._state_facts()
            finally:
                self._lock.release()

    def _state_facts(self) -> None:
        """Also in the bundle's configs and documents; a bundle that cannot be written still has its model."""
        try:
            state_trained_facts(self.models.parent)
        except OSError as error:
            logger.warning("what this training decided stays in %s alone: %s", self.models / FACTS_NAME, error)

    def _release(self, engine: Any, error: BaseException) -> None:
        # Called before the handler that records the failure and raises it again.
        if rank() == 0:
            self._lock.release()


def require_unused(
    folder: str | os.PathLike[str],
    bundle_root: str | os.PathLike[str],
    settings: Mapping[str, Any],
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Refuse a training run that would replace another, before its images are packed. Creates nothing.

    Parameters
    ----------
    folder
        Output folder of the run.
    bundle_root
        Bundle folder, whose ``models`` receives the trained model.
    settings, resume, overwrite
        See `RunFolder`.

    Raises
    ------
    ConfigurationError
        If another process is training in ``folder``; if ``folder`` holds a checkpoint or a trained model and neither
        ``resume`` nor ``overwrite`` is set; or if the bundle holds the model of a run with other settings, or of a
        finished run that is not being resumed, and ``overwrite`` is not set.
    """
    problem = ""
    if rank() == 0:
        folder = Path(folder)
        problem = _in_use(folder) if _is_locked(folder) else ""
        problem = problem or _used(folder, Path(bundle_root) / "models", settings, resume, overwrite)
    _raise_everywhere(problem)


def _raise_everywhere(problem: str) -> None:
    """Raise the first process's error in all processes, so that none waits for it."""
    problem = gather_objects(problem)[0]
    if problem:
        raise ConfigurationError(problem)


def _is_locked(folder: Path) -> bool:
    path = folder / LOCK_NAME
    if not path.exists():
        return False
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return True
    except OSError:
        return False  # not writable, which is reported elsewhere
    lock.release()
    return False


def _in_use(folder: Path) -> str:
    return f"another process is training in '{folder}'; wait until it ends, or give another --output_dir"


def _used(folder: Path, models: Path, settings: Mapping[str, Any], resume: bool, overwrite: bool) -> str:
    """Why a run must not start, or an empty string."""
    has_checkpoint = (folder / CHECKPOINT_NAME).exists()
    if not overwrite and not resume:
        for name in (CHECKPOINT_NAME, MODEL_NAME):
            if (folder / name).exists():
                return (
                    f"'{folder}' holds {name} of an earlier training; give --resume true to go on with it, --overwrite "
                    "true to replace it, or another --output_dir"
                )
    if overwrite or not (models / MODEL_NAME).exists():
        return ""
    model = models / MODEL_NAME
    if resume and has_checkpoint:
        # Whether this run may resume from the checkpoint is checked when the checkpoint is read.
        own = _read_facts(folder / FACTS_NAME) or {}
        if own and not _other_setting(models / FACTS_NAME, {name: own[name] for name in settings if name in own}):
            return ""
    different = _other_setting(models / FACTS_NAME, settings)
    if different:
        return (
            f"'{model}' was trained with {different}; give --overwrite true to replace it when this run ends, or train "
            "in a copy of the bundle"
        )
    if resume and has_checkpoint:
        return ""
    return (
        f"'{model}' was trained with the same settings, and '{folder}' has no checkpoint to go on from; give "
        "--overwrite true to train it again"
    )


def _other_setting(facts: Path, settings: Mapping[str, Any]) -> str:
    """Describe the first setting in which a trained model differs from this run."""
    known = _read_facts(facts)
    if known is None:
        return "unknown settings, since it has no readable model.json"
    # Without folders, as the facts were saved.
    for name, value in json.loads(json.dumps(without_folders(dict(settings)), default=str)).items():
        # Settings that an earlier version did not save cannot be compared.
        if name in known and name not in MAY_CHANGE and not same_setting(name, known[name], value):
            if any(isinstance(setting, dict) for setting in (known[name], value)):
                before, now = in_short(known[name]), in_short(value)
                now = "other options of it" if now == before else now
                return f"another {name} ({before}), and this run has {now}"
            return f"{name}={known.get(name)!r}, and this run has {name}={value!r}"
    return ""


def _read_facts(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
