"""Check that an expression of a config is only wiring. It is read but not run.

Allowed are numbers, strings, references, lists, arithmetic, conditions, comprehensions, lambdas, and calls of listed
functions with the arguments stated in `allowed`. Everything else is reported as unknown or dangerous (`names`).
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable, Sequence
from typing import Any

from radimagenet_monai.collection.verification.allowed import (
    BUILTINS,
    CALLED_COMPONENTS,
    CONSTANTS,
    DANGEROUS_ARGUMENTS,
    DEFAULT_ALIASES,
    IMPORTED_MODULES,
    REFERENCE_ATTRIBUTES,
    RESERVED_ALIASES,
    Argument,
    Signature,
    functions,
    is_off,
)
from radimagenet_monai.collection.verification.config_values import REFERENCES, UNKNOWN, Values, parse_expression
from radimagenet_monai.collection.verification.findings import Grade
from radimagenet_monai.collection.verification.names import grade_attribute, grade_builtin, grade_name
from radimagenet_monai.collection.verification.places import (
    BUNDLE,
    dangerous_text,
    is_absolute,
    is_plain_name,
    why_not_read,
    why_not_written,
)

MAX_EXPRESSION_CHARACTERS = 20_000

_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.USub, ast.Not, ast.And, ast.Or)
_BACKENDS = "torch.backends.cudnn"
_BACKEND_FLAGS = {"benchmark", "deterministic", "allow_tf32", "enabled"}
_ENVIRONMENT = {"LOCAL_RANK", "RANK", "WORLD_SIZE"}
_IMPORT = re.compile(r"\s*(?:import|from)\b")


class RefusedError(Exception):
    """Reason why a part of a config is reported, and its grade."""

    def __init__(self, reason: str, grade: Grade = Grade.DANGEROUS, subject: str = "") -> None:
        super().__init__(reason)
        self.grade = grade
        self.subject = subject


class Aliases:
    """Meaning of the names in expressions, from the imports of all configs of a bundle."""

    def __init__(self) -> None:
        self.names: dict[str, str] = dict(DEFAULT_ALIASES)

    def add(self, statement: str) -> None:
        """Add an import statement, without its ``$``; raises `RefusedError` if it is not allowed."""
        try:
            (node,) = ast.parse(statement).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise RefusedError(f"the import {statement[:80]!r} is not one statement") from None
        if not isinstance(node, ast.Import | ast.ImportFrom) or len(node.names) != 1 or not statement.isascii():
            raise RefusedError(f"the import {statement[:80]!r} is not a plain import of one name")
        module, alias = node.names[0].name, node.names[0].asname or node.names[0].name
        if isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                raise RefusedError(f"the import {statement[:80]!r} is relative")
            module = f"{node.module}.{module}"
        if (
            hasattr(builtins, alias)
            or RESERVED_ALIASES.get(alias, module) != module
            or self.names.setdefault(alias, module) != module
        ):
            raise RefusedError(f"the import {statement[:80]!r} takes a name that means something else")
        if module not in IMPORTED_MODULES and module not in functions() and module not in CONSTANTS:
            grade = Grade.UNKNOWN if module in _HARMLESS_IMPORTS else grade_name(module)
            raise RefusedError(f"the import of {module!r} is not on the allow-list", grade, module)

    def name_of(self, node: ast.expr) -> str | None:
        """Full name of ``a.b.c``, or ``None`` if it does not start with an imported name."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.names:
            return None
        return ".".join([self.names[node.id], *reversed(parts)])


# Importing these does nothing by itself; each use of them is judged separately.
_HARMLESS_IMPORTS = {"sys", "pathlib", "functools", "copy", "datetime", "itertools", "re", "time", "random"}


def is_import(value: Any) -> bool:
    """Whether MONAI treats a part of a config as an import statement."""
    return isinstance(value, str) and value.startswith("$") and _IMPORT.match(value[1:]) is not None


