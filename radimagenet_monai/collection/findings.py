"""What `verify` finds, by how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How bad a finding is, worst first.

    ``DANGEROUS`` would run, write or read what the bundle chooses, is read differently by two readers, or is not the
    file that its hash states. ``UNKNOWN`` is not on the allow-list, without the look of an attack: read it and decide.
    ``STYLE`` does no harm: a file that does not belong, metadata that do not follow the schema.
    """

    DANGEROUS = "dangerous"
    UNKNOWN = "unknown"
    STYLE = "style"


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    grade
        How bad it is.
    sentence
        What was found, with its place.
    subject
        Name of the component, function or module that is not on the allow-list; findings of one name count once.
    """

    grade: Grade
    sentence: str
    subject: str = ""
