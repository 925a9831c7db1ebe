"""Training end to end beside its limit: the same step on a batch that is on the device already.

    python benchmarks/end_to_end.py [--architecture resnet50] [--size 224] [--batch 16] [--iterations 24] [--workers 2]

Both sides are the trainer that the pretraining bundle's own train.json builds, with its loss, optimizer, precision and
step; validation, checkpoints and logs are left out. One side reads a packed store of phantoms through the bundle's
loader with the bundle's augmentation; the other is given one batch, ready on the device, again and again. They run in
turns; the better of three turns of each counts, the first iterations of a turn are not counted. On a GPU use batches of
256 and more iterations.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import monai
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser

from radimagenet_monai.collection.render import write_bundles
from radimagenet_monai.phantoms import write_phantom

_NOT_COUNTED = 4


def build_trainer(folder: Path, arguments: argparse.Namespace) -> Any:
    """The trainer of the bundle, without handlers, on phantoms."""
    images = arguments.batch * (arguments.iterations + _NOT_COUNTED)
    data = write_phantom("radimagenet", folder / "phantoms", patients=2 * images, size=arguments.size, workers=2)
    (bundle,) = write_bundles(folder, [f"radimagenet_{arguments.architecture}_pretraining"])
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "train.json")
    parser["bundle_root"] = str(bundle)
    parser["dataset_dir"] = str(data)
    parser["image_size"] = arguments.size
    parser["batch_size"] = arguments.batch
    parser["num_workers"] = arguments.workers
    parser["max_epochs"] = 1
    if arguments.device:
        parser["device"] = f"$torch.device('{arguments.device}')"
    parser["train"]["trainer"]["train_handlers"] = []
    parser.get_parsed_content("initialize")
    return parser.get_parsed_content("train::trainer")


class Again:
    """A loader that gives one batch as often as another loader gives batches."""

    def __init__(self, batch: Any, length: int) -> None:
        self.batch = batch
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Any:
        return iter([self.batch] * self.length)


def rate(trainer: Any, loader: Any, prepare_batch: Any, arguments: argparse.Namespace) -> tuple[float, float]:
    """Images a second of one turn, and the share of its time spent waiting for a batch."""
    trainer.data_loader, trainer.prepare_batch = loader, prepare_batch
    trainer.state.epoch_length = min(arguments.iterations + _NOT_COUNTED, len(loader))
    trainer.state.max_epochs = 1
    facts = {"start": 0.0, "end": 0.0, "images": 0, "waited": 0.0, "asked": 0.0}

    def now() -> float:
        if trainer.state.device.type == "cuda":
            torch.cuda.synchronize(trainer.state.device)
        return time.perf_counter()

    def count(engine: Any) -> None:
        if engine.state.iteration == _NOT_COUNTED:
            facts["start"] = now()
        elif engine.state.iteration > _NOT_COUNTED:
            facts["images"] += len(engine.state.output["image"])
            if engine.state.iteration == engine.state.epoch_length:
                facts["end"] = now()

    def ask(engine: Any) -> None:
        facts["asked"] = time.perf_counter()

    def get(engine: Any) -> None:
        if engine.state.iteration >= _NOT_COUNTED:
            facts["waited"] += time.perf_counter() - facts["asked"]

    added = [
        trainer.add_event_handler(Events.ITERATION_COMPLETED, count),
        trainer.add_event_handler(Events.GET_BATCH_STARTED, ask),
        trainer.add_event_handler(Events.GET_BATCH_COMPLETED, get),
    ]
    trainer.state.iteration = trainer.state.epoch = 0
    trainer.run()
    for handler in added:
        handler.remove()
    seconds = facts["end"] - facts["start"]
    return facts["images"] / seconds, facts["waited"] / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="resnet50", help="of the bundle (default resnet50)")
    parser.add_argument("--size", type=int, default=224, help="rows and columns (default 224)")
    parser.add_argument("--batch", type=int, default=16, help="images in a batch (default 16)")
    parser.add_argument("--iterations", type=int, default=24, help="counted iterations of a turn (default 24)")
    parser.add_argument("--workers", type=int, default=2, help="loader processes (default 2)")
    parser.add_argument("--device", default="", help="such as cuda:0 or cpu; by default the bundle's choice")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        trainer = build_trainer(Path(name), arguments)
        loader, prepare = trainer.data_loader, trainer.prepare_batch
        ready = prepare(next(iter(loader)), trainer.state.device)
        best, limit, wait = 0.0, 0.0, 0.0
        for _ in range(3):
            limit = max(limit, rate(trainer, Again({}, len(loader)), lambda *_, **__: ready, arguments)[0])
            found, waited = rate(trainer, loader, prepare, arguments)
            if found > best:
                best, wait = found, waited
    device = trainer.state.device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()},")
    print(f"MONAI {monai.__version__}, torch {torch.__version__}; {arguments.architecture} on {device} ({where}),")
    print(f"{arguments.size} x {arguments.size}, batches of {arguments.batch}, {arguments.workers} loader processes")
    print(f"the same step on data already on the device {limit:>10,.1f} images/s")
    print(f"end to end                                  {best:>10,.1f} images/s   {best / limit:6.3f} of the limit")
    print(f"waiting for data                            {100 * wait:>10.1f} % of the time")


if __name__ == "__main__":
    main()
