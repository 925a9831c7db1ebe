"""The result of an audit: findings, counts, and their JSON form."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from radimagenet_monai.datasets.audit.picture_hash import SAME_DETAIL

Severity = Literal["leakage", "conflict", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("leakage", "conflict", "warning", "note")

KINDS: dict[str, str] = {
    "patient": "Patients in two splits or folds",
    "listed": "Images listed more than once",
    "file": "Identical files",
    "pixels": "Identical pixels in different files",
    "near": "Pictures that look the same",
    "volume": "Frames of one file in two splits or folds",
    "unknown_patient": "Rows without a patient",
    "missing": "Missing files",
    "unreadable": "Unreadable images",
    "changed": "Files that are not those of the table",
    "blank": "Blank images",
    "mask_unusable": "Masks that cannot be read or do not lie on their images",
    "mask_labels": "Masks of several labels without a statement which are the lesion",
    "mask_gray": "Masks of many gray values",
    "mask_inverted": "Masks that look inverted",
    "mask_unclear": "Masks that do not tell which value is the lesion",
    "mask_full": "Masks that mark the whole image",
    "mask_outside": "Lesions outside of the scan region",
    "values": "Doubtful values",
    "absent_class": "Classes without images in a split",
    "undivided": "Rows outside every split",
    "unlabeled": "Rows without a label",
    "several_labels": "Patients with images under several labels",
}
"""What an audit looks for, in the order of its report."""


@dataclass(frozen=True)
class Finding:
    """A single finding.

    Attributes
    ----------
    kind
        One of `KINDS`.
    severity
        One of `SEVERITIES`.
    text
        Description, without naming a patient.
    rows
        Row numbers in the table, the header being row 1; at most twelve.
    """

    kind: str
    severity: Severity
    text: str
    rows: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A row of the table named in a finding."""

    image: str
    frame: int
    label: str
    split: str
    fold: int | None
    patient_id: str
    plane: str = ""


@dataclass(frozen=True)
class Audit:
    """The result of `radimagenet_monai.datasets.audit.audit_records`.

    Attributes
    ----------
    source
        File name of the table.
    images, patients, files
        Number of rows, known patients and distinct image paths.
    compared
        Number of images whose pixels were compared: those that are readable and not blank.
    near_bits
        Hash bits within which pictures were compared, or ``None`` if no image was read.
    counts
        Number of findings by kind and severity, including unlisted ones.
    findings
        Findings, most severe first.
    rows
        Rows named in findings, by row number.
    labels_by_split, labels_by_fold
        ``{label: {split: images}}``, with ``""`` for rows without one; empty if no row has a split or fold.
    sizes
        ``(rows, columns, images)`` of the readable images, most frequent first.
    masks
        Counts of masks from `radimagenet_monai.datasets.audit.masks.audit_masks`.
    questions
        Number of images by question about their values, most frequent first.
    """

    source: str
    images: int
    patients: int
    files: int
    compared: int
    near_bits: int | None
    counts: dict[str, dict[Severity, int]]
    findings: list[Finding]
    rows: dict[int, Row]
    labels_by_split: dict[str, dict[str, int]]
    labels_by_fold: dict[str, dict[str, int]]
    sizes: list[tuple[int, int, int]]
    masks: dict[str, int] = field(default_factory=dict)
    questions: dict[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> Literal["leakage", "conflict", "clean"]:
        """Verdict by the worst finding."""
        if self.count("leakage"):
            return "leakage"
        return "conflict" if self.count("conflict") else "clean"

    @property
    def failed(self) -> bool:
        """Whether results on this table cannot be trusted: leakage or conflict."""
        return self.verdict != "clean"

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(numbers.get(severity, 0) for numbers in self.counts.values())

    def to_dict(self, show_ids: bool = False) -> dict[str, Any]:
        """JSON-serializable form; includes patient ids only on request."""
        result = {"verdict": self.verdict, **asdict(self)}
        result["same_detail"] = SAME_DETAIL if self.near_bits is not None else None
        result["rows"] = {str(number): asdict(row) for number, row in self.rows.items()}
        if not show_ids:
            for row in result["rows"].values():
                del row["patient_id"]
        return result
