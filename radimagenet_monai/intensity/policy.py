"""Common base of all intensity policies: native image in, canonical image out, in NumPy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from pydicom.dataset import Dataset

from radimagenet_monai.core.errors import IntensityError, UnreadableImageError
from radimagenet_monai.intensity.checks.modality import Policy, check_modality
from radimagenet_monai.intensity.checks.plausibility import look
from radimagenet_monai.intensity.values.grayscale import header_faults
from radimagenet_monai.intensity.values.rendered import rendered_luminance, rendered_questions, state_white
from radimagenet_monai.intensity.values.scan_region import Box
from radimagenet_monai.io.native_image import NativeImage, require_single_frame

#: Relative side difference up to which pixels count as square, to allow for rounding.
SQUARE = 0.01

#: Path of an array that has none.
UNNAMED = "array"


@dataclass(frozen=True)
class CanonicalFrame:
    """A canonical image.

    Attributes
    ----------
    pixels
        float32, ``(C, H, W)``, C = 1 or 3, in [0, 1].
    description
        What was done, in a few words, for the metadata of outputs.
    crop
        Position of ``pixels`` in the original frame; ``None`` for the whole frame.
    questions
        Questions from `radimagenet_monai.intensity.checks.plausibility` about doubtful values.
    """

    pixels: np.ndarray
    description: str
    crop: Box | None = None
    questions: tuple[str, ...] = ()


class IntensityPolicy(ABC):
    """Base class of the policies: one for each modality, native image in, canonical image out.

    They need NumPy only; `radimagenet_monai.intensity.transforms` wraps them as MONAI's dictionary transforms.

    Parameters
    ----------
    allow_modality_mismatch
        Accept an image whose header states a modality of another policy.

    Examples
    --------
    >>> from radimagenet_monai.intensity import CTWindow
    >>> hounsfield = np.array([[-1000.0, 40.0], [240.0, 3000.0]], np.float32)
    >>> CTWindow([(40, 400)]).convert(hounsfield).pixels.round(3).tolist()
    [[[0.0, 0.5], [1.0, 1.0]]]
    """

    policy: ClassVar[Policy]
    modality_key: str = "modality"  # key of a record
    white_key: ClassVar[str] = "white_level"

    def __init__(self, allow_modality_mismatch: bool = False) -> None:
        self.allow_modality_mismatch = allow_modality_mismatch

    def convert(
        self, image: NativeImage | np.ndarray, frame: int | None = None, record: Mapping[Hashable, Any] | None = None
    ) -> CanonicalFrame:
        """The canonical image of one frame.

        Parameters
        ----------
        image
            From `radimagenet_monai.io.read_image`; or an array of native values, upright, ``(H, W)`` or channel first
            ``(1 or 3, H, W)``.
        frame
            Frame number; may be left out for an image of one frame.
        record
            What is known besides the file, with the keys of a records table: ``modality``, ``region``,
            ``white_level``.

        Raises
        ------
        IntensityError
            If the values, or the modality in the header or the record's ``modality``, do not fit the policy.
        UnreadableImageError
            If the header's lookup tables or windows are damaged, or the frame does not exist; stage ``"intensity"``.
        """
        native = image if isinstance(image, NativeImage) else array_as_native(image, UNNAMED)
        record = {} if record is None else record
        policy = self.for_record(record)
        self.check_record(record, native.path)
        if frame is None:
            require_single_frame(native)
        number = frame or 0
        if not 0 <= number < len(native):
            raise UnreadableImageError(
                native.path, "intensity", f"frame {number} was asked for, it holds frames 0 to {len(native) - 1}"
            )
        white = str(record.get(self.white_key) or "")
        if native.source != "dicom":
            state_white(native, float(white) if white else None)
        with header_faults(native.path):
            policy.check(native)
            shown = policy.canonical(native, number)
            questions = dict.fromkeys((*native.notes, *shown.questions, *look(shown.pixels)))
            return replace(shown, questions=tuple(questions))

    def for_record(self, data: Mapping[Hashable, Any]) -> IntensityPolicy:
        """The policy for the images of one record, which may state more than its files."""
        return self

    def check(self, image: NativeImage) -> None:
        """Refuse an image of another modality."""
        check_modality(image, self.policy, self.allow_modality_mismatch)

    def takes(self) -> Policy | None:
        """The only modality that the policy is meant for, or ``None`` if it depends on the image."""
        return self.policy

    def check_record(self, data: Mapping[Hashable, Any], path: str) -> None:
        """Refuse a record with a modality other than the policy's, since its file may not state one.

        Raises
        ------
        IntensityError
            Names the file, both modalities and the solution.
        """
        stated, taken = data.get(self.modality_key), self.takes()
        if stated and taken and stated != taken and not self.allow_modality_mismatch:
            raise IntensityError(
                f"{path}: the records' column 'modality' says {stated}, {taken} was expected; give {taken} images, "
                "mend the column, or go on with --allow_modality_mismatch true"
            )

    @abstractmethod
    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        """The canonical image of one frame, after the modality check."""


def as_rendered(image: NativeImage, frame: int, description: str) -> CanonicalFrame:
    """An already rendered frame, as displayed."""
    shown = rendered_luminance(image, frame)[np.newaxis]
    return CanonicalFrame(shown, description, None, tuple(rendered_questions(image)))


def require_monochrome(image: NativeImage, header: Dataset, allow_mismatch: bool) -> bool:
    """Whether a DICOM frame is monochrome; a color frame passes only if the user allowed a mismatch.

    Raises
    ------
    IntensityError
        For a color image: a rendering, a fusion or a screen capture, whose values are not measurements.
    ValueError
        If the header calls three samples per pixel monochrome.
    """
    photometric = str(header.get("PhotometricInterpretation"))
    if photometric.startswith("MONOCHROME"):
        if image.is_color:
            raise ValueError(f"{photometric} with three samples a pixel")
        return True
    if not allow_mismatch:
        raise IntensityError(
            f"{image.path}: a color image ({photometric}) was given, a monochrome one was expected; give the original "
            "images, or take its luminance with --allow_modality_mismatch true"
        )
    return False


def array_as_native(array: np.ndarray, name: str) -> NativeImage:
    """An array as an image of one frame without a header.

    Raises
    ------
    IntensityError
        For a shape other than ``(H, W)`` and ``(1 or 3, H, W)``, or values that are not numbers.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise IntensityError(f"{name}: an array of {array.dtype} was given, numbers were expected")
    if array.ndim == 3 and array.shape[0] == 3:
        pixels = np.moveaxis(array, 0, -1)[np.newaxis]
    elif array.ndim == 2 or (array.ndim == 3 and array.shape[0] == 1):
        pixels = array.reshape(1, *array.shape[-2:])
    else:
        raise IntensityError(
            f"{name}: shape {tuple(array.shape)} was given, (H, W), (1, H, W) or (3, H, W) was expected; take one "
            "slice, channel first"
        )
    return NativeImage(path=name, source="array", pixels=pixels, headers=())
