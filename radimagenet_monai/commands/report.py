"""The commands ``radimagenet audit`` and ``radimagenet report`` and what they print."""

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


def report(folder: str, out: str | None = None, show_ids: bool = False) -> None:
    """Write the report of a comparison, or a page on an evaluated bundle.

    A comparison gets report.html, report.json and csv/; a folder of comparisons also gets one page that covers all.

    Args:
        folder: output folder of a comparison or of an evaluate run, or the bundle's folder.
        out: output folder for a comparison, or path of the page for an evaluation; by default beside the results.
        show_ids: show file names in a comparison's reasons for failures.
    """
    from radimagenet_monai.core.flags import parse_flag
    from radimagenet_monai.report.comparison.report import ANALYSIS_FILE, comparisons_in, write_comparison_report
    from radimagenet_monai.report.run_report import write_run_report

    place, target = str(folder), None if out is None else str(out)
    if (Path(place) / ANALYSIS_FILE).is_file() or comparisons_in(place):
        print(write_comparison_report(place, target, parse_flag(show_ids)))
    else:
        print(write_run_report(place, target))
