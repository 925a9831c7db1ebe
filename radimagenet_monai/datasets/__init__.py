"""Readers that turn public datasets in their original formats into records.

pandas is imported on first access to one of the names below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.datasets.readers import bundle_datalist, prepare
    from radimagenet_monai.datasets.records import load_datalist, read_records, to_datalist, write_records

_MODULE_OF = {
    "bundle_datalist": "readers",
    "load_datalist": "records",
    "prepare": "readers",
    "read_records": "records",
    "to_datalist": "records",
    "write_records": "records",
}

__all__ = ["bundle_datalist", "load_datalist", "prepare", "read_records", "to_datalist", "write_records"]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
