"""Names that release 0.1 gave to modules, for configs, scripts and packed stores that hold them.

``moved.json`` lists under ``modules`` the module of 0.1 and its place now, relative to the package; under ``names`` the
names that 0.1 exported from a package that is no more, with the package that exports them now; and under ``classes``,
by the module of today, classes that left a module which still exists, with that module.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def install() -> None:
    """Let imports of moved modules find them. The module is the same object under both names."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        # First, because a package that has moved is found under its old name too, and with it copies of its modules.
        sys.meta_path.insert(0, _Moved())


def exports_of_first_release() -> dict[str, str]:
    """Full names that configs of 0.1 hold for parts of this package, and what they are called now."""
    return {
        f"{_PACKAGE}.{package}.{name}": f"{_PACKAGE}.{room}.{name}"
        for package, names in _table()["names"].items()
        for name, room in names.items()
    }


def module_in_first_release(module: str, name: str = "") -> str:
    """The full name of the module that held ``name``, or was ``module``, in 0.1; ``module`` itself if it is newer."""
    root, _, rest = module.partition(".")
    if root != _PACKAGE:
        return module
    classes = _table()["classes"].get(rest, {})
    return f"{root}.{classes.get(name) or _old_names().get(rest, rest)}"


@cache
def _table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return table


@cache
def _old_names() -> dict[str, str]:
    return {new: old for old, new in _table()["modules"].items()}


@cache
def _gone() -> frozenset[str]:
    """Packages of 0.1 whose folder is gone, and of which only the names remain."""
    packages = {name.rpartition(".")[0] for name in _table()["modules"]}
    root = Path(__file__).parents[1]
    return frozenset(name for name in packages if not (root / name.replace(".", "/") / "__init__.py").is_file())


class _Moved(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        root, _, rest = fullname.partition(".")
        if root != _PACKAGE:
            return None
        if rest in _table()["modules"]:
            return ModuleSpec(fullname, self)
        return ModuleSpec(fullname, self, is_package=True) if rest in _gone() else None

    def get_code(self, fullname: str) -> Any:
        """The code of a module, for ``python -m`` with its old name, as comparisons of 0.1 state to repeat a run."""
        spec = find_spec(f"{_PACKAGE}.{_table()['modules'][fullname.partition('.')[2]]}")
        return spec.loader.get_code(spec.name) if spec is not None and isinstance(spec.loader, InspectLoader) else None

    def exec_module(self, module: ModuleType) -> None:
        _, _, rest = module.__name__.partition(".")
        if rest in _table()["modules"]:
            # The import system returns what stands here when the loader is done.
            sys.modules[module.__name__] = import_module(f"{_PACKAGE}.{_table()['modules'][rest]}")
            return
        exported = _table()["names"].get(rest, {})

        def get(name: str) -> Any:
            if name in exported:
                return getattr(import_module(f"{_PACKAGE}.{exported[name]}"), name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        # MONAI imports no package without a file.
        module.__dict__.update(
            __file__=__file__, __getattr__=get, __all__=sorted(exported), __dir__=lambda: sorted(exported)
        )
