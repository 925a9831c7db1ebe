"""Common base of all intensity policies: native image in, canonical image out."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from pydicom.dataset import Dataset

from radimagenet_monai.core.errors import IntensityError, UnreadableImageError
from radimagenet_monai.intensity.checks.modality import Policy, check_modality, stated_modality
from radimagenet_monai.intensity.checks.plausibility import look
from radimagenet_monai.intensity.values.grayscale import header_faults
from radimagenet_monai.intensity.values.rendered import rendered_luminance, rendered_questions, state_white
from radimagenet_monai.intensity.values.scan_region import Box
from radimagenet_monai.io.native_image import NativeImage, require_single_frame

#: Key under which MONAI keeps the path of an image (`monai.utils.ImageMetaKey.FILENAME_OR_OBJ`).
FILE_KEY = "filename_or_obj"

#: Relative side difference up to which pixels count as square, to allow for rounding.
SQUARE = 0.01

#: Path of an array that has none.
_UNNAMED = "array"


@dataclass(frozen=True)
class CanonicalFrame:
    """A canonical image before it becomes a tensor.

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


class IntensityPolicyd(MapTransform):
    """Base class of the policies: one dictionary transform per modality, native image in, canonical image out.

    Input is ``data[key]``: a `NativeImage`, of which frame ``data[frame_key]`` is used (an image of one frame needs
    none); or a plain array, tensor or MetaTensor of native values, ``(H, W)`` or channel first ``(1 or 3, H, W)``,
    upright. Output is ``data[key]``: a float32 `monai.data.MetaTensor` ``(C, H, W)`` in [0, 1] with the metadata
    ``filename_or_obj`` and ``spacing`` (mm between rows and between columns) if known, ``pixel_aspect`` (pixel height
    divided by width) if pixels are not square, ``frame``, ``modality``, ``original_shape`` (rows, columns), ``crop``
    (first row, first column, end row, end column), ``intensity`` (what was done) and ``questions`` (what is doubtful,
    one sentence per line; see `radimagenet_monai.intensity.checks.plausibility`).

    Parameters
    ----------
    keys
        Keys of the images.
    frame_key
        Key of the frame number.
    allow_modality_mismatch
        Accept an image whose header states a modality of another policy.
    allow_missing_keys
        Do not raise if a key is missing.

    Raises
    ------
    IntensityError
        If the values, or the modality in the header or the record's ``modality``, do not fit the policy.
    UnreadableImageError
        If the header's lookup tables or windows are damaged, or the frame does not exist; stage ``"intensity"``.
    """

    policy: ClassVar[Policy]
    modality_key: str = "modality"  # key of a record
    white_key: ClassVar[str] = "white_level"

    def __init__(
        self,
        keys: KeysCollection,
        frame_key: str = "frame",
        allow_modality_mismatch: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.frame_key = frame_key
        self.allow_modality_mismatch = allow_modality_mismatch

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        stated = out.get(self.frame_key)
        frame = 0 if stated in (None, "") else int(stated)
        policy = self.for_record(out)
        for key in self.key_iterator(out):
            image = as_native_image(out[key])
            self.check_record(out, image.path)
            if stated in (None, ""):
                require_single_frame(image)
            if not 0 <= frame < len(image):
                raise UnreadableImageError(
                    image.path, "intensity", f"frame {frame} was asked for, it holds frames 0 to {len(image) - 1}"
                )
            stated = str(out.get(self.white_key) or "")
            if image.source != "dicom":
                state_white(image, float(stated) if stated else None)
            with header_faults(image.path):
                policy.check(image)
                out[key] = as_metatensor(policy.canonical(image, frame), image, frame)
        return out

    def for_record(self, data: Mapping[Hashable, Any]) -> IntensityPolicyd:
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


def as_native_image(value: Any) -> NativeImage:
    """A `NativeImage` unchanged; a plain array, tensor or MetaTensor as one frame without a header.

    Raises
    ------
    IntensityError
        For a shape other than ``(H, W)`` and ``(1 or 3, H, W)``, or values that are not numbers.
    """
    if isinstance(value, NativeImage):
        return value
    name = str(value.meta.get(FILE_KEY, "")) if isinstance(value, MetaTensor) else ""
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    label = name or _UNNAMED
    if isinstance(value, str | os.PathLike) or array.dtype.kind not in "biuf":
        raise IntensityError(
            f"{value if isinstance(value, str | os.PathLike) else label}: a {type(value).__name__} was given, an image "
            "was expected; put LoadNativeImaged before the intensity policy"
        )
    if array.ndim == 3 and array.shape[0] == 3:
        pixels = np.moveaxis(array, 0, -1)[np.newaxis]
    elif array.ndim == 2 or (array.ndim == 3 and array.shape[0] == 1):
        pixels = array.reshape(1, *array.shape[-2:])
    else:
        raise IntensityError(
            f"{label}: shape {tuple(array.shape)} was given, (H, W), (1, H, W) or (3, H, W) was expected; take one "
            "slice, channel first"
        )
    return NativeImage(path=label, source="array", pixels=pixels, headers=())


def as_metatensor(canonical: CanonicalFrame, image: NativeImage, frame: int) -> MetaTensor:
    """A canonical frame with metadata for outputs, which contain no patient data."""
    rows, columns = image.pixels.shape[1:3]
    meta: dict[str, Any] = {
        "frame": frame,
        "modality": stated_modality(image) or "unknown",
        "original_shape": (int(rows), int(columns)),
        "crop": canonical.crop or (0, 0, int(rows), int(columns)),
        "intensity": canonical.description,
        # One string, since MONAI cannot collate lists of unequal length.
        "questions": "\n".join(dict.fromkeys((*image.notes, *canonical.questions, *look(canonical.pixels)))),
    }
    # MONAI collates the keys that all images of a batch share, and cannot collate None.
    if image.path != _UNNAMED:
        meta[FILE_KEY] = image.path
    if image.spacing is not None:
        meta["spacing"] = image.spacing
    aspect = image.pixel_aspect(frame)
    if abs(aspect - 1) > SQUARE:
        meta["pixel_aspect"] = aspect
    pixels = np.ascontiguousarray(canonical.pixels, dtype=np.float32)
    return MetaTensor(torch.from_numpy(pixels), meta=meta)
