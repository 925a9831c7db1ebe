"""Every file that pydicom and the pydicom-data wheel ship for tests, where they are installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def pydicom_files() -> dict[str, Path]:
    """Files by a name that does not depend on the machine: ``pydicom/...`` and ``pydicom-data/...``."""
    folders = {"pydicom": _package("pydicom") / "data" / "test_files", "pydicom-data": _package("data_store") / "data"}
    return {
        f"{name}/{file.relative_to(folder).as_posix()}": file
        for name, folder in folders.items()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None, f"{name} is not installed"
    assert spec.origin is not None, f"{name} has no files"
    return Path(spec.origin).parent
