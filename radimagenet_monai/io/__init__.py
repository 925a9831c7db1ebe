"""Reading native images (DICOM, NIfTI, NRRD, pictures, NPY) and writing results.

The names below are loaded when first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "HEADER_KEYWORDS": "native_image",
    "ImageItem": "discovery",
    "LoadNativeImaged": "transforms",
    "NativeImage": "native_image",
    "atomic_open": "atomic",
    "atomic_write_bytes": "atomic",
    "atomic_write_text": "atomic",
    "find_images": "discovery",
    "read_frame": "reader",
    "read_image": "reader",
    "series_files": "discovery",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
