"""The command line's checks: typed values, unknown flags refused before anything runs, help on standard output.

Fire finds the command and passes on what was typed. A command wrapped by `checked` receives values of the types in its
signature or is not called at all: a misspelt flag or a value of the wrong type is a `UsageError`, exit status 2.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from radimagenet_monai.core.errors import RadImageNetError, UsageError
from radimagenet_monai.core.flags import did_you_mean, nearest, parse_flag

_NONE = {"none", "null"}
_HELP = ("--help", "-h")
_REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Parameter:
    """A flag of a command: its name, the type of its value, its default, and its description."""

    name: str
    hint: Any
    default: Any = _REQUIRED
    about: str = ""


@dataclass(frozen=True)
class Options:
    """Flags that a command has only with certain arguments, such as those of one dataset."""

    owner: str
    parameters: tuple[Parameter, ...]


OptionsOf = Callable[[Mapping[str, Any]], Options]


def checked(command: Callable[..., Any], name: str, options: OptionsOf | None = None) -> Callable[..., Any]:
    """``command`` in a wrapper for Fire, which checks the typed text against the signature.

    Parameters
    ----------
    command
        A function with annotations and an ``Args:`` section in its docstring.
    name
        Full name on the command line, such as ``"radimagenet prepare"``.
    options
        For a command with further flags (``**options``): a function from the values of its own flags to the further
        ones.
    """
    import fire

    @fire.decorators.SetParseFn(str)
    def called(*words: str, **flags: str) -> Any:
        positional, named = _bind(command, name, options, words, flags)
        return command(*positional, **named)

    # Not functools.wraps: Fire would follow it to the wrapped function and keep flags that its signature does not name.
    called.__name__ = command.__name__
    called.__doc__ = command.__doc__
    called.command, called.full_name, called.options = command, name, options
    return called


def parameters_of(function: Callable[..., Any], leave_out: Iterable[str] = ()) -> list[Parameter]:
    """The flags that correspond to a function's signature, except ``*names`` and ``**options``."""
    hints = typing.get_type_hints(function, include_extras=True)
    about = _arguments_section(function)
    return [
        Parameter(item.name, hints.get(item.name, Any), item.default, about.get(item.name, ""))
        for item in inspect.signature(function).parameters.values()
        if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD) and item.name not in leave_out
    ]


def convert(text: str, hint: Any) -> Any:
    """Convert text to a value of type ``hint``.

    Raises
    ------
    ValueError
        If the text is not valid; the message says what was expected.
    """
    if get_origin(hint) is Annotated:
        inner, *checks = get_args(hint)
        value = convert(text, inner)
        for check in checks:
            problem = check(value)
            if problem:
                raise ValueError(problem)
        return value
    if get_origin(hint) in (typing.Union, types.UnionType):
        return _convert_union(text, get_args(hint))
    if get_origin(hint) is Literal:
        return _convert_literal(text, get_args(hint))
    if hint is bool:
        try:
            return parse_flag(text)
        except Exception:
            raise ValueError("expected true or false") from None
    if hint is int:
        if not re.fullmatch(r"[+-]?\d+(_\d+)*", text.strip()):
            raise ValueError("expected a whole number")
        return int(text)
    if hint is float:
        try:
            return float(text)
        except ValueError:
            raise ValueError("expected a number") from None
    if hint is str or _is_path(hint):
        if text == "True":
            raise ValueError("a value is missing behind it")
        return text
    if _is_sequence(hint):
        return _convert_list(text, get_args(hint))
    from fire.parser import DefaultParseValue

    return DefaultParseValue(text)


def run(commands: Mapping[str, Any] | Callable[..., Any], arguments: Sequence[str], program: str) -> None:
    """Call the command that ``arguments`` name, in a tree of `checked` functions or the only one; or print help.

    Raises
    ------
    UsageError
        For an unknown command or flag, a flag that is given twice, or a value of the wrong type.
    """
    arguments = list(arguments)
    wants_help = False
    if "--" in arguments:
        place = arguments.index("--")
        wants_help = any(item in _HELP for item in arguments[place:])
        if wants_help:
            arguments = arguments[:place]
    if arguments[:1] == ["help"]:
        wants_help, arguments = True, arguments[1:]
    if any(item in _HELP for item in arguments):
        wants_help, arguments = True, [item for item in arguments if item not in _HELP]
    node, rest, words = _find(commands, arguments, program)
    if isinstance(node, Mapping):
        if rest:
            raise UsageError(f"'{rest[0]}' was given to {' '.join(words)}, which is followed by a command: see --help")
        print(_group_help(node, " ".join(words)))
        return
    if wants_help:
        print(_command_help(node, rest))
        return
    _refuse_twice(rest)
    import fire

    fire.Fire(commands, command=arguments, name=program)


def flags_of(commands: Any, arguments: Sequence[str], program: str) -> set[str] | None:
    """The flags of the command that ``arguments`` call, including further flags; ``None`` if they call none."""
    try:
        called, rest, _ = _find(commands, arguments, program)
        if isinstance(called, Mapping):
            return None
        parameters = parameters_of(called.command)
        known = {item.name for item in parameters}
        if called.options is not None:
            known |= {item.name for item in called.options(_given(parameters, rest)).parameters}
    except (RadImageNetError, KeyError):
        return None
    return known


