"""Whether a heatmap points at the lesion: pointing game, energy, Dice and IoU against a mask.

An image without a lesion has nothing to point at and is rejected. An empty map, 0 everywhere, counts as a miss in every
measure, since excluding it would reward a network for empty maps; empty maps are also counted separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.statistics.patient_numbers import number_patients
from radimagenet_monai.statistics.proportions import clustered_wilson, wilson
from radimagenet_monai.statistics.resampling.bootstrap import bootstrap_interval

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of a map's maximum at and above which a pixel is marked."""

FIXED_THRESHOLD = 0.5
"""Taken where there are no validation cases to choose one on: half of the maximum, fixed before any case was seen."""

MEASURES = ("pointing", "energy", "dice", "iou")
SIZES = ("small", "medium", "large")

# After interpolation, pixels of one plateau differ by a few rounding errors.
_TIE = 1e-6


@dataclass(frozen=True)
class Localization:
    """How well one heatmap matches one lesion. All shares are in [0, 1].

    Attributes
    ----------
    pointing
        Share of the map's maximum that lies inside the lesion: 1 or 0 for a single highest pixel, in between if several
        pixels are equally high.
    energy
        Share of the map's sum that lies inside the lesion.
    dice, iou
        Overlap of the marked pixels with the lesion, one for each of `THRESHOLDS`.
    lesion_share
        Share of the image that is lesion: the pointing and energy of a uniform map.
    center_inside
        Whether the center of the image lies in the lesion: the hit of a map that always points there.
    empty
        Whether the map is 0 everywhere.
    """

    pointing: float
    energy: float
    dice: tuple[float, ...]
    iou: tuple[float, ...]
    lesion_share: float
    center_inside: bool
    empty: bool

    @property
    def hit(self) -> bool:
        """Whether at least half of the maximum lies inside the lesion."""
        return self.pointing >= 0.5

    def at(self, threshold: float) -> tuple[float, float]:
        """Dice and IoU at one of `THRESHOLDS`."""
        place = _place(threshold)
        return self.dice[place], self.iou[place]


@dataclass(frozen=True)
class Measure:
    """A mean over cases with its interval; ``None``, with a ``reason`` in words, if not estimable."""

    estimate: float | None
    low: float | None
    high: float | None
    method: str
    confidence: float
    reason: str | None = None


