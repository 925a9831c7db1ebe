"""The meaning of a table cell, defined once for every table that is read.

Cells that a person would read as the same are one value: Unicode composition (``é`` as one character or two),
no-break and other unusual spaces, surrounding and repeated spaces, and ``7`` as a spreadsheet writes it (``7.0``,
``7,0``) make no difference. For patients, upper and lower case and compatibility characters (full-width digits) make
no difference either: a person written in two ways must not be on both sides of a split.

Leading zeros are kept, since ``007`` is often another patient than ``7``. A table with both is refused.

Words for "no value" are of two kinds. ``nan``, ``null``, ``N/A`` and the like mean no value in every column. ``None``,
``NA``, ``-``, ``?``, ``unknown`` also mean no value in identifying columns (patient, image, mask, exam, split, fold,
frame), but may name a class or a subgroup: as a label, they are kept only if they are among the classes.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from radimagenet_monai.core.errors import RecordsError

NOTHING = frozenset(
    {
        *("", "nan", "-nan", "<na>", "n/a", "#n/a", "#n/a n/a", "#na", "null", "<null>", "nat", "nil"),
        *("not available", "missing", "#null!", "#value!", "#ref!", "#name?", "#num!", "#div/0!"),
    }
)
"""Words, in lower case, that are nothing in every column."""

PERHAPS_NOTHING = frozenset(
    {"none", "na", "n.a.", "n.a", "-", "--", "---", "\u2013", "\u2014", "?", "??", ".", "unknown", "unk", "not known"}
)
"""Words that are nothing where something is identified, and may be a name elsewhere."""

NOBODY = frozenset(
    {"anonymous", "anonymized", "anonymised", "anon", "deidentified", "de-identified", "removed", "no name", "no id"}
)
"""Words that stand for any patient whose name was taken out."""

_WHOLE = re.compile(r"([+-]?\d+)(?:\.0{1,2}|\.0{4,}|,0{1,2})")
_NUMBERED = re.compile(r"([^\d/]*?)0*(\d+)(?:[.,]000)?")  # a path is not a number
_INVISIBLE = frozenset("\ufeff\u200b\u2060\u00ad\u200e\u200f")
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_SHOWN = 3


def clean(text: str) -> str:
    """``text`` in composed Unicode (NFC), without invisible characters, with single spaces between words only.

    Examples
    --------
    >>> clean(" e\\u0301\\u00a0 1\\ufeff")
    'é 1'
    """
    if _PLAIN.fullmatch(text):
        return text
    visible = "".join(character for character in text if character not in _INVISIBLE)
    return " ".join(unicodedata.normalize("NFC", visible).split())


def whole_number(text: str) -> str:
    """``7`` for ``7.0``, ``7.00``, ``7,0``; any other text unchanged.

    Three zeros after the separator are kept: ``1.000`` or ``1,000`` means a thousand in many countries.
    """
    match = _WHOLE.fullmatch(text)
    return match[1] if match else text


def says_nothing(text: str, identifies: bool = False) -> bool:
    """Whether a cell is empty or holds a word for "no value".

    Parameters
    ----------
    text
        Content of the cell.
    identifies
        Whether the column names a patient, image, mask, exam, split, fold or frame, where ``None`` and ``-`` also mean
        no value.
    """
    word = clean(text).casefold()
    return word in NOTHING or (identifies and word in PERHAPS_NOTHING)


def names_nobody(text: str) -> bool:
    """Whether a patient cell has no value, or says that the name was removed."""
    return says_nothing(text, identifies=True) or clean(text).casefold() in NOBODY


def is_nothing(values: pd.Series) -> pd.Series:
    """``(n,)`` booleans: cells of an identifying column without a value."""
    return mapped(values, lambda text: "1" if says_nothing(text, identifies=True) else "") == "1"


def without_nothing(values: pd.Series, identifies: bool = False) -> pd.Series:
    """A text column with ``""`` for words that mean no value, and all other cells cleaned."""

    def cell(text: str) -> str:
        return "" if says_nothing(text, identifies) else clean(text)

    return mapped(values, cell)


def identity(text: str) -> str:
    """The common form of all spellings of one patient: no case, no compatibility characters, ``7`` for ``7.0``."""
    return whole_number(clean(unicodedata.normalize("NFKC", text)).casefold())


def one_name_each(
    values: pd.Series,
    places: Sequence[object],
    source: str,
    what: str = "patient_id",
    notes: list[str] | None = None,
    refuse_zeros: bool = True,
) -> pd.Series:
    """A column that identifies people, with one spelling per person and ``""`` for no value.

    Parameters
    ----------
    values
        Cells, ``(n,)`` text.
    places
        ``(n,)`` position of each value for error messages: ``"row 17"``, a path.
    source
        Name of the table in error messages.
    what
        Name of the column.
    notes
        Receives a sentence on merged spellings, and one on words for "no value".
    refuse_zeros
        Whether to refuse values that differ only in leading zeros.

    Returns
    -------
    pandas.Series
        The most frequent spelling, or the first in a tie; ``7`` for ``7.0``.

    Raises
    ------
    RecordsError
        If two values differ only in leading zeros, such as ``007`` and ``7``: they could be one person or two.
    """
    codes, distinct = pd.factorize(values.astype(object))
    counts = Counter(codes.tolist())
    names = [str(value) for value in distinct]
    empty = [names_nobody(name) for name in names]
    spellings: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        if not empty[number]:
            spellings.setdefault(identity(name), []).append(number)
    if refuse_zeros:
        _refuse_zeros(spellings, codes, names, places, source, what)
    chosen = [""] * len(names)
    several = []
    for numbers in spellings.values():
        best = max(numbers, key=lambda number: (counts[number], -number))
        for number in numbers:
            chosen[number] = whole_number(clean(names[best]))
        if len({whole_number(clean(names[number])) for number in numbers}) > 1:
            several.append(" and ".join(f"'{names[number]}'" for number in numbers[:_SHOWN]))
    if notes is not None:
        if several:
            notes.append(f"{len(several)} of {what} are written in several ways and were made one: {several[0]}")
        words = [number for number in range(len(names)) if empty[number] and names[number].strip()]
        if words:
            rows = sum(counts[number] for number in words)
            listed = ", ".join(f"'{names[number]}'" for number in words[:_SHOWN])
            notes.append(f"{rows} rows have {listed} as {what}, which names nobody: unknown")
    return pd.Series([chosen[code] for code in codes.tolist()], index=values.index, dtype=object, name=values.name)


def _refuse_zeros(
    spellings: Iterable[str],
    codes: Sequence[int],
    names: Sequence[str],
    places: Sequence[object],
    source: str,
    what: str,
) -> None:
    known: dict[str, str] = {}
    for key in spellings:
        short = without_zeros(key)
        if short in known:
            first, second = sorted(_first_with(other, codes, names) for other in (known[short], key))
            raise RecordsError(
                f"{source}: {what} '{names[codes[first]]}' ({places[first]}) and '{names[codes[second]]}' "
                f"({places[second]}) may be one or two; write one in one way, and two so that more than zeros differ"
            )
        known[short] = key


def without_zeros(key: str) -> str:
    """An `identity` without leading zeros in its number and without the zeros of ``7.000``: ``p1`` for ``p001``."""
    match = _NUMBERED.fullmatch(key)
    return match[1] + match[2] if match else key


def _first_with(key: str, codes: Sequence[int], names: Sequence[str]) -> int:
    return next(place for place, code in enumerate(codes) if identity(names[code]) == key)


def mapped(values: pd.Series, function: Callable[[str], str]) -> pd.Series:
    """A column with ``function`` applied, called once per distinct value: a million cells have few distinct values."""
    codes, distinct = pd.factorize(values.astype(object))
    results = [function(str(value)) for value in distinct]
    return pd.Series([results[code] for code in codes.tolist()], index=values.index, dtype=object, name=values.name)
