"""AUCs of the same images for many weightings at once, such as bootstrap or jackknife samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# Weights of one block, so that intermediate arrays stay below about 100 MB.
_BLOCK = 2**21


def weighted_aucs(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve for each row of weights, ties counted half.

    Parameters
    ----------
    positive
        ``(n,)`` booleans.
    scores
        ``(n,)``, higher for the positive class.
    weights
        ``(r, n)``, 0 or more; how often an image counts.

    Returns
    -------
    numpy.ndarray
        ``(r,)``; NaN if a class has no weight.
    """
    own, others = np.flatnonzero(positive), np.flatnonzero(~positive)
    others = others[np.argsort(scores[others])]
    # Negatives below each positive: those before the first tie plus half of the ties.
    first, last = (np.searchsorted(scores[others], scores[own], side) for side in ("left", "right"))
    areas = np.empty(len(weights))
    step = max(1, _BLOCK // max(1, scores.size))
    for start in range(0, len(weights), step):
        block = weights[start : start + step]
        passed = np.zeros((len(block), others.size + 1))
        np.cumsum(block[:, others], axis=1, out=passed[:, 1:])
        of_positives = block[:, own]
        won = np.einsum("rn,rn->r", of_positives, passed[:, first] + passed[:, last]) / 2
        pairs = of_positives.sum(axis=1) * passed[:, -1]
        areas[start : start + step] = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return areas


@dataclass(frozen=True)
class AucStatistic:
    """The AUC of a column of scores, or its difference from another's, for `bootstrap_interval`.

    Attributes
    ----------
    scores
        Name of the column of scores.
    minus
        Name of the column whose AUC is subtracted; ``None`` for the AUC itself.
    labels
        Name of the column of labels, 0 or 1.
    """

    scores: str = "scores"
    minus: str | None = None
    labels: str = "labels"

    def __call__(self, data: Mapping[str, np.ndarray]) -> float:
        """The statistic of all rows; NaN if a class is absent."""
        return float(self.weighted(data, np.ones((1, len(data[self.labels]))))[0])

    def weighted(self, data: Mapping[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
        """``(r,)`` values of the statistic with rows counted by ``(r, n)`` weights."""
        positive = data[self.labels].astype(bool)
        areas = weighted_aucs(positive, data[self.scores], weights)
        return areas if self.minus is None else areas - weighted_aucs(positive, data[self.minus], weights)
