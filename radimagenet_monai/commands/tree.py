"""The tree of commands, put together from the modules of this folder.

A module that defines ``COMMANDS``, a dictionary of names and functions (a dictionary in it is a group), adds them to
``radimagenet``. ``OPTIONS`` gives, by command, a function from the arguments to the further flags it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from radimagenet_monai.core import command_line


def _checked(functions: Mapping[str, Any], options: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    return {
        name: _checked(item, options, f"{path}{name} ")
        if isinstance(item, dict)
        else command_line.checked(item, f"radimagenet {path}{name}", options.get(f"{path}{name}"))
        for name, item in functions.items()
    }


def _collected() -> dict[str, Any]:
    functions: dict[str, Any] = {}
    options: dict[str, Any] = {}
    for info in iter_modules(import_module(__package__).__path__, f"{__package__}."):
        if info.name != __name__:
            module = import_module(info.name)
            functions |= getattr(module, "COMMANDS", {})
            options |= getattr(module, "OPTIONS", {})
    return _checked(dict(sorted(functions.items())), options)


COMMANDS: dict[str, Any] = _collected()
"""Command or group by name; each function checks its flags before it runs."""
