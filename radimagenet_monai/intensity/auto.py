"""The intensity policy that goes by the header."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
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
from radimagenet_monai.intensity.policy import CanonicalFrame, IntensityPolicyd, as_rendered
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
    any other is refused by name. Of files without a header, pictures (PNG, JPEG, ...) have been rendered already and
    are taken as they are shown; volumes and arrays need a record that says under ``modality_key`` what they are.

    With ``expected``, an image of another modality is refused, unless ``allow_modality_mismatch``, and then treated as
    if it were expected. Images without a header (volumes, pictures, arrays) are treated as expected.

    Parameters
    ----------
    keys, frame_key, allow_modality_mismatch, allow_missing_keys
        See `IntensityPolicyd`.
    expected
        ``"CT"``, ``"MR"``, ``"US"``, ``"radiograph"``, or ``None`` for whatever the header says.
    modality_key
        Key of a record under which it names the policy of its image, as the column ``modality`` of a records table
        does; where it is missing or empty, the file alone decides.
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
        modality_key: str = "modality",
    ) -> None:
        super().__init__(keys, frame_key, allow_modality_mismatch, allow_missing_keys)
        self.modality_key = modality_key
        self.expected = None if expected is None else checked_policy(expected)
        self.policies: dict[Policy, IntensityPolicyd] = {}
        for name, options in zip(POLICIES, (ct, mr, us, radiograph), strict=True):
            try:
                self.policies[name] = _CLASS_OF[name](
                    keys, allow_modality_mismatch=allow_modality_mismatch, **dict(options or {})
                )
            except TypeError as error:
                raise ConfigurationError(f"options of the {name} intensity policy: {error}") from error

    def for_record(self, data: Mapping[Hashable, Any]) -> IntensityPolicyd:
        stated = data.get(self.modality_key)
        return _StatedIntensity(self, checked_policy(str(stated))) if stated and self.expected is None else self

    def takes(self) -> Policy | None:
        return self.expected

    def check(self, image: NativeImage) -> None:
        if self.expected is not None:
            check_modality(image, self.expected, self.allow_modality_mismatch)
        elif image.source != "picture":
            self._policy_of(image)

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        if self.expected is None and image.source == "picture":
            return as_rendered(image, frame, "as rendered in the file")
        return self.policies[self.expected or self._policy_of(image)].canonical(image, frame)

    def _policy_of(self, image: NativeImage) -> Policy:
        modality = stated_modality(image)
        policy = POLICY_OF_MODALITY.get(modality or "")
        if policy is None:
            dicom = image.source == "dicom"
            given = modality_in_words(modality) if dicom else "a volume or array, which states no modality,"
            way_out = (
                "with expected and --allow_modality_mismatch true" if dicom else "in the records' column 'modality'"
            )
            raise IntensityError(
                f"{image.path}: {given} was given, CT, MR, US or a radiograph was expected; say what to take it for "
                f"{way_out}"
            )
        return policy


class _StatedIntensity(IntensityPolicyd):
    """`AutoIntensityd` for a record that names the modality: a header that contradicts it is refused."""

    def __init__(self, auto: AutoIntensityd, stated: Policy) -> None:
        super().__init__(auto.keys, auto.frame_key, auto.allow_modality_mismatch)
        self.auto = auto
        self.stated = stated

    def check(self, image: NativeImage) -> None:
        check_modality(image, self.stated, self.allow_modality_mismatch)

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        if image.source == "picture":
            return as_rendered(image, frame, "as rendered in the file")
        return self.auto.policies[self.stated].canonical(image, frame)
