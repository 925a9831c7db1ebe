"""Small synthetic studies in the on-disk formats of the real datasets."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from radimagenet_monai.catalog.datasets import DATASETS
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.registry import resolve
from radimagenet_monai.phantoms.writing import Rehearsal

PHANTOMS: dict[str, str] = {
    path.stem: f"{__name__}.{path.stem}:write_{path.stem}_phantom"
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if f"\ndef write_{path.stem}_phantom(" in path.read_text(encoding="utf-8")
}
"""Name of a phantom to its writer, as ``module:function``: what a file ``NAME.py`` of this folder calls
``write_NAME_phantom``. The module is imported on first use only."""


def write_phantom(name: str, out: str | os.PathLike[str], **options: Any) -> Path:
    """Write the phantom of the dataset ``name`` under ``out``; returns the folder to prepare records from.

    Raises
    ------
    ConfigurationError
        For an unknown name or option, and for the reasons stated by the writer.
    """
    write = phantom_writer(name)
    known = [option for option in inspect.signature(write).parameters if option != "out"]
    for option in options:
        if option not in known:
            raise ConfigurationError(f"phantom '{name}' has no option '{option}'; it has {', '.join(known)}")
    folder: Path = write(out, **options)
    return folder


def phantom_writer(name: str) -> Callable[..., Any]:
    """The function that writes the phantom of the dataset ``name``.

    Raises
    ------
    ConfigurationError
        For an unknown name.
    """
    writers = PHANTOMS | {item.name: item.phantom for item in DATASETS.values() if item.phantom}
    if name not in writers:
        raise ConfigurationError(f"phantom '{name}' is unknown; expected one of {', '.join(writers)}")
    writer: Callable[..., Any] = resolve("", writers[name])
    return writer


def rehearsal_of(name: str) -> Rehearsal:
    """The ``REHEARSAL`` in the module of a dataset's phantom.

    Raises
    ------
    ConfigurationError
        If there is no phantom, or none to rehearse with.
    """
    rehearsal: Rehearsal = resolve(phantom_writer(name).__module__, "REHEARSAL")
    return rehearsal
