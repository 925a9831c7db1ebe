"""Turn slices upright: the only module that defines which way is up.

All directions are in the patient coordinate system of DICOM (PS3.3 C.7.6.2.1.1), **LPS**: x to the patient's left,
y to posterior, z to the head. The display convention of radiology, and the slice order used throughout:

========  ================  =============  =====================
plane     rows run to       columns run to slices run to
========  ================  =============  =====================
axial     posterior (+y)    left (+x)      superior (+z)
coronal   inferior (-z)     left (+x)      posterior (+y)
sagittal  inferior (-z)     posterior (+y) left (+x)
========  ================  =============  =====================

The slices of a volume lie in the plane in which it was acquired (`acquisition_axis`), or in a plane requested by
name; nothing is ever resampled. The plane is named after the axis nearest to the slice normal. Rows and columns of an
oblique slice go to the nearest of the two remaining axes. A DICOM series, a NIfTI and an NRRD file of one study
therefore give the same slices in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal, get_args

import numpy as np

from radimagenet_monai.core.errors import ConfigurationError

Plane = Literal["axial", "coronal", "sagittal"]
PlaneChoice = Literal["axial", "coronal", "sagittal", "acquired", "stored"]
"""What may be asked for: a plane by name, ``"acquired"``, or ``"stored"``, which reads volumes along their third stored
axis and series with all slices at one position side by side, as release 0.1 did, for tables that it wrote."""
PLANES: tuple[Plane, ...] = get_args(Plane)

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
"""From the coordinates of NIfTI (right-anterior-superior is positive) to those of DICOM."""

# For each plane: (axis, sign) in LPS of the displayed rows and columns.
_DISPLAY: dict[Plane, tuple[tuple[int, int], tuple[int, int]]] = {
    "sagittal": ((2, -1), (1, +1)),
    "coronal": ((2, -1), (0, +1)),
    "axial": ((1, +1), (0, +1)),
}
# The plane whose normal is x, y, z.
_PLANE_OF_AXIS: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
# A spacing counts as clearly the largest if it exceeds the others by a tenth.
_CLEARLY = 1.1
# Directions closer than this count as tied; float32 quaternions and 6-digit DICOM strings differ by less.
_TIE = 1e-4


@dataclass(frozen=True)
class Upright:
    """Transposition and flips that show stored slices by the display convention.

    Attributes
    ----------
    plane
        Anatomical plane nearest to the slices.
    transpose
        Whether stored rows become displayed columns; applied before the flips.
    flip_rows, flip_columns
        Whether to flip the displayed slice upside down, and left to right.
    flip_slices
        Whether the stored slice axis runs against the slice order above.
    """

    plane: Plane
    transpose: bool
    flip_rows: bool
    flip_columns: bool
    flip_slices: bool

    def slices(self, pixels: np.ndarray) -> np.ndarray:
        """``pixels`` (frames, rows, columns, ...) with every slice upright and frames in the stored order. A view."""
        if self.transpose:
            pixels = pixels.swapaxes(1, 2)
        rows = slice(None, None, -1 if self.flip_rows else 1)
        columns = slice(None, None, -1 if self.flip_columns else 1)
        return pixels[:, rows, columns]

    def volume(self, pixels: np.ndarray) -> np.ndarray:
        """``pixels`` (slices, rows, columns, ...) with every slice upright and the slices in order. A view."""
        return self.slices(pixels[::-1] if self.flip_slices else pixels)

    def stored(self, frames: np.ndarray) -> np.ndarray:
        """Upright ``frames`` (slices, rows, columns, ...) of a volume as they are stored: undoes `volume`. A view."""
        rows = slice(None, None, -1 if self.flip_rows else 1)
        columns = slice(None, None, -1 if self.flip_columns else 1)
        pixels = frames[:: -1 if self.flip_slices else 1, rows, columns]
        return pixels.swapaxes(1, 2) if self.transpose else pixels

    def spacing(self, rows: float, columns: float) -> tuple[float, float]:
        """The stored distances between rows and between columns, in display order."""
        return (columns, rows) if self.transpose else (rows, columns)

    def affine(self, stored: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The affine of the result of `volume`, from the affine of the stored slices.

        Parameters
        ----------
        stored
            (4, 4), from stored (column, row, slice, 1) to mm.
        shape
            Number of stored slices, rows and columns.

        Returns
        -------
        numpy.ndarray
            (4, 4) float64, from upright (column, row, frame, 1) to the same mm.
        """
        slices, rows, columns = (int(length) for length in shape[:3])
        lengths = [columns, rows, slices]
        source = [1, 0, 2] if self.transpose else [0, 1, 2]  # the stored axis of the upright column, row and frame
        to_stored = np.zeros((4, 4))
        to_stored[3, 3] = 1
        for place, flip in enumerate((self.flip_columns, self.flip_rows, self.flip_slices)):
            to_stored[source[place], place] = -1 if flip else 1
            to_stored[source[place], 3] = lengths[source[place]] - 1 if flip else 0
        return np.asarray(stored, float) @ to_stored


