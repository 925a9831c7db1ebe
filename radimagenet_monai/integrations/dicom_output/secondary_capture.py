"""DICOM Secondary Capture (SC): a picture that any viewer shows."""

from __future__ import annotations

import datetime
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from radimagenet_monai.core.errors import DicomOutputError
from radimagenet_monai.integrations.dicom_output.contents import RESEARCH_ONLY, Model
from radimagenet_monai.integrations.dicom_output.identifiers import derived_uid
from radimagenet_monai.integrations.dicom_output.source import Source, read_source
from radimagenet_monai.integrations.dicom_output.written import equipment, finish, save, writing


def write_secondary_capture(
    source_file: str | os.PathLike[str],
    rgb_overlay: np.ndarray,
    model: Model,
    out: str | os.PathLike[str],
    *,
    frame: int | None,
    created: datetime.datetime | None = None,
) -> Path:
    """Write a picture, for example of `burn_outline`, into the study of its source, in a series of its own.

    Parameters
    ----------
    source_file
        The DICOM file that the picture shows.
    rgb_overlay
        (rows, columns, 3) uint8. Of any size; if it has the size of the source, it also takes its pixel spacing and
        orientation, so it must lie as stored then.
    model
        What made the overlay.
    out
        Path of the file.
    frame
        Frame of a multi-frame file that the picture shows, counted from 0; ``None`` for a file of one frame.
    created
        Time of creation to be stated; now by default.

    Raises
    ------
    UnreadableImageError, DicomOutputError
        If the source is unreadable or cannot be referred to, or the picture is not RGB.
    ConfigurationError
        If highdicom is not installed.
    """
    created = created or datetime.datetime.now()
    picture = np.ascontiguousarray(rgb_overlay)
    name = os.fspath(source_file)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise DicomOutputError(
            f"{name}: a picture of shape {picture.shape} and type {picture.dtype} was given, expected (rows, columns, "
            "3) and uint8"
        )
    with writing(name):
        source = read_source(source_file)
        if (frame is None) != (source.frames == 1) or (frame is not None and not 0 <= frame < source.frames):
            raise DicomOutputError(
                f"{name}: frame {frame} was named; it has {source.frames}, counted from 0, and a file of one frame is "
                "named by None"
            )
        dataset = _capture(source, picture, frame, model, created)
    return save(dataset, out)


def _capture(
    source: Source, picture: np.ndarray, frame: int | None, model: Model, created: datetime.datetime
) -> Dataset:
    import highdicom
    from pydicom.valuerep import DA, TM

    header = source.header
    series = derived_uid(str(header.SeriesInstanceUID), model.sha256, "SC")
    content = [str(picture.shape), hashlib.sha256(picture.tobytes()).hexdigest()]
    instance = derived_uid(series, source.uid, str(frame), content, model.name, model.version)
    dataset = highdicom.sc.SCImage.from_ref_dataset(
        ref_dataset=header,
        pixel_array=picture,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),  # replaced below: highdicom takes none that is unknown
        series_instance_uid=series,
        sop_instance_uid=instance,
        instance_number=_number(header, frame),
        **equipment(model, "SC", created),
    )
    dataset.copy_patient_and_study_information(header)  # the class itself takes a few elements only
    stored = picture.shape[:2] == source.shape
    dataset["PatientOrientation"].value = _orientation(header) if stored else None
    if stored and source.frames == 1 and "PixelSpacing" in header:
        dataset.PixelSpacing = header.PixelSpacing
    dataset.Laterality = header.get("Laterality") or header.get("ImageLaterality")  # type 2C: may be empty
    dataset.ConversionType = "WSD"  # workstation
    dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = DA(created.date()), TM(created.time())
    dataset.DerivationDescription = f"{RESEARCH_ONLY}: overlay by {model.name} {model.version}, SHA-256 {model.sha256}"
    dataset.ImageComments = RESEARCH_ONLY
    if header.get("BurnedInAnnotation") in ("YES", "NO"):
        dataset.BurnedInAnnotation = header.BurnedInAnnotation
    if header.get("LossyImageCompression") == "01":
        for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if keyword in header:
                setattr(dataset, keyword, header[keyword].value)
    dataset.SourceImageSequence = [_reference(source, frame)]
    finish(dataset, header, created)
    return dataset


def _number(header: Dataset, frame: int | None) -> int:
    """Instance Number: the source's, so that a viewer shows the pictures in its order."""
    if frame is not None:
        return frame + 1
    try:
        return max(1, int(header.get("InstanceNumber") or 1))
    except (TypeError, ValueError):
        return 1


def _reference(source: Source, frame: int | None) -> Dataset:
    from highdicom.sr import CodedConcept

    item = Dataset()
    item.ReferencedSOPClassUID = source.header.SOPClassUID
    item.ReferencedSOPInstanceUID = source.uid
    if frame is not None:
        item.ReferencedFrameNumber = frame + 1
    item.PurposeOfReferenceCodeSequence = [CodedConcept("121322", "DCM", "Source image for image processing operation")]
    return item


def _orientation(header: Dataset) -> Any:
    """Patient Orientation: the source's, or that of its axes; ``None`` if unknown."""
    if header.get("PatientOrientation"):
        return header.PatientOrientation
    if "ImageOrientationPatient" not in header:
        return None
    return [_direction(header.ImageOrientationPatient[start : start + 3]) for start in (0, 3)]


def _direction(cosines: Any) -> str:
    """Letters of a direction in the patient, the nearest axis first (PS3.3 C.7.6.1.1.1)."""
    letters = [
        (abs(float(value)), pair[float(value) > 0]) for value, pair in zip(cosines, ("RL", "AP", "FH"), strict=True)
    ]
    return "".join(letter for size, letter in sorted(letters, reverse=True) if size > 1e-3)
