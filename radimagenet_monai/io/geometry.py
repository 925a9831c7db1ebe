"""Turning slices upright: the one place that knows which way is up.

All directions are in the patient coordinate system of DICOM (PS3.3 C.7.6.2.1.1), **LPS**: x to the patient's left,
y to posterior, z to the head. The display convention of radiology, and the slice order used throughout:

========  ================  =============  =====================
plane     rows run to       columns run to slices run to
========  ================  =============  =====================
axial     posterior (+y)    left (+x)      superior (+z)
coronal   inferior (-z)     left (+x)      posterior (+y)
sagittal  inferior (-z)     posterior (+y) left (+x)
========  ================  =============  =====================

The slices of a volume lie along its third stored axis, as it was acquired; nothing is resampled. The plane is that
whose normal is nearest to this axis. Rows and columns of an oblique slice go to the nearest of the two remaining
axes. A DICOM series, a NIfTI and an NRRD file of one study therefore give the same slices in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Plane = Literal["axial", "coronal", "sagittal"]

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
"""From the coordinates of NIfTI (right-anterior-superior is positive) to those of DICOM."""

# For each plane: (axis, sign) in LPS of the displayed rows and columns.
_DISPLAY: dict[Plane, tuple[tuple[int, int], tuple[int, int]]] = {
    "sagittal": ((2, -1), (1, +1)),
    "coronal": ((2, -1), (0, +1)),
    "axial": ((1, +1), (0, +1)),
}
_PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
# Directions closer than this are a tie; float32 quaternions and 6-digit DICOM strings differ by less.
_TIE = 1e-4


@dataclass(frozen=True)
class Upright:
    """What has to be done to stored slices to show them by the display convention.

    Attributes
    ----------
    plane
        The anatomical plane nearest to the slices.
    transpose
        Whether stored rows become displayed columns. Done before the flips.
    flip_rows, flip_columns
        Whether the displayed slice is turned upside down, left to right.
    flip_slices
        Whether the stored slice axis runs against the order above.
    """

    plane: Plane
    transpose: bool
    flip_rows: bool
    flip_columns: bool
    flip_slices: bool

    def slices(self, pixels: np.ndarray) -> np.ndarray:
        """``pixels`` (frames, rows, columns, ...) with every slice upright; the order of frames is kept. A view."""
        if self.transpose:
            pixels = pixels.swapaxes(1, 2)
        rows = slice(None, None, -1 if self.flip_rows else 1)
        columns = slice(None, None, -1 if self.flip_columns else 1)
        return pixels[:, rows, columns]

    def volume(self, pixels: np.ndarray) -> np.ndarray:
        """``pixels`` (slices, rows, columns, ...) with every slice upright and the slices in order. A view."""
        return self.slices(pixels[::-1] if self.flip_slices else pixels)

    def spacing(self, rows: float, columns: float) -> tuple[float, float]:
        """The stored distances between rows and between columns, in the displayed order."""
        return (columns, rows) if self.transpose else (rows, columns)


def upright(column_step: np.ndarray, row_step: np.ndarray, slice_step: np.ndarray) -> Upright:
    """Find out how stored slices have to be turned.

    Parameters
    ----------
    column_step, row_step, slice_step
        Where one goes, in LPS, when the stored column, row or slice index grows by one. Any length but zero.

    Returns
    -------
    Upright
        Transposition and flips to the display convention.

    Raises
    ------
    ValueError
        When a step is zero or not finite, or the three do not span the space.
    """
    steps = np.stack([np.asarray(step, float) for step in (column_step, row_step, slice_step)])
    lengths = np.linalg.norm(steps, axis=1)
    if not np.all(np.isfinite(lengths)) or np.any(lengths <= 0):
        raise ValueError("the directions of the image axes are zero or not finite")
    column, row, normal = steps / lengths[:, None]
    if abs(np.linalg.det([column, row, normal])) < 1e-3:
        raise ValueError("the directions of the image axes are parallel")

    plane = _PLANES[_nearest_axis(normal)]
    (row_axis, row_sign), (column_axis, column_sign) = _DISPLAY[plane]
    straight = abs(row[row_axis]) + abs(column[column_axis])
    crossed = abs(column[row_axis]) + abs(row[column_axis])
    transpose = bool(crossed > straight + _TIE)
    if transpose:
        row, column = column, row
    return Upright(
        plane=plane,
        transpose=transpose,
        flip_rows=bool(row[row_axis] * row_sign < 0),
        flip_columns=bool(column[column_axis] * column_sign < 0),
        flip_slices=bool(normal[_PLANES.index(plane)] < 0),
    )


def series_normal(orientation: np.ndarray) -> np.ndarray:
    """The normal of a slice, pointing in the slice order of its plane.

    Parameters
    ----------
    orientation
        Image Orientation (Patient): the direction in which columns grow, then that in which rows grow, (6,).

    Raises
    ------
    ValueError
        As :func:`upright`.
    """
    column, row = np.asarray(orientation, float).reshape(2, 3)
    normal = np.cross(column, row)
    return -normal if upright(column, row, normal).flip_slices else normal


def _nearest_axis(direction: np.ndarray) -> int:
    """The LPS axis nearest to ``direction``; of a tie the last, so that 45 degrees are axial before coronal."""
    sizes = np.abs(direction)
    return int(np.flatnonzero(sizes > sizes.max() - _TIE)[-1])
