"""Synthetic knee MRI in the form of a user's own data: NIfTI volumes and a table of image, label and patient."""

from __future__ import annotations

import gzip
import io
import os
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.mrnet import CLASSES
from radimagenet_monai.phantoms.anatomy.knee import draw_knee, image_knee
from radimagenet_monai.phantoms.writing import write_dataset

README = """These volumes are phantoms: computed knee MRI, not patients.

They are meant for tests and demonstrations of software. Nothing measured on them says anything about patients.

Written by radimagenet_monai.phantoms.mr_nifti with seed {seed}: {volumes} sagittal series of {patients} patients.
"""

DATASET_FOLDER = "knee_mr"
TABLE_FILE = "table.csv"

_FIELD_MM = 160.0
_DEPTH_MM = 90.0
_UNITS = 1000.0  # MR values have no unit; scanners store values of some hundreds
_SECOND_EVERY = 5  # every fifth patient also has an exam of the other knee


def write_mr_nifti_phantom(
    out: str | os.PathLike[str],
    patients: int = 60,
    seed: int = 0,
    size: int = 256,
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write ``knee_mr`` with one or two sagittal ``.nii.gz`` volumes per patient and ``table.csv``.

    The knees are those of `radimagenet_monai.phantoms.mrnet`. The label is that of the anterior cruciate ligament,
    ``tear`` or ``no tear``. Each volume depends only on ``seed``, ``size`` and its patient.

    Parameters
    ----------
    out
        Folder to write to.
    patients
        Number of patients; every fifth has two volumes.
    seed
        Seed for all random draws.
    size
        Rows and columns of a slice in pixels.
    workers
        Number of processes that compute volumes.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    pathlib.Path
        ``out/knee_mr``, to which the paths in ``table.csv`` are relative.

    Raises
    ------
    ConfigurationError
        If the numbers do not give a dataset, or ``out`` already contains such a folder.
    """
    if patients < 1 or size < 32:
        raise ConfigurationError(f"patients {patients} and size {size} were given; expected at least 1 and 32")
    jobs = [
        (patient, knee)
        for patient in range(patients)
        for knee in range(2 if patient % _SECOND_EVERY == _SECOND_EVERY - 1 else 1)
    ]
    readme = README.format(seed=seed, volumes=len(jobs), patients=patients)
    write = partial(_write_volume, seed=seed, size=size)
    return write_dataset(out, DATASET_FOLDER, jobs, write, readme, _write_table, workers, progress) / DATASET_FOLDER


def _write_volume(folder: Path, job: tuple[int, int], seed: int, size: int) -> str:
    patient, second = job
    knee = draw_knee(seed, 2 * patient + second)
    slices = np.round(np.clip(image_knee(knee, "sagittal", size), 0, 1.5) * _UNITS).astype(np.int16)
    # Columns run to posterior, rows to inferior and slices to one side; NIfTI's axes are R, A, S.
    pixel, thickness = _FIELD_MM / size, _DEPTH_MM / len(slices)
    affine = np.array(
        [
            [0, 0, -thickness, _DEPTH_MM / 2],
            [-pixel, 0, 0, _FIELD_MM / 2],
            [0, -pixel, 0, _FIELD_MM / 2],
            [0, 0, 0, 1],
        ]
    )
    image = nib.Nifti1Image(np.ascontiguousarray(slices.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    name = f"volumes/knee_{patient:04d}{'b' if second else 'a'}.nii.gz"
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=3, mtime=0) as stream:  # no date: reproducible bytes
        stream.write(image.to_bytes())
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(packed.getvalue())
    return f"{name},{CLASSES['acl'][knee.acl_tear]},knee-{patient:04d}"


def _write_table(folder: Path, rows: list[str]) -> None:
    atomic_write_text(folder / TABLE_FILE, "\n".join(["image,label,patient", *rows, ""]))
