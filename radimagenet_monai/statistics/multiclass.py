"""The usual results of a classifier of many classes: top-k, balanced accuracy, AUCs, results per class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.auc.discrimination import Method, patient_clusters
from radimagenet_monai.statistics.auc.inference import AucEstimate, infer_auc
from radimagenet_monai.statistics.proportions import Proportion, share_of

_MOST_CLASSES_SHOWN = 20


@dataclass(frozen=True)
class ClassEvaluation:
    """One class against all others.

    ``recall`` is the share of the class's images that are predicted as it, ``precision`` the share of the images
    predicted as it that belong to it. ``auc`` has an interval on the logit scale.
    """

    name: str
    images: int
    recall: Proportion
    precision: Proportion
    auc: AucEstimate


@dataclass(frozen=True)
class MulticlassEvaluation:
    """Accuracy and discrimination over several classes.

    Attributes
    ----------
    images, classes, classes_present
        Numbers of images, of classes, and of classes with at least one image.
    patients
        Number of patients; ``None`` if unknown.
    top1, top5
        Share of images whose class is the most probable one, or among the five most probable; ``top5`` is ``None`` for
        five classes or fewer. Wilson intervals, over patients if a patient has several images.
    balanced_accuracy
        Mean recall of the classes present.
    auc_macro
        Mean of the areas under the ROC curve of each class against the others, over the classes that have one.
    auc_method
        Method of the AUCs' intervals: DeLong for independent images, Obuchowski if a patient has several.
    per_class
        In index order.
    confusion
        ``confusion[i][j]`` images of class i were predicted as j; ``None`` for more than 20 classes.
    notes
        Limitations of the numbers, one sentence each.
    """

    images: int
    patients: int | None
    classes: int
    classes_present: int
    confidence: float
    top1: Proportion
    top5: Proportion | None
    balanced_accuracy: float
    auc_macro: float | None
    auc_method: Method
    per_class: tuple[ClassEvaluation, ...]
    confusion: list[list[int]] | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionary for JSON without NaN."""
        return {**asdict(self), "notes": list(self.notes), "per_class": [asdict(item) for item in self.per_class]}


def top_k_correct(labels: ArrayLike, probabilities: ArrayLike, k: int) -> np.ndarray:
    """Whether each image's class is among its ``k`` most probable ones.

    A class that ties with the k-th counts only if fewer than ``k`` other classes are at least as probable, so a network
    that gives every class the same probability is never correct.

    Parameters
    ----------
    labels
        ``(n,)`` class indices.
    probabilities
        ``(n, classes)``.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` booleans.
    """
    indices, values = _checked(labels, probabilities)
    own = values[np.arange(indices.size), indices]
    return (values >= own[:, None]).sum(axis=1) <= k


def class_aucs(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """Area under the ROC curve of each class against all others, ties counted half.

    Returns
    -------
    numpy.ndarray
        ``(classes,)``; NaN if a class has no images, or all of them.
    """
    indices, values = _checked(labels, probabilities)
    areas = np.full(values.shape[1], np.nan)
    for number in np.unique(indices):
        positive = indices == number
        m, n = int(positive.sum()), int((~positive).sum())
        if n:
            ranks = rankdata(values[:, number])
            areas[number] = (ranks[positive].sum() - m * (m + 1) / 2) / (m * n)
    return areas


def balanced_accuracy(labels: ArrayLike, decisions: ArrayLike) -> float:
    """Mean recall of the classes that have images."""
    indices, called = np.asarray(labels), np.asarray(decisions)
    return float(np.mean([(called[indices == number] == number).mean() for number in np.unique(indices)]))


def evaluate_multiclass(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    patient_ids: Sequence[str | None] | None = None,
    confidence: float = 0.95,
) -> MulticlassEvaluation:
    """Evaluate probabilities of exclusive classes.

    Parameters
    ----------
    labels
        ``(n,)`` class indices.
    probabilities
        ``(n, classes)`` in [0, 1].
    classes
        Names in index order.
    patient_ids
        ``(n,)``; see `radimagenet_monai.statistics.classification.evaluate_binary`.
    confidence
        Confidence level of the intervals.

    Raises
    ------
    RadImageNetError
        For shapes that do not match or labels outside the classes.
    """
    indices, values = _checked(labels, probabilities)
    if values.shape[1] != len(classes):
        raise RadImageNetError(f"probabilities of {values.shape[1]} classes were given; expected {len(classes)}")
    called = values.argmax(axis=1)
    present = np.unique(indices)
    notes = []
    if present.size < len(classes):
        notes.append(
            f"{len(classes) - present.size} of {len(classes)} classes have no image; means are over the others."
        )
    clusters, method = patient_clusters(patient_ids, indices.size)
    if method.note:
        notes.append(method.note)

    def proportion(outcomes: np.ndarray, among: np.ndarray) -> Proportion:
        return share_of(outcomes, among, clusters, confidence)

    correct, everything = called == indices, np.ones(indices.size, dtype=bool)
    per_class = tuple(
        ClassEvaluation(
            name=str(name),
            images=int((indices == number).sum()),
            recall=proportion(correct, indices == number),
            precision=proportion(correct, called == number),
            auc=infer_auc(indices == number, values[:, number], clusters, confidence, "logit"),
        )
        for number, name in enumerate(classes)
    )
    areas = [item.auc.auc for item in per_class if item.auc.auc is not None]
    confusion = None
    if len(classes) <= _MOST_CLASSES_SHOWN:
        table = np.zeros((len(classes), len(classes)), np.int64)
        np.add.at(table, (indices, called), 1)
        confusion = table.tolist()
    return MulticlassEvaluation(
        images=int(indices.size),
        patients=method.patients,
        classes=len(classes),
        classes_present=int(present.size),
        confidence=confidence,
        top1=proportion(correct, everything),
        top5=proportion(top_k_correct(indices, values, 5), everything) if len(classes) > 5 else None,
        balanced_accuracy=balanced_accuracy(indices, called),
        auc_macro=float(np.mean(areas)) if areas else None,
        auc_method=method,
        per_class=per_class,
        confusion=confusion,
        notes=tuple(notes),
    )


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    indices, values = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if indices.ndim != 1 or values.ndim != 2 or len(indices) != len(values) or not len(indices):
        raise RadImageNetError(
            f"labels of shape {indices.shape} and probabilities of shape {values.shape} were given; expected (n,) and "
            "(n, classes) with at least one image"
        )
    if indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= values.shape[1]:
        raise RadImageNetError(f"labels must be class indices from 0 to {values.shape[1] - 1}")
    if not np.isfinite(values).all():
        raise RadImageNetError("probabilities hold NaN or infinity; the network's output is not usable")
    return indices, values