@dataclass(frozen=True)
class LocalizationSummary:
    """Localization over cases.

    Attributes
    ----------
    cases, patients
        Numbers of images with a lesion and of their patients; an unknown patient counts as a separate one.
    empty_maps
        Number of cases whose map is 0 everywhere.
    threshold
        Share of the maximum used for ``dice`` and ``iou``, and how it was chosen, in words.
    pointing
        Share of cases whose maximum lies inside the lesion.
    energy, dice, iou
        Means over cases.
    uniform_pointing, center_pointing
        Pointing of a uniform map, and of a map that always points at the image's center: a network that does no better
        has found nothing.
    by_threshold
        Mean Dice and IoU at every threshold, to show how much the choice matters.
    by_size
        The same measures in thirds of the cases by the lesion's share of the image; empty for fewer than 3 cases.
    """

    cases: int
    patients: int
    empty_maps: int
    threshold: float
    threshold_origin: str
    pointing: Measure
    energy: Measure
    dice: Measure
    iou: Measure
    uniform_pointing: float | None
    center_pointing: float | None
    by_threshold: tuple[dict[str, float], ...]
    by_size: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionary for JSON without NaN."""
        return asdict(self)


def measure_localization(heatmap: np.ndarray, mask: np.ndarray, tolerance: float = 0) -> Localization:
    """Compare a heatmap with the lesion it should point at.

    The pointing game is that of Zhang et al., Int J Comput Vis 2018;126:1084-1102; the energy inside is the
    energy-based pointing game of Wang et al., Score-CAM, CVPR Workshops 2020.

    Parameters
    ----------
    heatmap
        ``(H, W)`` in [0, 1].
    mask
        ``(H, W)``, true inside the lesion.
    tolerance
        Pixels by which the maximum may miss the lesion and still count, in the pointing game only; 15 in the original
        paper.

    Raises
    ------
    RadImageNetError
        For different shapes, values outside [0, 1] or not finite, a mask without a lesion, or a negative tolerance.
    """
    heat = np.asarray(heatmap, dtype=np.float64)
    lesion = np.asarray(mask).astype(bool)
    if heat.ndim != 2 or heat.shape != lesion.shape:
        raise RadImageNetError(
            f"a heatmap of shape {heat.shape} was given for a mask of {lesion.shape}; expected the same (rows, columns)"
        )
    if not (heat.min(initial=0) >= 0 and heat.max(initial=0) <= 1):  # written so that NaN fails
        raise RadImageNetError(f"heatmap values from {heat.min():g} to {heat.max():g} were given; expected 0 to 1")
    if not lesion.any():
        raise RadImageNetError("a mask without a lesion was given; expected one to point at, leave such images out")
    if not tolerance >= 0:
        raise RadImageNetError(f"tolerance {tolerance} was given; expected pixels from 0")
    highest = float(heat.max())
    empty = highest == 0
    pointing = energy = 0.0
    if not empty:
        near = ndimage.distance_transform_edt(~lesion) <= tolerance if tolerance else lesion
        pointing = float(near[heat >= highest * (1 - _TIE)].mean())
        energy = min(1.0, float(heat[lesion].sum() / heat.sum()))
    dice, iou = [], []
    for threshold in THRESHOLDS:
        marked = (heat >= threshold * highest) & (not empty)
        common, total = int((marked & lesion).sum()), int(marked.sum() + lesion.sum())
        dice.append(2 * common / total)
        iou.append(common / (total - common))
    rows, columns = lesion.shape
    return Localization(
        pointing=pointing,
        energy=energy,
        dice=tuple(dice),
        iou=tuple(iou),
        lesion_share=float(lesion.mean()),
        center_inside=bool(lesion[rows // 2, columns // 2]),
        empty=empty,
    )


def choose_threshold(validation_cases: Sequence[Localization]) -> float:
    """The value of `THRESHOLDS` with the highest mean Dice; the lowest in a tie.

    Pass validation cases, never the cases evaluated at the threshold: the best of nine on the same cases looks better
    than it is.

    Raises
    ------
    RadImageNetError
        If there are no cases.
    """
    if not validation_cases:
        raise RadImageNetError(
            f"no validation case with a lesion mask was given; expected at least one, or take {FIXED_THRESHOLD}"
        )
    return THRESHOLDS[int(np.mean([case.dice for case in validation_cases], axis=0).argmax())]


def summarize_localization(
    cases: Sequence[Localization],
    threshold: float = FIXED_THRESHOLD,
    threshold_origin: str = "fixed beforehand",
    patients: Sequence[object] | None = None,
    confidence: float = 0.95,
    repeats: int = 2000,
    seed: int = 0,
) -> LocalizationSummary:
    """Means over cases, with intervals, and in thirds by lesion size.

    Pointing has Wilson's interval, over patients if one has several cases (`clustered_wilson`); the other measures have
    the bootstrap interval over patients.

    Parameters
    ----------
    cases
        From `measure_localization`.
    threshold
        One of `THRESHOLDS`, chosen on other cases (`choose_threshold`) or fixed beforehand.
    threshold_origin
        How it was chosen, in words.
    patients
        Patient of each case; ``None`` or empty text counts as a separate patient.
    confidence, repeats, seed
        Confidence level, bootstrap repeats and seed of the intervals.

    Raises
    ------
    ConfigurationError
        If the threshold is not one of `THRESHOLDS`.
    RadImageNetError
        If ``patients`` and ``cases`` differ in length.
    """
    _place(threshold)
    groups = number_patients(patients, len(cases))
    columns = case_columns(cases, threshold)

    def measures(rows: np.ndarray) -> dict[str, Measure]:
        return {name: _measure(name, columns[name][rows], groups[rows], confidence, repeats, seed) for name in MEASURES}

    share = columns["lesion_share"]
    every = np.arange(len(cases))
    by_size = []
    if len(cases) >= len(SIZES):
        third = np.digitize(share, np.quantile(share, [1 / 3, 2 / 3]), right=True)
        for place, size in enumerate(SIZES):
            rows = every[third == place]
            if rows.size:
                limits = {"share_low": float(share[rows].min()), "share_high": float(share[rows].max())}
                measured = {name: asdict(measure) for name, measure in measures(rows).items()}
                by_size.append({"size": size, "cases": int(rows.size), **limits, **measured})
    return LocalizationSummary(
        cases=len(cases),
        patients=len(np.unique(groups)),
        empty_maps=sum(case.empty for case in cases),
        threshold=threshold,
        threshold_origin=threshold_origin,
        **measures(every),
        uniform_pointing=float(share.mean()) if cases else None,
        center_pointing=float(np.mean([case.center_inside for case in cases])) if cases else None,
        by_threshold=tuple(
            {
                "threshold": step,
                "dice": float(np.mean([case.dice[place] for case in cases])),
                "iou": float(np.mean([case.iou[place] for case in cases])),
            }
            for place, step in enumerate(THRESHOLDS)
            if cases
        ),
        by_size=tuple(by_size),
    )


def case_columns(cases: Sequence[Localization], threshold: float) -> dict[str, np.ndarray]:
    """One ``(n,)`` float64 array for each of `MEASURES`, with hits as pointing, and ``lesion_share``."""
    place = _place(threshold)
    rows = [(float(case.hit), case.energy, case.dice[place], case.iou[place], case.lesion_share) for case in cases]
    values = np.array(rows, dtype=np.float64).reshape(len(cases), len(MEASURES) + 1)
    return dict(zip((*MEASURES, "lesion_share"), values.T, strict=True))


def _measure(name: str, values: np.ndarray, groups: np.ndarray, confidence: float, repeats: int, seed: int) -> Measure:
    if not values.size:
        return Measure(None, None, None, "none", confidence, "no case with a lesion mask")
    if name == "pointing":
        alone = len(np.unique(groups)) == len(groups)
        share = (
            wilson(int(values.sum()), values.size, confidence)
            if alone
            else clustered_wilson(values, groups, confidence)
        )
        return Measure(share.estimate, share.low, share.high, "Wilson" if alone else "Wilson over patients", confidence)
    found = bootstrap_interval(
        lambda columns: float(np.mean(columns["value"])),
        {"value": values},
        clusters=groups,
        repeats=repeats,
        confidence=confidence,
        seed=seed,
    )
    return Measure(found.estimate, found.low, found.high, "bootstrap over patients", confidence, found.reason)


def _place(threshold: float) -> int:
    distances = np.abs(np.array(THRESHOLDS) - threshold)
    if not distances.min() < 1e-9:
        raise ConfigurationError(
            f"threshold {threshold} was given; choose one of {', '.join(map(str, THRESHOLDS))} of the maximum"
        )
    return int(distances.argmin())
