"""An encoder's output for one fixed picture, which reveals a change of weights, convention or network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from radimagenet_monai.encoders.encoder import Encoder

TOLERANCE = 1e-3
"""Largest relative difference, in the Euclidean norm, between fingerprints of the same weights. Processors and
versions of torch differ by about 1e-6; swapped channels or another mean by more than 1e-2."""

PATTERN = "0.5 + 0.25 sin(2 pi (3 + 2 c) row / 224) + 0.25 cos(2 pi (5 + c) column / 224)"
_SIZE = 224


def fingerprint_image() -> Tensor:
    """A canonical image with three different channels, (1, 3, 224, 224) in [0, 1], by the formula `PATTERN`."""
    channel, row, column = np.meshgrid(np.arange(3), np.arange(_SIZE), np.arange(_SIZE), indexing="ij")
    waves = np.sin(2 * np.pi * (3 + 2 * channel) * row / _SIZE) + np.cos(2 * np.pi * (5 + channel) * column / _SIZE)
    return torch.from_numpy((0.5 + 0.25 * waves).astype(np.float32))[None]


def take_fingerprint(encoder: Encoder) -> list[float]:
    """Pooled features of `fingerprint_image` in float32 on the CPU, to seven significant digits."""
    encoder.eval()
    with torch.inference_mode():
        features = encoder.pooled(fingerprint_image())[0]
    return [float(f"{value:.7g}") for value in features.tolist()]


def fingerprint_difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Euclidean distance relative to the norm of the first; infinite if the lengths differ."""
    if len(one) != len(other):
        return float("inf")
    first, second = np.asarray(one), np.asarray(other)
    return float(np.linalg.norm(first - second) / max(float(np.linalg.norm(first)), 1e-30))