class ExpressionCheck:
    """Judges the expressions of a bundle's configs."""

    def __init__(self, aliases: Aliases, values: Values) -> None:
        self._aliases = aliases
        self._values = values
        self._bound: set[str] = set()

    def check(self, text: str) -> None:
        """Raise `RefusedError` unless ``text``, with its ``$``, is only wiring."""
        shown = repr(text if len(text) <= 80 else text[:77] + "...")
        try:
            self._check_text(text)
        except RefusedError as refusal:
            raise RefusedError(
                f"the expression {shown} is refused: {refusal}", refusal.grade, refusal.subject
            ) from None

    def _check_text(self, text: str) -> None:
        if len(text) > MAX_EXPRESSION_CHARACTERS:
            raise RefusedError(f"it is longer than {MAX_EXPRESSION_CHARACTERS} characters")
        # Python normalizes non-ASCII letters in names to ASCII (NFKC).
        if not text.isascii() or not text.isprintable() or "__" in text:
            raise RefusedError("only printable ASCII without '__' is allowed")
        if re.search(r"[@%](?::|#)", text):
            raise RefusedError("relative references are not allowed")
        try:
            tree = parse_expression(text[1:].strip())
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise RefusedError(f"it is not a Python expression ({type(error).__name__})") from None
        try:
            self._bound = _bound_names(tree)
            if self._bound & (self._aliases.names.keys() | set(dir(builtins))):
                raise RefusedError("it gives another meaning to a known name")
            self._check_node(tree)
            check_data(self._values.of_node(tree))
        except RefusedError as refusal:
            raise RefusedError(str(refusal), self._worst(tree, refusal.grade), refusal.subject) from None
        except RecursionError:
            raise RefusedError("it is not a Python expression (RecursionError)") from None

    def _check_node(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=str() | int() | float() | None):
                if isinstance(node.value, str) and ((".." in node.value or "//" in node.value) or _leads_out(node)):
                    raise RefusedError(f"{node.value!r} could lead out of the bundle")
            case ast.List(elts=items) | ast.Tuple(elts=items) | ast.BoolOp(values=items):
                self._check_nodes(items)
            case ast.Dict(keys=keys, values=values):
                if None in keys:
                    raise RefusedError("'**' is not allowed", Grade.UNKNOWN, "'**'")
                self._check_nodes([key for key in keys if key is not None] + values)
            case ast.BinOp(left=left, right=right, op=operator) if isinstance(operator, _OPERATORS):
                self._check_nodes([left, right])
            case ast.UnaryOp(operand=operand, op=operator) if isinstance(operator, _OPERATORS):
                self._check_node(operand)
            case ast.Compare(left=left, comparators=others):
                self._check_nodes([left, *others])
            case ast.IfExp(test=test, body=body, orelse=other):
                self._check_nodes([test, body, other])
            case ast.Subscript():
                self._check_subscript(node)
            case ast.Slice(lower=lower, upper=upper, step=step):
                self._check_nodes([part for part in (lower, upper, step) if part is not None])
            case ast.ListComp(elt=element, generators=generators):
                self._check_node(element)
                for generator in generators:
                    self._check_nodes([generator.iter, *generator.ifs])
            case ast.Lambda(args=arguments, body=body):
                if arguments.defaults or arguments.kw_defaults or arguments.vararg or arguments.kwarg:
                    raise RefusedError("a lambda with defaults or '*' is not allowed", Grade.UNKNOWN, "lambda")
                self._check_node(body)
            case ast.Call():
                self._check_call(node)
            case ast.Attribute():
                self._check_attribute(node)
            case ast.Name(id=name):
                if name not in self._bound:
                    full = self._aliases.names.get(name)
                    if full is None or full not in CONSTANTS:
                        grade = grade_builtin(name) if full is None else grade_name(full)
                        raise RefusedError(f"the name {name!r} is not on the allow-list", grade, full or name)
            case _:
                raise RefusedError(f"{type(node).__name__} is not allowed", Grade.UNKNOWN, type(node).__name__)

    def _check_nodes(self, nodes: Iterable[ast.expr]) -> None:
        for node in nodes:
            self._check_node(node)

    def _check_subscript(self, node: ast.Subscript) -> None:
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(identifier))) if (
                name == REFERENCES
            ):
                self.check_reference(identifier)
            case ast.Subscript(value=value, slice=ast.Constant(value=str(key))) if (
                self._aliases.name_of(value) == "os.environ"
            ):
                if key not in _ENVIRONMENT:
                    raise RefusedError(f"the environment variable {key!r} is not on the allow-list")
            case _:
                self._check_nodes([node.value, node.slice])

    def _check_call(self, node: ast.Call) -> None:
        if any(keyword.arg is None for keyword in node.keywords):
            raise RefusedError("'**' is not allowed", Grade.UNKNOWN, "'**'")
        function = node.func
        name = self._aliases.name_of(function)
        if isinstance(function, ast.Name) and name is None:
            if function.id == "setattr" and self._is_backend_flag(node):
                return
            if function.id not in BUILTINS or function.id in self._bound:
                grade = Grade.UNKNOWN if self._only_reads(node) else grade_builtin(function.id)
                raise RefusedError(f"calling {function.id!r} is not on the allow-list", grade, function.id)
        elif name is not None:
            if name not in functions():
                raise RefusedError(f"{name!r} is not on the allow-list", grade_name(name), name)
            self._check_arguments(name, functions()[name], node)
        elif isinstance(function, ast.Attribute):
            self._check_attribute(function)
        elif not self._is_called_component(function):
            shown = ast.unparse(function).replace(REFERENCES, "@")
            raise RefusedError(f"calling {shown!r} is not on the allow-list", Grade.UNKNOWN, shown)
        self._check_nodes([*node.args, *(keyword.value for keyword in node.keywords)])

    def _check_arguments(self, name: str, signature: Signature, node: ast.Call) -> None:
        listed = list(signature.arguments.values())
        for position, value in enumerate(node.args):
            if isinstance(value, ast.Starred):
                continue  # refused as a node
            if position < len(listed):
                check_argument(name, listed[position], self._values.of_node(value))
            elif signature.repeated is not None:
                check_argument(name, signature.repeated, self._values.of_node(value))
            elif not signature.is_open:
                raise RefusedError(f"{name} has too many arguments", Grade.UNKNOWN, name)
        for keyword in node.keywords:
            assert keyword.arg is not None
            check_named_argument(name, signature, keyword.arg, self._values.of_node(keyword.value))

    def _only_reads(self, node: ast.Call) -> bool:
        """Whether a call opens a file of the bundle, or one given by the user, for reading."""
        match node:
            case ast.Call(func=ast.Name(id="open"), args=[path, *mode], keywords=keywords):
                if not all(isinstance(part, ast.Constant) and part.value in ("r", "rb", "rt") for part in mode):
                    return False
            case _:
                return False
        known = all(isinstance(value, str) and why_not_read(value) is None for value in self._values.of_node(path))
        return known and all(keyword.arg in ("encoding", "newline") for keyword in keywords)

    def _is_backend_flag(self, node: ast.Call) -> bool:
        match node.args:
            case [target, ast.Constant(value=str(flag)), ast.Constant(value=bool())]:
                return self._aliases.name_of(target) == _BACKENDS and flag in _BACKEND_FLAGS and not node.keywords
        return False

    def _check_attribute(self, node: ast.Attribute) -> None:
        """Allowed are a listed name, written in full, and a listed attribute of a referenced item."""
        name = self._aliases.name_of(node)
        if name is not None:
            signature = functions().get(name)
            if signature is None and name not in CONSTANTS:
                raise RefusedError(f"{name!r} is not on the allow-list", grade_name(name), name)
            if signature is not None and not signature.is_harmless:
                raise RefusedError(f"{name!r} must be called, and not handed on, since it reads or writes")
            return
        if not isinstance(node.value, ast.Subscript | ast.Attribute | ast.Name | ast.Call):
            raise RefusedError(f"an attribute of {type(node.value).__name__} is not allowed")
        if node.attr not in REFERENCE_ATTRIBUTES:
            raise RefusedError(
                f"the attribute {node.attr!r} is not on the allow-list", grade_attribute(node.attr), f".{node.attr}"
            )
        self._check_node(node.value)

    def check_reference(self, identifier: str) -> None:
        """Raise `RefusedError` for a reference to imported modules, which would give access to all names in them."""
        definitions = self._values.definitions(identifier)
        if identifier.split("::")[0] in ("", "imports") or any(is_import(raw) for raw in definitions):
            raise RefusedError(f"a reference to {identifier or 'the whole config'!r} is not allowed")

    def _is_called_component(self, node: ast.expr) -> bool:
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(identifier))) if (
                name == REFERENCES
            ):
                definitions = self._values.definitions(identifier)
                return bool(definitions) and all(
                    isinstance(raw, dict) and raw.get("_target_") in CALLED_COMPONENTS and "_mode_" not in raw
                    for raw in definitions
                )
        return False

    def _worst(self, tree: ast.expr, grade: Grade) -> Grade:
        """``grade``, or dangerous if anything in the expression is, whatever was refused first."""
        read = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and self._only_reads(node)}
        for node in ast.walk(tree):
            match node:
                case ast.Call(args=arguments, keywords=keywords) if any(
                    _is_outside(value) for argument in arguments for value in self._values.of_node(argument)
                ) or any(
                    keyword.arg in DANGEROUS_ARGUMENTS
                    and not is_off(str(keyword.arg), self._values.of_node(keyword.value))
                    for keyword in keywords
                ):
                    return Grade.DANGEROUS
                case ast.NamedExpr() | ast.Await() | ast.Yield() | ast.YieldFrom():
                    return Grade.DANGEROUS
                case ast.Name(id=name) if name not in self._bound and name != REFERENCES and id(node) not in read:
                    full = self._aliases.names.get(name)
                    if grade_builtin(name) is Grade.DANGEROUS if full is None else _is_dangerous_module(full):
                        return Grade.DANGEROUS
                case ast.Attribute(attr=attribute):
                    name_ = self._aliases.name_of(node)
                    if name_ in functions() or name_ in CONSTANTS:
                        continue
                    if name_ is None and grade_attribute(attribute) is Grade.DANGEROUS:
                        return Grade.DANGEROUS
                    if name_ is not None and grade_name(name_) is Grade.DANGEROUS and name_ not in IMPORTED_MODULES:
                        return Grade.DANGEROUS
                case ast.Constant(value=str(text)) if dangerous_text(text) or ".." in text:
                    return Grade.DANGEROUS
        return grade


