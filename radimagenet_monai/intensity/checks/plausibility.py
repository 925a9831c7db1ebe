"""Plausibility checks of image values, with fixed sentences that can be counted.

A question is a fixed sentence. `prepare`, `audit`, `pack` and inference count images by question; a question alone
never refuses an image. CT values that cannot be Hounsfield units are refused with an error that names the likely cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from radimagenet_monai.core.errors import IntensityError
from radimagenet_monai.io.native_image import NativeImage

BLANK = "it is blank"
NARROW = "its gray levels use less than a tenth of the way from black to white: another window, bit depth or white?"
WHITE = "more than half of it is white: another unit, another window, or inverted?"
NOT_FINITE = "it holds values that are NaN or infinite; they are shown black"
NO_SCAN = "the scan was not found in the ultrasound frame; whatever is written around it is in the image"
GUESSED_WHITE = (
    "which value is white was guessed from the file's own largest value; 'radimagenet prepare' decides it once"
)
SHORT_LUT = "the entries of its VOI LUT never reach the bits that are stated for them, so that nothing is white"
NO_WINDOW = "the window of its header has the width 0; it was passed over"
NO_AIR = "no CT value is below 0 HU: HU + 1024, another scale, or the air cut away?"
OFFSET_PICTURE = "the values of this picture look like HU with an offset; it was taken for a windowed picture"
NOT_HOUNSFIELD = "its CT values do not look like Hounsfield units; they were taken for such"
OTHER_BODY_PART = "BodyPartExamined names another region than that of the model's images; its result may mean nothing"
OTHER_REGION = "its header names another region than ct_region, and decided its CT window"

BLANK_SPAN = 3
"""Gray levels of 255, about one in a hundred, that a blank image may span; see `is_blank`."""

_NARROW = 0.1
_WHITE_LEVEL = 250  # of 255
_SAMPLED = 64  # pixels along an axis
_FEWEST_VOXELS = 1000  # of a volume to judge: arrays of a few numbers are examples
_MOST_VOXELS = 200_000
_SOFT_TISSUE = 150  # HU around water, a range with most soft tissue and fat of a body
_OFFSETS = (1024, 32768)
_LEAST_SOFT_TISSUE = 0.1
_NARROWEST_CT = 20.0  # HU; noise alone spans more


def is_blank(levels: np.ndarray) -> bool:
    """Whether an image is empty: its gray levels, 0 to 255 of the canonical image, span at most `BLANK_SPAN`.

    A constant image spans 0, and JPEG adds ripples of a level or two. Any acquired image spans more, even one of air,
    because of its noise after windowing. By this rule a black image with one bright mark is not blank, since a mark and
    a small lesion cannot be distinguished. Blank images in RadImageNet are reported in issue 17 of
    https://github.com/BMEII-AI/RadImageNet.

    Parameters
    ----------
    levels
        Gray levels, uint8 of any shape.
    """
    middle = levels[len(levels) // 2]
    if int(middle.max()) - int(middle.min()) > BLANK_SPAN:  # true of nearly all images
        return False
    return int(levels.max()) - int(levels.min()) <= BLANK_SPAN


def gray_levels(canonical: np.ndarray) -> np.ndarray:
    """Canonical values in [0, 1] rounded to gray levels, uint8."""
    return np.rint(np.nan_to_num(canonical) * np.float32(255)).astype(np.uint8)


def questions_of_levels(levels: np.ndarray) -> list[str]:
    """Questions about the gray levels of a canonical image.

    Parameters
    ----------
    levels
        uint8 ``(rows, columns)`` or ``(C, rows, columns)``, with 255 for 1.0.
    """
    channels = levels[np.newaxis] if levels.ndim == 2 else levels
    if all(is_blank(channel) for channel in channels):
        return [BLANK]
    rows, columns = channels.shape[1:]
    sample = channels[:, :: -(-rows // _SAMPLED), :: -(-columns // _SAMPLED)].reshape(len(channels), -1)
    ends = np.partition(sample, [sample.shape[1] // 100, sample.shape[1] - 1 - sample.shape[1] // 100], axis=1)
    low, high = ends[:, sample.shape[1] // 100], ends[:, sample.shape[1] - 1 - sample.shape[1] // 100]
    found = []
    if ((high - low) < 255 * _NARROW).all():
        found.append(NARROW)
    if ((sample >= _WHITE_LEVEL).mean(axis=1) > 0.5).any():
        found.append(WHITE)
    return found


def look(canonical: np.ndarray) -> list[str]:
    """`questions_of_levels` of a canonical image, float ``(C, rows, columns)`` in [0, 1]."""
    return questions_of_levels(gray_levels(canonical))


def question_of_hounsfield(image: NativeImage, values: np.ndarray, allowed: bool) -> str:
    """A question about CT values, or ``""``.

    Parameters
    ----------
    image
        Image, for errors.
    values
        All values in Hounsfield units, or a sample of them, of any shape; after the modality LUT.
    allowed
        Whether the user has declared them to be Hounsfield units.

    Raises
    ------
    IntensityError
        If values of a volume or array cannot be Hounsfield units, unless ``allowed``; names the likely cause.
    """
    cause = not_hounsfield(values)
    if not cause:
        return ""
    if cause == NO_AIR:
        return NO_AIR
    # The header of a DICOM file states its unit; it may be questioned but is not overruled.
    if allowed or image.source == "dicom":
        return NOT_HOUNSFIELD
    raise IntensityError(
        f"{image.path}: {cause} were given, Hounsfield units were expected; give them in HU, save images that are "
        "windowed already as 8-bit ones, or go on as if they were HU with --allow_modality_mismatch true"
    )


def not_hounsfield(values: np.ndarray) -> str:
    """What CT values that are not Hounsfield units look like: a cause in words, `NO_AIR`, or ``""``."""
    sample = values.ravel()[:: max(1, values.size // _MOST_VOXELS)]
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if sample.size < _FEWEST_VOXELS:
        return ""
    low, high = float(sample.min()), float(sample.max())
    if low == high:
        return ""
    if high - low <= _NARROWEST_CT:
        scaled = (low, high) if low < 0 or high > 1 else (0, 1)
        return f"values of {low:g} to {high:g}, which look scaled to [{scaled[0]:g}, {scaled[1]:g}],"
    for offset in _OFFSETS:
        if low > -_SOFT_TISSUE and _has_offset(sample, offset):
            return f"values of {low:g} to {high:g}, which look like HU + {offset},"
    if low >= 0 and 200 < high <= 255:
        return f"values of {low:g} to {high:g}, which look windowed to 8 bits,"
    return NO_AIR if low >= 0 else ""


def question_of_picture(values: np.ndarray) -> str:
    """`OFFSET_PICTURE` for a 16-bit CT picture that holds HU with an offset, else ``""``."""
    sample = values.ravel()[:: max(1, values.size // _MOST_VOXELS)]
    if values.dtype == np.uint8 or values.dtype == bool or sample.size < _FEWEST_VOXELS:
        return ""
    return OFFSET_PICTURE if any(_has_offset(sample, offset) for offset in _OFFSETS) else ""


def _has_offset(sample: np.ndarray, offset: int) -> bool:
    """Whether many values lie where an offset would put soft tissue, and fewer where it would put lung.

    In Hounsfield units these ranges are dense and spongy bone, which are rare, and spongy bone is the more common.
    """
    soft = float(np.mean(np.abs(sample.astype(np.float64) - offset) <= _SOFT_TISSUE))
    lung = float(np.mean(np.abs(sample.astype(np.float64) - (offset - 624)) <= _SOFT_TISSUE))
    return soft > _LEAST_SOFT_TISSUE and soft > lung


def finite_questions(image: NativeImage) -> list[str]:
    """`NOT_FINITE` if any value of an image is NaN or infinite."""
    return [NOT_FINITE] if image.pixels.dtype.kind == "f" and not np.isfinite(image.pixels).all() else []


def counted(questions: Iterable[Iterable[str]]) -> dict[str, int]:
    """Number of images with each question, most frequent first."""
    return dict(Counter(question for image in questions for question in image).most_common())


def in_words(counts: dict[str, int], images: int) -> list[str]:
    """A sentence for each question, for notes and the console."""
    return [f"{count} of {images} images: {question}" for question, count in counts.items()]
