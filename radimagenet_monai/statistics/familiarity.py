"""How far features lie from those of a reference set: Mahalanobis distance with a shrunk covariance.

The covariance is shrunk to a multiple of the identity by the oracle approximating estimator (Chen Y et al., IEEE
Trans Signal Process 2010;58:5016-5029). The limit is a quantile of the distances that reference items have to the
others: each fifth of them is measured by the mean and covariance of the remaining four.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

QUANTILE = 0.99
_PARTS = 5


@dataclass(frozen=True)
class Familiarity:
    """Mean and shrunk covariance of reference features.

    Attributes
    ----------
    mean
        ``(d,)``.
    covariance
        ``(d, d)``.
    limit
        `QUANTILE` of the distances of the reference items.
    items
        Number of reference items.
    """

    mean: np.ndarray
    covariance: np.ndarray
    limit: float
    items: int

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distances ``(n,)`` of features ``(n, d)``."""
        return _distances(features, self.mean, self.covariance)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; of the covariance, the upper triangle row by row."""
        upper = self.covariance[np.triu_indices(len(self.mean))]
        return {
            "mean": [_short(value) for value in self.mean],
            "covariance": [_short(value) for value in upper],
            "limit": _short(self.limit),
            "quantile": QUANTILE,
            "items": self.items,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Familiarity:
        """From `to_dict`."""
        mean = np.array(facts["mean"], np.float64)
        covariance = np.zeros((len(mean), len(mean)))
        covariance[np.triu_indices(len(mean))] = facts["covariance"]
        covariance += np.triu(covariance, 1).T
        return cls(mean, covariance, float(facts["limit"]), int(facts["items"]))


def familiarity(features: np.ndarray) -> Familiarity | None:
    """Summarize reference features ``(n, d)``; ``None`` for fewer than twice as many items as dimensions, or if the
    features do not differ.
    """
    items, dimensions = features.shape
    features = features.astype(np.float64)
    if items < 2 * dimensions or not np.isfinite(features).all() or np.ptp(features, axis=0).max() < 1e-9:
        return None
    part = np.arange(items) % _PARTS
    distances = np.concatenate(
        [_distances(features[part == left], *_fit(features[part != left])) for left in range(_PARTS)]
    )
    mean, covariance = _fit(features)
    return Familiarity(mean, covariance, float(np.quantile(distances, QUANTILE)), items)


def _fit(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.covariance import oas

    covariance, _ = oas(features)
    return features.mean(axis=0), covariance


def _distances(features: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    away = features - mean
    return np.sqrt(np.maximum(0, np.einsum("nd,nd->n", away, np.linalg.solve(covariance, away.T).T)))


def _short(value: Any) -> float:
    return float(f"{float(value):.7g}")