def check_named_argument(name: str, signature: Signature, argument: str, values: Sequence[Any]) -> None:
    """Raise `RefusedError` unless the component or function allows the argument with each of these values."""
    if argument in DANGEROUS_ARGUMENTS and not is_off(argument, values):
        raise RefusedError(f"the argument {argument!r} of {name} is not allowed: {DANGEROUS_ARGUMENTS[argument]}")
    listed = signature.arguments.get(argument)
    if listed is None:
        if argument in DANGEROUS_ARGUMENTS or signature.is_open:
            return check_data(values)
        raise RefusedError(
            f"the argument {argument!r} of {name} is not on the allow-list", Grade.UNKNOWN, f"{name}({argument})"
        )
    return check_argument(name, listed, values)


def check_argument(name: str, argument: Argument, values: Sequence[Any]) -> None:
    """Raise `RefusedError` unless each of the values is allowed for the argument."""
    for value in values:
        if value is None or (value is False and argument.kind in ("=", "~", ">", "^", "()", "!")):
            continue
        reason = _unsuitable(argument, value)
        if reason:
            shown = value.replace(BUNDLE, "(bundle)").replace("\0given", "") if isinstance(value, str) else value
            what = "a value that cannot be told without running it" if value is UNKNOWN else repr(shown)
            raise RefusedError(f"{argument.name} of {name} is {what}, {reason}", *_grade_value(argument, value, name))


