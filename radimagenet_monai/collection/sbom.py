"""A software bill of materials of the installed packages, as CycloneDX 1.6 (ECMA-424)."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any, NamedTuple

PACKAGE = "radimagenet-monai"

_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class _Distribution(NamedTuple):
    version: str
    requires: tuple[str, ...]
    license: str | None


def bill_of_materials(archives: Mapping[str, str]) -> dict[str, Any]:
    """Bill of materials of a release: this package, its installed requirements, and the archives.

    The same installation gives the same content, since it contains no times or random numbers.

    Parameters
    ----------
    archives
        SHA-256 of each archive of the release by its name.
    """
    installed = _required(PACKAGE)
    root = _reference(PACKAGE, _distribution(PACKAGE).version)
    libraries = [_library(name) for name in sorted(installed) if name != PACKAGE]
    files = [
        {"type": "file", "bom-ref": name, "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
        for name, digest in sorted(archives.items())
    ]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {**_library(PACKAGE), "type": "application"}},
        "components": [*files, *libraries],
        "dependencies": [
            {"ref": root if name == PACKAGE else _reference(name, _distribution(name).version), "dependsOn": sorted(
                _reference(other, _distribution(other).version) for other in installed[name]
            )}
            for name in sorted(installed)
        ],
    }  # fmt: skip


def _required(start: str) -> dict[str, set[str]]:
    """Installed distributions that ``start`` requires, directly or indirectly, each with its own requirements."""
    found: dict[str, set[str]] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found[name] = set()
        for line in _distribution(name).requires:
            requirement, _, marker = line.partition(";")
            matched = _REQUIREMENT.match(requirement.strip())
            if matched is None or "extra" in marker:
                continue
            other = _normalized(matched[0])
            if _is_installed(other):
                found[name].add(other)
                waiting.append(other)
    return found


def _library(name: str) -> dict[str, Any]:
    version = _distribution(name).version
    reference = _reference(name, version)
    component: dict[str, Any] = {
        "type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference
    }  # fmt: skip
    if (license_expression := _distribution(name).license) is not None:
        component["licenses"] = [{"expression": license_expression}]
    return component


def _reference(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version.replace('+', '%2B')}"


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_installed(name: str) -> bool:
    try:
        _distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


@functools.cache
def _distribution(name: str) -> _Distribution:
    """What is read of an installed distribution; parsing its metadata takes milliseconds each time."""
    found = metadata.distribution(name)
    expressions = found.metadata.get_all("License-Expression") or [None]
    return _Distribution(found.version, tuple(found.requires or ()), expressions[0])
