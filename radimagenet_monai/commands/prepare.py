"""``radimagenet prepare``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from radimagenet_monai.core.command_line import Options, parameters_of
from radimagenet_monai.core.flags import Whole, parse_flag

_MOST_IMAGES_AUDITED = 20_000  # about ten minutes on two cores
_MOST_COUNTS = 12  # classes that are listed one by one


def prepare(
    name: str,
    root: str,
    out: str,
    seed: Whole = 0,
    audit: Literal["auto", "true", "false"] = "auto",
    overwrite: bool = False,
    **options: Any,
) -> None:
    """Turn a dataset, as published by its authors, into records.csv with patient-disjoint splits and folds; audit it.

    What the audit finds is printed and shown in audit.html; the exit status stays 0, since published datasets have
    known flaws. "radimagenet audit" has an exit status.

    Args:
        name: the dataset, see 'radimagenet info'; csv or folder for your own data.
        root: folder of the dataset.
        out: folder that receives records.csv, summary.json, audit.html and audit.json.
        seed: random seed of the split.
        audit: auto reads the images of up to 20 000; true reads any number; false leaves the audit out.
        overwrite: replace the records of other data in out.
        options: options of the dataset, see docs/reference/datasets; an unknown one is refused, listing the valid ones.
    """
    from radimagenet_monai.datasets.registry import prepare as write_prepared

    table, facts = write_prepared(str(name), str(root), str(out), seed, overwrite, **options)
    exams = f", {facts['exams']} exams" if "exams" in facts else ""
    print(f"{facts['images']} images of {facts['patients'] or 'unknown'} patients{exams}: {_counts(facts['labels'])}")
    print(f"split: {_counts(facts['splits'])}")
    if facts["differences"]:
        print(f"differs from the published counts: {_counts(facts['differences'])}")
    for note in facts["notes"][:10]:
        print(f"note: {note}")
    if len(facts["notes"]) > 10:
        print(f"note: {len(facts['notes']) - 10} more in {Path(out) / 'summary.json'}")
    _audit_prepared(table, facts["images"], audit)
    print(table)


def _audit_prepared(table: Path, images: int, wanted: Any) -> None:
    from radimagenet_monai.core.atomic import atomic_write_text
    from radimagenet_monai.datasets.registry import SUMMARY_FILE
    from radimagenet_monai.intensity.checks.plausibility import in_words
    from radimagenet_monai.report.audit_run import PAGE_FILE, run_audit
    from radimagenet_monai.report.sections.audit import VERDICTS, found_in_words

    automatic = wanted == "auto"
    if not automatic and not parse_flag(wanted):
        return
    pixels = not automatic or images <= _MOST_IMAGES_AUDITED
    result = run_audit(table, pixels=pixels)
    if pixels:
        summary = table.parent / SUMMARY_FILE
        facts = json.loads(summary.read_text(encoding="utf-8")) | {"questions": result.questions}
        atomic_write_text(summary, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        for sentence in in_words(result.questions, images):
            print(f"note: {sentence}")
    print(f"audit: {VERDICTS[result.verdict]}: {found_in_words(result)}; see {table.parent / PAGE_FILE}")
    if not pixels:
        print(f"audit: the table only, since there are {images} images; 'radimagenet audit {table}' reads them too")


def _counts(counts: dict[str, int]) -> str:
    if len(counts) > _MOST_COUNTS:
        return f"{len(counts)} classes of {min(counts.values())} to {max(counts.values())}"
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _reader_options(given: Mapping[str, Any]) -> Options:
    from radimagenet_monai.datasets.registry import get_reader

    name = str(given["name"])
    read = get_reader(name).read
    return Options(f"dataset '{name}'", tuple(parameters_of(read, leave_out=("root", "seed"))))


COMMANDS = {"prepare": prepare}
OPTIONS = {"prepare": _reader_options}
