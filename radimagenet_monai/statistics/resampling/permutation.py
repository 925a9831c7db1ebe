"""Permutation test of two models' AUCs on the same images, for small samples.

Bandos AI, Rockette HE, Gur D. *A permutation test sensitive to differences in areas for comparing ROC curves from a
paired design.* Stat Med 2005;24:2873-2893. Scores become ranks within their model, which makes models with different
scales comparable; if the models are equal, their ranks of an image can be exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.statistics.auc.components import AucComponents
from radimagenet_monai.statistics.auc.inference import check_models
from radimagenet_monai.statistics.patient_numbers import number_patients

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
        Number of exchanges evaluated.
    exact
        Whether all possible exchanges were evaluated.
    units
        Number of images or patients whose exchange changes the difference.
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
    clusters: Sequence[Any] | np.ndarray | None = None,
    repeats: int = 2000,
    seed: int = 0,
) -> PermutationResult:
    """Test equal AUCs by exchanging the models' ranks, of each image or of all images of a patient together.

    The null hypothesis, that the models are exchangeable, is stronger than equal AUCs: the test can reject for models
    of equal AUC whose ROC curves cross, though it is designed to react mainly to the AUC.

    Parameters
    ----------
    labels
        ``(n,)`` 0 or 1.
    first, second
        ``(n,)`` scores of the models, higher for the positive class.
    clusters
        ``(n,)`` patients; an unknown one (``None``, empty text, NaN) counts as a separate patient. ``None`` treats
        images as independent.
    repeats
        Number of random exchanges. All exchanges are enumerated if there are at most 4096.
    seed
        Seed of the random exchanges.

    Returns
    -------
    PermutationResult
        With p = (b + 1) / (m + 1) of m random exchanges, b of them at least as far from 0 as the data (Phipson and
        Smyth 2010); p = 1 for models that rank the images alike.

    Raises
    ------
    RadImageNetError
        For a single class, or invalid labels, scores or clusters.
    ConfigurationError
        If repeats is less than 1.
    """
    if repeats < 1:
        raise ConfigurationError(f"{repeats} exchanges were asked for; expected 1 or more")
    positive, scores = check_models(labels, {"first": first, "second": second})
    units = np.arange(positive.size) if clusters is None else number_patients(clusters, positive.size)
    ranks = rankdata(scores, axis=1)
    # The AUCs' difference is linear in the exchanges, because the terms in which two images are exchanged cancel. An
    # image adds half the difference between the positions of its two ranks among both models' images of the other
    # class.
    components = AucComponents.of(np.tile(positive, 2), ranks.reshape(1, -1))
    added = np.empty(positive.size)
    for chosen, counts in ((positive, components.of_positives), (~positive, components.of_negatives)):
        of_first, of_second = counts.reshape(2, -1)
        added[chosen] = (of_first - of_second) / 2
    parts = np.bincount(units, weights=added)
    parts = parts[parts != 0]
    observed = parts.sum()
    exact = parts.size <= _MOST_ENUMERATED
    if exact:
        repeats = 2**parts.size
        exchanged = (np.arange(repeats)[:, None] >> np.arange(parts.size)) & 1
        p = _count_extreme(exchanged, parts) / repeats
    else:
        generator, step = np.random.default_rng(seed), max(1, _BLOCK // parts.size)
        sizes = [min(step, repeats - start) for start in range(0, repeats, step)]
        extreme = sum(_count_extreme(generator.integers(0, 2, (size, parts.size)), parts) for size in sizes)
        p = (extreme + 1) / (repeats + 1)
    pairs = int(positive.sum()) * int((~positive).sum())
    return PermutationResult(float(observed / pairs), p, repeats, exact, int(parts.size))


def _count_extreme(exchanged: np.ndarray, parts: np.ndarray) -> int:
    """Number of rows of ``(r, units)`` exchanges, 1 or 0, with a difference at least as far from 0 as without any.

    Parts are quarters of pairs of images, whose sums are exact, so equal differences compare equal.
    """
    return int(np.sum(np.abs((1 - 2 * exchanged) @ parts) >= abs(parts.sum())))
