"""Train and test every bundle on its phantom, and write one table of results.

A rehearsal shows that a bundle learns: that images, labels, masks, transforms, network, loss and metrics work together,
starting from the dataset's original files. It says nothing about patients.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from radimagenet_monai.catalog.tasks import Kind, Task, get_task
from radimagenet_monai.collection.render import released_tasks, write_bundles
from radimagenet_monai.comparison.bundle_run import bundle_command, run_bundle
from radimagenet_monai.core.atomic import atomic_write_text, read_json_if_whole
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.named_roots import shell_command
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.phantoms import rehearsal_of, write_phantom

RESULT_FILE = "result.json"
TABLE_FILE = "rehearsal.md"


@dataclass(frozen=True)
class Plan:
    """Settings of one bundle's rehearsal.

    ``patients`` of the phantom, ``options`` of its writer, ``training`` keys of the bundle's ``train.json``, and the
    minimum value of ``measure`` that counts as learned.
    """

    patients: int
    options: Mapping[str, Any]
    training: Mapping[str, Any]
    measure: str
    required: float


_TRAINING = {"architecture": "densenet121", "image_size": 96, "batch_size": 16, "learning_rate": 1e-3}
_CHANCE_TOP5 = 5 / 165


def plan_for(task: Task) -> Plan:
    """The plan of a task."""
    rehearsal = rehearsal_of(task.dataset)
    patients, options, epochs = rehearsal.patients, {"size": rehearsal.size}, rehearsal.epochs
    if task.kind is Kind.PRETRAINING:
        training = {**_TRAINING, "architecture": task.architecture, "image_size": 80, "max_epochs": epochs}
        return Plan(patients, options, training, "top-5 accuracy", 5 * _CHANCE_TOP5)
    if task.kind is Kind.SEGMENTATION:
        return Plan(patients, options, {**_TRAINING, "max_epochs": 20}, "mean Dice", 0.75)
    return Plan(patients, options, {**_TRAINING, "max_epochs": epochs}, "AUC", 0.85)


def rehearse(out: str | os.PathLike[str], names: Sequence[str] = (), seed: int = 0) -> tuple[Path, bool]:
    """Rehearse bundles one after the other; earlier results with the same settings are reused.

    Parameters
    ----------
    out
        Output folder for phantoms, records, bundles, results and the table.
    names
        Names of the bundles; all by default.
    seed
        Seed of phantoms, splits and training.

    Returns
    -------
    tuple
        Path of the table, and whether every bundle reached its minimum.

    Raises
    ------
    ConfigurationError
        For an unknown name.
    BundleRunError
        If a run fails.
    """
    out = Path(out).resolve()
    tasks = [get_task(name) for name in names] if names else released_tasks()
    results = []
    for number, task in enumerate(tasks, start=1):
        print(f"[{number}/{len(tasks)}] {task.name}", flush=True)
        results.append(_rehearse_one(out, task, plan_for(task), seed))
        atomic_write_text(out / TABLE_FILE, table(results))
    print(table(results))
    return out / TABLE_FILE, all(result["value"] >= result["required"] for result in results)


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """The results as a Markdown table."""
    lines = [
        "# Every bundle on its phantom",
        "",
        "Phantoms are computed images, not patients: the figures show that the bundles learn, nothing more.",
        "",
        "| bundle | network | test images (patients) | measure | value | required | training |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        value = f"{result['value']:.3f}"
        if result.get("low") is not None:
            value += f" ({result['low']:.3f} to {result['high']:.3f})"
        lines.append(
            f"| {result['bundle']} | {result['architecture']}, {result['image_size']} px, {result['epochs']} epochs "
            f"| {result['images']} ({result['patients'] or 'unknown'}) | {result['measure']} | {value} "
            f"| {result['required']:.3f}{'' if result['value'] >= result['required'] else ' **not reached**'} "
            f"| {result['seconds']:.0f} s |"
        )
    return "\n".join(lines) + "\n"


def _rehearse_one(out: Path, task: Task, plan: Plan, seed: int) -> dict[str, Any]:
    folder = out / task.name
    recipe = json.loads(json.dumps({**asdict(plan), "seed": seed, "bundle": task.name}, default=str))
    finished = _read_finished(folder / RESULT_FILE, recipe)
    if finished is not None:
        print("  done before", flush=True)
        return finished
    data = _phantom(out, task, plan, seed)
    shutil.rmtree(folder, ignore_errors=True)
    records, _ = prepare(task.dataset, data, folder / "prepared", seed, **task.reader_options)
    (bundle,) = write_bundles(folder, [task.name])
    place = {"dataset_dir": data, "datalist": records}
    training = {**place, **plan.training, "seed": seed}
    started = time.monotonic()
    run_bundle(bundle, "train", training, folder / "train.log")
    seconds = time.monotonic() - started
    run_bundle(bundle, "evaluate", place, folder / "evaluate.log")
    evaluation = json.loads((bundle / "output" / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    result = {
        "recipe": recipe,
        "command": shell_command(bundle_command(bundle, "train", training), {"OUT": out}),
        "bundle": task.name,
        "architecture": plan.training["architecture"],
        "image_size": plan.training["image_size"],
        "epochs": plan.training["max_epochs"],
        "measure": plan.measure,
        "required": plan.required,
        "seconds": seconds,
        **measured(task, evaluation["metrics"]),
    }
    atomic_write_text(folder / RESULT_FILE, json.dumps(result, indent=2) + "\n")
    return result


def measured(task: Task, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Value, interval and numbers of images and patients, from the metrics of ``evaluation.json``."""
    if task.kind is Kind.SEGMENTATION:
        return {"value": metrics["dice"]["mean"], "images": metrics["with_lesion"], "patients": None}
    if task.kind is Kind.PRETRAINING:
        top5 = metrics["top5"]
        numbers = {"images": metrics["images"], "patients": metrics["patients"]}
        return {"value": top5["estimate"], "low": top5["low"], "high": top5["high"], **numbers}
    binary = metrics["findings"][task.findings[0]] if task.findings else metrics
    auc = binary["auc"]
    numbers = {"images": binary["images"], "patients": binary["patients"]}
    return {"value": auc["auc"], "low": auc["low"], "high": auc["high"], **numbers}


def _phantom(out: Path, task: Task, plan: Plan, seed: int) -> Path:
    """The dataset's phantom, written once and shared by its bundles."""
    name = "-".join(str(part) for part in (task.dataset, plan.patients, *plan.options.values(), seed))
    folder = out / "phantoms" / "".join(letter if letter.isalnum() else "-" for letter in name)
    marker = folder / ".complete"
    if not marker.exists():
        shutil.rmtree(folder, ignore_errors=True)
        root = write_phantom(task.dataset, folder, patients=plan.patients, seed=seed, workers=2, **plan.options)
        if Path(root).resolve() != folder.resolve():
            raise ConfigurationError(f"the phantom of {task.dataset} was written to '{root}', expected '{folder}'")
        marker.touch()
    return folder


def _read_finished(path: Path, recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    result = read_json_if_whole(path)
    return result if result.get("recipe") == recipe else None
