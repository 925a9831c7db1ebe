"""Batches for training: the packed loader beside the usual ways to feed a network, all in one run.

    python benchmarks/input_pipeline.py [--images 1024] [--size 224] [--batch 64] [--seconds 8]

Every side reads the same PNG files (phantoms in the layout of RadImageNet), shuffled, does the protocol's augmentation
(rotation, shift, zoom, horizontal flip; shear of a tenth of a degree is next to nothing and left out where it would be
a step of its own), and ends with a batch of float32 images in [0, 1] and labels. One process and one thread a side;
processor time of all threads is counted, so that other programs on the machine do not matter, and all files are in
the page cache. The sides are run in turns, three times, and the best turn of each counts.

The peers, each as its users write it:

- MONAI, dictionary transforms: LoadImaged, ScaleIntensityRanged, RandRotated, RandZoomd, RandFlipd (and a shift by
  RandAffined, which is left out here in its favor); composed: LoadImaged, ScaleIntensityRanged, RandAffined, RandFlipd.
- MONAI PersistentDataset: loading and scaling from its cache, then RandAffined and RandFlipd.
- Pillow: a torch Dataset that opens the file and does one affine transform, bilinearly, and a flip.
- Keras: image_dataset_from_directory and the layers RandomRotation, RandomTranslation, RandomZoom, RandomFlip, mapped
  over its tf.data pipeline. Needs TensorFlow (`pip install tensorflow-cpu`), which nothing else here does; where it is
  missing, that is said.

Packing, which ours and PersistentDataset do once before the first epoch, is not counted here; see `pack.py`.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from monai.data import DataLoader as MonaiDataLoader
from monai.data import Dataset as MonaiDataset
from monai.data import PersistentDataset
from monai.transforms import (
    Compose,
    LoadImaged,
    RandAffined,
    RandFlipd,
    RandRotated,
    RandZoomd,
    ScaleIntensityRanged,
    Transposed,
)
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from radimagenet_monai.loading import AffineAugmentation, PackedDataset, PrepareBatch, build_loader
from radimagenet_monai.phantoms import write_phantom

ROTATION, SHIFT, ZOOM = 10.0, 0.1, 0.1


class PillowDataset(Dataset):
    """What many write by hand: open, one affine transform, flip, tensor."""

    def __init__(self, records: list[dict]) -> None:
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        record = self.records[index]
        with Image.open(record["image"]) as picture:
            picture = picture.convert("L")
            angle = math.radians(random.uniform(-ROTATION, ROTATION))
            zoom = random.uniform(1 - ZOOM, 1 + ZOOM)
            columns, rows = picture.size
            cosine, sine = math.cos(angle) * zoom, math.sin(angle) * zoom
            x, y = columns / 2, rows / 2
            shift_x, shift_y = random.uniform(-SHIFT, SHIFT) * columns, random.uniform(-SHIFT, SHIFT) * rows
            matrix = (
                cosine,
                -sine,
                x - cosine * x + sine * y + shift_x,
                sine,
                cosine,
                y - sine * x - cosine * y + shift_y,
            )
            picture = picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
            if random.random() < 0.5:
                picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            pixels = np.asarray(picture)
        return torch.from_numpy(pixels.astype(np.float32) / 255)[None], record["label"]


def write_images(folder: Path, images: int, size: int) -> list[dict]:
    """Phantoms as PNG files in one folder a class, and their records."""
    root = write_phantom("radimagenet", folder / "phantoms", patients=images, size=size, workers=2, progress=False)
    files = sorted(Path(root).rglob("*.png"))[:images]
    classes = sorted({file.parent for file in files})
    return [{"image": str(file), "label": classes.index(file.parent)} for file in files]


def forever(loader: Any) -> Iterator[Any]:
    """Epoch after epoch."""
    epoch = 0
    while True:
        sampler = getattr(loader, "sampler", None)
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def to_load() -> list[Any]:
    return [
        LoadImaged("image", reader="PILReader", ensure_channel_first=True),
        Transposed("image", (0, 2, 1)),
        ScaleIntensityRanged("image", 0, 255, 0, 1),
    ]


def affine(size: int) -> list[Any]:
    return [
        RandAffined(
            "image",
            prob=1.0,
            rotate_range=math.radians(ROTATION),
            translate_range=(SHIFT * size,) * 2,
            scale_range=(ZOOM,) * 2,
            mode="bilinear",
            padding_mode="border",
            cache_grid=True,
            spatial_size=(size, size),
        ),
        RandFlipd("image", prob=0.5, spatial_axis=1),
    ]


def one_by_one() -> list[Any]:
    return [
        RandRotated("image", prob=1.0, range_x=math.radians(ROTATION), mode="bilinear", padding_mode="border"),
        RandZoomd("image", prob=1.0, min_zoom=1 - ZOOM, max_zoom=1 + ZOOM, mode="bilinear", padding_mode="edge"),
        RandFlipd("image", prob=0.5, spatial_axis=1),
    ]


def ours(records: list[dict], folder: Path, size: int, batch: int) -> dict[str, Callable[[], int]]:
    transform = Compose(to_load())
    augmentation = AffineAugmentation(rotation_degrees=ROTATION, shift=SHIFT, zoom=ZOOM)
    packed = PackedDataset(records, transform, folder / "store", size, num_workers=2, augmentation=augmentation)
    batches = forever(build_loader(packed, batch, shuffle=True))
    float_batches = forever(build_loader(packed, batch, shuffle=True))
    prepare = PrepareBatch()
    return {
        "packed loader, float32 batches": lambda: len(prepare(next(float_batches))[0]),
        "packed loader, uint8 batches as they go to the device": lambda: len(next(batches)["image"]),
    }


def monai_peers(records: list[dict], folder: Path, size: int, batch: int) -> dict[str, Callable[[], int]]:
    def batches(dataset: Any) -> Iterator[Any]:
        return forever(MonaiDataLoader(dataset, batch_size=batch, shuffle=True))

    persistent = PersistentDataset(records, Compose([*to_load(), *affine(size)]), folder / "cache")
    for index in range(len(records)):
        persistent[index]
    sources = {
        "MONAI dictionary transforms": batches(MonaiDataset(records, Compose([*to_load(), *one_by_one()]))),
        "MONAI dictionary transforms, composed": batches(MonaiDataset(records, Compose([*to_load(), *affine(size)]))),
        "MONAI PersistentDataset, composed": batches(persistent),
    }
    return {name: lambda source=source: len(next(source)["image"]) for name, source in sources.items()}


def keras_peers(folder: Path, size: int, batch: int) -> dict[str, Callable[[], int]]:
    """Keras on TensorFlow, whose tf.data its layers and ``image_dataset_from_directory`` are made for."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        import tensorflow
    except ImportError:
        print("Keras' image_dataset_from_directory is left out: TensorFlow is not installed")
        return {}
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    import keras

    layers = keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.RandomRotation(ROTATION / 360, fill_mode="nearest"),
            keras.layers.RandomTranslation(SHIFT, SHIFT, fill_mode="nearest"),
            keras.layers.RandomZoom((-ZOOM, ZOOM), (-ZOOM, ZOOM), fill_mode="nearest"),
            keras.layers.RandomFlip("horizontal"),
        ]
    )
    files = keras.utils.image_dataset_from_directory(
        str(folder), color_mode="grayscale", batch_size=batch, image_size=(size, size), verbose=False
    )
    source = forever(files.map(lambda images, labels: (layers(images, training=True), labels), num_parallel_calls=1))
    return {"Keras image_dataset_from_directory": lambda: len(next(source)[0])}


