"""Keep the folders of a machine out of text written for others.

A path below a named root becomes ``$NAME/rest``; any other absolute path is reduced to its last part. Folder names
reveal who ran something and where, and often the study or patient.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Roots = Mapping[str, str | os.PathLike[str]]

# The folders of an absolute path, POSIX or Windows, in running text; in a URL they follow a colon or a slash.
_FOLDERS = re.compile(r"""(?<![\w.~$:/\\}-])(?:/(?:[^/\s'"<>|:;,()\[\]{}]+/)+|[A-Za-z]:\\(?:[^\\\s'"<>|:;,]+\\)*)""")
# A quoted path may contain spaces.
_QUOTED = re.compile(r"""(?P<quote>['"])(?P<path>(?:/|[A-Za-z]:\\)[^'"\n]*[/\\][^'"\n]*)(?P=quote)""")


def without_folders(value: Any, roots: Roots | None = None) -> Any:
    """A copy of a JSON value without absolute paths in its text.

    Parameters
    ----------
    value
        Text, or mappings and lists of text; other values are returned unchanged.
    roots
        Name to folder or file. A path is named after the longest root that contains it.

    Examples
    --------
    >>> without_folders({"weights": "/data/study 7/encoder.safetensors", "epochs": 3})
    {'weights': 'encoder.safetensors', 'epochs': 3}
    >>> without_folders("cannot read /data/busi/a.png", {"DATA": "/data/busi"})
    'cannot read $DATA/a.png'
    """
    named = sorted(((os.fspath(root), name) for name, root in (roots or {}).items()), key=lambda item: -len(item[0]))
    return _hidden(value, named)


def shell_command(arguments: Sequence[str], roots: Roots | None = None) -> str:
    """A command line to type, with a shell variable in place of each named root.

    The running interpreter becomes ``python``; other absolute paths are reduced to their last part.
    """
    named = sorted(((os.fspath(root), name) for name, root in (roots or {}).items()), key=lambda item: -len(item[0]))
    return " ".join(_shell_word(argument, named) for argument in arguments)


def _shell_word(argument: str, named: Sequence[tuple[str, str]]) -> str:
    if argument == sys.executable:
        return "python"
    for root, name in named:
        before, found, after = argument.partition(root.rstrip(os.sep))
        if found and (not after or after[0] in "/\\,"):
            return f'"{_escaped(before)}${{{name}}}{_escaped(after)}"'
    return shlex.quote(_hidden(argument, named))


def _escaped(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)


def _hidden(value: Any, named: Sequence[tuple[str, str]]) -> Any:
    if isinstance(value, Mapping):
        return {key: _hidden(item, named) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(item, named) for item in value]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return _hidden_text(value, named) if isinstance(value, str) else value


def _hidden_text(text: str, named: Sequence[tuple[str, str]]) -> str:
    if "/" not in text and "\\" not in text:
        return text
    for root, name in named:
        text = re.sub(rf"(?<![\w.-]){re.escape(root.rstrip(os.sep))}(?![\w.-])", f"${name}", text)
    if text.startswith("/") and not re.search(r"[:;\n]", text):
        return Path(text).name  # the whole text is one path, which may contain spaces
    text = _QUOTED.sub(_last_part, text)
    home = os.fspath(Path.home())
    text = re.sub(rf"(?<![\w.-]){re.escape(home)}(?![\w./-])", "~", text) if len(home) > 1 else text
    return _FOLDERS.sub("", text)


def _last_part(match: re.Match[str]) -> str:
    last = re.split(r"[/\\]", match["path"].rstrip("/\\"))[-1]
    return f"{match['quote']}{last}{match['quote']}"
