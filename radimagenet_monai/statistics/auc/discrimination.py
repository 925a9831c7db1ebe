"""Area under the ROC curve with the variance that fits the data: over patients if one has several images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from radimagenet_monai.statistics.auc.delong import compare_aucs, estimate_auc
from radimagenet_monai.statistics.auc.inference import AucComparison, AucEstimate
from radimagenet_monai.statistics.patient_numbers import number_patients
from radimagenet_monai.statistics.predictions import check_labels


@dataclass(frozen=True)
class Method:
    """How an AUC's variance was found.

    Attributes
    ----------
    name
        ``"DeLong"`` for independent images, ``"Obuchowski"`` if a patient has several.
    clusters
        Number of clusters (patients, and images of unknown patients); ``None`` if images are independent.
    patients
        Number of patients; ``None`` if the patient of any image is unknown.
    note
        A sentence about what is known of the patients; empty if every image has its own known patient.
    """

    name: Literal["DeLong", "Obuchowski"]
    clusters: int | None
    patients: int | None
    note: str


def patient_clusters(patient_ids: Sequence[str | None] | None, count: int) -> tuple[np.ndarray | None, Method]:
    """The cluster of each of ``count`` images, and the method that follows from them.

    Parameters
    ----------
    patient_ids
        ``(count,)``; ``None``, empty text and NaN are unknown, and each such image counts as a separate patient.
    count
        Number of images.

    Returns
    -------
    clusters
        ``(count,)`` indices from 0; ``None`` if no known patient has several images.
    method
        Method for the AUC's variance.

    Raises
    ------
    RadImageNetError
        If the numbers of patient ids and images differ.
    """
    clusters = number_patients(patient_ids, count)
    number = int(clusters.max(initial=-1)) + 1
    unknown = count if patient_ids is None else sum(_is_unknown(name) for name in patient_ids)
    if unknown == count:
        note = "Patients are unknown; intervals take images for independent, too narrow if patients have several."
    elif unknown:
        note = f"The patients of {unknown} of {count} images are unknown; these images count as patients of their own."
    else:
        note = ""
    patients = None if unknown else number
    if number == count:
        return None, Method("DeLong", None, patients, note)
    known = f"{count - unknown} images are of {number - unknown} patients; intervals and tests are over patients."
    return clusters, Method("Obuchowski", number, patients, f"{known} {note}".strip())


def estimate_discrimination(
    labels: ArrayLike,
    scores: ArrayLike,
    patient_ids: Sequence[str | None] | None = None,
    confidence: float = 0.95,
) -> tuple[AucEstimate, Method]:
    """AUC of one model with an interval on the logit scale, over patients if a patient has several images.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    scores
        ``(n,)``, higher for the positive class.
    patient_ids
        ``(n,)``; see `patient_clusters`.
    confidence
        Confidence level of the interval.

    Raises
    ------
    RadImageNetError
        If labels or scores are invalid or differ in length.
    """
    clusters, method = patient_clusters(patient_ids, check_labels(labels).size)
    return estimate_auc(labels, scores, confidence, clusters=clusters), method


def compare_discrimination(
    labels: ArrayLike,
    scores: Mapping[str, ArrayLike],
    patient_ids: Sequence[str | None] | None = None,
    confidence: float = 0.95,
) -> tuple[AucComparison, Method]:
    """Paired test of the AUCs of two or more models, over patients if a patient has several images.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    scores
        Model name to ``(n,)`` scores, all in the order of ``labels``.
    patient_ids
        ``(n,)``; see `patient_clusters`.
    confidence
        Confidence level of the intervals of the differences.

    Raises
    ------
    RadImageNetError
        For fewer than two models, a single class, or labels or scores that are invalid or differ in length.
    """
    clusters, method = patient_clusters(patient_ids, check_labels(labels).size)
    return compare_aucs(labels, scores, confidence, clusters), method


def _is_unknown(name: object) -> bool:
    return name is None or name == "" or name != name
