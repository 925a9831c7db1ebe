"""Which values of a mask are the lesion.

A binary mask has two *levels*: 0 and one other, whatever it is. Values between them belong to edges, smoothed by
resizing or drawing, or rippled by lossy compression; a pixel belongs to the nearer level. Everything else is refused
unless the records table states the values: several labels (merging an organ and its tumor would be silently wrong),
gray pictures, and masks whose lesion surrounds the image, which are most likely inverted.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from radimagenet_monai.datasets.masks.reference import MaskReference
from radimagenet_monai.datasets.masks.samples import MaskSamples

_NOISE = 0.125
"""Share of the range of values by which compression and smoothing move a level."""

_SMALL_NUMBERS = 31
"""Up to this value, whole numbers are labels: smoothing leaves no room between them."""

_FEW = 16  # values; more mean smoothing or ripples
_LEAST_SHARE = 0.01  # of the non-background pixels, for a level among rippled values
_LEAST_PIXELS = 9
_BORDER = 0.95
_FULL_SCALES = (1.0, 255.0, 4095.0, 65_535.0)
_MOST_NAMED = 8


@dataclass(frozen=True)
class MaskValues:
    """Interpretation of the values of a mask.

    Attributes
    ----------
    levels
        Values of the mask's regions, in order; color codes for a mask in color.
    lesion
        ``(frames, rows, columns)`` booleans; ``None`` if it cannot be determined.
    state
        ``"binary"``, ``"empty"``, ``"full"``, ``"labels"``, ``"gray"``, ``"inverted"`` or ``"unclear"``.
    problem
        Why ``lesion`` is unknown, with the solution.
    labels
        Levels that are the lesion, if determined by content.
    exact
        Whether every pixel has one of the levels; otherwise other values lie between them.
    """

    levels: tuple[float, ...]
    lesion: np.ndarray | None
    state: str
    problem: str = ""
    labels: tuple[float, ...] = ()
    exact: bool = True


def understand(samples: MaskSamples, reference: MaskReference) -> MaskValues:
    """Find the lesion from the table's statement or, without one, from the content.

    Parameters
    ----------
    samples
        From `radimagenet_monai.datasets.masks.samples.read_samples`.
    reference
        Reference with the table's statement.
    """
    values = samples.values
    if reference.at_least is not None and samples.kind == "gray":
        return _known((), values >= reference.at_least)
    levels, rippled = _levels(samples)
    if reference.states_values:
        return _stated(samples, levels, rippled, reference)
    if samples.doubt:
        return MaskValues(tuple(levels or ()), None, "unclear", f"{samples.doubt}; {_way_out(samples, levels)}")
    if levels is None or (rippled and _edges_fill_it(samples, levels)):
        count = len(np.unique(values))
        return MaskValues(
            (),
            None,
            "gray",
            f"it has {count} different values, as a picture has and not a mask; name a mask, or state a threshold "
            "with '#at_least=128'",
        )
    return replace(_by_content(samples, levels), exact=not rippled)


def _by_content(samples: MaskSamples, levels: Sequence[float]) -> MaskValues:
    values = samples.values
    background = samples.background if samples.background is not None else 0
    if samples.kind == "gray":
        span = _full_scale(values, levels)
        dark = [level for level in levels if 0 <= level <= _NOISE * span]
    else:
        dark = [level for level in levels if level == background or (samples.kind == "color" and _is_black(level))]
    bright = [level for level in levels if level not in dark]
    if len(dark) > 1 and not samples.lossy:  # such as 0, 1 and 255, where 1 is a label
        bright, dark = [level for level in levels if level != dark[0]], dark[:1]
    if not dark and (len(bright) > 1 or samples.kind != "gray" or bright[0] <= 0):
        return MaskValues(
            tuple(levels),
            None,
            "unclear",
            f"none of its values ({', '.join(name_of(level, samples.kind) for level in levels[:_MOST_NAMED])}) is "
            f"background; {_way_out(samples, levels)}",
        )
    if len(bright) > 1:
        shares = _shares(samples, levels)
        named = ", ".join(f"{name_of(level, samples.kind)} ({shares[level]:.1%})" for level in bright[:_MOST_NAMED])
        return MaskValues(
            tuple(levels),
            None,
            "labels",
            f"it holds {len(bright)} labels: {named}; {_way_out(samples, bright)}",
        )
    if not bright:
        return _known(levels, np.zeros(values.shape, bool))
    if not dark:
        return _known(levels, np.ones(values.shape, bool), bright)
    if bright[0] < 0 and samples.kind == "gray":
        return MaskValues(
            tuple(levels), None, "unclear", f"its lesion would be {bright[0]:g}; {_way_out(samples, bright)}"
        )
    found = _known(levels, _nearest(samples, levels) == levels.index(bright[0]), bright)
    if found.lesion is not None and _is_inverted(found.lesion):
        share = float(found.lesion.mean())
        return MaskValues(
            tuple(levels),
            None,
            "inverted",
            f"{share:.0%} of it would be lesion, all around the border: it is most likely inverted; state "
            f"'#values={name_of(dark[0], samples.kind)}' if the lesion is {name_of(dark[0], samples.kind)}, or "
            f"'#values={name_of(bright[0], samples.kind)}' if it is right",
        )
    return found


def name_of(level: float, kind: str) -> str:
    """A value as written in the table: ``2``, ``0.5``, or ``ff0000`` for a color."""
    return f"{int(level):06x}" if kind == "color" else f"{level:g}"


def _known(levels: Sequence[float], lesion: np.ndarray, labels: Sequence[float] = ()) -> MaskValues:
    state = "full" if lesion.all() else "binary" if lesion.any() else "empty"
    return MaskValues(tuple(levels), lesion, state, labels=tuple(labels))


def _stated(
    samples: MaskSamples, levels: Sequence[float] | None, rippled: bool, reference: MaskReference
) -> MaskValues:
    if reference.at_least is not None:
        return MaskValues((), None, "unclear", "it is in color, so that at_least means nothing; state values")
    try:
        wanted = [_parse(text, samples.kind) for text in reference.values]
    except ValueError:
        expected = "colors, such as ff0000" if samples.kind == "color" else "numbers"
        return MaskValues((), None, "unclear", f"values {'+'.join(reference.values)} are stated; expected {expected}")
    if not rippled or levels is None:
        return _known(levels or (), np.isin(samples.values, wanted))
    # Smoothed or rippled values count if they are nearest to a stated one.
    near = [number for number, level in enumerate(levels) if any(_distance(samples, level, one) for one in wanted)]
    return _known(levels, np.isin(_nearest(samples, levels), near))


def _parse(text: str, kind: str) -> float:
    return float(int(text, 16)) if kind == "color" else float(text)


def _distance(samples: MaskSamples, level: float, stated: float) -> bool:
    """Whether a level may be the stated value after smoothing or compression."""
    if samples.kind == "color":
        return _color_distance(np.array([level]), stated)[0] <= _NOISE * 255
    if samples.kind == "palette":
        return level == stated
    return abs(level - stated) <= _NOISE * _full_scale(samples.values, (level,))


def _levels(samples: MaskSamples) -> tuple[list[float] | None, bool]:
    """The values of regions, and whether other values lie between them; ``None`` if there are no regions."""
    values = samples.values
    distinct = np.unique(values)
    exact = [float(value) for value in distinct]
    whole = values.dtype.kind in "iub"
    if samples.kind == "palette" or (len(distinct) <= 2 and not samples.lossy):
        return exact, False
    small = whole and exact[0] >= -1 and exact[-1] <= _SMALL_NUMBERS
    if samples.kind == "gray" and small and not samples.lossy and len(distinct) <= _FEW:
        return exact, False
    solid, areas = np.unique(values[_solid(values)], return_counts=True)
    if len(distinct) <= _FEW and not samples.lossy:
        levels = [float(value) for value in solid]
    else:
        levels = _clusters(samples, solid.astype(float), areas)
    if samples.kind == "gray":
        levels = _with_small_regions(samples, levels, exact)
    elif samples.kind == "color" and len(levels) < 2 and len(distinct) <= _FEW and not samples.lossy:
        levels = exact
    return levels or None, True


def _solid(values: np.ndarray) -> np.ndarray:
    """Where a pixel equals its eight neighbors: inside a region, not on its edge."""
    kernel = np.ones((3, 3), np.uint8)
    found = np.empty(values.shape, bool)
    for number, frame in enumerate(values):
        exact = frame if frame.dtype in (np.uint8, np.uint16, np.int16, np.float64) else frame.astype(np.float64)
        exact = np.ascontiguousarray(exact)
        found[number] = cv2.erode(exact, kernel) == cv2.dilate(exact, kernel)
    return found


def _clusters(samples: MaskSamples, solid: np.ndarray, areas: np.ndarray) -> list[float]:
    """Levels among rippled values: groups of close values, except groups too small to be a label."""
    if not len(solid):
        return []
    groups: list[list[int]] = []
    if samples.kind == "color":
        left = list(np.argsort(areas)[::-1])
        while left:
            near = _color_distance(solid[left], solid[left[0]]) <= _NOISE * 255
            groups.append([place for place, is_near in zip(left, near, strict=True) if is_near])
            left = [place for place, is_near in zip(left, near, strict=True) if not is_near]
    else:
        tolerance = _NOISE * _full_scale(samples.values, (float(solid[-1]),))
        for place in range(len(solid)):
            if (
                groups
                and solid[place] - solid[groups[-1][0]] <= 2 * tolerance
                and (solid[place] - solid[groups[-1][-1]] <= tolerance)
            ):
                groups[-1].append(place)
            else:
                groups.append([place])
    sizes = [int(areas[group].sum()) for group in groups]
    others = sum(sizes) - max(sizes)
    centers = [float(solid[group[int(np.argmax(areas[group]))]]) for group in groups]
    return sorted(
        center
        for center, size in zip(centers, sizes, strict=True)
        if size == max(sizes) or size >= max(_LEAST_PIXELS, _LEAST_SHARE * others)
    )


def _with_small_regions(samples: MaskSamples, levels: list[float], exact: list[float]) -> list[float]:
    """Add the largest value if it belongs to a lesion too small to have an inside."""
    low, high = exact[0], exact[-1]
    scale = _full_scale(samples.values, (high,))
    if not levels:
        levels = [low]
    if high - levels[-1] > 2 * _NOISE * scale and (high in _FULL_SCALES or len(levels) == 1):
        return [*levels, high]
    return levels


def _edges_fill_it(samples: MaskSamples, levels: Sequence[float]) -> bool:
    """Whether more pixels lie between the levels than edges of regions could explain."""
    values = samples.values
    if samples.kind == "color":
        distances = np.min([_color_distance(values, level) for level in levels], axis=0)
        between = int((distances > 2 * _NOISE * 255).sum())
    else:
        scale = _full_scale(values, levels)
        distances = np.min([np.abs(values.astype(float) - level) for level in levels], axis=0)
        between = int((distances > _NOISE * scale).sum())
    nearest = _nearest(samples, levels)
    counts = np.bincount(nearest.ravel(), minlength=len(levels))
    regions = int(counts.sum() - counts.max())
    return between > max(_LEAST_PIXELS, regions)


def _nearest(samples: MaskSamples, levels: Sequence[float]) -> np.ndarray:
    """The index of the level nearest to each pixel; the higher one in a tie."""
    values = samples.values
    if samples.kind == "color":
        return np.argmin([_color_distance(values, level) for level in levels], axis=0)
    middles = [(low + high) / 2 for low, high in itertools.pairwise(levels)]
    return np.digitize(values, middles) if middles else np.zeros(values.shape, int)


def _color_distance(codes: np.ndarray, other: float) -> np.ndarray:
    """The largest difference over the channels."""
    whole, one = np.asarray(codes).astype(np.int64), int(other)
    channels = [np.abs(((whole >> shift) & 255) - ((one >> shift) & 255)) for shift in (16, 8, 0)]
    return np.max(channels, axis=0)


def _is_black(code: float) -> bool:
    return bool(_color_distance(np.array([code]), 0)[0] <= _NOISE * 255)


def _full_scale(values: np.ndarray, levels: Sequence[float]) -> float:
    """The value of white: 1 for fractions, else the largest level."""
    largest = max([abs(level) for level in levels], default=0.0)
    if values.dtype.kind == "f" and largest <= 1 and float(values.min()) > 0:
        return 1.0  # probabilities
    return largest or 1.0


def _shares(samples: MaskSamples, levels: Sequence[float]) -> dict[float, float]:
    counts = np.bincount(_nearest(samples, levels).ravel(), minlength=len(levels))
    return {level: float(count) / samples.values.size for level, count in zip(levels, counts, strict=True)}


def _is_inverted(lesion: np.ndarray) -> bool:
    """Whether a lesion covers most of the image and all of its border."""
    if lesion.mean() <= 0.5 or lesion.all():
        return False
    border = [lesion[:, 0], lesion[:, -1], lesion[:, :, 0], lesion[:, :, -1]]
    return sum(int(edge.sum()) for edge in border) >= _BORDER * sum(edge.size for edge in border)


def _way_out(samples: MaskSamples, levels: Sequence[float] | None) -> str:
    names = [name_of(level, samples.kind) for level in levels or ()]
    example = names[-1] if names else "255"
    both = f", or all of them by '#values={'+'.join(names)}'" if 1 < len(names) <= _MOST_NAMED else ""
    return f"state which are the lesion in the mask column, such as '#values={example}'{both}"
