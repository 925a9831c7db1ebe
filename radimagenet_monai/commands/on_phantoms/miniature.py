"""The paper's experiment in miniature, on phantoms: pretrain on 165 classes, then test whether it helps elsewhere.

Mei et al. (Radiology: Artificial Intelligence 2022;4(5):e210315) pretrained encoders on RadImageNet and compared them
on smaller data sets from other sources. Here every image is synthetic: a phantom of RadImageNet is packed, an encoder
is pretrained on it and evaluated, and ``compare`` compares it with random initialization on small phantom data sets. It
shows that the whole workflow works, from packing to the interval in a report. It says nothing about patients.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from radimagenet_monai.catalog.phantom_notice import PHANTOM_NOTICE
from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.collection.render import write_bundles
from radimagenet_monai.comparison.bundle_run import bundle_command, run_bundle
from radimagenet_monai.comparison.compare import compare
from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.named_roots import shell_command
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.phantoms import rehearsal_of, write_phantom
from radimagenet_monai.report.comparison.report import read_analysis, write_comparison_report
from radimagenet_monai.report.run_report import write_run_report
from radimagenet_monai.store.packing import pack_records

COMPARISONS_FOLDER = "comparisons"
RESULT_FILE = "result.json"
TABLE_FILE = "miniature.md"


@dataclass(frozen=True)
class Recipe:
    """Size of the miniature.

    Attributes
    ----------
    architecture
        Architecture of the encoder.
    image_size
        Image side in pixels, for pretraining and comparisons.
    pretraining_images
        Number of images of the RadImageNet phantom, over its 165 classes and three splits.
    pretraining
        Keys of the pretraining bundle's ``train.json``.
    tasks
        Classification tasks to compare on.
    patients
        Number of patients of each task's phantom; three fifths are in the training part of each of five folds.
    epochs
        Epochs of every training in a comparison.
    seed
        Seed of phantoms, splits, training and comparisons.
    """

    architecture: str = "densenet121"
    image_size: int = 64
    pretraining_images: int = 165 * 40
    pretraining: Mapping[str, Any] = field(
        # For a run of a thousand steps; the bundle's defaults are for hundreds of thousands.
        default_factory=lambda: {
            "batch_size": 32,
            "learning_rate": 1e-3,
            "reference_batch": 32,
            "max_epochs": 12,
            "warmup_epochs": 1,
            "ema_decay": 0.99,
        }
    )
    tasks: tuple[str, ...] = (
        "breast_mass_us_classification",
        "thyroid_nodule_us_classification",
        "pneumonia_cxr_classification",
    )
    patients: int = 80
    epochs: int = 12
    seed: int = 0


def run_miniature(out: str | os.PathLike[str], recipe: Recipe | None = None) -> Path:
    """Run the experiment in the folder ``out`` and return the path of the report over all comparisons.

    If the command is run again, finished phantoms, packed images, pretraining epochs and comparison runs are not
    repeated.

    Parameters
    ----------
    out
        Output folder; ``miniature.md`` holds the results in a table.
    recipe
        Size of the miniature; the default takes about an hour on two cores.
    """
    recipe = recipe or Recipe()
    out = Path(out).resolve()
    steps = len(recipe.tasks) + 2
    print(f"[1/{steps}] phantom of RadImageNet: {recipe.pretraining_images} images of 165 classes, packed", flush=True)
    store = _packed_phantom(out, recipe)

    print(f"[2/{steps}] pretraining {recipe.architecture}", flush=True)
    bundle, seconds = _pretrain(out, store, recipe)
    encoder = bundle / "models" / "encoder.safetensors"

    comparisons = out / COMPARISONS_FOLDER
    for number, name in enumerate(recipe.tasks, start=3):
        print(f"[{number}/{steps}] {name}: random beside pretrained initialization", flush=True)
        data, records = _phantom_of_task(out, name, recipe)
        compare(
            name,
            records,
            ["random", f"pretrained={encoder}"],
            comparisons / name,
            data,
            architectures=[recipe.architecture],
            folds=5,
            epochs=recipe.epochs,
            image_size=recipe.image_size,
            seed=recipe.seed,
        )
    report = write_comparison_report(comparisons)
    result = _result(out, bundle, seconds, recipe)
    atomic_write_text(out / RESULT_FILE, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    atomic_write_text(out / TABLE_FILE, table(result))
    print(table(result), flush=True)
    return report


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    pretraining = result["pretraining"]
    top5 = pretraining["top5"]
    lines = [
        "# Pretraining in miniature, on phantoms",
        "",
        PHANTOM_NOTICE,
        "",
        f"Pretraining: {pretraining['architecture']}, {pretraining['images']} training images of 165 classes at "
        f"{pretraining['image_size']} pixels, {pretraining['epochs']} epochs. On {pretraining['test_images']} test "
        f"images top-5 accuracy {top5['estimate']:.3f} ({top5['low']:.3f} to {top5['high']:.3f}; chance "
        f"{5 / 165:.3f}), top-1 {pretraining['top1']['estimate']:.3f}, balanced accuracy "
        f"{pretraining['balanced_accuracy']:.3f}.",
        "",
        "Area under the ROC curve, with 95% intervals of the gain: of retraining on other patients, and of the "
        "models trained here.",
        "",
        "| task | patients | random | pretrained | gain, retrained | P | gain, these models | P |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {row['task']} | {row['patients']} | {row['random']:.3f} | {row['pretrained']:.3f} "
            f"| {_interval(row['anew'])} | {_p_value(row['anew'])} "
            f"| {_interval(row['trained'])} | {_p_value(row['trained'])} |"
            for row in result["comparisons"]
        ),
        "",
        *(f"- {sentence}" for row in result["comparisons"] for sentence in row["sentences"]),
    ]
    return "\n".join(lines) + "\n"


def _packed_phantom(out: Path, recipe: Recipe) -> Path:
    folder = out / "radimagenet"
    records = folder / "prepared" / "records.csv"
    if not records.exists():
        shutil.rmtree(folder, ignore_errors=True)
        data = write_phantom(
            "radimagenet",
            folder / "phantom",
            patients=recipe.pretraining_images,
            size=recipe.image_size,
            seed=recipe.seed,
            workers=2,
        )
        prepare("radimagenet", data, records.parent, recipe.seed)
    store = folder / "store"
    pack_records(records, store, recipe.image_size)
    return store


def _pretrain(out: Path, store: Path, recipe: Recipe) -> tuple[Path, float]:
    """The trained and evaluated bundle, and its training time in seconds."""
    name = f"radimagenet_{recipe.architecture}_pretraining"
    (bundle,) = write_bundles(out, [name])
    settings = {"store_dir": store, "image_size": recipe.image_size, **recipe.pretraining, "seed": recipe.seed}
    finished = bundle / "finished.json"
    key = {"settings": json.loads(json.dumps(settings, default=str)), "images": recipe.pretraining_images}
    known = json.loads(finished.read_text(encoding="utf-8")) if finished.exists() else {}
    if known.get("recipe") != key:
        started = time.monotonic()
        # A killed training is resumed; the checkpoint rejects a different recipe.
        run_bundle(bundle, "train", {**settings, "resume": True}, out / "train.log")
        run_bundle(bundle, "evaluate", {"store_dir": store}, out / "evaluate.log")
        write_run_report(bundle)
        known = {
            "recipe": key,
            "seconds": time.monotonic() - started,
            "command": shell_command(bundle_command(bundle, "train", settings), {"OUT": out}),
        }
        atomic_write_text(finished, json.dumps(known, indent=2) + "\n")
    return bundle, float(known["seconds"])


def _phantom_of_task(out: Path, name: str, recipe: Recipe) -> tuple[Path, Path]:
    task = get_task(name)
    folder = out / "tasks" / name
    records = folder / "prepared" / "records.csv"
    data = folder / "phantom"
    if not records.exists():
        shutil.rmtree(folder, ignore_errors=True)
        size = rehearsal_of(task.dataset).size
        write_phantom(task.dataset, data, patients=recipe.patients, size=size, seed=recipe.seed, workers=2)
        prepare(task.dataset, data, records.parent, recipe.seed, **task.reader_options)
    return data, records


def _result(out: Path, bundle: Path, seconds: float, recipe: Recipe) -> dict[str, Any]:
    metrics = json.loads((bundle / "output" / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))["metrics"]
    run = json.loads((bundle / "output" / "run.json").read_text(encoding="utf-8"))
    rows = []
    for name in recipe.tasks:
        analysis = read_analysis(out / COMPARISONS_FOLDER / name)
        # The gain is pretrained minus random, whatever the order of the pair in the analysis.
        (pair,) = [row for row in analysis["differences"] if row["architecture"] == recipe.architecture]
        sign = 1 if pair["first"] == "pretrained" else -1
        means = {row["initialization"]: row["mean"] for row in analysis["performance"] if row["architecture"] != "all"}
        rows.append(
            {
                "task": name,
                "patients": analysis["data"]["patients"],
                "random": means["random"],
                "pretrained": means["pretrained"],
                "anew": _signed(pair, sign),
                "trained": _signed(pair["test_sets"], sign),
                "sentences": analysis["sentences"],
            }
        )
    return {
        "notice": PHANTOM_NOTICE,
        "recipe": asdict(recipe),
        "pretraining": {
            "architecture": recipe.architecture,
            "image_size": recipe.image_size,
            "images": run["images"],
            "epochs": run["epochs"],
            "seconds": seconds,
            "test_images": metrics["images"],
            **{measure: metrics[measure] for measure in ("top1", "top5", "balanced_accuracy")},
        },
        "comparisons": rows,
    }


def _signed(found: Mapping[str, Any], sign: int) -> dict[str, Any]:
    limits = [None if found[key] is None else sign * found[key] for key in ("low", "high")]
    if sign < 0:
        limits.reverse()
    difference = None if found["difference"] is None else sign * found["difference"]
    return {"difference": difference, "low": limits[0], "high": limits[1], "p": found["p"], "method": found["method"]}


def _interval(found: Mapping[str, Any]) -> str:
    if found["difference"] is None:
        return "not estimable"
    if found["low"] is None:
        return f"{found['difference']:+.3f}"
    return f"{found['difference']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def _p_value(found: Mapping[str, Any]) -> str:
    if found["p"] is None:
        return "–"
    return "< .001" if found["p"] < 0.001 else f"{found['p']:.3f}"
