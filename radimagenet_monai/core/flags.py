"""Flags and keys as people type them: the nearest known name for a misspelt one, and checks of values and types."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Annotated, Any

from radimagenet_monai.core.errors import ConfigurationError

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def parse_flag(value: object) -> bool:
    """``True`` or ``False`` from a JSON value or a word on the command line.

    ``--amp false`` reaches a config as the text ``"false"``, which Python treats as true.

    Raises
    ------
    ConfigurationError
        For anything but true, false, yes, no, 1 and 0.
    """
    word = str(value).strip().lower()
    if word not in _WORDS:
        raise ConfigurationError(f"{value!r} is neither true nor false; give true or false")
    return _WORDS[word]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant, or ``None`` if nothing is close.

    Tried in this order: the same letters in another case or with other dashes, a prefix, a similar spelling, the
    initials (``lr`` for ``learning_rate``), a part (``epochs`` for ``max_epochs``, ``image_size`` for ``size``).
    """
    names = sorted(known, key=len)
    word = name.strip("-+").lower().replace("-", "_")
    if not word:
        return None
    lowered = {item.lower(): item for item in reversed(names)}
    if word in lowered:
        return lowered[word]
    for item in names:
        if len(word) > 2 and item.lower().startswith(word):
            return item
    similar = difflib.get_close_matches(word, list(lowered), n=1, cutoff=0.65)
    if similar:
        return lowered[similar[0]]
    for item in names:
        if word == "".join(part[0] for part in item.lower().split("_") if part):
            return item
    for item in names:
        if len(word) > 3 and word in item.lower():
            return item
    for item in reversed(names):
        if len(item) > 3 and item.lower() in word.split("_"):
            return item
    return None


def did_you_mean(name: str, known: Sequence[str], prefix: str = "") -> str:
    """A sentence: ``did you mean --weights?``, or the valid names."""
    found = nearest(name, known)
    if found is not None:
        return f"did you mean {prefix}{found}?"
    return f"known: {', '.join(f'{prefix}{item}' for item in known)}." if known else "there are none."


_COMMAND = re.compile(r"'(?:radimagenet|python|pip|torchrun) [^']*'")
_BETWEEN_HINTS = re.compile(r"(; |, or | or (?=--)|, (?=(?:\w+ ){0,3}--))")
_SAME = {"output_dir": "out", "out": "output_dir"}


def with_known_flags(message: str, known: Collection[str]) -> str:
    """An error message without hints at flags that the current command does not have.

    Several commands can raise the same error. ``--output_dir`` and ``--out``, which mean the same, are exchanged; for
    other flags, the part of the sentence that names them is removed. Commands in quotes are not changed.

    >>> with_known_flags("no images; give --dataset_dir, or --store_dir with a store", {"dataset_dir"})
    'no images; give --dataset_dir'
    """

    def unknown(part: str) -> bool:
        return any(flag not in known for flag in re.findall(r"--([a-z][a-z0-9_]*)", _COMMAND.sub("", part)))

    for ours, theirs in _SAME.items():
        if ours not in known and theirs in known:
            message = re.sub(rf"--{ours}\b", f"--{theirs}", message)
    message = re.sub(r" \(([^()]*)\)", lambda found: "" if unknown(found.group(1)) else found.group(0), message)
    first, *rest = _BETWEEN_HINTS.split(message)
    return first + "".join(
        between + part for between, part in zip(rest[::2], rest[1::2], strict=True) if not unknown(part)
    )


def whole(least: int = 0) -> Callable[[Any], str | None]:
    """A check for an integer of at least ``least``.

    Like all checks here it returns ``None`` for a valid value, or else what was expected.
    """

    def check(value: Any) -> str | None:
        # Floating-point numbers from JSON or a shell, such as 8.0, would fail later as a size.
        number = not isinstance(value, bool) and hasattr(value, "__index__")
        return None if number and int(value) >= least else f"expected a whole number, {least} or more"

    return check


def number(least: float = -math.inf, most: float = math.inf, above: bool = False) -> Callable[[Any], str | None]:
    """A check for a finite number from ``least`` to ``most``; with ``above`` it must be greater than ``least``."""

    def check(value: Any) -> str | None:
        lower = f" greater than {least:g}" if above else f" of {least:g} or more" if most == math.inf else ""
        expected = f"expected a number{lower or f' from {least:g} to {most:g}'}"
        if isinstance(value, bool | str) or not hasattr(value, "__float__"):
            return expected
        given = float(value)
        inside = math.isfinite(given) and given <= most and (given > least if above else given >= least)
        return None if inside else expected

    return check


def flag(value: Any) -> str | None:
    """A check for true or false in the forms that `parse_flag` accepts."""
    return None if str(value).strip().lower() in _WORDS else "expected true or false"


def text(value: Any) -> str | None:
    """A check for text, such as a path or a name."""
    if isinstance(value, str) or hasattr(value, "__fspath__"):
        return None
    return "expected text; a name made of digits is given as ./NAME where it is a path"


def one_of(*choices: str) -> Callable[[Any], str | None]:
    """A check for one of ``choices``."""

    def check(value: Any) -> str | None:
        if value in choices:
            return None
        meant = nearest(str(value), choices)
        return f"expected one of {', '.join(choices)}{f'; did you mean {meant}?' if meant else ''}"

    return check


def optional(check: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    """The same check, but ``None`` (``null`` in JSON, ``None`` in a shell) is also allowed."""
    return lambda value: None if value is None else check(value)


def names(value: Any) -> str | None:
    """A check for a list of two or more different names."""
    if isinstance(value, list | tuple) and len(value) > 1 and len({str(item) for item in value}) == len(value):
        return None
    return "expected a list of two or more different names, such as \"['benign','malignant']\""


Count = Annotated[int, whole(1)]
"""Type of a flag: a whole number of 1 or more."""

Whole = Annotated[int, whole(0)]
"""Type of a flag: a whole number of 0 or more."""
