"""CT to the canonical image: modality LUT to Hounsfield units, then one or three windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydicom.dataset import Dataset

from radimagenet_monai.core.errors import IntensityError
from radimagenet_monai.intensity.checks.modality import Policy
from radimagenet_monai.intensity.checks.plausibility import (
    finite_questions,
    question_of_hounsfield,
    question_of_picture,
)
from radimagenet_monai.intensity.policy import CanonicalFrame, IntensityPolicy, require_monochrome
from radimagenet_monai.intensity.values.grayscale import (
    ModalityTransform,
    Window,
    header_window,
    is_inverted,
    is_padding,
    map_stored,
    modality_transform,
    padding_bounds,
)
from radimagenet_monai.intensity.values.luminance import color_luminance
from radimagenet_monai.intensity.values.once import once
from radimagenet_monai.intensity.values.rendered import rendered_luminance, rendered_questions
from radimagenet_monai.intensity.values.windows import HeaderWindow, WindowChoice, parse_windows
from radimagenet_monai.io.native_image import NativeImage

_SAMPLED = 20_000  # values sampled from a slice


class CTWindow(IntensityPolicy):
    """CT: Hounsfield units through one window, or through three windows as channels.

    DICOM values pass the modality LUT, which must give HU: a Rescale Type other than HU is refused, a missing one is
    accepted, and so are signed values without any rescale. Volumes (NIfTI, NRRD) and arrays already hold HU; values
    that cannot be HU are refused, see `radimagenet_monai.intensity.checks.plausibility`. Pictures, and 8-bit volumes
    and arrays, which cannot hold HU, are already windowed: `radimagenet_monai.intensity.values.rendered` scales them
    and the windows do not apply. Pixel padding becomes black, 0, in every channel; MONOCHROME1 is inverted.

    Parameters
    ----------
    allow_modality_mismatch
        See `IntensityPolicy`. ``allow_modality_mismatch`` also accepts values that are not HU as if they were.
    windows
        One, or a list of one or three, of: a name in `radimagenet_monai.intensity.values.windows.WINDOWS`; a (centre,
        width) pair in HU; ``"header"`` or ``"header:1"``.
    """

    policy: ClassVar[Policy] = "CT"

    def __init__(
        self,
        windows: WindowChoice | Sequence[WindowChoice] = ("abdomen",),
        allow_modality_mismatch: bool = False,
    ) -> None:
        super().__init__(allow_modality_mismatch)
        self.windows = parse_windows(windows)

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        stored = image.pixels[frame]
        if image.source == "dicom":
            header = image.headers[frame]
            if require_monochrome(image, header, self.allow_modality_mismatch):
                return self._windowed(image, stored, header)
            return self._as_shown(color_luminance(stored, header))
        if image.source == "picture" or image.is_color or stored.dtype in (np.uint8, np.bool_):
            questions = once(image, ("CT picture",), lambda: question_of_picture(image.pixels))
            shown = self._as_shown(rendered_luminance(image, frame))
            return replace(shown, questions=(*([questions] if questions else []), *rendered_questions(image)))
        return self._windowed(image, stored, Dataset())

    def applies_windows(self, image: NativeImage, frame: int) -> bool:
        """Whether the windows apply to a frame; frames that are already windowed skip them."""
        if image.source == "dicom":
            return str(image.headers[frame].get("PhotometricInterpretation")).startswith("MONOCHROME")
        return not (image.source == "picture" or image.is_color or image.pixels.dtype in (np.uint8, np.bool_))

    def _windowed(self, image: NativeImage, stored: np.ndarray, header: Dataset) -> CanonicalFrame:
        modality = modality_transform(header)
        if image.source == "dicom" and not self.allow_modality_mismatch:
            _require_hounsfield(image, header, modality)
        inverted, bounds = is_inverted(header), padding_bounds(header)
        questions = self._questions(image, stored, modality, bounds)

        def channel(window: Window) -> np.ndarray:
            def render(values: np.ndarray) -> np.ndarray:
                shown = window(modality(values))
                return np.where(is_padding(values, bounds), 0.0, 1 - shown if inverted else shown)

            return map_stored(stored, render)

        pixels = np.stack([channel(self._resolved(image, header, window)) for _, window in self.windows])
        return CanonicalFrame(pixels, "CT window " + ", ".join(label for label, _ in self.windows), None, questions)

    def _questions(
        self, image: NativeImage, stored: np.ndarray, modality: ModalityTransform, bounds: tuple[float, float] | None
    ) -> tuple[str, ...]:
        """What is doubtful about the values: all values of a volume or array, or those of the slice for DICOM."""
        if image.source == "dicom":
            kept = stored[~is_padding(stored, bounds)]
            sampled = kept[:: max(1, kept.size // _SAMPLED)]
            question = question_of_hounsfield(image, modality(sampled.astype(np.float64)), True)
            return (question,) if question else ()

        def ask() -> tuple[str, ...]:
            question = question_of_hounsfield(image, image.pixels, self.allow_modality_mismatch)
            return (*([question] if question else []), *finite_questions(image))

        return once(image, ("hounsfield", self.allow_modality_mismatch), ask)

    def _resolved(self, image: NativeImage, header: Dataset, window: Window | HeaderWindow) -> Window:
        if isinstance(window, Window):
            return window
        stated = header_window(header, window.index)
        if stated is None:
            raise IntensityError(
                f"{image.path}: the header holds no window, which the choice 'header' expects; name one, for example "
                "windows ['abdomen']"
            )
        return stated

    def _as_shown(self, luminance: np.ndarray) -> CanonicalFrame:
        return CanonicalFrame(np.repeat(luminance[np.newaxis], len(self.windows), axis=0), "CT as windowed in the file")


def _require_hounsfield(image: NativeImage, header: Dataset, modality: ModalityTransform) -> None:
    """Refuse CT values that are not HU (PS3.3 C.11.1.1.2): perfusion maps, some localizers, raw counts."""
    element = "ModalityLUTSequence"
    if modality.table is not None:
        unit = str(header[element].value[0].get("ModalityLUTType") or "HU")
        element = "Modality LUT Type"
    else:
        unit = str(header.get("RescaleType") or "HU")
        element = "Rescale Type"
        if not modality.stated and not header.get("PixelRepresentation"):
            raise IntensityError(
                f"{image.path}: unsigned CT values without Rescale Slope and Intercept were given, Hounsfield units "
                "were expected; go on as if they were with --allow_modality_mismatch true"
            )
    if unit.strip().upper() != "HU":
        raise IntensityError(
            f"{image.path}: {element} {unit!r} was given, Hounsfield units (HU) were expected; give the original "
            "CT images, or go on as if they were HU with --allow_modality_mismatch true"
        )
