"""The finished runs of a comparison, and pairs of them on the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radimagenet_monai.comparison.jobs import EVALUATION_FOLDER, RUNS_FOLDER
from radimagenet_monai.comparison.plan import OWN_SPLIT, Plan, Run
from radimagenet_monai.core.atomic import read_json_if_whole
from radimagenet_monai.statistics.predictions import PredictionTable

POOLED = "all"
"""In the place of an architecture: all of them together."""


@dataclass(frozen=True)
class Runs:
    """The finished runs of a comparison with their predictions and all that is needed to compare them.

    ``clusters`` numbers the patient of each row of the records; ``None`` if no patient has several scored rows.
    ``test_shares`` is the size of a test fold divided by that of its training data, by fraction, if there are folds.
    """

    plan: Plan
    frame: pd.DataFrame
    predictions: Mapping[Run, PredictionTable]
    clusters: np.ndarray | None
    test_shares: Mapping[float, float]

    def architectures(self, name: str) -> tuple[str, ...]:
        """The given architecture, or all of them for `POOLED`."""
        return self.plan.architectures if name == POOLED else (name,)

    def folds(self) -> Sequence[int | None]:
        """Folds of the plan."""
        return [None] if self.plan.folds == OWN_SPLIT else range(self.plan.folds)

    def find(
        self, architecture: str, initialization: str, fold: int | None, fraction: float
    ) -> dict[str, PredictionTable]:
        """Finished runs, by architecture and scenario."""
        return {
            f"{run.architecture}/{run.scenario.name if run.scenario else 'probe'}": predictions
            for run, predictions in self.predictions.items()
            if run.architecture in self.architectures(architecture)
            and (run.initialization, run.fold, run.fraction) == (initialization, fold, fraction)
        }

    def clusters_at(self, rows: np.ndarray) -> np.ndarray | None:
        """Patient numbers of some rows, from 0."""
        return None if self.clusters is None else np.unique(self.clusters[rows], return_inverse=True)[1]


def read_facts(out: Path, run: Run) -> dict[str, Any]:
    """``run.json`` of a training run, or of the probe."""
    folder = out / RUNS_FOLDER / run.id
    path = folder / "output" / "run.json" if run.scenario else folder / EVALUATION_FOLDER / "run.json"
    return read_json_if_whole(path)


def paired(
    runs: Runs, architecture: str, first: str, second: str, fold: int | None, fraction: float
) -> tuple[list[tuple[str, PredictionTable, PredictionTable]], np.ndarray]:
    """The runs that both initializations have in a fold, restricted to the rows that all of them predicted."""
    of_first, of_second = (runs.find(architecture, name, fold, fraction) for name in (first, second))
    names = [name for name in of_first if name in of_second]
    if not names:
        return [], np.empty(0, np.int64)
    rows = of_first[names[0]].index
    for name in names:
        rows = np.intersect1d(np.intersect1d(rows, of_first[name].index), of_second[name].index)
    return [(name, of_first[name].at(rows), of_second[name].at(rows)) for name in names], rows
