"""The intensity policies as MONAI's dictionary transforms."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from radimagenet_monai.core.errors import IntensityError
from radimagenet_monai.intensity.auto import AutoIntensity
from radimagenet_monai.intensity.checks.modality import Policy, stated_modality
from radimagenet_monai.intensity.ct import CTWindow
from radimagenet_monai.intensity.mr import MRPercentile
from radimagenet_monai.intensity.policy import SQUARE, UNNAMED, CanonicalFrame, IntensityPolicy, array_as_native
from radimagenet_monai.intensity.radiograph import RadiographVOI
from radimagenet_monai.intensity.ultrasound import Crop, UltrasoundLuminance
from radimagenet_monai.intensity.values.windows import WindowChoice
from radimagenet_monai.io.native_image import NativeImage

#: Key under which MONAI keeps the path of an image (`monai.utils.ImageMetaKey.FILENAME_OR_OBJ`).
FILE_KEY = "filename_or_obj"


class IntensityPolicyd(MapTransform, IntensityPolicy):
    """Base class of the transforms: an `IntensityPolicy` on dictionaries.

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
    allow_missing_keys
        Do not raise if a key is missing.

    Raises
    ------
    IntensityError, UnreadableImageError
        See `IntensityPolicy.convert`.
    """

    def __init__(self, keys: KeysCollection, frame_key: str = "frame", allow_missing_keys: bool = False) -> None:
        # Not by MapTransform.__init__, which would call that of the policy without its arguments.
        self.keys = ensure_tuple(keys)
        self.allow_missing_keys = allow_missing_keys
        self.frame_key = frame_key
        if not self.keys:
            raise ValueError("keys must be non empty.")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        stated = out.get(self.frame_key)
        frame = None if stated in (None, "") else int(stated)
        for key in self.key_iterator(out):
            image = as_native_image(out[key])
            out[key] = as_metatensor(self.convert(image, frame, data), image, frame or 0)
        return out


class CTWindowd(IntensityPolicyd, CTWindow):
    """`CTWindow` on dictionaries."""

    def __init__(
        self,
        keys: KeysCollection,
        windows: WindowChoice | Sequence[WindowChoice] = ("abdomen",),
        frame_key: str = "frame",
        allow_modality_mismatch: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        IntensityPolicyd.__init__(self, keys, frame_key, allow_missing_keys)
        CTWindow.__init__(self, windows, allow_modality_mismatch)


class MRPercentiled(IntensityPolicyd, MRPercentile):
    """`MRPercentile` on dictionaries."""

    def __init__(
        self,
        keys: KeysCollection,
        lower: float = 1.0,
        upper: float = 99.0,
        scope: Literal["volume", "slice"] = "volume",
        bias_correction: Literal["n4"] | None = None,
        frame_key: str = "frame",
        allow_modality_mismatch: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        IntensityPolicyd.__init__(self, keys, frame_key, allow_missing_keys)
        MRPercentile.__init__(self, lower, upper, scope, bias_correction, allow_modality_mismatch)


class UltrasoundLuminanced(IntensityPolicyd, UltrasoundLuminance):
    """`UltrasoundLuminance` on dictionaries."""

    def __init__(
        self,
        keys: KeysCollection,
        crop: Crop | None = "auto",
        frame_key: str = "frame",
        allow_modality_mismatch: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        IntensityPolicyd.__init__(self, keys, frame_key, allow_missing_keys)
        UltrasoundLuminance.__init__(self, crop, allow_modality_mismatch)


class RadiographVOId(IntensityPolicyd, RadiographVOI):
    """`RadiographVOI` on dictionaries."""

    def __init__(
        self,
        keys: KeysCollection,
        view: int = 0,
        prefer_lut: bool = True,
        frame_key: str = "frame",
        allow_modality_mismatch: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        IntensityPolicyd.__init__(self, keys, frame_key, allow_missing_keys)
        RadiographVOI.__init__(self, view, prefer_lut, allow_modality_mismatch)


class AutoIntensityd(IntensityPolicyd, AutoIntensity):
    """`AutoIntensity` on dictionaries."""

    def __init__(
        self,
        keys: KeysCollection,
        expected: str | None = None,
        allow_modality_mismatch: bool = False,
        ct: Mapping[str, Any] | None = None,
        mr: Mapping[str, Any] | None = None,
        us: Mapping[str, Any] | None = None,
        radiograph: Mapping[str, Any] | None = None,
        frame_key: str = "frame",
        allow_missing_keys: bool = False,
        modality_key: str = "modality",
        ct_region: str = "auto",
    ) -> None:
        IntensityPolicyd.__init__(self, keys, frame_key, allow_missing_keys)
        AutoIntensity.__init__(self, expected, allow_modality_mismatch, ct, mr, us, radiograph, modality_key, ct_region)

    def _policy(self, name: Policy, options: dict[str, Any]) -> IntensityPolicy:
        # Part of the state by which stores and models know their preprocessing.
        return _CLASS_OF[name](self.keys, allow_modality_mismatch=self.allow_modality_mismatch, **options)


_CLASS_OF: dict[Policy, Any] = {
    "CT": CTWindowd,
    "MR": MRPercentiled,
    "US": UltrasoundLuminanced,
    "radiograph": RadiographVOId,
}


def as_native_image(value: Any) -> NativeImage:
    """A `NativeImage` unchanged; a plain array, tensor or MetaTensor as one frame without a header.

    Raises
    ------
    IntensityError
        See `array_as_native`; also for a path.
    """
    if isinstance(value, NativeImage):
        return value
    name = str(value.meta.get(FILE_KEY, "")) if isinstance(value, MetaTensor) else ""
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if isinstance(value, str | os.PathLike) or array.dtype.kind not in "biuf":
        what = value if isinstance(value, str | os.PathLike) else name or UNNAMED
        raise IntensityError(
            f"{what}: a {type(value).__name__} was given, an image was expected; put LoadNativeImaged before the "
            "intensity policy"
        )
    return array_as_native(array, name or UNNAMED)


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
        "questions": "\n".join(canonical.questions),
    }
    # MONAI collates the keys that all images of a batch share, and cannot collate None.
    if image.path != UNNAMED:
        meta[FILE_KEY] = image.path
    if image.spacing is not None:
        meta["spacing"] = image.spacing
    aspect = image.pixel_aspect(frame)
    if abs(aspect - 1) > SQUARE:
        meta["pixel_aspect"] = aspect
    pixels = np.ascontiguousarray(canonical.pixels, dtype=np.float32)
    return MetaTensor(torch.from_numpy(pixels), meta=meta)
