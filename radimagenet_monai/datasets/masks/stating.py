"""Write the user's statements about masks into the mask column of a records table."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from radimagenet_monai.core.errors import ConfigurationError, UnreadableImageError
from radimagenet_monai.datasets.masks.loading import inspect_file
from radimagenet_monai.datasets.masks.reference import MaskReference
from radimagenet_monai.datasets.records.table import MASK_SEPARATOR
from radimagenet_monai.io.reader import count_frames

_VALUE = re.compile(r"-?\d+(?:\.\d+)?|[0-9a-f]{6}")


def named_values(values: Sequence[str], at_least: float | None) -> dict[str, str]:
    """Values of the lesion, each with its name or ``""``.

    Raises
    ------
    ConfigurationError
        For invalid values, and for values combined with a threshold.

    Examples
    --------
    >>> named_values(["edema=1", "core=2"], None)
    {'1': 'edema', '2': 'core'}
    """
    if values and at_least is not None:
        raise ConfigurationError("mask_values and mask_at_least were given; give one of them")
    found = {}
    for text in values:
        name, _, value = text.rpartition("=")
        if not _VALUE.fullmatch(value.strip()):
            raise ConfigurationError(f"mask_values {text!r}: expected numbers such as 2, or names with them, tumor=2")
        found[value.strip()] = name.strip()
    return found


def state_values(frame: pd.DataFrame, values: Sequence[str], at_least: float | None) -> pd.DataFrame:
    """State in the mask column which values are the lesion, except for masks whose values the table already states.

    Raises
    ------
    UnreadableImageError
        For a mask reference that cannot be parsed.
    """
    if not values and at_least is None:
        return frame
    cells = []
    for cell in frame["mask"]:
        references = [MaskReference.parse(part) for part in cell.split(MASK_SEPARATOR) if part]
        stated = [
            reference
            if reference.outlines is not None or reference.states_values
            else replace(reference, values=tuple(values), at_least=at_least)
            for reference in references
        ]
        cells.append(MASK_SEPARATOR.join(map(str, stated)))
    return frame.assign(mask=cells)


def state_frames(frame: pd.DataFrame, root: str | os.PathLike[str]) -> pd.DataFrame:
    """State in the mask column on which frame a single-frame mask was drawn, if the table shows it.

    It does if the row has a frame and no other row has its mask.

    Parameters
    ----------
    frame
        Table with ``image``, ``mask`` and, optionally, ``frame``.
    root
        Folder that relative paths start from.
    """
    if "frame" not in frame.columns:
        return frame
    uses = Counter(part for cell in frame["mask"] for part in cell.split(MASK_SEPARATOR) if part)
    cells = []
    for cell, number, image in zip(frame["mask"], frame["frame"].astype(str), frame["image"], strict=True):
        parts = [part for part in cell.split(MASK_SEPARATOR) if part]
        if number.isdecimal():
            parts = [_with_frame(part, int(number), root, image) if uses[part] == 1 else part for part in parts]
        cells.append(MASK_SEPARATOR.join(parts))
    return frame.assign(mask=cells)


def _with_frame(cell: str, number: int, root: str | os.PathLike[str], image: str) -> str:
    reference = MaskReference.parse(cell)
    file = os.path.join(root, reference.file)
    if reference.outlines is not None or reference.frame is not None or count_frames(file) != 1:
        return cell
    if count_frames(os.path.join(root, image)) < 2:
        return cell
    try:
        placed = inspect_file(replace(reference, file=file)).grid.affine is not None
    except UnreadableImageError:
        return cell  # refused on use
    return cell if placed else str(replace(reference, frame=number))
