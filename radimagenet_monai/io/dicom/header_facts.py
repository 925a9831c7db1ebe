"""Facts from a DICOM file's header, read once: the kind of image, its series and its position."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.dicom.files import load_dataset, number_of_frames
from radimagenet_monai.io.dicom.slice_facts import FACT_TAGS, header_value, slice_facts
from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.slice_order import SliceFacts

_TAGS = (
    *("Modality", "SOPClassUID", "ImageType", "ConversionType", "StudyInstanceUID", "SeriesInstanceUID"),
    *("NumberOfFrames", "Rows", "BodyPartExamined", "RescaleSlope", "RescaleIntercept"),
)
_REMEMBERED = 65_536


@dataclass(frozen=True)
class HeaderFacts:
    """Facts stated in a header.

    Attributes
    ----------
    place
        Position of a single frame, see `SliceFacts`; its ``name`` is the path.
    frames
        Number of Frames; 1 if absent.
    has_pixels
        Whether the object states a number of rows.
    modality, sop_class, study, series, body_part
        ``""`` if absent.
    image_type
        Image Type in capitals.
    has_rescale
        Whether Rescale Slope and Intercept are stated.
    """

    place: SliceFacts
    frames: int
    has_pixels: bool
    modality: str
    sop_class: str
    image_type: tuple[str, ...]
    study: str
    series: str
    body_part: str
    has_rescale: bool


def header_facts(path: str | os.PathLike[str]) -> HeaderFacts:
    """The facts of a DICOM file, cached until the file changes.

    Raises
    ------
    UnreadableImageError
        If the file cannot be opened or parsed.
    """
    name = os.fspath(path)
    with stage(name, "open"):
        status = Path(name).stat()
    return _read(name, status.st_mtime_ns, status.st_size)


def known_facts(path: str | os.PathLike[str]) -> HeaderFacts | None:
    """`header_facts`, or ``None`` if the header cannot be read."""
    try:
        return header_facts(path)
    except UnreadableImageError:
        return None


@lru_cache(maxsize=_REMEMBERED)
def _read(path: str, _changed: int, _size: int) -> HeaderFacts:
    dataset = load_dataset(path, header_only=True, tags=tuple(dict.fromkeys((*FACT_TAGS, *_TAGS))))
    with stage(path, "header"):
        types = header_value(dataset, "ImageType")
        types = types if isinstance(types, tuple) else (types or "",)
        text = {key: str(header_value(dataset, key) or "").strip() for key in _TAGS}
        return HeaderFacts(
            place=slice_facts(dataset, path),
            frames=number_of_frames(dataset),
            has_pixels="Rows" in dataset,
            modality=text["Modality"],
            sop_class=text["SOPClassUID"],
            image_type=tuple(str(word).strip().upper() for word in types),
            study=text["StudyInstanceUID"],
            series=text["SeriesInstanceUID"],
            body_part=text["BodyPartExamined"],
            has_rescale=bool(text["RescaleSlope"] and text["RescaleIntercept"]),
        )
