"""Fill the split and fold columns of a records table if the dataset's files do not give them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from radimagenet_monai.datasets.records.splits import DEFAULT_FRACTIONS, assign_folds, assign_splits

DEFAULT_FOLDS = 5


def divide(
    frame: pd.DataFrame,
    notes: list[str],
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int = DEFAULT_FOLDS,
) -> pd.DataFrame:
    """Assign a split and a fold to every row, by patient and stratified by label.

    Parameters
    ----------
    frame
        Table with ``label`` and ``patient_id`` filled. A non-empty ``split`` or ``fold`` column comes from the dataset
        and is kept.
    notes
        Receives a sentence if folds are impossible because a class has fewer patients than folds.
    seed, fractions, folds
        As for `assign_splits` and `assign_folds`; ``folds=0`` leaves the column empty.

    Returns
    -------
    pandas.DataFrame
        A new table.

    Raises
    ------
    RecordsError
        If a class has fewer patients than splits, or a patient id is empty.
    """
    frame = frame.copy(deep=False)
    if not _is_given(frame, "split"):
        frame["split"] = assign_splits(frame["label"], frame["patient_id"], fractions, seed)
    if folds and not _is_given(frame, "fold"):
        patients = frame.groupby("label", sort=True)["patient_id"].nunique()
        if patients.min() >= folds:
            frame["fold"] = assign_folds(frame["label"], frame["patient_id"], folds, seed)
        else:
            notes.append(
                f"no folds were assigned: class '{patients.idxmin()}' has {patients.min()} patients and {folds} folds "
                "were wanted"
            )
    return frame


def _is_given(frame: pd.DataFrame, column: str) -> bool:
    if column not in frame.columns:
        return False
    values = frame[column]
    return bool((values.notna() & (values.astype(str) != "")).any())
