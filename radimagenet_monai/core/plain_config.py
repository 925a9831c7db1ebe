"""Parts of a bundle's config as plain values: recorded from a `monai.bundle.ConfigParser`, and built from the record.

A record comes with a model from anywhere, so nothing in it is evaluated, and its caller says what may be built.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai.bundle import ConfigParser

RESOLVED: Any = object()
"""What a reference or an expression stands for is recorded."""
LEFT_OUT: Any = object()
"""Nothing is recorded."""

SPECIAL = ("_target_", "_mode_")
"""Keys of a component that are not arguments."""

Locate = Callable[[Mapping[str, Any], str], Any]

_OWN = __name__.partition(".")[0] + "."
_NOT_RECORDED = ("_desc_", "_requires_")


class NotPlainError(Exception):
    """Why a part of a config cannot be recorded as plain values, or not be built from a record; on one line."""


def is_plain(value: Any) -> bool:
    """Whether a value is made of lists, dictionaries with text keys, text, numbers, booleans and None alone."""
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, float, str)


def recorded(
    parser: ConfigParser, place: str, instead: Callable[[str], Any], not_plain: Callable[[str, Any], Any]
) -> Any:
    """The config at a place as JSON values, with references and expressions replaced by what they stand for.

    Parameters
    ----------
    place
        Key of the config, such as ``"train::preprocessing"``.
    instead
        What to record in place of a reference or an expression, given its text; `RESOLVED` and `LEFT_OUT` are
        possible, too.
    not_plain
        What to record of a value that `is_plain` is false for, given the text of its expression and the value.
    """
    raw = parser[place]
    if isinstance(raw, Mapping):
        kept = [key for key in raw if key not in _NOT_RECORDED]
        items = {key: recorded(parser, f"{place}::{key}", instead, not_plain) for key in kept}
        return {key: item for key, item in items.items() if item is not LEFT_OUT}
    if isinstance(raw, list):
        listed = [recorded(parser, f"{place}::{number}", instead, not_plain) for number in range(len(raw))]
        return [item for item in listed if item is not LEFT_OUT]
    if not isinstance(raw, str) or raw[:1] not in ("@", "$"):
        return raw
    if (other := instead(raw)) is not RESOLVED:
        return other
    if raw.startswith("@"):
        return recorded(parser, raw[1:], instead, not_plain)
    value = parser.get_parsed_content(place)
    return value if is_plain(value) else not_plain(raw, value)


def require_known(config: Any, place: str, locate: Locate, references: Container[str] = ()) -> None:
    """Refuse a record that could run code.

    Parameters
    ----------
    config
        As `recorded` gave it, or from a file.
    place
        Its name in errors.
    locate
        Gives the callable that a component (its config and place) names, or raises `NotPlainError`.
    references
        Those that may stand in it, such as ``"@intensity"``.

    Raises
    ------
    NotPlainError
        For other references, expressions, keys that change how a component is built, and what ``locate`` refuses.
    """
    if isinstance(config, list):
        for number, item in enumerate(config):
            require_known(item, f"{place}::{number}", locate, references)
    elif isinstance(config, Mapping):
        for key in config:
            if not isinstance(key, str) or (key.startswith("_") and key not in SPECIAL):
                raise NotPlainError(f"{place} has the key {key!r}, expected an argument")
        if "_target_" in config:
            locate(config, place)
        for key, item in _arguments(config).items():
            require_known(item, f"{place}::{key}", locate, references)
    elif isinstance(config, str) and config[:1] in ("$", "@", "%") and config not in references:
        raise NotPlainError(f"{place} is {config[:80]!r}, which is not a plain value and would have to be evaluated")


def rebuilt(
    config: Any,
    place: str,
    locate: Locate,
    build: Callable[[Any, Mapping[str, Any], dict[str, Any], str], Any],
    given: Mapping[str, Any] | None = None,
) -> Any:
    """What a record stands for; nothing is built if any of it is refused.

    Parameters
    ----------
    config, place, locate
        See `require_known`.
    build
        Builds a component from its callable, its config, its arguments, which are built already, and its place.
    given
        Objects by the references that stand for them.

    Raises
    ------
    NotPlainError
        See `require_known`.
    """
    objects = given or {}
    require_known(config, place, locate, objects)

    def built(part: Any, place: str) -> Any:
        if isinstance(part, list):
            return [built(item, f"{place}::{number}") for number, item in enumerate(part)]
        if isinstance(part, Mapping):
            arguments = {key: built(item, f"{place}::{key}") for key, item in _arguments(part).items()}
            return build(locate(part, place), part, arguments, place) if "_target_" in part else arguments
        return objects.get(part, part) if isinstance(part, str) else part

    return built(config, place)


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in config.items() if key not in SPECIAL}


def is_own(config: Any) -> bool:
    """Whether the config of a component, or its absence, stands for one of this package."""
    return not isinstance(config, Mapping) or str(config.get("_target_", _OWN)).startswith(_OWN)
