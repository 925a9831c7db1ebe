"""Canonical images kept as uint8 in memory-mapped files: packing, reading, sealing, sharing.

Importing this package loads neither torch nor MONAI until one of the names below is accessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.store.packed_store import PackedStore
    from radimagenet_monai.store.sealed.records import SealedRecords

_MODULE_OF = {
    "PackedStore": "packed_store",
    "SealedRecords": "sealed.records",
}

__all__ = [
    "PackedStore",
    "SealedRecords",
]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
