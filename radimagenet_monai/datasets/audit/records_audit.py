"""``audit_records``: the whole audit, from table to result."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.audit.copies import find_copies, find_lookalikes
from radimagenet_monai.datasets.audit.inspection import FrameFacts, Job, inspect_files
from radimagenet_monai.datasets.audit.masks import audit_masks
from radimagenet_monai.datasets.audit.picture_hash import HASH_BITS, NEAR_DUPLICATE_BITS, THUMBNAIL_SIDE
from radimagenet_monai.datasets.audit.result import Audit
from radimagenet_monai.datasets.audit.table import AuditedTable, Log, codes_of, in_two, labels_by
from radimagenet_monai.datasets.records.table import (
    MASK_SEPARATOR,
    PLANE,
    check_records,
    mask_file,
    missing_files,
    plane_of_row,
    read_records,
)
from radimagenet_monai.datasets.records.white_level import WHITE


def audit_records(
    records: str | os.PathLike[str] | pd.DataFrame,
    root: str | os.PathLike[str],
    pixels: bool = True,
    near_bits: int = NEAR_DUPLICATE_BITS,
    workers: int = 1,
    progress: bool = True,
) -> Audit:
    """Look for leakage, contradictions and broken images in a records table.

    Parameters
    ----------
    records
        Path of the table, or the table. Unlike elsewhere, it may list images twice and have patients in two splits.
    root
        Folder that relative paths start from.
    pixels
        Whether to read the images. Otherwise only patients, the table's own ``sha256`` and the presence of files are
        checked, which takes seconds.
    near_bits
        Number of the 256 hash bits by which look-alike pictures may differ; all pairs within it are examined.
    workers
        Processes that read images, then threads that compare them.
    progress
        Whether to show a bar on a terminal.

    Returns
    -------
    Audit
        Result; apart from row numbers it does not depend on the order of the rows.

    Raises
    ------
    RecordsError
        For a file that is not a records table, and if a process dies over an image, naming it.
    ConfigurationError
        For ``near_bits`` outside 0 ... 256, and for fewer than one worker.
    """
    if not 0 <= near_bits <= HASH_BITS:
        raise ConfigurationError(f"near_bits {near_bits} was given; expected 0 to {HASH_BITS}")
    if workers < 1:
        raise ConfigurationError(f"{workers} workers were given; expected 1 or more")
    if isinstance(records, pd.DataFrame):
        source, frame = "records table", check_records(records, require_label=False, allow_leakage=True)
    else:
        source, frame = Path(records).name, read_records(records, require_label=False, allow_leakage=True)
    table = AuditedTable(frame, os.fspath(root))
    log = Log(table)
    _audit_table(table, log)
    present = _find_missing(table, log)
    if pixels:
        seen = _read_all(table, present, workers, progress, log)
    else:
        seen = _Seen(
            codes_of(frame["sha256"].str.lower()),
            np.full(len(frame), -1),
            np.zeros(len(frame), bool),
            np.full((len(frame), 2), -1),
        )
    masks = audit_masks(table, seen.shapes, log, progress)
    find_copies(table, seen.sha256, seen.pixels, seen.blank, log)
    find_lookalikes(table, seen.positions, seen.hashes, seen.thumbnails, seen.pixels, near_bits, workers, log)
    return Audit(
        source=source,
        images=len(frame),
        patients=int(table.patient.max()) + 1,
        files=len(table.paths),
        compared=len(seen.positions),
        near_bits=near_bits if pixels else None,
        counts=log.counts(),
        findings=log.findings(),
        rows=log.rows(),
        labels_by_split=labels_by(frame, "split"),
        labels_by_fold=labels_by(frame, "fold"),
        sizes=sorted(((*size, count) for size, count in seen.sizes.items()), key=lambda size: (-size[2], size)),
        masks=masks,
        questions=seen.questions,
    )


def _audit_table(table: AuditedTable, log: Log) -> None:
    """Findings from the table alone."""
    groups = table.in_two_parts(table.patient)
    log.add_all(
        "patient", "leakage", groups, lambda k: f"one patient has images {table.differences(groups[k], count=True)}"
    )
    rows = len(table.frame)
    unknown = np.flatnonzero(table.patient < 0)
    if unknown.size:
        of = "no row has a patient_id" if unknown.size == rows else f"{unknown.size} of {rows} rows have no patient_id"
        log.add("unknown_patient", "warning", unknown, f"{of}: these patients cannot be checked")
    for label, counts in labels_by(table.frame, "split").items():
        for split, count in counts.items():
            if label and split and not count:
                log.add("absent_class", "warning", (), f"{split} has no image of {label}: it can have no AUC")
    undivided = np.flatnonzero((table.split < 0) & (table.fold < 0))
    if undivided.size:
        log.add("undivided", "note", undivided, f"{undivided.size} rows are in no split and no fold")
    unlabeled = np.flatnonzero(table.label < 0)
    if unlabeled.size:
        log.add("unlabeled", "note", unlabeled, f"{unlabeled.size} rows have no label")
    mixed = np.unique(table.patient[in_two(table.patient, table.label)])
    if mixed.size:
        text = f"{mixed.size} patients have images under several labels, as is usual where slices are labeled"
        log.add("several_labels", "note", (), text)


def _find_missing(table: AuditedTable, log: Log) -> np.ndarray:
    """``(n,)`` booleans: rows whose image exists. Missing masks are logged as well."""
    absent = set(missing_files(table.paths))
    gone = np.array([path in absent for path in table.paths], bool)[table.file]
    rows = np.flatnonzero(gone)
    log.add_all("missing", "warning", rows[:, None].tolist(), lambda _: "the image is not there")
    rows = np.flatnonzero((table.frame["mask"] != "").to_numpy())
    masks = [
        [os.path.join(table.root, mask_file(name)) for name in cell.split(MASK_SEPARATOR) if name]
        for cell in table.frame["mask"].iloc[rows]
    ]
    absent = set(missing_files([path for paths in masks for path in paths]))
    incomplete = [[row] for row, paths in zip(rows.tolist(), masks, strict=True) if not absent.isdisjoint(paths)]
    log.add_all("missing", "warning", incomplete, lambda _: "a mask is not there")
    return ~gone


@dataclass
class _Seen:
    """Facts from reading: first of all ``n`` rows, with codes and shapes -1 if unknown, then of ``positions``."""

    sha256: np.ndarray
    pixels: np.ndarray
    blank: np.ndarray
    shapes: np.ndarray
    positions: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    hashes: np.ndarray = field(default_factory=lambda: np.empty((0, 4), np.uint64))
    thumbnails: np.ndarray = field(default_factory=lambda: np.empty((0, THUMBNAIL_SIDE, THUMBNAIL_SIDE), np.int8))
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    questions: dict[str, int] = field(default_factory=dict)


def _read_all(table: AuditedTable, present: np.ndarray, workers: int, progress: bool, log: Log) -> _Seen:
    """Read every image once, and log images that are unreadable, blank, or not the file in the table."""
    rows = len(table.frame)
    frames = table.frame["frame"].to_numpy()
    order = np.lexsort((frames, table.file))  # frames of a file one after the other, as reading it is expensive
    order = order[present[order]]
    groups = np.split(order, np.flatnonzero(np.diff(table.file[order])) + 1) if order.size else []
    modality, white = (
        table.frame[name].to_numpy(object) if name in table.frame else np.full(rows, "", object)
        for name in ("modality", WHITE)
    )
    stated = table.frame[PLANE].tolist() if PLANE in table.frame else [None] * rows
    jobs: list[Job] = []
    for group in groups:
        path = table.paths[table.file[group[0]]]
        places = [(int(frames[row]), plane_of_row(path, int(frames[row]), stated[row])) for row in group.tolist()]
        jobs.append((path, tuple(places), str(modality[group[0]] or ""), str(white[group[0]] or "")))
    questions: dict[str, list[int]] = {}

    sha256, digests = np.full(rows, "", object), np.full(rows, "", object)
    sizes: Counter[tuple[int, int]] = Counter()
    shapes = np.full((rows, 2), -1)
    positions: list[int] = []
    hashes = bytearray()
    blank: list[list[int]] = []
    unreadable: list[list[int]] = []
    reasons: list[str] = []
    thumbnails = None
    # The thumbnails of a million images would take several gigabytes of memory.
    with tempfile.TemporaryFile() as stream:
        for group, facts in zip(groups, inspect_files(jobs, workers, progress), strict=True):
            sha256[group] = facts.sha256
            for position, found in zip(group.tolist(), facts.frames, strict=True):
                if not isinstance(found, FrameFacts):
                    unreadable.append([position])
                    reasons.append(found)
                    continue
                sizes[found.rows, found.columns] += 1
                shapes[position] = found.rows, found.columns
                for question in found.questions:
                    questions.setdefault(question, []).append(position)
                if found.blank:
                    blank.append([position])
                    continue
                digests[position] = found.digest
                positions.append(position)
                hashes += found.hash
                stream.write(found.thumbnail)
        stream.flush()
        if positions:
            thumbnails = np.memmap(stream, np.int8, "r", shape=(len(positions), THUMBNAIL_SIDE, THUMBNAIL_SIDE))

    log.add_all("unreadable", "warning", unreadable, lambda k: reasons[k])
    log.add_all("blank", "warning", blank, lambda _: "the image has no content")
    by_count = sorted(questions.items(), key=lambda item: (-len(item[1]), item[0]))
    for question, asked in by_count:
        log.add("values", "warning", np.array(sorted(asked)), f"{len(asked)} of {rows} images: {question}")
    expected = table.frame["sha256"].str.lower().to_numpy(object)
    changed = np.flatnonzero((expected != "") & (sha256 != "") & (expected != sha256))
    log.add_all("changed", "warning", changed[:, None].tolist(), lambda _: "the file's SHA-256 is not the table's")

    is_blank = np.isin(np.arange(rows), blank)
    seen = _Seen(codes_of(pd.Series(sha256)), codes_of(pd.Series(digests)), is_blank, shapes, sizes=sizes)
    seen.questions = {question: len(asked) for question, asked in by_count}
    if thumbnails is not None:
        seen.positions = np.array(positions, np.int64)
        seen.hashes = np.frombuffer(bytes(hashes), np.uint64).reshape(-1, 4)
        seen.thumbnails = thumbnails
    return seen
