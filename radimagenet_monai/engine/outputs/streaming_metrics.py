"""Metrics for many classes, accumulated per batch: no prediction table, and exact for any number of processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from ignite.metrics.metric import MetricUsage

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.engine.distributed import is_distributed, sum_over_processes
from radimagenet_monai.statistics.predictions import PredictionTable
from radimagenet_monai.statistics.streaming.counts import StreamingCounts
from radimagenet_monai.statistics.streaming.evaluation import balanced_accuracy_of, macro_auc_of

MEASURES: dict[str, Callable[[StreamingCounts], float]] = {
    "balanced_accuracy": balanced_accuracy_of,
    "top1": lambda counts: int(counts.top1.sum()) / counts.images,
    "top5": lambda counts: int(counts.top5.sum()) / counts.images,
    "auc": macro_auc_of,
}
"""What a `StreamingMetric` can be: a share in [0, 1], higher is better."""


def predicted(engine: Any) -> PredictionTable:
    """The predictions of an evaluator's current iteration, as float32.

    Parameters
    ----------
    engine
        A ``SupervisedEvaluator`` whose batches hold ``index`` and whose ``pred`` already holds probabilities: with
        ``decollate=False``, which is much faster, or with MONAI's lists of dictionaries.
    """
    batch, output = engine.state.batch, engine.state.output
    if not isinstance(output, Mapping):
        labels = [item.get("label") for item in output]
        output = {
            "pred": torch.stack([item["pred"] for item in output]),
            "label": None if any(label is None for label in labels) else torch.as_tensor(labels),
        }
        batch = {"index": [int(item["index"]) for item in batch]}
    label = output.get("label")
    return PredictionTable(
        index=np.asarray(torch.as_tensor(batch["index"]).cpu(), dtype=np.int64),
        labels=None if label is None else np.asarray(torch.as_tensor(label).cpu(), dtype=np.int64).reshape(-1),
        probabilities=np.asarray(output["pred"].detach().float().cpu()),
    )


class CountCollector:
    """Handler that leaves the `StreamingCounts` of each pass in ``engine.state.counts``.

    With several processes, each gets the sum over all of them, which equals the count of a single process; each image
    must go to one process only, as with `radimagenet_monai.loading.EpochSampler`.

    Raises
    ------
    RecordsError
        During the run, if images have no labels.
    """

    def __init__(self) -> None:
        self._counts: StreamingCounts | None = None

    def attach(self, engine: Engine) -> None:
        if getattr(engine, "_counts_predictions", False):
            return  # several metrics and writers share one collector
        engine._counts_predictions = True  # type: ignore[attr-defined]  # several metrics share one
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Any) -> None:
        self._counts = engine.state.counts = None

    def _count(self, engine: Any) -> None:
        found = predicted(engine)
        if found.labels is None:
            raise RecordsError("the records have no labels; accuracy and areas under the ROC curve need them")
        if self._counts is None:
            self._counts = StreamingCounts(found.probabilities.shape[1])
        self._counts.update(found.labels, found.probabilities)

    def _finish(self, engine: Any) -> None:
        if self._counts is None:
            raise RecordsError("no image was evaluated; expected at least one for each process")
        if is_distributed():
            # NCCL adds on the GPU, gloo in this very memory.
            summed = sum_over_processes(torch.from_numpy(self._counts.flat).to(engine.state.device))
            np.copyto(self._counts.flat, summed.cpu().numpy())
        engine.state.counts = self._counts


class StreamingMetric(Metric):
    """A metric over many classes, as an ignite metric. Several on one engine share their counts.

    Parameters
    ----------
    measure
        Name of one of `MEASURES`.

    Raises
    ------
    ConfigurationError
        For an unknown name.
    """

    def __init__(self, measure: str) -> None:
        if measure not in MEASURES:
            raise ConfigurationError(f"measure '{measure}' is unknown; expected one of {', '.join(MEASURES)}")
        self.measure = measure
        self._engine: Any = None
        super().__init__()

    def attach(self, engine: Engine, name: str, usage: str | MetricUsage = "epoch_wise") -> None:
        self._engine = engine
        CountCollector().attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.completed, name)

    def reset(self) -> None:
        """Nothing to do: the collector starts over by itself."""

    def update(self, output: Any) -> None:
        """Nothing to do: the collector reads batch and output together."""

    def compute(self) -> float:
        return MEASURES[self.measure](self._engine.state.counts)
