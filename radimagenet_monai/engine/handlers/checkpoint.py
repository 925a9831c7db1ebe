"""Checkpoints from which a killed run resumes, and the best model of a run."""

from __future__ import annotations

import io
import logging
import math
import os
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import SmartCacheDataset
from torch import distributed, nn
from torch.optim import Optimizer

from radimagenet_monai.core.atomic import atomic_write_bytes
from radimagenet_monai.core.errors import ConfigurationError, WeightsError
from radimagenet_monai.core.plain_config import is_own
from radimagenet_monai.engine.distributed import is_distributed, process_count, rank, unwrap_network
from radimagenet_monai.engine.handlers.finite_loss import StopOnNonFiniteLoss
from radimagenet_monai.engine.handlers.run_record import hash_datalist
from radimagenet_monai.engine.schedule.epoch_position import epoch_batches, first_iteration, knows_place, samples_done
from radimagenet_monai.engine.stop_signal import STOPPED_STATUS, RunStopped, StopSignal
from radimagenet_monai.engine.trained.components import in_words, same_setting
from radimagenet_monai.engine.trained.confidence import FeatureCollector, calibration_facts, feature_facts
from radimagenet_monai.engine.trained.encoder_file import save_encoder
from radimagenet_monai.engine.trained.model_file import load_torch_file, save_model
from radimagenet_monai.engine.trained.plane import planes_of
from radimagenet_monai.statistics.predictions import PredictionTable, by_exam
from radimagenet_monai.statistics.thresholds import youden_threshold
from radimagenet_monai.weights.strict import load_strictly

logger = logging.getLogger(__name__)

CHECKPOINT_NAME = "checkpoint.pt"
FORMAT = 2
MAY_CHANGE = {"max_epochs", "bundle_version"}
"""Settings that a run may go on with another value of."""


class Stateful(Protocol):
    """Anything whose state can be saved and restored, such as a module or a scheduler."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain containers."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Restore a state from `state_dict`."""