def _find(commands: Any, arguments: Sequence[str], program: str) -> tuple[Any, list[str], list[str]]:
    node: Any = commands
    words = [program]
    for place, word in enumerate(arguments):
        if not isinstance(node, Mapping) or word.startswith("-"):
            return node, list(arguments[place:]), words
        if word not in node:
            raise UsageError(f"{' '.join(words)} has no command '{word}': {did_you_mean(word, list(node))}")
        node = node[word]
        words.append(word)
    return node, [], words


def _refuse_twice(arguments: Sequence[str]) -> None:
    seen = set()
    for item in arguments:
        if item.startswith("--") and len(item) > 2:
            flag = item[2:].partition("=")[0].replace("-", "_")
            if flag in seen:
                raise UsageError(f"--{flag} was given twice; give it once")
            seen.add(flag)


def _bind(
    command: Callable[..., Any], name: str, options_of: OptionsOf | None, words: Sequence[str], flags: Mapping[str, str]
) -> tuple[list[Any], dict[str, Any]]:
    """Positional and named arguments of the command."""
    signature = inspect.signature(command)
    kinds = [item.kind for item in signature.parameters.values()]
    has_words = inspect.Parameter.VAR_POSITIONAL in kinds
    known = {item.name: item for item in parameters_of(command)}
    given: dict[str, str] = {}
    left = list(words)
    # Behind ``*names`` a flag is named; before it, as without it, it may also stand in its place.
    places = [item.name for item in signature.parameters.values() if item.kind is item.POSITIONAL_OR_KEYWORD]
    for item in places if has_words else known:
        if not left:
            break
        if not (has_words and item in flags):
            given[item] = left.pop(0)
    if left and not has_words:
        raise UsageError(f"{name} does not take '{left[0]}'; a value with blanks needs quotes")
    further: dict[str, str] = {}
    for flag, text in flags.items():
        flag, text = _resolved(flag, text, known)
        if flag in given:
            raise UsageError(f"--{flag} was given twice, once without its name; give it once")
        (given if flag in known else further)[flag] = text
    values = {flag: _converted(flag, text, known[flag].hint) for flag, text in given.items()}
    missing = [item for item in known.values() if item.default is _REQUIRED and item.name not in values]
    if further and options_of is None:
        flag = next(iter(further))
        raise UsageError(f"{name} has no --{flag}: {did_you_mean(flag, list(known), '--')} Nothing was run")
    if missing:
        about = f" ({missing[0].about.rstrip('.')})" if missing[0].about else ""
        raise UsageError(f"{name} needs --{missing[0].name}{about}")
    if further:
        assert options_of is not None
        options = options_of(values)
        extra = {item.name: item for item in options.parameters}
        for flag, text in further.items():
            if flag not in extra:
                names = [*known, *extra]
                raise UsageError(f"{options.owner} has no --{flag}: {did_you_mean(flag, names, '--')} Nothing was run")
            values[flag] = _converted(flag, text, extra[flag].hint)
    if not has_words:
        return [], values
    return [*(values.pop(item) for item in places), *map(str, left)], values


def _resolved(flag: str, text: str, known: Mapping[str, Parameter]) -> tuple[str, str]:
    """Resolve short forms to the flags of the signature: ``-o`` to ``--out``, ``--noaudit`` to ``--audit false``."""
    flag = flag.replace("-", "_")
    if flag in known:
        return flag, text
    if len(flag) == 1:
        found = [item for item in known if item.startswith(flag)]
        if len(found) == 1:
            return found[0], text
    bare = flag.removeprefix("no").removeprefix("_")
    if flag.startswith("no") and bare in known and text == "True" and known[bare].hint is bool:
        return bare, "false"
    return flag, text


def _converted(flag: str, text: str, hint: Any) -> Any:
    try:
        return convert(str(text), hint)
    except ValueError as error:
        raise UsageError(f"--{flag} {text} was given: {error}. Nothing was run") from None


def _convert_union(text: str, members: Sequence[Any]) -> Any:
    if type(None) in members and text.strip().lower() in _NONE and str not in members:
        return None
    kinds = [item for item in members if item is not type(None)]
    lists = [item for item in kinds if _is_sequence(item)]
    if lists and ("," in text or text[:1] in "[("):
        return convert(text, lists[0])
    plain = [item for item in kinds if item not in lists]
    order = sorted(plain or kinds, key=lambda item: item is str or _is_path(item))
    for item in order[:-1]:
        try:
            return convert(text, item)
        except ValueError:
            continue
    return convert(text, order[-1])


