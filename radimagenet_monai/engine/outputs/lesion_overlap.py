"""Mean Dice of the lesion over a pass, as an ignite metric."""

from __future__ import annotations

from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from ignite.metrics import Metric
from ignite.metrics.metric import MetricUsage

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.engine.distributed import gather_objects
from radimagenet_monai.statistics.overlap.segmentation import Overlap, evaluate_segmentation, measure_overlap

LESION = 1
"""Channel of the lesion in a segmenter's output; 0 is background."""


class LesionDice(Metric):
    """Mean Dice over the images with a lesion, at the network's input size.

    Expects MONAI's decollated output: ``pred`` (2, H, W) as probabilities, ``label`` (1, H, W) of 0 and 1, and
    ``index`` in the batch. A pixel is lesion if its probability is at least ``threshold``. Exact over several
    processes, even with uneven last batches.

    Raises
    ------
    RecordsError
        If no image in the split has a lesion.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold
        self._overlaps: list[tuple[int, Overlap]] = []
        super().__init__()

    def attach(self, engine: Engine, name: str, usage: str | MetricUsage = "epoch_wise") -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, lambda _: self.reset())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.completed, name)

    def reset(self) -> None:
        """Forget what was collected."""
        self._overlaps = []

    def update(self, output: Any) -> None:
        """Nothing to do: batch and output are read together."""

    def _collect(self, engine: Any) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            found = np.asarray(output["pred"][LESION].detach().float().cpu()) >= self.threshold
            true = np.asarray(output["label"][0].detach().cpu())
            self._overlaps.append((int(item["index"]), measure_overlap(found, true)))

    def compute(self) -> float:
        overlaps = {index: overlap for part in gather_objects(self._overlaps) for index, overlap in part}
        mean = evaluate_segmentation([overlaps[index] for index in sorted(overlaps)]).dice.mean
        if mean is None:
            raise RecordsError("no image of the validation split has a lesion, so Dice is not defined; check the masks")
        return mean
