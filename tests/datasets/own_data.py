"""Small data of anybody's own: pictures, a volume, DICOM series."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (12, 16)


def picture(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng([seed, *path.name.encode()]).integers(0, 255, SHAPE, np.uint8)).save(path)


def volume(path: Path, slices: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.arange(np.prod(SHAPE) * slices, dtype=np.float32).reshape(*SHAPE, slices)
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)


def dicom_series(folder: Path, slices: int, patient: str, name: str = "a") -> list[Path]:
    """Single-frame CT files whose names run against their instance numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(slices):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
        uid = generate_uid(entropy_srcs=[patient, name, str(number)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[patient, name])
        dataset.StudyInstanceUID = generate_uid(entropy_srcs=[patient])
        dataset.Modality, dataset.PatientID, dataset.PatientName = "CT", patient, f"Phantom^{patient}"
        dataset.InstanceNumber = number + 1
        dataset.ImageOrientationPatient, dataset.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, float(number)]
        dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 1
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *SHAPE, 1
        dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.PixelData = np.full(SHAPE, 100 * number, np.uint16).tobytes()
        files.append(folder / f"{name}{slices - number:03d}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files
