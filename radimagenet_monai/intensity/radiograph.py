"""Radiographs to the canonical image, displayed as the header specifies."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from radimagenet_monai.intensity.checks.modality import Policy
from radimagenet_monai.intensity.policy import CanonicalFrame, IntensityPolicy, as_rendered, require_monochrome
from radimagenet_monai.intensity.values.grayscale import questions_of_voi, render_gray
from radimagenet_monai.intensity.values.luminance import color_luminance
from radimagenet_monai.io.native_image import NativeImage


class RadiographVOI(IntensityPolicy):
    """Radiographs: modality LUT, VOI LUT or window, and small values white for MONOCHROME1.

    Modalities CR, DX, DR, RG, MG, PX and IO. MONOCHROME1 and Presentation LUT Shape INVERSE both mean that small
    values are white, and do not cancel out. [0, 1] spans the output range of the VOI LUT or window, or, without either,
    the smallest and largest value of the frame outside its padding. Padding becomes black, 0. Pictures, volumes and
    arrays are already rendered and are scaled by `radimagenet_monai.intensity.values.rendered`.

    Parameters
    ----------
    allow_modality_mismatch
        See `IntensityPolicy`.
    view
        Index of the VOI LUT or window to use, from 0.
    prefer_lut
        Use the VOI LUT if a header has both VOI LUTs and windows (as in pydicom's ``apply_voi_lut``).
    """

    policy: ClassVar[Policy] = "radiograph"

    def __init__(
        self,
        view: int = 0,
        prefer_lut: bool = True,
        allow_modality_mismatch: bool = False,
    ) -> None:
        super().__init__(allow_modality_mismatch)
        self.view = view
        self.prefer_lut = prefer_lut

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        if image.source != "dicom":
            return as_rendered(image, frame, "radiograph as rendered in the file")
        header, stored = image.headers[frame], image.pixels[frame]
        if require_monochrome(image, header, self.allow_modality_mismatch):
            shown = render_gray(stored, header, "values", self.view, self.prefer_lut)
        else:
            shown = color_luminance(stored, header)
        questions = questions_of_voi(header, self.view, self.prefer_lut)
        return CanonicalFrame(shown[np.newaxis], "radiograph VOI", None, tuple(questions))
