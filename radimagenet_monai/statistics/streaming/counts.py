"""Integer counts for the evaluation of many classes, which can be summed over batches and processes.

The numbers take the same memory for a thousand images as for a million (46 MB for 165 classes). Summed over several
processes in any order, they equal those of one process that saw all images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.statistics.auc.streaming import SCORE_BINS, score_bins

CONFIDENCE_BINS = 15
"""Bins of equal width of the calibration curve, as Guo C, Pleiss G, Sun Y, Weinberger KQ, ICML 2017."""

UNIT = 2**30
"""Sums of probabilities and of squared errors are kept as whole numbers of 1 / UNIT."""

_ROWS = 4096  # images counted at once
_FINE = 2**24  # a probability as a whole number for its square
_ROUNDING = 1e-5  # how far above 1 a softmax output may be


class StreamingCounts:
    """Counts over the images seen so far.

    Parameters
    ----------
    classes
        Number of classes, two or more.

    Attributes
    ----------
    flat : numpy.ndarray
        int64: all counts in one row, to be summed over processes. The others are views of it.
    confusion : numpy.ndarray
        ``(classes, classes)``: images of a true class (row) by their most probable class (column), the first in a tie.
    top1, top5 : numpy.ndarray
        ``(classes,)``: images of each class that is the most probable one, or among the top five, with the tie rule of
        `radimagenet_monai.statistics.multiclass.top_k_correct`.
    scores, own_scores : numpy.ndarray
        ``(classes, SCORE_BINS)``: all images, and images of the class, by the bin of the class's probability.
    confidence_images, confidence_correct, confidence_sum : numpy.ndarray
        ``(CONFIDENCE_BINS,)``: images by the probability of their most probable class, how many of them belong to that
        class, and the sum of those probabilities in units of ``1 / UNIT``.
    brier_sum : numpy.ndarray
        ``(1,)``: sum of squared differences between probabilities and truth over all classes, in the same unit.

    Raises
    ------
    ConfigurationError
        For fewer than two classes.
    """

    def __init__(self, classes: int) -> None:
        if classes < 2:
            raise ConfigurationError(f"{classes} classes were given; expected two or more")
        self.classes = classes
        shapes = {
            "confusion": (classes, classes),
            "top1": (classes,),
            "top5": (classes,),
            "scores": (classes, SCORE_BINS),
            "own_scores": (classes, SCORE_BINS),
            "confidence_images": (CONFIDENCE_BINS,),
            "confidence_correct": (CONFIDENCE_BINS,),
            "confidence_sum": (CONFIDENCE_BINS,),
            "brier_sum": (1,),
        }
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()]).tolist()
        self.flat = np.zeros(ends[-1], np.int64)
        views = {
            name: self.flat[end - int(np.prod(shape)) : end].reshape(shape)
            for (name, shape), end in zip(shapes.items(), ends, strict=True)
        }
        self.confusion = views["confusion"]
        self.top1, self.top5 = views["top1"], views["top5"]
        self.scores, self.own_scores = views["scores"], views["own_scores"]
        self.confidence_images = views["confidence_images"]
        self.confidence_correct = views["confidence_correct"]
        self.confidence_sum = views["confidence_sum"]
        self.brier_sum = views["brier_sum"]

    @property
    def images(self) -> int:
        """Number of images seen."""
        return int(self.confusion.sum())

    @property
    def per_class(self) -> np.ndarray:
        """``(classes,)`` images of each true class."""
        return np.asarray(self.confusion.sum(axis=1))

    def update(self, labels: ArrayLike, probabilities: ArrayLike) -> None:
        """Count a batch.

        Parameters
        ----------
        labels
            ``(n,)`` class indices.
        probabilities
            ``(n, classes)`` in [0, 1]; best as float32, since AUCs and Brier score round them to it.

        Raises
        ------
        RadImageNetError
            For shapes that do not match, labels outside the classes, or values that are not probabilities.
        """
        indices, values = self._checked(np.asarray(labels), np.asarray(probabilities))
        for start in range(0, len(indices), _ROWS):
            self._count(indices[start : start + _ROWS], values[start : start + _ROWS])

    def merge(self, other: StreamingCounts) -> None:
        """Add the counts of other images.

        Raises
        ------
        ConfigurationError
            If the numbers of classes differ.
        """
        if other.classes != self.classes:
            raise ConfigurationError(f"counts of {other.classes} classes were given; expected {self.classes} classes")
        self.flat += other.flat

    def _count(self, indices: np.ndarray, values: np.ndarray) -> None:
        rows = np.arange(len(indices))
        called = values.argmax(axis=1)
        own, top = values[rows, indices], values[rows, called]
        as_probable = (values >= own[:, None]).sum(axis=1)
        np.add.at(self.confusion, (indices, called), 1)
        np.add.at(self.top1, indices, as_probable <= 1)
        np.add.at(self.top5, indices, as_probable <= 5)

        bins = score_bins(values)
        np.add.at(self.own_scores, (indices, bins[rows, indices]), 1)
        places = bins + np.arange(0, self.scores.size, SCORE_BINS)
        np.add.at(self.scores.reshape(-1), places.reshape(-1), 1)

        confidence = np.minimum((top * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
        np.add.at(self.confidence_images, confidence, 1)
        np.add.at(self.confidence_correct, confidence, called == indices)
        np.add.at(self.confidence_sum, confidence, np.rint(top.astype(np.float64) * UNIT).astype(np.int64))

        fine = np.rint(values.astype(np.float32) * np.float32(_FINE)).astype(np.int64)
        errors = np.einsum("ij,ij->i", fine, fine) - 2 * _FINE * fine[rows, indices] + _FINE**2
        self.brier_sum += int((errors // (_FINE**2 // UNIT)).sum())

    def _checked(self, indices: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if indices.ndim != 1 or values.shape != (len(indices), self.classes):
            raise RadImageNetError(
                f"labels of shape {indices.shape} and probabilities of shape {values.shape} were given; expected (n,) "
                f"and (n, {self.classes})"
            )
        if not len(indices):
            return indices.astype(np.int64), values
        if indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= self.classes:
            raise RadImageNetError(f"labels must be class indices from 0 to {self.classes - 1}")
        lowest, highest = values.min(), values.max()
        if not (lowest >= 0 and highest <= 1 + _ROUNDING):  # false for NaN as well
            raise RadImageNetError(
                f"probabilities from {lowest} to {highest} were given; expected values from 0 to 1, apply softmax to "
                "the logits and look for where the model became infinite"
            )
        return indices, values
