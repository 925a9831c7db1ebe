"""The display convention of radiology by nibabel's orientation functions, independent of the package under test."""

from __future__ import annotations

import nibabel as nib
import numpy as np

# Plane by the code of the third axis: (columns run to, rows run to, slices run to).
_SHOWN = {
    **dict.fromkeys("SI", ("L", "P", "S")),
    **dict.fromkeys("AP", ("L", "I", "P")),
    **dict.fromkeys("LR", ("P", "I", "L")),
}


_NORMALS = {"axial": "SI", "coronal": "AP", "sagittal": "LR"}


def shown(voxels: np.ndarray, affine: np.ndarray, plane: str | None = None) -> np.ndarray:
    """Voxels (x, y, z) with a RAS affine as (slices, rows, columns) in the order and the way up a viewer shows them.

    The slices lie along the third axis, or in ``plane``.
    """
    start = nib.orientations.io_orientation(affine)
    if plane is not None:
        axis = next(k for k, code in enumerate(nib.orientations.ornt2axcodes(start)) if code in _NORMALS[plane])
        order = [*(other for other in range(3) if other != axis), axis]
        voxels, start = voxels.transpose(order), start[order]
    codes = _SHOWN[nib.orientations.ornt2axcodes(start)[2]]
    turn = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(codes))
    return nib.orientations.apply_orientation(voxels, turn).transpose(2, 1, 0)


def affine_of_slice(orientation: np.ndarray) -> np.ndarray:
    """A RAS affine for the columns, rows and normal of an Image Orientation (Patient), which is in LPS."""
    affine = np.eye(4)
    column, row = np.asarray(orientation, float).reshape(2, 3)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ np.stack([column, row, np.cross(column, row)], axis=1)
    return affine
