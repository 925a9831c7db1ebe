"""Writes a volume as a DICOM series, a NIfTI file and an NRRD file, each by its own library."""

from __future__ import annotations

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def dicom_slice(pixels: np.ndarray, **elements: object) -> Dataset:
    """A minimal CT slice of int16 ``pixels`` (rows, columns)."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.Modality = "CT"
    dataset.PatientName = "Doe^Jane"
    dataset.PatientID = "secret-4711"
    dataset.InstitutionName = "secret hospital"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.PixelData = pixels.astype("<i2").tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    """Write ``dataset`` as a Part 10 file."""
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, voxels: np.ndarray, affine: np.ndarray, seed: int = 0) -> Path:
    """Voxels (x, y, z) with a RAS affine, a file a slice, under names that say nothing about their order."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = RAS_TO_LPS @ affine
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    names = np.random.default_rng(seed).permutation(voxels.shape[2])
    for index, name in enumerate(names):
        position = (lps @ [0, 0, index, 1])[:3]
        dataset = dicom_slice(
            voxels[:, :, index].T,
            ImageOrientationPatient=[f"{v:.6f}" for v in (*lps[:3, 0] / steps[0], *lps[:3, 1] / steps[1])],
            ImagePositionPatient=[f"{v:.6f}" for v in position],
            PixelSpacing=[f"{steps[1]:.6f}", f"{steps[0]:.6f}"],
            InstanceNumber=int(name) + 1,
        )
        save(dataset, folder / f"{name:04d}")
    return folder


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    """Voxels (x, y, z) with a RAS affine, by nibabel."""
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def write_nrrd(path: Path, voxels: np.ndarray, affine: np.ndarray, compression: bool = False) -> Path:
    """Voxels (x, y, z) with a RAS affine, by ITK, which is LPS and takes arrays slowest axis first."""
    lps = RAS_TO_LPS @ affine
    image = itk.image_from_array(np.ascontiguousarray(voxels.T))
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(steps.tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection(itk.matrix_from_array(lps[:3, :3] / steps))
    itk.imwrite(image, str(path), compression=compression)
    return path
