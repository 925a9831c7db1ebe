"""Ultrasound to the canonical image: crop to the scan, luminance."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import numpy as np

from radimagenet_monai.core.errors import ConfigurationError, IntensityError
from radimagenet_monai.intensity.checks.modality import Policy
from radimagenet_monai.intensity.checks.plausibility import NO_SCAN
from radimagenet_monai.intensity.policy import Box, CanonicalFrame, IntensityPolicy
from radimagenet_monai.intensity.values.grayscale import questions_of_voi, render_gray
from radimagenet_monai.intensity.values.luminance import color_luminance
from radimagenet_monai.intensity.values.once import once
from radimagenet_monai.intensity.values.rendered import rendered_luminance, rendered_questions
from radimagenet_monai.intensity.values.scan_region import find_scan, header_region
from radimagenet_monai.io.native_image import NativeImage

Crop = Literal["auto", "header", "picture"]

#: Number of frames of a clip used to find the scan; evenly spaced, so that a freeze or title frame does not dominate.
_FRAMES_OF_CLIP = 8


class UltrasoundLuminance(IntensityPolicy):
    """Ultrasound: luminance of the scanned region.

    RGB becomes Rec. 601 luma; YBR gives its Y channel unchanged; a palette is converted to luminance once and looked up
    by index; monochrome images pass modality LUT, VOI LUT or window if present, and polarity. Color Doppler keeps its
    luminance. Luma is not rounded to 8 bits.

    Parameters
    ----------
    allow_modality_mismatch
        See `IntensityPolicy`.
    crop
        ``"header"``: the largest 2-D tissue region of Sequence of Ultrasound Regions, an error without one;
        ``"picture"``: the scan against its black surroundings; ``"auto"``: the header's region if it states one that
        fits the image, else the picture's; ``None``: the whole frame. All frames of a clip are cropped alike. If the
        picture does not show the scan's position, only bars at the top and bottom are cut off, and the image has the
        question `radimagenet_monai.intensity.checks.plausibility.NO_SCAN`. Rules:
        `radimagenet_monai.intensity.values.scan_region`.
    """

    policy: ClassVar[Policy] = "US"

    def __init__(
        self,
        crop: Crop | None = "auto",
        allow_modality_mismatch: bool = False,
    ) -> None:
        super().__init__(allow_modality_mismatch)
        if crop is not None and crop not in get_args(Crop):
            raise ConfigurationError(f"unknown ultrasound crop {crop!r}: choose auto, header, picture or null")
        self.crop = crop

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        luminance = ultrasound_luminance(image, frame)
        box, origin, questions = once(image, ("region", self.crop), lambda: self._region(image))
        questions = (*questions, *ultrasound_questions(image, frame))
        if box is None:
            return CanonicalFrame(luminance[np.newaxis], "US luminance", None, questions)
        row, column, end_row, end_column = box
        scan = luminance[np.newaxis, row:end_row, column:end_column]
        return CanonicalFrame(scan, f"US luminance, {origin}", box, questions)

    def _region(self, image: NativeImage) -> tuple[Box | None, str, tuple[str, ...]]:
        """The position of the scan, its origin, and what is doubtful about it."""
        if self.crop in ("auto", "header") and image.headers:
            box = header_region(image.headers[0], image.pixels.shape[1:3])
            if box is not None:
                return box, "region of the header", ()
        if self.crop == "header":
            raise IntensityError(
                f"{image.path}: no usable 2-D tissue region in the header, which crop 'header' expects; use crop "
                "'auto' or 'picture'"
            )
        if self.crop is None:
            return None, "", ()
        box, found = find_scan(brightest(image))
        return box, "region of the picture" if found else "bars cut off", () if found else (NO_SCAN,)


def ultrasound_luminance(image: NativeImage, frame: int) -> np.ndarray:
    """The luminance of one uncropped frame: float32 ``(rows, columns)`` in [0, 1]."""
    if image.source != "dicom":
        return rendered_luminance(image, frame)
    header, stored = image.headers[frame], image.pixels[frame]
    if not str(header.get("PhotometricInterpretation")).startswith("MONOCHROME"):
        return color_luminance(stored, header)
    return render_gray(stored, header, without_voi="bits")


def ultrasound_questions(image: NativeImage, frame: int) -> list[str]:
    """What is doubtful about the gray levels of a frame."""
    if image.source != "dicom":
        return rendered_questions(image)
    header = image.headers[frame]
    return questions_of_voi(header) if str(header.get("PhotometricInterpretation")).startswith("MONOCHROME") else []


def brightest(image: NativeImage) -> np.ndarray:
    """The largest luminance of each pixel over a few frames: the scan moves, the screen around it does not."""
    frames = np.unique(np.linspace(0, len(image) - 1, _FRAMES_OF_CLIP).round().astype(int))
    brightest = ultrasound_luminance(image, int(frames[0]))
    for frame in frames[1:]:
        np.maximum(brightest, ultrasound_luminance(image, int(frame)), out=brightest)
    return brightest
