"""How much a quantized network changes what is measured on validation data, image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from radimagenet_monai.comparison.analysis.measures import contrast, joined, measure_name, measure_of
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.statistics.auc.discrimination import patient_clusters
from radimagenet_monai.statistics.overlap.segmentation import Overlap
from radimagenet_monai.statistics.predictions import PredictionTable, by_exam, known_labels
from radimagenet_monai.statistics.resampling.paired_cases import compare_cases

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Change:
    """A measure of the network in float32 and in int8 on the same images.

    Attributes
    ----------
    measure
        ``"AUC"``, ``"macro AUC"``, ``"AUC of NAME"`` or ``"Dice"``.
    before, after, change
        In float32, in int8, and the difference.
    low, high, confidence
        Interval of the difference; ``None`` if not estimable, for the ``reason``.
    method
        How the interval was found.
    cases, patients
        Numbers of images or exams, and of their patients (unknown ones count as patients of their own).
    """

    measure: str
    before: float
    after: float
    change: float
    low: float | None
    high: float | None
    confidence: float
    method: str
    reason: str | None
    cases: int
    patients: int

    def in_words(self) -> str:
        """The change on one line."""
        interval = (
            f"{self.confidence:.0%} CI {self.low:+.4f} to {self.high:+.4f}, {self.method}"
            if self.low is not None and self.high is not None
            else f"no interval: {self.reason}"
        )
        return (
            f"{self.measure} {self.before:.4f} in float32, {self.after:.4f} in int8: {self.change:+.4f} ({interval}; "
            f"{self.cases} cases of {self.patients} patients)"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON without NaN."""
        return asdict(self)


def changes_of_auc(
    before: PredictionTable,
    after: PredictionTable,
    data: Sequence[Mapping[str, Any]],
    findings: Sequence[str] = (),
    aggregate: str = "none",
) -> list[Change]:
    """Paired change of the AUC: DeLong, or Obuchowski if a patient has several images or exams; of the macro AUC of
    more than two classes by a bootstrap over patients; of each finding, if there are findings.

    Parameters
    ----------
    before, after
        Predictions in float32 and in int8.
    data
        Records of the dataset.
    findings
        Names of findings that may occur together; otherwise the classes are exclusive.
    aggregate
        Rule of `by_exam`.

    Raises
    ------
    RecordsError
        If an AUC is undefined: no labels, or one class only.
    """
    before, after = (by_exam(table, data, aggregate) for table in (before, after))
    if not findings:
        return [_change(measure_name(before.probabilities.shape[1]), before, after, data)]
    labels = known_labels(before)
    changes = []
    for column, finding in enumerate(findings):
        known = ~np.isnan(labels[:, column])
        first, second = (
            PredictionTable(
                table.index[known],
                np.stack([1 - table.probabilities[known, column], table.probabilities[known, column]], axis=1),
                labels[known, column].astype(np.int64),
            )
            for table in (before, after)
        )
        changes.append(_change(f"AUC of {finding}", first, second, data))
    return changes


def change_of_dice(
    before: Mapping[int, Overlap], after: Mapping[int, Overlap], data: Sequence[Mapping[str, Any]]
) -> Change:
    """Paired change of the mean Dice over images with a lesion, with a bootstrap over patients.

    Parameters
    ----------
    before, after
        Overlap by index of the image, in float32 and in int8.
    data
        Records of the dataset.

    Raises
    ------
    RecordsError
        If no image has a lesion.
    """
    order = sorted(before)
    patients = [str(data[index].get("patient_id") or "") for index in order]
    found = compare_cases(
        [after[index].dice for index in order], [before[index].dice for index in order], patients, CONFIDENCE
    )
    if found.first is None or found.second is None or found.difference is None:
        raise RecordsError("no validation image has a lesion mask, so Dice is undefined; give other data")
    return Change(
        measure="Dice",
        before=found.second,
        after=found.first,
        change=found.difference,
        low=found.low,
        high=found.high,
        confidence=CONFIDENCE,
        method="bootstrap by patient",
        reason=found.reason,
        cases=found.cases,
        patients=found.patients,
    )


def _change(name: str, before: PredictionTable, after: PredictionTable, data: Sequence[Mapping[str, Any]]) -> Change:
    values = measure_of(before), measure_of(after)
    patients = [str(data[index].get("patient_id") or "") for index in before.index.tolist()]
    clusters, method = patient_clusters(patients, len(before.index))
    if values[0] is None or values[1] is None:
        raise RecordsError(f"{name}: the validation images are of one class, an AUC needs both; give other data")
    compared = contrast([after, before], (1, -1), 1, clusters)
    interval = joined([compared])
    return Change(
        measure=name,
        before=values[0],
        after=values[1],
        change=float(compared.value or 0.0),
        low=interval["low"],
        high=interval["high"],
        confidence=CONFIDENCE,
        method=compared.method,
        reason=compared.reason,
        cases=len(before.index),
        patients=method.clusters or len(before.index),
    )
