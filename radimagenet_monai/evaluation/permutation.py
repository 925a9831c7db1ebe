"""Permutation test of two models' AUCs on the same images, for small samples.

Bandos AI, Rockette HE, Gur D. *A permutation test sensitive to differences in areas for comparing ROC curves from a
paired design.* Stat Med 2005;24:2873-2893. Scores become ranks within their model, which makes models with different
scales comparable; if the models are alike, their ranks of an image can be exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from radimagenet_monai.errors import ConfigurationError
from radimagenet_monai.evaluation.auc_inference import check_models
from radimagenet_monai.evaluation.predictions import check_clusters
from radimagenet_monai.evaluation.weighted_auc import weighted_aucs

_MOST_ENUMERATED = 12
_BLOCK = 2**21


@dataclass(frozen=True)
class PermutationResult:
    """Two-sided test that two models on the same images have equal AUCs.

    Attributes
    ----------
    difference
        AUC of the first model minus that of the second.
    p
        Share of exchanges whose difference is at least as large, the observed one counted: never 0.
    repeats
        Number of exchanges looked at.
    exact
        Whether these were all there are.
    units
        Number of images or patients in which the models differ, so that an exchange changes something.
    """

    difference: float
    p: float
    repeats: int
    exact: bool
    units: int


def permutation_test(
    labels: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    clusters: Sequence[object] | ArrayLike | None = None,
    repeats: int = 2000,
    seed: int = 0,
) -> PermutationResult:
    """Test equal AUCs by exchanging the models' ranks, of each image or of all images of a patient together.

    The null hypothesis is that the models are exchangeable, which is more than equal AUCs: models of equal AUC whose
    ROC curves cross can be told apart, though the test is built to notice little but the AUC.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    first, second
        ``(n,)`` scores of the models, higher for the positive class.
    clusters
        ``(n,)`` patients; ``None`` takes images for independent.
    repeats
        Number of random exchanges. All are enumerated where there are 4096 or fewer.
    seed
        Of the random exchanges.

    Returns
    -------
    PermutationResult
        With p = (b + 1) / (m + 1) of m random exchanges, b of them at least as far from 0 as the data (Phipson and
        Smyth 2010); p = 1 for models that rank the images alike.

    Raises
    ------
    RadImageNetError
        For one class only, or arrays that are no labels, scores or clusters.
    ConfigurationError
        For no repeats.
    """
    if repeats < 1:
        raise ConfigurationError(f"{repeats} exchanges were asked for; expected 1 or more")
    positive, scores = check_models(labels, {"first": first, "second": second})
    units = np.arange(positive.size) if clusters is None else check_clusters(clusters, positive.size)
    ranks = rankdata(scores, axis=1)
    # Exchanges that change nothing are left out; what matters is numbered from 0, the rest gets the last number.
    changing = np.unique(units[ranks[0] != ranks[1]])
    column = np.where(np.isin(units, changing), np.searchsorted(changing, units), changing.size)
    pairs = int(positive.sum()) * int((~positive).sum())

    def differences(exchanged: np.ndarray) -> np.ndarray:
        """Differences in halves of pairs of images, as whole numbers: equal ones are found equal."""
        swapped = np.concatenate([exchanged, np.zeros((len(exchanged), 1), dtype=bool)], axis=1)[:, column]
        both, values = np.tile(positive, 2), ranks.ravel()
        one = weighted_aucs(both, values, np.concatenate([~swapped, swapped], axis=1))
        other = weighted_aucs(both, values, np.concatenate([swapped, ~swapped], axis=1))
        return np.rint(2 * pairs * one) - np.rint(2 * pairs * other)

    observed = differences(np.zeros((1, changing.size), dtype=bool))[0]
    exact = changing.size <= _MOST_ENUMERATED
    if exact:
        repeats = 2**changing.size
        exchanges = (np.arange(repeats)[:, None] >> np.arange(changing.size)) & 1 == 1
        extreme = int(np.sum(np.abs(differences(exchanges)) >= abs(observed)))
        p = extreme / repeats
    else:
        generator = np.random.default_rng(seed)
        extreme, step = 0, max(1, _BLOCK // positive.size)
        for start in range(0, repeats, step):
            drawn = generator.random((min(step, repeats - start), changing.size)) < 0.5
            extreme += int(np.sum(np.abs(differences(drawn)) >= abs(observed)))
        p = (extreme + 1) / (repeats + 1)
    return PermutationResult(float(observed / (2 * pairs)), p, repeats, exact, int(changing.size))
