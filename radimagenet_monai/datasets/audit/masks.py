"""Audit of masks: those that cannot be used, and those that need a look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.datasets.audit.table import AuditedTable, Log
from radimagenet_monai.datasets.masks.survey import STATES, UNUSABLE, row_mask, survey_masks
from radimagenet_monai.datasets.records.table import MASK_SEPARATOR, plane_of_row
from radimagenet_monai.intensity.ultrasound import ultrasound_luminance
from radimagenet_monai.intensity.values.scan_region import header_region, picture_region
from radimagenet_monai.io.reader import read_frame

_CUT = 0.01  # share of a lesion outside the scan region that is reported
_KIND_OF = {state: f"mask_{state}" for state in STATES}
_WARNINGS = (*UNUSABLE, "full")


def audit_masks(table: AuditedTable, shapes: np.ndarray, log: Log, progress: bool = True) -> dict[str, int]:
    """Load every mask of a table as training does.

    Parameters
    ----------
    table
        Table to audit.
    shapes
        ``(n, 2)`` rows and columns of each row's image; -1 if it was not read. Masks of such images are left out.
    log
        Receives the findings.
    progress
        Whether to show a bar on a terminal.

    Returns
    -------
    dict
        Number of masks, and of masks in each state (`radimagenet_monai.datasets.masks.survey.STATES`);
        ``slices_without_lesion`` counts images whose mask has a lesion only on other slices, ``outside`` those whose
        lesion is cut. Empty for a table without masks.
    """
    frame = table.frame
    rows = np.flatnonzero((frame["mask"] != "").to_numpy() & (shapes[:, 0] > 0))
    if not rows.size:
        return {}
    survey = survey_masks(frame.iloc[rows], table.root, progress)
    rows_of: dict[str, list[int]] = {}
    for row in rows.tolist():
        for cell in _cells(table, row):
            rows_of.setdefault(cell, []).append(row)
    known_bad: set[int] = set()
    counts = {"masks": survey.masks}
    for state, cells in survey.found.items():
        if not cells:
            continue
        counts[state] = len(cells)
        if state not in _WARNINGS:
            continue
        texts = [f"the mask {survey.causes.get(cell, 'marks the whole image')}" for cell in cells]
        log.add_all(_KIND_OF[state], "warning", [rows_of[cell] for cell in cells], texts.__getitem__)
        if state in UNUSABLE:
            known_bad.update(row for cell in cells for row in rows_of[cell])
    if survey.several_values:
        text = f"the lesion has the values {', '.join(survey.several_values)}: these may be labels of different things"
        log.add("mask_labels", "warning", (), text)
    all_empty = set(survey.found["empty"])
    _audit_rows(table, [row for row in rows.tolist() if row not in known_bad], shapes, log, progress, counts)
    nowhere = sum(_cells(table, row) <= all_empty for row in rows.tolist())
    if counts.get("slices_without_lesion", 0) > nowhere:
        counts["slices_without_lesion"] -= nowhere
    else:
        counts.pop("slices_without_lesion", None)
    return counts


def _cells(table: AuditedTable, row: int) -> set[str]:
    return {cell for cell in table.frame["mask"].iloc[row].split(MASK_SEPARATOR) if cell}


def _audit_rows(
    table: AuditedTable, rows: list[int], shapes: np.ndarray, log: Log, progress: bool, counts: dict[str, int]
) -> None:
    wrong: list[tuple[int, str]] = []
    outside: list[tuple[int, float]] = []
    empty = 0
    for row in tqdm(rows, desc="Comparing masks", unit="image", disable=None if progress else True):
        try:
            mask = row_mask(table.frame, row, table.root, (int(shapes[row, 0]), int(shapes[row, 1])))
        except UnreadableImageError as error:
            wrong.append((row, f"{Path(error.path).name}: {error.cause}"))
            continue
        if not mask.any():
            empty += 1
            continue
        share = _outside_scan(table, row, mask)
        if share > _CUT:
            outside.append((row, share))
    log.add_all("mask_unusable", "warning", [[row] for row, _ in wrong], lambda k: f"the mask {wrong[k][1]}")
    log.add_all(
        "mask_outside",
        "warning",
        [[row] for row, _ in outside],
        lambda k: f"{outside[k][1]:.0%} of the lesion lies outside of the scan region that ultrasound is cropped to",
    )
    if wrong:
        counts["unusable"] = counts.get("unusable", 0) + len(wrong)
    if outside:
        counts["outside"] = len(outside)
    if empty:
        counts["slices_without_lesion"] = empty


def _outside_scan(table: AuditedTable, row: int, mask: np.ndarray) -> float:
    """The share of a lesion outside the used part of an ultrasound image; 0 for other images."""
    record = table.frame.iloc[row]
    stated = record.get("modality") or ""
    plane: Any = plane_of_row(record["image"], int(record["frame"]), record.get("plane")) or "acquired"
    try:
        image, frame = read_frame(table.paths[table.file[row]], int(record["frame"]), plane)
        modality = image.modality or stated
        if modality != "US" and not (image.source == "picture" and not modality):
            return 0.0
        box = header_region(image.headers[frame], image.pixels.shape[1:3]) if image.headers else None
        if box is None:
            box = picture_region(ultrasound_luminance(image, frame))
    except UnreadableImageError:
        return 0.0
    if box is None:
        return 0.0
    top, left, bottom, right = box
    return 1 - float(mask[top:bottom, left:right].sum()) / float(mask.sum())
