"""Every command of the program by its full name."""

from collections.abc import Iterator, Mapping
from typing import Any

from radimagenet_monai.cli import COMMANDS


def every_command(tree: Mapping[str, Any] = COMMANDS, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in tree.items():
        if isinstance(item, Mapping):
            yield from every_command(item, f"{path}{name} ")
        else:
            yield f"{path}{name}", item


ALL = dict(every_command())
