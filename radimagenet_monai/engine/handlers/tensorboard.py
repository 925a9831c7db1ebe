"""TensorBoard files, created at the first write."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from radimagenet_monai.engine.distributed import is_first_process


def loss_value(output: dict[str, Any]) -> float:
    """The loss of a training iteration as a number, for handlers that log it."""
    return float(output["loss"].detach())


class LazySummaryWriter:
    """A ``SummaryWriter`` for MONAI's TensorBoard handlers that creates its files with the first scalar.

    Building a workflow, for example to check a bundle, then leaves nothing on disk. Only the first of several
    processes writes.

    Its state, for `TrainingCheckpoint`, is the last step written: a resumed run repeats the steps after it, and what
    was written for them before the kill is discarded.

    Parameters
    ----------
    log_dir
        Folder of the files.
    enabled
        Whether to write anything.
    """

    def __init__(self, log_dir: str | os.PathLike[str], enabled: bool = True) -> None:
        self.log_dir = os.fspath(log_dir)
        self.enabled = bool(enabled)
        self._writer: Any = None
        self._last_step = -1
        self._purge_step: int | None = None

    def state_dict(self) -> dict[str, Any]:
        """The last step written."""
        return {"last_step": self._last_step}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the next file replace later steps in earlier files."""
        self._last_step = int(state_dict["last_step"])
        self._purge_step = self._last_step + 1

    def add_scalar(self, tag: str, value: Any, global_step: int = 0, **kwargs: Any) -> None:
        """See ``torch.utils.tensorboard.SummaryWriter``."""
        if not self.enabled or not is_first_process():
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(log_dir=self.log_dir, purge_step=self._purge_step)
        self._last_step = max(self._last_step, global_step)
        self._writer.add_scalar(tag, value, global_step, **kwargs)

    def flush(self) -> None:
        """Write buffered events to disk."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
