"""Keys of a bundle's config as further flags of a command."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from radimagenet_monai.core.command_line import Options, Parameter
from radimagenet_monai.core.errors import ConfigurationError


def config_options(owner: str, given: Mapping[str, Any], config: str, taken: Collection[str]) -> Options:
    """Top-level keys of ``configs/CONFIG.json`` of ``given["bundle"]`` that hold a single value.

    Parameters
    ----------
    owner
        The command, for errors.
    given
        Arguments of the command.
    config
        Name of the config.
    taken
        Keys that the command sets itself or that say nothing to it.

    Raises
    ------
    ConfigurationError
        If there is no such config.
    """
    path = Path(str(given["bundle"])) / "configs" / f"{config}.json"
    if not path.is_file():
        raise ConfigurationError(f"'{given['bundle']}' has no configs/{config}.json; give the folder of a bundle")
    keys = json.loads(path.read_text(encoding="utf-8"))
    return Options(
        owner,
        tuple(
            Parameter(name, _type_of(value), value)
            for name, value in keys.items()
            if name not in taken and not isinstance(value, list | dict)
        ),
    )


def _type_of(value: Any) -> Any:
    is_expression = isinstance(value, str) and value.startswith("$")
    return type(value) if isinstance(value, bool | int | float | str) and not is_expression else Any
