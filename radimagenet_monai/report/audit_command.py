"""``radimagenet audit``: look for leakage in a records table, write what was found, say so by the exit status."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd

from radimagenet_monai.datasets.audit import Audit, audit_records
from radimagenet_monai.datasets.audit.result import KINDS, SEVERITIES
from radimagenet_monai.datasets.picture_hash import NEAR_DUPLICATE_BITS
from radimagenet_monai.datasets.readers import SUMMARY_FILE
from radimagenet_monai.datasets.records import RECORDS_FILE, missing_files, read_records
from radimagenet_monai.errors import RecordsError
from radimagenet_monai.io.atomic import atomic_write_text
from radimagenet_monai.report.audit_page import VERDICTS, found_in_words, write_audit_page
from radimagenet_monai.training.flags import parse_flag

PAGE_FILE = "audit.html"
JSON_FILE = "audit.json"

_MOST_WORKERS = 8  # each may hold a volume
_SAMPLED = 200  # images looked up to tell whether a folder is the one that paths start from


def audit(
    records: str,
    root: str | None = None,
    out: str | None = None,
    pixels: bool = True,
    near_bits: int | None = None,
    workers: int | None = None,
    show_ids: bool = False,
) -> None:
    """Look for leakage in a records table: patients and images on both sides of a split, contradicting labels.

    Writes audit.html and audit.json. Exit status 1 when leakage or an image under two labels is found.

    Args:
        records: the table, or the folder that holds records.csv.
        root: folder that its paths start from; by default the one that prepare noted, or the table's own.
        out: folder that receives audit.html and audit.json; by default the table's.
        pixels: read and compare the images; false looks at the table and its sha256 column only.
        near_bits: of 256, by which hashes of pictures that look the same may differ; 32 by default.
        workers: processes that read images; by default one a core, at most 8.
        show_ids: show patient ids on the page and in audit.json.
    """
    result = run_audit(
        str(records),
        None if root is None else str(root),
        None if out is None else str(out),
        pixels=parse_flag(pixels),
        near_bits=NEAR_DUPLICATE_BITS if near_bits is None else near_bits,
        workers=workers,
        show_ids=parse_flag(show_ids),
    )
    print(f"{VERDICTS[result.verdict]}: {found_in_words(result)} among {result.images} images")
    for severity in SEVERITIES:
        for kind, title in KINDS.items():
            if count := result.counts.get(kind, {}).get(severity):
                print(f"  {severity:8} {count:6}  {title[0].lower()}{title[1:]}")
    print((Path(out) if out else _table_of(records).parent) / PAGE_FILE)
    if result.failed:
        raise SystemExit(1)


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
        Folder that relative paths start from. By default the one that ``summary.json`` beside the table names, as
        ``radimagenet prepare`` writes it, or else the table's own folder; whichever has the images.
    out
        Folder of the two files; by default the table's.
    pixels, near_bits, progress
        As for `radimagenet_monai.datasets.audit.audit_records`.
    workers
        By default one a core, at most 8.
    show_ids
        Whether the files name patients.

    Raises
    ------
    RecordsError
        For a table that cannot be read, and where none of its images are found.
    ConfigurationError
        As `audit_records` does.
    """
    path = _table_of(records)
    frame = read_records(path, require_label=False, allow_leakage=True)
    folder = _root_of(path, frame, root)
    if workers is None:
        workers = min(_MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    result = replace(audit_records(frame, folder, pixels, near_bits, workers, progress), source=path.name)
    target = path.parent if out is None else Path(out)
    facts = json.dumps(result.to_dict(show_ids), indent=2, ensure_ascii=False)
    atomic_write_text(target / JSON_FILE, facts + "\n")
    write_audit_page(result, target / PAGE_FILE, folder, show_ids)
    return result


def _table_of(records: str | os.PathLike[str]) -> Path:
    path = Path(records)
    return path / RECORDS_FILE if path.is_dir() else path


def _root_of(path: Path, frame: pd.DataFrame, root: str | os.PathLike[str] | None) -> Path:
    """The folder given, or the first likely one that holds any image of the table."""
    images = frame["image"].iloc[:: max(1, len(frame) // _SAMPLED)].tolist()
    folders = [Path(root)] if root is not None else [*_noted_root(path), path.parent]
    for folder in folders:
        paths = [os.path.join(folder, image) for image in images]
        if len(missing_files(paths)) < len(paths):
            return folder
    tried = " or ".join(f"'{folder}'" for folder in folders)
    raise RecordsError(
        f"{path}: none of its images are under {tried}; give --root, the folder that its paths start from"
    )


def _noted_root(path: Path) -> list[Path]:
    try:
        noted = json.loads((path.parent / SUMMARY_FILE).read_text(encoding="utf-8"))["root"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [Path(noted)] if isinstance(noted, str) else []
