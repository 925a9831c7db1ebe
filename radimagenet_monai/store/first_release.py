"""Images that release 0.1 packed otherwise: their rows in its stores are not used, those of all others are.

It stretched images whose pixels are not square, and showed all CT of a mixed data set in the abdomen's window.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.intensity.policy import SQUARE
from radimagenet_monai.intensity.values.ct_region import window_named
from radimagenet_monai.io.dicom.files import load_dataset, number_of_frames, pixel_spacing
from radimagenet_monai.io.discovery.survey import is_dicom
from radimagenet_monai.io.geometry import PlaneChoice
from radimagenet_monai.io.native_image import NativeImage
from radimagenet_monai.io.reader import read_frame
from radimagenet_monai.store.fingerprint import Stamp

MARK = "pixels_that_are_not_square"
"""Key of a store's ``manifest.json`` since then; it is no part of what names the store."""

_TAGS = (
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
    *("NumberOfFrames", "Modality", "BodyPartExamined"),
)
_REMEMBERED = 65_536


def is_of_first_release(manifest: Path) -> bool:
    """Whether a store's ``manifest.json`` is there, and of release 0.1."""
    try:
        return MARK not in json.loads(manifest.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError):
        return True


@lru_cache(_REMEMBERED)
def changes_since(path: str, stamp: Stamp, plane: PlaneChoice, modality: str, by_region: bool) -> tuple[str, ...]:
    """What is done differently to an image today; empty if it cannot be read.

    Parameters
    ----------
    path, stamp
        A file or folder that is no picture, and its state.
    plane
        See `read_frame`.
    modality
        Modality in the record, or ``""``.
    by_region
        Whether the CT window depends on the body region.
    """
    del stamp  # part of the key of what is remembered
    try:
        image, stated, body_part = _image_and_part(path, plane)
    except (RadImageNetError, OSError):
        return ()
    changes = ["not square"] if abs(image.pixel_aspect(0) - 1) > SQUARE else []
    if by_region and "CT" in (stated, modality) and window_named(body_part) != "abdomen":
        changes.append("CT window")
    return tuple(changes)


def _image_and_part(path: str, plane: PlaneChoice) -> tuple[NativeImage, str, Any]:
    """An image, of a single DICOM frame without its pixels, its modality and Body Part Examined."""
    if Path(path).is_file() and is_dicom(path):
        dataset = load_dataset(path, header_only=True, tags=_TAGS)
        if number_of_frames(dataset) == 1:
            image = NativeImage(path, "dicom", np.empty((1, 0, 0)), [dataset], pixel_spacing(dataset))
            return image, str(dataset.get("Modality") or ""), dataset.get("BodyPartExamined")
    image, _ = read_frame(path, 0, plane)
    return image, image.modality or "", image.headers[0].get("BodyPartExamined") if image.headers else None
