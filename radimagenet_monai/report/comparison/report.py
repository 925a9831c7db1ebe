"""The report of a comparison: a page to read, JSON with its content, CSV with every number."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.report.comparison.checklists import CHECKLISTS, fill_checklist
from radimagenet_monai.report.comparison.gallery import read_gallery
from radimagenet_monai.report.comparison.rows import speaks_of_models
from radimagenet_monai.report.comparison.summary import summary_headline, summary_sections, summary_tables
from radimagenet_monai.report.comparison.tables import csv_text, tables_of
from radimagenet_monai.report.identifiers import without_identifiers
from radimagenet_monai.report.page import Section, write_page
from radimagenet_monai.report.sections.comparison import comparison_headline, comparison_sections

ANALYSIS_FILE = "analysis.json"
REPORT_FILE = "report.html"
JSON_FILE = "report.json"
CSV_FOLDER = "csv"
FORMAT = 1

_REQUIRED = ("task", "measure", "protocol", "initializations", "data", "runs", "performance", "differences")
_OPTIONAL: Mapping[str, Any] = {
    "learning_curve": [],
    "subgroups": [],
    "localization": None,
    "localization_differences": [],
    "power": [],
    "sentences": [],
    "notes": [],
    "limits": [],
    "software": {},
    "hardware": {},
    "started": "",
    "seconds": 0.0,
    "command": "",
}
_RESEARCH_ONLY = (
    "Research software. This compares {what} on one dataset; it is no evidence of clinical use. "
    "Look at the pictures for names burned into images before you pass this report on."
)


def write_comparison_report(
    folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, show_ids: bool = False
) -> Path:
    """Write the report of a comparison, or of several, and return the path of the page.

    Writes the self-contained ``report.html``, ``report.json`` and ``csv/*.csv``.

    Parameters
    ----------
    folder
        Folder with ``analysis.json``, or a folder of such folders, one per task: each then gets its report, and
        ``folder`` gets a summary with P values adjusted over the tasks.
    out
        Output folder; by default ``folder``. Reports of single tasks are written to their own folders.
    show_ids
        Whether reasons for failures include file names. Otherwise nothing in the report may identify a patient, except
        text burned into images.

    Raises
    ------
    RecordsError
        If there is no readable analysis.
    """
    place = Path(folder)
    target = Path(out) if out is not None else place
    if (place / ANALYSIS_FILE).is_file():
        return _write_one(place, target, show_ids)
    inner = comparisons_in(place)
    if not inner:
        raise RecordsError(
            f"'{folder}' holds no {ANALYSIS_FILE}, nor do its folders; give the --out folder of radimagenet compare"
        )
    analyses = {}
    for path in inner:
        _write_one(path, path, show_ids)
        analyses[path.name] = without_identifiers(read_analysis(path), show_ids)
    title = f"{len(analyses)} comparisons of initializations"
    headline = summary_headline(analyses)
    notices = sorted({str(found) for item in analyses.values() if (found := item["task"].get("image_warning"))})
    warning = " ".join([*notices, _RESEARCH_ONLY.format(what="ways to train")])
    return _write(target, title, warning, headline, summary_sections(analyses), {}, dict(summary_tables(analyses)))


def comparisons_in(folder: str | os.PathLike[str]) -> list[Path]:
    """The subfolders that hold an analysis, sorted by name."""
    return sorted(path.parent for path in Path(folder).glob(f"*/{ANALYSIS_FILE}"))


def read_analysis(folder: Path) -> dict[str, Any]:
    """``analysis.json`` with its optional parts filled in; NaN and infinite numbers become ``None``.

    Raises
    ------
    RecordsError
        For a file that is not an analysis, or has another format.
    """
    path = folder / ANALYSIS_FILE
    try:
        analysis = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except ValueError as error:
        raise RecordsError(f"{path} is no JSON ({error}); run the comparison again, finished runs are kept") from error
    if not isinstance(analysis, dict) or analysis.get("format") != FORMAT:
        found = analysis.get("format") if isinstance(analysis, dict) else None
        raise RecordsError(f"{path} has format {found}; expected {FORMAT}: run radimagenet compare of this version")
    missing = [key for key in _REQUIRED if key not in analysis]
    if missing:
        raise RecordsError(f"{path} lacks {', '.join(missing)}; run the comparison again, finished runs are kept")
    return {**_OPTIONAL, **analysis}


def _write_one(folder: Path, target: Path, show_ids: bool) -> Path:
    whole = read_analysis(folder)
    analysis = without_identifiers(whole, show_ids)
    notice = analysis["task"].get("image_warning")
    models = speaks_of_models(analysis)
    warning = _RESEARCH_ONLY.format(what="trained models" if models else "ways to train")
    gallery = read_gallery(whole, folder)
    tables: dict[str, Sequence[Mapping[str, Any]]] = dict(tables_of(analysis))
    checklists = {name: fill_checklist(name, analysis) for name in CHECKLISTS}
    for name, checklist in checklists.items():
        tables[f"checklist_{name}"] = [asdict(item) for item in checklist.items]
    return _write(
        target,
        f"Comparison of {'trained models' if models else 'initializations'}: {analysis['task']['title']}",
        f"{notice} {warning}" if notice else warning,
        comparison_headline(analysis),
        comparison_sections(analysis, gallery),
        {"analysis": analysis, "checklists": {name: asdict(item) for name, item in checklists.items()}},
        tables,
    )


def _write(
    target: Path,
    title: str,
    warning: str,
    headline: Mapping[str, str],
    sections: Sequence[Section],
    more: Mapping[str, Any],
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Path:
    for name, rows in tables.items():
        atomic_write_text(target / CSV_FOLDER / f"{name}.csv", csv_text(rows))
    shown = {
        "format": FORMAT,
        "title": title,
        "warning": warning,
        "headline": dict(headline),
        "sections": [_section_facts(section) for section in sections],
        **more,
    }
    text = json.dumps(shown, indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write_text(target / JSON_FILE, text + "\n")
    return write_page(target / REPORT_FILE, title, warning, headline, sections)


def _section_facts(section: Section) -> dict[str, Any]:
    """Content of a section, without picture pixels and folded parts."""
    return {
        "title": section.title,
        "paragraphs": list(section.paragraphs),
        "flow": [asdict(step) for step in section.flow],
        "tables": [asdict(table) for table in section.all_tables],
        "pictures": [{"caption": picture.caption, "text": picture.alt} for picture in section.pictures],
        "sections": [_section_facts(inner) for inner in section.sections],
    }
