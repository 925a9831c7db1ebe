"""The value range of images without a header: pictures, and arrays and volumes of 8 or 16 bits.

Such data are already rendered (windowed, VOI applied). Only the value of white is unknown, and files seldom state it.
`radimagenet prepare` and `pack` decide it for all files of a data set
(`radimagenet_monai.datasets.records.white_level`) and store it in the records and with the trained model. For a single
file, this rule applies to the values of the whole file, not of one frame:

==========================  =================================================
values                      white
==========================  =================================================
boolean                     1
``uint8``                   255
``uint16``                  4095 if nothing is larger (12 bits in a 16-bit file), else 65535
float within [0, 1]         1
other numbers from 0        the smallest of 255, 4095, 65535 that holds them
below 0 or above 65535      refused: not a rendered image
==========================  =================================================
"""

from __future__ import annotations

import numpy as np

from radimagenet_monai.core.errors import IntensityError
from radimagenet_monai.intensity.checks.plausibility import GUESSED_WHITE, finite_questions
from radimagenet_monai.intensity.values.grayscale import map_stored
from radimagenet_monai.intensity.values.luminance import rgb_luminance
from radimagenet_monai.intensity.values.once import note, once
from radimagenet_monai.io.native_image import NativeImage

_WHITE = ("white level of the data set",)


def white_value(image: NativeImage) -> float:
    """The value of white in a rendered image: as decided for its data set, or by the table of this module.

    Raises
    ------
    IntensityError
        For values outside those of 8- or 16-bit rendered images, or above the white level of the data set.
    """
    pixels = image.pixels
    if pixels.dtype == np.uint8:
        return 255.0
    if pixels.dtype == bool:
        return 1.0
    low, high = once(image, ("extremes",), lambda: _extremes(pixels))
    stated = stated_white(image)
    if stated is None:
        return white_of_range(low, high, pixels.dtype, image.path)
    if low < 0 or high > stated:
        raise IntensityError(
            f"{image.path}: values {low:g} to {high:g} were given, 0 to {stated:g} were expected, which is the white "
            "level that was decided for its data set; prepare the data set again"
        )
    return stated


def white_of_range(low: float, high: float, dtype: np.dtype, path: str = "images") -> float:
    """The value of white for values from ``low`` to ``high``, by the table of this module.

    Raises
    ------
    IntensityError
        For values outside those of 8- or 16-bit rendered images.
    """
    if dtype.kind == "f" and low >= 0 and high <= 1:
        return 1.0
    choices = (4095.0, 65535.0) if dtype == np.uint16 else (255.0, 4095.0, 65535.0)
    for white in choices:
        if low >= 0 and high <= white:
            return white
    raise IntensityError(
        f"{path}: values {low:g} to {high:g} ({dtype}) were given, an image of 8 or 16 bits or within [0, 1] was "
        "expected; rescale it, or give the original DICOM or volume file"
    )


def state_white(image: NativeImage, white: float | None) -> None:
    """Store the white level decided for the data set of an image."""
    note(image, _WHITE, white)


def stated_white(image: NativeImage) -> float | None:
    """The white level last stored by `state_white`."""
    return once(image, _WHITE, lambda: None)


def rendered_luminance(image: NativeImage, frame: int) -> np.ndarray:
    """One frame of a rendered image as luminance: float32 ``(rows, columns)`` in [0, 1]; NaN and infinity are black."""
    white = white_value(image)
    pixels = image.pixels[frame]
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    if image.is_color:
        if pixels.dtype.kind == "f":
            pixels = np.where(np.isfinite(pixels), pixels, 0)
        return rgb_luminance(pixels, white)
    return map_stored(pixels, lambda values: values / white)


def rendered_questions(image: NativeImage) -> list[str]:
    """What is doubtful about the range of a rendered image: white was guessed, or values are not finite."""

    def ask() -> list[str]:
        guessed = image.pixels.dtype not in (np.uint8, bool) and white_value(image) != 1 and stated_white(image) is None
        return [*([GUESSED_WHITE] if guessed else []), *finite_questions(image)]

    return once(image, ("rendered", stated_white(image)), ask)


def _extremes(pixels: np.ndarray) -> tuple[float, float]:
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        pixels = pixels[np.isfinite(pixels)]
    return (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
