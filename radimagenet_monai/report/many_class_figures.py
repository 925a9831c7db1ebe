"""Figures of an evaluation of many classes. The text alternative of each states its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter

from radimagenet_monai.report.figures import BLUE, GREY, GRID, GROUND, INK, ORANGE, SERIES, figure_style, svg_uri
from radimagenet_monai.report.page import Picture
from radimagenet_monai.report.wording import grouped, number

_WIDTH = 4.5  # inches, legible on a phone
_MARKERS = ("o", "s", "^", "D", "v", "P")
_CELL = 0.25  # inches per heat map cell
_LETTER = 0.064  # inches per letter of its labels
_REM_PER_INCH = 6
_FAINTEST = 0.08  # color strength of the smallest share in a heat map
_DARK = 0.55  # share from which a cell's text has the background color
_MOST_TOLD = 6  # heat map cells given in the text alternative


@figure_style()
def size_picture(images: Sequence[int]) -> Picture:
    """Images of each class, from the largest class to the smallest, on a logarithmic axis."""
    sizes = np.sort(np.asarray(images))[::-1]
    sizes = sizes[sizes > 0]
    figure, axes = _axes(3.4)
    places = np.arange(1, len(sizes) + 1)
    axes.fill_between(places, 0.5, sizes, step="mid", color=BLUE, alpha=0.35, linewidth=0)
    axes.step(places, sizes, where="mid", color=BLUE, linewidth=1.6)
    axes.set_yscale("log")
    axes.set(
        xlabel="class, from the most to the least frequent", ylabel="images", ylim=(0.5, max(float(sizes[0]) * 1.6, 12))
    )
    axes.set_xlim(0.5, max(len(sizes), 2) + 0.5)
    _number_decades(axes.yaxis)
    told = ", ".join(f"{share}: {grouped(int(np.quantile(sizes, quantile)))}" for share, quantile in _QUANTILES)
    return Picture(
        svg_uri(figure),
        f"Images of {len(sizes)} classes in falling order, on a logarithmic axis. {told}.",
        "Images of each class, from the most to the least frequent.",
    )


@figure_style()
def recall_picture(groups: Mapping[str, Sequence[tuple[int, float]]], accuracy: float, balanced: float) -> Picture:
    """Recall against the number of images, one point per class.

    Parameters
    ----------
    groups
        Modality to images and recall of each of its classes.
    accuracy, balanced
        Accuracy over all images and mean recall over the classes, drawn as lines.
    """
    figure, axes = _axes(4.2)
    for place, (name, points) in enumerate(groups.items()):
        if points:
            x, y = zip(*points, strict=True)
            color, marker = SERIES[place % len(SERIES)], _MARKERS[place % len(_MARKERS)]
            axes.scatter(x, y, s=22, label=name, linewidths=0, alpha=0.8, color=color, marker=marker)
    axes.axhline(accuracy, color=INK, linewidth=1.2, linestyle="--", label=f"accuracy {number(accuracy)}")
    axes.axhline(balanced, color=GREY, linewidth=1.6, linestyle=":", label=f"balanced {number(balanced)}")
    axes.set_xscale("log")
    axes.set(xlabel="images of the class", ylabel="recall", ylim=(-0.04, 1.04))
    _number_decades(axes.xaxis)
    axes.grid(color=GRID)
    _legend_below(figure, axes)
    told = "; ".join(
        f"{name}: {len(points)} classes, mean recall {number(float(np.mean([recall for _, recall in points])))}"
        for name, points in groups.items()
        if points
    )
    return Picture(
        svg_uri(figure),
        f"Recall of each class against its number of images, on a logarithmic axis. {told}. The table by size of "
        "class has the means.",
        "Recall of each class against its number of images.",
    )


@figure_style()
def bars_picture(name: str, classes: Sequence[Mapping[str, Any]]) -> Picture:
    """Recall of the classes of a region, one bar each.

    Parameters
    ----------
    name
        Name of the region.
    classes
        Mappings with ``label``, ``images`` and ``recall`` (a proportion), in drawing order.
    """
    figure, axes = _axes(0.75 + 0.36 * len(classes))
    across = axes.get_yaxis_transform()
    for place, item in enumerate(classes):
        recall = item["recall"]
        axes.text(0, place - 0.24, item["label"], transform=across, va="center", fontsize=9)
        count = f"{grouped(item['images'])} image{'' if item['images'] == 1 else 's'}"
        axes.text(1, place - 0.24, count, transform=across, va="center", ha="right", fontsize=8.5)
        axes.barh(place + 0.18, 1, height=0.26, color=GRID, linewidth=0)
        if recall["estimate"] is not None:
            axes.barh(place + 0.18, recall["estimate"], height=0.26, color=BLUE, linewidth=0)
            axes.plot([recall["low"], recall["high"]], [place + 0.18] * 2, color=ORANGE, linewidth=1.6)
    axes.set(xlabel="recall", xlim=(0, 1), ylim=(len(classes) - 0.4, -0.7))
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    told = "; ".join(
        f"{item['label']}: {number(item['recall']['estimate'])} of {grouped(item['images'])}" for item in classes
    )
    return Picture(
        svg_uri(figure),
        f"Recall of each class of {name}, from the most to the least frequent: {told}.",
        f"{name}: recall of each class (bar) with its interval (line), from the most to the least frequent class.",
    )


@figure_style()
def heat_picture(counts: np.ndarray, names: Sequence[str], elsewhere: np.ndarray | None, caption: str) -> Picture:
    """Predicted classes of the images of each true class, as shares of that class.

    Parameters
    ----------
    counts
        ``(n, n)`` number of images by true class (row) and predicted class (column).
    names
        ``(n,)`` names of the rows; the columns have the same order and are numbered.
    elsewhere
        ``(n,)`` number of images of each true class predicted as a class without a column; shown as a last column.
    caption
        Caption of the figure.
    """
    table = counts if elsewhere is None else np.column_stack([counts, elsewhere])
    rows, columns = table.shape
    totals = table.sum(axis=1)
    shares = table / np.maximum(totals, 1)[:, None]
    labels = [f"{place}  {name}" for place, name in enumerate(names, start=1)]
    # Sizes are set explicitly, so that cells are squares of the same size in every region.
    left, right, top, bottom = 0.25 + _LETTER * max(map(len, labels)), 0.15, 0.75, 0.1
    width, height = left + _CELL * columns + right, top + _CELL * rows + bottom
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(
        (left / width, bottom / height, _CELL * columns / width, _CELL * rows / height),
        xlim=(-0.5, columns - 0.5),
        ylim=(rows - 0.5, -0.5),
    )
    for row, column in zip(*np.nonzero(table), strict=True):
        share = float(shares[row, column])
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=BLUE, alpha=max(_FAINTEST, share), linewidth=0))
        if round(100 * share) >= 1:
            color = GROUND if share >= _DARK else INK
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=color)
    for row in np.flatnonzero(totals == 0).tolist():
        axes.plot([-0.5, columns - 0.5], [row, row], color=GREY, linewidth=1)
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.5)
    if elsewhere is not None:
        axes.axvline(columns - 1.5, color=INK, linewidth=1)
    ticks = [str(place) for place in range(1, len(names) + 1)] + ([] if elsewhere is None else ["other"])
    axes.set_xticks(range(columns), ticks, fontsize=7.5, rotation=90 if elsewhere is not None else 0)
    axes.set_yticks(range(rows), labels, fontsize=8.5)
    axes.tick_params(which="both", length=0)
    axes.xaxis.set_label_position("top")
    axes.xaxis.tick_top()
    axes.set_xlabel("called, by number of the row", fontsize=9, loc="left")
    return Picture(
        svg_uri(figure),
        f"{caption} {_heat_in_words(table, shares, names)}",
        f"{caption} Rows: true class. Columns: the class called. Numbers: percent of the row's images"
        f"{'; a line through a row: no image' if (totals == 0).any() else ''}.",
        least_width=round(width * _REM_PER_INCH),
    )


@figure_style()
def reliability_picture(calibration: Mapping[str, Any]) -> Picture:
    """Accuracy against the probability of the most probable class, with the number of images."""
    figure = Figure(figsize=(_WIDTH, 5.2), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    bins = [item for item in calibration["bins"] if item["images"]]
    confidence = [item["confidence"] for item in bins]
    accuracy = [item["accuracy"] for item in bins]
    for x, proportion in zip(confidence, accuracy, strict=True):
        axes.plot([x, x], [proportion["low"], proportion["high"]], color=BLUE, linewidth=1.6)
    axes.plot(confidence, [item["estimate"] for item in accuracy], "o-", color=BLUE, markersize=5, linewidth=1)
    axes.set(ylabel="share that is right", ylim=(-0.02, 1.02), xlim=(-0.02, 1.02))
    axes.grid(color=GRID)
    total = sum(item["images"] for item in bins)
    for item in calibration["bins"]:
        width = item["high"] - item["low"]
        share = item["images"] / total
        below.bar(item["low"], share, width=width * 0.92, align="edge", color=BLUE, alpha=0.6, linewidth=0)
    below.set(xlabel="probability of the most probable class", ylabel="share of images")
    told = "; ".join(
        f"{number(x, 2)}: {number(item['accuracy']['estimate'], 2)} of {grouped(item['images'])}"
        for x, item in zip(confidence, bins, strict=True)
    )
    return Picture(
        svg_uri(figure),
        f"Share of images that are right by mean probability of the class called: {told}.",
        "Above: how often the class called is right, with intervals; on the dotted line, as often as its probability "
        "says. Below: share of the images.",
    )


_QUANTILES = (("largest", 1.0), ("median", 0.5), ("smallest", 0.0))


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)


def _number_decades(axis: Axis) -> None:
    """Label only powers of ten, with numbers of images in full."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: grouped(int(value)) if value >= 1 else ""))
    axis.set_minor_formatter(NullFormatter())


def _heat_in_words(table: np.ndarray, shares: np.ndarray, names: Sequence[str]) -> str:
    """The largest shares off the diagonal."""
    called = [*names, "a class of another region"]
    wrong = shares.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_TOLD].tolist()
    places = [divmod(place, table.shape[1]) for place in order]
    told = [
        f"{names[row]} called {called[column]} {100 * wrong[row, column]:.0f} percent"
        for row, column in places
        if wrong[row, column]
    ]
    return f"Most of a class: {'; '.join(told)}." if told else "No image was called another class."
