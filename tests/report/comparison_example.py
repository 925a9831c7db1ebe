"""An analysis of a comparison, in the form of ``analysis.json``, from simulated scores and the package's statistics."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from radimagenet_monai.statistics.auc.delong import compare_aucs, estimate_auc
from radimagenet_monai.statistics.auc.roc import average_precision, roc_curve
from radimagenet_monai.statistics.calibration import evaluate_calibration
from radimagenet_monai.statistics.multiplicity import holm
from radimagenet_monai.statistics.power import patients_needed
from radimagenet_monai.statistics.proportions import operating_point, wilson
from radimagenet_monai.statistics.resampling.cross_validation import corrected_resampled_test

IMAGES_PER_PATIENT = 2
_BOUNDED = [f"{name}{end}" for name in ("slope", "intercept") for end in ("", "_low", "_high")]


class Simulation:
    """Scores of every run on its test fold, with better initializations further apart."""

    def __init__(
        self,
        initializations: Sequence[str],
        architectures: Sequence[str],
        folds: int,
        fractions: Sequence[float],
        patients: int,
        seed: int,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.names, self.architectures, self.folds, self.fractions = initializations, architectures, folds, fractions
        self.scenarios = [("all-0.001", "none", 0.001), ("all-0.0001", "none", 0.0001)]
        self.patient = np.repeat(np.arange(patients), IMAGES_PER_PATIENT)
        self.labels = np.repeat(rng.permutation(np.arange(patients) % 2), IMAGES_PER_PATIENT)
        self.fold = self.patient % folds
        self.sex = np.array(["F", "M"])[self.patient // 2 % 2]
        common = np.repeat(rng.normal(size=patients), IMAGES_PER_PATIENT)
        self.scores: dict[tuple[str, str, str, float], np.ndarray] = {}
        for (rank, name), architecture, (scenario, *_), fraction in itertools.product(
            enumerate(initializations), architectures, self.scenarios, fractions
        ):
            distance = (1.1 + 0.5 * rank) * fraction**0.3
            noise = rng.normal(size=self.labels.size)
            logits = distance * (2 * self.labels - 1) + 0.7 * common + noise
            self.scores[name, architecture, scenario, fraction] = 1 / (1 + np.exp(-logits))

    def auc(self, name: str, architecture: str, scenario: str, fraction: float, fold: int) -> float:
        chosen = self.fold == fold
        value = estimate_auc(self.labels[chosen], self.scores[name, architecture, scenario, fraction][chosen]).auc
        assert value is not None
        return value

    def of_folds(self, name: str, architectures: Sequence[str], fraction: float) -> np.ndarray:
        """``(folds,)`` mean AUC over architectures and scenarios."""
        return np.array(
            [
                np.mean([self.auc(name, a, s, fraction, fold) for a in architectures for s, *_ in self.scenarios])
                for fold in range(self.folds)
            ]
        )

    def of_scenarios(self, name: str, architectures: Sequence[str], fraction: float) -> dict[str, float]:
        return {
            scenario: float(
                np.mean([self.auc(name, a, scenario, fraction, f) for a in architectures for f in range(self.folds)])
            )
            for scenario, *_ in self.scenarios
        }

    def pooled(self, name: str, architecture: str, fraction: float) -> np.ndarray:
        return np.mean([self.scores[name, architecture, s, fraction] for s, *_ in self.scenarios], axis=0)


def example(
    initializations: Sequence[str] = ("random", "imagenet", "phantom"),
    architectures: Sequence[str] = ("densenet121", "resnet50"),
    folds: int = 3,
    fractions: Sequence[float] = (0.25, 0.5, 1.0),
    patients: int = 90,
    seed: int = 0,
    task: str = "breast_mass_us_classification",
) -> dict[str, Any]:
    """A complete analysis, without localization (`with_localization`)."""
    sim = Simulation(initializations, architectures, folds, fractions, patients, seed)
    places = [[architecture] for architecture in architectures]
    places += [list(architectures)] if len(architectures) > 1 else []
    over_all = _place(places[-1])
    differences = [
        _difference(sim, first, second, place, fraction)
        for place in places
        for fraction in fractions
        for first, second in itertools.combinations(reversed(list(initializations)), 2)
    ]
    for place, fraction in itertools.product({d["architecture"] for d in differences}, fractions):
        family = [d for d in differences if (d["architecture"], d["fraction"]) == (place, fraction)]
        for item, adjusted in zip(family, holm([item["p"] for item in family]), strict=True):
            item["p_adjusted"] = adjusted
    counts = {part: {"images": share, "patients": share // 2, "positives": share // 2} for part, share in _parts(sim)}
    return {
        "format": 1,
        "task": {
            "name": task,
            "title": "Breast mass in ultrasound",
            "modality": "US",
            "classes": ["benign", "malignant"],
            "positive": "malignant",
            "kind": "classification",
            "image_warning": "These are phantoms, drawn by a program. The figures say nothing about patients.",
        },
        "measure": "AUC",
        "protocol": {
            "name": "quick",
            "description": "two learning rates, all layers trainable",
            "architectures": list(architectures),
            "scenarios": [{"name": n, "freeze": f, "learning_rate": r} for n, f, r in sim.scenarios],
            "folds": folds,
            "fractions": list(fractions),
            "epochs": 12,
            "image_size": 128,
            "batch_size": 16,
            "seed": 7,
            "validation": "the epoch with the lowest validation loss; fold k + 1 validates",
        },
        "initializations": [
            {
                "name": name,
                "weights": name,
                "identity": {architecture: {"sha256": "0f" * 32} for architecture in architectures},
                "input": "RGB, (x - 0.5) / 0.5",
                "origin": "trained on phantoms" if name == "phantom" else "as published",
                "licence": "CC-BY-4.0",
            }
            for name in initializations
        ],
        "data": {
            "records": "records.csv",
            "records_sha256": "ab" * 32,
            "images": sim.labels.size + 4,
            "patients": patients,
            "exams": None,
            "classes": {"benign": int((sim.labels == 0).sum()), "malignant": int(sim.labels.sum())},
            "clustered": True,
            "excluded": [{"reason": "the file cannot be read", "images": 3}, {"reason": "no label", "images": 1}],
            "folds": [{"fold": fold, **counts} for fold in range(folds)],
        },
        "runs": list(_runs(sim)),
        "performance": [
            _performance(sim, name, place, fraction)
            for place in places
            for name in initializations
            for fraction in fractions
        ],
        "differences": differences,
        "learning_curve": [
            {
                "architecture": _place(place),
                "initialization": name,
                "fraction": fraction,
                "patients": round(patients * fraction / 3),
                "images": round(2 * patients * fraction / 3),
                "mean": float(values.mean()),
                "low": float(values.mean() - 0.05),
                "high": float(min(1, values.mean() + 0.05)),
                "per_fold": values.tolist(),
            }
            for place in places
            for name in initializations
            for fraction in fractions
            for values in [sim.of_folds(name, place, fraction)]
        ],
        "subgroups": list(_subgroups(sim)),
        "localization": None,
        "localization_differences": [],
        "power": [
            {
                "architecture": item["architecture"],
                "first": item["first"],
                "second": item["second"],
                "difference": 0.02,
                "power": 0.8,
                "patients": patients_needed(item["standard_error"], patients, 0.02),
            }
            for item in differences
            if item["fraction"] == max(fractions) and item["architecture"] == over_all
        ],
        "sentences": [_sentence(d) for d in differences if (d["architecture"], d["fraction"]) == (over_all, 1.0)],
        "notes": ["Several images of a patient are not independent; intervals count patients."],
        "limits": ["Phantoms are simpler than patients.", "One dataset, no external test."],
        "software": {"radimagenet_monai": "0.1.0", "monai": "1.6.1", "torch": "2.13.0", "python": "3.11.2"},
        "hardware": {"cpu": "x86_64", "cores": 2, "gpu": None},
        "started": "2026-11-23T10:00:00+00:00",
        "seconds": 754.2,
        "command": f"radimagenet compare --task {task} --records records.csv --weights {','.join(initializations)}",
    }


def with_localization(analysis: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """The same with class activation maps measured against masks; pictures are ``overlays/0001.png`` and on."""
    rng = np.random.default_rng(seed)

    def measured(rank: int) -> dict[str, Any]:
        values = {name: float(0.3 + 0.1 * rank + 0.02 * rng.random()) for name in ("energy", "dice", "iou")}
        return {
            "cases": 40,
            "threshold": 0.5,
            "pointing": _interval(wilson(24 + 4 * rank, 40)),
            **{name: {"estimate": v, "low": v - 0.05, "high": v + 0.05} for name, v in values.items()},
            "by_size": [
                {"size": size, "cases": 13, "pointing": _interval(wilson(hits, 13)), "dice": {"estimate": hits / 20}}
                for size, hits in (("small", 4), ("medium", 8), ("large", 11))
            ],
            "sanity": {
                "checks": [
                    {"randomized": "head", "spearman": 0.31, "ssim": 0.42},
                    {"randomized": "all layers", "spearman": 0.02, "ssim": 0.05},
                ],
                "verdict": "passed",
                "text": "Randomized weights destroy the maps, as they must.",
            },
            "gallery": [
                {
                    "rank": place,
                    "overlay": f"overlays/{number:04d}.png",
                    "class": "malignant",
                    "probability": 0.9,
                    "dice": 0.9 - 0.4 * number,
                    "energy": 0.5,
                    "pointing": 1.0,
                }
                for number, place in enumerate(("best", "median", "worst"), 0)
            ],
        }

    names = [item["name"] for item in analysis["initializations"]]
    architecture = analysis["protocol"]["architectures"][0]
    return analysis | {
        "localization": [
            {"architecture": architecture, "initialization": name, **measured(rank)} for rank, name in enumerate(names)
        ],
        "localization_differences": [
            {
                "first": names[-1],
                "second": names[0],
                "measure": "dice",
                "difference": 0.2,
                "low": 0.1,
                "high": 0.3,
                "p": 0.0004,
            }
        ],
    }


def _place(architectures: list[str]) -> str:
    return architectures[0] if len(architectures) == 1 else "all"


def _parts(sim: Simulation) -> list[tuple[str, int]]:
    share = sim.labels.size // sim.folds
    return [("train", max(share, sim.labels.size - 2 * share)), ("validation", share), ("test", share)]


def _runs(sim: Simulation) -> Any:
    combinations = itertools.product(
        sim.architectures, sim.names, [s for s, *_ in sim.scenarios], range(sim.folds), sim.fractions
    )
    for number, (architecture, name, scenario, fold, fraction) in enumerate(combinations):
        chosen = sim.fold == fold
        found = estimate_auc(sim.labels[chosen], sim.scores[name, architecture, scenario, fraction][chosen])
        identity = f"{number:04d}"
        yield {
            "id": identity,
            "architecture": architecture,
            "initialization": name,
            "scenario": scenario,
            "fold": fold if sim.folds > 1 else None,
            "fraction": fraction,
            "status": "finished",
            "value": found.auc,
            "low": found.low,
            "high": found.high,
            "best_epoch": 9,
            "seconds": 12.5,
            "command": f"python -m monai.bundle run --config_file configs/train.json --weights {name} --fold {fold}",
            "problem": None,
            "log": f"runs/{identity}/train.log",
            "run": {"seed": 7, "versions": {"monai": "1.6.1"}, "weights": {"name": name}},
        }


def _performance(sim: Simulation, name: str, place: list[str], fraction: float) -> dict[str, Any]:
    values = sim.of_folds(name, place, fraction)
    test = corrected_resampled_test(values, 1 / max(1, sim.folds - 2))
    scenarios = list(sim.of_scenarios(name, place, fraction).values())
    return {
        "architecture": _place(place),
        "initialization": name,
        "fraction": fraction,
        "runs": len(place) * len(sim.scenarios) * sim.folds,
        "mean": float(values.mean()),
        "sd": float(np.std(scenarios, ddof=1)),
        "sd_folds": float(values.std(ddof=1)) if sim.folds > 1 else None,
        "low": None if test.low is None else max(0.0, test.low),
        "high": None if test.high is None else min(1.0, test.high),
        "reason": test.reason,
        "pooled": _pooled(sim, name, place[0], fraction) if len(place) == 1 and fraction == 1 else None,
    }


def _pooled(sim: Simulation, name: str, architecture: str, fraction: float) -> dict[str, Any]:
    scores = sim.pooled(name, architecture, fraction)
    auc, point = estimate_auc(sim.labels, scores), operating_point(sim.labels, scores, 0.5)
    curve = roc_curve(sim.labels, scores)
    kept = np.linspace(0, curve.sensitivity.size - 1, min(60, curve.sensitivity.size)).astype(int)
    positives = int(sim.labels.sum())
    bands = [wilson(round(s * positives), positives) for s in curve.sensitivity[kept]]
    calibration = evaluate_calibration(sim.labels, scores, bins=5, clusters=sim.patient)
    thresholds = np.linspace(0.05, 0.95, 19)
    odds, prevalence = thresholds / (1 - thresholds), sim.labels.mean()
    called = scores[None] >= thresholds[:, None]
    benefit = (called * sim.labels).mean(axis=1) - odds * (called * (1 - sim.labels)).mean(axis=1)
    return {
        "auc": {"auc": auc.auc, "low": auc.low, "high": auc.high, "reason": auc.reason},
        "method": "DeLong, within folds",
        "average_precision": average_precision(sim.labels, scores),
        "calibration": {
            **{key: getattr(calibration, key) for key in ("brier", "ece", *_BOUNDED)},
            "bins": [asdict(item) for item in calibration.curve],
        },
        "operating_point": {
            measure: _interval(getattr(point, measure)) for measure in ("sensitivity", "specificity", "ppv", "npv")
        },
        "roc": {
            "false_positive_rate": curve.false_positive_rate[kept].tolist(),
            "sensitivity": curve.sensitivity[kept].tolist(),
            "low": [band.low for band in bands],
            "high": [band.high for band in bands],
        },
        "decision_curve": {
            "thresholds": thresholds.tolist(),
            "model": benefit.tolist(),
            "all": (prevalence - (1 - prevalence) * odds).tolist(),
        },
    }


def _difference(sim: Simulation, first: str, second: str, place: list[str], fraction: float) -> dict[str, Any]:
    per_fold = sim.of_folds(first, place, fraction) - sim.of_folds(second, place, fraction)
    test = corrected_resampled_test(per_fold, 1 / max(1, sim.folds - 2))
    scenarios = [sim.of_scenarios(name, place, fraction) for name in (first, second)]
    scores = {name: sim.pooled(name, place[0], fraction) for name in (first, second)}
    given = compare_aucs(sim.labels, scores).pairs[0]
    return {
        "architecture": _place(place),
        "fraction": fraction,
        "first": first,
        "second": second,
        "difference": float(per_fold.mean()),
        "low": test.low,
        "high": test.high,
        "p": test.p,
        "p_adjusted": None,
        "standard_error": test.standard_error,
        "method": "corrected resampled t-test (Nadeau and Bengio)",
        "reason": test.reason,
        "test_sets": {
            "difference": given.difference,
            "low": given.low,
            "high": given.high,
            "p": given.p,
            "method": "DeLong",
            "reason": given.reason,
        },
        "per_fold": [{"fold": fold, "difference": float(value)} for fold, value in enumerate(per_fold)],
        "per_scenario": [{"scenario": s, "difference": scenarios[0][s] - scenarios[1][s]} for s in scenarios[0]],
    }


def _subgroups(sim: Simulation) -> Any:
    first, second = sim.names[-1], sim.names[0]
    for group in ("F", "M"):
        chosen = sim.sex == group
        scores = {name: sim.pooled(name, sim.architectures[0], 1.0)[chosen] for name in (first, second)}
        pair = compare_aucs(sim.labels[chosen], scores).pairs[0]
        values = {name: estimate_auc(sim.labels[chosen], score) for name, score in scores.items()}
        yield {
            "column": "sex",
            "group": group,
            "images": int(chosen.sum()),
            "patients": len(set(sim.patient[chosen])),
            "positives": int(sim.labels[chosen].sum()),
            "architecture": sim.architectures[0],
            "first": first,
            "second": second,
            "difference": pair.difference,
            "low": pair.low,
            "high": pair.high,
            "p": pair.p,
            "reason": pair.reason,
            "values": {name: {"auc": v.auc, "low": v.low, "high": v.high} for name, v in values.items()},
        }


def _sentence(item: dict[str, Any]) -> str:
    better = "reached a higher" if item["difference"] > 0 else "reached a lower"
    return f"{item['first']} {better} mean AUC than {item['second']}, over all architectures."


def _interval(proportion: Any) -> dict[str, Any]:
    return {"estimate": proportion.estimate, "low": proportion.low, "high": proportion.high}
