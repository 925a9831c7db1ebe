"""``radimagenet report``."""

from __future__ import annotations

from pathlib import Path


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


COMMANDS = {"report": report}