class TrainingCheckpoint:
    """Handler that saves and restores everything a run needs to resume.

    It saves at the end of every epoch, every ``minutes`` within an epoch, and on SIGTERM, which schedulers send some
    time before they kill a job: the iteration is finished and saved, and all processes exit with status 75
    (`STOPPED_STATUS`). Within an epoch it saves after all other handlers of the iteration, and never between the
    batches of one optimizer step (``engine.state.gradients_pending``, see `TrainingStep`). A SIGTERM during
    validation takes effect when the epoch is complete.

    On the same machine with the same number of threads, a resumed run gives bit for bit the weights of an
    uninterrupted one: network, optimizer, scheduler, position in the epoch, best metric and random state are restored,
    and sample order, augmentation and dropout are functions of the seed and the position in the run. With another
    number of processes, the remaining samples of the epoch are divided among them; the size of the global batch, and
    with it the course of training, changes, which is logged.

    Attach it after validation and scheduler handlers, whose results it saves.

    Parameters
    ----------
    folder
        Folder for ``checkpoint.pt``; the first process replaces the file atomically.
    settings
        Settings that must not change between runs (architecture, classes, seed, ...). A checkpoint with other settings
        is refused; more epochs or another version of the bundle are allowed.
    data
        ``data`` of the training dataset, which must not change either.
    resume
        Restore the checkpoint at the start of the run. If there is none, the run starts from the beginning, so that a
        scheduler can always start a job with ``--resume true``.
    minutes
        Minutes between checkpoints within an epoch; 0 saves only at its end. Only with a loader made by `build_loader`;
        with others the run resumes from the end of an epoch, which is logged.
    also
        Further objects with a state, by name. Each is restored when the run starts, and again after all handlers have
        seen the start of a resumed epoch, since many of them reset there.
    loss_check
        After a NaN or infinite loss nothing more is saved, so that the last good checkpoint remains.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        network: nn.Module,
        optimizer: Optimizer,
        settings: dict[str, Any],
        data: Sequence[Mapping[str, Any]],
        lr_scheduler: Any = None,
        evaluator: Any = None,
        resume: bool = False,
        minutes: float = 0.0,
        also: Mapping[str, Stateful] | None = None,
        loss_check: StopOnNonFiniteLoss | None = None,
    ) -> None:
        if not 0 <= float(minutes) < math.inf:
            raise ConfigurationError(
                f"checkpoint_minutes {minutes}: expected minutes, or 0 for the ends of epochs only"
            )
        self.path = Path(folder) / CHECKPOINT_NAME
        self.network = network
        self.optimizer = optimizer
        self.settings = {**settings, "data": hash_datalist(data)}
        self.lr_scheduler = lr_scheduler
        self.evaluator = evaluator
        self.resume = bool(resume)
        self.minutes = float(minutes)
        self.also = dict(also or {})
        self.loss_check = loss_check
        self._stop = StopSignal()
        self._saved_at = 0.0
        self._restored: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save_epoch)
        engine.add_event_handler(Events.COMPLETED, self._end)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._end)

    def _start(self, engine: Any) -> None:
        if not engine.has_event_handler(self._save_iteration, Events.ITERATION_COMPLETED):
            # Added here, these run after all other handlers, in whatever order those were attached.
            engine.add_event_handler(Events.EPOCH_STARTED, self._restore_once_more)
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._save_iteration)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._stop_after_epoch)
            # Ignite drops an error unless a handler raises it again.
            engine.add_event_handler(Events.EXCEPTION_RAISED, _raise_again)
        self._restored = {}
        if rank() == 0:
            for torn in self.path.parent.glob(f".{CHECKPOINT_NAME}.*.part"):
                torn.unlink(missing_ok=True)  # left by a run that was killed while saving
        if knows_place(engine):
            epoch_batches(engine)
        elif rank() == 0:
            logger.warning("%s", _resume_by_epoch(engine.state.dataloader))
        self._restore(engine)
        self._saved_at = time.monotonic()
        self._stop.listen()

    def _end(self, engine: Any, error: BaseException | None = None) -> None:
        # When one process ends, the launcher sends SIGTERM to the others, which still have to report why.
        if error is None or not is_distributed():
            self._stop.ignore()

    def _save_iteration(self, engine: Any) -> None:
        stop = self._stop.agreed()
        if not knows_place(engine):
            return  # can resume only from the end of an epoch
        if getattr(engine.state, "gradients_pending", False) or engine.state.iteration % engine.state.epoch_length == 0:
            return
        samples = samples_done(engine)
        if stop or (self.minutes and time.monotonic() - self._saved_at >= 60 * self.minutes):
            self._save(engine, engine.state.epoch - 1, samples)
        if stop:
            self._end_run(_place(engine, engine.state.epoch, samples))

    def _save_epoch(self, engine: Any) -> None:
        self._save(engine, engine.state.epoch, 0)

    def _stop_after_epoch(self, engine: Any) -> None:
        if self._stop.agreed() and engine.state.epoch < engine.state.max_epochs:
            self._end_run(f"after epoch {engine.state.epoch}")

    def _end_run(self, place: str) -> None:
        if is_distributed():
            distributed.barrier()  # a launcher kills the others when one process ends: let the first one save
        if rank() == 0:
            logger.warning(
                "stopped by SIGTERM %s; %s is saved, go on with --resume true (exit status %d)",
                place,
                self.path,
                STOPPED_STATUS,
            )
        raise RunStopped

    def _save(self, engine: Any, finished_epochs: int, samples: int) -> None:
        self._saved_at = time.monotonic()
        if rank() != 0 or (self.loss_check is not None and not self.loss_check.all_finite()):
            return
        state: dict[str, Any] = {
            "format": FORMAT,
            "settings": self.settings,
            "epoch": finished_epochs,
            "samples": samples,
            "iteration": engine.state.iteration,
            "epoch_length": engine.state.epoch_length,
            "processes": process_count(),
            "network": unwrap_network(self.network).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": _random_state(),
            "also": {name: item.state_dict() for name, item in self.also.items()},
        }
        if self.lr_scheduler is not None:
            state["lr_scheduler"] = self.lr_scheduler.state_dict()
        if self.evaluator is not None:
            state["best_metric"] = float(self.evaluator.state.best_metric)
            state["best_metric_epoch"] = int(self.evaluator.state.best_metric_epoch)
        stream = io.BytesIO()
        torch.save(state, stream)
        atomic_write_bytes(self.path, stream.getvalue())

    def _restore(self, engine: Any) -> None:
        if not self.resume:
            return
        if not self.path.exists():
            logger.warning("no checkpoint at %s: training starts from the beginning", self.path)
            return
        state = load_torch_file(self.path)
        if not isinstance(state, dict) or "settings" not in state:
            raise WeightsError(f"{self.path} is not a checkpoint of a training run")
        # The first format, which saved only at the end of an epoch, had no number.
        if state.get("format", 1) > FORMAT:
            raise WeightsError(
                f"{self.path} has format {state['format']}, this version reads up to {FORMAT}; update radimagenet-monai"
            )
        _refuse_other_settings(self.path, state["settings"], self.settings)
        if "also" in state and state["also"].keys() != self.also.keys():
            raise ConfigurationError(
                f"{self.path} was saved with {_listed(state['also'])} beside network and optimizer, this run has "
                f"{_listed(self.also)}; go on with the same recipe, or give another --output_dir to start over"
            )
        load_strictly(unwrap_network(self.network), state["network"], self.path)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.lr_scheduler is not None and "lr_scheduler" in state:
            self.lr_scheduler.load_state_dict(state["lr_scheduler"])
        if self.evaluator is not None and "best_metric" in state:
            self.evaluator.state.best_metric = state["best_metric"]
            self.evaluator.state.best_metric_epoch = state["best_metric_epoch"]
        for name, item in state.get("also", {}).items():
            self.also[name].load_state_dict(item)
        self._restore_place(engine, state)
        _set_random_state(state["random"])

    def _restore_place(self, engine: Any, state: dict[str, Any]) -> None:
        epoch, samples = state["epoch"], state.get("samples", 0)
        if knows_place(engine):
            batches = epoch_batches(engine)
            batches.sampler.start_at(epoch + 1, samples)
            engine.state.iteration = first_iteration(engine, epoch, samples)
        elif samples or state["epoch_length"] != engine.state.epoch_length:
            raise ConfigurationError(
                f"{self.path} was saved with {state['epoch_length']} batches an epoch, {samples} samples into one; "
                f"this run has {engine.state.epoch_length}, and a loader that cannot start there; use build_loader"
            )
        else:
            engine.state.iteration = state["iteration"]
        engine.state.epoch = epoch
        if samples:
            self._restored = state.get("also", {})
        if rank() != 0:
            return
        place = _place(engine, epoch + 1, samples) if samples else f"after epoch {epoch}"
        logger.info("resumed %s of %d from %s", place, engine.state.max_epochs, self.path)
        before = state.get("processes", process_count())
        if before != process_count():
            logger.warning(
                "saved by %d process%s, this run has %d: each keeps its batch size, so a step is on %g times as many "
                "images, and steps are counted in this size from now on; a learning rate follows it only where the "
                "recipe has a reference_batch",
                before,
                "" if before == 1 else "es",
                process_count(),
                process_count() / before,
            )

    def _restore_once_more(self, engine: Any) -> None:
        restored, self._restored = self._restored, {}
        for name, item in restored.items():
            self.also[name].load_state_dict(item)


class BestModel:
    """Handler of an evaluator that writes ``model.pt`` whenever the key metric is the best so far.

    It also writes ``model.json``: the run's settings and, for two classes or findings, the decision thresholds that
    maximize Youden's index on the validation data, so that a threshold is never chosen on test data. For later answers
    it keeps, of the same data, a calibration of the probabilities and a summary of the encoder's features.

    Parameters
    ----------
    path
        Path of ``model.pt``.
    network, settings
        Network to save, and settings for ``model.json``.
    data, aggregate
        See `by_exam`; with ``aggregate``, thresholds are chosen per exam.
    findings
        Names of findings that may occur together.
    encoder_path
        Path for the encoder alone, as weights that every bundle accepts with ``--weights``. Networks of a library have
        none of our encoders and leave no such file.
    source
        Origin of the data, from `data_source`; a release uses it to describe them.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        network: nn.Module,
        settings: dict[str, Any],
        data: Sequence[Mapping[str, Any]] = (),
        aggregate: str = "none",
        findings: Sequence[str] | None = None,
        encoder_path: str | os.PathLike[str] | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.network = network
        self.settings = settings
        self.data = data
        self.aggregate = aggregate
        self.findings = list(findings or ())
        self.encoder_path = encoder_path
        self.source = source
        self._collector = FeatureCollector(unwrap_network(network))

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self)

    def _collect(self, engine: Any) -> None:
        self._collector.start()

    def __call__(self, engine: Any) -> None:
        self._collector.stop()
        if rank() != 0 or engine.state.best_metric_epoch != engine.state.epoch:
            return
        name = engine.state.key_metric_name
        facts = {**self.settings, "epoch": engine.state.epoch, name: float(engine.state.best_metric)}
        if self.source is not None:
            facts["source"] = dict(self.source)
        for metric, value in engine.state.metrics.items():
            facts.setdefault(metric, float(value))
        table = getattr(engine.state, "predictions", None)
        if table is not None:
            exams = by_exam(table, self.data, self.aggregate)
            facts |= self._chosen_thresholds(exams) | self._calibration(exams)
        if features := feature_facts(self._collector):
            facts["validation_features"] = features
        if planes := planes_of(self.data):
            facts["plane"] = planes[0] if len(planes) == 1 else planes
        network = unwrap_network(self.network)
        save_model(self.path, network, facts)
        if self.encoder_path is not None and is_own(self.settings.get("network_def")):
            save_encoder(self.encoder_path, network, facts)

    def _calibration(self, table: PredictionTable) -> dict[str, Any]:
        classes = list(self.settings.get("classes") or ())
        names = self.findings or (classes[1:] if len(classes) == 2 and table.probabilities.shape[1] == 2 else [])
        found = calibration_facts(table, names) if names else {}
        return {"calibration": found} if found else {}

    def _chosen_thresholds(self, table: PredictionTable) -> dict[str, Any]:
        rule = {"threshold_rule": "maximizes Youden's index on the validation split"}
        labels = np.asarray(table.labels)
        if self.findings:
            thresholds = {}
            for column, name in enumerate(self.findings):
                known = ~np.isnan(labels[:, column])
                truth = labels[known, column].astype(int)
                if len(np.unique(truth)) == 2:
                    thresholds[name] = youden_threshold(truth, table.probabilities[known, column]).threshold
            return {"thresholds": thresholds, **rule}
        if table.probabilities.shape[1] != 2:
            return {}
        chosen = youden_threshold(labels, table.probabilities[:, 1])
        return {
            "threshold": chosen.threshold,
            **rule,
            "validation_sensitivity": chosen.sensitivity,
            "validation_specificity": chosen.specificity,
        }


