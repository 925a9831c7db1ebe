"""Where a mask lies on its image.

Where both files place their pixels in the patient, positions decide: in whatever order, orientation and plane the two
were stored, a pixel of the image has the value of the mask's pixel nearest to its place. Without positions a mask needs
the rows, columns and frames of its image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np

from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.native_image import NativeImage
from radimagenet_monai.io.reader import image_kind
from radimagenet_monai.io.volume import stored_affine

_SAME_PLACE = 0.1  # of a pixel: more than rounding in headers, less than what a nearest pixel could change
_LEAST_INSIDE = 0.99  # of the lesion, on the image


@dataclass(frozen=True)
class Grid:
    """Pixels and their places.

    Attributes
    ----------
    shape
        Frames, rows, columns; frames of all volumes.
    affine
        As of `NativeImage`; ``None`` where places are unknown.
    volumes
        As of `NativeImage`.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray | None
    volumes: int

    @classmethod
    def of(cls, image: NativeImage) -> Grid:
        """The grid of an image."""
        frames, rows, columns = image.pixels.shape[:3]
        return cls((int(frames), int(rows), int(columns)), image.affine, image.volumes)

    @property
    def frames(self) -> int:
        """Frames of one volume."""
        return self.shape[0] // self.volumes

    def in_words(self) -> str:
        """``20 x 64 x 64 pixels (frames x rows x columns)``."""
        return f"{' x '.join(map(str, self.shape))} pixels (frames x rows x columns)"


Order = Literal["placed", "placed as stored", "stored", "default"]
"""How a file came to be upright: turned by the positions it states; by these, but they left it as it is stored; not at
all, as it states none; turned as nibabel does where a NIfTI file states none."""


def order_of(image: NativeImage) -> Order:
    """How an image came to be upright."""
    if image.source in ("picture", "array"):
        return "stored"
    if image.source == "dicom":
        placed = image.plane is not None or image.affine is not None
        return "placed" if placed and image.in_order else "stored"
    is_nifti = Path(image.path).is_file() and image_kind(image.path) == "nifti"
    if image.affine is None:
        return "default" if is_nifti else "stored"
    if is_nifti:
        with stage(image.path, "header"):
            codes = nib.orientations.aff2axcodes(stored_affine(image.path))
        return "placed as stored" if codes == ("L", "P", "S") else "placed"
    return "placed"


def agree_by_number(mask: Order, image: Order, frames: int) -> bool:
    """Whether the same frame, row and column of mask and image are the same place, although one states no positions.

    A single frame with positions, such as a DICOM slice, is paired with a picture that has none: such a mask is drawn
    on the slice as a viewer shows it, which is upright.
    """
    if mask == image:
        return mask in ("stored", "default")
    if {mask, image} == {"stored", "placed as stored"}:
        return True
    return frames == 1 and mask == "stored" and image == "placed"


@dataclass(frozen=True)
class Placement:
    """How to find the mask's pixel for a pixel of the image.

    Attributes
    ----------
    matrix
        ``(4, 4)`` from (column, row, frame, 1) of the image to that of the mask, frames within a volume.
    is_same
        Whether each pixel of the image has one of the mask at its very place, and none is left over.
    covered
        Share of the image's pixels at whose place the mask has one.
    """

    matrix: np.ndarray
    is_same: bool
    covered: float


def place(mask: Grid, image: Grid) -> Placement | str:
    """Relate two grids whose places are known, or say why that cannot be right.

    Examples
    --------
    >>> half = Grid((4, 2, 2), np.diag([2.0, 2.0, 1.0, 1.0]), 1)
    >>> place(half, Grid((4, 4, 4), np.eye(4), 1)).is_same
    False
    """
    assert mask.affine is not None
    assert image.affine is not None
    if mask.volumes not in (1, image.volumes):
        return f"it has {mask.volumes} volumes, its image {image.volumes}; give one mask, or one for each volume"
    matrix = np.linalg.inv(mask.affine) @ image.affine
    sizes = np.array([mask.shape[2], mask.shape[1], mask.frames])
    ends = np.array([image.shape[2], image.shape[1], image.frames]) - 1
    corners = np.array([[c * ends[0], r * ends[1], f * ends[2], 1] for c in (0, 1) for r in (0, 1) for f in (0, 1)])
    reached = (corners @ matrix.T)[:, :3]
    # Whole-numbered places of corners and steps give whole-numbered places everywhere.
    steps = matrix[:3, :3]
    whole = bool(
        np.abs(reached - np.rint(reached)).max() <= _SAME_PLACE
        and np.abs(np.abs(steps).sum(axis=0)[ends > 0] - 1).max(initial=0) <= _SAME_PLACE
        and np.abs(np.abs(steps).max(axis=0)[ends > 0] - 1).max(initial=0) <= _SAME_PLACE
    )
    nearest = np.rint(reached)
    fills = bool((nearest.min(axis=0) == 0).all() and (nearest.max(axis=0) == sizes - 1).all())
    covered = _covered(matrix, image, sizes)
    if not (whole and fills) and sorted(sizes) == sorted(ends + 1) and _other_pixel_size(mask, image):
        return (
            f"it has as many pixels as its image but of another size ({_pixel_size(mask)} mm, its image "
            f"{_pixel_size(image)}): most likely its affine was lost; give it the affine of the image"
        )
    if covered == 0:
        return "no pixel of it lies on its image: it belongs to another image, or its affine was lost"
    return Placement(matrix, whole and fills, covered)


