"""Collecting an engine's predictions: the table behind metrics, operating points and output files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from ignite.metrics.metric import MetricUsage
from sklearn.metrics import roc_auc_score

from radimagenet_monai.errors import RecordsError
from radimagenet_monai.training.distributed import gather_objects


@dataclass(frozen=True)
class PredictionTable:
    """Predictions of one pass, ordered by ``index``, each image once.

    ``index`` (N,) is the place in the dataset's ``data``; ``probabilities`` (N, classes) sum to one a row;
    ``labels`` (N,) are class indices, or ``None`` where there are none.
    """

    index: np.ndarray
    probabilities: np.ndarray
    labels: np.ndarray | None


class PredictionCollector:
    """Handler that leaves a `PredictionTable` in ``engine.state.predictions`` after each pass.

    Expects MONAI's decollated output, with ``pred`` already probabilities, and ``index`` in the batch. In a run of
    several processes every one gets the whole table.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[int, np.ndarray, int | None]] = []

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
                    None if label is None else int(label),
                )
            )

    def _finish(self, engine: Any) -> None:
        rows = {row[0]: row for part in gather_objects(self._rows) for row in part}
        ordered = [rows[index] for index in sorted(rows)]
        labels = [row[2] for row in ordered]
        engine.state.predictions = PredictionTable(
            index=np.array([row[0] for row in ordered], dtype=np.int64),
            probabilities=np.stack([row[1] for row in ordered]) if ordered else np.empty((0, 0)),
            labels=None if any(label is None for label in labels) else np.array(labels, dtype=np.int64),
        )


class AreaUnderROC(Metric):
    """Area under the ROC curve of a `PredictionTable`, as an ignite metric; macro one-versus-rest for many classes.

    Raises
    ------
    RecordsError
        Where the labels hold a single class: the area is not defined then.
    """

    def __init__(self) -> None:
        self._collector = PredictionCollector()
        self._engine: Any = None
        super().__init__()

    def attach(self, engine: Engine, name: str, usage: str | MetricUsage = "epoch_wise") -> None:
        self._engine = engine
        self._collector.attach(engine)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.completed, name)

    def reset(self) -> None:
        """Nothing to do: the collector starts over by itself."""

    def update(self, output: Any) -> None:
        """Nothing to do: the collector reads batch and output together."""

    def compute(self) -> float:
        return area_under_roc(self._engine.state.predictions)


def area_under_roc(table: PredictionTable) -> float:
    """Area under the ROC curve of the last class (two classes), or the macro one-versus-rest mean."""
    if table.labels is None:
        raise RecordsError("the records have no labels; the area under the ROC curve needs them")
    classes = table.probabilities.shape[1]
    present = np.unique(table.labels)
    if len(present) < 2 or (classes > 2 and len(present) < classes):
        raise RecordsError(
            f"the evaluated split holds only the class indices {present.tolist()} of {classes}; "
            "the area under the ROC curve needs images of every class"
        )
    if classes == 2:
        return float(roc_auc_score(table.labels, table.probabilities[:, 1]))
    return float(roc_auc_score(table.labels, table.probabilities, multi_class="ovr", average="macro"))
