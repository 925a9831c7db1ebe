"""``radimagenet audit``."""

from __future__ import annotations

from pathlib import Path

from radimagenet_monai.core.flags import Count, Whole


def audit(
    records: str,
    root: str | None = None,
    out: str | None = None,
    pixels: bool = True,
    near_bits: Whole | None = None,
    workers: Count | None = None,
    show_ids: bool = False,
) -> None:
    """Check a records table for leakage: patients or images on both sides of a split, contradictory labels.

    Writes audit.html and audit.json. Exit status 1 if leakage or an image with two labels is found.

    Args:
        records: the table, or the folder that contains records.csv.
        root: folder that its paths are relative to; by default the one recorded by prepare, or the table's.
        out: output folder for audit.html and audit.json; by default the table's.
        pixels: read and compare the images; false uses only the table and its sha256 column.
        near_bits: maximum number of differing bits, of 256, between hashes of similar images; 32 by default.
        workers: number of processes that read images; by default one per CPU core, at most 8.
        show_ids: show patient ids on the page and in audit.json.
    """
    from radimagenet_monai.core.flags import parse_flag
    from radimagenet_monai.datasets.audit.picture_hash import NEAR_DUPLICATE_BITS
    from radimagenet_monai.datasets.audit.result import KINDS, SEVERITIES
    from radimagenet_monai.datasets.records.root import table_of
    from radimagenet_monai.report.audit_run import PAGE_FILE, run_audit
    from radimagenet_monai.report.sections.audit import VERDICTS, found_in_words

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
    print((Path(str(out)) if out else table_of(str(records)).parent) / PAGE_FILE)
    if result.failed:
        raise SystemExit(1)


COMMANDS = {"audit": audit}
