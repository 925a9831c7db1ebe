"""How far the outline of a segmented lesion is from that of its reference.

- *HD95*: 95th percentile of the distances from each outline to the other, the larger of the two directions
  (Huttenlocher DP et al., IEEE TPAMI 1993;15:850-863, with a percentile so that single pixels do not decide).
- *Normalized surface distance* (NSD, surface Dice): the share of both outlines that lies within a tolerance of the
  other (Nikolov S et al., J Med Internet Res 2021;23:e26151).

Computed by MONAI. The outline consists of the mask pixels that share a side with a pixel outside the mask or the image;
distances are between pixel centers. Distances in pixels depend on the resolution: images of one lesion at two sizes
have two HD95 values, and one tolerance is strict for one and lax for the other. Choose the tolerance by how far two
readers differ.

Both are undefined if the reference is empty. If only the prediction is empty, HD95 is the diagonal of the image, the
largest possible distance, and NSD is 0: excluding missed lesions would reward missing them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from radimagenet_monai.core.errors import RadImageNetError

Unit = Literal["pixels", "mm"]

TOLERANCE = 2.0
_PERCENTILE = 95


@dataclass(frozen=True)
class SurfaceDistance:
    """One image: ``hd95`` and ``tolerance`` in ``unit``, ``nsd`` from 0 to 1; ``None`` for an empty reference."""

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
    """Distance between the outlines of two masks of the same shape; nonzero pixels are lesion.

    Parameters
    ----------
    predicted, reference
        ``(rows, columns)``.
    tolerance
        Distance up to which outlines count as equal for the NSD, in mm with a spacing, otherwise in pixels.
    spacing
        Pixel spacing in mm (between rows, between columns); ``None`` to measure in pixels.

    Raises
    ------
    RadImageNetError
        For masks that are not 2D or differ in shape, a negative tolerance, or a spacing that is not positive.
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
    # Imported here so that the other statistics do not need torch.
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    first, second = (torch.from_numpy(np.stack([~mask, mask])[None]) for mask in (found, true))
    with warnings.catch_warnings():
        # MONAI warns about an argument that it passes itself.
        warnings.filterwarnings("ignore", "(?s).*always_return_as_numpy", FutureWarning)
        hd95 = compute_hausdorff_distance(
            first, second, include_background=False, percentile=_PERCENTILE, spacing=list(steps)
        )
        nsd = compute_surface_dice(first, second, [tolerance], include_background=False, spacing=list(steps))
    return float(hd95), float(nsd)
