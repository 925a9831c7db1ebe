"""Progress on the terminal: a bar where someone watches, a line an epoch in any case."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from tqdm import tqdm

from radimagenet_monai.training.distributed import rank

logger = logging.getLogger(__name__)


class Progress:
    """Handler with a bar over the batches of each epoch (terminals only) and one log line an epoch.

    Parameters
    ----------
    title
        What is running, e.g. ``"training"``.
    evaluator
        Its key metric, current and best, is part of the line.
    """

    def __init__(self, title: str, evaluator: Any = None) -> None:
        self.title = title
        self.evaluator = evaluator
        self._bar: tqdm | None = None
        self._losses: list[torch.Tensor] = []
        self._started = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Losses of the epoch so far, so that the mean that is shown stays that of the whole epoch."""
        return {"losses": torch.tensor([loss.item() for loss in self._losses])}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on with the losses of a part of the epoch."""
        self._losses = list(state_dict["losses"])

    def attach(self, engine: Engine) -> None:
        if rank() != 0:
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)

    def _start(self, engine: Any) -> None:
        self._losses = []
        self._started = time.monotonic()
        state = engine.state
        epoch = f" {state.epoch}/{state.max_epochs}" if self.evaluator is not None else ""
        self._bar = tqdm(
            total=state.epoch_length,
            initial=state.iteration % state.epoch_length,
            desc=f"{self.title}{epoch}",
            unit="batch",
            leave=False,
            disable=not _watched(),
        )

    def _step(self, engine: Any) -> None:
        output = engine.state.output
        loss = output.get("loss") if isinstance(output, dict) else None
        if loss is not None:
            # Kept on the device: reading it every batch would make a GPU wait.
            self._losses.append(loss.detach())
        assert self._bar is not None
        self._bar.update()

    def _end(self, engine: Any) -> None:
        assert self._bar is not None
        self._bar.close()
        state = engine.state
        parts = []
        if self._losses:
            parts.append(f"loss {torch.stack([loss.cpu() for loss in self._losses]).mean().item():.4f}")
        if self.evaluator is not None and self.evaluator.state.key_metric_name:
            name, known = self.evaluator.state.key_metric_name, self.evaluator.state
            parts.append(
                f"{name} {known.metrics[name]:.4f} (best {known.best_metric:.4f}, epoch {known.best_metric_epoch})"
            )
        seconds = time.monotonic() - self._started
        if self.evaluator is None:
            parts.append(f"{seconds:.1f} s")
            batches = f"{state.epoch_length} batch{'' if state.epoch_length == 1 else 'es'}"
            logger.info("%s: %s, %s", self.title, batches, ", ".join(parts))
            return
        left = seconds * (state.max_epochs - state.epoch)
        parts.append(f"{seconds:.1f} s, about {left:.0f} s to go")
        logger.info("%s epoch %d/%d: %s", self.title, state.epoch, state.max_epochs, ", ".join(parts))


def _watched() -> bool:
    return sys.stderr.isatty()
