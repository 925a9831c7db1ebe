"""Shell completion of commands and flags, as a script that a shell sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from radimagenet_monai.core.command_line import parameters_of

SHELLS = ("bash", "zsh", "fish")
_HELP = "--help"


def completion_script(commands: Mapping[str, Any], program: str, shell: str) -> str:
    """Script that completes ``program`` in a shell: commands, the flags of each, and otherwise file names.

    Flags that a command has only with certain arguments, such as those of one dataset, are not offered.

    Parameters
    ----------
    commands
        Tree of commands made by `radimagenet_monai.core.command_line.checked`.
    program
        Name of the executable.
    shell
        One of `SHELLS`.
    """
    return _WRITERS[shell](program, dict(_choices(commands)))


def _choices(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, list[str]]]:
    """Each command path, such as ``"weights import"``, with the subcommands or flags that may follow it."""
    yield path, [*node, _HELP]
    for name, item in node.items():
        inner = f"{path} {name}".strip()
        if isinstance(item, Mapping):
            yield from _choices(item, inner)
        else:
            yield inner, [f"--{parameter.name}" for parameter in parameters_of(item.command)] + [_HELP]


def _bash(program: str, choices: Mapping[str, list[str]]) -> str:
    cases = "\n".join(f"    {path!r}) words={' '.join(words)!r} ;;" for path, words in choices.items())
    name = f"_{program}_completion"
    return f"""{name}() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" path="" words="" word
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    [[ $word == -* ]] && break
    case "${{path:+$path }}$word" in
      {"|".join(repr(path) for path in choices if path)}) path="${{path:+$path }}$word" ;;
      *) break ;;
    esac
  done
  case "$path" in
{cases}
  esac
  # An empty answer lets bash complete file names.
  [[ $current != -* && ${{COMP_WORDS[COMP_CWORD-1]}} == --* ]] && words=""
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F {name} {program}
"""


def _zsh(program: str, choices: Mapping[str, list[str]]) -> str:
    # Without compinit, which an interactive zsh need not have run, bashcompinit lacks compdef.
    ready = (
        "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\nautoload -Uz bashcompinit && bashcompinit"
    )
    return f"{ready}\n{_bash(program, choices)}"


def _fish(program: str, choices: Mapping[str, list[str]]) -> str:
    lines = []
    for path, words in choices.items():
        seen = path.split()
        deeper = [word for word in words if not word.startswith("-")]
        conditions = [f"__fish_seen_subcommand_from {word}" for word in seen]
        if deeper:
            conditions.append(f"not __fish_seen_subcommand_from {' '.join(deeper)}")
        condition = f" -n '{'; and '.join(conditions)}'"
        for word in words:
            flag = word.startswith("--")
            lines.append(f"complete -c {program}{condition} {f'-l {word[2:]}' if flag else f'-f -a {word}'}")
    return "\n".join(lines) + "\n"


_WRITERS: dict[str, Callable[[str, Mapping[str, list[str]]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
