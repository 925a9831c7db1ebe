"""Where the trained classifiers of a comparison look, compared with the lesion masks of the records."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from radimagenet_monai.comparison.analysis.finished import Runs
from radimagenet_monai.comparison.jobs import RUNS_FOLDER
from radimagenet_monai.comparison.plan import Run
from radimagenet_monai.comparison.training_sets import records_path
from radimagenet_monai.core.atomic import read_json_if_whole
from radimagenet_monai.explain.bundle_maps import (
    MapSettings,
    collect,
    explain_images,
    is_counted,
    limited,
    records_items,
    strip_pictures,
)
from radimagenet_monai.explain.explanation import JSON_FILE, explain
from radimagenet_monai.explain.localization import FIXED_THRESHOLD, Localization, summarize_localization
from radimagenet_monai.explain.localization_comparison import compare_localization
from radimagenet_monai.explain.trained_classifier import TrainedClassifier
from radimagenet_monai.statistics.multiplicity import holm

LOCALIZATION_FOLDER = "localization"

_MOST_CASES = 100  # per fold
_IN_GALLERY = 40  # number of images whose overlays are drawn
_SMALL_IMAGE = 160  # up to this size in pixels, the last map, at 1/32, has too few cells to localize anything


@dataclass(frozen=True)
class _Found:
    """Results of one model over its folds."""

    cases: list[Localization]
    patients: list[int | None]
    table: pd.DataFrame


def localize_runs(
    runs: Runs, performance: Sequence[Mapping[str, Any]], out: Path, root: Path
) -> tuple[list[dict[str, Any]] | None, list[dict[str, Any]]]:
    """Measures and gallery of every architecture and initialization, and their paired differences.

    The models are those of the scenario chosen on validation data, each on its own test images of the positive class
    that have a mask. Dice and IoU use half of a map's maximum, fixed beforehand. Sanity check and pictures are from the
    first fold.

    Parameters
    ----------
    runs
        Finished runs.
    performance
        Performance table with the chosen scenario.
    out, root
        Folder of the comparison, and folder that the records' paths are relative to.

    Returns
    -------
    tuple
        ``None`` and an empty result if there are no masks, not two exclusive classes, or no models.
    """
    chosen = {
        (row["architecture"], row["initialization"]): row["pooled"]["scenario"] for row in performance if row["pooled"]
    }
    if runs.plan.is_probe or not chosen or not _has_masks(runs):
        return None, []
    maps = MapSettings(level="1/16" if runs.plan.image_size <= _SMALL_IMAGE else "1/32")
    described, tables = [], {}
    for (architecture, name), scenario in chosen.items():
        models = [
            run
            for run in runs.predictions
            if (run.architecture, run.initialization) == (architecture, name)
            and run.fraction == runs.plan.fractions[-1]
            and run.scenario is not None
            and run.scenario.name == scenario
            and _model(out, run).is_file()
        ]
        if not models:
            continue
        found = _over_folds(runs, models, maps, out, root)
        if not found.cases:
            continue
        tables[architecture, name] = found.table
        summary = summarize_localization(found.cases, FIXED_THRESHOLD, "fixed beforehand", patients=found.patients)
        described.append(
            {
                "architecture": architecture,
                "initialization": name,
                "folds": len(models),
                **summary.to_dict(),
                **_pictures(runs, models[0], maps, out, root),
            }
        )
    return described or None, _differences(runs, tables)


def _has_masks(runs: Runs) -> bool:
    frame = runs.frame
    masked = frame["mask"].fillna("").astype(str) != ""
    return len(runs.plan.classes) == 2 and bool((masked & (frame["label"] == runs.plan.classes[-1])).any())


def _model(out: Path, run: Run) -> Path:
    return out / RUNS_FOLDER / run.id / "models" / "model.pt"


def _over_folds(runs: Runs, models: Sequence[Run], maps: MapSettings, out: Path, root: Path) -> _Found:
    cases: list[Localization] = []
    patients: list[int | None] = []
    tables = []
    for run in models:
        classifier = TrainedClassifier(out / RUNS_FOLDER / run.id)
        items = [
            item
            for item in records_items(runs.frame, root, "test", run.fold)
            if item.get("mask") and item.get("label_name") == runs.plan.classes[-1]
        ]
        if not items:
            continue
        explained = list(
            strip_pictures(explain_images(classifier, limited(items, _MOST_CASES), maps, f"maps of {run.id}"))
        )
        table = collect(classifier, explained, runs.frame, root, FIXED_THRESHOLD, "fixed beforehand").table
        tables.append(table)
        for case, patient in zip(explained, table["patient"], strict=True):
            if case.localization is not None and is_counted(classifier, case):
                cases.append(case.localization)
                patients.append(None if pd.isna(patient) else int(patient))
    return _Found(cases, patients, pd.concat(tables, ignore_index=True) if tables else pd.DataFrame())


def _pictures(runs: Runs, run: Run, maps: MapSettings, out: Path, root: Path) -> dict[str, Any]:
    """Sanity check and gallery of one model, made once."""
    folder = out / LOCALIZATION_FOLDER / f"{run.architecture}.{run.initialization}"
    facts = read_json_if_whole(folder / JSON_FILE)
    model = read_json_if_whole(_model(out, run).with_suffix(".json")).get("sha256")
    if not facts or facts["settings"]["model_sha256"] != model or facts["settings"]["level"] != maps.level:
        explain(
            out / RUNS_FOLDER / run.id,
            root,
            folder,
            records=records_path(out, None, 1.0),
            split="test",
            fold=run.fold,
            target=runs.plan.classes[-1],
            level=maps.level,
            threshold=FIXED_THRESHOLD,
            limit=_IN_GALLERY,
        )
        facts = read_json_if_whole(folder / JSON_FILE)
    place = folder.relative_to(out).as_posix()
    gallery = [{**case, "overlay": f"{place}/{case['overlay']}"} for case in facts["gallery"]]
    return {"sanity": facts["sanity"], "gallery": gallery, "method": maps.method, "level": maps.level}


def _differences(runs: Runs, tables: Mapping[tuple[str, str], pd.DataFrame]) -> list[dict[str, Any]]:
    """Paired tests of the four measures, adjusted as one family for each architecture."""
    rows = []
    for architecture in runs.plan.architectures:
        family = []
        names = [item.name for item in runs.plan.initializations if (architecture, item.name) in tables]
        for first, second in itertools.combinations(names, 2):
            compared = compare_localization(
                tables[architecture, first], tables[architecture, second], seed=runs.plan.seed
            )
            for measure, result in compared.items():
                numbers = asdict(result)
                values = {first: numbers.pop("first"), second: numbers.pop("second")}
                names_of = {"architecture": architecture, "first": first, "second": second, "measure": measure}
                family.append(names_of | numbers | {"values": values})
        for row, adjusted in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_adjusted"] = adjusted
        rows += family
    return rows
