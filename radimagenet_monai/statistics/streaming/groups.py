"""Where errors go: within and between groups of classes, such as regions of the body or modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.statistics.proportions import Proportion, wilson


@dataclass(frozen=True)
class GroupEvaluation:
    """The images of a group of classes.

    Attributes
    ----------
    name
        Name of the group.
    images, classes, classes_present
        Numbers of its images, of its classes, and of those with an image.
    top1, top5
        Share of images whose class is the most probable of all classes, or among the five most probable.
    balanced_accuracy
        Mean recall of its classes that have an image; ``None`` if none has.
    called_inside
        Share of images that are called a class of the group, right or wrong.
    errors_inside
        Share of the group's wrongly classified images that are called another class of the group.
    """

    name: str
    images: int
    classes: int
    classes_present: int
    top1: Proportion
    top5: Proportion | None
    balanced_accuracy: float | None
    called_inside: Proportion
    errors_inside: Proportion


@dataclass(frozen=True)
class ConfusedPair:
    """``images`` of class ``true`` that were called ``called``: ``share`` of the images of class ``true``."""

    true: str
    called: str
    images: int
    share: float


def evaluate_groups(
    confusion: np.ndarray,
    top1: np.ndarray,
    top5: np.ndarray | None,
    groups: Sequence[str],
    confidence: float = 0.95,
) -> tuple[GroupEvaluation, ...]:
    """Evaluate each group of classes.

    Parameters
    ----------
    confusion
        ``(classes, classes)`` images of a true class (row) called a class (column).
    top1, top5
        ``(classes,)`` images of each class that count as correct.
    groups
        ``(classes,)`` name of each class's group.
    confidence
        Confidence level of the Wilson intervals.

    Returns
    -------
    tuple of GroupEvaluation
        In the order in which the groups first occur.
    """
    found, names = [], np.array(groups)
    for name in dict.fromkeys(groups):
        inside = names == name
        rows = confusion[inside]
        images, right = rows.sum(axis=1), confusion.diagonal()[inside]
        present = images > 0
        total, stayed = int(images.sum()), int(rows[:, inside].sum())
        correct = int(right.sum())
        found.append(
            GroupEvaluation(
                name=name,
                images=total,
                classes=int(inside.sum()),
                classes_present=int(present.sum()),
                top1=wilson(int(top1[inside].sum()), total, confidence),
                top5=None if top5 is None else wilson(int(top5[inside].sum()), total, confidence),
                balanced_accuracy=float(np.mean(right[present] / images[present])) if present.any() else None,
                called_inside=wilson(stayed, total, confidence),
                errors_inside=wilson(stayed - correct, total - correct, confidence),
            )
        )
    return tuple(found)


def most_confused(confusion: np.ndarray, classes: Sequence[str], most: int) -> tuple[ConfusedPair, ...]:
    """The ``most`` most confused pairs of classes; ties in order of class index."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    images = confusion.sum(axis=1)
    return tuple(
        ConfusedPair(str(classes[true]), str(classes[called]), count, count / int(images[true]))
        for true, called in (divmod(place, len(classes)) for place in order.tolist())
        if (count := int(wrong[true, called]))
    )


def radimagenet_groups(classes: Sequence[str]) -> dict[str, list[str]]:
    """Modality and region of each class, for `evaluate_groups`; empty if a class is not one of RadImageNet's.

    Returns
    -------
    dict
        ``"modality"`` to ``CT``, ``MR`` or ``US`` of each class, and ``"region"`` to one of 11 (``CT abdomen/pelvis``).
    """
    known = {label.key: label for label in LABELS}
    if not all(name in known for name in classes):
        return {}
    labels = [known[name] for name in classes]
    return {
        "modality": [label.modality for label in labels],
        "region": [f"{label.modality} {label.region}" for label in labels],
    }
