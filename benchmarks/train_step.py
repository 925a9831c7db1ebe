"""Training images a second: this bundle beside the same network run as MONAI's model zoo runs its bundles.

    python benchmarks/train_step.py [--size 224] [--batch 16] [--architecture resnet50]

Ours is the breast bundle's own train.json: packed store, one composed warp an image, channels-last, bfloat16
autocast. The peer is the same classifier with MONAI's SupervisedTrainer in float32 and NCHW layout, fed by a
``Dataset`` of per-item dictionary transforms (load, channel first, scale, resize, rotate, zoom, flip) in a
``DataLoader`` with as many workers. Both train on the same phantom images from the same batch size; the first epoch
of each warms up and does not count; the two alternate, each round in a process of its own.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import monai
import torch
from ignite.engine import Engine, Events
from monai.bundle import create_workflow
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Lambdad,
    LoadImaged,
    RandFlipd,
    RandRotated,
    RandZoomd,
    Resized,
    ScaleIntensityd,
)

from radimagenet_monai.collection.render import write_bundles
from radimagenet_monai.datasets import prepare, read_records
from radimagenet_monai.engine import keep_freed_memory
from radimagenet_monai.models import build_classifier
from radimagenet_monai.phantoms import write_phantom

TASK = "breast_mass_us_classification"

# Checkpoints, records and validation belong to a run, not to a training step.
SEED_ONLY = [{"_target_": "radimagenet_monai.engine.SeedIterations", "seed": 0}]


class Rate:
    """Images a second of each epoch after the first, from its start to its last iteration."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.rates: list[float] = []
        self._started = self._ended = 0.0
        self._batches = 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)

    def _start(self, engine: Engine) -> None:
        self._started, self._batches = time.perf_counter(), 0

    def _step(self, engine: Engine) -> None:
        self._ended = time.perf_counter()
        self._batches += 1

    def _finish(self, engine: Engine) -> None:
        if engine.state.epoch > 1:
            self.rates.append(self._batches * self.batch_size / (self._ended - self._started))


def this_bundle(folder: Path, options: argparse.Namespace) -> float:
    """One measured round of the bundle's own training."""
    (bundle,) = write_bundles(folder / "bundles", [TASK])
    shutil.rmtree(bundle / "output", ignore_errors=True)
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "train.json"),
        workflow_type="train",
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(folder / "phantoms"),
        datalist=str(folder / "prepared" / "records.csv"),
        store_dir=str(folder / "store"),
        architecture=options.architecture,
        image_size=options.size,
        batch_size=options.batch,
        num_workers=options.workers,
        max_epochs=2,
        **{"train#dataloader#drop_last": True, "train#handlers": SEED_ONLY},
    )
    workflow.initialize()
    keep_freed_memory("cpu")
    trainer = workflow.parser.get_parsed_content("train#trainer")
    return measured(trainer, options.batch)


def the_zoos_way(folder: Path, options: argparse.Namespace) -> float:
    """One measured round of the peer."""
    data = folder / "phantoms"
    frame = read_records(folder / "prepared" / "records.csv")
    frame = frame[frame["split"] == "train"]
    items = [
        {"image": str(data / image), "label": int(label == "malignant")}
        for image, label in zip(frame["image"], frame["label"], strict=True)
    ]
    transform = Compose(
        [
            LoadImaged("image", reverse_indexing=False),
            EnsureChannelFirstd("image", channel_dim="no_channel" if _is_gray(items[0]["image"]) else -1),
            Lambdad("image", lambda image: image[:3].mean(0, keepdim=True)),
            ScaleIntensityd("image"),
            Resized("image", (options.size, options.size)),
            RandRotated("image", range_x=10 * 3.14159 / 180, prob=1.0, padding_mode="border"),
            RandZoomd("image", min_zoom=0.9, max_zoom=1.1, prob=1.0),
            RandFlipd("image", spatial_axis=1, prob=0.5),
        ]
    )

    torch.manual_seed(0)
    network = build_classifier(options.architecture, num_classes=2)
    loader = DataLoader(
        Dataset(items, transform),
        batch_size=options.batch,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=2,
        train_data_loader=loader,
        network=network,
        optimizer=torch.optim.Adam(network.parameters(), 1e-4),
        loss_function=torch.nn.CrossEntropyLoss(),
    )
    return measured(trainer, options.batch)


def measured(trainer: SupervisedTrainer, batch_size: int) -> float:
    """Run the trainer and return the rate of its second epoch."""
    rate = Rate(batch_size)
    rate.attach(trainer)
    trainer.run()
    return rate.rates[-1]


def _is_gray(path: str) -> bool:
    from PIL import Image

    with Image.open(path) as picture:
        return len(picture.getbands()) == 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224, help="rows and columns (default 224)")
    parser.add_argument("--batch", type=int, default=16, help="images in a batch (default 16)")
    parser.add_argument("--images", type=int, default=70, help="phantom images, 70 %% of them train (default 70)")
    parser.add_argument("--architecture", default="resnet50")
    parser.add_argument("--workers", type=int, default=2, help="loader processes on each side (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds; medians are compared (default 3)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(f"rate {SIDES[options.side](options.folder, options)}")
        return
    rates: dict[str, list[float]] = {name: [] for name in SIDES}
    with tempfile.TemporaryDirectory() as temporary:
        data = write_phantom("busi", Path(temporary) / "phantoms", patients=options.images, workers=2, progress=False)
        prepare("busi", data, Path(temporary) / "prepared")
        # A process a round: neither side inherits the other's threads, memory or settings.
        for name in [*SIDES] * options.rounds:
            command = [sys.executable, *sys.argv, "--side", name, "--folder", temporary]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rates[name].append(float(output.split("rate ")[-1]))
            print(f"  {name}: {rates[name][-1]:.2f} images/s", flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{options.architecture}, {options.size} px, batch {options.batch}, {torch.get_num_threads()} threads")
    for name, value in medians.items():
        print(f"{name:12} {value:8.2f} images/s")
    print(f"ratio        {medians['this bundle'] / medians['model zoo']:8.2f}")
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, MONAI {monai.__version__}")


SIDES = {"this bundle": this_bundle, "model zoo": the_zoos_way}


if __name__ == "__main__":
    main()
