"""Random numbers that depend on the position in a run, not on what happened before."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data.utils import set_rnd

from radimagenet_monai.engine.distributed import rank
from radimagenet_monai.engine.schedule.epoch_position import knows_place

_EPOCHS = 1
"""Tells the seed of an epoch from that of the iteration of the same number."""


class SeedIterations:
    """Handler that seeds torch at the start of every iteration with a function of (seed, iteration, rank).

    Dropout then draws the same numbers in a resumed run as in an uninterrupted one, whatever else consumed random
    numbers in between (worker processes, validation, loading).

    If the loader is not one of `build_loader`, torch and the random transforms of its dataset are seeded at the start
    of every epoch too, by (seed, epoch, rank): MONAI's loaders take the order of an epoch and the seeds of their
    workers from torch's global state.
    """

    def __init__(self, seed: int) -> None:
        self.seed = int(seed)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._seed_loader)
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Any) -> None:
        torch.manual_seed(self._drawn(engine.state.iteration, rank()))

    def _seed_loader(self, engine: Any) -> None:
        loader = engine.state.dataloader
        if not knows_place(engine):
            seed = self._drawn(engine.state.epoch, rank(), _EPOCHS)
            torch.manual_seed(seed)
            if hasattr(loader, "dataset"):
                set_rnd(loader.dataset, seed)

    def _drawn(self, *place: int) -> int:
        sequence = np.random.SeedSequence([self.seed, *place])
        return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
