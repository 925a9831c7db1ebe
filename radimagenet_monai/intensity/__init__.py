"""Convert native CT, MR, ultrasound and radiograph intensities to the canonical image.

The canonical image is float32, ``(C, H, W)`` with C = 1 or 3, in [0, 1], upright. The policies need NumPy only; JSON
configs name the MONAI dictionary transforms, which end with ``d``, as ``radimagenet_monai.intensity.<Class>``.
Importing this package loads neither torch nor MONAI until one of those is accessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.intensity.auto import AutoIntensity as AutoIntensity
    from radimagenet_monai.intensity.checks.canonical_range import CanonicalRangeCheckd as CanonicalRangeCheckd
    from radimagenet_monai.intensity.ct import CTWindow as CTWindow
    from radimagenet_monai.intensity.mr import MRPercentile as MRPercentile
    from radimagenet_monai.intensity.radiograph import RadiographVOI as RadiographVOI
    from radimagenet_monai.intensity.transforms import AutoIntensityd as AutoIntensityd
    from radimagenet_monai.intensity.transforms import CTWindowd as CTWindowd
    from radimagenet_monai.intensity.transforms import MRPercentiled as MRPercentiled
    from radimagenet_monai.intensity.transforms import RadiographVOId as RadiographVOId
    from radimagenet_monai.intensity.transforms import UltrasoundLuminanced as UltrasoundLuminanced
    from radimagenet_monai.intensity.ultrasound import UltrasoundLuminance as UltrasoundLuminance

_MODULE_OF = {
    "AutoIntensity": "auto",
    "AutoIntensityd": "transforms",
    "CTWindow": "ct",
    "CTWindowd": "transforms",
    "CanonicalRangeCheckd": "checks.canonical_range",
    "MRPercentile": "mr",
    "MRPercentiled": "transforms",
    "RadiographVOI": "radiograph",
    "RadiographVOId": "transforms",
    "UltrasoundLuminance": "ultrasound",
    "UltrasoundLuminanced": "transforms",
}

__all__ = [*_MODULE_OF]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