def sample(
    lesion: Callable[[slice], np.ndarray], mask: Grid, image: Grid, placement: Placement, frame: int
) -> np.ndarray:
    """One frame of the image: the nearest pixel of the mask, false where the mask has none.

    Parameters
    ----------
    lesion
        Gives some frames of the mask, ``(frames, rows, columns)`` booleans.
    mask, image, placement
        As given to and by `place`.
    frame
        Of the image.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` bool.
    """
    volume, slice_number = divmod(frame, image.frames)
    first = volume * mask.frames if mask.volumes > 1 else 0
    rows, columns = image.shape[1:]
    reached = _nearest_pixels(placement.matrix, np.arange(columns)[None, :], np.arange(rows)[:, None], slice_number)
    column, row, number = reached
    inside = (
        (column >= 0)
        & (column < mask.shape[2])
        & (row >= 0)
        & (row < mask.shape[1])
        & (number >= 0)
        & (number < mask.frames)
    )
    found = np.zeros((rows, columns), bool)
    number, row, column = (np.broadcast_to(index, inside.shape)[inside] for index in (number, row, column))
    if len(number):
        lowest = int(number.min())
        needed = lesion(slice(first + lowest, first + int(number.max()) + 1))
        found[inside] = needed[number - lowest, row, column]
    return found


def lesion_outside(lesion: np.ndarray, mask: Grid, image: Grid, placement: Placement) -> str:
    """In words, what share of the lesion lies off the image, where that is more than rounding makes; else ``""``."""
    if placement.is_same:
        return ""
    frames, rows, columns = np.nonzero(lesion)
    if not len(frames):
        return ""
    back = np.linalg.inv(placement.matrix)
    numbers = frames % mask.frames
    column, row, number = (
        back[axis, 0] * columns + back[axis, 1] * rows + back[axis, 2] * numbers + back[axis, 3] for axis in range(3)
    )
    # A pixel of the mask may be larger than one of the image: it lies on the image where any part of it does.
    reach = np.abs(back[:3, :3]).sum(axis=1) / 2 + 0.5
    inside = (
        (column >= -reach[0])
        & (column <= image.shape[2] - 1 + reach[0])
        & (row >= -reach[1])
        & (row <= image.shape[1] - 1 + reach[1])
        & (number >= -reach[2])
        & (number <= image.frames - 1 + reach[2])
    )
    if image.frames == 1:  # one slice of a series: the rest of the lesion is on the others
        inside |= (number < -reach[2]) | (number > reach[2])
    share = 1 - float(inside.mean())
    return f"{share:.0%} of its lesion lies off its image" if share > 1 - _LEAST_INSIDE else ""


def _nearest_pixels(
    matrix: np.ndarray, columns: np.ndarray, rows: np.ndarray, frame: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Of two pixels that are equally near, rounding in the affine must not choose.
    reached = (
        matrix[axis, 0] * columns + matrix[axis, 1] * rows + matrix[axis, 2] * frame + matrix[axis, 3]
        for axis in range(3)
    )
    column, row, number = (np.floor(np.round(value, 4) + 0.5).astype(np.int64) for value in reached)
    return column, row, number


def _covered(matrix: np.ndarray, image: Grid, sizes: np.ndarray) -> float:
    """Share of a sample of the image's pixels that have a pixel of the mask at their place."""
    steps = [np.unique(np.linspace(0, length - 1, min(length, 32)).round().astype(int)) for length in image.shape[1:]]
    rows, columns = steps
    inside = 0
    total = 0
    for frame in range(image.frames):
        reached = _nearest_pixels(matrix, columns[None, :], rows[:, None], frame)
        within = [(value >= 0) & (value < size) for value, size in zip(reached, sizes, strict=True)]
        inside += int(np.logical_and.reduce(within).sum())
        total += len(rows) * len(columns)
    return inside / total


def _steps(grid: Grid) -> np.ndarray:
    assert grid.affine is not None
    return np.linalg.norm(grid.affine[:3, :3], axis=0)


def _other_pixel_size(mask: Grid, image: Grid) -> bool:
    one, other = np.sort(_steps(mask)), np.sort(_steps(image))
    return bool((np.abs(one - other) > 0.01 * other).any())


def _pixel_size(grid: Grid) -> str:
    return " x ".join(f"{step:.3g}" for step in _steps(grid))
