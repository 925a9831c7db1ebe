"""Figures of a comparison. The text alternative of each states its numbers.

They are narrow, so that their text is legible on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from radimagenet_monai.report.figures import GREY, GROUND, INK, SERIES, figure_style, svg_uri
from radimagenet_monai.report.page import Picture
from radimagenet_monai.report.wording import MINUS, NOT_ESTIMABLE, number, set_apart, with_interval

_WIDTH = 4.5  # inches
_LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_MOST_BANDS = 3  # maximum number of curves whose intervals can be drawn without overlapping too much
_MOST_ROWS = 24
_LABEL = 34  # maximum characters of a row's label
_LEGEND = 24
_POINTS_TOLD = 5  # points of a curve given in the text alternative


@dataclass(frozen=True)
class ForestRow:
    """A row of a forest plot; a missing value is stated, and without bounds only the point is drawn."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    text: str


@figure_style()
def forest_picture(rows: Sequence[ForestRow], axis: str, caption: str, zero: bool = True) -> Picture:
    """Values with intervals, one per row, with a line at 0 for differences.

    Parameters
    ----------
    rows
        Rows from top to bottom; at most 24 are drawn.
    axis
        Label of the horizontal axis.
    caption
        Caption of the figure.
    zero
        Whether to draw the line of no difference.
    """
    drawn = rows[:_MOST_ROWS]
    figure = Figure(figsize=(_WIDTH, 0.75 + 0.46 * len(drawn)), layout="constrained")
    axes = figure.add_subplot()
    across = axes.get_yaxis_transform()
    ground = {"facecolor": GROUND, "edgecolor": "none", "pad": 1.5}  # keeps names legible in front of the line at 0
    for place, row in enumerate(drawn):
        axes.text(
            0, place - 0.3, _shortened(row.label, _LABEL), transform=across, va="center", fontsize=9.5, bbox=ground
        )
        axes.text(1, place - 0.3, row.text, transform=across, va="center", ha="right", fontsize=9, bbox=ground)
        if row.value is not None:
            axes.plot(row.value, place + 0.12, "s", color=SERIES[0], markersize=6)
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place + 0.12] * 2, color=SERIES[0], linewidth=1.8)
    bounds = [x for row in drawn for x in (row.value, row.low, row.high) if x is not None] + ([0.0] if zero else [])
    low, high = (min(bounds), max(bounds)) if bounds else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.05
    axes.set(xlabel=axis, ylim=(len(drawn) - 0.5, -0.7), xlim=(low - margin, high + margin))
    if zero:
        axes.axvline(0, color=INK, linewidth=1, linestyle="--", zorder=0)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.locator_params(axis="x", nbins=6)
    told = "; ".join(f"{row.label}: {row.text}" for row in drawn)
    more = f" The first {len(drawn)} of {len(rows)}; the table has all." if len(rows) > len(drawn) else ""
    line = " The dashed line at 0 is no difference." if zero else ""
    return Picture(svg_uri(figure), f"{axis}, a row each with its interval: {told}.", f"{caption}{line}{more}")


