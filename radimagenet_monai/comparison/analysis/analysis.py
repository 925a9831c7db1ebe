"""Turn the predictions of a comparison's runs into ``analysis.json``, with everything the report says.

Two questions are kept apart. *Are these trained models different on new patients?* is answered on the test sets, given
the models (DeLong, or Obuchowski if patients have several images), combined over the disjoint folds. *Is the
initialization better after retraining?* is what a user wants to know; the differences of the folds answer it, with the
variance of Nadeau and Bengio for folds that share training data. The second is the headline if there are folds; with
one split only the first can be answered, and every statement is about these trained models. Differences are described
but not tested if fewer than ten patients of a class or twenty in total were tested.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radimagenet_monai.catalog.phantom_notice import PHANTOM_NOTICE, is_phantom
from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.comparison.analysis.as_run import as_run, versions_of
from radimagenet_monai.comparison.analysis.finished import POOLED, Runs, paired, read_facts
from radimagenet_monai.comparison.analysis.localization import localize_runs
from radimagenet_monai.comparison.analysis.measures import (
    CONFIDENCE,
    Contrast,
    contrast,
    interval_of,
    joined,
    measure_name,
    measure_of,
)
from radimagenet_monai.comparison.analysis.predictions import RecordIndex, patients_of, read_run
from radimagenet_monai.comparison.analysis.selected import describe_selected
from radimagenet_monai.comparison.analysis.sentences import LEVEL, sentences
from radimagenet_monai.comparison.analysis.subgroup_differences import subgroup_differences
from radimagenet_monai.comparison.analysis.tested import tested_by_pair, why_too_few
from radimagenet_monai.comparison.jobs import EVALUATION_FOLDER, FINISHED, RUNS_FOLDER, read_result
from radimagenet_monai.comparison.plan import OWN_SPLIT, PLAN_FILE, Initialization, Plan, Run, plan_from
from radimagenet_monai.comparison.training_sets import describe_folds, read_all
from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.records.data_source import described
from radimagenet_monai.engine.handlers.run_record import hardware, package_versions
from radimagenet_monai.statistics.multiplicity import holm
from radimagenet_monai.statistics.patient_numbers import number_patients
from radimagenet_monai.statistics.power import patients_needed
from radimagenet_monai.statistics.predictions import PredictionTable
from radimagenet_monai.statistics.resampling.cross_validation import corrected_resampled_test
from radimagenet_monai.weights.store import find_weights

ANALYSIS_FILE = "analysis.json"
FORMAT = 1
DIFFERENCES_THAT_MATTER = (0.02, 0.05)
"""Of the AUC, for which the number of patients needed is given."""


def analyze(out: Path, root: Path, columns: Sequence[str] = ()) -> dict[str, Any]:
    """Analyze a comparison and write ``analysis.json``, atomically.

    Parameters
    ----------
    out
        Folder of the comparison.
    root
        Folder that the records' paths are relative to.
    columns
        Columns of the records table that define subgroups; by default the `USUAL_COLUMNS` it has.

    Raises
    ------
    RecordsError
        If no two initializations have a finished run in common.
    """
    facts = json.loads((out / PLAN_FILE).read_text(encoding="utf-8"))
    plan = plan_from(facts)
    task = get_task(plan.task)
    frame = read_all(out)
    index = RecordIndex(frame, root)
    runs, predictions = [], {}
    for run in plan.runs():
        folder = out / RUNS_FOLDER / run.id
        result = read_result(folder) or {"status": "missing", "problem": "it was not run", "seconds": None}
        if result["status"] == FINISHED:
            place = folder / EVALUATION_FOLDER
            predictions[run] = read_run(place, index, task, plan.classes, plan.aggregate)
        runs.append((run, result))
    several = plan.fractions if plan.folds != OWN_SPLIT else ()
    shares = {fraction: _test_share(plan, frame, fraction) for fraction in several}
    about, dataset = described(task, plan.classes, facts.get("source"))
    found = Runs(plan, frame, predictions, _clusters(frame, predictions), shares)

    rows = [_run_row(out, run, result, found) for run, result in runs]
    done = as_run(plan, rows)
    used = {row["initialization"] for row in rows if row["status"] == FINISHED}

    performance = _performance(found, out)
    differences = _differences(found)
    localization, localization_differences = localize_runs(found, performance, out, root)
    analysis: dict[str, Any] = {
        "format": FORMAT,
        "task": {
            "name": task.name,
            "title": about.title,
            "modality": str(task.modality) if task.modality else "mixed",
            "kind": str(task.kind),
            "classes": list(plan.classes),
            "positive": _positive(plan),
            "dataset": dataset.title,
            "limits": list(about.limits),
            "image_warning": PHANTOM_NOTICE if is_phantom(root) else None,
        },
        "measure": measure_name(len(plan.classes)),
        "about": "these trained models" if plan.folds == OWN_SPLIT else "the initializations",
        "protocol": {
            "name": plan.protocol,
            **done,
            "folds": plan.folds,
            "fractions": list(plan.fractions),
            "validation": _validation_in_words(plan),
        },
        "initializations": [_initialization(plan, item) for item in plan.initializations if item.name in used],
        "data": {**_data(found), "left_out_before": dict((facts.get("source") or {}).get("left_out", {}))},
        "runs": rows,
        "performance": performance,
        "differences": differences,
        "learning_curve": _learning_curve(found),
        "subgroups": subgroup_differences(found, performance, columns),
        "localization": localization,
        "localization_differences": localization_differences,
        "power": _power(found, differences),
        "notes": _notes(found, runs),
        "limits": _limits(plan, done["epochs"]),
        "software": versions_of(rows, package_versions()),
        "hardware": hardware(),
        # From the runs, not from this start, so that a resumed comparison gives the same analysis.
        "seconds": round(sum(result["seconds"] or 0.0 for _, result in runs), 1),
        "command": facts.get("command", ""),
    }
    analysis["sentences"] = sentences(analysis)
    atomic_write_text(out / ANALYSIS_FILE, json.dumps(analysis, indent=1) + "\n")
    return analysis


def _fold_difference(
    runs: Runs, architecture: str, first: str, second: str, fold: int | None, fraction: float
) -> Contrast | None:
    """Mean difference per fold over scenarios (and architectures); ``None`` without a pair."""
    pairs, rows = paired(runs, architecture, first, second, fold, fraction)
    if not pairs:
        return None
    models = [pair[1] for pair in pairs] + [pair[2] for pair in pairs]
    signs = [1] * len(pairs) + [-1] * len(pairs)
    return contrast(models, signs, len(pairs), runs.clusters_at(rows), runs.plan.seed)


def _differences(runs: Runs) -> list[dict[str, Any]]:
    names = [item.name for item in runs.plan.initializations]
    rows = []
    for fraction in reversed(runs.plan.fractions):
        family = []
        for architecture in _architectures_and_pooled(runs.plan):
            for first, second in itertools.combinations(names, 2):
                row = _difference(runs, architecture, first, second, fraction)
                if row is not None:
                    family.append(row)
        # One family: all pairs and architectures at one training-set size; pooled rows are a separate family.
        for pooled in (True, False):
            members = [row for row in family if (row["architecture"] == POOLED) == pooled]
            for row, adjusted in zip(members, holm([row["p"] for row in members]), strict=True):
                row["p_adjusted"] = adjusted
        rows += family
    return rows


def _difference(runs: Runs, architecture: str, first: str, second: str, fraction: float) -> dict[str, Any] | None:
    by_fold = {fold: _fold_difference(runs, architecture, first, second, fold, fraction) for fold in runs.folds()}
    contrasts = [item for item in by_fold.values() if item is not None]
    if not contrasts:
        return None
    of_test_sets = joined(contrasts)
    values = [item.value for item in contrasts if item.value is not None]
    row: dict[str, Any] = {"architecture": architecture, "fraction": fraction, "first": first, "second": second}
    row["tested"] = tested_by_pair(runs, architecture, first, second, fraction)
    row["too_few"] = why_too_few(row["tested"])
    if runs.plan.folds == OWN_SPLIT:
        row |= {**of_test_sets, "degrees_of_freedom": None}
    else:
        test = corrected_resampled_test(values, runs.test_shares[fraction], CONFIDENCE)
        row |= {
            "difference": test.difference,
            "standard_error": test.standard_error,
            "low": None if test.low is None else max(-1.0, test.low),
            "high": None if test.high is None else min(1.0, test.high),
            "p": test.p,
            "degrees_of_freedom": test.degrees_of_freedom,
            "method": "corrected resampled t-test (Nadeau and Bengio)",
            "reason": test.reason,
        }
    row["means"] = _means(runs, architecture, first, second, fraction)
    row["test_sets"] = of_test_sets
    if row["too_few"]:
        for claimed in (row, of_test_sets):
            claimed |= {**dict.fromkeys(("standard_error", "low", "high", "p")), "reason": row["too_few"]}
    row["per_fold"] = [{"fold": fold, "difference": item.value} for fold, item in by_fold.items() if item is not None]
    row["per_scenario"] = _per_scenario(runs, architecture, first, second, fraction)
    return row


def _means(runs: Runs, architecture: str, first: str, second: str, fraction: float) -> dict[str, float]:
    """Mean measures of both over the runs they share; the reported difference is between these."""
    by_fold = []
    for fold in runs.folds():
        pairs, _ = paired(runs, architecture, first, second, fold, fraction)
        measured = [(measure_of(model), measure_of(other)) for _, model, other in pairs]
        known = [(value, other) for value, other in measured if value is not None and other is not None]
        if known:
            by_fold.append(np.mean(known, axis=0))
    return dict(zip((first, second), np.mean(by_fold, axis=0).tolist(), strict=True)) if by_fold else {}


def _per_scenario(runs: Runs, architecture: str, first: str, second: str, fraction: float) -> list[dict[str, Any]]:
    by_scenario: dict[str, list[float]] = {}
    for fold in runs.folds():
        pairs, _ = paired(runs, architecture, first, second, fold, fraction)
        for name, model, other in pairs:
            values = measure_of(model), measure_of(other)
            if values[0] is not None and values[1] is not None:
                by_scenario.setdefault(name, []).append(values[0] - values[1])
    return [{"scenario": name, "difference": float(np.mean(values))} for name, values in by_scenario.items()]


def _performance(runs: Runs, out: Path) -> list[dict[str, Any]]:
    rows = []
    for fraction in reversed(runs.plan.fractions):
        for architecture in _architectures_and_pooled(runs.plan):
            for item in runs.plan.initializations:
                row = _performance_row(runs, architecture, item.name, fraction)
                if row is None:
                    continue
                row["pooled"] = None
                if architecture != POOLED and fraction == runs.plan.fractions[-1] and len(runs.plan.classes) == 2:
                    row["pooled"] = describe_selected(runs, out, architecture, item.name, fraction)
                rows.append(row)
    return rows


def _performance_row(runs: Runs, architecture: str, name: str, fraction: float) -> dict[str, Any] | None:
    by_scenario: dict[str, dict[int | None, float]] = {}
    single: list[Contrast] = []
    for fold in runs.folds():
        for scenario, predictions in runs.find(architecture, name, fold, fraction).items():
            item = contrast([predictions], [1], 1, runs.clusters_at(predictions.index), runs.plan.seed)
            single.append(item)
            if item.value is not None:
                by_scenario.setdefault(scenario, {})[fold] = item.value
    if not by_scenario:
        return None
    of_scenarios = [float(np.mean(list(values.values()))) for values in by_scenario.values()]
    folds = [
        float(np.mean(values))
        for fold in runs.folds()
        if (values := [found[fold] for found in by_scenario.values() if fold in found])
    ]
    low, high, reason = _interval(runs, folds, single, fraction)
    return {
        "architecture": architecture,
        "initialization": name,
        "fraction": fraction,
        "runs": sum(len(values) for values in by_scenario.values()),
        "scenarios": len(of_scenarios),
        "mean": float(np.mean(of_scenarios)),
        "sd": float(np.std(of_scenarios, ddof=1)) if len(of_scenarios) > 1 else None,
        "sd_folds": float(np.std(folds, ddof=1)) if len(folds) > 1 else None,
        "per_fold": folds,
        "low": low,
        "high": high,
        "reason": reason,
    }


def _interval(
    runs: Runs, folds: Sequence[float], single: Sequence[Contrast], fraction: float
) -> tuple[float | None, float | None, str | None]:
    """Interval of a mean measure: over folds if there are several, else from the test set on the logit scale."""
    if runs.plan.folds != OWN_SPLIT:
        test = corrected_resampled_test(folds, runs.test_shares[fraction], CONFIDENCE)
        if test.low is None or test.high is None:
            return None, None, test.reason
        return max(0.0, test.low), min(1.0, test.high), None
    if len(single) > 1:
        return None, None, "several scenarios on one test set; see each run's own interval"
    item = single[0]
    return (*interval_of(item.value, item.standard_error), item.reason)


def _learning_curve(runs: Runs) -> list[dict[str, Any]]:
    if len(runs.plan.fractions) < 2:
        return []
    rows = []
    for fraction in runs.plan.fractions:
        folds = describe_folds(runs.plan, runs.frame, fraction)
        images = [fold["train"]["images"] for fold in folds]
        patients = [fold["train"]["patients"] for fold in folds]
        for architecture in _architectures_and_pooled(runs.plan):
            for item in runs.plan.initializations:
                row = _performance_row(runs, architecture, item.name, fraction)
                if row is None:
                    continue
                rows.append(
                    {
                        **{name: row[name] for name in ("architecture", "initialization", "fraction")},
                        "patients": None if None in patients else round(float(np.mean(patients))),
                        "images": round(float(np.mean(images))),
                        **{name: row[name] for name in ("mean", "low", "high", "per_fold")},
                    }
                )
    return rows


def _power(runs: Runs, differences: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Number of patients for which each pair's test would show a relevant difference.

    The level is that of the first step of Holm's procedure, so that the power holds after adjustment.
    """
    shown = [row for row in differences if row["fraction"] == runs.plan.fractions[-1] and row["p"] is not None]
    rows = []
    for row in shown:
        family = sum((other["architecture"] == POOLED) == (row["architecture"] == POOLED) for other in shown)
        level, have = LEVEL / family, row["tested"]["total"]
        for wanted in DIFFERENCES_THAT_MATTER:
            needed = patients_needed(
                row["standard_error"],
                have,
                wanted,
                confidence=1 - level,
                degrees_of_freedom=row["degrees_of_freedom"],
            )
            rows.append(
                {
                    **{name: row[name] for name in ("architecture", "first", "second", "method", "degrees_of_freedom")},
                    "difference": wanted,
                    "power": 0.8,
                    "level": level,
                    "patients": needed,
                    "have": have,
                    "unit": row["tested"]["unit"],
                }
            )
    return rows


