"""Whether a table column names frames, and whether it counts from 0 or 1: the files decide."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.readers.own_images import slices_of
from radimagenet_monai.datasets.tables.cells import whole_number

FIRST_FRAMES = ("auto", "0", "1")


def with_frames(
    frame: pd.DataFrame,
    root: Path,
    places: pd.Series,
    source: str,
    column: str,
    first_frame: str,
    named: bool,
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
    places
        ``(n,)`` position of each row for error messages.
    source, column
        Names of the table, and of its column, in error messages.
    first_frame
        ``"0"``, ``"1"``, or ``"auto"``: 0 if 0 occurs; 1 if 0 does not occur but the number of frames of an image does;
        if neither occurs, 0 for a column called ``frame``.
    named
        Whether the user declared the column as frames, by an option or the name ``frame``.
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
    if not named and (frames[filled] == 1).all() and (odd.any() or (cells[filled] != "0").any()):
        notes.append(f"column '{column}' was kept as it is: the images have one frame each, so it does not name frames")
        return frame.rename(columns={"frame": f"{column} column" if column == "frame" else column})
    if odd.any():
        place = int(np.flatnonzero(odd)[0])
        raise RecordsError(
            f"{source}: {places.iloc[place]}, column '{column}' is {cells.iloc[place]!r}; expected a frame number; "
            "where the column does not name frames, say --frame_column none"
        )
    numbers = np.where(filled, cells.where(filled, "0").astype(np.int64), -1)
    first = _first(numbers, frames, filled, first_frame, source, column, places)
    numbers = np.where(filled, numbers - first, -1)
    wrong = filled & ((numbers < 0) | (numbers >= frames))
    if wrong.any():
        place = int(np.flatnonzero(wrong)[0])
        raise RecordsError(
            f"{source}: {places.iloc[place]}, column '{column}' is {cells.iloc[place]}, but "
            f"'{frame['image'].iloc[place]}' has {frames[place]} frame(s), here counted from {first}; where the column "
            "does not name frames, say --frame_column none"
        )
    if first or not named:
        notes.append(f"column '{column}' names frames, counted from {first}; say otherwise with --first_frame 0 or 1")
    return frame.assign(frame=[str(number) if number >= 0 else "" for number in numbers.tolist()])


def _first(
    numbers: np.ndarray,
    frames: np.ndarray,
    filled: np.ndarray,
    first_frame: str,
    source: str,
    column: str,
    places: pd.Series,
) -> int:
    if first_frame != "auto":
        return int(first_frame)
    zero, last = filled & (numbers == 0), filled & (numbers == frames)
    if zero.any() and last.any():
        raise RecordsError(
            f"{source}: column '{column}' counts from 0 ({places.iloc[int(np.flatnonzero(zero)[0])]}) and names frame "
            f"{numbers[last][0]} of {frames[last][0]} ({places.iloc[int(np.flatnonzero(last)[0])]}); correct it, or "
            "say --frame_column none"
        )
    if zero.any() or last.any():
        return int(last.any())
    if column == "frame" or (filled & (numbers > frames)).any():
        return 0
    raise RecordsError(
        f"{source}: column '{column}' holds neither 0 nor the last frame of an image, so it may count from 0 or from "
        "1; say --first_frame 0 or --first_frame 1, or --frame_column none where it does not name frames"
    )


def _counts(images: pd.Series, root: Path, progress: bool, plane: str) -> dict[str, int]:
    bar = tqdm(images.unique(), desc="Counting frames", unit="file", disable=None if progress else True)
    return {image: slices_of(os.path.join(root, image), plane) for image in bar}
