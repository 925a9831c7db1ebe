"""Find a records table and the folder that its relative paths start from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.records.table import RECORDS_FILE, missing_files
from radimagenet_monai.datasets.registry import SUMMARY_FILE

_SAMPLED = 200  # images looked up to check whether paths start from a folder


def table_of(records: str | os.PathLike[str]) -> Path:
    """The table itself, or the table in a folder."""
    path = Path(records)
    return path / RECORDS_FILE if path.is_dir() else path


def root_of(path: Path, frame: pd.DataFrame, root: str | os.PathLike[str] | None) -> Path:
    """The given folder, or the first likely one that holds any image of the table.

    Parameters
    ----------
    path
        Path of the table.
    frame
        Content of the table.
    root
        Folder given by the user. By default the folder named in ``summary.json`` beside the table, as written by
        ``radimagenet prepare``, or else the table's own folder.

    Raises
    ------
    RecordsError
        If none of the images are found.
    """
    images = frame["image"].iloc[:: max(1, len(frame) // _SAMPLED)].tolist()
    folders = [Path(root)] if root is not None else [*_noted_root(path), path.parent]
    for folder in folders:
        paths = [os.path.join(folder, image) for image in images]
        if len(missing_files(paths)) < len(paths):
            return folder
    tried = " or ".join(f"'{folder}'" for folder in folders)
    raise RecordsError(
        f"{path}: none of its images are under {tried}; give --root, the folder that its paths start from"
    )


def _noted_root(path: Path) -> list[Path]:
    try:
        noted = json.loads((path.parent / SUMMARY_FILE).read_text(encoding="utf-8"))["root"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [Path(noted)] if isinstance(noted, str) else []
