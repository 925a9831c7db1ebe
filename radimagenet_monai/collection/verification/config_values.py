"""Possible values of the parts of a config, found without running it.

Needed if a value decides what is written, read or called: whether ``"$@a + '/x'"`` is harmless depends on ``a``.
"""

from __future__ import annotations

import ast
import itertools
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from radimagenet_monai.collection.verification.config_tree import split_key, walk
from radimagenet_monai.collection.verification.places import BUNDLE, GIVEN

MAX_VALUES = 32
MAX_TEXT = 4096
MAX_STEPS = 40

REFERENCES = "__local_refs"
"""What MONAI calls the table of resolved items in the text that it evaluates."""

_REFERENCE = re.compile(r"@(?:\w*)(?:::\w*)*")
_MACRO = re.compile(r"%\w+(?:(?:::|#)\w+)*")


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Any = _Unknown()
"""A value that only running the config would give."""


def as_evaluated(text: str) -> str:
    """The text that MONAI passes to ``eval``: references are replaced *before* parsing, also inside quotes.

    In ``'@a{f()}'`` this closes the quote and turns the rest into an f-string, so the text must be judged afterwards.
    """
    text = text.replace("#", "::")
    for reference in sorted(_REFERENCE.findall(text), key=len, reverse=True):
        text = text.replace(reference, f"{REFERENCES}['{reference[1:]}']")
    return text


def parse_expression(text: str) -> ast.expr:
    """Syntax tree of an expression, without its ``$``, as MONAI evaluates it. Raises what `ast.parse` raises."""
    return ast.parse(as_evaluated(text), mode="eval").body


def is_macro(text: str) -> bool:
    """Whether a text that starts with ``%`` copies another part of the same config rather than of a file."""
    return _MACRO.fullmatch(text) is not None


class Values:
    """The possible values of the parts of a bundle's configs, over all files that may be used together.

    Parameters
    ----------
    trees
        The configs, with their overrides applied.
    names
        Function from an alias to the full name of the imported module or object.
    """

    def __init__(self, trees: Iterable[Mapping[str, Any]], name_of: Callable[[ast.expr], str | None]) -> None:
        self._raw: dict[str, list[Any]] = {}
        for tree in trees:
            for place, value in walk(tree):
                self._raw.setdefault("::".join(place), []).append(value)
        self._name_of = name_of
        self._known: dict[str, list[Any]] = {}
        self._active: set[str] = set()

    def definitions(self, identifier: str) -> list[Any]:
        """The unevaluated content at a place, from each file that has it."""
        return self._raw.get(identifier, [])

    def of(self, raw: Any) -> list[Any]:
        """All possible values of a part of a config, including `UNKNOWN` if not all can be determined.

        Objects and lists are returned unevaluated.
        """
        if isinstance(raw, dict) and "_target_" in raw:
            return [UNKNOWN]
        if not isinstance(raw, str):
            return [raw]
        if raw.startswith("@") or (raw.startswith("%") and is_macro(raw)):
            return self._of_item("::".join(split_key(raw[1:])))
        if raw.startswith("%") or "\0" in raw:
            return [UNKNOWN]
        if raw.startswith("$"):
            try:
                return self.of_node(parse_expression(raw[1:]))
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return [UNKNOWN]
        return [raw]

    def of_node(self, node: ast.expr) -> list[Any]:
        """Like `of`, for a part of an expression."""
        try:
            return _limited(self._evaluate(node))
        except (RecursionError, ValueError, TypeError, ArithmeticError, MemoryError):
            return [UNKNOWN]

    def _of_item(self, identifier: str) -> list[Any]:
        if identifier in self._known:
            return self._known[identifier]
        if identifier in self._active or len(self._active) > MAX_STEPS or identifier not in self._raw:
            return [UNKNOWN]
        if identifier == "bundle_root":
            # The user states where the bundle is; that the config says "." is checked separately.
            return [BUNDLE]
        self._active.add(identifier)
        values: list[Any] = []
        for raw in self._raw[identifier]:
            if isinstance(raw, str) and "::" not in identifier and (raw == "" or raw.startswith("/")):
                values.append(GIVEN + raw)
            else:
                values += self.of(raw)
        self._active.discard(identifier)
        if not self._active:
            self._known[identifier] = _limited(values)
        return _limited(values)

    def _evaluate(self, node: ast.expr) -> list[Any]:
        match node:
            case ast.Constant(value=value):
                return [UNKNOWN] if isinstance(value, str) and "\0" in value else [value]
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(identifier))) if (
                name == REFERENCES
            ):
                return self._of_item(identifier)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return [_added(*pair) for pair in self._combine(left, right)]
            case ast.IfExp(body=body, orelse=other):
                return self.of_node(body) + self.of_node(other)
            case ast.BoolOp(values=nodes):
                return [value for part in nodes for value in self.of_node(part)]
            case ast.Call(func=ast.Name(id="str"), args=[argument], keywords=[]):
                return [_as_text(value) for value in self.of_node(argument)]
            case ast.Call(func=function, args=arguments, keywords=[]) if self._name_of(function) == "os.path.join":
                return [_joined(parts) for parts in self._combine(*arguments)]
        return [UNKNOWN]

    def _combine(self, *nodes: ast.expr) -> list[tuple[Any, ...]]:
        return list(itertools.islice(itertools.product(*(self.of_node(node) for node in nodes)), MAX_VALUES + 1))


def _limited(values: list[Any]) -> list[Any]:
    distinct: list[Any] = []
    for value in values:
        if isinstance(value, str) and len(value) > MAX_TEXT:
            value = UNKNOWN
        if not any(value is other or (type(value) is type(other) and value == other) for other in distinct):
            distinct.append(value)
    return [*distinct[:MAX_VALUES], UNKNOWN] if len(distinct) > MAX_VALUES else distinct


def _added(left: Any, right: Any) -> Any:
    if isinstance(left, str) and isinstance(right, str) and right[:1] != "\0":
        return left + right
    # Nobody needs a path with a marked value on the right, such as 'x' + @bundle_root.
    return UNKNOWN


def _as_text(value: Any) -> Any:
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else UNKNOWN


def _joined(parts: tuple[Any, ...]) -> Any:
    if not parts or not all(isinstance(part, str) for part in parts):
        return UNKNOWN
    if any(part.startswith("\0") for part in parts[1:]):
        return UNKNOWN
    return posixpath.join(*parts)
