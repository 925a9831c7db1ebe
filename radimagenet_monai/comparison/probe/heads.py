"""Linear heads on fixed features: logistic regression with regularization chosen inside the training part.

Features are standardized, and a multinomial logistic regression with an L2 penalty is fitted for a path of strengths.
The strength is chosen by area under the ROC curve over folds within the training part, with no patient in two folds
(nested selection: Cawley and Talbot, JMLR 2010;11:2079-2107); the test part is not used.

With fewer images than features, the fit is done in an orthonormal basis of the space that the images span. The solution
lies in that space and the penalty does not change under rotation, so the solution is the same, many times faster.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr
from scipy.special import expit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.records.splits import assign_folds
from radimagenet_monai.statistics.multiclass import class_aucs

C_PATH = tuple(float(10.0**power) for power in range(-6, 2))
"""Inverse strengths of regularization, the strongest first, for the sum of the log losses of standardized features."""

DEFAULT_C = 1e-3
"""Where the training part is too small to choose."""

INNER_FOLDS = 5

# Largest gradient component of a converged fit, and maximum number of iterations: coarse if only the ranks of
# probabilities are needed, fine for the final fit.
_COARSE, _FINE = (1e-4, 500), (1e-6, 10_000)

Score = Callable[[np.ndarray, np.ndarray], float | None]
"""Places in the training part, ``(m,)``, and their probabilities, ``(m, classes)``, to a number to be large; ``None``
where it cannot be estimated."""


@dataclass(frozen=True)
class LinearFit:
    """A logistic regression of standardized features.

    Attributes
    ----------
    scaler
        Mean and standard deviation of the features it was fitted to.
    coefficients, intercepts
        ``(k, num_features)`` and ``(k,)``; ``k`` is 1 for two classes, otherwise the number of `classes`.
    classes
        ``(k or 2,)`` indices of the classes in its training data.
    num_classes
        Length of a row of probabilities; a class absent from the training data has probability 0.
    converged
        Whether the optimizer reached its tolerance.
    """

    scaler: StandardScaler
    coefficients: np.ndarray
    intercepts: np.ndarray
    classes: np.ndarray
    num_classes: int
    converged: bool

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """``(n, num_classes)`` probabilities for features ``(n, num_features)``."""
        logits = self.scaler.transform(features.astype(np.float64)) @ self.coefficients.T + self.intercepts
        seen = softmax(logits, axis=1) if len(self.classes) > 2 else np.hstack([expit(-logits), expit(logits)])
        probabilities = np.zeros((len(features), self.num_classes))
        probabilities[:, self.classes] = seen
        return probabilities


@dataclass(frozen=True)
class Head:
    """A head, and how its regularization was chosen.

    Attributes
    ----------
    fit
        Fit to the whole training part.
    C
        Inverse strength of the regularization.
    inner_folds
        Number of inner folds; 0 if ``C`` is the default.
    inner_scores
        Score of each inner fold for each ``C`` of the path; ``None`` if not estimable.
    out_of_fold
        ``(n, num_classes)`` probabilities of the training images from the inner fits at ``C`` that did not see them;
        NaN if there are none.
    notes
        Notes for the reader, in words.
    """

    fit: LinearFit
    C: float
    inner_folds: int
    inner_scores: dict[float, list[float | None]]
    out_of_fold: np.ndarray
    notes: tuple[str, ...]


def fit_head(
    features: np.ndarray,
    labels: np.ndarray,
    patients: Sequence[str],
    num_classes: int = 2,
    score: Score | None = None,
    inner_folds: int = INNER_FOLDS,
    seed: int = 0,
    path: Sequence[float] = C_PATH,
) -> Head:
    """Choose the regularization within the training part and fit a head to all of it.

    Parameters
    ----------
    features
        ``(n, num_features)`` features of the training images.
    labels
        ``(n,)`` class indices.
    patients
        ``(n,)`` patient ids, none empty; images of one patient stay on one side of every inner fold.
    num_classes
        Number of classes, including those absent from the training part.
    score
        Score to maximize; by default the area under the ROC curve, for more than two classes the mean of each class
        against the others.
    inner_folds
        Number of inner folds; reduced if fewer patients have the second most frequent class.
    seed
        Seed of the inner folds.
    path
        Values of ``C``, ascending; ties go to the first, the strongest regularization.

    Raises
    ------
    RecordsError
        If all training images have one class, or a patient id is empty.
    ConfigurationError
        For fewer than two inner folds.
    """
    if inner_folds < 2:
        raise ConfigurationError(f"{inner_folds} inner folds were given; expected 2 or more")
    labels = np.asarray(labels, dtype=np.int64)
    if len(np.unique(labels)) < 2:
        raise RecordsError(
            f"all {len(labels)} training images are of one class; a probe needs two, so add images or take another fold"
        )
    score = score or (lambda rows, probabilities: _area(labels[rows], probabilities))
    notes: list[str] = []
    scores: dict[float, list[float | None]] = {value: [] for value in path}
    out_of_fold = np.full((len(path), len(labels), num_classes), np.nan)
    fold_of, folds = _inner_folds(labels, np.asarray(patients, dtype=str), inner_folds, seed)
    if folds < inner_folds:
        notes.append(f"{inner_folds} inner folds were asked for; patients with two classes are enough for {folds}")
    for fold in range(folds):
        held_out, kept = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        if len(np.unique(labels[kept])) < 2:
            notes.append(f"inner fold {fold} holds all images of a class and was left out")
            continue
        for place, fit in enumerate(_fit_path(features[kept], labels[kept], num_classes, path, _COARSE)):
            out_of_fold[place, held_out] = fit.probabilities(features[held_out])
            scores[path[place]].append(score(held_out, out_of_fold[place, held_out]))
    best = _best([scores[value] for value in path])
    if best is None:
        notes.append(f"no inner fold tells how good a C is, so it is {DEFAULT_C:g}")
        (fit,) = _fit_path(features, labels, num_classes, [DEFAULT_C], _FINE)
        return Head(fit, DEFAULT_C, 0, {}, np.full((len(labels), num_classes), np.nan), tuple(notes))
    if best in (0, len(path) - 1):
        notes.append(f"the best C, {path[best]:g}, is at an end of the path")
    (fit,) = _fit_path(features, labels, num_classes, [path[best]], _FINE)
    if not fit.converged:
        notes.append("the optimizer stopped before it reached its tolerance")
    return Head(fit, path[best], folds, scores, out_of_fold[best], tuple(notes))


def _inner_folds(labels: np.ndarray, patients: np.ndarray, wanted: int, seed: int) -> tuple[np.ndarray, int]:
    """Fold of each image and the number of folds, at most ``wanted``; 0 if two are not possible."""
    classes = np.unique(labels)
    carriers = np.array([len(np.unique(patients[labels == category])) for category in classes])
    folds = int(min(wanted, np.sort(carriers)[-2]))
    if folds < 2:
        return np.full(len(labels), -1), 0
    # A class too rare for every fold must not prevent spreading the others.
    rare = np.isin(labels, classes[carriers < folds])
    strata = np.where(rare, classes[carriers.argmax()], labels)
    return assign_folds(strata.astype(str), patients, folds, seed), folds


def _fit_path(
    features: np.ndarray, labels: np.ndarray, num_classes: int, path: Sequence[float], precision: tuple[float, int]
) -> list[LinearFit]:
    """A fit for each ``C``, each starting from the previous one."""
    scaler = StandardScaler()
    standardized = scaler.fit_transform(features.astype(np.float64))
    basis = None
    if standardized.shape[0] < standardized.shape[1]:
        basis, triangle = qr(standardized.T, mode="economic")
        standardized = triangle.T
    model = LogisticRegression(warm_start=True, tol=precision[0], max_iter=precision[1])
    fits = []
    for value in path:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.set_params(C=value).fit(standardized, labels)
        converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        coefficients = model.coef_.copy() if basis is None else model.coef_ @ basis.T
        fits.append(LinearFit(scaler, coefficients, model.intercept_.copy(), model.classes_, num_classes, converged))
    return fits


def _best(scores: Sequence[Sequence[float | None]]) -> int | None:
    """Index of the greatest mean over the folds with a score; the first in a tie."""
    known = [[score for score in folds if score is not None] for folds in scores]
    if not known[0]:
        return None
    return int(np.round([np.mean(folds) for folds in known], 12).argmax())


def _area(labels: np.ndarray, probabilities: np.ndarray) -> float | None:
    areas = class_aucs(labels, probabilities)
    areas = areas[-1:] if areas.size == 2 else areas
    return None if np.isnan(areas).all() else float(np.nanmean(areas))
