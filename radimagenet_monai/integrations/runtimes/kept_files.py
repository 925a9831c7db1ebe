"""Exported models, kept in ``runtimes/`` beside the model they were made from.

A folder is made under another name and renamed when it is complete, so it is whole or absent, even after a kill. It
holds ``export.json`` with the SHA-256 of each of its files. Its name contains that of the model file, so an export of
an earlier model is never found.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from radimagenet_monai.core.atomic import atomic_write_text, read_json_if_whole, scratch_folder
from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.core.file_hash import file_digest

logger = logging.getLogger(__name__)

FOLDER = "runtimes"
EXPORT_JSON = "export.json"

Write = Callable[[Path], dict[str, Any]]
"""Writes an export into a folder and returns facts about it in JSON values."""


def model_digest(checkpoint: str | os.PathLike[str]) -> str:
    """SHA-256 of a model file.

    Raises
    ------
    WeightsError
        If it cannot be read.
    """
    try:
        return file_digest(checkpoint)
    except OSError as error:
        raise WeightsError(
            f"{checkpoint} cannot be read ({error.strerror}); train the bundle first, or give the path of trained "
            "weights"
        ) from None


def kept_folder(checkpoint: str | os.PathLike[str], name: str, *made_from: object) -> Path:
    """Where the export of a model is kept.

    Parameters
    ----------
    checkpoint
        The model file.
    name
        Name of the runtime.
    made_from
        Everything else that the export depends on, such as the size of its input.
    """
    digest = hashlib.sha256(repr((model_digest(checkpoint), *made_from)).encode()).hexdigest()
    return Path(checkpoint).parent / FOLDER / f"{name}-{digest[:32]}"


def is_whole(folder: Path) -> bool:
    """Whether the folder holds an export with the files and hashes that its ``export.json`` states."""
    files = facts_of(folder).get("files")
    if not isinstance(files, dict) or not files:
        return False
    try:
        return all(Path(name).name == name and file_digest(folder / name) == sum for name, sum in files.items())
    except OSError:
        return False


def facts_of(folder: Path) -> dict[str, Any]:
    """``export.json`` of a kept export; empty if there is none that can be read."""
    try:
        return read_json_if_whole(folder / EXPORT_JSON)
    except OSError:
        return {}


@contextlib.contextmanager
def export(folder: Path, write: Write) -> Iterator[tuple[Path, bool]]:
    """A folder with an export for the time of the block, and whether it was there before.

    If it cannot be kept, for example in a read-only bundle, it is made in a temporary folder.
    """
    if is_whole(folder):
        yield folder, True
        return
    try:
        keep(folder, write)
    except OSError as error:
        logger.info("the exported model is not kept, so each run makes it again: %s", error)
    else:
        yield folder, False
        return
    with tempfile.TemporaryDirectory() as scratch:
        _complete(Path(scratch), write)
        yield Path(scratch), False


def keep(folder: Path, write: Write) -> None:
    """Write an export to ``folder``, replacing one that is not whole.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    folder.parent.mkdir(exist_ok=True)
    with scratch_folder(folder.parent, folder.name) as scratch:
        made = scratch / "export"
        made.mkdir()
        _complete(made, write)
        try:
            made.rename(folder)
        except OSError:  # of another process that was faster, or damaged
            if is_whole(folder):
                return
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)


def discard(folder: Path) -> None:
    """Remove an export, if there is one: first its name, so that no half of it is found."""
    if folder.exists():
        with scratch_folder(folder.parent, folder.name) as scratch:
            folder.rename(scratch / "export")


def _complete(folder: Path, write: Write) -> None:
    facts = write(folder)
    files: Sequence[str] = sorted(path.name for path in folder.iterdir())
    text = json.dumps({**facts, "files": {name: file_digest(folder / name) for name in files}}, indent=1)
    atomic_write_text(folder / EXPORT_JSON, text + "\n")
