"""Random reads of one image: PackedDataset beside MONAI's PersistentDataset, both filled before the clock starts.

    python benchmarks/packed_store.py [--images 1000] [--size 224]

One process, one thread; processor time is counted, so that other programs on the machine do not matter, and all files
are in the page cache. Both hold the same pictures after the same transform and give the same pixels, PackedDataset as
uint8 and PersistentDataset as float32, each as it would be put into a batch.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import monai
import numpy as np
import torch
from monai.data import PersistentDataset
from monai.transforms import Compose, LoadImaged, ScaleIntensityRanged, Transposed

from radimagenet_monai.loading import PackedDataset


def write_pictures(folder: Path, images: int, size: int) -> list[dict]:
    """Speckle of the wanted size, one PNG an image."""
    generator = np.random.default_rng(0)
    records = []
    for number in range(images):
        path = folder / f"{number:06d}.png"
        noise = generator.integers(0, 256, (size, size), dtype=np.uint8)
        cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 2))
        records.append({"image": str(path), "label": number % 2})
    return records


def rate(read: Callable[[int], object], order: np.ndarray, seconds: float) -> float:
    """Calls of ``read`` in a second of processor time, over the indices of ``order`` again and again."""
    reads = 0
    started = time.process_time()
    while (elapsed := time.process_time() - started) < seconds:
        for index in order[:100].tolist():
            read(index)
        order = np.roll(order, -100)
        reads += 100
    return reads / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000, help="number of images (default 1000)")
    parser.add_argument("--size", type=int, default=224, help="rows and columns (default 224)")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each measurement (default 5)")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    transform = Compose(
        [
            LoadImaged("image", reader="PILReader", ensure_channel_first=True),
            Transposed("image", (0, 2, 1)),
            ScaleIntensityRanged("image", 0, 255, 0, 1),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        records = write_pictures(Path(folder), arguments.images, arguments.size)
        started = time.perf_counter()
        packed = PackedDataset(records, transform, Path(folder) / "store", arguments.size, num_workers=1)
        print(f"packed {len(packed)} images in {time.perf_counter() - started:.1f} s with one worker")
        persistent = PersistentDataset(records, transform, Path(folder) / "cache")
        order = np.random.default_rng(1).permutation(arguments.images)
        for index in order.tolist():
            ours = packed[index]["image"]
            theirs = torch.round(persistent[index]["image"].as_tensor() * 255).to(torch.uint8)
            if not torch.equal(ours, theirs):
                raise SystemExit(f"image {index}: the two datasets disagree")
        print(
            f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()},"
        )
        print(f"MONAI {monai.__version__}, torch {torch.__version__}, NumPy {np.__version__}, OpenCV {cv2.__version__}")
        print(f"random reads of {arguments.images} images of {arguments.size} x {arguments.size}, one thread, CPU time")
        # Before and after, and the better one counts: a shared machine is not equally fast all the time.
        theirs_first = rate(persistent.__getitem__, order, arguments.seconds)
        ours_single = rate(packed.__getitem__, order, arguments.seconds)
        batches = order[: len(order) // 32 * 32].reshape(-1, 32)
        ours_batched = 32 * rate(
            lambda batch: packed.__getitems__(batches[batch % len(batches)].tolist()),
            np.arange(max(len(batches), 100)),
            arguments.seconds,
        )
        theirs_rate = max(theirs_first, rate(persistent.__getitem__, order, arguments.seconds))
        print(f"monai.data.PersistentDataset      {theirs_rate:>10,.0f} images/s")
        print(f"PackedDataset, one by one         {ours_single:>10,.0f} images/s   {ours_single / theirs_rate:6.1f} x")
        print(
            f"PackedDataset, in batches of 32   {ours_batched:>10,.0f} images/s   {ours_batched / theirs_rate:6.1f} x"
        )


if __name__ == "__main__":
    main()
