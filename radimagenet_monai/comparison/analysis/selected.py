"""Details of the scenario chosen on validation data: curves, calibration, operating point, net benefit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.comparison.analysis.finished import Runs, read_facts
from radimagenet_monai.comparison.analysis.measures import contrast, interval_of, joined
from radimagenet_monai.comparison.plan import OWN_SPLIT
from radimagenet_monai.statistics.auc.roc import average_precision, roc_curve
from radimagenet_monai.statistics.calibration import evaluate_calibration
from radimagenet_monai.statistics.decision_curve import decision_curve
from radimagenet_monai.statistics.predictions import PredictionTable, known_labels
from radimagenet_monai.statistics.proportions import share_of
from radimagenet_monai.statistics.resampling.bootstrap import resample_rows

_GRID = np.linspace(0, 1, 101)
_RESAMPLES = 200


def describe_selected(
    runs: Runs, out: Path, architecture: str, initialization: str, fraction: float
) -> dict[str, Any] | None:
    """The scenario with the best mean validation measure, on the test sets of all folds together.

    Probabilities of several folds are pooled for calibration, net benefit and decisions; the AUC and the ROC curve are
    means over folds, since scores of different models have no common scale.
    """
    by_scenario: dict[str, dict[int | None, PredictionTable]] = {}
    validation: dict[str, list[float]] = {}
    for run, predictions in runs.predictions.items():
        if (run.architecture, run.initialization, run.fraction) == (architecture, initialization, fraction):
            name = run.scenario.name if run.scenario else "probe"
            by_scenario.setdefault(name, {})[run.fold] = predictions
            best = read_facts(out, run).get("best_metric") or {}
            validation.setdefault(name, []).append(best.get("value") or 0.0)
    if not by_scenario:
        return None
    chosen = max(by_scenario, key=lambda name: float(np.mean(validation[name])))
    parts = [part for part in by_scenario[chosen].values() if np.unique(known_labels(part)).size == 2]
    if not parts:
        return None
    contrasts = [contrast([part], [1], 1, runs.clusters_at(part.index)) for part in parts]
    mean = joined(contrasts)
    low, high = interval_of(mean["difference"], mean["standard_error"])
    rows = np.concatenate([part.index for part in parts])
    labels = np.concatenate([known_labels(part) for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    clusters = runs.clusters_at(rows)
    calibration = evaluate_calibration(labels, scores, clusters=clusters)
    benefit = decision_curve(labels, scores)
    return {
        "scenario": chosen,
        "auc": {"auc": mean["difference"], "low": low, "high": high, "reason": mean["reason"]},
        "method": mean["method"] if runs.plan.folds == OWN_SPLIT else f"{mean['method']}, within folds",
        "average_precision": float(np.mean([average_precision(known_labels(part), part.scores) for part in parts])),
        "calibration": {**calibration.to_dict(), "bins": calibration.to_dict()["curve"]},
        "operating_point": _operating_point(parts, clusters),
        "roc": _mean_roc(parts, [runs.clusters_at(part.index) for part in parts], runs.plan.seed),
        "decision_curve": {
            "thresholds": list(benefit.thresholds),
            "model": list(benefit.model),
            "all": list(benefit.treat_all),
        },
    }


def _operating_point(parts: Sequence[PredictionTable], clusters: np.ndarray | None) -> dict[str, Any] | None:
    if any(part.decisions is None for part in parts):
        return None
    called = np.concatenate([part.decisions for part in parts if part.decisions is not None])
    positive = np.concatenate([known_labels(part) for part in parts]) == 1
    counts = {
        "sensitivity": (called, positive),
        "specificity": (~called, ~positive),
        "ppv": (positive, called),
        "npv": (~positive, ~called),
    }
    found = {name: share_of(outcomes, among, clusters) for name, (outcomes, among) in counts.items()}
    return {
        name: {"estimate": item.estimate, "low": item.low, "high": item.high, "total": item.total}
        for name, item in found.items()
    }


def _mean_roc(
    parts: Sequence[PredictionTable], clusters: Sequence[np.ndarray | None], seed: int
) -> dict[str, list[float]]:
    """Mean sensitivity of the folds at each false-positive rate, with a pointwise band of resampled patients."""
    rng = np.random.default_rng(seed)
    curve = np.mean([_sensitivity(known_labels(part), part.scores) for part in parts], axis=0)
    drawn = []
    for _ in range(_RESAMPLES):
        resampled = []
        for part, patients in zip(parts, clusters, strict=True):
            rows = resample_rows(np.arange(part.index.size) if patients is None else patients, rng)
            if np.unique(known_labels(part)[rows]).size == 2:
                resampled.append(_sensitivity(known_labels(part)[rows], part.scores[rows]))
        if resampled:
            drawn.append(np.mean(resampled, axis=0))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return {
        "false_positive_rate": _GRID.tolist(),
        "sensitivity": curve.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def _sensitivity(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    curve = roc_curve(labels, scores)
    return np.interp(_GRID, curve.false_positive_rate, curve.sensitivity)