def _test_share(plan: Plan, frame: pd.DataFrame, fraction: float) -> float:
    """Size of a test fold divided by that of its training data, in patients if they are known."""
    shares = []
    for fold in describe_folds(plan, frame, fraction):
        unit = "patients" if fold["train"]["patients"] and fold["test"]["patients"] else "images"
        shares.append(fold["test"][unit] / fold["train"][unit])
    return float(np.mean(shares))


def _clusters(frame: pd.DataFrame, predictions: Mapping[Run, PredictionTable]) -> np.ndarray | None:
    if len(predictions) < 2:
        raise RecordsError("fewer than two runs were finished; see the runs' logs and give the command again")
    patients = patients_of(frame)
    if patients is None:
        return None
    numbers = number_patients(patients, len(frame))
    scored = np.unique(np.concatenate([item.index for item in predictions.values()]))
    return numbers if np.unique(numbers[scored]).size < scored.size else None


def _architectures_and_pooled(plan: Plan) -> list[str]:
    return [*plan.architectures, POOLED] if len(plan.architectures) > 1 else list(plan.architectures)


def _initialization(plan: Plan, item: Initialization) -> dict[str, Any]:
    described: dict[str, Any] = {"name": item.name, "weights": Path(item.weights).name}
    identities = {}
    for architecture in plan.architectures:
        if item.name in plan.identities.get(architecture, {}):
            spec = find_weights(architecture, item.weights).spec
            identity = dict(plan.identities[architecture][item.name])
            identities[architecture] = {**identity, "name": Path(identity["name"]).name}
            described |= {"input": spec.convention.describe(), "origin": spec.origin, "licence": spec.licence}
    return {**described, "identity": identities}