def rate(next_batch: Callable[[], int], seconds: float) -> float:
    """Images in a second of processor time."""
    next_batch()
    images, started = 0, time.process_time()
    while (elapsed := time.process_time() - started) < seconds:
        images += next_batch()
    return images / elapsed


def flat_folder(records: list[dict], folder: Path) -> Path:
    """One folder a class, as Keras wants it: links to the same files."""
    for record in records:
        place = folder / f"{record['label']:03d}"
        place.mkdir(parents=True, exist_ok=True)
        os.link(record["image"], place / Path(record["image"]).name)
    return folder


def versions() -> str:
    found = []
    for name in ("monai", "torch", "numpy", "opencv-python-headless", "pillow", "keras", "tensorflow-cpu"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1024, help="number of images (default 1024)")
    parser.add_argument("--size", type=int, default=224, help="rows and columns (default 224)")
    parser.add_argument("--batch", type=int, default=64, help="images in a batch (default 64)")
    parser.add_argument("--seconds", type=float, default=8.0, help="processor time of a turn (default 8)")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    size, batch = arguments.size, arguments.batch
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = write_images(folder, arguments.images, size)
        sides = ours(records, folder, size, batch)
        sides |= monai_peers(records, folder, size, batch)
        pillow = forever(DataLoader(PillowDataset(records), batch_size=batch, shuffle=True))
        sides["Pillow in a torch Dataset"] = lambda: len(next(pillow)[0])
        sides |= keras_peers(flat_folder(records, folder / "by_class"), size, batch)
        rates = dict.fromkeys(sides, 0.0)
        for _ in range(3):
            for side, next_batch in sides.items():
                rates[side] = max(rates[side], rate(next_batch, arguments.seconds / 3))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()};")
    print(versions())
    print(f"{len(records)} PNG images of {size} x {size}, batches of {batch}, one process, one thread, processor time")
    for reference in list(rates)[:2]:
        print(f"\n{reference}: {rates[reference]:,.0f} images/s; its ratio to")
        for side in list(rates)[2:]:
            print(f"  {side:<56}{rates[side]:>8,.0f} images/s {rates[reference] / rates[side]:8.1f} x")


if __name__ == "__main__":
    main()
