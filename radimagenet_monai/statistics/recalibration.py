"""Logistic recalibration: the probability that a network's probability stands for, by validation data.

The label is regressed on the logit of the probability, with the smoothed targets of Platt (Advances in Large Margin
Classifiers, 1999), which keep the fit finite if the classes are separated. The interval is that of the fitted line
(delta method), so it is wide where validation data are few; it counts images, or exams, as independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, logit

from radimagenet_monai.statistics.calibration import CLIP
from radimagenet_monai.statistics.predictions import check_labels, check_scores
from radimagenet_monai.statistics.proportions import normal_quantile

FEWEST = 5
"""Images of each class below which nothing is fitted."""


@dataclass(frozen=True)
class Recalibration:
    """A fitted line on the logit scale.

    Attributes
    ----------
    intercept, slope
        Calibrated logit = intercept + slope x logit of the network's probability.
    covariance
        Variance of the intercept, covariance, variance of the slope.
    images, positives
        Numbers that it was fitted to.
    """

    intercept: float
    slope: float
    covariance: tuple[float, float, float]
    images: int
    positives: int

    def calibrated(self, probability: float, confidence: float = 0.95) -> tuple[float, float, float]:
        """Calibrated probability with the limits of its interval."""
        line = float(logit(min(max(probability, CLIP), 1 - CLIP)))
        first, mixed, second = self.covariance
        reach = normal_quantile(confidence) * math.sqrt(max(0.0, first + 2 * mixed * line + second * line**2))
        middle = self.intercept + self.slope * line
        low, value, high = (float(expit(middle + step)) for step in (-reach, 0.0, reach))
        return value, low, high

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "intercept": self.intercept,
            "slope": self.slope,
            "covariance": list(self.covariance),
            "images": self.images,
            "positives": self.positives,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Recalibration:
        """From `to_dict`."""
        first, mixed, second = (float(value) for value in facts["covariance"])
        return cls(
            float(facts["intercept"]),
            float(facts["slope"]),
            (first, mixed, second),
            int(facts["images"]),
            int(facts["positives"]),
        )


def recalibrate(labels: ArrayLike, probabilities: ArrayLike) -> Recalibration | None:
    """Fit a recalibration.

    Parameters
    ----------
    labels
        ``(n,)``, 1 for the positive class, otherwise 0.
    probabilities
        ``(n,)`` probabilities of the positive class.

    Returns
    -------
    Recalibration or None
        ``None`` with fewer than `FEWEST` images of a class, or if all probabilities are the same.

    Raises
    ------
    RadImageNetError
        For labels or probabilities that are invalid or differ in length.
    """
    positive = check_labels(labels)
    values = check_scores(probabilities, positive.size, probabilities=True)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    line = logit(np.clip(values, CLIP, 1 - CLIP))
    if min(positives, negatives) < FEWEST or np.ptp(line) < 1e-9:
        return None
    targets = np.where(positive, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    # Centered and scaled, so that the fit is well conditioned whatever the range of the logits.
    center, scale = float(line.mean()), float(line.std())
    design = np.column_stack([np.ones(line.size), (line - center) / scale])

    def loss(coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        fitted = design @ coefficients
        gradient = design.T @ (expit(fitted) - targets) / targets.size
        return float(np.mean(np.logaddexp(0, fitted) - targets * fitted)), gradient

    found = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    weights = expit(design @ found)
    information = (design * (weights * (1 - weights))[:, None]).T @ design
    back = np.array([[1, -center / scale], [0, 1 / scale]])
    intercept, slope = back @ found
    covariance = back @ np.linalg.inv(information) @ back.T
    return Recalibration(
        float(intercept),
        float(slope),
        (float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])),
        int(positive.size),
        positives,
    )