def acquisition_axis(spacings: Sequence[float], sizes: Sequence[int], stated: int | None = None) -> int:
    """The axis along which a volume was most likely acquired slice by slice.

    The first of these that exists: an axis of a single voxel; the axis of the largest spacing, if it exceeds the others
    by a tenth; the axis that the file states; the axis of fewest voxels; the third axis.

    Parameters
    ----------
    spacings, sizes
        Spacing in mm and number of voxels of the three stored axes.
    stated
        Slice axis named in the header, or None.
    """
    single = [axis for axis in range(3) if sizes[axis] == 1]
    if single:
        return single[-1]
    order = sorted(range(3), key=lambda axis: spacings[axis])
    if spacings[order[2]] > _CLEARLY * spacings[order[1]]:
        return order[2]
    if stated is not None:
        return stated
    fewest = [axis for axis in range(3) if sizes[axis] == min(sizes)]
    return fewest[0] if len(fewest) == 1 else 2


def slice_axis(directions: np.ndarray, acquired: int, plane: PlaneChoice) -> int:
    """The stored axis along which the slices of a plane lie.

    Parameters
    ----------
    directions
        (3, 3); the columns are the LPS steps of the three stored axes.
    acquired
        Axis along which the volume was acquired, see `acquisition_axis`.
    plane
        Requested plane.
    """
    if plane == "stored":
        return 2
    lengths = np.linalg.norm(directions, axis=0)
    if plane == "acquired" or not (lengths > 0).all():
        return acquired
    steps = directions / lengths
    own = _nearest_axis(steps[:, acquired])
    wanted = _PLANE_OF_AXIS.index(plane)
    if own == wanted:
        return acquired
    # Match each stored axis to one patient axis, the acquired axis to the one that names its plane.
    best = max(
        (order for order in permutations(range(3)) if order[acquired] == own),
        key=lambda order: sum(abs(steps[order[axis], axis]) for axis in range(3)),
    )
    return best.index(wanted)


def require_plane(plane: str) -> None:
    """Refuse an unknown plane name.

    Raises
    ------
    ConfigurationError
    """
    if plane not in get_args(PlaneChoice):
        raise ConfigurationError(f"plane '{plane}' is unknown; expected {', '.join(PLANES)} or acquired")


def upright(
    column_step: np.ndarray, row_step: np.ndarray, slice_step: np.ndarray, plane: Plane | None = None
) -> Upright:
    """Find out how stored slices have to be turned.

    Parameters
    ----------
    column_step, row_step, slice_step
        LPS step for an increase of the stored column, row or slice index by one. Any non-zero length.
    plane
        Plane to show the slices as; by default the plane nearest to them.

    Returns
    -------
    Upright
        Transposition and flips to the display convention.

    Raises
    ------
    ValueError
        If a step is zero or not finite, or the three steps are linearly dependent.
    """
    steps = np.stack([np.asarray(step, float) for step in (column_step, row_step, slice_step)])
    lengths = np.linalg.norm(steps, axis=1)
    if not np.all(np.isfinite(lengths)) or np.any(lengths <= 0):
        raise ValueError("the directions of the image axes are zero or not finite")
    column, row, normal = steps / lengths[:, None]
    if abs(np.linalg.det([column, row, normal])) < 1e-3:
        raise ValueError("the directions of the image axes are parallel")

    plane = plane or _PLANE_OF_AXIS[_nearest_axis(normal)]
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
        flip_slices=bool(normal[_PLANE_OF_AXIS.index(plane)] < 0),
    )


def series_normal(orientation: np.ndarray) -> np.ndarray:
    """The normal of a slice, pointing in the slice order of its plane.

    Parameters
    ----------
    orientation
        Image Orientation (Patient), (6,): the direction in which columns grow, then that in which rows grow.

    Raises
    ------
    ValueError
        As :func:`upright`.
    """
    column, row = np.asarray(orientation, float).reshape(2, 3)
    normal = np.cross(column, row)
    return -normal if upright(column, row, normal).flip_slices else normal


def plane_of(orientation: np.ndarray) -> Plane | None:
    """The plane of a slice from its Image Orientation (Patient), (6,), or ``None`` if that is not an orientation."""
    column, row = np.asarray(orientation, float).reshape(2, 3)
    try:
        return upright(column, row, np.cross(column, row)).plane
    except ValueError:
        return None


def plane_of_normal(normal: np.ndarray) -> Plane | None:
    """The plane whose normal is nearest to a direction in LPS, or ``None`` for a direction of zero length."""
    length = float(np.linalg.norm(normal))
    return _PLANE_OF_AXIS[_nearest_axis(normal / length)] if np.isfinite(length) and length > 0 else None


def _nearest_axis(direction: np.ndarray) -> int:
    """The LPS axis nearest to ``direction``; the last one of a tie, so 45 degrees count as axial before coronal."""
    sizes = np.abs(direction)
    return int(np.flatnonzero(sizes > sizes.max() - _TIE)[-1])
