"""Read native images (DICOM, NIfTI, NRRD, pictures, NPY) and write results.

The names below are imported on first use, so importing this package costs nothing.
"""

from __future__ import annotations

from radimagenet_monai.core.lazy import lazy_exports

_MODULES = {
    "HEADER_KEYWORDS": "native_image",
    "ImageItem": "discovery.survey",
    "LeftOut": "discovery.left_out",
    "LoadNativeImaged": "transforms",
    "NativeImage": "native_image",
    "atomic_open": "radimagenet_monai.core.atomic",
    "atomic_write_bytes": "radimagenet_monai.core.atomic",
    "atomic_write_text": "radimagenet_monai.core.atomic",
    "find_images": "discovery.survey",
    "frame_layout": "frame_layout",
    "read_frame": "reader",
    "read_image": "reader",
    "series_files": "discovery.survey",
    "series_volumes": "discovery.survey",
    "survey": "discovery.survey",
}

__all__ = sorted(_MODULES)

__getattr__, __dir__ = lazy_exports(__name__, _MODULES)
