"""Patient-disjoint, stratified division of a dataset into train, validation and test, or into folds.

Both functions deal out whole groups (patients), largest first, each to the part where it most reduces the squared
distance between the actual and the desired class counts, relative to the size of the part. The order of equally large
groups depends only on the seed and the group's name. The result is therefore a function of the seed and of the set of
(group, labels); the order of rows and the versions of pandas and scikit-learn have no effect.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.records.table import SPLITS

DEFAULT_FRACTIONS = (0.7, 0.1, 0.2)


def assign_splits(
    labels: Sequence[str] | pd.Series,
    groups: Sequence[str] | pd.Series,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    seed: int = 0,
) -> np.ndarray:
    """Divide images into train, validation and test so that no group is in two of them.

    Parameters
    ----------
    labels
        ``(n,)`` class of each image; every class is distributed proportionally over the parts.
    groups
        ``(n,)`` patient of each image.
    fractions
        Shares of train, validation and test; they add up to 1 and may be 0.
    seed
        Random seed; another seed gives another division.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` strings ``"train"``, ``"validation"`` or ``"test"``.

    Raises
    ------
    RecordsError
        If a class has fewer groups than there are parts, or a group is empty text.
    ConfigurationError
        For invalid fractions.
    """
    shares = np.asarray(fractions, dtype=float)
    if shares.shape != (len(SPLITS),) or (shares < 0).any() or not np.isclose(shares.sum(), 1):
        raise ConfigurationError(
            f"fractions {tuple(fractions)} were given; expected three shares of {', '.join(SPLITS)} that add up to 1"
        )
    wanted = np.flatnonzero(shares)
    parts = _deal(labels, groups, shares[wanted], seed, "splits")
    return np.array(SPLITS)[wanted][parts]


def assign_folds(
    labels: Sequence[str] | pd.Series, groups: Sequence[str] | pd.Series, folds: int = 5, seed: int = 0
) -> np.ndarray:
    """Divide images into folds of a cross-validation so that no group is in two of them.

    Parameters
    ----------
    labels, groups, seed
        As for `assign_splits`.
    folds
        Number of folds, at least 2.

    Returns
    -------
    numpy.ndarray
        ``(n,)`` int64 in ``0 ... folds - 1``.

    Raises
    ------
    RecordsError
        If a class has fewer groups than there are folds, or a group is empty text.
    ConfigurationError
        For fewer than two folds.
    """
    if folds < 2:
        raise ConfigurationError(f"{folds} folds were given; expected 2 or more")
    return _deal(labels, groups, np.full(folds, 1 / folds), seed, "folds")


def _deal(
    labels: Sequence[str] | pd.Series, groups: Sequence[str] | pd.Series, shares: np.ndarray, seed: int, kind: str
) -> np.ndarray:
    """``(n,)`` index of the part of each image."""
    names, group_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    classes, class_of = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    if not names.size or names[0] == "":
        raise RecordsError(
            f"{kind} by patient need a patient_id in every row; fill it, with one id an image if patients are unknown"
        )
    counts = np.zeros((names.size, classes.size))
    np.add.at(counts, (group_of, class_of), 1)
    carriers = (counts > 0).sum(axis=0)
    if carriers.min() < shares.size:
        scarce = int(carriers.argmin())
        raise RecordsError(
            f"class '{classes[scarce]}' has {carriers[scarce]} patients; {shares.size} {kind} that each hold the class "
            f"need {shares.size} or more, so add patients or ask for fewer {kind}"
        )
    keys = [hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest() for name in names]
    order = sorted(range(names.size), key=lambda group: (-counts[group].sum(), keys[group]))

    weights = counts / counts.sum(axis=0)
    part_of = np.empty(names.size, dtype=np.int64)
    reached = np.zeros((shares.size, classes.size))
    for group in order:
        weight = weights[group]
        change = ((2 * (reached - shares[:, None]) + weight) * weight).sum(axis=1) / shares
        part = int(np.round(change, 12).argmin())  # rounded, so that ties are the same on every processor
        part_of[group] = part
        reached[part] += weight
    _give_every_part_every_class(part_of, counts > 0, shares.size, order)
    return part_of[group_of]


def _give_every_part_every_class(part_of: np.ndarray, carries: np.ndarray, parts: int, order: list[int]) -> None:
    """Move groups, smallest first, into parts that lack a class; such a part would have no AUC.

    A donor keeps every class it has. If groups carry several scarce classes this may be impossible; the part then
    lacks the class, as in any division.
    """
    held = np.stack([carries[part_of == part].sum(axis=0) for part in range(parts)])
    for category in np.argsort(carries.sum(axis=0), kind="stable"):
        for part in np.flatnonzero(held[:, category] == 0):
            for group in reversed(order):
                donor = part_of[group]
                if carries[group, category] and (held[donor][carries[group]] > 1).all():
                    held[donor] -= carries[group]
                    held[part] += carries[group]
                    part_of[group] = part
                    break
