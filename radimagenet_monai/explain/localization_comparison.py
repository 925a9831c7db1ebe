"""Compare how well the maps of two networks point at the lesions, on the same cases."""

from __future__ import annotations

import numpy as np
import pandas as pd

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.explain.localization import MEASURES
from radimagenet_monai.statistics.resampling.paired_cases import CaseComparison, compare_cases

# Tables on disk hold six digits.
_SAME_SHARE = 2e-6


def compare_localization(
    first: pd.DataFrame, second: pd.DataFrame, confidence: float = 0.95, repeats: int = 2000, seed: int = 0
) -> dict[str, CaseComparison]:
    """Paired comparison of two tables of cases.

    Mei et al. 2022 compare Dice in this way, with a test they do not name; here it is the sign-flip test over patients
    and the patient bootstrap of `compare_cases`. The four measures are one family: adjust their p-values (`holm`), or
    choose one of them beforehand.

    Parameters
    ----------
    first, second
        Tables of two networks on one records table, from `radimagenet_monai.explain.bundle_maps.localize` or
        ``localization.csv``. The cases counted in both are compared.
    confidence, repeats, seed
        As for `compare_cases`.

    Returns
    -------
    dict
        ``pointing`` (hits), ``energy``, ``dice`` and ``iou``; the difference is first minus second.

    Raises
    ------
    RecordsError
        If the tables have different cases, or no records to pair them by.
    """
    tables = []
    for table in (first, second):
        if table["record"].isna().any():
            raise RecordsError("a table without record numbers cannot be paired; localize images of a records table")
        tables.append(table[table["counted"].astype(bool)])
    pairs = tables[0].merge(tables[1], on="record", suffixes=("_1", "_2"), validate="one_to_one")
    if pairs.empty and not all(table.empty for table in tables):
        raise RecordsError("the two tables have no case in common; localize the same part of the same records table")
    apart = np.abs(pairs["lesion_share_1"].astype(float) - pairs["lesion_share_2"].astype(float)) > _SAME_SHARE
    if apart.any() or (pairs["file_1"] != pairs["file_2"]).any():
        raise RecordsError(
            "the two tables hold different lesions under the same record numbers; localize the same records table"
        )
    patients = pairs["patient_1"].astype(object).where(pairs["patient_1"].notna(), None).tolist()

    def values(measure: str, number: int) -> np.ndarray:
        column = pairs[f"{measure}_{number}"].to_numpy(dtype=np.float64)
        return (column >= 0.5).astype(np.float64) if measure == "pointing" else column

    return {
        measure: compare_cases(values(measure, 1), values(measure, 2), patients, confidence, repeats, seed)
        for measure in MEASURES
    }
