"""``run.json``: what was run, with which versions, data and weights, on which machine, and how it ended."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import one_line
from radimagenet_monai.core.named_roots import without_folders
from radimagenet_monai.core.plain_config import is_own
from radimagenet_monai.datasets.records.data_source import described, source_of_bundle
from radimagenet_monai.datasets.records.table import frame_number
from radimagenet_monai.engine.distributed import rank, unwrap_network
from radimagenet_monai.engine.start.config_keys import evaluating_parser
from radimagenet_monai.engine.start.label_run import is_label_run
from radimagenet_monai.engine.stop_signal import RunStopped
from radimagenet_monai.engine.trained.model_file import trained_fact
from radimagenet_monai.store.sealed.records import SealedRecords

RUN_FILE = "run.json"

_PACKAGES = (
    "radimagenet-monai",
    "monai",
    "torch",
    "pytorch-ignite",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pydicom",
    "nibabel",
    "opencv-python-headless",
)


class RunRecord:
    """Handler that keeps ``run.json`` up to date from the start of a run to its end, even if the run fails.

    No local path is written; a weight file is recorded by name.

    Attach it after `MeasuredRates` and `Throughput`, whose figures it records.

    Parameters
    ----------
    folder
        Folder for ``run.json``.
    settings
        The run's settings, JSON-serializable.
    network
        Network whose initial parameters and buffers are hashed, to record the initialization.
    data
        The dataset's list of dictionaries; hashed by `hash_datalist`.
    evaluator
        Evaluator whose best key metric is recorded.
    weights
        Name and hashes of the initialization, from `radimagenet_monai.weights.identify_weights`.
    source
        Origin of the data, from `data_source`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: Mapping[str, Any],
        network: nn.Module,
        data: Sequence[Mapping[str, Any]],
        evaluator: Any = None,
        weights: Mapping[str, str] | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(folder) / RUN_FILE
        self.record: dict[str, Any] = {"settings": dict(settings)}
        if "continued_from" in settings:
            self.record["weights"] = {"name": settings.get("weights"), "continued_from": settings["continued_from"]}
        elif weights is not None and is_own(settings.get("network_def")):
            self.record["weights"] = dict(weights)
        if source is not None:
            self.record["source"] = dict(source)
        self.network = network
        self.data = data
        self.evaluator = evaluator
        self._started = 0.0
        self._epoch_started = 0.0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._epoch_start)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._epoch_end)
        engine.add_event_handler(Events.COMPLETED, self._end)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    def _start(self, engine: Any) -> None:
        self._started = time.monotonic()
        self.record.update(
            status="running",
            started=_now(),
            versions=package_versions(),
            hardware=hardware(),
            processes=torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1,
            threads=torch.get_num_threads(),
            images=len(self.data),
            data_sha256=hash_datalist(self.data),
            weights_sha256=hash_state(unwrap_network(self.network)),
            # Position at which a resumed run continued.
            first_epoch=engine.state.epoch + 1,
            epoch_seconds=[],
        )
        # Set by handlers attached before this one.
        if hasattr(engine.state, "rates"):
            self.record["rates"] = _rounded(engine.state.rates)
        self._write()

    def _epoch_start(self, engine: Any) -> None:
        self._epoch_started = time.monotonic()

    def _epoch_end(self, engine: Any) -> None:
        self.record["epoch_seconds"].append(round(time.monotonic() - self._epoch_started, 3))
        self.record["epochs"] = engine.state.epoch
        if hasattr(engine.state, "throughput"):
            self.record.setdefault("throughput", []).append(_rounded(engine.state.throughput))
        if self.evaluator is not None:
            known = self.evaluator.state
            self.record["best_metric"] = {
                "name": known.key_metric_name,
                "value": known.best_metric,
                "epoch": known.best_metric_epoch,
            }
        self._write()

    def _end(self, engine: Any) -> None:
        self.record.update(status="completed", ended=_now(), seconds=round(time.monotonic() - self._started, 3))
        self._write()

    def _fail(self, engine: Any, error: BaseException) -> None:
        stopped = isinstance(error, RunStopped)
        self.record.update(status="stopped" if stopped else "failed", ended=_now())
        if not stopped:
            self.record["error"] = one_line(f"{type(error).__name__}: {error}")
        if "started" in self.record:  # otherwise the folder may belong to another run
            # Report the error that ended the run, even if this write fails too: the disk may be the cause.
            with contextlib.suppress(OSError):
                self._write()
        raise error

    def _write(self) -> None:
        if rank() == 0:
            record = without_folders(json.loads(json.dumps(self.record, default=str)))
            atomic_write_text(self.path, json.dumps(record, indent=2) + "\n")


def data_source(
    task: str, dataset_dir: str | os.PathLike[str], datalist: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """Which reader prepared the data of a bundle run, in the form of `source_of_bundle`."""
    if is_label_run(evaluating_parser()):
        return {"table": "label files of a client", "reader": None, "options": {}, "left_out": {}}
    return source_of_bundle(get_task(task), dataset_dir, datalist)


def expected_body_parts(task: str, model: str | os.PathLike[str]) -> list[str]:
    """Body regions that a trained model expects: the task's, or none if it was trained on the user's own data.

    Parameters
    ----------
    task
        Name of the bundle's task.
    model
        See `trained_fact`.
    """
    own = get_task(task)
    source = trained_fact(model, "source", None)
    if source is None:
        return list(own.body_parts)
    return list(described(own, trained_fact(model, "classes", list(own.classes)), source)[0].body_parts)


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def hardware() -> dict[str, Any]:
    """Processor and accelerators of this machine, without host or user name."""
    return {
        "platform": platform.platform(),
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def hash_datalist(data: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 over file name, frame, label, content hash and masks of every item, in order.

    File names are hashed without their folder, so that the same data elsewhere have the same hash. The records of a
    sealed store are hashed by column (`SealedRecords.sha256`), which gives a different value but takes a fraction of a
    second for a million records.
    """
    if isinstance(data, SealedRecords):
        return data.sha256()
    digest = hashlib.sha256()
    for item in data:
        row = [Path(str(item["image"])).name, frame_number(item), item.get("label"), item.get("sha256") or ""]
        if item.get("plane", "stored") != "stored":
            row.append(item["plane"])
        row += [Path(str(mask)).name for mask in item.get("mask") or ()]
        digest.update(json.dumps(row, default=str).encode())
    return digest.hexdigest()


def hash_state(network: nn.Module) -> str:
    """SHA-256 over names and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _rounded(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else float(f"{value:.4g}") for name, value in figures.items()}


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
