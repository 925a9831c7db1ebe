"""Area under the ROC curve (AUC) with DeLong's variance, interval and tests for models on the same images.

DeLong ER, DeLong DM, Clarke-Pearson DL. *Comparing the areas under two or more correlated receiver operating
characteristic curves.* Biometrics 1988;44:837-845. The structural components come from one sort per model and are exact
with ties.

Images count as independent unless their clusters are given (`radimagenet_monai.statistics.auc.clustered`): several
images per patient make the intervals too narrow and the p-values too small. To choose automatically, see
`radimagenet_monai.statistics.auc.discrimination`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radimagenet_monai.statistics.auc.components import AucComponents
from radimagenet_monai.statistics.auc.inference import (
    AucComparison,
    AucDifference,
    AucEstimate,
    Scale,
    check_models,
    infer_auc,
    infer_comparison,
)
from radimagenet_monai.statistics.patient_numbers import number_patients
from radimagenet_monai.statistics.predictions import check_labels, check_scores

__all__ = ["AucComparison", "AucDifference", "AucEstimate", "Scale", "compare_aucs", "estimate_auc"]


def estimate_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    confidence: float = 0.95,
    scale: Scale = "logit",
    clusters: Sequence[Any] | np.ndarray | None = None,
) -> AucEstimate:
    """AUC of one model with a confidence interval.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    scores
        ``(n,)``, higher for the positive class.
    confidence
        Confidence level of the interval.
    scale
        ``"logit"`` (default) is symmetric on the log odds of the AUC: it stays inside (0, 1) and covers better near 1
        and in small samples (Pepe MS, *The statistical evaluation of medical tests*, 2003, section 5.2). ``"linear"``
        is the interval of the 1988 paper and the default of R's pROC, cut at 0 and 1.
    clusters
        ``(n,)`` names or numbers of the clusters, usually patients. A cluster may hold images of both classes; an image
        whose cluster is unknown (``None``, empty text, NaN) forms its own cluster. ``None`` for independent images.

    Returns
    -------
    AucEstimate
        Without an interval if fewer than two images, or clusters, hold a class, or the variance is zero.

    Raises
    ------
    RadImageNetError
        For invalid labels, scores or clusters.
    ConfigurationError
        For an unknown scale.
    """
    positive = check_labels(labels)
    numbers = None if clusters is None else number_patients(clusters, positive.size)
    return infer_auc(positive, check_scores(scores, positive.size), numbers, confidence, scale)


def compare_aucs(
    labels: ArrayLike,
    scores: Mapping[str, ArrayLike],
    confidence: float = 0.95,
    clusters: Sequence[Any] | np.ndarray | None = None,
) -> AucComparison:
    """DeLong's test of two or more models on the same images; Obuchowski's over clusters.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    scores
        Model name to ``(n,)`` scores, all in the order of ``labels``.
    confidence
        Confidence level of the intervals of the differences.
    clusters
        As for `estimate_auc`.

    Raises
    ------
    RadImageNetError
        For fewer than two models, a single class, or invalid labels, scores or clusters.
    """
    positive, values = check_models(labels, scores)
    numbers = None if clusters is None else number_patients(clusters, positive.size)
    return infer_comparison(AucComponents.of(positive, values, numbers), list(scores), confidence)
