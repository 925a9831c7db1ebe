"""What `predict` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Mask:
    """A segmenter's answer for one image or series.

    Attributes
    ----------
    voxels
        uint8 ``(x, y, z)``, 0 or 1, in the image's own grid; ``(columns, rows, 1)`` for a picture. A fourth axis counts
        several volumes.
    affine
        (4, 4) from voxel (x, y, z, 1) to RAS mm; the identity where the position is unknown.
    """

    voxels: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """The answer for one study: an image, a series, or the series of an exam.

    Attributes
    ----------
    number
        From 1, in the order of the paths given and of names within them.
    files
        The images and, for a series, the file of its first slice.
    row
        The row of ``predictions.csv``; values are ``None`` where there is none.
    slices
        ``file`` (name), ``frame``, ``place`` (position in the image) and ``probabilities`` of each slice used; the last
        is ``None`` for a segmenter. Empty if results were written: ``predictions.json`` has them.
    questions
        Doubts about the images' values, by sentence: number of slices.
    written
        Files written for this study, relative to the output folder.
    masks
        Masks of each image or series; only if nothing was written.
    problem
        Why there is no answer; ``""`` if there is one.
    """

    number: int
    files: tuple[str, ...]
    row: dict[str, Any]
    slices: tuple[dict[str, Any], ...] = ()
    questions: dict[str, int] | None = None
    written: tuple[str, ...] = ()
    masks: tuple[Mask, ...] = ()
    problem: str = ""

    @property
    def probabilities(self) -> dict[str, float]:
        """Probability of each class or finding; empty for a segmenter or without an answer."""
        found = {name: value for name, value in self.row.items() if name.startswith("probability_")}
        return {name.removeprefix("probability_"): value for name, value in found.items() if value is not None}

    @property
    def decision(self) -> Any:
        """The class called, or 0 and 1 by finding; ``None`` for a segmenter or without an answer."""
        if "decision" in self.row:
            return self.row["decision"]
        found = {name.removeprefix("decision_"): value for name, value in self.row.items() if "decision_" in name}
        return found or None
