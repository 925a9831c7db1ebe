"""The protocol's augmentation: our OpenCV warp and our batch warp beside MONAI's RandAffined.

    python benchmarks/augmentation.py [--size 224] [--batch 32]

One thread; processor time is counted, so that other programs on the machine do not matter.
All three rotate, shift, zoom and flip a uint8 image, bilinearly, with freshly drawn parameters. MONAI's transform works
on float32, so its conversion is counted, as it is in our batch warp.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import time
from collections.abc import Callable

import cv2
import monai
import numpy as np
import torch
from monai.transforms import Compose, RandAffined, RandFlipd

from radimagenet_monai.loading import AffineAugmentation, PrepareBatch
from radimagenet_monai.loading.augmentation import warp_with_opencv


def rate(augment: Callable[[int], object], images_a_call: int, seconds: float) -> float:
    """Images through ``augment``, which is given the number of the call, in a second of processor time."""
    augment(0)
    calls = 0
    started = time.process_time()
    while (elapsed := time.process_time() - started) < seconds:
        calls += 1
        augment(calls)
    return calls * images_a_call / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224, help="rows and columns (default 224)")
    parser.add_argument("--batch", type=int, default=32, help="images in a batch (default 32)")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each measurement (default 5)")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    size, batch = arguments.size, arguments.batch
    noise = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
    image = cv2.GaussianBlur(noise, (0, 0), 2)
    ours = AffineAugmentation()
    whole_batch = torch.from_numpy(image).repeat(batch, 1, 1, 1)
    prepare = PrepareBatch(ours)
    monai_affine = Compose(
        [
            RandAffined(
                "image",
                prob=1.0,
                rotate_range=np.deg2rad(ours.rotation_degrees),
                shear_range=(np.tan(np.deg2rad(ours.shear_degrees)),) * 2,
                translate_range=(ours.shift * size,) * 2,
                scale_range=(ours.zoom,) * 2,
                mode="bilinear",
                padding_mode="border",
                cache_grid=True,
                spatial_size=(size, size),
            ),
            RandFlipd("image", prob=0.5, spatial_axis=1),
        ]
    )

    def warp_batch(call: int) -> torch.Tensor:
        index = torch.arange(batch)
        return prepare({"image": whole_batch, "epoch": torch.full_like(index, call), "index": index})[0]

    def warp_together(call: int) -> list[np.ndarray]:
        matrices = ours.matrices(call, np.arange(batch), (size, size))
        return [warp_with_opencv(image, matrix) for matrix in matrices]

    def warp_with_monai(call: int) -> object:
        return monai_affine({"image": torch.from_numpy(image)[None].float() * (1 / 255)})

    indices = np.arange(1000)
    rates = {
        "monai RandAffined, RandFlipd": rate(warp_with_monai, 1, arguments.seconds),
        "OpenCV warp, one by one": rate(lambda call: ours.warp(image, call, 0), 1, arguments.seconds),
        f"OpenCV warp, {batch} at a time": rate(warp_together, batch, arguments.seconds),
        f"torch warp, batch of {batch}": rate(warp_batch, batch, arguments.seconds),
        "parameters and matrices alone": rate(lambda call: ours.matrices(call, indices, (size, size)), 1000, 1.0),
    }
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()},")
    print(f"MONAI {monai.__version__}, torch {torch.__version__}, NumPy {np.__version__}, OpenCV {cv2.__version__}")
    print(f"one image of {size} x {size}, one channel, one thread, processor time")
    peer = rates["monai RandAffined, RandFlipd"]
    for name, images_a_second in rates.items():
        print(f"{name:<32}{images_a_second:>10,.0f} images/s   {images_a_second / peer:8.1f} x")


if __name__ == "__main__":
    main()
