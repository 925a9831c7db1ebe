"""AUCs of the same images under many weightings at once: bootstrap samples, jackknife samples, exchanges of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# Weights of one block, so that intermediate arrays stay below some 100 MB.
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
        ``(r,)``; NaN where a class has no weight.
    """
    order = np.argsort(scores, kind="stable")
    ordered, positive = scores[order], positive[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    areas = np.empty(len(weights))
    step = max(1, _BLOCK // max(1, scores.size))
    for first in range(0, len(weights), step):
        block = weights[first : first + step, order].astype(np.float64)
        above, below = block * positive, block * ~positive
        if starts.size < scores.size:
            above, below = np.add.reduceat(above, starts, axis=1), np.add.reduceat(below, starts, axis=1)
        passed = np.cumsum(below, axis=1) - below / 2
        pairs = above.sum(axis=1) * below.sum(axis=1)
        won = np.einsum("rn,rn->r", above, passed)
        areas[first : first + step] = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return areas


@dataclass(frozen=True)
class AucStatistic:
    """The AUC of a column of scores, or its difference from another's, for `bootstrap_interval`.

    Attributes
    ----------
    scores
        Name of the column of scores.
    minus
        Name of the column whose AUC is taken away; ``None`` for the AUC itself.
    labels
        Name of the column of labels, 0 or 1.
    """

    scores: str = "scores"
    minus: str | None = None
    labels: str = "labels"

    def __call__(self, data: Mapping[str, np.ndarray]) -> float:
        """The statistic of all rows; NaN where a class is absent."""
        return float(self.weighted(data, np.ones((1, len(data[self.labels]))))[0])

    def weighted(self, data: Mapping[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
        """``(r,)`` values of the statistic when rows count as often as ``(r, n)`` weights say."""
        positive = data[self.labels].astype(bool)
        areas = weighted_aucs(positive, data[self.scores], weights)
        return areas if self.minus is None else areas - weighted_aucs(positive, data[self.minus], weights)
