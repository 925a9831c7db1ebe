"""The profile ``portable``: configs that name nothing but MONAI, torch and ignite."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from radimagenet_monai.collection.verification.allowed import MONAI_COMPONENTS
from radimagenet_monai.collection.verification.config_tree import ConfigError, NoConfigError, parse_config, walk
from radimagenet_monai.collection.verification.expressions import is_import
from radimagenet_monai.collection.verification.findings import Finding, Grade

PLATFORMS = ("monai", "torch", "ignite")
"""Packages whose components a portable bundle may name."""

_IMPORTS = {*PLATFORMS, "glob"}


def portable_findings(configs: Mapping[str, bytes]) -> Iterator[Finding]:
    """What a platform without this package cannot run, in the configs of a bundle.

    Parameters
    ----------
    configs
        Content by file name; what is no JSON object is reported elsewhere.
    """
    for name, data in configs.items():
        try:
            content = parse_config(data)
        except (ConfigError, NoConfigError):
            continue
        for place, value in walk(content):
            if not isinstance(value, str):
                continue
            where = f"{name}: {'::'.join(place)}"
            if place and place[-1] == "_target_":
                # MONAI looks a plain name up among its own.
                if value not in MONAI_COMPONENTS and value.partition(".")[0] not in PLATFORMS:
                    yield _finding(where, value)
            elif is_import(value):
                for module in _imported(value[1:]):
                    if module.partition(".")[0] not in _IMPORTS:
                        yield _finding(where, module)


def _imported(statement: str) -> list[str]:
    try:
        (node,) = ast.parse(statement).body
    except (SyntaxError, ValueError):
        return []
    if isinstance(node, ast.ImportFrom):
        return [node.module or "."]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def _finding(where: str, name: str) -> Finding:
    return Finding(Grade.UNKNOWN, f"{where}: {name!r} is not of {', '.join(PLATFORMS)}", name)
