"""The recipe in two processes: gathered batches exchange gradients once, and a bad loss of one stops both."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_training import CONTEXT
from tiny_training import TinyPictures, largest_difference, tiny_network, tiny_trainer, weights_of
from torch import distributed, nn

from radimagenet_monai.core.errors import TrainingError
from radimagenet_monai.engine.distributed import unwrap_network, wrap_network
from radimagenet_monai.engine.handlers.finite_loss import StopOnNonFiniteLoss
from radimagenet_monai.engine.handlers.throughput import Throughput
from radimagenet_monai.engine.losses.global_batch_loss import GlobalBatchLoss
from radimagenet_monai.engine.start.rates import MeasuredRates

pytestmark = pytest.mark.long

IMAGES = 37


def in_processes(job, folder: Path, count: int = 2) -> list:
    """What ``job(rank, folder)`` saved in each of several processes over gloo."""
    processes = [CONTEXT.Process(target=_join, args=(job, folder, rank, count)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(100)
        assert process.exitcode == 0
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(count)]


def _join(job, folder: Path, rank: int, count: int) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=count)
    torch.save(job(rank, folder), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def counted_average(calls, bucket):
    """A communication hook of DistributedDataParallel that notes its calls, and averages."""
    calls.append(bucket.index())
    done = distributed.all_reduce(bucket.buffer().div_(distributed.get_world_size()), async_op=True)
    return done.get_future().then(lambda future: future.value()[0])


def train_gathered(rank, folder):
    network = wrap_network(tiny_network(batch_norm=False), "cpu")
    calls = []
    network.register_comm_hook(calls, counted_average)
    trainer = tiny_trainer(
        network,
        [GlobalBatchLoss(), MeasuredRates(), Throughput()],
        optimizer=torch.optim.SGD(network.parameters(), lr=0.05),
        dataset=TinyPictures(IMAGES),
        batch_size=4,
        accumulation_steps=2,
        max_epochs=3,
    )
    measured = 3  # steps of the measurement at the start, on the CPU
    trainer.run()
    assert trainer.state.metrics["images_per_second"] > 0
    return {"weights": weights_of(unwrap_network(network)), "exchanges": len(calls) - measured}


def test_gathered_batches_of_two_processes_are_one_of_all(tmp_path):
    """4 images x 2 batches x 2 processes against 16 at once, also in the uneven last batch of 37 images."""
    network = tiny_network(batch_norm=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    tiny_trainer(network, optimizer=optimizer, dataset=TinyPictures(IMAGES), batch_size=16, max_epochs=3).run()
    found = in_processes(train_gathered, tmp_path)
    for each in found:
        assert largest_difference(weights_of(network), each["weights"]) < 1e-6
        # 5 batches an epoch in groups of 2, 2 and 1.
        assert each["exchanges"] == 9


class SpoiledOnOneRank(nn.Module):
    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank, self.calls = rank, 0

    def forward(self, logits, labels):
        self.calls += 1
        loss = nn.functional.cross_entropy(logits, labels)
        return loss * float("nan") if (self.rank, self.calls) == (1, 3) else loss


def train_spoiled(rank, folder):
    network, dataset = wrap_network(tiny_network(), "cpu"), TinyPictures(40)
    check = StopOnNonFiniteLoss(dataset.data, folder)
    trainer = tiny_trainer(network, [check], dataset=dataset, batch_size=4, loss_function=SpoiledOnOneRank(rank))
    try:
        trainer.run()
    except TrainingError as error:
        return {"error": str(error), "index": trainer.state.batch["index"], "iteration": trainer.state.iteration}
    return {}


def test_a_bad_loss_of_one_process_stops_all_with_its_batch(tmp_path):
    first, second = in_processes(train_spoiled, tmp_path)
    assert first["error"] == second["error"]
    assert "the loss is nan at iteration 3 (batch 3 of epoch 1)" in first["error"]
    assert first["iteration"] == second["iteration"] == 4
    listed = (tmp_path / "non_finite_batch.csv").read_text().splitlines()[1:]
    # Images of the second process alone: those at odd places of the third global batch of eight.
    order = list(tiny_trainer(tiny_network(), dataset=TinyPictures(40)).data_loader.sampler.order(1))
    assert [int(line.split(",")[0]) for line in listed] == order[17:24:2]
