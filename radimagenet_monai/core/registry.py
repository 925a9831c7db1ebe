"""Tables of encoders, datasets and tasks: those of this package, and those that other packages add by entry points.

A file of a reader or an encoder describes itself in one statement, such as ``DATASET = Dataset(...)``. The statement is
read without running the file, which imports pandas or torch: so one file holds all of a dataset, and listing datasets
still imports nothing large. The statement may use literals and the names of the table's vocabulary only.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from threading import RLock
from typing import Any, Generic, Protocol, TypeVar

from radimagenet_monai.core.errors import ConfigurationError, one_line

GROUP = "radimagenet_monai."
"""An entry point's group is this and the name of a table, such as ``radimagenet_monai.datasets``."""

TABLES = ("encoders", "datasets", "tasks")

_PACKAGE = __name__.partition(".")[0]
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Described(Protocol):
    """What the tables hold: frozen dataclasses with a name and the module that they were read from."""

    @property
    def name(self) -> str: ...

    @property
    def module(self) -> str: ...


T = TypeVar("T", bound=Described)


class Registry(Mapping[str, T], Generic[T]):
    """Descriptions by name, read on first use; plug-ins come after the built-in ones and cannot replace them.

    A plug-in that is broken is left out with one warning line, and stands in `left_out`.

    Parameters
    ----------
    table
        Name of the table, in the plural, such as ``"datasets"``.
    word
        What an entry is called in messages, such as ``"dataset"``.
    kind
        Class of the descriptions.
    attribute
        Name that a module binds its description to, such as ``"DATASET"``; a plug-in's may be a tuple of several.
    folder
        Folder of this package whose files describe the built-in entries, such as ``"datasets/readers"``.
    vocabulary
        What those descriptions may use beside literals.
    given
        Built-in entries, if they do not stand in a folder.
    order
        Sort key of the entries of ``folder``; by default the name.
    """

    def __init__(
        self,
        table: str,
        word: str,
        kind: type[T],
        attribute: str,
        folder: str = "",
        vocabulary: Iterable[Any] = (),
        given: Iterable[T] = (),
        order: Callable[[T], Any] | None = None,
    ) -> None:
        self.table, self.word = table, word
        self._kind, self._attribute, self._folder = kind, attribute, folder
        self._vocabulary = {item.__name__: item for item in vocabulary}
        self._given, self._order = given, order or (lambda item: item.name)
        self._items: dict[str, T] | None = None
        self._lock = RLock()
        self._packages: dict[str, str] = {}
        self._left_out: list[str] = []

    def __getitem__(self, name: str) -> T:
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    @property
    def packages(self) -> dict[str, str]:
        """The package of each entry that a plug-in added: name and version."""
        self._read()
        return self._packages

    @property
    def left_out(self) -> list[str]:
        """One sentence for each plug-in that could not be used."""
        self._read()
        return self._left_out

    def builtin(self) -> dict[str, T]:
        """The entries of this package."""
        return {name: item for name, item in self._read().items() if name not in self.packages}

    def require(self, name: Any) -> T:
        """The entry of that name.

        Raises
        ------
        ConfigurationError
            If there is none; the message lists the known names.
        """
        try:
            return self[name]
        except (KeyError, TypeError):
            broken = "".join(f"; {sentence}" for sentence in self.left_out)
            raise ConfigurationError(f"unknown {self.word} {name!r}; choose one of {', '.join(self)}{broken}") from None

    def _read(self) -> dict[str, T]:
        with self._lock:
            if self._items is None:
                items = [*self._given, *sorted(self._described_in_folder(), key=self._order)]
                # Bound before the plug-ins are read, because one may derive its description from a built-in one.
                self._items = {item.name: item for item in items}
                for entry in sorted(_entry_points(GROUP + self.table), key=lambda entry: (_origin(entry), entry.name)):
                    self._add(entry, set(self._items) - set(self._packages))
            return self._items

    def _described_in_folder(self) -> Iterator[T]:
        if not self._folder:
            return
        for path in sorted((Path(__file__).parents[1] / self._folder).glob("*.py")):
            item = _statement(path.read_text(encoding="utf-8"), self._attribute, self._vocabulary)
            if item is not None:
                yield _placed(item, ".".join([_PACKAGE, *self._folder.split("/"), path.stem]))

    def _add(self, entry: EntryPoint, builtin: set[str]) -> None:
        assert self._items is not None
        try:
            items = self._load(entry)
            for item in items:
                if item.name in builtin:
                    raise ConfigurationError(f"{self.word} '{item.name}' is built in and cannot be replaced")
                if item.name in self._items:
                    raise ConfigurationError(f"{self.word} '{item.name}' is already in {self._packages[item.name]}")
        except Exception as error:
            reason = str(error) if isinstance(error, ConfigurationError) else f"{type(error).__name__}: {error}"
            sentence = one_line(
                f"plug-in '{entry.name}' of {_origin(entry)} ({GROUP}{self.table}) is left out: {reason}"
            )
            self._left_out.append(sentence)
            logging.getLogger(__name__).warning("warning: %s", sentence)
            return
        self._items |= {item.name: item for item in items}
        self._packages |= {item.name: _origin(entry) for item in items}

    def _load(self, entry: EntryPoint) -> list[T]:
        attribute = entry.attr or self._attribute
        value = self._without_import(entry.module, attribute)
        if value is None:
            value = getattr(import_module(entry.module), attribute)
        items = list(value) if isinstance(value, tuple | list) else [value]
        for item in items:
            if not isinstance(item, self._kind):
                raise ConfigurationError(
                    f"{entry.module}:{attribute} is a {type(item).__name__}, expected a {self._kind.__name__}"
                )
            if not _NAME.fullmatch(item.name):
                raise ConfigurationError(f"the name {item.name!r} is not of lower-case letters, digits and _")
        return [_placed(item, entry.module) for item in items]

    def _without_import(self, module: str, attribute: str) -> Any:
        spec = find_spec(module)
        if not self._vocabulary or spec is None or not (spec.origin or "").endswith(".py"):
            return None
        try:
            return _statement(Path(str(spec.origin)).read_text(encoding="utf-8"), attribute, self._vocabulary)
        except NameError:
            return None  # it uses names of its own: the module is imported after all


