"""One batch of training: forward, backward and, at the end of a group of batches, the optimizer step."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import nn

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.schedule.epoch_position import samples_in_iteration


class TrainingStep:
    """``iteration_update`` of MONAI's ``SupervisedTrainer``: gradients accumulated over several batches, and clipped.

    The gradient of an optimizer step is that of the mean loss over all images of its batches, even if the last group
    of an epoch has fewer batches or a batch is not full. (MONAI's own step divides by a fixed number and exchanges
    gradients for every batch under DistributedDataParallel.) The trainer's ``accumulation_steps`` sets the number of
    batches per step.

    ``engine.state.gradients_pending`` is true while accumulated gradients wait for an optimizer step.

    Parameters
    ----------
    clip_gradient_norm
        Largest 2-norm of all gradients together; 0 disables clipping.

    Raises
    ------
    ConfigurationError
        For a negative norm.
    """

    def __init__(self, clip_gradient_norm: float = 0.0) -> None:
        if clip_gradient_norm < 0:
            raise ConfigurationError(
                f"clip_gradient_norm {clip_gradient_norm}: expected a norm such as 1, or 0 for no clipping"
            )
        self.clip_gradient_norm = float(clip_gradient_norm)
        self._images = 0

    def __call__(self, engine: Any, batchdata: dict[str, Any]) -> dict[str, Any]:
        state = engine.state
        images, labels = engine.prepare_batch(batchdata, state.device, engine.non_blocking, **engine.to_kwargs)
        state.output = {Keys.IMAGE: images, Keys.LABEL: labels}
        group = engine.accumulation_steps
        place = (state.iteration - 1) % state.epoch_length + 1
        complete = place % group == 0 or place == state.epoch_length
        engine.network.train()
        if not getattr(state, "gradients_pending", False):
            engine.optimizer.zero_grad(set_to_none=True)
            self._images = 0
        with _gradients_kept_here(engine.network, not complete):
            state.output[Keys.PRED] = engine.inferer(images, engine.network)
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)
            state.output[Keys.LOSS] = engine.loss_function(state.output[Keys.PRED], labels)
            engine.fire_event(IterationEvents.LOSS_COMPLETED)
            loss = state.output[Keys.LOSS]
            if group > 1:
                # Images of all processes: averaging the gradients makes the loss a mean over them.
                size = samples_in_iteration(engine)
                self._images += size
                loss = loss * size
            loss.backward()
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        state.gradients_pending = not complete
        if complete:
            self._finish_group(engine)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return state.output

    def _finish_group(self, engine: Any) -> None:
        parameters = [parameter for parameter in engine.network.parameters() if parameter.grad is not None]
        if engine.accumulation_steps > 1:
            torch._foreach_div_([parameter.grad for parameter in parameters], self._images)
        if self.clip_gradient_norm:
            nn.utils.clip_grad_norm_(parameters, self.clip_gradient_norm)
        engine.optimizer.step()


def _gradients_kept_here(network: nn.Module, kept: bool) -> contextlib.AbstractContextManager[Any]:
    """Skip the exchange of gradients between processes until the last batch of a group."""
    if kept and isinstance(network, nn.parallel.DistributedDataParallel):
        return network.no_sync()
    return contextlib.nullcontext()
