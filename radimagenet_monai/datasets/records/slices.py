"""Select slices of a volume, series or multi-frame file by a rule that a config can state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from radimagenet_monai.core.errors import ConfigurationError

_Slice = TypeVar("_Slice")


def choose_slices(count: int, rule: str = "all") -> range:
    """Zero-based indices of the slices that a rule selects out of ``count``.

    Parameters
    ----------
    count
        Number of slices (frames), at least 1.
    rule
        ``"all"``; ``"central:N"``, the N middle slices, or all if there are fewer; ``"every:N"``, every N-th, starting
        in the middle of the first N.

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


def choose_of_volumes(volumes: Sequence[Sequence[_Slice]], rule: str) -> list[_Slice]:
    """The slices that a rule selects in each volume, one volume after the other.

    Volumes of one slice each are treated as a time sequence to which the rule applies.

    Parameters
    ----------
    volumes
        Slices of each volume, in order along their normal.
    rule
        As for `choose_slices`.

    Raises
    ------
    ConfigurationError
        As `choose_slices`.
    """
    if all(len(volume) == 1 for volume in volumes):
        volumes = [[volume[0] for volume in volumes]]
    return [volume[number] for volume in volumes if volume for number in choose_slices(len(volume), rule)]
