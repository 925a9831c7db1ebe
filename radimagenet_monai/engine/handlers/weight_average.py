"""The running average of a network's weights, which is validated and saved."""

from __future__ import annotations

import copy
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.distributed import unwrap_network


def network_to_evaluate(network: nn.Module, decay: float) -> nn.Module:
    """The network to validate and save: a copy for the averaged weights, or the network itself.

    Parameters
    ----------
    network
        Network being trained, wrapped or not.
    decay
        Decay of `WeightAverage`; 0 disables averaging.
    """
    trained = unwrap_network(network)
    return copy.deepcopy(trained).requires_grad_(False) if decay else trained


class WeightAverage:
    """Handler that moves the weights of one network towards those of another after every optimizer step.

    ``average = decay * average + (1 - decay) * weights``, for parameters and for the statistics of batch normalization.
    Over the first steps the decay is ``min(decay, (1 + steps) / (10 + steps))``, so that the average
    forgets the random initialization.

    Polyak and Juditsky 1992; Tarvainen and Valpola, Mean teachers, NeurIPS 2017; Morales-Brotons et al., Exponential
    Moving Average of Weights in Deep Learning, TMLR 2024.

    Parameters
    ----------
    network
        Network being trained.
    averaged
        Network that receives the average, from `network_to_evaluate`.
    decay
        Decay in [0, 1); 0 disables averaging.

    Raises
    ------
    ConfigurationError
        For a decay outside [0, 1).
    """

    def __init__(self, network: nn.Module, averaged: nn.Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ConfigurationError(f"ema_decay {decay}: expected 0 (no average) to below 1, such as 0.9999")
        self.decay = float(decay)
        self.steps = 0
        self.averaged = averaged
        # Collected once, since training changes these tensors in place and a deep network has a thousand of them.
        state = unwrap_network(network).state_dict()
        pairs = [(tensor, state[name]) for name, tensor in averaged.state_dict().items()] if decay else []
        self._averages = [pair for pair in pairs if pair[0].is_floating_point()]
        # Counters and flags, which averaging would corrupt by rounding.
        self._copies = [pair for pair in pairs if not pair[0].is_floating_point()]

    def attach(self, engine: Engine) -> None:
        if self.decay:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        if not getattr(engine.state, "gradients_pending", False):
            self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Move the average one step towards the current weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages, weights = (list(side) for side in zip(*self._averages, strict=True))
        get_ema_multi_avg_fn(decay)(averages, weights, self.steps)
        for copied, original in self._copies:
            copied.copy_(original)

    def state_dict(self) -> dict[str, Any]:
        """State needed to resume."""
        return {"steps": self.steps, "network": self.averaged.state_dict()} if self.decay else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state from `state_dict`."""
        if self.decay:
            self.steps = int(state["steps"])
            self.averaged.load_state_dict(state["network"])
