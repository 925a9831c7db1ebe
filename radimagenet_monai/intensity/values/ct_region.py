"""The window for a CT image, chosen by body region: RadImageNet's CT images show the abdomen or the lung."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radimagenet_monai.core.errors import ConfigurationError, IntensityError
from radimagenet_monai.io.dicom.body_part import regions_in
from radimagenet_monai.io.native_image import NativeImage

REGION_KEY = "region"
"""Column of a records table; RadImageNet's holds ``abd`` and ``lung`` for CT."""

CT_REGIONS = ("auto", "abdomen", "lung")
"""What may be stated; the last two are names of windows, too."""

_WINDOW_OF = {"abdomen": "abdomen", "chest": "lung"}
_NO_LUNG = ("HEART", "CARDIAC", "MEDIASTIN")


def checked_ct_region(region: str) -> str:
    """``region`` if valid, else `ConfigurationError` with the valid names."""
    if region not in CT_REGIONS:
        raise ConfigurationError(f"ct_region {region!r} is unknown; choose one of {', '.join(CT_REGIONS)}")
    return region


def window_named(text: object) -> str | None:
    """``"abdomen"`` or ``"lung"`` if a text names exactly one region and it is one of these, else ``None``."""
    regions = regions_in(text)
    if len(regions) != 1 or any(word in str(text).upper() for word in _NO_LUNG):
        return None
    return _WINDOW_OF.get(next(iter(regions)))


def ct_window(image: NativeImage, frame: int, record: Mapping[Any, Any], given: str) -> tuple[str, bool]:
    """The window of a CT image that is not yet windowed, and whether ``given`` names a different one.

    Body Part Examined in the file decides; if it is missing, or names both regions or others, the record's ``region``
    decides, then ``given``.

    Raises
    ------
    IntensityError
        If nothing names one of the two, or if header and record contradict each other.
    """
    body_part = str(image.headers[frame].get("BodyPartExamined") or "").strip() if image.headers else ""
    stated = str(record.get(REGION_KEY) or "").strip()
    by_file, by_record = window_named(body_part), window_named(stated)
    if by_file and by_record and by_file != by_record:
        raise IntensityError(
            f"{image.path}: BodyPartExamined {body_part!r} was given, the records' column 'region' says {stated!r}; "
            "mend the column, or leave it empty for this image"
        )
    chosen = by_file or by_record or (given if given != "auto" else None)
    if chosen is None:
        said = f"BodyPartExamined {body_part!r}" if body_part else "a CT image that states no body part"
        raise IntensityError(
            f"{image.path}: {said} was given, chest or abdomen was expected, since that decides its window; say which "
            "with --ct_region lung or --ct_region abdomen, or in the records' column 'region', which is the only way "
            "for radimagenet pack"
        )
    return chosen, given not in ("auto", chosen)
