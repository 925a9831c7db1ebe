"""Findings of `verify` and their grades."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """Severity of a finding, worst first.

    ``DANGEROUS`` would run, write or read whatever the bundle chooses, is read differently by two readers, or does not
    match its hash. ``UNKNOWN`` is not on the allow-list but does not look like an attack: read it and decide.
    ``STYLE`` is harmless: a file that does not belong there, metadata that do not follow the schema.
    """

    DANGEROUS = "dangerous"
    UNKNOWN = "unknown"
    STYLE = "style"


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes
    ----------
    grade
        Severity.
    sentence
        Description, with the place.
    subject
        Name of the component, function or module that is not on the allow-list; findings of one name count once.
    """

    grade: Grade
    sentence: str
    subject: str = ""
