"""Figures of a report as data URIs, so that a page is self-contained."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from radimagenet_monai.statistics.auc.roc import roc_curve

# matplotlib's colors on a light background to those on a dark one. Background and ink change together within the
# figure, so that it is legible everywhere. Lines and markers have a contrast of 3 or more with their background. The
# background is slightly off white, so that white itself (on a confusion matrix) stays white.
INK, GROUND, GRID, GREY = "#1c2330", "#fefefe", "#d9dfe7", "#6b7684"
BLUE, ORANGE, GREEN, PURPLE, RED, OLIVE = "#1f5fa8", "#b8560f", "#187a57", "#7c3f9e", "#b3263a", "#6f6a00"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, RED, OLIVE)
_ON_DARK = {
    INK: "#e6eaf0",
    GROUND: "#14181f",
    GRID: "#323b48",
    GREY: "#98a4b5",
    BLUE: "#7fb3ee",
    ORANGE: "#f0a052",
    GREEN: "#55cfa2",
    PURPLE: "#cf9df0",
    RED: "#ff8d98",
    OLIVE: "#d3cb52",
}


@contextlib.contextmanager
def figure_style() -> Iterator[None]:
    """Style for drawing: colors that `svg_uri` can switch to dark, and text kept as text in any script."""
    style: dict[Any, Any] = {
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": GREY,
        "xtick.color": INK,
        "ytick.color": INK,
        "figure.facecolor": GROUND,
        "axes.facecolor": GROUND,
        "savefig.facecolor": GROUND,
        "grid.color": GRID,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "text.parse_math": False,  # a name may contain dollar signs
        "svg.fonttype": "none",  # the reader's browser has more scripts than matplotlib's font
        "svg.hashsalt": "radimagenet",  # with no date, the same numbers give the same file
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def svg_uri(figure: Figure) -> str:
    """A figure drawn in `figure_style` as an SVG data URI that follows the reader's light or dark scheme."""
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue().decode("utf-8")
    for index, color in enumerate(_ON_DARK):
        text = text.replace(color, f"var(--c{index})")
    light, dark = (
        "".join(f"--c{index}:{color};" for index, color in enumerate(colors))
        for colors in (_ON_DARK, _ON_DARK.values())
    )
    style = f"<style>:root{{{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    text = re.sub(r"(<svg [^>]*>)", lambda match: match.group(1) + style, text, count=1)
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode("utf-8")).decode("ascii")


@figure_style()
def roc_figure(labels: np.ndarray, scores: np.ndarray, operating_point: tuple[float, float] | None = None) -> str:
    """The ROC curve as an SVG data URI.

    Parameters
    ----------
    labels, scores
        ``(n,)`` 0 or 1, and scores, higher for 1.
    operating_point
        False-positive rate and sensitivity at the operating threshold, drawn as a dot.
    """
    curve = roc_curve(labels, scores)
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="chance")
    axes.plot(curve.false_positive_rate, curve.sensitivity, color=BLUE, linewidth=2, label="ROC curve")
    if operating_point is not None:
        axes.plot(*operating_point, "o", color=ORANGE, markersize=8, label="at the threshold")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.grid(color=GRID)
    axes.legend(loc="lower right", frameon=False)
    return svg_uri(figure)


@figure_style()
def score_figure(labels: np.ndarray, scores: np.ndarray, threshold: float, names: Sequence[str]) -> str:
    """Histograms of the positive class's probability per true class, with the threshold, as an SVG data URI."""
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    bins = np.linspace(0, 1, 21).tolist()
    for value, color in ((0, BLUE), (1, ORANGE)):
        axes.hist(scores[labels == value], bins=bins, alpha=0.6, color=color, label=f"{names[value]} (true class)")
    axes.axvline(threshold, color=INK, linewidth=1, linestyle="--", label="threshold")
    axes.set(xlabel=f"probability of {names[1]}", ylabel="images", xlim=(0, 1))
    axes.legend(frameon=False)
    return svg_uri(figure)


@figure_style()
def confusion_figure(counts: np.ndarray, names: Sequence[str]) -> str:
    """A confusion matrix, shaded by the share of the true class, as an SVG data URI.

    Parameters
    ----------
    counts
        ``(n, n)`` number of images by true class (row) and predicted class (column).
    names
        Names of the classes.
    """
    size = 2.2 + 0.55 * len(names)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        color = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set(xlabel="called", ylabel="true class")
    return svg_uri(figure)


def contact_sheet(images: Sequence[np.ndarray], captions: Sequence[str], columns: int = 6) -> str:
    """A grid of gray images with captions as a PNG data URI.

    Parameters
    ----------
    images
        Each ``(H, W)`` in [0, 1]; shown with the full range from black to white, never stretched.
    captions
        One per image; may have several lines.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(columns * 1.9, rows * 2.35), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        axes.set_axis_off()
        if place < len(images):
            axes.imshow(images[place], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_title(captions[place], fontsize=8)
    return _png(figure)


def _png(figure: Figure) -> str:
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
