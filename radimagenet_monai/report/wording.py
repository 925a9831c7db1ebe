"""Numbers as a reader of a radiology journal expects them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def with_interval(estimate: Mapping[str, Any], name: str = "estimate", digits: int = 3) -> str:
    """``0.912 (95 % CI 0.861 to 0.948)``, or why it is not estimable.

    Parameters
    ----------
    estimate
        With ``name``, ``low`` and ``high``, and optionally ``confidence`` and ``reason``.
    """
    value = estimate.get(name)
    if value is None:
        return "not estimable"
    if estimate.get("low") is None or estimate.get("high") is None:
        reason = estimate.get("reason")
        return f"{value:.{digits}f} (interval not estimable{f': {reason}' if reason else ''})"
    level = f"{100 * estimate.get('confidence', 0.95):g} % CI"
    return f"{value:.{digits}f} ({level} {estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"
