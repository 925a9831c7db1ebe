"""Map the spellings of classes and splits in tables to our own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.records.table import Split
from radimagenet_monai.datasets.tables.cells import identity, says_nothing

_NEGATIVE = ("0", "no", "n", "false", "f", "neg", "negative", "absent")
_POSITIVE = ("1", "yes", "y", "true", "t", "p", "pos", "positive", "present", "+")
_MINUS = frozenset({"-", "\u2212", "\u2013"})  # no value, unless the column also has "+"
_SHOWN = 8

SPLIT_SPELLINGS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "tr": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "tune": "validation",
    "test": "test",
    "testing": "test",
    "holdout": "test",
}


def map_labels(
    values: Sequence[str] | pd.Series,
    classes: Sequence[str],
    aliases: Mapping[str, str] | None = None,
    source: str = "table",
    rows: Sequence[object] | None = None,
) -> list[str]:
    """Map labels in any usual spelling to the class names.

    Upper and lower case, surrounding spaces, and space, ``_`` or ``-`` between words make no difference. Of two
    classes, the last is positive and may be written 1, yes, y, true, p, pos, positive, ...; the first 0, no, n, false,
    neg, negative, ..., and - if the other is +. A number may be written as ``1.0``. Words for "no value" (see
    `radimagenet_monai.datasets.tables.cells`) mean no value, unless a class has that name.

    Parameters
    ----------
    values
        Cells of the table, ``(n,)`` text.
    classes
        Class names in the order of the task.
    aliases
        Further spellings, ``{"spelling": "class"}``; they take precedence over the general ones.
    source
        Name of the table in error messages.
    rows
        ``(n,)`` position of each value for error messages.

    Returns
    -------
    list of str
        ``(n,)`` names from ``classes``; ``""`` for no value.

    Raises
    ------
    RecordsError
        For values that match no class; the message lists them.
    ConfigurationError
        For classes that differ only in spelling.

    Examples
    --------
    >>> map_labels(["Malignant", "malignant ", "0"], ("benign", "malignant"))
    ['malignant', 'malignant', 'benign']
    """
    known: dict[str, str] = {}
    if len(classes) == 2:
        known |= dict.fromkeys(_NEGATIVE, classes[0]) | dict.fromkeys(_POSITIVE, classes[1])
    known |= {plain(spelling): name for spelling, name in (aliases or {}).items()}
    names = {plain(name): name for name in classes}
    if len(names) < len(classes):
        raise ConfigurationError(f"classes {', '.join(classes)} were given; two of them differ in spelling only")
    known |= names
    spelled = list(dict.fromkeys(str(value) for value in values))
    if len(classes) == 2 and any(plain(value) == "+" for value in spelled):
        known |= dict.fromkeys(_MINUS - known.keys(), classes[0])
    distinct = {
        value: known.get(plain(value), "" if says_nothing(value, identifies=True) else None) for value in spelled
    }
    unknown = [value for value, name in distinct.items() if name is None]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        shown = _with_rows(unknown, values, rows)
        raise RecordsError(f"{source}: label {shown}{more} is none of the classes {', '.join(classes)}")
    return [distinct[str(value)] or "" for value in values]


def map_splits(
    values: Sequence[str] | pd.Series,
    source: str = "table",
    way_out: str = "",
    rows: Sequence[object] | None = None,
) -> list[str]:
    """Map usual spellings of train, validation and test to our names; ``""`` for no value.

    ``way_out`` ends the error message, in which ``rows`` give the position of a value.

    Raises
    ------
    RecordsError
        For values that match no split; the message lists them.
    """
    distinct = {value: SPLIT_SPELLINGS.get(plain(value)) for value in dict.fromkeys(str(value) for value in values)}
    unknown = [value for value, part in distinct.items() if part is None and not says_nothing(value, identifies=True)]
    if unknown:
        shown = _with_rows(unknown, values, rows)
        raise RecordsError(f"{source}: split {shown} is unknown; expected train, validation, test or nothing{way_out}")
    return [distinct[str(value)] or "" for value in values]


def _with_rows(unknown: Sequence[str], values: Sequence[str] | pd.Series, rows: Sequence[object] | None) -> str:
    """The unknown values, each with its first row."""
    texts = [str(value) for value in values] if rows is not None else []
    places = {value: f" ({rows[texts.index(value)]})" for value in unknown[:_SHOWN]} if rows is not None else {}
    return ", ".join(f"{value!r}{places.get(value, '')}" for value in unknown[:_SHOWN])


def plain(text: str) -> str:
    """``text`` without differences in spelling: case, spaces, ``1.0`` for ``1``, and the sign between words."""
    stripped = identity(str(text))
    return re.sub(r"[\s_-]+", " ", stripped) if len(stripped) > 1 else stripped
