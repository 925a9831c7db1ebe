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

from radimagenet_monai.statistics.auc.delong import compare_aucs, estimate_auc
from radimagenet_monai.statistics.auc.inference import AucComparison, AucEstimate, Scale


def estimate_clustered_auc(
    labels: ArrayLike,
    scores: ArrayLike,
    clusters: Sequence[Any] | np.ndarray,
    confidence: float = 0.95,
    scale: Scale = "logit",
) -> AucEstimate:
    """AUC of one model with a confidence interval over clusters; see `estimate_auc`."""
    return estimate_auc(labels, scores, confidence, scale, clusters)


def compare_clustered_aucs(
    labels: ArrayLike,
    scores: Mapping[str, ArrayLike],
    clusters: Sequence[Any] | np.ndarray,
    confidence: float = 0.95,
) -> AucComparison:
    """Obuchowski's test of two or more models on the same clusters of images; see `compare_aucs`."""
    return compare_aucs(labels, scores, confidence, clusters)
