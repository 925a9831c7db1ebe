"""Readers of datasets in their original form, one module each."""

from __future__ import annotations

from radimagenet_monai.core.lazy import lazy_exports

# In release 0.1 this was the module of the registry.
_MODULE_OF = dict.fromkeys(("bundle_datalist", "get_reader", "prepare"), "radimagenet_monai.datasets.registry")

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
