"""Numbers and tests in words, in the style of radiology journals.

The forms are those of the AMA Manual of Style, 11th edition, section 19.5, as required by *Radiology*: intervals as
``95% CI: 0.861, 0.948``; P values without a leading zero, ``P = .03``, and never 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

NOT_ESTIMABLE = "not estimable"
MINUS = "−"  # wider than a hyphen, and never broken at the end of a line

# Hebrew, Arabic and neighboring scripts, with the blanks between their words.
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]+(?:\\s+[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]+)*"
)


def with_interval(estimate: Mapping[str, Any], name: str = "estimate", digits: int = 3) -> str:
    """``0.912 (95% CI: 0.861, 0.948)``, or the reason if not estimable.

    Parameters
    ----------
    estimate
        Mapping with ``name``, ``low`` and ``high``, and optionally ``confidence`` and ``reason``.
    name
        Key of the value itself.
    digits
        Digits after the decimal point.
    """
    value, reason = estimate.get(name), estimate.get("reason")
    if value is None:
        return not_estimable(reason)
    if estimate.get("low") is None or estimate.get("high") is None:
        return f"{number(value, digits)} (interval {not_estimable(reason, ': ', '')})"
    bounds = interval(estimate["low"], estimate["high"], digits, estimate.get("confidence", 0.95))
    return f"{number(value, digits)} ({bounds})"


def interval(low: float, high: float, digits: int = 3, confidence: float = 0.95) -> str:
    """``95% CI: 0.861, 0.948``; a comma between the bounds, so that a minus sign is never mistaken for a dash."""
    return f"{100 * confidence:g}% CI: {number(low, digits)}, {number(high, digits)}"


def p_value(p: float | None) -> str:
    """``P = .03``, ``P < .001``, ``P > .99``, or ``P not estimable``.

    Two digits from .01 on and three below; more if rounding would turn a P below .05 into .05.
    """
    return f"P {NOT_ESTIMABLE}" if p is None else f"P {bare_p_value(p) if p < 0.001 or p > 0.99 else _equal(p)}"


def bare_p_value(p: float | None) -> str:
    """As `p_value`, without the letter, for a column of a table: ``.03``, ``< .001``."""
    if p is None:
        return NOT_ESTIMABLE
    if p < 0.001:
        return "< .001"
    if p > 0.99:
        return "> .99"
    return _equal(p).removeprefix("= ")


def number(value: float | None, digits: int = 3) -> str:
    """``0.912`` or ``−0.034``; a value that rounds to zero has no sign."""
    if value is None:
        return NOT_ESTIMABLE
    text = f"{abs(value):.{digits}f}"
    return f"{MINUS}{text}" if value < 0 and float(text) else text


def signed(value: float | None, digits: int = 3) -> str:
    """A difference: ``+0.034`` or ``−0.034``."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and float(text) else text


def count(many: int | None, thing: str, things: str = "") -> str:
    """``1 image``, ``1 240 images``, ``an unknown number of patients``."""
    plural = things or f"{thing}s"
    if many is None:
        return f"an unknown number of {plural}"
    return f"{grouped(many)} {thing if many == 1 else plural}"


def grouped(many: int) -> str:
    """``1 240``: thousands separated by a narrow no-break space."""
    return f"{many:,}".replace(",", "\u202f")


def set_apart(text: str) -> str:
    """Text with right-to-left words isolated; otherwise a browser moves the number after a name to its other side."""
    return _RIGHT_TO_LEFT.sub("\u2068\\g<0>\u2069", text)


def not_estimable(reason: str | None, before: str = " (", after: str = ")") -> str:
    """``not estimable (only one image is positive)``."""
    return f"{NOT_ESTIMABLE}{before}{reason}{after}" if reason else NOT_ESTIMABLE


def _equal(p: float) -> str:
    digits = 2 if p >= 0.01 else 3
    while p < 0.05 <= round(p, digits) and digits < 6:
        digits += 1
    return "= " + f"{p:.{digits}f}".removeprefix("0")
