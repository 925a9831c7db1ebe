"""An audit of a records table on disk: find its images, check for leakage, write the page and the findings."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.workers import available_cores
from radimagenet_monai.datasets.audit import Audit, audit_records
from radimagenet_monai.datasets.audit.picture_hash import NEAR_DUPLICATE_BITS
from radimagenet_monai.datasets.records.root import root_of, table_of
from radimagenet_monai.datasets.records.table import read_records
from radimagenet_monai.report.sections.audit import write_audit_page

PAGE_FILE = "audit.html"
JSON_FILE = "audit.json"

_MOST_WORKERS = 8  # each may hold a volume in memory


def run_audit(
    records: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    pixels: bool = True,
    near_bits: int = NEAR_DUPLICATE_BITS,
    workers: int | None = None,
    show_ids: bool = False,
    progress: bool = True,
) -> Audit:
    """Audit a records table and write ``audit.html`` and ``audit.json``.

    Parameters
    ----------
    records
        The table, or the folder that holds ``records.csv``.
    root
        Folder that relative paths start from. By default the one in ``summary.json`` beside the table, written by
        ``radimagenet prepare``, or the table's folder; whichever has the images.
    out
        Output folder; by default the table's.
    pixels, near_bits, progress
        As for `radimagenet_monai.datasets.audit.audit_records`.
    workers
        Number of processes; by default one per CPU core, at most 8.
    show_ids
        Whether the files contain patient ids.

    Raises
    ------
    RecordsError
        If the table cannot be read, or none of its images are found.
    ConfigurationError
        As for `audit_records`.
    """
    path = table_of(records)
    frame = read_records(path, require_label=False, allow_leakage=True)
    folder = root_of(path, frame, root)
    if workers is None:
        workers = min(_MOST_WORKERS, available_cores())
    result = replace(audit_records(frame, folder, pixels, near_bits, workers, progress), source=path.name)
    target = path.parent if out is None else Path(out)
    facts = json.dumps(result.to_dict(show_ids), indent=2, ensure_ascii=False)
    atomic_write_text(target / JSON_FILE, facts + "\n")
    write_audit_page(result, target / PAGE_FILE, folder, show_ids)
    return result
