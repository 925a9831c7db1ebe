"""The code in the configs of a bundle, read but not run: every ``_target_``, argument, ``$`` expression and import.

`monai.bundle` resolves any ``_target_`` in Python, passes ``$`` expressions to ``eval``, runs every import statement as
soon as any item is resolved, and merges files whose keys change parts of each other (MONAI 1.6.1, ``config_item.py``,
``config_parser.py``, ``reference_resolver.py``). The configs of a bundle are therefore judged together and compared
with `allowed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from radimagenet_monai.collection.verification.allowed import DANGEROUS_ARGUMENTS, components, is_off
from radimagenet_monai.collection.verification.config_tree import (
    ConfigError,
    NoConfigError,
    in_place,
    is_override,
    lookup,
    parse_config,
    split_key,
    walk,
)
from radimagenet_monai.collection.verification.config_values import UNKNOWN, Values, is_macro
from radimagenet_monai.collection.verification.expressions import (
    Aliases,
    ExpressionCheck,
    RefusedError,
    check_named_argument,
    is_import,
)
from radimagenet_monai.collection.verification.findings import Finding, Grade
from radimagenet_monai.collection.verification.names import grade_component
from radimagenet_monai.collection.verification.places import dangerous_text, is_absolute

_SPECIAL_KEYS = {"_target_", "_mode_", "_disabled_", "_requires_", "_desc_", "_meta_"}


def config_findings(files: Mapping[str, bytes], prose: Iterable[str] = ()) -> Findings:
    """Disallowed parts of a bundle's JSON files, by file.

    Parameters
    ----------
    files
        Content by file name. The files are judged together, since one file can change parts of another.
    prose
        Names of files that are for people, such as ``metadata.json``: paths and addresses in them are only text.
    """
    found: Findings = {name: [] for name in files}
    contents = {}
    for name, data in files.items():
        try:
            contents[name] = parse_config(data)
        except NoConfigError as error:
            found[name].append(Finding(Grade.STYLE, str(error)))
        except ConfigError as error:
            found[name].append(Finding(Grade.DANGEROUS, str(error)))
    check = _Check(contents, frozenset(prose))
    for name in contents:
        found[name] += dict.fromkeys(check.findings(name))
    return found


Findings = dict[str, list[Finding]]


class _Check:
    def __init__(self, contents: Mapping[str, dict[str, Any]], prose: frozenset[str]) -> None:
        self._contents = contents
        self._prose = prose
        self._trees = {name: in_place(content) for name, content in contents.items() if name not in prose}
        self._aliases = Aliases()
        self._imports: dict[str, RefusedError | None] = {}
        for content in contents.values():
            for _, value in walk(content):
                if is_import(value):
                    self._take_import(value)
        self._values = Values(self._trees.values(), self._aliases.name_of)
        self._expressions = ExpressionCheck(self._aliases, self._values)

    def findings(self, name: str) -> Iterator[Finding]:
        """All findings of one file."""
        content = self._contents[name]
        is_prose = name in self._prose
        for place, value in walk(content):
            yield from _attempt(place, self._check_part, place, value, is_prose)
            if isinstance(value, dict):
                yield from self._component_findings(place, value)
        if is_prose:
            return
        for place, value in walk(self._trees[name]):
            if isinstance(value, dict):
                yield from self._component_findings(place, value)
        yield from self._override_findings(content)
        if (root := self._trees[name].get("bundle_root", ".")) not in ("", ".", "./"):
            yield Finding(
                Grade.DANGEROUS,
                f"bundle_root: it is {root!r}, expected '.': a run writes there, and the user says where",
            )

    def _take_import(self, text: str) -> None:
        if text not in self._imports:
            self._imports[text] = None
            try:
                self._aliases.add(text[1:])
            except RefusedError as refusal:
                self._imports[text] = refusal

    def _check_part(self, place: tuple[str, ...], value: Any, is_prose: bool) -> None:
        key = place[-1] if place else "."
        if not is_prose:
            if not key.isascii() or not key.isprintable() or not key:
                raise RefusedError("a key that is not printable ASCII could pass for another one")
            if len(place) > 1 and is_override(key):
                raise RefusedError("a key below the top that could pass for a part of another item")
        special = split_key(key)[-1].removeprefix("+")
        if special.startswith("_") and special.endswith("_") and len(special) > 2 and special not in _SPECIAL_KEYS:
            raise RefusedError(f"the special key {special!r} is not on the allow-list")
        if special == "_target_":
            _check_target(value)
        elif special == "_mode_":
            if value not in ("default", "callable"):
                raise RefusedError(f"_mode_ is {value!r}, expected 'default' or 'callable'")
        elif isinstance(value, str):
            self._check_text(place, value, is_prose)

    def _check_text(self, place: tuple[str, ...], text: str, is_prose: bool) -> None:
        if text.startswith("%"):
            if not is_macro(text) or split_key(text[1:])[0] == "_meta_":
                raise RefusedError(f"{text!r} brings in a file or another part as a macro, which is not allowed")
            self._expressions.check_reference("::".join(split_key(text[1:])))
        elif text.startswith("$"):
            if not is_import(text):
                self._expressions.check(text)
            elif (refusal := self._imports[text]) is not None:
                raise refusal
        elif text.startswith("@"):
            self._expressions.check_reference(text[1:].replace("#", "::"))
        elif not is_prose:
            if reason := dangerous_text(text):
                raise RefusedError(f"{text!r} is {reason}")
            if is_absolute(text):
                raise RefusedError(f"{text!r} is a path that leaves the bundle; give your own", Grade.STYLE)

    def _component_findings(self, place: tuple[str, ...], value: Mapping[str, Any]) -> Iterator[Finding]:
        target = value.get("_target_")
        if not isinstance(target, str):
            return
        for argument, raw in value.items():
            yield from _attempt((*place, argument), self._check_argument, target, argument, self._values.of(raw))
        if value.get("_mode_") == "callable" and target in components() and not components()[target].is_harmless:
            where = "::".join((*place, "_mode_"))
            yield Finding(Grade.DANGEROUS, f"{where}: {target} reads, writes or needs set values; it is not handed on")

    def _check_argument(self, target: str, argument: str, values: list[Any]) -> None:
        if argument.startswith("_") and argument.endswith("_"):
            return
        signature = components().get(target)
        if signature is not None:
            check_named_argument(target, signature, argument, values)
        elif argument in DANGEROUS_ARGUMENTS and not is_off(argument, values):
            raise RefusedError(f"the argument {argument!r} is not allowed: {DANGEROUS_ARGUMENTS[argument]}")

    def _override_findings(self, content: Mapping[str, Any]) -> Iterator[Finding]:
        """Keys of one file that change parts of components in another, or in the same."""
        for key, value in content.items():
            if not is_override(key):
                continue
            parts = split_key(key)
            for tree in [*self._trees.values(), *self._contents.values()]:
                yield from _attempt((key,), self._check_override, key, parts, value, tree)

    def _check_override(self, key: str, parts: list[str], value: Any, tree: Mapping[str, Any]) -> None:
        for length in range(1, len(parts) + 1):
            try:
                owner = lookup(tree, parts[:length])
            except (LookupError, ValueError):
                return
            if not isinstance(owner, dict) or not isinstance(target := owner.get("_target_"), str):
                continue
            if length == len(parts):
                if key.startswith("+") and isinstance(value, dict):
                    for argument, raw in value.items():
                        self._check_changed(owner, target, argument, raw, self._values.of(raw))
                return
            is_last = length == len(parts) - 1
            values = self._values.of(value) if is_last and not key.startswith("+") else [UNKNOWN]
            self._check_changed(owner, target, parts[length], value, values)

    def _check_changed(self, owner: Mapping[str, Any], target: str, argument: str, raw: Any, values: list[Any]) -> None:
        if argument == "_target_" and raw != target:
            raise RefusedError("it exchanges a component behind its arguments")
        if argument == "_mode_" and raw == "callable" and owner.get("_mode_") != "callable":
            raise RefusedError("it hands a component on that was to be called")
        self._check_argument(target, argument, values)


def _attempt(place: tuple[str, ...], check: Any, *arguments: Any) -> Iterator[Finding]:
    try:
        check(*arguments)
    except RefusedError as refusal:
        yield Finding(refusal.grade, f"{'::'.join(place)}: {refusal}", refusal.subject)


def _check_target(value: Any) -> None:
    if not isinstance(value, str):
        raise RefusedError(f"the component {value!r} is not on the allow-list")
    if value not in components():
        raise RefusedError(f"the component {value!r} is not on the allow-list", grade_component(value), value)
