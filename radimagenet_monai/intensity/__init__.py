"""Convert native CT, MR, ultrasound and radiograph intensities to the canonical image.

The canonical image is float32, ``(C, H, W)`` with C = 1 or 3, in [0, 1], upright. JSON configs refer to the MONAI
dictionary transforms below as ``radimagenet_monai.intensity.<Class>``; importing this package loads neither torch nor
MONAI until one of them is accessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.intensity.auto import AutoIntensityd as AutoIntensityd
    from radimagenet_monai.intensity.checks.canonical_range import CanonicalRangeCheckd as CanonicalRangeCheckd
    from radimagenet_monai.intensity.ct import CTWindowd as CTWindowd
    from radimagenet_monai.intensity.mr import MRPercentiled as MRPercentiled
    from radimagenet_monai.intensity.radiograph import RadiographVOId as RadiographVOId
    from radimagenet_monai.intensity.ultrasound import UltrasoundLuminanced as UltrasoundLuminanced

_MODULE_OF = {
    "AutoIntensityd": "auto",
    "CTWindowd": "ct",
    "CanonicalRangeCheckd": "checks.canonical_range",
    "MRPercentiled": "mr",
    "RadiographVOId": "radiograph",
    "UltrasoundLuminanced": "ultrasound",
}

__all__ = [*_MODULE_OF]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
