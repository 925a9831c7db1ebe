"""Structural components of the AUC: how much each image, and each cluster of images, adds to its variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A variance below this share of its parts' variance is rounding error.
_ROUNDING = 1e-12

_WHY_NO_VARIANCE = {
    "equal": "all scores are equal",
    "apart": "the classes are perfectly separated",
    "reversed": "the classes are perfectly separated in the wrong direction",
    "mixed": "the images of every patient rank alike on average",
}
_ALIKE = "the models rank the images alike"
_WHY_NO_DIFFERENCE = {
    frozenset({"equal"}): "all scores of each model are equal",
    frozenset({"apart"}): "the models separate the classes perfectly",
    frozenset({"reversed"}): "the models separate the classes perfectly in the wrong direction",
    frozenset({"apart", "reversed"}): "the models separate the classes perfectly, some in the wrong direction",
    frozenset({"equal", "apart"}): "all scores of some models are equal and the others separate the classes perfectly",
    frozenset({"equal", "reversed"}): "all scores of some models are equal and the others separate the classes "
    "perfectly in the wrong direction",
}


@dataclass(frozen=True)
class AucComponents:
    """Structural components of ``m`` models on the same images, in counts.

    Computed from one sort, exact with ties, in O(n log n), like the midranks of Sun X, Xu W, IEEE Signal Process Lett
    2014;21:1389-1393. Halves are exact in floating point, so equal components compare equal.

    Attributes
    ----------
    of_positives
        ``(m, positives)``: number of negatives that a model scores below each positive image, ties counted half.
    of_negatives
        ``(m, negatives)``: number of positives that a model scores above each negative image, ties counted half.
    clusters_of_positives, clusters_of_negatives
        Cluster index of each of these images, from 0; ``None`` if images are independent.
    """

    of_positives: np.ndarray
    of_negatives: np.ndarray
    clusters_of_positives: np.ndarray | None = None
    clusters_of_negatives: np.ndarray | None = None

    @classmethod
    def of(cls, positive: np.ndarray, scores: np.ndarray, clusters: np.ndarray | None = None) -> AucComponents:
        """Components of ``(m, n)`` scores.

        Parameters
        ----------
        positive
            ``(n,)`` booleans, both classes present.
        scores
            ``(m, n)`` finite numbers, higher for the positive class.
        clusters
            ``(n,)`` cluster indices from 0; ``None`` if images are independent.
        """
        of_positives, of_negatives = zip(*(_count_pairs(positive, row) for row in scores), strict=True)
        return cls(
            np.stack(of_positives),
            np.stack(of_negatives),
            None if clusters is None else clusters[positive],
            None if clusters is None else clusters[~positive],
        )

    def contrasted(self, contrasts: np.ndarray) -> AucComponents:
        """Components of ``(c, m)`` linear combinations of the models.

        The variance of a difference is computed from the differences of the components: for similar models, the
        variances minus the covariances would cancel.
        """
        return AucComponents(
            contrasts @ self.of_positives,
            contrasts @ self.of_negatives,
            self.clusters_of_positives,
            self.clusters_of_negatives,
        )

    @property
    def aucs(self) -> np.ndarray:
        """``(m,)``."""
        return self.of_positives.sum(axis=1) / (self.of_positives.shape[1] * self.of_negatives.shape[1])

    @property
    def covariance(self) -> np.ndarray:
        """``(m, m)`` covariance of the AUCs; the part of a class with a single image or cluster is 0.

        Independent images: S10 / M + S01 / N of DeLong 1988. Clusters: S10 / M + S01 / N + (S11 + S11') / MN of
        Obuchowski 1997. The two are equal if every image is a cluster.
        """
        of_positives, of_negatives = self._deviations()
        with_positives, with_negatives = self._numbers()
        total = _products(of_positives, of_positives, with_positives)
        total += _products(of_negatives, of_negatives, with_negatives)
        if self.clusters_of_positives is not None:
            crossed = _products(of_positives, of_negatives, int(self._sizes().any(axis=0).sum()))
            total += crossed + crossed.T
        return total

    def why_no_variance(self, contrast: np.ndarray) -> str | None:
        """The reason why the variance of ``contrast @ aucs`` is not estimable, or ``None``."""
        clustered = self.clusters_of_positives is not None
        for name, number in zip(("positive", "negative"), self._numbers(), strict=True):
            if number < 2:
                return f"only one cluster holds {name} images" if clustered else f"only one image is {name}"
        difference = self.contrasted(contrast[None])
        if any(np.ptp(means) for means in difference._means()):
            return difference._why_cancelled() if clustered else None
        if contrast.size > 1:
            kinds = {self._kind(place) for place in np.flatnonzero(contrast).tolist()}
            return f"{_WHY_NO_DIFFERENCE.get(frozenset(kinds), _ALIKE)}, so the difference has no variance"
        return f"{_WHY_NO_VARIANCE[self._kind(0)]}, so the variance is zero"

    def _kind(self, model: int) -> str:
        """Why a model has no variance: scores ``"equal"``, classes ``"apart"`` or ``"reversed"``, or ``"mixed"``."""
        positives, negatives = self.of_positives.shape[1], self.of_negatives.shape[1]
        # All images of both classes tie with half of the others only if all scores are equal.
        if (self.of_positives[model] == negatives / 2).all() and (self.of_negatives[model] == positives / 2).all():
            return "equal"
        return {1.0: "apart", 0.0: "reversed"}.get(float(self.aucs[model]), "mixed")

    def _parts(self) -> tuple[tuple[np.ndarray, np.ndarray | None], ...]:
        return (self.of_positives, self.clusters_of_positives), (self.of_negatives, self.clusters_of_negatives)

    def _sizes(self) -> np.ndarray:
        """``(2, clusters)`` numbers of positive and negative images of each cluster."""
        clusters = [clusters for _, clusters in self._parts() if clusters is not None]
        number = 1 + max(int(part.max()) for part in clusters)
        return np.stack([np.bincount(part, minlength=number) for part in clusters])

    def _numbers(self) -> tuple[int, int]:
        """Numbers of independent units, images or clusters, with positive and with negative images."""
        if self.clusters_of_positives is None:
            return self.of_positives.shape[1], self.of_negatives.shape[1]
        with_positives, with_negatives = (self._sizes() > 0).sum(axis=1).tolist()
        return with_positives, with_negatives

    def _sums(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For both parts, ``(m, units)`` sums of the components of each unit and its ``(units,)`` image counts."""
        sums = []
        for number, (counts, clusters) in enumerate(self._parts()):
            if clusters is None:
                sums.append((counts, np.ones(counts.shape[1])))
            else:
                sizes = self._sizes()[number]
                summed = [np.bincount(clusters, weights=row, minlength=sizes.size) for row in counts]
                sums.append((np.stack(summed), sizes))
        return sums

    def _means(self) -> list[np.ndarray]:
        """``(m, units)`` mean components of both parts. Equal fractions of integers are rounded to equal numbers."""
        return [sums[:, sizes > 0] / sizes[sizes > 0] for sums, sizes in self._sums()]

    def _deviations(self) -> list[np.ndarray]:
        """``(m, units)`` for both parts: contribution of each unit to the deviation of the AUCs from their mean."""
        aucs, positives, negatives = self.aucs[:, None], self.of_positives.shape[1], self.of_negatives.shape[1]
        return [
            (sums / others - sizes * aucs) / own
            for (sums, sizes), own, others in zip(
                self._sums(), (positives, negatives), (negatives, positives), strict=True
            )
        ]

    def _why_cancelled(self) -> str | None:
        """Whether the variance of a single model is only rounding error compared with its two parts."""
        if self.covariance[0, 0] > _ROUNDING * sum(float(np.sum(part**2)) for part in self._deviations()):
            return None
        return "in every cluster the positive and the negative images' parts cancel, so the variance is zero"


def _products(first: np.ndarray, second: np.ndarray, units: int) -> np.ndarray:
    """``(m, m)`` sums of products of deviations over ``units``, with the bias correction of a variance."""
    return first @ second.T * (units / (units - 1) if units > 1 else 0.0)


def _count_pairs(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Negatives below each positive image and positives above each negative image, ties counted half."""
    order = np.argsort(scores)
    ordered, is_positive = scores[order], positive[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    sizes = np.diff(np.append(starts, scores.size))
    positives = np.add.reduceat(is_positive.astype(np.int64), starts)
    negatives = sizes - positives
    below = np.cumsum(negatives) - negatives / 2
    above = positives.sum() - np.cumsum(positives) + positives / 2
    counts = np.empty(scores.size)
    counts[order] = np.where(is_positive, np.repeat(below, sizes), np.repeat(above, sizes))
    return counts[positive], counts[~positive]
