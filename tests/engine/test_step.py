"""Batches gathered into one optimizer step: the gradient is that of the larger batch."""

from __future__ import annotations

import copy

import pytest
import torch
from monai.engines import SupervisedTrainer
from tiny_training import TinyNetwork, TinyPictures, largest_difference, tiny_network, tiny_trainer, weights_of
from torch import nn

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.step import TrainingStep


def trained(**options):
    network = options.pop("network", None) or tiny_network(batch_norm=False)
    before = weights_of(network)
    # An adaptive optimizer, or a large rate, would blow up the rounding of a gradient.
    tiny_trainer(network, optimizer=torch.optim.SGD(network.parameters(), lr=0.05), **options).run()
    assert largest_difference(before, weights_of(network)) > 5e-3
    return weights_of(network)


@pytest.mark.parametrize("images", [48, 40, 37, 33])
def test_two_batches_of_8_equal_one_of_16(images):
    """Whole groups, a group of one batch, and last batches that are not full: 37 = 16 + 16 + 5, 33 leaves one image."""
    dataset = TinyPictures(images)
    once = trained(dataset=dataset, batch_size=16, max_epochs=3)
    gathered = trained(dataset=dataset, batch_size=8, accumulation_steps=2, max_epochs=3)
    assert largest_difference(once, gathered) < 1e-6


def test_frozen_batch_norm_changes_nothing_about_it():
    class Frozen(TinyNetwork):
        def forward(self, images):
            self.norm.eval()
            return super().forward(images)

    dataset, network = TinyPictures(37), Frozen()
    once = trained(network=copy.deepcopy(network), dataset=dataset, batch_size=24)
    gathered = trained(network=copy.deepcopy(network), dataset=dataset, batch_size=8, accumulation_steps=3)
    assert largest_difference(once, gathered) < 1e-6


def test_without_gathering_it_is_the_step_of_monai():
    ours = trained()
    monai = trained(iteration_update=None)
    assert largest_difference(ours, monai) == 0


def test_the_group_of_monai_is_another_when_batches_are_uneven():
    """The reason for a step of our own."""
    dataset = TinyPictures(37)
    once = trained(dataset=dataset, batch_size=16)
    monai = trained(dataset=dataset, batch_size=8, accumulation_steps=2, iteration_update=None)
    assert largest_difference(once, monai) > 1e-4


def test_gradients_are_marked_pending_inside_a_group():
    network = tiny_network()
    trainer = tiny_trainer(network, accumulation_steps=2, dataset=TinyPictures(40), max_epochs=1)
    pending = []
    from ignite.engine import Events

    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: pending.append(engine.state.gradients_pending))
    trainer.run()
    assert pending == [True, False, True, False, False]


def test_gradients_are_clipped_to_the_norm():
    norms = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            gradients = [parameter.grad for group in self.param_groups for parameter in group["params"]]
            norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
            return super().step(closure)

    network = tiny_network()
    free = copy.deepcopy(network)
    tiny_trainer(free, optimizer=Watched(free.parameters(), lr=0.1)).run()
    assert max(norms) > 0.02
    norms.clear()
    step = TrainingStep(clip_gradient_norm=0.01)
    tiny_trainer(network, optimizer=Watched(network.parameters(), lr=0.1), iteration_update=step).run()
    assert max(norms) == pytest.approx(0.01, rel=1e-3)


def test_values_that_make_no_sense_are_refused():
    with pytest.raises(ConfigurationError, match="clip_gradient_norm -1"):
        TrainingStep(clip_gradient_norm=-1)
    with pytest.raises(ValueError, match="accumulation_steps"):
        SupervisedTrainer("cpu", 1, [], nn.Identity(), None, None, accumulation_steps=0)
