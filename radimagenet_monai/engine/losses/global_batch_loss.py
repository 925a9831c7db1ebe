"""Equal weight for each image in uneven last batches of several processes."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import Tensor

from radimagenet_monai.engine.distributed import is_distributed
from radimagenet_monai.engine.schedule.epoch_position import loss_weight


class GlobalBatchLoss:
    """Handler that makes the mean of the processes' gradients that of the global batch, even if it is uneven.

    DistributedDataParallel averages over processes, so a process with fewer images would give each more weight. The
    loss is weighted for the backward pass only: the logged loss stays the mean over the process's images.

    The loss must be a mean over images. (For `KnownFindingsLoss`, a mean over known findings, this is approximate.)
    """

    def __init__(self) -> None:
        self._plain: Tensor | None = None

    def attach(self, engine: Engine) -> None:
        if is_distributed():
            engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._weight)
            engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._restore)

    def _weight(self, engine: Any) -> None:
        weight = loss_weight(engine)
        if weight != 1:
            self._plain = engine.state.output[Keys.LOSS]
            engine.state.output[Keys.LOSS] = self._plain * weight

    def _restore(self, engine: Any) -> None:
        if self._plain is not None:
            engine.state.output[Keys.LOSS] = self._plain
            self._plain = None
