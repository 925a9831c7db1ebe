"""Area under the ROC curve (AUC) with intervals and tests for images that come in clusters, several per patient.

Obuchowski NA. *Nonparametric analysis of clustered ROC curve data.* Biometrics 1997;53:567-578. DeLong's structural
components are summed over each cluster, and the products of the positive and negative sums of a cluster that holds both
kinds are counted too. Clusters are assumed independent; images within a cluster may be correlated in any way. If every
image is a cluster, all results equal DeLong's.

The normal approximation is over clusters: with fewer than about 30 of each kind the intervals are somewhat too narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radimagenet_monai.statistics.auc.components import AucComponents
from radimagenet_monai.statistics.auc.inference import (
    AucComparison,
    AucEstimate,
    Scale,
    check_models,
    infer_auc,
    infer_comparison,
)
from radimagenet_monai.statistics.patient_numbers import number_patients
from radimagenet_monai.statistics.predictions import check_labels, check_scores


def estimate_clustered_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    clusters: Sequence[Any] | np.ndarray,
    confidence: float = 0.95,
    scale: Scale = "logit",
) -> AucEstimate:
    """AUC of one model with a confidence interval over clusters.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    scores
        ``(n,)``, higher for the positive class.
    clusters
        ``(n,)`` names or numbers of the clusters, usually patients. A cluster may hold images of both classes; an image
        whose cluster is unknown (``None``, empty text, NaN) forms its own cluster.
    confidence
        Confidence level of the interval.
    scale
        See `radimagenet_monai.statistics.auc.delong.estimate_auc`.

    Returns
    -------
    AucEstimate
        Without an interval if fewer than two clusters hold images of a class, or the variance is zero.

    Raises
    ------
    RadImageNetError
        For invalid labels, scores or clusters.
    ConfigurationError
        For an unknown scale.
    """
    positive = check_labels(labels)
    values = check_scores(scores, positive.size)
    return infer_auc(positive, values, number_patients(clusters, positive.size), confidence, scale)


def compare_clustered_aucs(
    labels: ArrayLike,
    scores: Mapping[str, ArrayLike],
    clusters: Sequence[Any] | np.ndarray,
    confidence: float = 0.95,
) -> AucComparison:
    """Obuchowski's test of two or more models on the same clusters of images.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    scores
        Model name to ``(n,)`` scores, all in the order of ``labels``.
    clusters
        ``(n,)`` names or numbers of the clusters, usually patients.
    confidence
        Confidence level of the intervals of the differences.

    Raises
    ------
    RadImageNetError
        For fewer than two models, a single class, or invalid labels, scores or clusters.
    """
    positive, values = check_models(labels, scores)
    components = AucComponents.of(positive, values, number_patients(clusters, positive.size))
    return infer_comparison(components, list(scores), confidence)
