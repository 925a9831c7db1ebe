"""Whether acting on a model does more good than treating everybody or nobody.

Vickers AJ, Elkin EB. *Decision curve analysis.* Med Decis Making 2006;26:565-574. Treating at a risk of 10 % and above
means that one missed lesion is as bad as nine needless biopsies. The net benefit at that threshold is the share of true
positives minus 1/9 of the share of false positives.

It needs calibrated probabilities and the share of positives of the clinic: it misleads on a data set enriched with
positives, or if the images are not of the patients who would be treated. Only thresholds that doctors would really use
matter. The curve comes without an interval; bootstrap it over patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.predictions import check_labels, check_scores

THRESHOLDS = tuple(round(step / 100, 2) for step in range(1, 100))


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit per image at each threshold, at most the share of positives; treating nobody gives 0."""

    thresholds: tuple[float, ...]
    model: tuple[float, ...]
    treat_all: tuple[float, ...]
    prevalence: float

    def to_dict(self) -> dict[str, Any]:
        """Dictionary of numbers and lists for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


def decision_curve(
    labels: ArrayLike, probabilities: ArrayLike, thresholds: Sequence[float] = THRESHOLDS
) -> DecisionCurve:
    """Net benefit of treating the images at and above each threshold.

    Parameters
    ----------
    labels
        ``(n,)``, 1 for the positive class, otherwise 0.
    probabilities
        ``(n,)`` probabilities of the positive class, in [0, 1].
    thresholds
        Risks in [0, 1) from which one would treat.

    Raises
    ------
    RadImageNetError
        For invalid labels or probabilities, or a threshold outside [0, 1).
    """
    positive = check_labels(labels)
    values = check_scores(probabilities, positive.size, probabilities=True)
    risks = np.asarray(thresholds, dtype=np.float64)
    if risks.ndim != 1 or not ((risks >= 0) & (risks < 1)).all():
        raise RadImageNetError(f"thresholds {list(thresholds)} were given; expected risks from 0 to below 1")
    harm = risks / (1 - risks)
    prevalence = float(positive.mean())
    # Images at or above each threshold are those not below it in sorted order.
    true = positive.sum() - np.searchsorted(np.sort(values[positive]), risks)
    false = (~positive).sum() - np.searchsorted(np.sort(values[~positive]), risks)
    return DecisionCurve(
        thresholds=tuple(risks.tolist()),
        model=tuple(((true - harm * false) / positive.size).tolist()),
        treat_all=tuple((prevalence - harm * (1 - prevalence)).tolist()),
        prevalence=prevalence,
    )