def _data(runs: Runs) -> dict[str, Any]:
    plan, frame = runs.plan, runs.frame
    known = (frame["patient_id"] != "").all()
    exams = int(frame[frame["exam"] != ""].groupby(["patient_id", "exam"]).ngroups) if "exam" in frame.columns else None
    unreadable = max((item.unreadable for item in runs.predictions.values()), default=0)
    divided = frame["split"].isin(["train", "validation", "test"]) if plan.folds == OWN_SPLIT else frame["fold"].notna()
    unused = int((~divided).sum())
    excluded = [{"reason": "in no part of the split", "images": unused}] if unused else []
    return {
        "records_sha256": plan.records_sha256,
        "images": len(frame),
        "patients": int(frame["patient_id"].nunique()) if known else None,
        "exams": exams,
        "scored": "exams" if plan.aggregate != "none" else "images",
        "classes": {name: int((frame["label"] == name).sum()) for name in plan.classes},
        "clustered": runs.clusters is not None,
        "excluded": [*excluded, *([{"reason": "could not be read", "images": unreadable}] if unreadable else [])],
        "folds": describe_folds(plan, frame),
    }


def _run_row(out: Path, run: Run, result: Mapping[str, Any], runs: Runs) -> dict[str, Any]:
    predictions = runs.predictions.get(run)
    value = low = high = None
    if predictions is not None:
        item = contrast([predictions], [1], 1, runs.clusters_at(predictions.index), runs.plan.seed)
        value, (low, high) = item.value, interval_of(item.value, item.standard_error)
    facts = read_facts(out, run)
    best = facts.get("best_metric") or {}
    return {
        "id": run.id,
        "architecture": run.architecture,
        "initialization": run.initialization,
        "scenario": run.scenario.name if run.scenario else "probe",
        "fold": run.fold,
        "fraction": run.fraction,
        "status": result["status"],
        "value": value,
        "low": low,
        "high": high,
        "best_epoch": best.get("epoch"),
        "validation": best.get("value"),
        "epochs": facts.get("epochs", facts.get("settings", {}).get("max_epochs")),
        "training_images": facts.get("images", facts.get("train", {}).get("images")),
        "seconds": result["seconds"],
        "command": result.get("command"),
        "problem": result["problem"],
        "log": f"{RUNS_FOLDER}/{run.id}/{'train.log' if run.scenario else 'result.json'}",
        "run": {
            name: facts[name]
            for name in ("settings", "weights", "versions", "hardware", "threads", "data_sha256")
            if name in facts
        },
    }


