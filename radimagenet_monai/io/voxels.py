"""From upright frames back to the voxels of the file or series that they were read from."""

from __future__ import annotations

import numpy as np

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.geometry import RAS_TO_LPS
from radimagenet_monai.io.native_image import NativeImage


def frames_to_voxels(frames: np.ndarray, image: NativeImage) -> tuple[np.ndarray, np.ndarray]:
    """Arrange values given per upright pixel as the voxels of the image's own grid.

    Nothing is interpolated. For DICOM, pictures and arrays the grid is that of the upright frames: x runs along
    columns, y along rows, z along frames.

    Parameters
    ----------
    frames
        (frames, rows, columns), one value for each of ``image.pixels``.
    image
        Image that the frames belong to, in the plane in which it was read.

    Returns
    -------
    tuple of numpy.ndarray
        Values (x, y, z), with a fourth axis for several volumes, and the affine (4, 4) from voxel (x, y, z, 1) to
        **RAS** mm, the convention of NIfTI and MONAI; the identity where the position is unknown.

    Raises
    ------
    UnreadableImageError
        If the frames are not those of the image.
    """
    if frames.shape != image.pixels.shape[:3]:
        raise UnreadableImageError(
            image.path, "geometry", f"frames of shape {frames.shape} were made for an image of {image.pixels.shape[:3]}"
        )
    volumes = frames.reshape(image.volumes, -1, *frames.shape[1:])
    grid = image.voxels
    if grid is None:
        voxels = volumes.transpose(3, 2, 1, 0)
        affine = image.affine
    else:
        stored = np.stack([grid.turn.stored(volume) for volume in volumes])
        columns, rows = (other for other in range(3) if other != grid.axis)
        order = [0, 0, 0]
        order[grid.axis], order[rows], order[columns] = 1, 2, 3
        voxels = stored.transpose(*order, 0)
        affine = grid.affine
    to_ras = np.eye(4)
    to_ras[:3, :3] = RAS_TO_LPS  # its own inverse
    ras = np.eye(4) if affine is None else to_ras @ affine
    return np.ascontiguousarray(voxels[..., 0] if image.volumes == 1 else voxels), ras
