"""Stops a run whose loss is NaN or infinite."""

from __future__ import annotations

import csv
import io
import math
import os
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ignite.engine import Engine, Events
from torch import Tensor, distributed, nn

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import TrainingError
from radimagenet_monai.engine.distributed import gather_objects, is_distributed, rank
from radimagenet_monai.engine.outputs.writers import relative_to

BATCH_FILE = "non_finite_batch.csv"
_SHOWN = 4


class _Pending(NamedTuple):
    """A loss being copied from the device."""

    loss: Tensor
    arrived: Any  # a CUDA event, or None if there is nothing to wait for
    finite: Tensor | None  # over all processes, if there are several
    exchange: Any
    iteration: int
    epoch: int
    batch: int
    indices: list[int]


class StopOnNonFiniteLoss:
    """Handler that stops training at a NaN or infinite loss and names the batch.

    The loss is copied from the device asynchronously and checked one iteration later, so that a GPU never idles for
    it. All processes exchange one flag per iteration and stop at the same iteration.

    Weights spoiled by such a batch are never saved: `TrainingCheckpoint` calls `all_finite` first.

    Parameters
    ----------
    data
        Records of the training data, to name the images.
    folder
        Folder of the run; all images of the batch are listed in its ``non_finite_batch.csv``.
    root
        Image folder; file names are relative to it.
    network
        Its weights are checked too, at the end of each epoch and before each checkpoint: a step on a finite loss may
        have spoiled them.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        folder: str | os.PathLike[str],
        root: str | os.PathLike[str] = "",
        network: nn.Module | None = None,
    ) -> None:
        self.data = data
        self.folder = Path(folder)
        self.root = os.fspath(root)
        self.network = network
        self._pending: deque[_Pending] = deque()

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._keep)

    def all_finite(self) -> bool:
        """Whether every loss so far, in all processes, and all weights are finite numbers; waits for the device."""
        return all(_is_finite(pending) for pending in self._pending) and self._weights_finite()

    def _weights_finite(self) -> bool:
        if self.network is None:
            return True
        with torch.no_grad():
            return bool(torch.stack([parameter.isfinite().all() for parameter in self.network.parameters()]).all())

    def _keep(self, engine: Any) -> None:
        state = engine.state
        loss = state.output["loss"].detach()
        finite = exchange = arrived = None
        if is_distributed():
            finite = torch.isfinite(loss).to(torch.int32)
            exchange = distributed.all_reduce(finite, op=distributed.ReduceOp.MIN, async_op=True)
        if loss.is_cuda:
            if finite is not None and exchange is not None:
                exchange.wait()  # orders the streams, does not wait for the device
                finite, exchange = finite.to("cpu", non_blocking=True), None
            loss = loss.to("cpu", non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        else:
            loss = loss.clone()
        self._pending.append(
            _Pending(
                loss,
                arrived,
                finite,
                exchange,
                state.iteration,
                state.epoch,
                (state.iteration - 1) % state.epoch_length + 1,
                torch.as_tensor(state.batch.get("index", [])).tolist(),
            )
        )
        at_end = state.iteration % state.epoch_length == 0
        last = self._pending[-1]
        # Check all losses before the epoch's weights are validated or saved.
        while len(self._pending) > (0 if at_end else 1):
            self._look()
        if at_end and not self._weights_finite():
            self._stop(last, "the weights are not finite after")

    def _look(self) -> None:
        pending = self._pending.popleft()
        if not _is_finite(pending):
            self._stop(pending)

    def _stop(self, pending: _Pending, what: str = "") -> None:
        value = float(pending.loss)
        mine = what or not math.isfinite(value)
        found = gather_objects((value, [(index, self._name(index)) for index in pending.indices] if mine else []))
        what = what or f"the loss is {next(loss for loss, _ in found if not math.isfinite(loss))} at"
        images = [image for _, part in found for image in part]
        if rank() == 0:
            stream = io.StringIO()
            csv.writer(stream, lineterminator="\n").writerows([("index", "image"), *images])
            atomic_write_text(self.folder / BATCH_FILE, stream.getvalue())
        shown = ", ".join(f"{name} (record {index})" for index, name in images[:_SHOWN])
        more = f" and {len(images) - _SHOWN} more" if len(images) > _SHOWN else ""
        raise TrainingError(
            f"{what} iteration {pending.iteration} (batch {pending.batch} of epoch {pending.epoch}), "
            f"images {shown}{more}, all listed in {self.folder / BATCH_FILE}; look at them, then go on from the "
            "last checkpoint, which is from before this batch, with --resume true, or start over with a lower "
            "--learning_rate, a longer --warmup_epochs, --clip_gradient_norm 1 or --amp false"
        )

    def _name(self, index: int) -> str:
        image = str(self.data[index]["image"])
        return relative_to(Path(self.root), image) if self.root else image


def _is_finite(pending: _Pending) -> bool:
    if pending.arrived is not None:
        pending.arrived.synchronize()
    if pending.exchange is not None:
        pending.exchange.wait()
    return math.isfinite(float(pending.loss)) if pending.finite is None else bool(pending.finite)
