"""Whether a table column names frames, and whether it counts from 0 or 1: the files decide."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.readers.own_images import slices_of
from radimagenet_monai.datasets.tables.cells import whole_number

FIRST_FRAMES = ("auto", "0", "1")


@dataclass(frozen=True)
class FrameColumn:
    """A column that may name frames, as its table has it.

    Attributes
    ----------
    table, name
        Names of the table and of the column in error messages.
    places
        ``(n,)`` position of each row for error messages.
    stated
        Whether the user declared the column as frames, by an option or the name ``frame``.
    """

    table: str
    name: str
    places: pd.Series
    stated: bool

    def place(self, row: int) -> str:
        """The position of a row, counted from 0."""
        return str(self.places.iloc[row])


def with_frames(
    frame: pd.DataFrame,
    root: Path,
    column: FrameColumn,
    first_frame: str,
    notes: list[str],
    progress: bool = True,
    plane: str = "acquired",
) -> pd.DataFrame:
    """Make the column ``frame`` of a foreign table zero-based, or a free column if it does not name frames.

    Parameters
    ----------
    frame
        Table with ``image`` and, if it has frames, ``frame`` as text.
    root
        Folder that relative paths start from.
    column
        Where ``frame`` comes from.
    first_frame
        ``"0"``, ``"1"``, or ``"auto"``: 0 if 0 occurs; 1 if 0 does not occur but the number of frames of an image does;
        if neither occurs, 0 for a column called ``frame``.
    notes
        Receives the decision.
    progress
        Whether to show a progress bar on a terminal.
    plane
        Plane in which the column counts.

    Raises
    ------
    RecordsError
        For a frame that its image does not have, and if the files do not show from which number the column counts.
    ConfigurationError
        For any other ``first_frame``.
    """
    if first_frame not in FIRST_FRAMES:
        raise ConfigurationError(f"first_frame '{first_frame}' is unknown; expected {', '.join(FIRST_FRAMES)}")
    if "frame" not in frame.columns or (frame["frame"] == "").all():
        return frame.drop(columns="frame", errors="ignore")
    cells = frame["frame"].map(whole_number)
    filled = (cells != "").to_numpy()
    odd = filled & ~cells.str.fullmatch(r"\d{1,9}").to_numpy(dtype=bool)
    counts = _counts(frame.loc[filled, "image"], root, progress, plane)
    frames = frame["image"].map(counts).fillna(1).to_numpy(dtype=np.int64)
    if not column.stated and (frames[filled] == 1).all() and (odd.any() or (cells[filled] != "0").any()):
        notes.append(
            f"column '{column.name}' was kept as it is: the images have one frame each, so it does not name frames"
        )
        name = f"{column.name} column" if column.name == "frame" else column.name
        return frame.rename(columns={"frame": name})
    if odd.any():
        place = int(np.flatnonzero(odd)[0])
        raise RecordsError(
            f"{column.table}: {column.place(place)}, column '{column.name}' is {cells.iloc[place]!r}; expected a frame "
            "number; where the column does not name frames, say --frame_column none"
        )
    numbers = np.where(filled, cells.where(filled, "0").astype(np.int64), -1)
    first = _first(numbers, frames, filled, first_frame, column)
    numbers = np.where(filled, numbers - first, -1)
    wrong = filled & ((numbers < 0) | (numbers >= frames))
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise RecordsError(
            f"{column.table}: {column.place(place)}, column '{column.name}' is {cells.iloc[place]}, but "
            f"'{frame['image'].iloc[place]}' has {frames[place]} frame(s), here counted from {first}; where the column "
            "does not name frames, say --frame_column none"
        )
    if first or not column.stated:
        notes.append(
            f"column '{column.name}' names frames, counted from {first}; say otherwise with --first_frame 0 or 1"
        )
    return frame.assign(frame=[str(number) if number >= 0 else "" for number in numbers.tolist()])


def _first(
    numbers: np.ndarray,
    frames: np.ndarray,
    filled: np.ndarray,
    first_frame: str,
    column: FrameColumn,
) -> int:
    if first_frame != "auto":
        return int(first_frame)
    zero, last = filled & (numbers == 0), filled & (numbers == frames)
    if zero.any() and last.any():
        at_zero, at_last = (int(np.flatnonzero(rows)[0]) for rows in (zero, last))
        raise RecordsError(
            f"{column.table}: column '{column.name}' counts from 0 ({column.place(at_zero)}) and names frame "
            f"{numbers[at_last]} of {frames[at_last]} ({column.place(at_last)}); correct it, or "
            "say --frame_column none"
        )
    if zero.any() or last.any():
        return int(last.any())
    if column.name == "frame" or (filled & (numbers > frames)).any():
        return 0
    raise RecordsError(
        f"{column.table}: column '{column.name}' holds neither 0 nor the last frame of an image, so it may count from "
        "0 or from 1; say --first_frame 0 or --first_frame 1, or --frame_column none where it does not name frames"
    )


def _counts(images: pd.Series, root: Path, progress: bool, plane: str) -> dict[str, int]:
    bar = tqdm(images.unique(), desc="Counting frames", unit="file", disable=None if progress else True)
    return {image: slices_of(os.path.join(root, image), plane) for image in bar}
