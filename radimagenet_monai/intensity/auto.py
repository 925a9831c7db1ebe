"""The intensity policy chosen by the header's modality."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

from radimagenet_monai.core.errors import ConfigurationError, IntensityError
from radimagenet_monai.intensity.checks.modality import (
    POLICIES,
    POLICY_OF_MODALITY,
    Policy,
    check_modality,
    checked_policy,
    modality_in_words,
    stated_modality,
)
from radimagenet_monai.intensity.checks.plausibility import OTHER_REGION
from radimagenet_monai.intensity.ct import CTWindow
from radimagenet_monai.intensity.mr import MRPercentile
from radimagenet_monai.intensity.policy import CanonicalFrame, IntensityPolicy, as_rendered
from radimagenet_monai.intensity.radiograph import RadiographVOI
from radimagenet_monai.intensity.ultrasound import UltrasoundLuminance
from radimagenet_monai.intensity.values.ct_region import REGION_KEY, checked_ct_region, ct_window
from radimagenet_monai.intensity.values.windows import parse_windows
from radimagenet_monai.io.native_image import NativeImage

_CLASS_OF: dict[Policy, type[IntensityPolicy]] = {
    "CT": CTWindow,
    "MR": MRPercentile,
    "US": UltrasoundLuminance,
    "radiograph": RadiographVOI,
}
_DEFAULT_WINDOWS = parse_windows(("abdomen",))


class AutoIntensity(IntensityPolicy):
    """Apply the policy of the image's modality, or of an expected modality.

    Without ``expected``, the header's Modality chooses: CT; MR; US; CR, DX, DR, RG, MG, PX and IO for radiographs;
    any other is refused by name. Of files without a header, pictures (PNG, JPEG, ...) are already rendered and are
    used as displayed; volumes and arrays need a record that states their modality under ``modality_key``.

    CT images are shown in the window of their region, ``lung`` or ``abdomen``, as in RadImageNet. The region comes from
    Body Part Examined in the header, else the record's ``region``, else ``ct_region``. An image is refused if none of
    these names a region. If ``ct`` names windows, or with ``expected``, the windows of ``ct`` are used for all images.

    With ``expected``, an image of another modality is refused, or treated as the expected one if
    ``allow_modality_mismatch``. Images without a header (volumes, pictures, arrays) are treated as the expected
    modality.

    Parameters
    ----------
    allow_modality_mismatch
        See `IntensityPolicy`.
    expected
        ``"CT"``, ``"MR"``, ``"US"``, ``"radiograph"``, or ``None`` to follow the header.
    modality_key
        Key of the record's policy name, as in the column ``modality`` of a records table; the file alone decides if it
        is missing or empty.
    ct_region
        Region of CT images that do not state it, ``"lung"`` or ``"abdomen"``; ``"auto"`` refuses them.
    ct, mr, us, radiograph
        Options of `CTWindow`, `MRPercentile`, `UltrasoundLuminance` and `RadiographVOI`, for example
        ``{"windows": ["lung"]}``.
    """

    policy: ClassVar[Policy]
    # Not part of the object's state while at the default, so that stores and models of release 0.1 still match.
    ct_region: str = "auto"
    windows_named: bool = False

    def __init__(
        self,
        expected: str | None = None,
        allow_modality_mismatch: bool = False,
        ct: Mapping[str, Any] | None = None,
        mr: Mapping[str, Any] | None = None,
        us: Mapping[str, Any] | None = None,
        radiograph: Mapping[str, Any] | None = None,
        modality_key: str = "modality",
        ct_region: str = "auto",
    ) -> None:
        super().__init__(allow_modality_mismatch)
        self.modality_key = modality_key
        self.expected = None if expected is None else checked_policy(expected)
        if checked_ct_region(ct_region) != "auto":
            self.ct_region = ct_region
        self.policies: dict[Policy, IntensityPolicy] = {}
        for name, options in zip(POLICIES, (ct, mr, us, radiograph), strict=True):
            try:
                self.policies[name] = self._policy(name, dict(options or {}))
            except TypeError as error:
                raise ConfigurationError(f"options of the {name} intensity policy: {error}") from error

        if "windows" in (ct or {}) and self.goes_by_region:
            self.windows_named = True

    def _policy(self, name: Policy, options: dict[str, Any]) -> IntensityPolicy:
        return _CLASS_OF[name](allow_modality_mismatch=self.allow_modality_mismatch, **options)

    def for_record(self, data: Mapping[Hashable, Any]) -> IntensityPolicy:
        stated = data.get(self.modality_key)
        policy = checked_policy(str(stated)) if stated and self.expected is None else None
        return _OfRecord(self, policy, data) if policy or data.get(REGION_KEY) else self

    def takes(self) -> Policy | None:
        return self.expected

    def check(self, image: NativeImage) -> None:
        if self.expected is not None:
            check_modality(image, self.expected, self.allow_modality_mismatch)
        elif image.source != "picture":
            self._policy_of(image)

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        return self.canonical_of(image, frame, None, {})

    def canonical_of(
        self, image: NativeImage, frame: int, stated: Policy | None, record: Mapping[Hashable, Any]
    ) -> CanonicalFrame:
        """The canonical image of a frame, given the policy stated in its record, or ``None``."""
        if self.expected is None and image.source == "picture":
            return as_rendered(image, frame, "as rendered in the file")
        policy = self.policies[self.expected or stated or self._policy_of(image)]
        if not (isinstance(policy, CTWindow) and self.goes_by_region and policy.applies_windows(image, frame)):
            return policy.canonical(image, frame)
        window, contradicted = ct_window(image, frame, record, self.ct_region)
        shown = _ct_policy(window, self.allow_modality_mismatch).canonical(image, frame)
        return replace(shown, questions=(*shown.questions, OTHER_REGION)) if contradicted else shown

    @property
    def goes_by_region(self) -> bool:
        """Whether CT images get the window of their region: ``ct`` names no window and CT is not ``expected``."""
        return self.expected is None and not self.windows_named and _windows_of(self.policies["CT"]) == _DEFAULT_WINDOWS

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


def _windows_of(policy: IntensityPolicy) -> list[Any]:
    return policy.windows if isinstance(policy, CTWindow) else []


@lru_cache(maxsize=16)
def _ct_policy(window: str, allow_modality_mismatch: bool) -> CTWindow:
    return CTWindow([window], allow_modality_mismatch)


class _OfRecord(IntensityPolicy):
    """`AutoIntensity` for a record that names modality or region; a contradicting header is refused."""

    def __init__(self, auto: AutoIntensity, stated: Policy | None, record: Mapping[Hashable, Any]) -> None:
        super().__init__(auto.allow_modality_mismatch)
        self.auto = auto
        self.stated = stated
        self.record = record

    def check(self, image: NativeImage) -> None:
        if self.stated is None:
            self.auto.check(image)
        else:
            check_modality(image, self.stated, self.allow_modality_mismatch)

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        return self.auto.canonical_of(image, frame, self.stated, self.record)