class Resolved(Mapping[str, Any]):
    """What the entries of a registry stand for, made on each access."""

    def __init__(self, registry: Registry[Any], make: Callable[[Any], Any]) -> None:
        self._registry, self._make = registry, make

    def __getitem__(self, name: str) -> Any:
        return self._make(self._registry[name])

    def __contains__(self, name: object) -> bool:
        return name in self._registry

    def __iter__(self) -> Iterator[str]:
        return iter(self._registry)

    def __len__(self) -> int:
        return len(self._registry)


def resolve(module: str, name: str) -> Any:
    """``name`` of a module, or what ``"module:name"`` names.

    Raises
    ------
    ConfigurationError
        If the module cannot be imported or has no such name, in one line: it may be a plug-in's.
    """
    place, colon, attribute = name.rpartition(":")
    module, name = (place, attribute) if colon else (module, name)
    try:
        return getattr(import_module(module), name)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"'{module}:{name}' cannot be loaded: {type(error).__name__}: {error}") from error


def _statement(text: str, attribute: str, vocabulary: Mapping[str, Any]) -> Any:
    """The value of ``ATTRIBUTE = Call(...)`` at the top level of a file, without running the rest; None without it."""
    found = re.search(rf"^{attribute} = (\w+\(.*?^\))$", text, re.MULTILINE | re.DOTALL)
    return eval(found[1], {"__builtins__": {}, **vocabulary}) if found else None


def _placed(item: T, module: str) -> T:
    return item if item.module else replace(item, module=module)  # type: ignore[type-var] # a dataclass


def plugin_packages() -> set[str]:
    """Top-level packages that the entry points of installed plug-ins name; none of them is imported."""
    return {entry.module.partition(".")[0] for table in TABLES for entry in _entry_points(GROUP + table)}


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.module.partition(".")[0]
