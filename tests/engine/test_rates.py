"""Figures of a run: rates at the start that disturb nothing, throughput and waiting of each epoch, time to go."""

from __future__ import annotations

import json
import logging
import random
import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Events
from tiny_training import TinyPictures, largest_difference, tiny_network, tiny_trainer, weights_of
from torch import nn

from radimagenet_monai.engine.handlers.determinism import SeedIterations
from radimagenet_monai.engine.handlers.progress import Progress, duration
from radimagenet_monai.engine.handlers.run_record import RunRecord
from radimagenet_monai.engine.handlers.tensorboard import LazySummaryWriter
from radimagenet_monai.engine.handlers.throughput import Throughput, throughput_words
from radimagenet_monai.engine.start.rates import MeasuredRates, rates_line

pytestmark = pytest.mark.slow


def trained(handlers, workers=0, seed=True, epochs=2):
    """Weights, statistics and optimizer of a run with dropout, the order of its samples, and what is drawn after it."""
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - the global state is what is looked at
    random.seed(7)
    network = nn.Sequential(nn.Dropout(0.2), tiny_network())
    torch.manual_seed(7)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    handlers = [*([SeedIterations(3)] if seed else []), *handlers]
    trainer = tiny_trainer(network, handlers, optimizer=optimizer, num_workers=workers, max_epochs=epochs)
    order = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: order.append(engine.state.batch["index"].tolist())
    )
    trainer.run()
    moments = {f"{n} {k}": v for n, state in optimizer.state_dict()["state"].items() for k, v in state.items()}
    drawn = [torch.rand(1).item(), float(np.random.rand()), random.random()]  # noqa: NPY002 - as above
    return weights_of(network) | moments, order, drawn, trainer


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", [pytest.param(True, marks=pytest.mark.long), False])
def test_measuring_changes_no_bit_of_the_training(workers, seed):
    plain, order, drawn, _ = trained([], workers, seed)
    measured, same_order, same_drawn, trainer = trained([MeasuredRates()], workers, seed)
    assert largest_difference(plain, measured) == 0
    assert order == same_order
    assert drawn == same_drawn
    assert trainer.state.rates["network_images_per_second"] > 0


def test_off_measures_nothing():
    _, _, _, trainer = trained([MeasuredRates(False)])
    assert not hasattr(trainer.state, "rates")


class Clock:
    """Time that passes as a test says."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def wait(self, seconds):
        self.now += seconds


class SlowPictures(TinyPictures):
    """5 ms an image."""

    def __init__(self, images, clock):
        super().__init__(images)
        self.clock = clock

    def __getitem__(self, key):
        self.clock.wait(0.005)
        return super().__getitem__(key)


class SlowLoss(nn.Module):
    """8 ms a batch."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def forward(self, logits, labels):
        self.clock.wait(0.008)
        return nn.functional.cross_entropy(logits, labels)


def test_rates_are_those_of_a_known_pace(monkeypatch, caplog):
    """Batches of 8: 40 ms to load one, 8 ms to train on it."""
    clock = Clock(monkeypatch)
    handlers = [MeasuredRates(), Throughput()]
    dataset = SlowPictures(96, clock)
    trainer = tiny_trainer(tiny_network(), handlers, dataset=dataset, loss_function=SlowLoss(clock), max_epochs=1)
    with caplog.at_level(logging.INFO):
        trainer.run()
    assert trainer.state.rates["loader_images_per_second"] == pytest.approx(200)
    assert trainer.state.rates["network_images_per_second"] == pytest.approx(1000)
    (line,) = [record.message for record in caplog.records if "alone" in record.message]
    assert "the loader limits; give more --num_workers (now 0" in line
    assert trainer.state.metrics["images_per_second"] == pytest.approx(8 / 0.048)
    assert trainer.state.metrics["data_wait"] == pytest.approx(40 / 48)


def test_lines_say_what_limits():
    assert "the network limits" in rates_line(900.0, 300.0, 4)
    assert "loader alone 900 images/s, network alone 300 images/s" in rates_line(900.0, 300.0, 4)
    assert "the loader limits; give more --num_workers (now 4" in rates_line(100.0, 300.0, 4)
    assert "too few batches" in rates_line(None, 300.0, 4)


def test_too_few_batches_give_no_rate_of_the_loader():
    trainer = tiny_trainer(tiny_network(), [MeasuredRates()], dataset=TinyPictures(6), max_epochs=1)
    trainer.run()
    assert trainer.state.rates["loader_images_per_second"] is None


def test_waiting_is_counted_and_validation_is_not(monkeypatch):
    clock = Clock(monkeypatch)
    trainer = tiny_trainer(tiny_network(), [Throughput()], loss_function=SlowLoss(clock), max_epochs=1)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: clock.wait(300))
    trainer.run()
    assert trainer.state.metrics["data_wait"] == 0
    assert trainer.state.metrics["images_per_second"] == pytest.approx(40 / (5 * 0.008))


def test_words_of_an_epoch():
    figures = {"images_per_second": 2480.4, "data_wait": 0.0123, "gpu_memory_gib": 21.34}
    assert throughput_words(figures) == ["2480 images/s", "data wait 1.2 %", "GPU memory 21.3 GiB"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (119, "119 s"),
        (121, "2 min"),
        (7190, "2 h 0 min"),
        (26_400, "7 h 20 min"),
        (200_000, "2 days 7 h"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_time_to_go_is_said_within_the_first_epoch(monkeypatch, caplog):
    """Batches of 20 s, validation of 100 s, 5 batches an epoch, 3 epochs: 600 s in all."""
    clock = Clock(monkeypatch)
    evaluator = SimpleNamespace(state=SimpleNamespace(key_metric_name=None, metrics={}))
    trainer = tiny_trainer(tiny_network(), max_epochs=3)
    trainer.add_event_handler(Events.ITERATION_STARTED, lambda: clock.wait(20))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: clock.wait(100))
    Progress("training", evaluator).attach(trainer)
    with caplog.at_level(logging.INFO):
        trainer.run()
    lines = [record.message for record in caplog.records if "to go" in record.message]
    # After the third batch 12 batches are left; after the first epoch 10 batches and two validations.
    assert lines[0] == "training epoch 1/3: batch 3 of 5, about 4 min to go, validation not counted"
    assert lines[1].endswith("200.0 s, about 7 min to go")
    assert lines[2].endswith("about 3 min to go")
    assert lines[-1].endswith("about 0 s to go")


def test_line_of_an_epoch_holds_the_throughput(caplog):
    evaluator = SimpleNamespace(state=SimpleNamespace(key_metric_name=None, metrics={}))
    trainer = tiny_trainer(tiny_network(), [Throughput(), Progress("training", evaluator)], max_epochs=1)
    with caplog.at_level(logging.INFO):
        trainer.run()
    assert re.search(r"images/s, data wait \d+\.\d %", caplog.text)


def test_run_json_holds_rates_and_throughput(tmp_path):
    network, dataset = tiny_network(), TinyPictures()
    handlers = [MeasuredRates(), Throughput(), RunRecord(tmp_path, {}, network, dataset.data)]
    tiny_trainer(network, handlers, dataset=dataset, max_epochs=2).run()
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["rates"]["network_images_per_second"] > 0
    assert [set(figures) for figures in record["throughput"]] == [{"images_per_second", "data_wait"}] * 2


def test_tensorboard_can_be_turned_off(tmp_path):
    writer = LazySummaryWriter(tmp_path, enabled=False)
    writer.add_scalar("loss", 1.0, 1)
    assert not list(tmp_path.iterdir())
