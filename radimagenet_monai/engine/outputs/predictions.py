"""Collecting an engine's predictions, and metrics of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from ignite.metrics.metric import MetricUsage

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.engine.distributed import gather_objects
from radimagenet_monai.statistics.multiclass import class_aucs
from radimagenet_monai.statistics.predictions import PredictionTable, by_exam, check_exam_rule, known_labels


class PredictionCollector:
    """Handler that stores a `PredictionTable` in ``engine.state.predictions`` after each pass.

    Expects MONAI's decollated output with probabilities in ``pred``, and ``index`` in the batch. With several
    processes, each gets the whole table. ``exclusive=False`` is for findings that may occur together.
    """

    def __init__(self, exclusive: bool = True) -> None:
        self.exclusive = exclusive
        self._rows: list[tuple[int, np.ndarray, Any]] = []

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Any) -> None:
        self._rows = []

    def _collect(self, engine: Any) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            label = output.get("label")
            self._rows.append(
                (
                    int(item["index"]),
                    np.asarray(output["pred"].detach().float().cpu(), dtype=np.float64).reshape(-1),
                    None if label is None else np.asarray(torch.as_tensor(label).cpu()).reshape(-1),
                )
            )

    def _finish(self, engine: Any) -> None:
        rows = {row[0]: row for part in gather_objects(self._rows) for row in part}
        ordered = [rows[index] for index in sorted(rows)]
        labels = [row[2] for row in ordered]
        joined = None if any(label is None for label in labels) else _joined(labels)
        engine.state.predictions = PredictionTable(
            index=np.array([row[0] for row in ordered], dtype=np.int64),
            probabilities=np.stack([row[1] for row in ordered]) if ordered else np.empty((0, 0)),
            labels=joined,
            exclusive=self.exclusive and (joined is None or joined.ndim == 1),
        )


def _joined(labels: list[np.ndarray]) -> np.ndarray:
    """Class indices ``(N,)`` if every label is one integer, otherwise findings ``(N, findings)``."""
    if not labels:
        return np.empty(0, np.int64)
    stacked = np.stack(labels)
    return stacked.astype(np.float64) if stacked.dtype.kind == "f" else stacked[:, 0].astype(np.int64)


class PredictionMetric(Metric):
    """A metric computed from the `PredictionTable` of a pass, as an ignite metric.

    Parameters
    ----------
    data
        ``data`` of the dataset, needed for `by_exam`.
    aggregate
        Rule of `by_exam`.
    """

    measure: Callable[[PredictionTable], float]

    def __init__(self, data: Sequence[Mapping[str, Any]] = (), aggregate: str = "none") -> None:
        self._collector = PredictionCollector()
        self._engine: Any = None
        self._data = data
        self.aggregate = aggregate
        check_exam_rule(aggregate)
        super().__init__()

    def attach(self, engine: Engine, name: str, usage: str | MetricUsage = "epoch_wise") -> None:
        self._engine = engine
        if not hasattr(engine, "_collects_predictions"):
            engine._collects_predictions = True  # type: ignore[attr-defined]  # several metrics share one table
            self._collector.attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.completed, name)

    def reset(self) -> None:
        """Nothing to do: the collector starts over by itself."""

    def update(self, output: Any) -> None:
        """Nothing to do: the collector reads batch and output together."""

    def compute(self) -> float:
        return type(self).measure(by_exam(self._engine.state.predictions, self._data, self.aggregate))


def area_under_roc(table: PredictionTable) -> float:
    """Area under the ROC curve of the last of two classes, of the first finding, or the macro mean.

    The macro mean is taken over the classes that have images, each against all others.

    Raises
    ------
    RecordsError
        If it is undefined: no labels, or a single class.
    """
    labels = known_labels(table)
    if not table.exclusive:
        known = ~np.isnan(labels[:, 0])
        scores = table.probabilities[known, 0]
        areas = class_aucs(labels[known, 0].astype(np.int64), np.stack([1 - scores, scores], axis=1))
    else:
        areas = class_aucs(labels, table.probabilities)
    if not table.exclusive or areas.size == 2:
        areas = areas[-1:]
    if np.isnan(areas).all():
        found = np.unique(labels if table.exclusive else labels[:, 0]).astype(int).tolist()
        raise RecordsError(
            f"the evaluated split holds only the class indices {found} of {table.probabilities.shape[1]}; "
            "the area under the ROC curve needs images of every class"
        )
    return float(np.nanmean(areas))


class AreaUnderROC(PredictionMetric):
    """`area_under_roc` of a pass."""

    measure = staticmethod(area_under_roc)
