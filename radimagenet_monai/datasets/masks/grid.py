"""The position of a mask on its image.

If both files place their pixels in the patient, positions decide: whatever order, orientation and plane the two were
stored in, a pixel of the image takes the value of the nearest pixel of the mask. Without positions a mask must have the
rows, columns and frames of its image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np

from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.formats.volume import stored_affine
from radimagenet_monai.io.native_image import NativeImage
from radimagenet_monai.io.reader import image_kind

_SAME_PLACE = 0.1  # of a pixel: above rounding errors in headers, below what could change the nearest pixel
_LEAST_INSIDE = 0.99  # of the lesion, on the image


@dataclass(frozen=True)
class Grid:
    """Pixels and their positions.

    Attributes
    ----------
    shape
        Number of frames of all volumes, rows, columns.
    affine
        Affine as in `NativeImage`; ``None`` if positions are unknown.
    volumes
        Number of volumes, as in `NativeImage`.
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
        """Number of frames per volume."""
        return self.shape[0] // self.volumes

    def in_words(self) -> str:
        """``20 x 64 x 64 pixels (frames x rows x columns)``."""
        return f"{' x '.join(map(str, self.shape))} pixels (frames x rows x columns)"


Order = Literal["placed", "placed as stored", "stored", "default"]
"""How a file came to be upright: turned by the positions it states; by these, but they left it as it is stored; not at
all, as it states none; turned as nibabel does where a NIfTI file states none."""


def order_of(image: NativeImage) -> Order:
    """How the orientation and order of an image were determined."""
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
    """Whether the same frame, row and column of mask and image match, although one states no positions.

    A single frame with positions, such as a DICOM slice, is paired with a picture without: such a mask is drawn on the
    slice as a viewer shows it, which is upright.
    """
    if mask == image:
        return mask in ("stored", "default")
    if {mask, image} == {"stored", "placed as stored"}:
        return True
    return frames == 1 and mask == "stored" and image == "placed"


@dataclass(frozen=True)
class Placement:
    """The mapping from pixels of the image to pixels of the mask.

    Attributes
    ----------
    matrix
        ``(4, 4)`` from (column, row, frame, 1) of the image to those of the mask, with frames within a volume.
    is_same
        Whether each pixel of the image coincides with one of the mask, and none is left over.
    covered
        Share of the image's pixels whose position lies in the mask.
    """

    matrix: np.ndarray
    is_same: bool
    covered: float


def place(mask: Grid, image: Grid) -> Placement | str:
    """Relate two grids with known positions, or say why they cannot match.

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
    # If corners and steps map to integers, all positions do.
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
    """Sample one frame of the image: the nearest pixel of the mask, false if the mask has none.

    Parameters
    ----------
    lesion
        Function that returns a slice of mask frames, ``(frames, rows, columns)`` booleans.
    mask, image, placement
        Arguments and result of `place`.
    frame
        Index of the frame in the image.

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
    """In words, what share of the lesion lies off the image, if more than rounding explains; else ``""``."""
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
    # A mask pixel may be larger than an image pixel: it is on the image if any part of it is.
    reach = np.abs(back[:3, :3]).sum(axis=1) / 2 + 0.5
    inside = (
        (column >= -reach[0])
        & (column <= image.shape[2] - 1 + reach[0])
        & (row >= -reach[1])
        & (row <= image.shape[1] - 1 + reach[1])
        & (number >= -reach[2])
        & (number <= image.frames - 1 + reach[2])
    )
    if image.frames == 1:  # one slice of a series: the rest of the lesion is on other slices
        inside |= (number < -reach[2]) | (number > reach[2])
    share = 1 - float(inside.mean())
    return f"{share:.0%} of its lesion lies off its image" if share > 1 - _LEAST_INSIDE else ""


def _nearest_pixels(
    matrix: np.ndarray, columns: np.ndarray, rows: np.ndarray, frame: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # If two pixels are equally near, rounding in the affine must not decide.
    reached = (
        matrix[axis, 0] * columns + matrix[axis, 1] * rows + matrix[axis, 2] * frame + matrix[axis, 3]
        for axis in range(3)
    )
    column, row, number = (np.floor(np.round(value, 4) + 0.5).astype(np.int64) for value in reached)
    return column, row, number


def _covered(matrix: np.ndarray, image: Grid, sizes: np.ndarray) -> float:
    """Share of a sample of the image's pixels whose position lies in the mask."""
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
