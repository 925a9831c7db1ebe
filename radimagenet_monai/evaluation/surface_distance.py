"""How far the outline of a segmented lesion is from that of its reference.

- *HD95*: of the distances from each outline to the other one, the 95th percentile; the larger of the two directions
  (Huttenlocher DP et al., IEEE TPAMI 1993;15:850-863, with a percentile so that single pixels do not decide).
- *Normalized surface distance* (NSD, surface Dice): the share of both outlines that lies within a tolerance of the
  other (Nikolov S et al., J Med Internet Res 2021;23:e26151).

By MONAI. An outline is made of the pixels of the mask that touch, by a side, what is outside of it or of the image;
distances are between centers of pixels. Distances in pixels depend on the resolution: pictures of one lesion in two
sizes have two HD95, and one tolerance is strict for the one and lax for the other. Choose the tolerance by how far
two readers differ.

Where the reference is empty, neither is defined. Where only the prediction is, HD95 is the diagonal of the image, the
largest distance there is, and NSD is 0: leaving missed lesions out would reward missing them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from radimagenet_monai.errors import RadImageNetError

Unit = Literal["pixels", "mm"]

TOLERANCE = 2.0
_PERCENTILE = 95


@dataclass(frozen=True)
class SurfaceDistance:
    """Of one image; ``hd95`` and ``tolerance`` in ``unit``, ``nsd`` from 0 to 1; ``None`` for an empty reference."""

    hd95: float | None
    nsd: float | None
    unit: Unit
    tolerance: float


def measure_surface_distance(
    predicted: np.ndarray,
    reference: np.ndarray,
    tolerance: float = TOLERANCE,
    spacing: Sequence[float] | None = None,
) -> SurfaceDistance:
    """Distance between the outlines of two masks of the same shape; what is not zero is lesion.

    Parameters
    ----------
    predicted, reference
        ``(rows, columns)``.
    tolerance
        Up to which distance outlines count as the same for the NSD; in mm with a spacing, else in pixels.
    spacing
        Millimeters between rows and between columns; ``None`` measures in pixels.

    Raises
    ------
    RadImageNetError
        For masks of other or different shapes, a negative tolerance, or a spacing that is not positive.
    """
    if predicted.shape != reference.shape or reference.ndim != 2:
        raise RadImageNetError(
            f"a mask of shape {predicted.shape} was given for a reference of {reference.shape}; expected two pictures "
            "of the same size"
        )
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise RadImageNetError(f"tolerance {tolerance} was given; expected a distance of 0 or more")
    steps = (1.0, 1.0) if spacing is None else tuple(float(step) for step in spacing)
    if len(steps) != 2 or not all(math.isfinite(step) and step > 0 for step in steps):
        raise RadImageNetError(f"spacing {steps} was given; expected the mm between rows and between columns")
    unit: Unit = "pixels" if spacing is None else "mm"
    found, true = predicted.astype(bool), reference.astype(bool)
    if not true.any():
        return SurfaceDistance(None, None, unit, tolerance)
    if not found.any():
        diagonal = math.hypot(*(length * step for length, step in zip(true.shape, steps, strict=True)))
        return SurfaceDistance(diagonal, 0.0, unit, tolerance)
    hd95, nsd = _measure(found, true, tolerance, steps)
    return SurfaceDistance(hd95, nsd, unit, tolerance)


def _measure(found: np.ndarray, true: np.ndarray, tolerance: float, steps: tuple[float, ...]) -> tuple[float, float]:
    # Imported here, since nothing else of the statistics needs torch.
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    first, second = (torch.from_numpy(np.stack([~mask, mask])[None]) for mask in (found, true))
    with warnings.catch_warnings():
        # MONAI warns of an argument that it passes itself.
        warnings.filterwarnings("ignore", "(?s).*always_return_as_numpy", FutureWarning)
        hd95 = compute_hausdorff_distance(
            first, second, include_background=False, percentile=_PERCENTILE, spacing=list(steps)
        )
        nsd = compute_surface_dice(first, second, [tolerance], include_background=False, spacing=list(steps))
    return float(hd95), float(nsd)
