"""From the slices that a reader shows, sorted and upright, back to the files and how they store them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from radimagenet_monai.core.errors import DicomOutputError
from radimagenet_monai.integrations.dicom_output.source import Source, read_series
from radimagenet_monai.io.dicom.files import load_dataset
from radimagenet_monai.io.dicom.slice_facts import FACT_TAGS, slice_facts
from radimagenet_monai.io.geometry import Upright, upright
from radimagenet_monai.io.reader import dicom_files_below, series_of
from radimagenet_monai.io.slice_order import natural, order_series


def files_in_order(folder: str | os.PathLike[str]) -> list[Path]:
    """The files of a series in the order in which `radimagenet_monai.io.read_image` gives the slices of its folder.

    Raises
    ------
    UnreadableImageError
        If the folder holds no series, or several, or two copies of a slice.
    """
    return [file for volume in volumes_in_order(folder) for file in volume]


def volumes_in_order(folder: str | os.PathLike[str]) -> list[list[Path]]:
    """`files_in_order`, one list for each volume (phase, echo) of the series.

    Raises
    ------
    UnreadableImageError
        As `files_in_order`.
    """
    name = os.fspath(folder)
    files = sorted(series_of(name, dicom_files_below(name)), key=natural)
    facts = [slice_facts(load_dataset(file, header_only=True, tags=FACT_TAGS), file) for file in files]
    if all(fact.orientation is not None for fact in facts):
        # As the reader does: rounding differences must not make several stacks.
        facts = [replace(fact, orientation=facts[0].orientation) for fact in facts]
    return [[Path(files[index]) for index in volume] for volume in order_series(facts).volumes]


def as_stored(source_files: Sequence[str | os.PathLike[str]], masks: np.ndarray) -> np.ndarray:
    """Undo the turning of `radimagenet_monai.io.read_image`, which shows every slice by radiology's convention.

    Parameters
    ----------
    source_files
        The DICOM files of one series, one slice each, or one multi-frame file.
    masks
        (slices, rows, columns, ...) upright; ``masks[i]`` belongs to ``source_files[i]``, or to frame ``i``. The order
        of the slices is the caller's: a series is read in the order of its positions, not of its files.

    Returns
    -------
    numpy.ndarray
        The same masks, each on its stored slice, as `write_segmentation` takes them.

    Raises
    ------
    UnreadableImageError, DicomOutputError
        If a source is unreadable, the number of masks is not that of slices, or slices differ in size once turned.
    """
    sources = read_series(source_files)
    turns = [turn for source in sources for turn in _turns(source)]
    if len(turns) != len(masks):
        raise DicomOutputError(f"{sources[0].path}: {len(masks)} masks were given for {len(turns)} slices")
    turned = [_undone(turn, mask) for turn, mask in zip(turns, np.asarray(masks), strict=True)]
    if len({mask.shape for mask in turned}) > 1:
        raise DicomOutputError(f"{sources[0].path}: its slices differ in size; write them one at a time")
    return np.stack(turned)


def _undone(turn: Upright | None, mask: np.ndarray) -> np.ndarray:
    if turn is None:
        return mask
    rows = slice(None, None, -1 if turn.flip_rows else 1)
    columns = slice(None, None, -1 if turn.flip_columns else 1)
    mask = mask[rows, columns]
    return mask.swapaxes(0, 1) if turn.transpose else mask


def _turns(source: Source) -> list[Upright | None]:
    """How the reader turns each frame."""
    header = source.header
    own = header.get("ImageOrientationPatient")
    groups = header.get("PerFrameFunctionalGroupsSequence", [])
    shared = (header.get("SharedFunctionalGroupsSequence") or [{}])[0]
    orientations = [own] * source.frames
    if len(groups) == source.frames:
        found = [(group.get("PlaneOrientationSequence") or shared.get("PlaneOrientationSequence")) for group in groups]
        orientations = [item[0].get("ImageOrientationPatient") if item else own for item in found]
    return [None if orientation is None else _turn(np.array(orientation, float)) for orientation in orientations]


def _turn(orientation: np.ndarray) -> Upright | None:
    column, row = orientation.reshape(2, 3)
    try:
        return upright(column, row, np.cross(column, row))
    except ValueError:
        return None
