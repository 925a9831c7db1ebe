"""A summary of all masks of a records table, for ``prepare`` and the audit."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from radimagenet_monai.core.errors import RecordsError, UnreadableImageError
from radimagenet_monai.datasets.masks.grid import Placement
from radimagenet_monai.datasets.masks.loading import ImageOfMask, LoadedMask, inspect_file, item_mask, relate
from radimagenet_monai.datasets.masks.reference import MaskReference
from radimagenet_monai.datasets.masks.values import name_of
from radimagenet_monai.datasets.records.table import MASK_SEPARATOR, plane_of_row

_INTERCHANGEABLE = frozenset({"1", "255", "65535"})
"""Values that programs write for "lesion" in a mask that has no labels."""

_SMOOTHED = "smoothed"
"""In place of the value, for a mask whose edges are gray: its largest values are near the one that was meant."""

_SHOWN = 3

STATES: dict[str, str] = {
    "labels": "hold several labels, and the table does not state which are the lesion",
    "gray": "have many gray values, as a picture",
    "inverted": "look inverted: lesion all around the border",
    "unclear": "do not tell which value is the lesion",
    "unusable": "cannot be read, or do not lie on their images",
    "full": "mark the whole image",
    "empty": "are empty",
    "resampled": "have another grid than their images and are resampled by the nearest pixel",
    "partial": "do not cover all of their images, which count as free of lesion there",
    "jpeg": "were compressed with loss, which moves their edges",
    "unplaced": "state no positions, while their images do: paired by frame, row and column",
}
"""What is said of the masks of a table, in this order; the first five cannot be used."""

UNUSABLE = ("labels", "gray", "inverted", "unclear", "unusable")


@dataclass
class MaskSurvey:
    """Result of a mask survey.

    Attributes
    ----------
    masks
        Number of distinct mask references, including outlines.
    rows
        Number of rows with a mask.
    found
        References for each key of `STATES`, in the table's order.
    values
        Stored values that are the lesion, with the number of masks; ``unstated`` for values known only by content.
    levels
        All values of mask regions, with the number of masks.
    causes
        Why a reference cannot be used.
    """

    masks: int = 0
    rows: int = 0
    found: dict[str, list[str]] = field(default_factory=lambda: {state: [] for state in STATES})
    values: Counter[str] = field(default_factory=Counter)
    unstated: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)
    causes: dict[str, str] = field(default_factory=dict)

    @property
    def found_levels(self) -> list[str]:
        """The values of regions, sorted by name."""
        return sorted(self.levels)

    @property
    def several_values(self) -> list[str]:
        """The values of unstated binary masks, if there are several, which may be labels of different things."""
        values = {value for value in self.unstated if value != _SMOOTHED}
        return sorted(values) if len(values) > 1 and not values <= _INTERCHANGEABLE else []

    def to_dict(self) -> dict[str, Any]:
        """JSON-serializable form for ``summary.json``."""
        return {
            "masks": self.masks,
            "lesion_values": dict(sorted(self.values.items())),
            **{state: len(references) for state, references in self.found.items() if references},
        }

    def notes(self) -> list[str]:
        """A sentence on each anomaly."""
        said = []
        for state, references in self.found.items():
            if references:
                first = ", ".join(f"'{name}'" for name in references[:_SHOWN])
                cause = f": {self.causes[references[0]]}" if references[0] in self.causes else ""
                left_out = "; their images are left out of packing and training" if state in UNUSABLE else ""
                said.append(f"{len(references)} of {self.masks} masks {STATES[state]}{left_out} (first {first}{cause})")
        if len(self.values) > 1:
            counted = ", ".join(f"{value} in {count}" for value, count in sorted(self.values.items()))
            said.append(f"the lesion has different values: {counted} masks")
        return said


def survey_masks(frame: pd.DataFrame, root: str | os.PathLike[str], progress: bool = True) -> MaskSurvey:
    """Read every mask of a records table once, and relate it to its image if both state positions.

    Parameters
    ----------
    frame
        Table with ``image``, ``mask`` and, optionally, ``frame`` and ``plane``.
    root
        Folder that relative paths start from.
    progress
        Whether to show a progress bar on a terminal.
    """
    survey = MaskSurvey()
    rows = np.flatnonzero((frame["mask"] != "").to_numpy())
    survey.rows = len(rows)
    stated = frame["plane"].tolist() if "plane" in frame.columns else [None] * len(frame)
    pairs: dict[tuple[str, str, str], None] = {}
    for row in rows.tolist():
        image = frame["image"].iloc[row]
        plane = plane_of_row(image, int(frame["frame"].iloc[row]), stated[row])
        for cell in frame["mask"].iloc[row].split(MASK_SEPARATOR):
            if cell:
                pairs[cell, image, plane] = None
    names = dict.fromkeys(cell for cell, _, _ in pairs)
    survey.masks = len(names)
    images: dict[str, list[tuple[str, str]]] = {}
    for cell, image, plane in pairs:
        images.setdefault(cell, []).append((image, plane))
    for cell in tqdm(names, desc="Reading masks", unit="mask", disable=None if progress else True):
        _survey_one(survey, cell, images[cell], os.fspath(root))
    return survey


def _survey_one(survey: MaskSurvey, cell: str, images: Sequence[tuple[str, str]], root: str) -> None:
    try:
        reference = MaskReference.parse(os.path.join(root, cell))
        if reference.outlines is not None:
            return
        found = inspect_file(reference)
        survey.levels.update(name_of(level, found.kind) for level in found.values.levels)
        if found.values.problem:
            survey.found[found.values.state].append(cell)
            survey.causes[cell] = found.values.problem
            return
        placements = [
            relate(found, reference, ImageOfMask(os.path.join(root, image), _plane(plane))) for image, plane in images
        ]
    except UnreadableImageError as error:
        survey.found["unusable"].append(cell)
        survey.causes[cell] = error.cause
        return
    state = found.values.state
    if state in survey.found:
        survey.found[state].append(cell)
    _note_values(survey, found, reference)
    _note_placements(survey, cell, found, placements)


def _note_values(survey: MaskSurvey, found: LoadedMask, reference: MaskReference) -> None:
    if reference.at_least is not None:
        survey.values[f"{reference.at_least:g} and more"] += 1
        return
    if reference.values:
        survey.values.update(reference.values)
    elif found.values.exact:
        survey.values.update(name_of(label, found.kind) for label in found.values.labels)
        survey.unstated.update(name_of(label, found.kind) for label in found.values.labels)
    elif found.values.labels:
        survey.values[_SMOOTHED] += 1


def _note_placements(survey: MaskSurvey, cell: str, found: LoadedMask, placements: Sequence[Placement | None]) -> None:
    if found.lossy:
        survey.found["jpeg"].append(cell)
    known = [placement for placement in placements if placement is not None]
    if any(not placement.is_same for placement in known):
        survey.found["resampled"].append(cell)
    if any(placement.covered < 1 for placement in known):
        survey.found["partial"].append(cell)


def _plane(plane: str) -> Any:
    return plane or "acquired"


def refuse_undecided(survey: MaskSurvey, source: str) -> None:
    """Refuse masks of several labels if nothing states which are the lesion.

    Raises
    ------
    RecordsError
        Names labels, masks and the solution.
    """
    undecided = survey.found["labels"]
    if undecided:
        raise RecordsError(
            f"{source}: {len(undecided)} of {survey.masks} masks hold several labels, first '{undecided[0]}': "
            f"{survey.causes[undecided[0]].split(';')[0]}; say which are the lesion with --mask_values, such as "
            "--mask_values 2, or all that are joined, --mask_values 1,2"
        )
    if survey.several_values:
        counted = ", ".join(f"{value} in {survey.values[value]}" for value in survey.several_values)
        raise RecordsError(
            f"{source}: the masks have different labels: {counted} of {survey.masks} masks; say which are the lesion "
            "with --mask_values, such as --mask_values 2, or all that are joined, --mask_values 1,2"
        )


def row_mask(frame: pd.DataFrame, row: int, root: str | os.PathLike[str], shape: tuple[int, int]) -> np.ndarray:
    """The mask of one row of a records table, as used in training.

    Raises
    ------
    UnreadableImageError
        As `radimagenet_monai.datasets.masks.loading.item_mask`.
    """
    record = frame.iloc[row]
    item = {
        "image": os.path.join(root, record["image"]),
        "frame": int(record["frame"]),
        "plane": plane_of_row(record["image"], int(record["frame"]), record.get("plane")),
        "mask": [os.path.join(root, part) for part in record["mask"].split(MASK_SEPARATOR) if part],
    }
    return item_mask(item, shape)
