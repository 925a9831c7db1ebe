"""TensorBoard files that appear when there is something to write."""

from __future__ import annotations

import os
from typing import Any

from radimagenet_monai.training.distributed import is_first_process


def loss_value(output: dict[str, Any]) -> float:
    """The loss of a training iteration as a number, for handlers that log it."""
    return float(output["loss"].detach())


class LazySummaryWriter:
    """A ``SummaryWriter`` for MONAI's TensorBoard handlers that creates its files with the first scalar.

    Building a workflow, as checking a bundle does, then leaves nothing on disk. Only the first of several processes
    writes.
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        self.log_dir = os.fspath(log_dir)
        self._writer: Any = None

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        """As the method of ``torch.utils.tensorboard.SummaryWriter``."""
        if not is_first_process():
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(log_dir=self.log_dir)
        self._writer.add_scalar(*args, **kwargs)

    def flush(self) -> None:
        """Write out what is buffered."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
