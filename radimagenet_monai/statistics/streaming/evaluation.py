"""Evaluation of very many images of many classes, from counts alone.

The same results as `radimagenet_monai.statistics.multiclass.evaluate_multiclass`, without a table of all predictions,
plus groups of classes and the errors between them. Patients are not identified: every interval treats images as
independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.statistics.auc.streaming import BinnedAuc, infer_binned_auc
from radimagenet_monai.statistics.proportions import Proportion, wilson
from radimagenet_monai.statistics.streaming.counts import CONFIDENCE_BINS, UNIT, StreamingCounts
from radimagenet_monai.statistics.streaming.groups import ConfusedPair, GroupEvaluation, evaluate_groups, most_confused

_PAIRS = 50  # number of confused pairs listed
_TOP = 5

INDEPENDENCE = (
    "Every interval takes the images for independent, because the patients are not told apart. Images of one patient "
    "are alike, so the intervals are too narrow."
)


@dataclass(frozen=True)
class StreamedClass:
    """One class against all others.

    ``recall`` is the share of the class's images that are predicted as it, ``top5`` the share for which it is among the
    five most probable classes, ``precision`` the share of the images predicted as it that belong to it.
    """

    name: str
    images: int
    recall: Proportion
    top5: Proportion | None
    precision: Proportion
    auc: BinnedAuc


@dataclass(frozen=True)
class ConfidenceBin:
    """Images whose most probable class has a probability in [``low``, ``high``); the last bin includes ``high``.

    ``confidence`` is the mean of that probability, ``accuracy`` the share of images that belong to that class.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: Proportion


@dataclass(frozen=True)
class ConfidenceCalibration:
    """How far the probability of the most probable class can be trusted.

    Attributes
    ----------
    mean_confidence, accuracy
        Means over all images; a confidence above the accuracy means that the network is overconfident.
    ece
        Expected calibration error: mean distance between confidence and accuracy of 15 bins of equal width, weighted
        with their images (Guo C, et al, ICML 2017). Chance adds about 0.04 for a thousand images, 0.004 for a hundred
        thousand.
    brier
        Mean over the images of the squared differences between probabilities and truth, summed over all classes
        (Brier GW, Mon Weather Rev 1950;78:1-3): 0 is best, 2 is worst.
    bins
        From low to high.
    """

    mean_confidence: float
    accuracy: float
    ece: float
    brier: float
    bins: tuple[ConfidenceBin, ...]


