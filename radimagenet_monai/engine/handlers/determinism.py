"""Random numbers that depend on the position in a run, not on what happened before."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from radimagenet_monai.engine.distributed import rank


class SeedIterations:
    """Handler that seeds torch at the start of every iteration with a function of (seed, iteration, rank).

    Dropout then draws the same numbers in a resumed run as in an uninterrupted one, whatever else consumed random
    numbers in between (worker processes, validation, loading).
    """

    def __init__(self, seed: int) -> None:
        self.seed = int(seed)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Any) -> None:
        sequence = np.random.SeedSequence([self.seed, engine.state.iteration, rank()])
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))