@figure_style()
def roc_picture(curves: Mapping[str, Mapping[str, Any]], caption: str) -> Picture:
    """ROC curves of several models, with confidence bands if there are only a few.

    Parameters
    ----------
    curves
        Name to ``pooled``: ``roc`` and ``auc``.
    caption
        Caption of the figure.
    """
    figure, axes = _square(len(curves))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    told = []
    for place, (name, pooled) in enumerate(curves.items()):
        curve = pooled["roc"]
        _line(axes, place, curve["false_positive_rate"], curve["sensitivity"], name, marker="")
        points = zip(curve["false_positive_rate"], curve.get("low") or [], curve.get("high") or [], strict=False)
        band = [point for point in points if None not in point]
        if len(curves) <= _MOST_BANDS and band:
            x, low, high = zip(*band, strict=True)
            axes.fill_between(x, low, high, color=SERIES[place % len(SERIES)], alpha=0.15, linewidth=0)
        some = _told(curve["false_positive_rate"], curve["sensitivity"])
        told.append(f"{name}: AUC {with_interval(pooled['auc'], 'auc')}; sensitivity by 1 − specificity {some}")
    axes.set(xlabel="1 − specificity", ylabel="sensitivity", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    _legend(figure, axes)
    bands = " Shaded: 95% confidence band." if len(curves) <= _MOST_BANDS else " Bands are in the CSV file."
    return Picture(svg_uri(figure), f"ROC curves. {'. '.join(told)}.", f"{caption}{bands} Dotted: chance.")


@figure_style()
def calibration_picture(curves: Mapping[str, Mapping[str, Any]], caption: str) -> Picture:
    """Observed against predicted shares of the positive class.

    Parameters
    ----------
    curves
        Name to ``calibration``: ``bins``, ``slope``, ``intercept``.
    caption
        Caption of the figure.
    """
    figure, axes = _square(len(curves))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    told = []
    for place, (name, calibration) in enumerate(curves.items()):
        bins = [item for item in calibration["bins"] if item["observed"] is not None]
        predicted, observed = [item["predicted"] for item in bins], [item["observed"] for item in bins]
        _line(axes, place, predicted, observed, name)
        if len(curves) <= _MOST_BANDS:
            for item in bins:
                if item["low"] is not None and item["high"] is not None:
                    axes.plot(
                        [item["predicted"]] * 2,
                        [item["low"], item["high"]],
                        color=SERIES[place],
                        linewidth=1,
                        alpha=0.7,
                    )
        told.append(
            f"{name}: observed by predicted {_told(predicted, observed)}; slope {number(calibration['slope'], 2)}"
        )
    axes.set(xlabel="predicted probability", ylabel="observed share", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_aspect("equal")
    _legend(figure, axes)
    bars = " Bars: 95% CIs." if len(curves) <= _MOST_BANDS else " Intervals are in the CSV file."
    return Picture(svg_uri(figure), f"Calibration. {'. '.join(told)}.", f"{caption}{bars} Dotted: perfect calibration.")


@figure_style()
def decision_picture(curves: Mapping[str, Mapping[str, Any]], caption: str) -> Picture:
    """Net benefit by threshold probability.

    Parameters
    ----------
    curves
        Name to ``decision_curve``: ``thresholds``, ``model``, ``all``.
    caption
        Caption of the figure.
    """
    figure, axes = _square(len(curves), height=3.4)
    axes.axhline(0, color=INK, linewidth=1)
    told, highest = [], 0.02
    for place, (name, curve) in enumerate(curves.items()):
        if place == 0:
            axes.plot(curve["thresholds"], curve["all"], color=GREY, linewidth=1.5, linestyle=":")
            told.append(f"everyone positive: {_told(curve['thresholds'], curve['all'])}")
        _line(axes, place, curve["thresholds"], curve["model"], name, marker="")
        highest = max([highest, *(value for value in [*curve["model"], *curve["all"]] if value is not None)])
        told.append(f"{name}: {_told(curve['thresholds'], curve['model'])}")
    axes.set(xlabel="threshold probability", ylabel="net benefit", xlim=(0, 1), ylim=(-0.3 * highest, 1.08 * highest))
    _legend(figure, axes)
    return Picture(
        svg_uri(figure),
        f"Net benefit by threshold probability. {'. '.join(told)}. Nobody positive: 0.",
        f"{caption} Dotted: everyone called positive. Line at 0: nobody.",
    )


@figure_style()
def learning_picture(points: Mapping[str, Sequence[Mapping[str, Any]]], measure: str, caption: str) -> Picture:
    """A measure by the size of the training set.

    Parameters
    ----------
    points
        Name to its points: ``mean``, ``low``, ``high``, and training ``images`` and ``patients`` (may be ``None``).
    measure
        Name of the measure.
    caption
        Caption of the figure.
    """
    figure, axes = _square(len(points), height=3.4)
    by = "images" if any(item["patients"] is None for items in points.values() for item in items) else "patients"
    told, sizes = [], set[int]()
    # Shifted sideways if they would hide each other.
    for place, (name, items) in enumerate(points.items()):
        seen = sorted((item for item in items if item["mean"] is not None), key=lambda item: item[by])
        shift = 1 + 0.02 * (place - (len(points) - 1) / 2)
        across = [item[by] * shift for item in seen]
        _line(axes, place, across, [item["mean"] for item in seen], name)
        for x, item in zip(across, seen, strict=True):
            if item["low"] is not None and item["high"] is not None:
                axes.plot(
                    [x, x], [item["low"], item["high"]], color=SERIES[place % len(SERIES)], linewidth=1, alpha=0.7
                )
        sizes |= {item[by] for item in seen}
        values = [f"{item[by]} {by} {with_interval(item, 'mean')}" for item in seen]
        told.append(f"{name}: {', '.join(values)}")
    axes.set_xscale("log")
    axes.set_xticks(sorted(sizes), [str(size) for size in sorted(sizes)])
    axes.set_xticks([], minor=True)
    axes.set(xlabel=f"{by} trained on", ylabel=measure)
    _legend(figure, axes)
    return Picture(svg_uri(figure), f"{measure} by training set. {'. '.join(told)}.", f"{caption} Bars: 95% CIs.")


def difference_row(label: str, item: Mapping[str, Any]) -> ForestRow:
    """A row of a forest plot from a mapping with ``difference``, ``low`` and ``high``."""
    value, low, high = item["difference"], item["low"], item["high"]
    text = NOT_ESTIMABLE if value is None else number(value)
    if value is not None and low is not None and high is not None:
        text = f"{text} ({number(low)}, {number(high)})"
    return ForestRow(label, value, low, high, text)


def _square(curves: int, height: float = 4.2) -> tuple[Figure, Axes]:
    """A figure with room below for the legend, two names per row."""
    figure = Figure(figsize=(_WIDTH, height + 0.24 * -(-curves // 2)), layout="constrained")
    axes = figure.add_subplot()
    axes.grid()
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _line(axes: Axes, place: int, x: Sequence[float], y: Sequence[float], name: str, marker: str | None = None) -> None:
    rounds = place // len(SERIES)
    axes.plot(
        x,
        y,
        color=SERIES[place % len(SERIES)],
        linestyle=_LINES[(place + rounds) % len(_LINES)],
        marker=_MARKERS[place % len(_MARKERS)] if marker is None else marker,
        markersize=5,
        linewidth=2,
        label=_shortened(name, _LEGEND).lstrip("_"),  # matplotlib omits names that begin with an underscore
    )


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9, handlelength=2.6)


def _shortened(text: str, most: int) -> str:
    """Beginning and end of a long name, which say more than its middle; for a difference, of both names."""
    first, minus, second = text.partition(f" {MINUS} ")
    if len(text) > most and minus:
        room = most - len(minus)
        kept = max(room // 2, room - len(second))
        return f"{_shortened(first, kept)}{minus}{_shortened(second, room - min(kept, len(first)))}"
    if len(text) > most:
        half = (most - 1) // 2
        text = f"{text[: most - 1 - half]}…{text[-half:]}"
    return set_apart(text)


def _told(x: Sequence[float], y: Sequence[float]) -> str:
    """Some points of a curve in words: ``0.10 0.62, 0.25 0.81``."""
    if not x:
        return NOT_ESTIMABLE
    step = (len(x) - 1) / max(1, _POINTS_TOLD - 1)
    places = sorted({round(step * place) for place in range(_POINTS_TOLD)})
    return ", ".join(f"{number(x[place], 2)}: {number(y[place], 2)}" for place in places if place < len(x))
