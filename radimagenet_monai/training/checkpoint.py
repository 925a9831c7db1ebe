"""Checkpoints a killed run goes on from, and the best model of a run."""

from __future__ import annotations

import io
import logging
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim import Optimizer

from radimagenet_monai.errors import ConfigurationError, WeightsError
from radimagenet_monai.evaluation.thresholds import youden_threshold
from radimagenet_monai.io.atomic import atomic_write_bytes
from radimagenet_monai.training.distributed import rank, unwrap_network
from radimagenet_monai.training.encoder_file import save_encoder
from radimagenet_monai.training.model_file import load_torch_file, save_model
from radimagenet_monai.training.predictions import PredictionTable, by_exam
from radimagenet_monai.training.run_record import hash_datalist
from radimagenet_monai.weights.strict import load_strictly

logger = logging.getLogger(__name__)

CHECKPOINT_NAME = "checkpoint.pt"
_MAY_CHANGE = {"max_epochs", "bundle_version"}


class TrainingCheckpoint:
    """Handler that saves everything a run needs to go on, at the end of every epoch, and restores it.

    A resumed run gives, on the same machine and number of threads, bit for bit the weights of one that was never
    stopped: network, optimizer, scheduler, epoch, best metric and random state are restored, and the order of
    samples, augmentation and dropout are functions of the seed and the place in the run.

    Attach it after validation and scheduler handlers, whose results it saves.

    Parameters
    ----------
    folder
        Where ``checkpoint.pt`` is kept; it is replaced atomically.
    settings
        What must not change between the runs (architecture, classes, seed, ...). A checkpoint with other settings is
        refused; more epochs and another version of the bundle are welcome.
    data
        ``data`` of the training dataset, which must not change either.
    resume
        Restore the checkpoint at the start of the run. Without one the run starts from the beginning, so that a
        scheduler may always start a job with ``--resume true``.
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
    ) -> None:
        self.path = Path(folder) / CHECKPOINT_NAME
        self.network = network
        self.optimizer = optimizer
        self.settings = {**settings, "data": hash_datalist(data)}
        self.lr_scheduler = lr_scheduler
        self.evaluator = evaluator
        self.resume = bool(resume)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._restore)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def _save(self, engine: Any) -> None:
        if rank() != 0:
            return
        state: dict[str, Any] = {
            "settings": self.settings,
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "epoch_length": engine.state.epoch_length,
            "network": unwrap_network(self.network).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": _random_state(),
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
        _refuse_other_settings(self.path, state["settings"], self.settings)
        if state["epoch_length"] != engine.state.epoch_length:
            raise ConfigurationError(
                f"{self.path} was saved with {state['epoch_length']} batches an epoch, this run has "
                f"{engine.state.epoch_length}; resume with the same records, batch size and number of processes"
            )
        load_strictly(unwrap_network(self.network), state["network"], self.path)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.lr_scheduler is not None and "lr_scheduler" in state:
            self.lr_scheduler.load_state_dict(state["lr_scheduler"])
        if self.evaluator is not None and "best_metric" in state:
            self.evaluator.state.best_metric = state["best_metric"]
            self.evaluator.state.best_metric_epoch = state["best_metric_epoch"]
        engine.state.epoch = state["epoch"]
        engine.state.iteration = state["iteration"]
        _set_random_state(state["random"])
        logger.info("resumed after epoch %d of %d from %s", state["epoch"], engine.state.max_epochs, self.path)


class BestModel:
    """Handler of an evaluator that writes ``model.pt`` whenever the key metric is the best so far.

    Beside it goes ``model.json``: the run's settings and, for two classes or for findings, the decision thresholds that
    maximize Youden's index on the validation data, so that a threshold is never chosen on test data.

    Parameters
    ----------
    path
        Of ``model.pt``.
    network, settings
        What is saved, and what is said of it.
    data, aggregate
        As for `by_exam`: thresholds are chosen for exams where exams are what is decided on.
    findings
        Names of findings that may occur together.
    encoder_path
        Where to write the encoder by itself, as weights that every bundle takes with ``--weights``.
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
    ) -> None:
        self.path = Path(path)
        self.network = network
        self.settings = settings
        self.data = data
        self.aggregate = aggregate
        self.findings = list(findings or ())
        self.encoder_path = encoder_path

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        if rank() != 0 or engine.state.best_metric_epoch != engine.state.epoch:
            return
        name = engine.state.key_metric_name
        facts = {**self.settings, "epoch": engine.state.epoch, name: float(engine.state.best_metric)}
        for metric, value in engine.state.metrics.items():
            facts.setdefault(metric, float(value))
        table = getattr(engine.state, "predictions", None)
        if table is not None:
            facts |= self._chosen_thresholds(by_exam(table, self.data, self.aggregate))
        network = unwrap_network(self.network)
        save_model(self.path, network, facts)
        if self.encoder_path is not None:
            save_encoder(self.encoder_path, network, facts)

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


def _refuse_other_settings(path: Path, saved: dict[str, Any], current: dict[str, Any]) -> None:
    different = [name for name in current if name not in _MAY_CHANGE and saved.get(name) != current[name]]
    if "data" in different:
        raise ConfigurationError(
            f"{path} was saved in a run on other training records; resume with the same ones, or give another "
            "--output_dir to start anew"
        )
    if different:
        name = different[0]
        raise ConfigurationError(
            f"{path} was saved with {name}={saved.get(name)!r}, this run has {name}={current[name]!r}; "
            f"give --{name} {saved.get(name)!r} to go on, or another --output_dir to start anew"
        )


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