def _convert_literal(text: str, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if text.strip().lower() == str(choice).lower():
            return choice
    listed = ", ".join(map(str, choices))
    meant = nearest(text, [str(item) for item in choices])
    raise ValueError(f"expected one of {listed}{f'; did you mean {meant}?' if meant else ''}")


def _convert_list(text: str, members: Sequence[Any]) -> list[Any]:
    stripped = text.strip()
    if stripped[:1] in ("[", "("):
        try:
            items = [str(item) for item in ast.literal_eval(stripped)]
        except (ValueError, SyntaxError, TypeError):
            items = [item.strip("'\"") for item in re.split(r"\s*,\s*", stripped[1:-1])]
    else:
        items = stripped.split(",")
    if stripped in ("True", ""):
        raise ValueError("a value is missing behind it")
    kind = members[0] if members else str
    return [convert(item.strip(), kind) for item in items if item.strip()]


def _is_sequence(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return inspect.isclass(origin) and issubclass(origin, Sequence) and origin is not str


def _is_path(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return inspect.isclass(origin) and issubclass(origin, os.PathLike)


def _group_help(node: Mapping[str, Any], program: str) -> str:
    lines = [f"usage: {program} COMMAND", ""]
    for name, item in node.items():
        if isinstance(item, Mapping):
            lines.append(f"  {name:12} {', '.join(item)}")
        else:
            lines += _wrapped(f"  {name:12} ", (item.__doc__ or "").strip().splitlines()[0])
    first = next(name for name, item in node.items() if not isinstance(item, Mapping))
    return "\n".join([*lines, "", f"more: {program} COMMAND --help, for example {program} {first} --help"])


def _command_help(called: Any, words: Sequence[str]) -> str:
    command, name = called.command, called.full_name
    text = inspect.getdoc(command) or ""
    parameters = parameters_of(command)
    signature = inspect.signature(command).parameters.values()
    several = [item.name for item in signature if item.kind is item.VAR_POSITIONAL]
    required = [f"--{item.name} {item.name.upper()}" for item in parameters if item.default is _REQUIRED]
    usage = " ".join(
        [f"usage: {name}", *(f"[{item.upper()} ...]" for item in several), *required, "[--FLAG VALUE ...]"]
    )
    width = shutil.get_terminal_size((120, 24)).columns
    lines = textwrap.wrap(usage, width, subsequent_indent="    ", break_on_hyphens=False)
    lines += ["", *text.partition("\nArgs:")[0].strip().splitlines(), ""]
    about = _arguments_section(command)
    for item in several:
        lines += _wrapped(f"  {item.upper() + ' ...':18} ", about.get(item, ""))
    for parameter in parameters:
        lines += _parameter_help(parameter)
    if called.options is not None:
        lines += _options_help(called.options, parameters, about, words)
    return "\n".join(lines)


def _options_help(
    options_of: OptionsOf, parameters: Sequence[Parameter], about: Mapping[str, str], words: Sequence[str]
) -> list[str]:
    named = _given(parameters, words)
    first = parameters[0].name if parameters else ""
    if first and first not in named:
        return [
            "",
            *_wrapped(
                "  further flags: ", next((about[key] for key in ("options", "settings", "flags") if key in about), "")
            ),
        ]
    options = options_of(named)
    lines = ["", f"further flags of {options.owner}:"]
    for parameter in options.parameters:
        lines += _parameter_help(parameter)
    return lines


def _given(parameters: Sequence[Parameter], words: Sequence[str]) -> dict[str, str]:
    """The values that a command line gives to the parameters, as text."""
    plain = [item for item in words if not item.startswith("-")]
    named = dict(zip([item.name for item in parameters], plain, strict=False))
    for place, word in enumerate(words):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if equals or place + 1 < len(words):
                named[name.replace("-", "_")] = value if equals else words[place + 1]
    return named


def _parameter_help(parameter: Parameter) -> list[str]:
    facts = [_in_words(parameter.hint)]
    if parameter.default is _REQUIRED:
        facts.append("required")
    elif parameter.default not in (None, "", ()):
        value = parameter.default
        shown = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
        facts.append(f"default {str(shown).lower() if isinstance(shown, bool) else shown}")
    return _wrapped(
        f"  --{parameter.name:16} ", f"{parameter.about} ({', '.join(item for item in facts if item)})".strip()
    )


def _in_words(hint: Any) -> str:
    """Name of a type in the help."""
    if get_origin(hint) is Annotated:
        return _in_words(get_args(hint)[0])
    if get_origin(hint) in (typing.Union, types.UnionType):
        members = [_in_words(item) for item in get_args(hint) if item is not type(None)]
        return " or ".join(dict.fromkeys(item for item in members if item))
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    if _is_sequence(hint):
        return "list A,B,..."
    return {bool: "true|false", int: "whole number", float: "number", str: "text"}.get(
        hint, "path" if _is_path(hint) else ""
    )


def _wrapped(head: str, text: str) -> list[str]:
    width = max(shutil.get_terminal_size((120, 24)).columns, 60)
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * len(head)) or [head.rstrip()]


def _arguments_section(function: Callable[..., Any]) -> dict[str, str]:
    """The description of each argument in the ``Args:`` section of a docstring, on one line."""
    section = (inspect.getdoc(function) or "").partition("\nArgs:\n")[2]
    about: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent(section).splitlines():
        found = re.match(r"(\w+): (.*)", line)
        if found:
            name = found.group(1)
            about[name] = found.group(2)
        elif name and line.strip():
            about[name] += f" {line.strip()}"
    return about
