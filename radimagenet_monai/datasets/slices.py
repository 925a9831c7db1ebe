"""Which slices of a volume, series or multi-frame file are used, by a rule that can be written in a config."""

from __future__ import annotations

from radimagenet_monai.errors import ConfigurationError


def choose_slices(count: int, rule: str = "all") -> range:
    """Zero-based numbers of the slices that a rule takes out of ``count``.

    Parameters
    ----------
    count
        Slices (frames) there are, at least 1.
    rule
        ``"all"``; ``"central:N"``, the N slices about the middle, or all where there are fewer; ``"every:N"``, every
        N-th, beginning in the middle of the first N.

    Raises
    ------
    ConfigurationError
        For any other text.

    Examples
    --------
    >>> list(choose_slices(20, "central:3"))
    [9, 10, 11]
    """
    name, _, number = str(rule).partition(":")
    if rule == "all":
        return range(count)
    if name in ("central", "every") and number.isdecimal() and number.isascii() and 0 < int(number) < 10**6:
        wanted = int(number)
        if name == "every":
            return range(min(wanted // 2, count - 1), count, wanted)
        wanted = min(wanted, count)
        first = (count - wanted + 1) // 2
        return range(first, first + wanted)
    raise ConfigurationError(f"slices '{rule}' is unknown; expected all, central:N or every:N with a whole number N")
