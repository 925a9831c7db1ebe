"""Findings that may occur together: each evaluated against its absence, on the images where it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.classification import BinaryEvaluation, evaluate_binary


def evaluate_findings(
    labels: ArrayLike,
    probabilities: ArrayLike,
    findings: Sequence[str],
    thresholds: Mapping[str, float],
    patient_ids: Sequence[str | None] | None = None,
    confidence: float = 0.95,
) -> dict[str, BinaryEvaluation | None]:
    """Evaluate the probabilities of several findings.

    Parameters
    ----------
    labels
        ``(n, findings)``: 1 present, 0 absent, NaN unknown.
    probabilities
        ``(n, findings)`` in [0, 1].
    findings
        Names in order.
    thresholds
        Threshold of each finding; choose them on validation data.
    patient_ids, confidence
        As for `evaluate_binary`.

    Returns
    -------
    dict
        Evaluation of each finding by name; ``None`` if it is not known for any image.

    Raises
    ------
    RadImageNetError
        For shapes that do not match.
    """
    truth, values = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 2 or truth.shape[1] != len(findings):
        raise RadImageNetError(
            f"labels of shape {truth.shape} and probabilities of shape {values.shape} were given; expected (n, "
            f"{len(findings)}) each"
        )
    evaluations: dict[str, BinaryEvaluation | None] = {}
    for number, name in enumerate(findings):
        known = ~np.isnan(truth[:, number])
        patients = None if patient_ids is None else [patient_ids[row] for row in np.flatnonzero(known).tolist()]
        evaluations[name] = (
            evaluate_binary(
                truth[known, number].astype(int), values[known, number], thresholds[name], patients, confidence
            )
            if known.any()
            else None
        )
    return evaluations


def findings_to_dict(evaluations: Mapping[str, BinaryEvaluation | None]) -> dict[str, Any]:
    """For JSON."""
    return {name: None if item is None else item.to_dict() for name, item in evaluations.items()}