def _place(engine: Any, epoch: int, samples: int) -> str:
    return f"after {samples} of {engine.state.dataloader.sampler.length} samples of epoch {epoch}"


def _resume_by_epoch(loader: Any) -> str:
    """How a run on a loader that was not made by `build_loader` resumes, in one line."""
    dataset = getattr(loader, "dataset", None)
    inexact = isinstance(dataset, SmartCacheDataset) or getattr(loader, "persistent_workers", False)
    why = "; its images differ from those of an uninterrupted run, since it keeps a state of its own" if inexact else ""
    names = f"{type(loader).__name__} of a {type(dataset).__name__}"
    return f"the trainer reads from a {names}: checkpoints are saved and resumed at the ends of epochs only{why}"


def _raise_again(engine: Any, error: BaseException) -> None:
    raise error


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _refuse_other_settings(path: Path, saved: dict[str, Any], current: dict[str, Any]) -> None:
    # Settings that an earlier version did not save cannot be compared.
    compared = [name for name in current if name in saved and name not in MAY_CHANGE]
    different = [name for name in compared if not same_setting(name, saved[name], current[name])]
    if "data" in different:
        raise ConfigurationError(
            f"{path} was saved in a run on other training records; resume with the same ones, or give another "
            "--output_dir to start over"
        )
    if different:
        name = different[0]
        if any(isinstance(settings.get(name), dict) for settings in (saved, current)):
            before, now = in_short(saved.get(name)), in_short(current[name])
            now = "other options of it" if now == before else now
            raise ConfigurationError(
                f"{path} was saved with another {name} ({before}), this run has "
                f"{now}; give the options and config files of that run to go on, or another "
                "--output_dir to start over"
            )
        raise ConfigurationError(
            f"{path} was saved with {name}={saved[name]!r}, this run has {name}={current[name]!r}; "
            f"give --{name} {saved[name]!r} to go on, or another --output_dir to start over"
        )


def in_short(setting: Any) -> str:
    """A setting for an error: a component as a call, names of transforms instead of all their options."""
    if isinstance(setting, dict) and "_target_" in setting:
        return in_words(setting)
    if isinstance(setting, dict) and "steps" in setting:
        return ", ".join(map(str, setting["steps"]))
    if isinstance(setting, dict) and "class" in setting:
        return str(setting["class"]).rpartition(".")[2]
    return "the bundle's own" if setting is None else repr(setting)


def _random_state() -> dict[str, Any]:
    version, internal, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002 - the state set_determinism seeds
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
        "python": [version, list(internal), gauss],
    }


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002 - as above
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
