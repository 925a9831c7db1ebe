"""The stored value of white in pictures and arrays of more than 8 bits, decided once for all files of a data set."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from radimagenet_monai.core.errors import IntensityError, UnreadableImageError
from radimagenet_monai.intensity.values.rendered import white_of_range
from radimagenet_monai.io.reader import image_kind, read_image

WHITE = "white_level"
"""Column of a records table, and key of a record: the value that stands for white; empty where the file says."""

_EIGHT_BIT_DEPTH = 8
_RENDERED = frozenset({"US", "radiograph"})


def with_white_level(frame: pd.DataFrame, root: str | os.PathLike[str]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Add the column ``white_level`` to a records table if any of its files needs it.

    A single file only shows that white is the smallest of 255, 4095 and 65535 that holds its largest value, so the same
    value could be gray in one file and nearly black in the next. The largest value of all files of one number type
    therefore decides. 8-bit pictures and files with a header need no white level, nor do CT or MR volumes.

    Parameters
    ----------
    frame
        Table with ``image`` and, optionally, ``modality``; returned unchanged if it already has the column.
    root
        Folder that relative paths start from.

    Returns
    -------
    tuple
        The table, and the white level by number type (``uint16``, ``float32``, ...).
    """
    if WHITE in frame.columns:
        return frame, {}
    modality = frame["modality"] if "modality" in frame.columns else pd.Series("", index=frame.index)
    kinds: dict[str, str] = {}
    largest: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for image, stated in dict(zip(frame["image"], modality, strict=True)).items():
        found = _deep_range(os.path.join(root, image), str(stated or ""))
        if found is not None:
            kinds[image], span = found
            largest[kinds[image]].append(span)
    levels: dict[str, float] = {}
    for kind, extremes in largest.items():
        low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
        try:
            levels[kind] = white_of_range(low, high, np.dtype(kind))
        except IntensityError:
            continue  # each file is refused by name on reading
    if not levels:
        return frame, {}
    whites = [f"{levels[kinds[image]]:g}" if kinds.get(image) in levels else "" for image in frame["image"]]
    decided = frame.assign(**{WHITE: whites})
    decided.attrs = dict(frame.attrs)
    return decided, levels


def _deep_range(path: str, modality: str) -> tuple[str, tuple[float, float]] | None:
    """Type and extremes of a rendered file of more than 8 bits; ``None`` for any other file."""
    try:
        kind = image_kind(path) if Path(path).is_file() else None
        if kind not in ("picture", "npy", "nifti", "nrrd") or (kind == "picture" and _has_eight_bits(path)):
            return None
        if kind != "picture" and modality not in _RENDERED:
            return None
        pixels = read_image(path).pixels
    except (OSError, UnreadableImageError):
        return None
    if pixels.dtype in (np.uint8, bool):
        return None
    finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    return (pixels.dtype.name, (float(finite.min()), float(finite.max()))) if finite.size else None


def _has_eight_bits(path: str) -> bool:
    """Whether the first bytes of a picture show it, as in PNG and JPEG; a million files need not be decoded."""
    with open(path, "rb") as stream:
        head: Any = stream.read(26)
    if head.startswith(b"\x89PNG"):
        return len(head) > 24 and head[24] <= _EIGHT_BIT_DEPTH
    return not head.startswith((b"II", b"MM"))
