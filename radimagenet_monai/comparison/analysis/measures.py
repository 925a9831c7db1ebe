"""Measures compared on one test set: the AUC of several models, and linear combinations of AUCs.

Two classes: the AUC, with the variance of DeLong 1988, or of Obuchowski 1997 if a patient has several images. More
classes: the macro AUC, with the variance of a bootstrap by patient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit, ndtr

from radimagenet_monai.statistics.auc.components import AucComponents
from radimagenet_monai.statistics.multiclass import class_aucs
from radimagenet_monai.statistics.predictions import PredictionTable, known_labels
from radimagenet_monai.statistics.proportions import normal_quantile
from radimagenet_monai.statistics.resampling.bootstrap import resample_rows

CONFIDENCE = 0.95

_RESAMPLES = 400


@dataclass(frozen=True)
class Contrast:
    """A linear combination of measures on one test set.

    Attributes
    ----------
    value
        ``None`` if a class is absent.
    standard_error
        From the sampling of test patients, for fixed models; ``None`` if not estimable.
    method
        Method of the variance.
    reason
        Why something is not estimable.
    """

    value: float | None
    standard_error: float | None
    method: str
    reason: str | None = None


def measure_name(classes: int) -> str:
    """``"AUC"`` or ``"macro AUC"``."""
    return "AUC" if classes == 2 else "macro AUC"


def measure_of(model: PredictionTable) -> float | None:
    """The AUC, or the macro AUC for more than two classes; ``None`` if a class needed for it is absent."""
    if np.unique(known_labels(model)).size < 2:
        return None
    areas = class_aucs(known_labels(model), model.probabilities)
    return float(areas[1] if areas.size == 2 else np.nanmean(areas))


def contrast(
    models: Sequence[PredictionTable], signs: Sequence[int], divisor: int, clusters: np.ndarray | None, seed: int = 0
) -> Contrast:
    """``sum(sign * measure) / divisor`` of models on the same images.

    Parameters
    ----------
    models
        Predictions of the models, on the same rows.
    signs
        Integers, one per model, so that models with the same ranking cancel exactly.
    divisor
        Usually the number of models on each side.
    clusters
        ``(n,)`` patient indices from 0; ``None`` if images are independent.
    seed
        Seed of the bootstrap.
    """
    labels = known_labels(models[0])
    if models[0].probabilities.shape[1] > 2:
        return _macro(models, signs, divisor, clusters, seed)
    method = "DeLong" if clusters is None else "Obuchowski"
    positive = labels == 1
    if positive.all() or not positive.any():
        return Contrast(None, None, method, f"all images are {'positive' if positive.any() else 'negative'}")
    weights = np.asarray(signs, dtype=np.float64)
    components = AucComponents.of(positive, np.stack([model.scores for model in models]), clusters)
    # From counts, which are exact: a sum of AUCs would leave rounding errors when models cancel.
    combined = components.contrasted(weights[None])
    value = float(combined.aucs[0]) / divisor
    reason = components.why_no_variance(weights)
    if reason:
        return Contrast(value, None, method, reason)
    return Contrast(value, float(np.sqrt(combined.covariance[0, 0])) / divisor, method)


def interval_of(auc: float | None, standard_error: float | None) -> tuple[float | None, float | None]:
    """Interval of one AUC, symmetric on the logit scale; two ``None`` without one."""
    if auc is None or standard_error is None or not 0 < auc < 1:
        return None, None
    spread = normal_quantile(CONFIDENCE) * standard_error / (auc * (1 - auc))
    return float(expit(logit(auc) - spread)), float(expit(logit(auc) + spread))


def joined(contrasts: Sequence[Contrast]) -> dict[str, Any]:
    """Mean over disjoint test sets, for fixed models: value, interval and two-sided test against 0.

    A test set without an estimable variance, such as a perfectly separated one, is assumed to vary like the others:
    excluding it would understate the variance of the mean.
    """
    known = [item for item in contrasts if item.value is not None]
    result: dict[str, Any] = dict.fromkeys(("difference", "standard_error", "low", "high", "p", "method", "reason"))
    if not known:
        return {**result, "reason": contrasts[0].reason if contrasts else "no test set has both classes"}
    value = float(np.mean([item.value for item in known]))
    result.update(difference=value, method=known[0].method)
    errors = [item.standard_error for item in known if item.standard_error is not None]
    if not errors:
        return {**result, "reason": known[0].reason}
    error = float(np.sqrt(np.mean(np.square(errors)) / len(known)))
    reach = normal_quantile(CONFIDENCE) * error
    p = float(2 * ndtr(-abs(value / error)))
    low, high = max(-1.0, value - reach), min(1.0, value + reach)
    return {**result, "standard_error": error, "low": low, "high": high, "p": p}


def _macro(
    models: Sequence[PredictionTable], signs: Sequence[int], divisor: int, clusters: np.ndarray | None, seed: int
) -> Contrast:
    method = "bootstrap" if clusters is None else "bootstrap by patient"
    labels = known_labels(models[0])

    def value(rows: np.ndarray) -> float:
        areas = (float(np.nanmean(class_aucs(labels[rows], model.probabilities[rows]))) for model in models)
        # Rounded once, so that models with the same ranking cancel exactly.
        return math.fsum(sign * area for sign, area in zip(signs, areas, strict=True)) / divisor

    if np.unique(labels).size < 2:
        return Contrast(None, None, method, "all images are of one class")
    everything = np.arange(labels.size)
    estimate = value(everything)
    units = everything if clusters is None else clusters
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(_RESAMPLES):
        rows = resample_rows(units, rng)
        if np.unique(labels[rows]).size > 1:
            drawn.append(value(rows))
    error = float(np.std(drawn, ddof=1)) if len(drawn) > _RESAMPLES // 2 else None
    if not error:
        reason = "the models give the same in every resample" if error == 0 else "too few resamples hold two classes"
        return Contrast(estimate, None, method, reason)
    return Contrast(estimate, error, method)
