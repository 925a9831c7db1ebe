"""The page of an audit: findings, with the images side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.datasets.audit.inspection import gray_picture
from radimagenet_monai.datasets.audit.picture_hash import HASH_BITS, SAME_DETAIL
from radimagenet_monai.datasets.audit.result import KINDS, SEVERITIES, Audit, Finding, Row, Severity
from radimagenet_monai.datasets.masks.survey import STATES
from radimagenet_monai.io.geometry import PlaneChoice
from radimagenet_monai.io.reader import read_frame
from radimagenet_monai.report.figures import contact_sheet
from radimagenet_monai.report.page import Picture, Section, write_page

VERDICTS = {
    "leakage": "leakage found",
    "conflict": "contradicting labels found",
    "clean": "no leakage found",
}
_WARNINGS = {
    "leakage": (
        "The same patients or images are on both sides of a split or in two folds. A test on this table would promise "
        "more than new patients will show. Divide it again by patient, with all copies of an image in one part."
    ),
    "conflict": (
        "The same image stands under two labels. At least one label is wrong, and a network is taught both. Keep the "
        "right one."
    ),
    "clean": (
        "No patient, file or picture was found in two splits or two folds. An audit finds shared ids and copies. It "
        "cannot know that two ids are one person."
    ),
}
_PIXEL_KINDS = ("pixels", "near", "unreadable", "changed", "blank", "values")
_PICTURED = ("patient", "listed", "file", "pixels", "near")
_MASK_COUNTS = {
    "masks": "masks",
    "slices_without_lesion": "slices whose mask has a lesion elsewhere only",
    "outside": "images whose lesion is cut off with the surroundings of the scan",
}
_MOST_PICTURES = 12  # per kind and severity
_MOST_TABLED = 40
_MOST_SIZES = 12
_SIDE = 160  # side in pixels of a picture on the page
_MOST_CHARACTERS = 24  # per line of a caption


def write_audit_page(
    audit: Audit, path: str | os.PathLike[str], root: str | os.PathLike[str], show_ids: bool = False
) -> Path:
    """Write an audit as one self-contained HTML file, atomically, and return its path.

    Parameters
    ----------
    audit
        From `radimagenet_monai.datasets.audit.audit_records`.
    path
        Path of the HTML file.
    root
        Folder that the table's paths are relative to; the images shown are read from there.
    show_ids
        Whether patient ids are shown. File names are always shown and may contain ids.
    """
    compared = f"{audit.compared}" if audit.near_bits is not None else "none: images were not read"
    groups = [
        [item for item in audit.findings if (item.kind, item.severity) == (kind, severity)]
        for severity in SEVERITIES
        for kind in KINDS
    ]
    sections = [_overview(audit), *(_section(audit, found, os.fspath(root), show_ids) for found in groups if found)]
    sections += _counts(audit)
    sections.append(_method(audit))
    return write_page(
        path,
        f"Audit of {audit.source}: {VERDICTS[audit.verdict]}",
        _WARNINGS[audit.verdict],
        {
            "Verdict": VERDICTS[audit.verdict],
            "Images": f"{audit.images}",
            "Patients": f"{audit.patients}" if audit.patients else "unknown",
            "Images compared": compared,
        },
        sections,
    )


def found_in_words(audit: Audit) -> str:
    """Findings by severity, such as ``2 leakage, 1 conflict, 3 warnings``, or ``nothing``."""
    return _counted({severity: audit.count(severity) for severity in SEVERITIES}) or "nothing"


def _overview(audit: Audit) -> Section:
    rows = []
    for kind, title in KINDS.items():
        if kind.startswith("mask_") and not audit.masks:
            continue
        unread = kind in _PIXEL_KINDS and audit.near_bits is None
        rows.append(["not looked at" if unread else _counted(audit.counts.get(kind, {})) or "–", title])
    return Section(
        "What was looked for, and found", ["Leakage and conflict fail an audit. Warnings and notes do not."], (), rows
    )


def _section(audit: Audit, found: Sequence[Finding], root: str, show_ids: bool) -> Section:
    kind, severity = found[0].kind, found[0].severity
    total = audit.counts[kind][severity]
    title = f"{severity.capitalize()}: {KINDS[kind][0].lower()}{KINDS[kind][1:]} ({total})"
    if not any(finding.rows for finding in found) or kind in ("unknown_patient", "undivided", "unlabeled"):
        return Section(title, [f"{finding.text[0].upper()}{finding.text[1:]}." for finding in found])
    table = [
        [", ".join(map(str, finding.rows)), finding.text, _names(audit, finding, show_ids)]
        for finding in found[:_MOST_TABLED]
    ]
    more = [f"The first {len(table)} of {total} are listed; audit.json has more."] if total > len(table) else []
    if kind == "blank":
        pictures = list(_blank_sheet(audit, found, root))
    else:
        pictures = list(_pairs(audit, found, root)) if kind in _PICTURED else []
    return Section(title, more, ["rows", "what", "images"], table, pictures)


def _names(audit: Audit, finding: Finding, show_ids: bool) -> str:
    named = []
    for number in finding.rows[:4]:
        row = audit.rows[number]
        patient = f" [{row.patient_id or 'no patient'}]" if show_ids else ""
        named.append(_name(row) + patient)
    return "; ".join(named) + (f"; {len(finding.rows) - 4} or more others" if len(finding.rows) > 4 else "")


def _name(row: Row) -> str:
    return row.image + (f", frame {row.frame}" if row.frame else "")


def _pairs(audit: Audit, found: Sequence[Finding], root: str) -> Iterator[Picture]:
    for finding in found[:_MOST_PICTURES]:
        numbers = finding.rows[:2]
        pictures = [_picture(audit.rows[number], root) for number in numbers]
        shown = [picture for picture in pictures if picture is not None]
        if len(shown) < 2:
            continue
        captions = [_caption(number, audit.rows[number]) for number in numbers]
        text = f"Rows {numbers[0]} and {numbers[1]}"
        yield Picture(contact_sheet(shown, captions, columns=2), f"{text}: {finding.text}", text)


def _blank_sheet(audit: Audit, found: Sequence[Finding], root: str) -> Iterator[Picture]:
    numbers = [finding.rows[0] for finding in found[:_MOST_PICTURES]]
    shown = [(number, _picture(audit.rows[number], root)) for number in numbers]
    pictures = {number: picture for number, picture in shown if picture is not None}
    if pictures:
        captions = [_caption(number, audit.rows[number]) for number in pictures]
        text = f"{len(pictures)} of the blank images, as a viewer shows them."
        yield Picture(contact_sheet(list(pictures.values()), captions, columns=4), text, text)


def _picture(row: Row, root: str) -> np.ndarray | None:
    """The image with black bars, ``(160, 160)`` in [0, 1]; ``None`` if it cannot be read any more."""
    plane = cast(PlaneChoice, row.plane or "acquired")
    try:
        gray = gray_picture(*read_frame(os.path.join(root, row.image), row.frame, plane))
    except UnreadableImageError:
        return None
    scale = _SIDE / max(gray.shape)
    rows, columns = (max(1, round(length * scale)) for length in gray.shape)
    top, left = (_SIDE - rows) // 2, (_SIDE - columns) // 2
    square = np.zeros((_SIDE, _SIDE), np.float32)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square[top : top + rows, left : left + columns] = cv2.resize(gray, (columns, rows), interpolation=method)
    return square / 255


def _caption(number: int, row: Row) -> str:
    place = [row.split or "no split"] + ([f"fold {row.fold}"] if row.fold is not None else [])
    return "\n".join(_short(line) for line in (f"{number}: {row.label or 'no label'}", ", ".join(place)))


def _short(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"


def _counts(audit: Audit) -> list[Section]:
    sections = []
    for title, counts, prefix in (
        ("Images by class and split", audit.labels_by_split, ""),
        ("Images by class and fold", audit.labels_by_fold, "fold "),
    ):
        if counts:
            parts = list(next(iter(counts.values())))
            header = ["", *(f"{prefix}{part}" if part else "none" for part in parts)]
            rows = [[label or "no label", *(by_part[part] for part in parts)] for label, by_part in counts.items()]
            sections.append(Section(title, (), header, rows))
    if audit.masks:
        rows = [
            [_MASK_COUNTS.get(name, f"masks that {STATES.get(name, name)}"), count]
            for name, count in audit.masks.items()
        ]
        sections.append(Section("Masks", (), ["what", "count"], rows))
    if audit.sizes:
        rest = sum(count for *_, count in audit.sizes[_MOST_SIZES:])
        rows = [[f"{rows} x {columns}", count] for rows, columns, count in audit.sizes[:_MOST_SIZES]]
        if rest:
            rows.append([f"{len(audit.sizes) - _MOST_SIZES} other sizes", rest])
        text = "All images have one size." if len(audit.sizes) == 1 else "Images are of unequal sizes."
        sections.append(Section("Sizes", [text], ["rows x columns", "images"], rows))
    return sections


def _method(audit: Audit) -> Section:
    paragraphs = [
        "Identical files have the same SHA-256; identical pixels the same gray values, whatever the file format. Blank "
        "images, 99 % of one value, are left out of both.",
    ]
    if audit.near_bits is not None:
        paragraphs.append(
            f"Pictures look the same where at most {audit.near_bits} of {HASH_BITS} bits of their difference hashes "
            f"differ and the details of their thumbnails correlate by {SAME_DETAIL} or more. All pairs of images were "
            "compared. That finds copies that were compressed, rescaled, made brighter or annotated. It does not find "
            "mirrored or turned copies, nor copies cut by 1 % of a side or more.",
        )
        paragraphs.append("Pictures of one patient look alike for good reason and are not reported for it.")
    return Section("How to read this", paragraphs)


def _counted(counts: Mapping[Severity, int]) -> str:
    """``2 leakage, 1 conflict, 3 warnings``."""
    return ", ".join(
        f"{count} {severity}{'s' if count > 1 and severity != 'leakage' else ''}"
        for severity in SEVERITIES
        if (count := counts.get(severity, 0))
    )
