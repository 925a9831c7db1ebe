"""Which weights exist, what input they expect, and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.weights.store import identify_weights

_MODULE_OF = {"identify_weights": "store"}

__all__ = ["identify_weights"]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
