"""A page on one evaluated bundle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.core.named_roots import without_folders
from radimagenet_monai.report.page import Section, write_page
from radimagenet_monai.report.sections.evaluation import evaluation_sections, headline
from radimagenet_monai.report.sections.many_classes import is_many_class, many_class_headline, many_class_sections
from radimagenet_monai.statistics.predictions import read_predictions

REPORT_FILE = "report.html"
WARNING = (
    "Research software. These figures describe one evaluation on one dataset; they are no evidence of clinical use."
)


def write_run_report(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the page of an evaluation run.

    Parameters
    ----------
    folder
        Output folder of an ``evaluate`` run, or the bundle that contains it.
    out
        Path of the page; by default ``report.html`` in the output folder.

    Returns
    -------
    pathlib.Path
        Path of the page.

    Raises
    ------
    RecordsError
        If there is no evaluation.
    """
    place = Path(folder)
    if not (place / "evaluation.json").is_file():
        place = place / "output" / "evaluation"
    if not (place / "evaluation.json").is_file():
        raise RecordsError(
            f"'{folder}' holds no evaluation.json; give the output folder of an evaluate run, or the bundle's folder"
        )
    evaluation = without_folders(read_json(place / "evaluation.json"))
    settings = evaluation["settings"]
    if is_many_class(evaluation):
        rows = []  # a page does not need a million rows
        sections = many_class_sections(evaluation, place)
        shown = many_class_headline(evaluation["metrics"])
    else:
        rows = read_predictions(place).to_dict("records")
        sections = evaluation_sections(evaluation, rows, place)
        shown = headline(evaluation)
    problems = [
        [f"{row['file']}, frame {row['frame']}", without_folders(row["problem"])] for row in rows if row["problem"]
    ]
    if problems:
        sections.append(Section("Images that could not be used", [], ["image", "reason"], problems))
    run_file = place / "run.json"
    run = without_folders(read_json(run_file)) if run_file.is_file() else {}
    sections.append(
        Section(
            "Run",
            [],
            ["setting", "value"],
            [[name, _short(value)] for name, value in settings.items()],
            details=json.dumps(run, indent=2),
        )
    )
    title = f"Evaluation of {settings.get('bundle', place.name)}"
    notice = evaluation.get("image_warning")
    warning = f"{notice} {WARNING}" if notice else WARNING
    return write_page(Path(out) if out else place / REPORT_FILE, title, warning, shown, sections)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > 10:
        return f"{', '.join(map(str, value[:5]))}, ... ({len(value)} in all)"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
