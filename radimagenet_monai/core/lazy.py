"""Names of a package that are imported on first use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

_ROOT = __name__.partition(".")[0]


def lazy_exports(package: str, module_of: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package whose heavy modules load on demand.

    Parameters
    ----------
    package
        ``__name__`` of the package.
    module_of
        Module of each public name: relative to the package, or a full name if it is in another room.
    """

    def get(name: str) -> Any:
        if name in module_of:
            module = module_of[name]
            return getattr(import_module(module if module.startswith(f"{_ROOT}.") else f"{package}.{module}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return get, names
