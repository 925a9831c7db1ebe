"""The code in a MONAI config, read and not run: every ``_target_``, every ``$`` expression, every import.

`monai.bundle` locates a ``_target_`` anywhere in Python, gives ``$`` expressions to ``eval``, and runs every import
statement of a config as soon as any item of it is resolved (MONAI 1.6.1, ``config_item.py``, ``config_parser.py``,
``reference_resolver.py``). `config_problems` reads the text as those files do and compares it with `allowed`.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

from radimagenet_monai.collection.allowed import (
    BUILTINS,
    IMPORTS,
    REFERENCE_ATTRIBUTES,
    allowed_names,
    allowed_targets,
)

MAX_CONFIG_BYTES = 1_000_000
MAX_EXPRESSION_CHARACTERS = 20_000

_REFERENCES = "__local_refs"  # what MONAI calls the table of resolved items in the text it evaluates
_REFERENCE = re.compile(r"@(?:\w*)(?:::\w*)*")
_SPECIAL_KEY = re.compile(r"_\w+_\Z")
_KNOWN_SPECIAL_KEYS = {"_target_", "_mode_", "_disabled_", "_requires_", "_desc_", "_meta_"}
_OUTSIDE = re.compile(
    # A path from the root, a drive or the home folder; an address such as that of a server; a step upwards.
    r"(?:[/\\~]|[A-Za-z]:[/\\]|file:|[A-Za-z][A-Za-z0-9+.-]*://)|.*(?:^|[/\\])\.\.(?:[/\\]|$)",
    re.DOTALL,
)
_ALIASES = {"monai": "monai", "torch": "torch"} | dict(IMPORTS.values())
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.USub, ast.Not, ast.And, ast.Or)


class _RefusedError(Exception):
    """Why a piece of a config is refused."""


def config_problems(data: bytes, paths: bool = True) -> list[str]:
    """What a JSON config holds that is not allowed, one sentence each with the place; nothing of it is executed.

    Parameters
    ----------
    data
        The file. It must be UTF-8, without duplicate keys, of at most `MAX_CONFIG_BYTES`.
    paths
        Whether values that are paths out of the bundle are problems too; they are prose in ``metadata.json``.
    """
    if len(data) > MAX_CONFIG_BYTES:
        return [f"it is larger than {MAX_CONFIG_BYTES:,} bytes"]
    try:
        content = json.loads(data.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError, _RefusedError) as error:
        return [f"it is not the JSON of a config: {error}"]
    if not isinstance(content, dict):
        return [f"it holds a {type(content).__name__}, expected an object"]
    return [f"{place}: {problem}" for place, problem in _problems(content, paths)]


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise _RefusedError("a key stands twice in one object")
    return content


def _problems(content: dict[str, Any], paths: bool) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[str, Any]] = [("", content)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                where = f"{place}::{key}" if place else key
                try:
                    _check_key(key, item)
                except _RefusedError as refusal:
                    yield where, str(refusal)
                waiting.append((where, item))
        elif isinstance(value, list):
            waiting.extend((f"{place}::{index}", item) for index, item in enumerate(value))
        elif isinstance(value, str):
            try:
                _check_text(place, value, paths)
            except _RefusedError as refusal:
                yield place, str(refusal)


def _check_key(key: str, value: Any) -> None:
    # MONAI takes "a::_target_" of a config as the key "_target_" of "a", "#" for "::", and "+a" as an addition to "a".
    name = re.split(r"::|#", key)[-1].removeprefix("+")
    if name == "_target_":
        if not isinstance(value, str) or value not in allowed_targets():
            raise _RefusedError(f"the component {value!r} is not on the allow-list")
    elif name == "_mode_":
        if value not in ("default", "callable"):
            raise _RefusedError(f"_mode_ is {value!r}, expected 'default' or 'callable'")
    elif _SPECIAL_KEY.match(name) and name not in _KNOWN_SPECIAL_KEYS:
        raise _RefusedError(f"the special key {name!r} is not on the allow-list")


def _check_text(place: str, text: str, paths: bool) -> None:
    if text.startswith("%"):
        raise _RefusedError(f"{text!r} brings in another part or file as a macro, which is not allowed")
    if text.startswith("$"):
        statement = text[1:] in IMPORTS
        if statement and place.removeprefix("+").split("::")[0] != "imports":
            raise _RefusedError("an import outside of 'imports' is not allowed")
        if not statement:
            _check_expression(text)
    elif text.startswith("@"):
        _check_reference(text[1:].replace("#", "::"))
    elif paths and _OUTSIDE.match(text):
        raise _RefusedError(f"{text!r} is a path that leaves the bundle, or an address")


def _check_reference(identifier: str) -> None:
    # The imported modules are items too; through them every name in them could be reached.
    if identifier.split("::")[0] in ("", "imports"):
        raise _RefusedError(f"a reference to {identifier or 'the whole config'!r} is not allowed")


def _check_expression(text: str) -> None:
    shown = repr(text if len(text) <= 80 else text[:77] + "...")
    try:
        if len(text) > MAX_EXPRESSION_CHARACTERS:
            raise _RefusedError(f"it is longer than {MAX_EXPRESSION_CHARACTERS} characters")
        # Python reads other letters than ASCII as if they were ASCII (NFKC), MONAI rewrites "#" before evaluating.
        if not text.isascii() or not text.isprintable() or "#" in text or "__" in text:
            raise _RefusedError("only printable ASCII without '#' and '__' is allowed")
        if re.search(r"[@%]:", text):
            raise _RefusedError("relative references are not allowed")
        try:
            _check_node(ast.parse(_as_evaluated(text[1:]), mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise _RefusedError(f"it is not a Python expression ({type(error).__name__})") from None
    except _RefusedError as refusal:
        raise _RefusedError(f"the expression {shown} is refused: {refusal}") from None


def _as_evaluated(text: str) -> str:
    """The text that MONAI gives to ``eval``: references are replaced *before* parsing, also inside quotes.

    In ``'@a{f()}'`` that closes the quote and turns the rest into an f-string, so the text has to be judged after it.
    """
    for reference in sorted(_REFERENCE.findall(text), key=len, reverse=True):
        text = text.replace(reference, f"{_REFERENCES}['{reference[1:]}']")
    return text


def _check_node(node: ast.expr) -> None:
    match node:
        case ast.Constant(value=str() | int() | float() | None):
            if isinstance(node.value, str) and (".." in node.value or "//" in node.value):
                raise _RefusedError(f"{node.value!r} could lead out of the bundle")
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.BoolOp(values=items):
            _check_nodes(items)
        case ast.Dict(keys=keys, values=values):
            if None in keys:
                raise _RefusedError("'**' is not allowed")
            _check_nodes([key for key in keys if key is not None] + values)
        case ast.BinOp(left=left, right=right, op=operator) if isinstance(operator, _OPERATORS):
            _check_nodes([left, right])
        case ast.UnaryOp(operand=operand, op=operator) if isinstance(operator, _OPERATORS):
            _check_node(operand)
        case ast.Compare(left=left, comparators=others):
            _check_nodes([left, *others])
        case ast.IfExp(test=test, body=body, orelse=other):
            _check_nodes([test, body, other])
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(identifier))) if name == _REFERENCES:
            _check_reference(identifier)
        case ast.Subscript(value=value, slice=index):
            _check_nodes([value, index])
        case ast.Call(func=function, args=arguments, keywords=keywords):
            if not _is_allowed_function(function):
                raise _RefusedError(f"calling {ast.unparse(function)!r} is not on the allow-list")
            if any(keyword.arg is None for keyword in keywords):
                raise _RefusedError("'**' is not allowed")
            _check_nodes([*arguments, *(keyword.value for keyword in keywords)])
        case ast.Attribute():
            _check_attribute(node)
        case ast.Name(id=name):
            raise _RefusedError(f"the name {name!r} is not on the allow-list")
        case _:
            raise _RefusedError(f"{type(node).__name__} is not allowed")


def _check_nodes(nodes: list[ast.expr]) -> None:
    for node in nodes:
        _check_node(node)


def _is_allowed_function(node: ast.expr) -> bool:
    if isinstance(node, ast.Name):
        return node.id in BUILTINS
    if isinstance(node, ast.Attribute):
        _check_attribute(node)
        return True
    return False


def _check_attribute(node: ast.Attribute) -> None:
    """Allowed are a listed name, written out in full, and a listed attribute of an item that is referred to."""
    name = _dotted_name(node)
    if name is not None and name.split(".")[0] != _REFERENCES:
        alias, _, rest = name.partition(".")
        if f"{_ALIASES.get(alias, alias)}.{rest}" not in allowed_names():
            raise _RefusedError(f"{name!r} is not on the allow-list")
        return
    if not isinstance(node.value, ast.Subscript | ast.Attribute):
        raise _RefusedError(f"an attribute of {type(node.value).__name__} is not allowed")
    if node.attr not in REFERENCE_ATTRIBUTES:
        raise _RefusedError(f"the attribute {node.attr!r} is not on the allow-list")
    _check_node(node.value)


def _dotted_name(node: ast.expr) -> str | None:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None
