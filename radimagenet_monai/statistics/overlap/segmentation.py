"""Overlap of a segmented lesion with its reference mask, and summaries over a set of images.

An image with an empty reference has no lesion to find, so Dice, IoU and outline distances are undefined. Such images
are excluded from the means and counted separately, with how many of them were segmented anyway. A completely missed
lesion stays in the means, with Dice, IoU and NSD of 0 and the image's diagonal as HD95.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.auc.discrimination import patient_clusters
from radimagenet_monai.statistics.overlap.surface_distance import SurfaceDistance, Unit
from radimagenet_monai.statistics.proportions import Proportion, share_of


@dataclass(frozen=True)
class Overlap:
    """Areas of one image in pixels, with the overlap measures."""

    predicted: int
    reference: int
    common: int

    @property
    def dice(self) -> float | None:
        """2 |A and B| / (|A| + |B|); ``None`` for an empty reference."""
        return 2 * self.common / (self.predicted + self.reference) if self.reference else None

    @property
    def iou(self) -> float | None:
        """|A and B| / |A or B|; ``None`` for an empty reference."""
        return self.common / (self.predicted + self.reference - self.common) if self.reference else None


def measure_overlap(predicted: np.ndarray, reference: np.ndarray) -> Overlap:
    """Overlap of two masks of the same shape; nonzero pixels are lesion.

    Raises
    ------
    RadImageNetError
        For masks of different shapes.
    """
    if predicted.shape != reference.shape:
        raise RadImageNetError(f"a mask of shape {predicted.shape} was given for a reference of {reference.shape}")
    found, true = predicted.astype(bool), reference.astype(bool)
    return Overlap(int(found.sum()), int(true.sum()), int((found & true).sum()))


@dataclass(frozen=True)
class Distribution:
    """Distribution of a measure over images; ``None`` without images."""

    images: int
    mean: float | None
    sd: float | None
    median: float | None
    quartiles: tuple[float, float] | None


@dataclass(frozen=True)
class SegmentationEvaluation:
    """Overlap over a set of images.

    Attributes
    ----------
    dice, iou
        Distributions over the images with a lesion.
    hd95, nsd
        Over the same images, HD95 in ``distance_unit``; without images if distances were not measured.
    distance_unit, tolerance
        Unit of the distances and tolerance of the NSD; ``None`` if not measured.
    missed
        Share of images with a lesion in which no lesion pixel was found.
    segmented_without_lesion
        Share of images without a lesion in which something was segmented.
    patients
        Number of patients; ``None`` if one of them is unknown.
    clustered
        Whether a patient has several images, so that both shares have intervals over patients.
    notes
        Sentences on what is known of the patients.
    """

    images: int
    with_lesion: int
    dice: Distribution
    iou: Distribution
    hd95: Distribution
    nsd: Distribution
    distance_unit: Unit | None
    tolerance: float | None
    missed: Proportion
    segmented_without_lesion: Proportion
    patients: int | None
    clustered: bool
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionary for JSON without NaN."""
        return {**asdict(self), "notes": list(self.notes)}


def evaluate_segmentation(
    overlaps: Sequence[Overlap],
    distances: Sequence[SurfaceDistance] | None = None,
    patient_ids: Sequence[str | None] | None = None,
) -> SegmentationEvaluation:
    """Summarize the overlaps of a set of images.

    Parameters
    ----------
    overlaps
        One per image.
    distances
        One per image in the same order, all with the same unit and tolerance; ``None`` if not measured.
    patient_ids
        One per image in the same order; ``None`` and empty text are unknown. If a patient has several images, the
        proportions have intervals over patients (`clustered_wilson`), and a note says so.

    Raises
    ------
    RadImageNetError
        If the numbers of overlaps, distances or patients differ, or the distances mix units or tolerances.
    """
    if distances is not None and len(distances) != len(overlaps):
        raise RadImageNetError(
            f"{len(distances)} distances were given for {len(overlaps)} overlaps; expected one an image"
        )
    kinds = {(distance.unit, distance.tolerance) for distance in distances or ()}
    if len(kinds) > 1:
        raise RadImageNetError(
            f"distances in {' and '.join(f'{unit} with tolerance {tolerance:g}' for unit, tolerance in sorted(kinds))} "
            "were given; expected one unit and tolerance, measure all in pixels"
        )
    unit, tolerance = kinds.pop() if kinds else (None, None)
    lesions = [overlap for overlap in overlaps if overlap.reference]
    clusters, method = patient_clusters(patient_ids, len(overlaps))
    lesion = np.array([overlap.reference > 0 for overlap in overlaps], dtype=bool)
    missed = np.array([overlap.common == 0 for overlap in overlaps], dtype=bool)
    segmented = np.array([overlap.predicted > 0 for overlap in overlaps], dtype=bool)
    return SegmentationEvaluation(
        images=len(overlaps),
        with_lesion=len(lesions),
        dice=_distribution([overlap.dice for overlap in lesions]),
        iou=_distribution([overlap.iou for overlap in lesions]),
        hd95=_distribution([distance.hd95 for distance in distances or ()]),
        nsd=_distribution([distance.nsd for distance in distances or ()]),
        distance_unit=unit,
        tolerance=tolerance,
        missed=share_of(missed, lesion, clusters),
        segmented_without_lesion=share_of(segmented, ~lesion, clusters),
        patients=method.patients,
        clustered=clusters is not None,
        notes=(method.note,) if method.note else (),
    )


def _distribution(values: Sequence[float | None]) -> Distribution:
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return Distribution(0, None, None, None, None)
    low, median, high = (float(value) for value in np.quantile(known, [0.25, 0.5, 0.75]))
    return Distribution(
        int(known.size), float(known.mean()), float(known.std(ddof=1)) if known.size > 1 else None, median, (low, high)
    )
