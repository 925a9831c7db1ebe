"""Comparisons whose runs were never trained: predictions drawn here, written as a bundle's evaluation writes them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from ignite.engine import Engine

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.comparison.jobs import EVALUATION_FOLDER, FINISHED, RESULT_FILE, RUNS_FOLDER, make_job
from radimagenet_monai.comparison.plan import Choices, Plan, Run, identify, make_plan, save_plan
from radimagenet_monai.comparison.training_sets import RECORDS_FOLDER, records_path, with_folds, write_training_sets
from radimagenet_monai.datasets.records.table import check_records, read_records, to_datalist, write_records
from radimagenet_monai.engine.outputs.writers import PredictionWriter

BREAST = "breast_mass_us_classification"
TWO = ("first=random", "second=random")
PLANTED = "PLANTED"
"""In every patient id and file name; no analysis may hold it."""

read_once = functools.cache(read_records)
"""Records tables already read; a comparison does not change them, and many runs share one."""

Scores = Callable[[Run, pd.DataFrame], np.ndarray]
"""Probabilities (n, classes) of the test rows of a run."""


def made_records(
    patients: int, images: int = 1, classes: Sequence[str] = ("benign", "malignant"), seed: int = 0, **columns: Any
) -> pd.DataFrame:
    """A table of ``images`` rows a patient, all of one class, the classes equally often."""
    patient = np.repeat(np.arange(patients), images)
    of_patient = np.random.default_rng(seed).permutation(np.arange(patients) % len(classes))
    return check_records(
        pd.DataFrame(
            {
                "image": [f"{PLANTED}^FILE_{number:05d}.png" for number in range(patient.size)],
                "label": np.array(classes)[of_patient][patient],
                "patient_id": [f"{PLANTED}-{number}" for number in patient],
                **columns,
            }
        )
    )


@dataclass(frozen=True)
class FakeComparison:
    """A planned comparison in a folder, whose runs are written one by one."""

    out: Path
    root: Path
    plan: Plan

    @classmethod
    def planned(
        cls, folder: Path, frame: pd.DataFrame, task: str = BREAST, weights: Sequence[str] = TWO, **choices: Any
    ) -> FakeComparison:
        """As `compare` plans it; the probe unless ``choices`` say otherwise."""
        out, root = folder / "out", folder / "images"
        root.mkdir(parents=True, exist_ok=True)
        choices = {"protocol": "probe", "architectures": ["densenet121"], **choices}
        plan = identify(make_plan(task, choices.pop("protocol"), weights, "0" * 64, Choices(**choices)))
        frame = with_folds(frame, plan)
        save_plan(plan, out, "radimagenet compare")
        (out / RECORDS_FOLDER).mkdir()
        write_records(frame, out / RECORDS_FOLDER / "all.csv")
        write_training_sets(plan, frame, out)
        return cls(out, root, plan)

    def write(self, scores: Scores, **options: Any) -> FakeComparison:
        """All runs."""
        for run in self.plan.runs():
            self.write_run(run, scores, **options)
        return self

    def write_run(
        self,
        run: Run,
        scores: Scores,
        status: str = FINISHED,
        problem: str | None = None,
        unreadable: Sequence[int] = (),
        validation: float = 0.5,
    ) -> None:
        """One run; ``unreadable`` are places among its test rows."""
        folder = self.out / RUNS_FOLDER / run.id
        job = make_job(self.plan, run, self.out, self.root, 0, 1, True)
        result = {"id": run.id, "status": status, "seconds": 1.5, "problem": problem, "command": job.command}
        place = folder / EVALUATION_FOLDER
        place.mkdir(parents=True, exist_ok=True)
        (folder / RESULT_FILE).write_text(json.dumps({**result, "recipe": dict(job.recipe)}))
        facts = {"settings": {}, "best_metric": {"name": "auc", "value": validation, "epoch": 1}}
        (place.parent / "run.json" if run.scenario else place / "run.json").write_text(json.dumps(facts))
        if status == FINISHED:
            self._predict(run, scores, place, unreadable)

    def _predict(self, run: Run, scores: Scores, place: Path, unreadable: Sequence[int]) -> None:
        task = get_task(self.plan.task)
        frame = read_once(records_path(self.out, run.fold, run.fraction))
        findings = task.findings or None
        items = to_datalist(frame, self.root, self.plan.classes, "test", run.fold, check_files=False, findings=findings)
        predicted = scores(run, frame.iloc[[item["record"] for item in items]])
        batch = [
            {"index": place, "unreadable": "damaged"} if place in unreadable else {"index": place}
            for place in range(len(items))
        ]
        output = [
            {"pred": torch.as_tensor(row), "label": torch.as_tensor(item["label"])}
            for row, item in zip(predicted, items, strict=True)
        ]
        engine = Engine(lambda engine, batch: output)
        PredictionWriter(
            place, items, self.plan.classes, self.root, "", 0.5, findings=task.findings, aggregate=self.plan.aggregate
        ).attach(engine)
        engine.run([batch])


def of_two(scores: np.ndarray) -> np.ndarray:
    """``(n, 2)`` probabilities from ``(n,)`` scores on any scale."""
    positive = 1 / (1 + np.exp(-np.asarray(scores, dtype=np.float64)))
    return np.stack([1 - positive, positive], axis=1)


def drawn(distance: dict[str, float], seed: int = 0, positive: str = "malignant", shared: float = 0.7) -> Scores:
    """Scores of normal distributions, the classes ``distance`` apart for each initialization.

    Models agree about an image by what they share: the correlation of two of them within a class is ``shared``.
    """

    def scores(run: Run, rows: pd.DataFrame) -> np.ndarray:
        fold = 0 if run.fold is None else run.fold
        common = np.random.default_rng([seed, fold]).normal(size=len(rows))
        own = np.random.default_rng([seed, fold, *run.id.encode()]).normal(size=len(rows))
        signal = distance[run.initialization] * (rows["label"] == positive).to_numpy()
        return of_two(signal + np.sqrt(shared) * common + np.sqrt(1 - shared) * own)

    return scores