@dataclass(frozen=True)
class StreamedEvaluation:
    """Accuracy, discrimination and calibration over many classes.

    Attributes
    ----------
    images, classes, classes_present
        Numbers of images, of classes, and of classes with at least one image.
    patients
        Always ``None``: patients are not identified.
    top1, top5
        Share of images whose class is the most probable one, or among the five most probable. A class that ties with
        others is ranked last among them. ``top5`` is ``None`` for five classes or fewer.
    balanced_accuracy
        Mean recall of the classes present.
    auc_macro, auc_macro_bound
        Mean of the areas under the ROC curve of each class against the others, over the classes that have one, and its
        largest possible distance from the value before binning.
    per_class
        In index order.
    groups
        Kind of group, such as ``"region"``, to its groups.
    confused
        The most confused pairs of classes.
    calibration
        Calibration of the most probable class.
    notes
        Limitations of the numbers, one sentence each.
    """

    images: int
    patients: None
    classes: int
    classes_present: int
    confidence: float
    top1: Proportion
    top5: Proportion | None
    balanced_accuracy: float
    auc_macro: float | None
    auc_macro_bound: float | None
    per_class: tuple[StreamedClass, ...]
    groups: dict[str, tuple[GroupEvaluation, ...]]
    confused: tuple[ConfusedPair, ...]
    calibration: ConfidenceCalibration
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionary for JSON without NaN; the AUC of a class is flat, see `BinnedAuc.to_dict`."""
        return {
            **asdict(self),
            "per_class": [{**asdict(item), "auc": item.auc.to_dict()} for item in self.per_class],
        }


def evaluate_counts(
    counts: StreamingCounts,
    classes: Sequence[str],
    groups: Mapping[str, Sequence[str]] | None = None,
    confidence: float = 0.95,
) -> StreamedEvaluation:
    """Evaluate the counts of all images.

    Parameters
    ----------
    counts
        Counts of all images.
    classes
        Names in index order.
    groups
        Kind of group (``"modality"``) to the name of each class's group, in index order.
    confidence
        Confidence level of the intervals.

    Raises
    ------
    ConfigurationError
        If the numbers of names and classes differ.
    RecordsError
        If no images were counted, or only images of a single class.
    """
    for name, given in {"classes": classes, **(groups or {})}.items():
        if len(given) != counts.classes:
            raise ConfigurationError(f"{len(given)} names of {name} were given for {counts.classes} classes")
    images = counts.per_class
    present = np.flatnonzero(images)
    if present.size < 2:
        raise RecordsError(
            f"the evaluated split holds only the class indices {present.tolist()} of {counts.classes}; the area under "
            "the ROC curve needs images of two classes or more"
        )
    total, called = counts.images, counts.confusion.sum(axis=0)
    top5 = counts.top5 if counts.classes > _TOP else None
    right = counts.confusion.diagonal()
    per_class = tuple(
        StreamedClass(
            name=str(name),
            images=int(images[number]),
            recall=wilson(int(right[number]), int(images[number]), confidence),
            top5=None if top5 is None else wilson(int(top5[number]), int(images[number]), confidence),
            precision=wilson(int(right[number]), int(called[number]), confidence),
            auc=infer_binned_auc(
                counts.own_scores[number], counts.scores[number] - counts.own_scores[number], confidence
            ),
        )
        for number, name in enumerate(classes)
    )
    areas = [item.auc.estimate.auc for item in per_class if item.auc.estimate.auc is not None]
    bounds = [item.auc.bound for item in per_class if item.auc.bound is not None]
    notes = [INDEPENDENCE]
    if present.size < counts.classes:
        notes.append(
            f"{counts.classes - present.size} of {counts.classes} classes have no image; means are over the others."
        )
    return StreamedEvaluation(
        images=total,
        patients=None,
        classes=counts.classes,
        classes_present=int(present.size),
        confidence=confidence,
        top1=wilson(int(counts.top1.sum()), total, confidence),
        top5=None if top5 is None else wilson(int(top5.sum()), total, confidence),
        balanced_accuracy=balanced_accuracy_of(counts),
        auc_macro=float(np.mean(areas)) if areas else None,
        auc_macro_bound=float(np.mean(bounds)) if bounds else None,
        per_class=per_class,
        groups={
            kind: evaluate_groups(counts.confusion, counts.top1, top5, names, confidence)
            for kind, names in (groups or {}).items()
        },
        confused=most_confused(counts.confusion, classes, _PAIRS),
        calibration=_calibration(counts, confidence),
        notes=tuple(notes),
    )


def balanced_accuracy_of(counts: StreamingCounts) -> float:
    """Mean recall of the classes that have images."""
    images = counts.per_class
    present = images > 0
    return float(np.mean(counts.confusion.diagonal()[present] / images[present]))


def macro_auc_of(counts: StreamingCounts) -> float:
    """Mean AUC of the classes that have images, each against all others.

    Raises
    ------
    RecordsError
        If all images belong to a single class.
    """
    others = counts.scores - counts.own_scores
    areas = [infer_binned_auc(own, other).estimate.auc for own, other in zip(counts.own_scores, others, strict=True)]
    known = [area for area in areas if area is not None]
    if not known:
        present = np.flatnonzero(counts.per_class).tolist()
        raise RecordsError(
            f"the evaluated split holds only the class indices {present} of {counts.classes}; the area under the ROC "
            "curve needs images of two classes or more"
        )
    return float(np.mean(known))


def _calibration(counts: StreamingCounts, confidence: float) -> ConfidenceCalibration:
    total = counts.images
    sums = counts.confidence_sum / UNIT
    bins = tuple(
        ConfidenceBin(
            low=number / CONFIDENCE_BINS,
            high=(number + 1) / CONFIDENCE_BINS,
            images=images,
            confidence=float(sums[number]) / images if images else None,
            accuracy=wilson(int(counts.confidence_correct[number]), images, confidence),
        )
        for number, images in enumerate(counts.confidence_images.tolist())
    )
    return ConfidenceCalibration(
        mean_confidence=float(sums.sum()) / total,
        accuracy=int(counts.confidence_correct.sum()) / total,
        ece=float(np.abs(sums - counts.confidence_correct).sum()) / total,
        brier=int(counts.brier_sum[0]) / UNIT / total,
        bins=bins,
    )
