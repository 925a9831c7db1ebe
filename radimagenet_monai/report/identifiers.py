"""Removes identifiers from a report: names of image files, DICOM person names, columns of ids.

An analysis holds no patient ids by construction. But error messages quote file names and headers, and a column of the
records used for groups may contain ids.
"""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from radimagenet_monai.core.named_roots import without_folders

HIDDEN = "[hidden]"
MOST_GROUPS = 20
"""Groups of a column; more are taken for ids."""

_IMAGE_FILES = "png|jpe?g|bmp|gif|webp|tiff?|dcm|dicom|ima|nii|gz|nrrd|nhdr|mha|mhd|npy|npz|avi|mp4"
_FILE_NAME = re.compile(rf"""[^\s'"<>|]+\.(?:{_IMAGE_FILES})\b""", re.IGNORECASE)
# A file name may contain blanks; in an error message it extends back to the last clause-ending mark.
_FILE_CLAUSE = re.compile(rf"""[^:;()\[\]]*\.(?:{_IMAGE_FILES})\b""", re.IGNORECASE)
_UNREADABLE = re.compile(r"[^;\n]*?(?=: cannot be read \()")
_PERSON_NAME = re.compile(r"[^\s'\",;:()=]*\w\^[^\s'\",;:()=]*")
_QUOTED = re.compile(r"(?<!\w)(?:'[^']*'|\"[^\"]*\")(?!\w)")
_PATH = re.compile(r"[^\s'\"]*[/\\][^\s'\"]+")
# Hospital numbers, DICOM UIDs, dates.
_LONG_NUMBER = re.compile(r"\d{6,}|\d+(?:\.\d+){3,}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}")
_ID_COLUMN = re.compile(r"(^|_)(id|ids|uid|mrn|name|pid)$|patient|accession|birth|phone|address|email", re.IGNORECASE)

# Fields whose messages may quote files, headers and rows.
_MESSAGES = frozenset({"problem", "reason", "log", "notes"})


def without_identifiers(analysis: Mapping[str, Any], show_ids: bool = False) -> dict[str, Any]:
    """A copy of ``analysis.json`` without anything that may identify a patient.

    Parameters
    ----------
    analysis
        Content of ``analysis.json``.
    show_ids
        Keep file names in messages about failures. Groups that look like ids stay hidden.
    """
    known = _vocabulary(analysis)
    # This version writes no folders; an analysis of 0.1 may contain them.
    copy = {key: without_folders(_cleaned(value, key, known, show_ids)) for key, value in analysis.items()}
    copy["subgroups"] = _without_id_groups(copy["subgroups"])
    return copy


def hide_in_message(text: str, known: frozenset[str] = frozenset()) -> str:
    """An error message without file names, paths, person names and quotations, except quoted words in ``known``.

    The rest says what went wrong, but not with whose image.
    """
    text = _UNREADABLE.sub(HIDDEN, text)
    text = _FILE_CLAUSE.sub(lambda match: _hidden_clause(match.group()), text)
    text = _QUOTED.sub(lambda match: match.group() if match.group()[1:-1] in known else HIDDEN, text)
    text = _PATH.sub(HIDDEN, text)
    text = _LONG_NUMBER.sub(HIDDEN, _PERSON_NAME.sub(HIDDEN, text))
    return re.sub(rf"(?:{re.escape(HIDDEN)}\s*)+(?=\W|$)", HIDDEN, text)


def looks_like_an_id(column: str, groups: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the groups of a column are patients rather than kinds of patients.

    Parameters
    ----------
    column
        Its name.
    groups
        Mappings with ``group`` and ``patients``, which may be ``None``.
    """
    names = {str(item["group"]) for item in groups}
    if _ID_COLUMN.search(column) or len(names) > MOST_GROUPS:
        return True
    if any("^" in name or _LONG_NUMBER.search(name) for name in names):
        return True
    patients = [item["patients"] for item in groups if item.get("patients") is not None]
    return len(names) > 2 and bool(patients) and statistics.median(patients) < 2


def _cleaned(value: Any, key: str, known: frozenset[str], show_ids: bool) -> Any:
    if isinstance(value, Mapping):
        return {_text(str(name)): _cleaned(item, name, known, show_ids) for name, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, key, known, show_ids) for item in value]
    if not isinstance(value, str):
        return value
    if key in _MESSAGES:
        return _printable(value) if show_ids else hide_in_message(_printable(value), known)
    return _text(value)


def _text(value: str) -> str:
    value = _PERSON_NAME.sub(HIDDEN, _printable(value))
    return _FILE_NAME.sub(HIDDEN, value)


def _printable(value: str) -> str:
    """The text without control characters and marks that change text direction."""
    kept = (c for c in value if c in "\n\t\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return "".join(kept)


def _hidden_clause(text: str) -> str:
    blanks = len(text) - len(text.lstrip())
    return text[:blanks] + HIDDEN


def _without_id_groups(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    suspect = {
        column
        for column in {row["column"] for row in rows}
        if looks_like_an_id(column, [row for row in rows if row["column"] == column])
    }
    numbers: dict[tuple[str, str], int] = {}
    for row in rows:
        if row["column"] in suspect:
            place = (row["column"], str(row["group"]))
            numbers.setdefault(place, sum(column == row["column"] for column, _ in numbers) + 1)
    return [
        {**row, "group": f"group {numbers[row['column'], str(row['group'])]} (name hidden)"}
        if row["column"] in suspect
        else dict(row)
        for row in rows
    ]


def _vocabulary(analysis: Mapping[str, Any]) -> frozenset[str]:
    """Words that messages may quote: names that the report shows anyway."""
    task, protocol = analysis["task"], analysis["protocol"]
    words = {task["name"], *task["classes"], protocol["name"], *protocol["architectures"]}
    words |= {item["name"] for item in protocol["scenarios"]}
    for item in analysis["initializations"]:
        words |= {item["name"], item["weights"]}
    return frozenset(str(word) for word in words)
