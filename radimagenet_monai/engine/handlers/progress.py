"""Progress of a run: a bar on a terminal, and always one line per epoch."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from tqdm import tqdm

from radimagenet_monai.engine.distributed import rank
from radimagenet_monai.engine.handlers.throughput import throughput_words

logger = logging.getLogger(__name__)

_FIRST_LINE = 60.0
_NEXT_LINES = 600.0
"""Seconds into a run until a line within an epoch says how long it will take, and between such lines."""


class Progress:
    """Handler with a bar over the batches of each epoch (terminals only) and one log line per epoch.

    Without a terminal, log lines within a long epoch estimate the remaining time from the first minute on. The line
    of an epoch includes the figures of `Throughput` if that handler is attached first.

    Parameters
    ----------
    title
        Name of the activity, e.g. ``"training"``.
    evaluator
        Evaluator whose key metric, current and best, is shown in the line.
    """

    def __init__(self, title: str, evaluator: Any = None) -> None:
        self.title = title
        self.evaluator = evaluator
        self._bar: tqdm | None = None
        self._losses: list[torch.Tensor] = []
        self._started = 0.0
        self._batches = 0
        self._last_batch = 0.0
        self._validation: float | None = None
        self._next_line = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Losses of the epoch so far, so that a resumed run shows the mean over the whole epoch."""
        return {"losses": torch.tensor([loss.item() for loss in self._losses])}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the losses of a partly finished epoch."""
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
        self._batches = 0
        self._next_line = self._next_line or self._started + _FIRST_LINE
        state = engine.state
        epoch = f" {state.epoch}/{state.max_epochs}" if self.evaluator is not None else ""
        self._bar = tqdm(
            total=state.epoch_length,
            initial=state.iteration % state.epoch_length,
            desc=f"{self.title}{epoch}",
            unit="batch",
            leave=False,
            disable=not sys.stderr.isatty(),
        )

    def _step(self, engine: Any) -> None:
        output = engine.state.output
        loss = output.get("loss") if isinstance(output, dict) else None
        if loss is not None:
            # Kept on the device: reading it at every batch would stall a GPU.
            self._losses.append(loss.detach())
        assert self._bar is not None
        self._bar.update()
        self._batches += 1
        self._last_batch = time.monotonic()
        if self.evaluator is None:
            return
        if not self._bar.disable:
            self._bar.set_postfix_str(f"about {duration(self._seconds_left(engine.state))} to go", refresh=False)
        elif self._last_batch >= self._next_line:
            self._next_line = self._last_batch + _NEXT_LINES
            self._say_how_long(engine.state)

    def _say_how_long(self, state: Any) -> None:
        batch = (state.iteration - 1) % state.epoch_length + 1
        logger.info(
            "%s epoch %d/%d: batch %d of %d, about %s to go%s",
            self.title,
            state.epoch,
            state.max_epochs,
            batch,
            state.epoch_length,
            duration(self._seconds_left(state)),
            ", validation not counted" if self._validation is None else "",
        )

    def _seconds_left(self, state: Any) -> float:
        """Remaining time, assuming the pace of this epoch and the duration of the last validation."""
        batches = state.max_epochs * state.epoch_length - state.iteration
        pace = (self._last_batch - self._started) / max(self._batches, 1)
        return pace * batches + (self._validation or 0.0) * (state.max_epochs - state.epoch + 1)

    def _end(self, engine: Any) -> None:
        assert self._bar is not None
        self._bar.close()
        state = engine.state
        parts = []
        if self._losses:
            parts.append(f"loss {torch.stack([loss.cpu() for loss in self._losses]).mean().item():.4f}")
        if self.evaluator is not None and self.evaluator.state.key_metric_name:
            name, known = self.evaluator.state.key_metric_name, self.evaluator.state
            if name in known.metrics:
                parts.append(
                    f"{name} {known.metrics[name]:.4f} (best {known.best_metric:.4f}, epoch {known.best_metric_epoch})"
                )
        parts += throughput_words(getattr(state, "throughput", {}))
        now = time.monotonic()
        seconds = now - self._started
        if self.evaluator is None:
            parts.append(f"{seconds:.1f} s")
            batches = f"{state.epoch_length} batch{'' if state.epoch_length == 1 else 'es'}"
            logger.info("%s: %s, %s", self.title, batches, ", ".join(parts))
            return
        self._validation = now - self._last_batch
        left = self._seconds_left(state) - self._validation
        parts.append(f"{seconds:.1f} s, about {duration(left)} to go")
        logger.info("%s epoch %d/%d: %s", self.title, state.epoch, state.max_epochs, ", ".join(parts))


def duration(seconds: float) -> str:
    """Duration as text: seconds up to two minutes, then minutes, hours and minutes, days and hours."""
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} days {minutes % 1440 // 60} h"
