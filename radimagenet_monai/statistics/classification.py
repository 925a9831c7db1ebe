"""The usual results of a binary classification study, from labels and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radimagenet_monai.statistics.auc.discrimination import Method, patient_clusters
from radimagenet_monai.statistics.auc.inference import AucEstimate, infer_auc
from radimagenet_monai.statistics.auc.roc import average_precision
from radimagenet_monai.statistics.predictions import check_labels, check_scores
from radimagenet_monai.statistics.proportions import OperatingPoint, operating_point


@dataclass(frozen=True)
class BinaryEvaluation:
    """Discrimination, operating point and accuracy of probabilities on one set of images.

    Attributes
    ----------
    images, positives, negatives
        Numbers of images.
    patients
        Number of patients; ``None`` if unknown.
    confidence
        Confidence level of all intervals.
    auc
        With an interval on the logit scale.
    auc_method
        DeLong for independent images, Obuchowski if a patient has several.
    operating_point
        Counts, sensitivity, specificity, predictive values and accuracy with Wilson intervals, over patients if a
        patient has several images.
    balanced_accuracy, average_precision
        ``None`` if a class is absent.
    brier
        Mean squared difference of probability and label, 0 at best.
    notes
        Limitations of the numbers, one sentence each.
    """

    images: int
    positives: int
    negatives: int
    patients: int | None
    confidence: float
    auc: AucEstimate
    auc_method: Method
    operating_point: OperatingPoint
    balanced_accuracy: float | None
    average_precision: float | None
    brier: float
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionary of numbers, strings, lists and ``None``, for JSON without NaN."""
        return {**asdict(self), "notes": list(self.notes)}


def evaluate_binary(
    labels: ArrayLike,
    probabilities: ArrayLike,
    threshold: float,
    patient_ids: Sequence[str | None] | None = None,
    confidence: float = 0.95,
) -> BinaryEvaluation:
    """Evaluate the probabilities of the positive class.

    Parameters
    ----------
    labels
        ``(n,)``, 1 for the positive class, otherwise 0.
    probabilities
        ``(n,)`` probabilities of the positive class, in [0, 1].
    threshold
        An image at or above it is called positive; choose it on validation data.
    patient_ids
        ``(n,)``; ``None`` and empty text are unknown. If a patient has several images, all intervals are over patients,
        and a note says so.
    confidence
        Confidence level of the intervals.

    Raises
    ------
    RadImageNetError
        If labels or probabilities are invalid or differ in length.
    """
    positive = check_labels(labels)
    values = check_scores(probabilities, positive.size, probabilities=True)
    clusters, method = patient_clusters(patient_ids, positive.size)
    auc = infer_auc(positive, values, clusters, confidence, scale="logit")
    point = operating_point(positive, values, threshold, confidence, clusters)
    notes = []
    if auc.reason:
        notes.append(f"The AUC {'is' if auc.auc is None else 'interval is'} not estimable: {auc.reason}.")
    if method.note:
        notes.append(method.note)
    return BinaryEvaluation(
        images=int(positive.size),
        positives=auc.positives,
        negatives=auc.negatives,
        patients=method.patients,
        confidence=confidence,
        auc=auc,
        auc_method=method,
        operating_point=point,
        balanced_accuracy=point.balanced_accuracy,
        average_precision=None if auc.auc is None else average_precision(positive, values),
        brier=float(np.mean((values - positive) ** 2)),
        notes=tuple(notes),
    )
