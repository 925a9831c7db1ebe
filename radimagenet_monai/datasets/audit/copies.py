"""Rows of a table that are the same image, and pairs that look the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from radimagenet_monai.datasets.audit.picture_hash import (
    HASH_BITS,
    SAME_DETAIL,
    detail_correlation,
    may_have_same_detail,
    near_pairs,
    sketch_details,
)
from radimagenet_monai.datasets.audit.result import SEVERITIES, Severity
from radimagenet_monai.datasets.audit.table import MOST_LISTED, AuditedTable, Log, groups_of

_SINGLE_PICTURES = 2.0  # images per patient below which a table holds single pictures, not series
_MOST_KEPT = 1_000_000  # near pairs that are sorted by similarity; further ones are counted
_VERIFIED_AT_ONCE = 2048


def find_copies(table: AuditedTable, sha256: np.ndarray, pixels: np.ndarray, blank: np.ndarray, log: Log) -> None:
    """Log rows that are one image: by path, by file content, by pixels; and, separately, frames of one file.

    Parameters
    ----------
    sha256, pixels
        ``(n,)`` codes of file content and of pixels; -1 if unknown.
    blank
        ``(n,)`` booleans: images without content, which are all equal.
    """
    frames = table.frame["frame"].to_numpy()

    def with_frame(files: np.ndarray) -> np.ndarray:
        codes, _ = pd.factorize(files * (frames.max() + 1) + frames)
        return np.where(files >= 0, codes, -1)

    paths, contents = with_frame(table.file), with_frame(sha256)
    # Each criterion reports only what the stricter one missed: groups that are equal under both are reported once.
    _log_copies(table, log, "listed", paths, np.arange(len(paths)), "one image is listed {} times")
    _log_copies(table, log, "file", np.where(blank, -1, contents), paths, "{} rows are of identical files")
    contents = np.where(contents >= 0, contents, -1 - paths)
    _log_copies(table, log, "pixels", pixels, contents, "{} rows have the same pixels")

    # Another frame of a scan is not a copy, but it is the same patient. Copies of one frame are reported above.
    files = _one_by_path_or_content(table.file, sha256)
    groups = [group for group in table.in_two_parts(files) if not (_equal(paths[group]) or _equal(contents[group]))]
    log.add_all(
        "volume", "leakage", groups, lambda k: f"frames of one file are {table.differences(groups[k], count=True)}"
    )


def find_lookalikes(
    table: AuditedTable,
    positions: np.ndarray,
    hashes: np.ndarray,
    thumbnails: np.ndarray,
    pixels: np.ndarray,
    near_bits: int,
    workers: int,
    log: Log,
) -> None:
    """Log pairs of rows that look the same but should not, nearest first.

    Parameters
    ----------
    positions
        ``(m,)`` rows whose pictures are compared.
    hashes, thumbnails
        ``(m, 4)`` and ``(m, 64, 64)`` for these rows, see `radimagenet_monai.datasets.audit.picture_hash`.
    pixels
        ``(n,)`` codes of pixels; equal ones are not logged again.
    near_bits
        Largest number of differing hash bits; every pair within it is examined.
    workers
        Number of threads.
    """
    counts: Counter[int] = Counter()
    kept: list[np.ndarray] = []
    known = table.patient[table.patient >= 0]
    single = known.size < _SINGLE_PICTURES * len(np.unique(known))
    sketches = sketch_details(thumbnails)
    for near in near_pairs(hashes, near_bits, workers):
        near = near[:, may_have_same_detail(sketches, near[0], near[1])]
        first, second = positions[near[0]], positions[near[1]]
        apart = _differ(table.split, first, second) | _differ(table.fold, first, second)
        conflict = _differ(table.label, first, second)
        own = (table.patient[first] == table.patient[second]) & (table.patient[first] >= 0)
        copies = (pixels[first] == pixels[second]) | (table.file[first] == table.file[second])
        # Neighboring slices of a patient look the same and may have two labels; single pictures should not.
        suspect = np.flatnonzero(~copies & np.where(own, conflict & ~apart & single, conflict | apart))
        for start in range(0, suspect.size, _VERIFIED_AT_ONCE):
            chosen = suspect[start : start + _VERIFIED_AT_ONCE]
            detail = detail_correlation(thumbnails[near[0, chosen]], thumbnails[near[1, chosen]])
            same = detail >= SAME_DETAIL
            chosen, detail = chosen[same], detail[same]
            severity = np.select([own[chosen], apart[chosen]], [_RANK["warning"], _RANK["leakage"]], _RANK["conflict"])
            counts.update(severity.tolist())
            thousandths = np.rint(1000 * detail).astype(np.int64)
            if sum(pairs.shape[1] for pairs in kept) < _MOST_KEPT:
                kept.append(np.stack([severity, near[2, chosen], -thousandths, first[chosen], second[chosen]]))
    pairs = np.concatenate([np.empty((5, 0), np.int64), *kept], axis=1)
    pairs = pairs[:, np.lexsort(pairs[::-1])]
    for severity_name, rank in _RANK.items():
        _log_lookalikes(table, log, severity_name, pairs[:, pairs[0] == rank][:, :MOST_LISTED], counts[rank])


_RANK: dict[Severity, int] = {severity: rank for rank, severity in enumerate(SEVERITIES)}


def _differ(codes: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """``(m,)`` booleans: both rows have a code, and the codes differ."""
    one, other = codes[first], codes[second]
    return np.asarray((one != other) & (one >= 0) & (other >= 0))


def _log_lookalikes(table: AuditedTable, log: Log, severity: Severity, pairs: np.ndarray, count: int) -> None:
    def describe(k: int) -> str:
        _, bits, thousandths, *_ = pairs[:, k].tolist()
        likeness = f"{bits} of {HASH_BITS} hash bits differ, details correlate {-thousandths / 1000:.3f}"
        return f"two pictures look the same, {table.differences(pairs[3:, k])} ({likeness})"

    log.add_all("near", severity, pairs[3:].T.tolist(), describe, count)


def _log_copies(table: AuditedTable, log: Log, kind: str, codes: np.ndarray, stricter: np.ndarray, text: str) -> None:
    """Log each group of equal ``codes``, unless the whole group is also equal under ``stricter``."""
    found: dict[Severity, list[np.ndarray]] = {"leakage": [], "conflict": [], "warning": []}
    for group in groups_of(codes):
        if _equal(stricter[group]):
            continue
        patient = table.patient[group[0]]
        if _several(table.split[group]) or _several(table.fold[group]):
            severity: Severity = "leakage"
        elif _several(table.label[group]):
            severity = "conflict"
        elif kind == "pixels" and patient >= 0 and (table.patient[group] == patient).all():
            continue  # slices of one patient may be equal
        else:
            severity = "warning"
        found[severity].append(table.one_of_each_first(group))
    for severity, groups in found.items():

        def describe(k: int, groups: list[np.ndarray] = groups) -> str:
            return f"{text.format(len(groups[k]))} {table.differences(groups[k])}".strip()

        log.add_all(kind, severity, groups, describe)


def _one_by_path_or_content(paths: np.ndarray, contents: np.ndarray) -> np.ndarray:
    """``(n,)`` codes, equal for rows linked by a chain of equal paths and equal contents; -1 means no content."""
    known = contents >= 0
    nodes = int(paths.max()) + 1, int(contents.max()) + 1
    edges = coo_array((known[known], (paths[known], nodes[0] + contents[known])), shape=(sum(nodes), sum(nodes)))
    _, component = connected_components(edges, directed=False)
    return np.asarray(component[paths], np.int64)


def _equal(codes: np.ndarray) -> bool:
    return bool((codes == codes[0]).all())


def _several(codes: np.ndarray) -> bool:
    known = codes[codes >= 0]
    return bool(known.size) and not _equal(known)
