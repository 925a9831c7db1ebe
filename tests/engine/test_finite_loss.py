"""A loss that is no number ends the run with its batch named, and no checkpoint of it is written."""

from __future__ import annotations

import csv
import re

import pytest
import torch
from ignite.engine import Events
from tiny_training import TinyPictures, tiny_network, tiny_trainer
from torch import nn

from radimagenet_monai.core.errors import TrainingError
from radimagenet_monai.engine.handlers.checkpoint import TrainingCheckpoint
from radimagenet_monai.engine.handlers.finite_loss import BATCH_FILE, StopOnNonFiniteLoss


class SpoiledLoss(nn.Module):
    """Cross-entropy that is ``value`` in the given call."""

    def __init__(self, call: int, value: float) -> None:
        super().__init__()
        self.call, self.value, self.calls = call, value, 0

    def forward(self, logits, labels):
        self.calls += 1
        loss = nn.functional.cross_entropy(logits, labels)
        return loss * self.value if self.calls == self.call else loss


def run(tmp_path, call, value=float("nan"), minutes=0.0, **options):
    """The error of a run whose loss is spoiled in a call, with the record numbers of each batch, and the checkpoint."""
    network, dataset = tiny_network(), TinyPictures(40)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    check = StopOnNonFiniteLoss(dataset.data, tmp_path, "/pictures")
    checkpoint = TrainingCheckpoint(tmp_path, network, optimizer, {}, dataset.data, minutes=minutes, loss_check=check)
    trainer = tiny_trainer(
        network,
        [check, checkpoint],
        optimizer=optimizer,
        dataset=dataset,
        loss_function=SpoiledLoss(call, value),
        max_epochs=3,
        **options,
    )
    seen = []
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: seen.append(trainer.state.batch["index"].tolist()))
    with pytest.raises(TrainingError) as caught:
        trainer.run()
    path = tmp_path / "checkpoint.pt"
    return str(caught.value), seen, torch.load(path, weights_only=True) if path.exists() else None


@pytest.mark.parametrize(
    ("call", "place"), [(1, "batch 1 of epoch 1"), (7, "batch 2 of epoch 2"), (10, "batch 5 of epoch 2")]
)
def test_run_stops_and_names_the_batch(tmp_path, call, place):
    message, seen, checkpoint = run(tmp_path, call)
    assert f"the loss is nan at iteration {call} ({place})" in message
    assert "\n" not in message
    # It is looked at one iteration later, but never later than the end of the epoch.
    assert len(seen) == (call if call % 5 == 0 else call + 1)
    named = [(f"pictures/{number:03d}.png", number) for number in seen[call - 1]]
    shown = [(name, int(number)) for name, number in re.findall(r"(\S+) \(record (\d+)\)", message)]
    assert shown == named[:4]
    assert "and 4 more" in message
    with (tmp_path / BATCH_FILE).open(newline="") as file:
        listed = [(row["image"], int(row["index"])) for row in csv.DictReader(file)]
    assert listed == named
    epochs = (call - 1) // 5
    assert (checkpoint["epoch"] if checkpoint else 0) == epochs
    if checkpoint:
        assert all(torch.isfinite(tensor).all() for tensor in checkpoint["network"].values())


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinity_stops_too(tmp_path, value):
    message, *_ = run(tmp_path, 3, value)
    assert f"the loss is {value} at iteration 3" in message


def test_no_checkpoint_within_the_epoch_holds_spoiled_weights(tmp_path):
    """Saved after every iteration, but for the one whose loss was not looked at yet."""
    _, _, checkpoint = run(tmp_path, 3, minutes=1e-9)
    assert checkpoint["samples"] == 16
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint["network"].values())


def test_a_healthy_run_is_left_alone(tmp_path):
    dataset = TinyPictures(40)
    tiny_trainer(tiny_network(), [StopOnNonFiniteLoss(dataset.data, tmp_path)], dataset=dataset).run()
    assert not list(tmp_path.iterdir())


class SpoilingSGD(torch.optim.SGD):
    """Sets a weight to infinity in the given step, which no loss has seen yet."""

    at, steps = 0, 0

    def step(self, closure=None):
        self.steps += 1
        super().step(closure)
        if self.steps == self.at:
            self.param_groups[0]["params"][0].data.view(-1)[0] = float("inf")


@pytest.mark.parametrize("minutes", [0.0, 1e-9])
def test_weights_spoiled_by_the_last_step_of_an_epoch_are_not_kept(tmp_path, minutes):
    network, dataset = tiny_network(), TinyPictures(40)
    optimizer = SpoilingSGD(network.parameters(), lr=0.1)
    optimizer.at = 10
    check = StopOnNonFiniteLoss(dataset.data, tmp_path, network=network)
    checkpoint = TrainingCheckpoint(tmp_path, network, optimizer, {}, dataset.data, minutes=minutes, loss_check=check)
    trainer = tiny_trainer(network, [check, checkpoint], optimizer=optimizer, dataset=dataset, max_epochs=3)
    with pytest.raises(TrainingError, match=r"the weights are not finite after iteration 10 \(batch 5 of epoch 2\)"):
        trainer.run()
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (saved["epoch"], saved["samples"]) == ((1, 32) if minutes else (1, 0))
    assert all(torch.isfinite(tensor).all() for tensor in saved["network"].values())
