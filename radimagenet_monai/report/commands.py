"""``radimagenet audit`` and ``radimagenet report``: what they do and print."""

from __future__ import annotations

from pathlib import Path

from radimagenet_monai.flags import Count, Whole


def audit(
    records: str,
    root: str | None = None,
    out: str | None = None,
    pixels: bool = True,
    near_bits: Whole | None = None,
    workers: Count | None = None,
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
    from radimagenet_monai.datasets.audit.result import KINDS, SEVERITIES
    from radimagenet_monai.datasets.picture_hash import NEAR_DUPLICATE_BITS
    from radimagenet_monai.datasets.records_root import table_of
    from radimagenet_monai.report.audit_page import VERDICTS, found_in_words
    from radimagenet_monai.report.audit_run import PAGE_FILE, run_audit
    from radimagenet_monai.training.flags import parse_flag

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
    """Write the report of a comparison, or a page about an evaluated bundle.

    A comparison gets report.html, report.json and csv/; a folder of several comparisons one page over all of them.

    Args:
        folder: output folder of a comparison or of an evaluate run, or the bundle's folder.
        out: of a comparison, the folder that receives the report; of a run, the path of the page. By default beside
            the results.
        show_ids: show the names of files in a comparison's reasons of failures.
    """
    from radimagenet_monai.report.comparison_report import ANALYSIS_FILE, comparisons_in, write_comparison_report
    from radimagenet_monai.report.run_report import write_run_report
    from radimagenet_monai.training.flags import parse_flag

    place, target = str(folder), None if out is None else str(out)
    if (Path(place) / ANALYSIS_FILE).is_file() or comparisons_in(place):
        print(write_comparison_report(place, target, parse_flag(show_ids)))
    else:
        print(write_run_report(place, target))