def _positive(plan: Plan) -> str | None:
    task = get_task(plan.task)
    if task.findings:
        return task.findings[0]
    return plan.classes[-1] if len(plan.classes) == 2 else None


def _validation_in_words(plan: Plan) -> str:
    if plan.is_probe:
        return "the strength of regularization is chosen by folds within the training data"
    chosen = "the epoch with the best validation measure is taken, and the threshold fixed, on validation data"
    if plan.folds == OWN_SPLIT:
        return f"{chosen} of the records' own split"
    return f"{chosen}: of {plan.folds} folds one tests, the next one validates, the others train"


def _notes(runs: Runs, results: Sequence[tuple[Run, Mapping[str, Any]]]) -> list[str]:
    notes = [f"{name} with {architecture} was left out: {why}" for architecture, name, why in runs.plan.unavailable]
    failed = [run.id for run, result in results if result["status"] != FINISHED]
    if failed:
        notes.append(
            f"{len(failed)} of {len(results)} runs have no result; a pair counts only where both of its runs have one."
        )
    if runs.clusters is not None:
        notes.append(
            "Patients have several images, so intervals and tests on test sets are clustered by patient (Obuchowski)."
        )
    elif patients_of(runs.frame) is None:
        notes.append("Patients are unknown; images are taken for independent, which they may not be.")
    return notes


def _limits(plan: Plan, epochs: int | str | None) -> list[str]:
    limits = [
        "One dataset: nothing here tells how the models do on images of other scanners, sites or patients.",
        "Research software; no evidence of clinical use.",
    ]
    if plan.protocol == "quick":
        limits.insert(
            0,
            f"A quick look: {'few' if epochs is None else epochs} epochs on images of {plan.image_size} pixels. Longer "
            "training and larger images may change the order, above all in favor of random weights, which learn most "
            "slowly.",
        )
    if plan.is_probe:
        limits.insert(
            0, "A linear probe judges frozen features. Fine-tuning may order the initializations differently."
        )
    if plan.folds == OWN_SPLIT:
        limits.append(
            "One split: everything here is about the models trained on it. How much results vary from training to "
            "training is not seen."
        )
    else:
        limits.append(
            f"{plan.folds} folds give a rough estimate of how much a difference varies from training to training."
        )
    return limits
