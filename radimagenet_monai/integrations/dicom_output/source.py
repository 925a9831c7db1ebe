"""Headers of the source files: what a derived object takes from them, checked and freed of what would break it.

Only the elements named here are read. Others (acquisition, institution, private ones) stay where they are: a derived
object refers to its source, and less is less to leak.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from radimagenet_monai.core.errors import DicomOutputError
from radimagenet_monai.io.dicom.files import load_dataset, number_of_frames
from radimagenet_monai.io.failures import stage

_STUDY = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "StudyDescription"),
    *("ReferringPhysicianName", "LongitudinalTemporalInformationModified"),
)
_IMAGE = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "InstanceNumber"),
    *("Rows", "Columns", "NumberOfFrames", "FrameOfReferenceUID", "PositionReferenceIndicator"),
    *("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("Laterality", "ImageLaterality", "PatientOrientation", "BurnedInAnnotation"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
_TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
_NAMES = ("PatientName", "ReferringPhysicianName")
_PLAIN = {"SH": 16, "LO": 64, "CS": 16, "PN": 5 * 64}
_SAME_DIRECTION = 1e-3


@dataclass
class Source:
    """A source file.

    Attributes
    ----------
    path
        Path of the file.
    header
        The elements above, valid; absent values of type 2 are empty.
    frames
        Number of frames.
    positioned
        Whether all its frames have a place in the patient: a frame of reference, orientation, position and spacing.
    dropped
        Keywords whose values were not valid and were left out.
    """

    path: str
    header: Dataset
    frames: int
    positioned: bool
    dropped: list[str] = field(default_factory=list)

    @property
    def uid(self) -> str:
        return str(self.header.SOPInstanceUID)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.header.Rows), int(self.header.Columns)


def read_source(path: str | os.PathLike[str]) -> Source:
    """Read the header of a source file.

    Raises
    ------
    UnreadableImageError
        If it is not DICOM or damaged.
    DicomOutputError
        If it lacks what a derived object must refer to.
    """
    name = os.fspath(path)
    full = load_dataset(name, header_only=True, tags=(*_STUDY, *_IMAGE, "SpecificCharacterSet"))
    with stage(name, "header"):
        frames = number_of_frames(full)
        header, dropped = _valid(full)
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "Rows", "Columns"):
        if not header.get(keyword):
            raise DicomOutputError(
                f"{name}: it has no valid {keyword}, so that no DICOM object can refer to it; send the file as its "
                "scanner or archive wrote it, or write masks as NIfTI or PNG"
            )
    header.NumberOfFrames = frames
    _share_equal_groups(header)
    return Source(name, header, frames, _is_positioned(header, frames), dropped)


def read_series(paths: Sequence[str | os.PathLike[str]]) -> list[Source]:
    """Read the headers of the files of one series, in the order given.

    Raises
    ------
    UnreadableImageError, DicomOutputError
        As `read_source`; if the files are not of one patient, study and series, or a file was given twice, or several
        multi-frame files at once.
    """
    if not paths:
        raise DicomOutputError("no source file was given; a DICOM object must refer to at least one image")
    sources = [read_source(path) for path in paths]
    first = sources[0]
    seen: dict[str, Source] = {}
    for source in sources:
        for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
            if source.header.get(keyword) != first.header.get(keyword):
                raise DicomOutputError(
                    f"{source.path}: its {keyword} is not that of {Path(first.path).name}; give the files of one series"
                )
        if source.uid in seen:
            raise DicomOutputError(f"{source.path}: it is the same image as {seen[source.uid].path}; give it once")
        seen[source.uid] = source
        if len(sources) > 1 and source.frames > 1:
            raise DicomOutputError(
                f"{source.path}: it has {source.frames} frames and is one of {len(sources)} files; give one "
                "multi-frame file at a time"
            )
    return sources


def require_one_size(sources: Sequence[Source]) -> None:
    """Refuse files that differ in size.

    Raises
    ------
    DicomOutputError
        The error names the first file that differs.
    """
    for source in sources:
        if source.shape != sources[0].shape:
            raise DicomOutputError(
                f"{source.path}: it has {source.shape[0]} x {source.shape[1]} pixels, {Path(sources[0].path).name} has "
                f"{sources[0].shape[0]} x {sources[0].shape[1]}; give the files of one size at a time"
            )


def require_one_orientation(sources: Sequence[Source]) -> None:
    """Refuse positioned single-frame files that do not lie in parallel, or not in one frame of reference.

    Raises
    ------
    DicomOutputError
        The error names the first file that differs.
    """
    first = sources[0].header
    for source in sources:
        other = source.header
        if other.FrameOfReferenceUID != first.FrameOfReferenceUID:
            raise DicomOutputError(
                f"{source.path}: its frame of reference is not that of {Path(sources[0].path).name}, so that one "
                "segmentation cannot hold both; give them separately"
            )
        if "ImageOrientationPatient" not in first or "ImageOrientationPatient" not in other:
            continue
        one, two = (np.array(header.ImageOrientationPatient, float) for header in (first, other))
        if np.abs(one - two).max() > _SAME_DIRECTION:
            raise DicomOutputError(
                f"{source.path}: its orientation is not that of {Path(sources[0].path).name} (a localizer?); give the "
                "files of one orientation"
            )


def _valid(full: Dataset) -> tuple[Dataset, list[str]]:
    """The header without values that are not valid, which a strict writer would refuse."""
    header, dropped = Dataset(), []
    for keyword in (*_STUDY, *_IMAGE):
        if keyword not in full:
            continue
        element = full[keyword]
        value = _value(keyword, element.VR, element.value)
        if value is None:
            if element.value not in (None, ""):
                dropped.append(keyword)
            continue
        setattr(header, keyword, value)
    for keyword in _TYPE_2:
        if keyword not in header:
            setattr(header, keyword, "")
    methods = ("DeidentificationMethod", "DeidentificationMethodCodeSequence")
    if header.get("PatientIdentityRemoved") == "YES" and not any(keyword in header for keyword in methods):
        header.DeidentificationMethod = "Not stated by the source image"  # one of the two is required
    # A single-frame image in space needs the element, which may be empty.
    if "ImagePositionPatient" in header and "SliceThickness" not in header:
        header.SliceThickness = None
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return header, dropped


def _value(keyword: str, kind: str, value: Any) -> Any:
    """``value`` if it is valid, else ``None``."""
    if value is None or value == "":
        return None
    if kind == "SQ":
        return value if len(value) else None
    if keyword in _NAMES:
        text = str(value)
        return value if len(text) <= _PLAIN["PN"] and "\\" not in text else None
    if kind == "DA":
        return value if _parsed(str(value), "%Y%m%d") else None
    if kind == "TM":
        return value if re.fullmatch(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?", str(value).strip()) else None
    if kind == "UI":
        # Leading zeros, which the standard forbids, occur and do no harm.
        return value if re.fullmatch(r"\d+(\.\d+)*", str(value)) and len(str(value)) <= 64 else None
    if keyword == "PatientSex":
        return value if value in ("M", "F", "O") else None
    if keyword == "PatientIdentityRemoved":
        return value if value in ("YES", "NO") else None
    if keyword in ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"):
        return _numbers(value, {"ImageOrientationPatient": 6, "ImagePositionPatient": 3, "PixelSpacing": 2}[keyword])
    if kind in ("DS", "IS", "US"):
        try:
            numbers = [float(number) for number in (value if isinstance(value, (list, tuple)) else [value])]
        except (TypeError, ValueError):
            return None
        return value if np.isfinite(numbers).all() else None
    if kind in _PLAIN and isinstance(value, str):
        return value if len(value) <= _PLAIN[kind] else value[: _PLAIN[kind]]
    return value


def _numbers(value: Any, length: int) -> Any:
    try:
        numbers = np.array([float(number) for number in value])
    except (TypeError, ValueError):
        return None
    if numbers.shape != (length,) or not np.isfinite(numbers).all():
        return None
    if length == 2:
        return value if (numbers > 0).all() else None
    if length == 6:
        lengths = np.linalg.norm(numbers.reshape(2, 3), axis=1)
        square = abs(numbers[:3] @ numbers[3:]) < 1e-2 and np.abs(lengths - 1).max() < 1e-2
        return value if square else None
    return value


def _parsed(text: str, form: str) -> bool:
    try:
        datetime.datetime.strptime(text.strip(), form)
    except ValueError:
        return False
    return True


def _share_equal_groups(header: Dataset) -> None:
    """Move orientation and spacing from the frames to the shared groups if all frames agree, where highdicom looks."""
    frames, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    if not frames:
        return
    if not shared:
        header.SharedFunctionalGroupsSequence = shared = [Dataset()]
    for group in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        values = [item.get(group) for item in frames]
        if group not in shared[0] and values[0] and all(value == values[0] for value in values):
            setattr(shared[0], group, values[0])


def _is_positioned(header: Dataset, frames: int) -> bool:
    if not header.get("FrameOfReferenceUID"):
        return False
    keywords = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
    if all(keyword in header for keyword in keywords) and frames == 1:
        return True
    per_frame = header.get("PerFrameFunctionalGroupsSequence", [])
    if len(per_frame) != frames:
        return False
    groups = ("PlaneOrientationSequence", "PlanePositionSequence", "PixelMeasuresSequence")
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    return all(
        len((item.get(group) or shared.get(group) or [Dataset()])[0].get(keyword) or ()) > 0
        for item in per_frame
        for group, keyword in zip(groups, keywords, strict=True)
    )