def _grade_value(argument: Argument, value: Any, name: str) -> tuple[Grade, str]:
    is_open_question = value is UNKNOWN and argument.kind in ("<", "=")
    return (Grade.UNKNOWN, f"{name}({argument.name})") if is_open_question else (Grade.DANGEROUS, "")


def _unsuitable(argument: Argument, value: Any) -> str | None:
    is_text = isinstance(value, str)
    match argument.kind:
        case "":
            return _unsuitable_data(value)
        case "()":
            return "a callable by its name" if is_text else None
        case "=":
            allowed = argument.values
            return None if is_text and value in allowed else f"expected {' or '.join(allowed)}"
        case "~":
            return None if is_text and is_plain_name(value) else "expected the plain name of a file"
        case "{":
            return _unsuitable_options(value, argument.values)
        case "!":
            return None if is_text and value in ("", "\0given") else "expected nothing: the user gives the address"
        case "<":
            return why_not_read(value) if is_text else "expected a path"
        case _:
            if not is_text:
                return "expected a path in the bundle"
            return why_not_written(value, argument.values, allow_bundle=argument.kind == "^")


def _unsuitable_options(value: Any, allowed: Sequence[str]) -> str | None:
    if not isinstance(value, dict):
        return "expected an object written out"
    for name, option in value.items():
        if name not in allowed:
            return f"in which {name!r} is not on the allow-list"
        if not isinstance(option, str | int | float | None) or (isinstance(option, str) and not is_plain_name(option)):
            return f"in which {name!r} is no plain word or number"
    return None


def _unsuitable_data(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return dangerous_text(value) or ("a path that leaves the bundle" if is_absolute(value) else None)


def check_data(values: Sequence[Any]) -> None:
    """Raise `RefusedError` if one of the values is a text that leads out of the bundle."""
    for value in values:
        if reason := _unsuitable_data(value):
            raise RefusedError(f"it gives {value!r}, {reason}")


def _is_outside(value: Any) -> bool:
    return isinstance(value, str) and _unsuitable_data(value) is not None


def _leads_out(node: ast.Constant) -> bool:
    text = node.value
    return isinstance(text, str) and dangerous_text(text) is not None


def _is_dangerous_module(name: str) -> bool:
    return name not in IMPORTED_MODULES and name not in _HARMLESS_IMPORTS and grade_name(name) is Grade.DANGEROUS


def _bound_names(tree: ast.expr) -> set[str]:
    bound = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    return bound
