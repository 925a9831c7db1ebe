"""What weights exist, what input they expect, and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from radimagenet_monai.weights.store import identify_weights

__all__ = ["identify_weights"]


def __getattr__(name: str) -> Any:
    if name == "identify_weights":
        from radimagenet_monai.weights.store import identify_weights

        return identify_weights
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
