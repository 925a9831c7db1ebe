"""The JSON of a bundle's configs, read as MONAI reads it: keys that override parts of other keys are applied."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

MAX_CONFIG_BYTES = 1_000_000
MAX_DEPTH = 60


class ConfigError(Exception):
    """Reason why a config cannot be read unambiguously."""


class NoConfigError(ConfigError):
    """A JSON file that MONAI cannot read as a config."""


def parse_config(data: bytes) -> dict[str, Any]:
    """The object in a JSON file.

    Raises
    ------
    ConfigError
        If the file is not UTF-8 JSON without duplicate keys, is larger than `MAX_CONFIG_BYTES`, or is nested deeper
        than `MAX_DEPTH`; `NoConfigError` if it contains anything but an object.
    """
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"it is larger than {MAX_CONFIG_BYTES:,} bytes")
    try:
        content = json.loads(
            data.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )
    except ConfigError as error:
        raise ConfigError(f"it is not the JSON of a config: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"it is not the JSON of a config: {error}") from None
    if not isinstance(content, dict):
        raise NoConfigError(f"it holds a {type(content).__name__}, expected an object")
    _check_depth(content)
    return content


def split_key(key: str) -> list[str]:
    """The parts of a key as MONAI splits it: ``"+a#b::c"`` is the part ``c`` of the part ``b`` of ``a``."""
    return re.split(r"::|#", key.removeprefix("+"))


def is_override(key: str) -> bool:
    """Whether a top-level key of a config changes a part of another one."""
    return key.startswith("+") or "::" in key or "#" in key


def in_place(content: dict[str, Any]) -> dict[str, Any]:
    """The config with its overrides applied; parts that are in another file are created if needed."""
    tree: dict[str, Any] = {}
    for key, value in content.items():
        if not is_override(key):
            tree[key] = copy.deepcopy(value)
            continue
        *parents, last = split_key(key)
        node: Any = tree
        for part in parents:
            node = _child(node, part)
        if key.startswith("+"):
            _merge(node, last, copy.deepcopy(value))
        else:
            _put(node, last, copy.deepcopy(value))
    return tree


def lookup(tree: Any, parts: list[str]) -> Any:
    """The part of a config at a place; raises `LookupError` if there is none."""
    for part in parts:
        if isinstance(tree, dict):
            tree = tree[part]
        elif isinstance(tree, list) and part.isdigit():
            tree = tree[int(part)]
        else:
            raise LookupError(part)
    return tree


def walk(tree: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every part of a config with its place, from the outside in."""
    waiting: list[tuple[tuple[str, ...], Any]] = [(place, tree)]
    while waiting:
        where, value = waiting.pop()
        yield where, value
        if isinstance(value, dict):
            waiting += [((*where, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            waiting += [((*where, str(index)), item) for index, item in enumerate(value)]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ConfigError("a key stands twice in one object")
    return content


def _refuse_constant(name: str) -> Any:
    raise ConfigError(f"{name} is not JSON")


def _check_depth(content: Any) -> None:
    if any(len(place) > MAX_DEPTH for place, _ in walk(content)):
        raise ConfigError(f"it is nested deeper than {MAX_DEPTH}")


def _child(node: Any, part: str) -> Any:
    if isinstance(node, list):
        if part.isdigit() and int(part) < len(node):
            if not isinstance(node[int(part)], dict | list):
                node[int(part)] = {}
            return node[int(part)]
        node.append({})
        return node[-1]
    if not isinstance(node.get(part), dict | list):
        node[part] = {}
    return node[part]


def _put(node: Any, part: str, value: Any) -> None:
    if isinstance(node, dict):
        node[part] = value
    elif part.isdigit() and int(part) < len(node):
        node[int(part)] = value
    else:
        node.append(value)


def _merge(node: Any, part: str, value: Any) -> None:
    there = node.get(part) if isinstance(node, dict) else None
    if isinstance(there, dict) and isinstance(value, dict):
        there.update(value)
    elif isinstance(there, list) and isinstance(value, list):
        there.extend(value)
    else:
        _put(node, part, value)
