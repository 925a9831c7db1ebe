"""The learning rate as a function of training progress."""

from __future__ import annotations

import logging
import math
from typing import Any

from ignite.engine import Engine, Events
from torch.optim import Optimizer

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.distributed import process_count
from radimagenet_monai.engine.schedule.epoch_position import (
    epoch_batches,
    knows_place,
    samples_done,
    samples_in_iteration,
)

logger = logging.getLogger(__name__)

WARMUP_START = 0.01
"""Share of the full learning rate with which the warm-up begins."""


def scaled_learning_rate(learning_rate: float, batch: int, reference_batch: int) -> float:
    """The learning rate for an optimizer step on ``batch`` images, by the square-root rule of adaptive optimizers.

    Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, NeurIPS 2022. (The linear rule of
    Goyal et al. 2017 is that of SGD.)

    Parameters
    ----------
    learning_rate
        Learning rate chosen for steps on ``reference_batch`` images.
    batch
        Images per optimizer step, over all processes and accumulated batches.
    reference_batch
        Images per step that ``learning_rate`` was chosen for; 0 disables scaling.
    """
    if reference_batch < 0 or batch < 1:
        raise ConfigurationError(f"batches of {batch} and {reference_batch} images: expected positive numbers, or 0")
    return learning_rate * math.sqrt(batch / reference_batch) if reference_batch else learning_rate


def warmup_cosine(share: float, warmup: float) -> float:
    """Learning rate factor: a linear rise to 1, then half a cosine down to 0.

    Loshchilov and Hutter, SGDR, ICLR 2017; Goyal et al., Accurate, Large Minibatch SGD, 2017.

    Parameters
    ----------
    share
        Share of training completed, 0 to 1.
    warmup
        Share of training over which the rate rises, 0 to 1.
    """
    if share < warmup:
        return WARMUP_START + (1 - WARMUP_START) * share / warmup
    return 0.5 * (1 + math.cos(math.pi * min((share - warmup) / max(1 - warmup, 1e-12), 1.0)))


def share_done(engine: Any) -> float:
    """Share of training completed before the current iteration, 0 to 1: in samples, or in batches of other loaders."""
    if not knows_place(engine):
        return (engine.state.iteration - 1) / (engine.state.epoch_length * engine.state.max_epochs)
    batches = epoch_batches(engine)
    done = samples_done(engine) - samples_in_iteration(engine)
    return (engine.state.epoch - 1 + done / batches.sampler.length) / engine.state.max_epochs


class LearningRateSchedule:
    """Handler that sets the learning rate of every iteration: linear warm-up, then a cosine to zero.

    The rate depends only on the share of training completed, whereas PyTorch's schedulers count steps: a run resumed
    with another number of processes, and therefore other batches, continues at the right rate. At the same points it
    equals ``LinearLR`` followed by ``CosineAnnealingLR``.

    ``engine.state.learning_rate`` holds the rate of the iteration.

    Parameters
    ----------
    optimizer
        Optimizer; all its parameter groups get the same rate.
    learning_rate, reference_batch
        See `scaled_learning_rate`.
    batch_size
        Images per batch in one process.
    accumulate
        Batches per optimizer step.
    warmup_epochs
        Epochs of warm-up, may be fractional; limited to half of the run.

    Raises
    ------
    ConfigurationError
        For a negative rate or warm-up.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        learning_rate: float,
        batch_size: int,
        accumulate: int = 1,
        reference_batch: int = 256,
        warmup_epochs: float = 0.0,
    ) -> None:
        if learning_rate < 0 or warmup_epochs < 0:
            raise ConfigurationError(
                f"learning_rate {learning_rate}, warmup_epochs {warmup_epochs}: expected numbers from 0 up"
            )
        self.optimizer = optimizer
        self.learning_rate = float(learning_rate)
        self.batch_size = int(batch_size)
        self.accumulate = int(accumulate)
        self.reference_batch = int(reference_batch)
        self.warmup_epochs = float(warmup_epochs)
        self._peak = self.learning_rate

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._set)

    def _start(self, engine: Any) -> None:
        images = self.batch_size * self.accumulate * process_count()
        self._peak = scaled_learning_rate(self.learning_rate, images, self.reference_batch)
        if self._peak != self.learning_rate:
            logger.info(
                "learning rate %.3g: %g for steps on %d images, scaled to %d by the square root",
                self._peak,
                self.learning_rate,
                self.reference_batch,
                images,
            )

    def _set(self, engine: Any) -> None:
        warmup = min(self.warmup_epochs / engine.state.max_epochs, 0.5)
        rate = self._peak * warmup_cosine(share_done(engine), warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        engine.state.learning_rate = rate
