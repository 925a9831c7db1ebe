"""Whether a difference holds in parts of the data: by sex, age, scanner, site, or any requested column."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from radimagenet_monai.comparison.analysis.finished import Runs
from radimagenet_monai.comparison.analysis.measures import Contrast, contrast, interval_of, joined
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.statistics.predictions import PredictionTable
from radimagenet_monai.statistics.subgroups import Subgroup, subgroups

USUAL_COLUMNS = ("sex", "age", "scanner", "manufacturer", "site", "view", "plane", "finding")
"""Columns that make subgroups unasked. Others might tell who a patient is, and are taken only by name."""


def check_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise for columns that cannot define groups, before anything is run.

    Raises
    ------
    ConfigurationError
        As for `subgroup_differences`.
    """
    for column in columns:
        subgroups(frame, column)


def subgroup_differences(
    runs: Runs, performance: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Differences between initializations in each group, for the scenarios chosen on validation data.

    Parameters
    ----------
    runs
        Finished runs.
    performance
        Performance table with the chosen scenario of each architecture and initialization.
    columns
        Columns of the records table; by default the `USUAL_COLUMNS` it has.

    Raises
    ------
    ConfigurationError
        For a requested column that is missing or cannot define groups.
    """
    if len(runs.plan.classes) > 2:
        return []
    wanted = list(columns) or [name for name in runs.frame.columns if str(name).lower() in USUAL_COLUMNS]
    groups: list[Subgroup] = []
    scored = np.unique(np.concatenate([item.index for item in runs.predictions.values()]))
    frame = runs.frame.iloc[scored]
    labels = (frame["label"] == runs.plan.classes[-1]).to_numpy(dtype=np.int64)
    for column in wanted:
        try:
            found = subgroups(frame, column, labels)
        except ConfigurationError:
            if columns:
                raise
            continue
        # A default column with nothing to compare, such as one that repeats the label, is skipped.
        if len(found) > 1 and (columns or sum(not group.reason for group in found) > 1):
            groups += found
    chosen = {
        (row["architecture"], row["initialization"]): row["pooled"]["scenario"] for row in performance if row["pooled"]
    }
    names = [item.name for item in runs.plan.initializations]
    return [
        _difference(runs, group, scored[group.selected], architecture, first, second, chosen)
        for group in groups
        for architecture in runs.plan.architectures
        for first, second in itertools.combinations(names, 2)
        if (architecture, first) in chosen and (architecture, second) in chosen
    ]


def _difference(
    runs: Runs,
    group: Subgroup,
    members: np.ndarray,
    architecture: str,
    first: str,
    second: str,
    chosen: Mapping[tuple[str, str], str],
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "column": group.column,
        "group": group.name,
        "images": group.images,
        "patients": group.patients,
        "positives": group.per_class.get(1, 0),
        "architecture": architecture,
        "first": first,
        "second": second,
        **dict.fromkeys(("difference", "standard_error", "low", "high", "p")),
        "reason": group.reason,
        "values": {},
    }
    if group.reason:
        return row
    contrasts: list[Contrast] = []
    single: dict[str, list[Contrast]] = {first: [], second: []}
    for fold in runs.folds():
        models = [_model(runs, architecture, name, fold, chosen) for name in (first, second)]
        known = [model for model in models if model is not None]
        if len(known) < 2:
            continue
        rows = np.intersect1d(np.intersect1d(known[0].index, known[1].index), members)
        if not rows.size:
            continue
        clusters = runs.clusters_at(rows)
        pair = [model.at(rows) for model in known]
        contrasts.append(contrast(pair, [1, -1], 1, clusters, runs.plan.seed))
        for name, model in zip((first, second), pair, strict=True):
            single[name].append(contrast([model], [1], 1, clusters, runs.plan.seed))
    found = joined(contrasts)
    row.update({name: found[name] for name in ("difference", "standard_error", "low", "high", "p", "reason")})
    for name, items in single.items():
        mean = joined(items)
        low, high = interval_of(mean["difference"], mean["standard_error"])
        row["values"][name] = {"auc": mean["difference"], "low": low, "high": high}
    return row


def _model(
    runs: Runs, architecture: str, name: str, fold: int | None, chosen: Mapping[tuple[str, str], str]
) -> PredictionTable | None:
    found = runs.find(architecture, name, fold, runs.plan.fractions[-1])
    return found.get(f"{architecture}/{chosen[architecture, name]}")
