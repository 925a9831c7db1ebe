"""Turn your own chest CT for the COVID-19 task, described by a CSV table, into records.

The cohort of the RadImageNet paper is private. Instead, provide a table ``labels.csv`` with ``filename,label``
(positive or negative) and, if patients are known, a column ``patient``: one row per series folder, volume or slice, in
any format that `radimagenet_monai.io.read_image` reads. The paper used 10 slices per patient without saying which; here
they are the central ones.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from radimagenet_monai.catalog.datasets import Certainty, Count, Dataset
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.readers.csv_table import read_csv
from radimagenet_monai.datasets.records.split_columns import DEFAULT_FOLDS
from radimagenet_monai.datasets.records.splits import DEFAULT_FRACTIONS
from radimagenet_monai.datasets.records.summary import summarize
from radimagenet_monai.datasets.tables.text_table import read_text_table

DATASET = Dataset(
    name="covid19_ct",
    title="COVID-19 CT (private cohort of the authors)",
    access="Not public: bring your own data as a records table.",
    terms="Your own.",
    format="CSV filename,label with positive/negative",
    counts={"images": Count(9_050, Certainty.REMEMBERED)},
    own=True,  # the cohort is private: users of this reader have their own images
)

DATASET_FOLDER = "covid19_ct"
TABLE_FILE = "labels.csv"
CLASSES = ("negative", "positive")
SLICES = "central:10"
PAPER_IMAGES = DATASET.counts["images"].value
"""Slices of the paper's private cohort, about (from memory, not verified)."""

_COLUMNS = {"filename", "label"}


def looks_like_covid19_ct(root: str | os.PathLike[str]) -> bool:
    """Whether ``root``, or ``covid19_ct`` in it, holds a table ``labels.csv`` with ``filename`` and ``label``."""
    return _find_folder(Path(root)) is not None


def read_covid19_ct(
    root: str | os.PathLike[str],
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int = DEFAULT_FOLDS,
    progress: bool = True,
    csv: str = "",
    slices: str = SLICES,
    missing: str = "error",
    patient_from_header: bool = False,
    patient_salt: str = "",
    hash_files: bool = False,
) -> pd.DataFrame:
    """Read a table of COVID-19 CT images as records, one row per slice.

    Parameters
    ----------
    root
        Folder that the table's paths are relative to, or the parent of a folder ``covid19_ct``.
    seed, fractions, folds
        Random seed, shares and number of folds, see `radimagenet_monai.datasets.records.splits`; a column ``split`` is
        kept.
    progress
        Whether to show progress bars on a terminal.
    csv
        Path of the table; by default ``labels.csv`` in ``root``.
    slices
        Slices to take from series and volumes, see `radimagenet_monai.datasets.records.slices.choose_slices`.
    missing, patient_from_header, patient_salt, hash_files
        See `radimagenet_monai.datasets.readers.csv_table.read_csv`.

    Returns
    -------
    pandas.DataFrame
        A records table in the table's order with labels ``negative`` and ``positive``, also read from 0 and 1, or no
        and yes. ``exam`` names the series or volume. ``attrs["notes"]`` describes anomalies.

    Raises
    ------
    RecordsError
        If there is no such table, it names missing files, or a class has fewer patients than splits.
    ConfigurationError
        For unknown options and ambiguous columns.
    """
    root = Path(root)
    folder = _find_folder(root)
    if folder is None:
        if not csv:
            state = "is not a folder" if not root.is_dir() else f"does not hold {TABLE_FILE} with filename,label"
            raise RecordsError(f"'{root}' {state}; write one row a series or slice, or name the table with --csv FILE")
        folder = root
    frame = read_csv(
        folder,
        seed,
        fractions,
        folds,
        progress,
        csv=csv or str(folder / TABLE_FILE),
        classes=CLASSES,
        missing=missing,
        slices=slices,
        patient_from_header=patient_from_header,
        patient_salt=patient_salt,
        hash_files=hash_files,
    )
    if folder != root:
        prefix = folder.relative_to(root).as_posix()
        frame["image"] = [path if Path(path).is_absolute() else f"{prefix}/{path}" for path in frame["image"]]
    return frame


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Count a table of `read_covid19_ct`; the paper's private cohort has no counts to compare with."""
    return summarize(frame, {}, {}, images_in_the_paper=PAPER_IMAGES)


def _find_folder(root: Path) -> Path | None:
    for folder in (root, root / DATASET_FOLDER):
        if not (folder / TABLE_FILE).is_file():
            continue
        try:
            columns = {str(column).strip().lower() for column in read_text_table(folder / TABLE_FILE).columns}
        except RecordsError:
            continue
        if columns >= _COLUMNS:
            return folder
    return None
