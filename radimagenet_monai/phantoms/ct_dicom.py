"""Synthetic CT slices as DICOM files, written as scanners of several vendors write theirs.

CT Image Storage, explicit little endian, axial slices of a supine patient. The stored values differ between scanners:
signed or unsigned, 12 or 16 bits, Rescale Intercept -1024 or 0, with or without a padding value outside the round field
of view, one window in the header or several. A reader that mistakes stored values for Hounsfield units, or the first of
several windows for the only one, fails on one of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

AIR = -1000.0


@dataclass(frozen=True)
class Scanner:
    """How one scanner stores Hounsfield units.

    ``padding`` is the stored value of pixels outside the round field of view, or ``None`` if they contain air.
    """

    manufacturer: str
    signed: bool
    bits: int
    intercept: int
    padding: int | None = None
    explains_windows: bool = False


SCANNERS = (
    Scanner("Phantom A", signed=True, bits=16, intercept=-1024, padding=-2000),
    Scanner("Phantom B", signed=False, bits=12, intercept=-1024, explains_windows=True),
    Scanner("Phantom C", signed=True, bits=16, intercept=0),
    Scanner("Phantom D", signed=False, bits=16, intercept=-1024),
)


@dataclass(frozen=True)
class Series:
    """Properties shared by the slices of one series.

    ``name`` is unique among all series of all phantoms and determines the UIDs. ``spacing`` is the pixel size, ``step``
    the slice distance and ``thickness`` the slice thickness, all in mm. ``windows`` are (center, width) in HU.
    """

    name: str
    patient_id: str
    sex: str
    age: int
    body_part: str
    description: str
    scanner: Scanner
    windows: tuple[tuple[int, int], ...]
    window_names: tuple[str, ...]
    spacing: float
    step: float
    thickness: float

    @property
    def study_uid(self) -> UID:
        return generate_uid(entropy_srcs=[self.name, "study"])

    @property
    def uid(self) -> UID:
        return generate_uid(entropy_srcs=[self.name, "series"])


def choose_scanner(seed: int, number: int) -> Scanner:
    """The scanner of patient ``number``, drawn independently of the patient's findings."""
    return SCANNERS[int(np.random.default_rng([seed, number, 4]).integers(len(SCANNERS)))]


def write_slice(path: str | os.PathLike[str], hounsfield: np.ndarray, series: Series, index: int) -> None:
    """Write one slice; every byte of the file is determined by the arguments.

    Parameters
    ----------
    path
        File to write.
    hounsfield
        ``(rows, columns)`` HU, rows to posterior and columns to the patient's left; clipped to the range of the
        scanner's bits.
    series, index
        The series, and the zero-based number of the slice from its inferior end.
    """
    scanner = series.scanner
    stored = _stored(hounsfield, scanner)
    rows, columns = stored.shape
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    uid = generate_uid(entropy_srcs=[series.name, str(index)])
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = uid
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Modality = "CT"
    dataset.Manufacturer = scanner.manufacturer
    dataset.SeriesDescription = series.description
    dataset.PatientName = f"Phantom^{series.patient_id}"
    dataset.PatientID = series.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = series.sex
    dataset.PatientAge = f"{series.age:03d}Y"
    dataset.BodyPartExamined = series.body_part
    dataset.SliceThickness = f"{series.thickness:g}"
    dataset.KVP = "120"
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = series.study_uid
    dataset.SeriesInstanceUID = series.uid
    dataset.StudyID = ""
    dataset.SeriesNumber = "2"
    dataset.InstanceNumber = str(index + 1)
    corner = -series.spacing * (columns - 1) / 2, -series.spacing * (rows - 1) / 2, series.step * index
    dataset.ImagePositionPatient = [f"{value:.4f}" for value in corner]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[series.name, "frame of reference"])
    dataset.PositionReferenceIndicator = ""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows, columns
    dataset.PixelSpacing = [f"{series.spacing:.6f}"] * 2
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, scanner.bits, scanner.bits - 1
    dataset.PixelRepresentation = int(scanner.signed)
    if scanner.padding is not None:
        dataset.add_new("PixelPaddingValue", "SS" if scanner.signed else "US", scanner.padding)
    dataset.WindowCenter = [str(center) for center, _ in series.windows]
    dataset.WindowWidth = [str(width) for _, width in series.windows]
    if scanner.explains_windows:
        dataset.WindowCenterWidthExplanation = list(series.window_names)
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(scanner.intercept), "1", "HU"
    dataset.PixelData = stored.tobytes()
    dataset.save_as(path, enforce_file_format=True)


def _stored(hounsfield: np.ndarray, scanner: Scanner) -> np.ndarray:
    """Stored values, little-endian 16-bit."""
    low, high = (
        (-(2 ** (scanner.bits - 1)), 2 ** (scanner.bits - 1) - 1) if scanner.signed else (0, 2**scanner.bits - 1)
    )
    # No scanner measures lower values, whatever its bits could represent.
    values = np.maximum(np.rint(hounsfield), -1024) - scanner.intercept
    stored = np.clip(values, low, high)
    if scanner.padding is not None:
        rows, columns = stored.shape
        down, across = np.ogrid[:rows, :columns]
        radius = min(rows, columns) / 2
        outside = (down - (rows - 1) / 2) ** 2 + (across - (columns - 1) / 2) ** 2 > radius**2
        stored = np.where(outside, scanner.padding, stored)
    return stored.astype("<i2" if scanner.signed else "<u2")
