"""Random fields for the texture of phantoms, and numbers that distribute classes evenly."""

from __future__ import annotations

import cv2
import numpy as np

_GOLDEN = 0.6180339887498949


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> np.ndarray:
    """Smooth noise, ``shape`` float32, with mean 0, a standard deviation near 1 and details of ``cell`` pixels."""
    rows, columns = (max(2, round(side / max(cell, 1.0))) + 1 for side in shape)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC) * np.float32(1.25)


def grain(rng: np.random.Generator, shape: tuple[int, int], blur: float) -> np.ndarray:
    """White noise, ``shape`` float32, blurred by a Gaussian of ``blur`` pixels, with standard deviation 1."""
    white = rng.standard_normal(shape, dtype=np.float32)
    if blur <= 0.2:
        return white
    blurred = cv2.GaussianBlur(white, (0, 0), blur)
    return blurred / np.float32(max(float(blurred.std()), 1e-6))


def rise(values: np.ndarray, width: float) -> np.ndarray:
    """A soft step from 0 to 1 at 0, which rises over about ``width``."""
    return np.clip(values / np.float32(width) + 0.5, 0, 1).astype(np.float32)


def even_share(seed: int, number: int) -> float:
    """A number in 0 ... 1 for item ``number`` of a sequence that is evenly spread over any run of items.

    Classes drawn by thresholds on it have the right proportions even for few items, and a longer sequence begins with
    the shorter one.
    """
    start = float(np.random.default_rng([seed, 0]).random())
    return (start + number * _GOLDEN) % 1.0
