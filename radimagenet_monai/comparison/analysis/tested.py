"""The tested patients of each class, and whether there are enough to claim anything."""

from __future__ import annotations

from typing import Any

import numpy as np

from radimagenet_monai.comparison.analysis.finished import Runs, paired
from radimagenet_monai.comparison.analysis.predictions import patients_of
from radimagenet_monai.report.wording import count
from radimagenet_monai.statistics.patient_numbers import number_patients
from radimagenet_monai.statistics.predictions import known_labels
from radimagenet_monai.statistics.subgroups import SMALLEST

FEWEST_OF_A_CLASS = SMALLEST
FEWEST_IN_ALL = 20
"""Patients (images or exams, where patients are unknown) below which a difference is described and not tested."""


def tested_by_pair(runs: Runs, architecture: str, first: str, second: str, fraction: float) -> dict[str, Any]:
    """Patients on whom both initializations were tested, over the folds.

    Returns
    -------
    dict
        ``unit`` (``"patient"``, or ``"image"`` or ``"exam"`` if a patient is unknown), ``total``, and ``per_class``,
        name to number; a patient with images of several classes counts in each.
    """
    rows, labels = [], []
    for fold in runs.folds():
        pairs, common = paired(runs, architecture, first, second, fold, fraction)
        if pairs:
            rows.append(common)
            labels.append(known_labels(pairs[0][1]))
    found = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
    of_class = np.concatenate(labels) if labels else np.empty(0, dtype=np.int64)
    patients = patients_of(runs.frame)
    known = patients is not None and all(patients[row] for row in found)
    units = number_patients(patients, len(runs.frame))[found] if known else found
    unit = "patient" if known else "exam" if runs.plan.aggregate != "none" else "image"
    return {
        "unit": unit,
        "total": int(np.unique(units).size),
        "per_class": {
            name: int(np.unique(units[of_class == place]).size) for place, name in enumerate(runs.plan.classes)
        },
    }


def why_too_few(tested: dict[str, Any]) -> str | None:
    """Why no difference between two initializations can be claimed, in words; ``None`` if there are enough patients."""
    if tested["total"] >= FEWEST_IN_ALL and min(tested["per_class"].values()) >= FEWEST_OF_A_CLASS:
        return None
    listed = "; ".join(f"{name}: {count(many, tested['unit'])}" for name, many in tested["per_class"].items())
    return f"{listed}; a comparison needs at least {FEWEST_OF_A_CLASS} of each class and {FEWEST_IN_ALL} in all"
