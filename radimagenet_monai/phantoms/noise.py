"""Random fields that phantoms are textured with, and numbers that spread classes evenly."""

from __future__ import annotations

import cv2
import numpy as np

_GOLDEN = 0.6180339887498949


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> np.ndarray:
    """``shape`` float32 of smooth noise about 0 with a standard deviation near 1 and details of ``cell`` pixels."""
    rows, columns = (max(2, round(side / max(cell, 1.0))) + 1 for side in shape)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC) * np.float32(1.25)


def grain(rng: np.random.Generator, shape: tuple[int, int], blur: float) -> np.ndarray:
    """``shape`` float32 of white noise blurred by a Gaussian of ``blur`` pixels, with standard deviation 1."""
    white = rng.standard_normal(shape, dtype=np.float32)
    if blur <= 0.2:
        return white
    blurred = cv2.GaussianBlur(white, (0, 0), blur)
    return blurred / np.float32(max(float(blurred.std()), 1e-6))


def rise(values: np.ndarray, width: float) -> np.ndarray:
    """0 ... 1: a soft step at 0 that takes about ``width`` to rise."""
    return np.clip(values / np.float32(width) + 0.5, 0, 1).astype(np.float32)


def even_share(seed: int, number: int) -> float:
    """0 ... 1 for item ``number`` of a sequence, spread evenly over any run of numbers.

    Classes drawn by thresholds on it come in their proportions for few items too, and a longer sequence begins with the
    shorter one.
    """
    start = float(np.random.default_rng([seed, 0]).random())
    return (start + number * _GOLDEN) % 1.0
