"""The content of ``summary.json`` for a prepared dataset: its counts beside the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def summarize(
    frame: pd.DataFrame, published: Mapping[str, int], found: Mapping[str, int], **more: Any
) -> dict[str, Any]:
    """Count a records table; the result is JSON-serializable.

    Parameters
    ----------
    frame
        Table from a reader; ``attrs["notes"]`` has one sentence on each anomaly.
    published, found
        Counts of the published dataset by name, and the same counts in this table.
    more
        Further entries, kept unchanged.

    Returns
    -------
    dict
        ``images``, ``patients``, ``exams`` (if the table has them), ``labels``, ``published``, ``found``,
        ``differences`` (found minus published, if not equal), ``splits``, ``folds``, ``images_with_mask``, ``more``,
        ``notes``.
    """
    known = frame.loc[frame["patient_id"] != "", "patient_id"]
    facts: dict[str, Any] = {"images": len(frame), "patients": int(known.nunique())}
    if "exam" in frame.columns:
        named = frame.loc[frame["exam"] != "", ["patient_id", "exam"]]
        facts["exams"] = len(named.drop_duplicates())  # an exam name is unique only within its patient
    return {
        **facts,
        "labels": _counted(frame["label"]),
        "published": dict(published),
        "found": dict(found),
        "differences": {
            name: found[name] - count for name, count in published.items() if name in found and found[name] != count
        },
        "splits": _counted(frame.loc[frame["split"] != "", "split"]),
        "folds": _counted(frame["fold"].dropna()),
        "images_with_mask": int((frame["mask"] != "").sum()),
        **more,
        "notes": list(frame.attrs.get("notes", [])),
    }


def _counted(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts(sort=False).sort_index().items()}
