"""The intensity policy for each DICOM modality, and the check against the wrong one."""

from __future__ import annotations

from typing import Literal, get_args

from radimagenet_monai.core.errors import ConfigurationError, IntensityError
from radimagenet_monai.io.native_image import NativeImage

#: The values of `radimagenet_monai.catalog.tasks.Modality`.
Policy = Literal["CT", "MR", "US", "radiograph"]

POLICIES: tuple[Policy, ...] = get_args(Policy)

#: Defined terms of Modality (PS3.3 C.7.3.1.1.1), plus the retired DR found in old archives, with their policy.
POLICY_OF_MODALITY: dict[str, Policy] = {
    "CT": "CT",
    "MR": "MR",
    "US": "US",
    "CR": "radiograph",
    "DX": "radiograph",
    "DR": "radiograph",
    "RG": "radiograph",
    "MG": "radiograph",
    "PX": "radiograph",
    "IO": "radiograph",
}

_WHAT_IT_IS = {
    "PT": "positron emission tomography",
    "NM": "nuclear medicine",
    "SC": "secondary capture",
    "OT": "other",
    "SEG": "segmentation",
    "XA": "X-ray angiography",
    "RF": "fluoroscopy",
    "RTDOSE": "radiotherapy dose",
    "IVUS": "intravascular ultrasound",
    "OPT": "ophthalmic tomography",
    "SM": "slide microscopy",
}


def checked_policy(name: str) -> Policy:
    """``name`` as a `Policy`.

    Raises
    ------
    ConfigurationError
        If ``name`` is not a policy.
    """
    for policy in POLICIES:
        if name == policy:
            return policy
    raise ConfigurationError(f"unknown modality policy {name!r}: choose one of {', '.join(POLICIES)}")


def modality_in_words(modality: str | None) -> str:
    """A modality for error messages: ``"PT (positron emission tomography)"``."""
    if modality is None:
        return "an unknown modality (the header holds none)"
    meaning = _WHAT_IT_IS.get(modality)
    return f"modality {modality} ({meaning})" if meaning else f"modality {modality}"


def stated_modality(image: NativeImage) -> str | None:
    """The header's modality as text; if it wrongly states several, they are joined to a text that is not a modality."""
    modality = image.modality
    return None if modality is None else str(modality)


def check_modality(image: NativeImage, expected: Policy, allow_mismatch: bool = False) -> None:
    """Refuse a DICOM image whose modality belongs to another policy than ``expected``.

    Volumes, pictures and arrays state no modality and are accepted as the user describes them.

    Raises
    ------
    IntensityError
        Names the file, both modalities and the solution.
    """
    if image.source != "dicom" or allow_mismatch:
        return
    modality = stated_modality(image)
    if POLICY_OF_MODALITY.get(modality or "") == expected:
        return
    accepted = "/".join(name for name, policy in POLICY_OF_MODALITY.items() if policy == expected)
    raise IntensityError(
        f"{image.path}: {modality_in_words(modality)} was given, {expected} ({accepted}) was expected; "
        f"give {expected} images, or go on with --allow_modality_mismatch true"
    )
