"""The intensity policy that goes by the header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from monai.config import KeysCollection

from radimagenet_monai.errors import ConfigurationError, IntensityError
from radimagenet_monai.intensity.ct import CTWindowd
from radimagenet_monai.intensity.modality import (
    POLICIES,
    POLICY_OF_MODALITY,
    Policy,
    check_modality,
    checked_policy,
    modality_in_words,
    stated_modality,
)
from radimagenet_monai.intensity.mr import MRPercentiled
from radimagenet_monai.intensity.policy import CanonicalFrame, IntensityPolicyd
from radimagenet_monai.intensity.radiograph import RadiographVOId
from radimagenet_monai.intensity.ultrasound import UltrasoundLuminanced
from radimagenet_monai.io.native_image import NativeImage

_CLASS_OF: dict[Policy, type[IntensityPolicyd]] = {
    "CT": CTWindowd,
    "MR": MRPercentiled,
    "US": UltrasoundLuminanced,
    "radiograph": RadiographVOId,
}


class AutoIntensityd(IntensityPolicyd):
    """The policy of the image's modality, or of the one that is expected.

    Without ``expected``, the header's Modality chooses: CT; MR; US; CR, DX, DR, RG, MG, PX and IO for radiographs;
    any other is refused by name, and so is an image without a header. With ``expected``, an image of another modality
    is refused, unless ``allow_modality_mismatch``, and then treated as if it were expected. Images without a header
    (volumes, pictures, arrays) are treated as expected.

    Parameters
    ----------
    keys, frame_key, allow_modality_mismatch, allow_missing_keys
        See `IntensityPolicyd`.
    expected
        ``"CT"``, ``"MR"``, ``"US"``, ``"radiograph"``, or ``None`` for whatever the header says.
    ct, mr, us, radiograph
        Options of `CTWindowd`, `MRPercentiled`, `UltrasoundLuminanced` and `RadiographVOId`, for example
        ``{"windows": ["lung"]}``.
    """

    policy: ClassVar[Policy]

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
    ) -> None:
        super().__init__(keys, frame_key, allow_modality_mismatch, allow_missing_keys)
        self.expected = None if expected is None else checked_policy(expected)
        self.policies: dict[Policy, IntensityPolicyd] = {}
        for name, options in zip(POLICIES, (ct, mr, us, radiograph), strict=True):
            try:
                self.policies[name] = _CLASS_OF[name](
                    keys, allow_modality_mismatch=allow_modality_mismatch, **dict(options or {})
                )
            except TypeError as error:
                raise ConfigurationError(f"options of the {name} intensity policy: {error}") from error

    def check(self, image: NativeImage) -> None:
        if self.expected is not None:
            check_modality(image, self.expected, self.allow_modality_mismatch)
        else:
            self._policy_of(image)

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        return self.policies[self.expected or self._policy_of(image)].canonical(image, frame)

    def _policy_of(self, image: NativeImage) -> Policy:
        modality = stated_modality(image)
        policy = POLICY_OF_MODALITY.get(modality or "")
        if policy is None:
            given = modality_in_words(modality) if image.source == "dicom" else "an image without a header"
            raise IntensityError(
                f"{image.path}: {given} was given, CT, MR, US or a radiograph was expected; say what to take it for "
                "with expected and --allow_modality_mismatch true"
            )
        return policy
