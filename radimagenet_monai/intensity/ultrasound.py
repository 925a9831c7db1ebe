"""Ultrasound to the canonical image: crop to the scan, luminance."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import numpy as np
from monai.config import KeysCollection

from radimagenet_monai.errors import ConfigurationError, IntensityError
from radimagenet_monai.intensity.grayscale import render_gray
from radimagenet_monai.intensity.luminance import color_luminance
from radimagenet_monai.intensity.modality import Policy
from radimagenet_monai.intensity.policy import Box, CanonicalFrame, IntensityPolicyd
from radimagenet_monai.intensity.rendered import rendered_luminance
from radimagenet_monai.intensity.scan_region import header_region, picture_region
from radimagenet_monai.io.native_image import NativeImage

Crop = Literal["auto", "header", "picture"]

#: As many frames of a clip decide where the scan lies; evenly spaced, so that a freeze or a title frame does not rule.
_FRAMES_OF_CLIP = 8


class UltrasoundLuminanced(IntensityPolicyd):
    """Ultrasound: luminance of the scanned region.

    RGB becomes Rec. 601 luma; YBR gives its Y channel as it is; a palette is turned into luminance once and applied
    to the indices; monochrome images pass modality LUT, VOI LUT or window where present, and polarity. Color Doppler
    keeps its luminance. Luma is not rounded to 8 bits.

    Parameters
    ----------
    keys, frame_key, allow_modality_mismatch, allow_missing_keys
        See `IntensityPolicyd`.
    crop
        ``"header"``: the largest 2-D tissue region of Sequence of Ultrasound Regions, an error without one;
        ``"picture"``: the scan against its black surroundings; ``"auto"``: the header's region where it states one
        that fits the image, else the picture's; ``None``: all of the frame. A clip is cropped alike in all frames.
        Rules: `radimagenet_monai.intensity.scan_region`.
    """

    policy: ClassVar[Policy] = "US"

    def __init__(
        self,
        keys: KeysCollection,
        crop: Crop | None = "auto",
        frame_key: str = "frame",
        allow_modality_mismatch: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, frame_key, allow_modality_mismatch, allow_missing_keys)
        if crop is not None and crop not in get_args(Crop):
            raise ConfigurationError(f"unknown ultrasound crop {crop!r}: choose auto, header, picture or null")
        self.crop = crop

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        luminance = ultrasound_luminance(image, frame)
        box, origin = self._region(image)
        if box is None:
            return CanonicalFrame(luminance[np.newaxis], "US luminance")
        row, column, end_row, end_column = box
        return CanonicalFrame(luminance[np.newaxis, row:end_row, column:end_column], f"US luminance, {origin}", box)

    def _region(self, image: NativeImage) -> tuple[Box | None, str]:
        """Where the scan lies and who says so."""
        if self.crop in ("auto", "header") and image.headers:
            box = header_region(image.headers[0], image.pixels.shape[1:3])
            if box is not None:
                return box, "region of the header"
        if self.crop == "header":
            raise IntensityError(
                f"{image.path}: no usable 2-D tissue region in the header, which crop 'header' expects; use crop "
                "'auto' or 'picture'"
            )
        if self.crop is None:
            return None, ""
        return picture_region(_brightest(image)), "region of the picture"


def ultrasound_luminance(image: NativeImage, frame: int) -> np.ndarray:
    """The luminance of one uncropped frame: float32 ``(rows, columns)`` in [0, 1]."""
    if image.source != "dicom":
        return rendered_luminance(image, frame)
    header, stored = image.headers[frame], image.pixels[frame]
    if not str(header.get("PhotometricInterpretation")).startswith("MONOCHROME"):
        return color_luminance(stored, header)
    return render_gray(stored, header, without_voi="bits")


def _brightest(image: NativeImage) -> np.ndarray:
    """The largest luminance of each pixel over a few frames: the scan moves, the screen around it does not."""
    frames = np.unique(np.linspace(0, len(image) - 1, _FRAMES_OF_CLIP).round().astype(int))
    brightest = ultrasound_luminance(image, int(frames[0]))
    for frame in frames[1:]:
        np.maximum(brightest, ultrasound_luminance(image, int(frame)), out=brightest)
    return brightest
