"""A training of seconds in processes of its own: a small network on 8 x 8 images, put together as bundles are."""

from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import forks
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.handlers import TensorBoardStatsHandler
from processes import PATIENCE
from torch import nn

from radimagenet_monai.engine import (
    BroadcastBuffers,
    GlobalBatchLoss,
    LazySummaryWriter,
    Progress,
    RunRecord,
    SeedIterations,
    TrainingCheckpoint,
    loss_value,
    unwrap_network,
    wrap_network,
)
from radimagenet_monai.loading import PrepareBatch, SampleKey, build_loader

CLASSES = 3

CONTEXT = forks.FORKS


class Pictures(torch.utils.data.Dataset):
    """Images of noise that depend on their index alone."""

    def __init__(self, length: int) -> None:
        self.data = [{"image": f"{index}.png", "label": index % CLASSES} for index in range(length)]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        pixels = np.random.default_rng(key.index).integers(0, 256, (1, 8, 8), dtype=np.uint8)
        return {"image": torch.from_numpy(pixels), "label": key.index % CLASSES, "index": key.index}


def small_network(frozen_statistics: bool = False) -> nn.Module:
    """Convolution, batch norm, dropout and a linear layer, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            _FrozenBatchNorm2d(4) if frozen_statistics else nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.0 if frozen_statistics else 0.3),
            nn.Linear(16, CLASSES),
        )


class _FrozenBatchNorm2d(nn.BatchNorm2d):
    """Torch has no synchronized batch norm for the CPU: this one keeps its statistics, whatever the batch."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(False)


class Recorder:
    """Notes what each iteration was trained on, and ends the process where it is told to."""

    def __init__(self, folder: Path, rank: int, signals: dict[int, int], checkpoint: Any, save_at: Any) -> None:
        self.path, self.rank = folder / f"seen-{rank}.jsonl", rank
        self.signals, self.checkpoint, self.save_at = signals, checkpoint, save_at

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._completed)

    def _started(self, engine: Any) -> None:
        number = engine.state.iteration
        if self.save_at is not None:
            self.checkpoint.minutes = 1e-12 if number in self.save_at else 1e12
        if number in self.signals:
            os.kill(os.getpid(), self.signals[number])

    def _completed(self, engine: Any) -> None:
        row = {
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "index": engine.state.batch["index"].tolist(),
            "loss": engine.state.output["loss"].item(),
        }
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")


def train(
    folder: Path,
    length: int = 22,
    batch_size: int = 4,
    epochs: int = 3,
    workers: int = 0,
    resume: bool = False,
    save_at: Any = None,
    signals: dict[int, int] | None = None,
    rank: int = 0,
    processes: int = 1,
    meeting: str = "",
    frozen_statistics: bool = False,
    sgd: bool = False,
    trainer_options: dict[str, Any] | None = None,
    **checkpoint_options: Any,
) -> None:
    """Train and leave ``checkpoint.pt``, ``seen-RANK.jsonl``, ``log.txt``, TensorBoard files and ``final.pt``."""
    torch.set_num_threads(1)
    if processes > 1:
        torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=processes)
    if rank == 0:
        logging.basicConfig(filename=folder / "log.txt", level=logging.INFO, format="%(message)s")
    dataset = Pictures(length)
    network = wrap_network(small_network(frozen_statistics), "cpu")
    kind = torch.optim.SGD if sgd else torch.optim.Adam
    optimizer = kind(network.parameters(), 0.01)
    writer, progress = LazySummaryWriter(folder / "tensorboard"), Progress("training", _NoEvaluator())
    checkpoint = TrainingCheckpoint(
        folder,
        network,
        optimizer,
        {"seed": 1},
        dataset.data,
        resume=resume,
        minutes=1e12,
        also={"tensorboard": writer, "progress": progress},
        **checkpoint_options,
    )
    SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=build_loader(
            dataset,
            batch_size,
            shuffle=True,
            seed=1,
            num_workers=workers,
            multiprocessing_context="fork" if workers else None,  # as in a bundle's run
        ),
        network=network,
        optimizer=optimizer,
        loss_function=nn.CrossEntropyLoss(),
        prepare_batch=PrepareBatch(),
        train_handlers=[
            SeedIterations(1),
            GlobalBatchLoss(),
            BroadcastBuffers(network),
            TensorBoardStatsHandler(summary_writer=writer, tag_name="loss", output_transform=loss_value),
            checkpoint,
            progress,
            RunRecord(folder, {}, network, dataset.data),
            Recorder(folder, rank, signals or {}, checkpoint, save_at),
        ],
        decollate=False,
        **(trainer_options or {}),
    ).run()
    writer.close()
    if rank == 0:
        torch.save(unwrap_network(network).state_dict(), folder / "final.pt")
    if processes > 1:
        torch.distributed.destroy_process_group()


class _NoEvaluator:
    class state:  # noqa: N801 - an attribute of engines
        key_metric_name = None


def run(folder: Path, **options: Any) -> int:
    """Train in a process of its own; its exit status, negative for a signal."""
    return run_many(folder, 1, **options)[0]


def run_many(folder: Path, processes: int, signals_of: dict[int, dict[int, int]] | None = None, **options: Any) -> list:
    """Train in several processes over gloo; their exit statuses."""
    folder.mkdir(exist_ok=True)
    meeting = folder / "meeting"
    meeting.unlink(missing_ok=True)
    started = [
        CONTEXT.Process(
            target=train,
            args=(folder,),
            kwargs={
                "rank": rank,
                "processes": processes,
                "meeting": str(meeting),
                "signals": (signals_of or {}).get(rank),
                **options,
            },
        )
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(PATIENCE)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            raise AssertionError(f"{process.name} hung")
    return [process.exitcode for process in started]


def seen(folder: Path, rank: int = 0) -> list[dict[str, Any]]:
    """What each iteration of a rank was trained on; of one that was made twice, the later account."""
    rows = [json.loads(line) for line in (folder / f"seen-{rank}.jsonl").read_text().splitlines()]
    return list({(row["epoch"], row["iteration"]): row for row in rows}.values())
