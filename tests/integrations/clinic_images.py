"""Inputs of the tests of DICOM output: a made CT series, and real files of the pydicom wheels."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pydicom_files import pydicom_files
from written_series import dicom_slice, save

AXIAL = np.eye(3)
SHAPE = (6, 21, 27)
"""Slices, rows and columns of a made series: three sizes, so that nothing can be exchanged unnoticed, and
slices of 567 pixels, so that their bits do not end with a byte."""


REAL = [
    *(
        "pydicom/CT_small.dcm",
        "pydicom/MR_small_bigendian.dcm",
        "pydicom-data/US1_J2KR.dcm",
        "pydicom-data/RG1_UNCR.dcm",
    ),
    *(
        pytest.param(name, marks=pytest.mark.long)
        for name in (
            *(
                "pydicom/MR_small.dcm",
                "pydicom/JPEG2000.dcm",
                "pydicom/JPEG-lossy.dcm",
                "pydicom/examples_rgb_color.dcm",
            ),
            *("pydicom-data/US1_UNCI.dcm", "pydicom-data/MR2_J2KI.dcm", "pydicom-data/explicit_VR-UN.dcm"),
            *("pydicom-data/gdcm-US-ALOKA-16_big.dcm", "pydicom-data/RG3_J2KR.dcm"),
        )
    ),
]
"""CT, MR, ultrasound and radiographs: little and big endian, implicit, JPEG, MONOCHROME1."""


def oblique() -> np.ndarray:
    """Directions (columns are the steps of column, row, slice) of a slice turned about two axes."""
    return np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]) @ np.array(
        [[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]]
    )


def series(
    folder: Path, directions: np.ndarray = AXIAL, shape: tuple[int, int, int] = SHAPE, **elements: Any
) -> tuple[list[Path], np.ndarray]:
    """A CT series in an order that is not that of its positions, and its affine.

    Returns
    -------
    tuple
        Files, and the (4, 4) affine from (column, row, slice, 1) to LPS mm, the slices by position. ``files[i]`` is
        slice ``order(len(files))[i]``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    spacing = np.array([0.7, 0.9, 2.5])  # of columns, rows and slices
    origin = np.array([-31.0, 12.5, 104.0])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions * spacing, origin
    study, place = generate_uid(), generate_uid()
    common = {
        "StudyInstanceUID": study,
        "SeriesInstanceUID": generate_uid(),
        "FrameOfReferenceUID": place,
        "StudyDate": "20260301",
        "StudyTime": "101500",
        "StudyID": "S7",
        "AccessionNumber": "A-99",
        "PatientBirthDate": "19700102",
        "PatientSex": "F",
        "ReferringPhysicianName": "Referrer^R",
        "SliceThickness": "2.5",
        "PixelSpacing": [str(spacing[1]), str(spacing[0])],
        "ImageOrientationPatient": [f"{value:.10f}" for value in (*directions[:, 0], *directions[:, 1])],
    } | elements
    files = []
    for number in order(shape[0]):
        pixels = np.full(shape[1:], int(number), np.int16)
        position = (affine @ [0, 0, number, 1])[:3]
        dataset = dicom_slice(
            pixels, **common, ImagePositionPatient=[f"{v:.8f}" for v in position], InstanceNumber=int(number) + 1
        )
        files.append(save(dataset, folder / f"{len(files):03d}.dcm"))
    return files, affine


def order(count: int) -> np.ndarray:
    """Which slice, by position, the i-th file of `series` is."""
    return np.random.default_rng(3).permutation(count)


def lesion(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """An asymmetric label map (slices by position, rows, columns) of two labels, with empty slices."""
    mask = np.zeros(shape, np.uint8)
    mask[1:4, 2:9, 5:12] = 1
    mask[1:3, 2:4, 12:16] = 1
    mask[3, 12:18, 20:26] = 2
    return mask


def changed(path: Path, target: Path, **elements: Any) -> Path:
    """A copy of a file with other elements; ``None`` removes one."""
    import pydicom

    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            dataset.pop(keyword, None)
        else:
            setattr(dataset, keyword, value)
    target.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(target)
    return target


def real(name: str) -> Path:
    """A file of the pydicom wheels."""
    return pydicom_files()[name]


def program(name: str) -> str:
    """The path of a program of Debian's dcmtk, dicom3tools or orthanc; skips the test if it is not installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: dcmtk, dicom3tools, orthanc, orthanc-dicomweb)")
    return found


def standard_errors(path: Path) -> list[str]:
    """Violations of the standard that dciodvfy finds."""
    done = subprocess.run([program("dciodvfy"), path], capture_output=True, text=True, check=False)
    assert {"Segmentation", "ComprehensiveSR", "SCImage"} & set(done.stderr.split()), f"not checked: {done.stderr}"
    return [line for line in done.stderr.splitlines() if line.startswith("Error")]


def all_text(dataset: Dataset) -> str:
    """The text of all elements, for looking for words."""
    return "\n".join(str(element.value) for element in dataset.iterall() if element.VR != "SQ")
