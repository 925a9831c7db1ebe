"""Readers that turn public datasets in their original formats into records.

pandas is imported on first access to one of the names below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.datasets.records.table import load_datalist, read_records, to_datalist, write_records
    from radimagenet_monai.datasets.registry import bundle_datalist, prepare

_MODULE_OF = {
    "bundle_datalist": "registry",
    "load_datalist": "records.table",
    "prepare": "registry",
    "read_records": "records.table",
    "to_datalist": "records.table",
    "write_records": "records.table",
}

__all__ = ["bundle_datalist", "load_datalist", "prepare", "read_records", "to_datalist", "write_records"]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
