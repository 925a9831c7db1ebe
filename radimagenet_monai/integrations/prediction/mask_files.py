"""Masks as files: NIfTI in the image's own grid and affine, or a PNG per slice."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Literal

import cv2
import nibabel as nib
import numpy as np

from radimagenet_monai.core.atomic import atomic_write_bytes
from radimagenet_monai.integrations.prediction.kept_results import MASKS_FOLDER
from radimagenet_monai.integrations.prediction.trained_bundle import ExamAnswer

MaskFormat = Literal["auto", "nifti", "png", "none"]


def write_masks(folder: Path, name: str, answer: ExamAnswer, form: MaskFormat) -> list[str]:
    """Write the mask of one image or series.

    Parameters
    ----------
    folder
        Output folder.
    name
        Name without suffix, below ``masks``.
    form
        ``"auto"`` is NIfTI for volumes and series, PNG for single pictures.

    Returns
    -------
    list of str
        Paths relative to the folder. A PNG of one of several slices is named by the slice's place in the image.
    """
    assert answer.voxels is not None
    assert answer.affine is not None
    if form == "none":
        return []
    if form == "nifti" or (form == "auto" and not _is_picture(answer)):
        path = f"{MASKS_FOLDER}/{name}.nii.gz"
        atomic_write_bytes(folder / path, nifti_bytes(answer.voxels, answer.affine))
        return [path]
    several = answer.used.total > 1
    paths = []
    for place, mask in zip(answer.used.places, answer.upright, strict=True):
        path = f"{MASKS_FOLDER}/{name}/slice{place:04d}.png" if several else f"{MASKS_FOLDER}/{name}.png"
        encoded, data = cv2.imencode(".png", (mask > 0).astype(np.uint8) * 255)
        assert encoded
        atomic_write_bytes(folder / path, data.tobytes())
        paths.append(path)
    return paths


def nifti_bytes(voxels: np.ndarray, affine: np.ndarray) -> bytes:
    """A compressed NIfTI file; equal masks give equal bytes.

    Parameters
    ----------
    voxels
        uint8 ``(x, y, z)``, or with a fourth axis.
    affine
        (4, 4) to RAS mm.
    """
    image = nib.Nifti1Image(voxels.astype(np.uint8), affine)
    image.header.set_xyzt_units("mm")
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=6, mtime=0) as stream:
        stream.write(image.to_bytes())
    return packed.getvalue()


def lesion_voxels(answer: ExamAnswer) -> int:
    """Number of voxels marked."""
    return 0 if answer.voxels is None else int(np.count_nonzero(answer.voxels))


def lesion_millilitres(answer: ExamAnswer) -> float | None:
    """Volume of the lesion; ``None`` for pictures, or where the size of a voxel is unknown."""
    assert answer.voxels is not None
    assert answer.affine is not None
    if _is_picture(answer) or np.array_equal(answer.affine, np.eye(4)):
        return None
    voxel = abs(float(np.linalg.det(answer.affine[:3, :3])))
    return float(f"{lesion_voxels(answer) * voxel / 1000:.6g}")


def _is_picture(answer: ExamAnswer) -> bool:
    return answer.used.total == 1 and not answer.used.path.lower().endswith(
        (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
    )
