"""Shared parts of the readers of own data: rows for slices, patients from headers, lists of names."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pandas as pd
from tqdm import tqdm

from radimagenet_monai.core.errors import ConfigurationError, RecordsError, UnreadableImageError
from radimagenet_monai.core.file_hash import hash_files
from radimagenet_monai.datasets.records.slices import choose_of_volumes, choose_slices
from radimagenet_monai.datasets.records.split_columns import divide
from radimagenet_monai.datasets.records.splits import assign_splits
from radimagenet_monai.datasets.tables.cells import identity, names_nobody
from radimagenet_monai.io.dicom.files import load_dataset
from radimagenet_monai.io.dicom.header_facts import header_facts, known_facts
from radimagenet_monai.io.dicom.series_kind import kinds_against
from radimagenet_monai.io.discovery.left_out import LeftOut
from radimagenet_monai.io.discovery.survey import is_dicom
from radimagenet_monai.io.discovery.walk import walk_files
from radimagenet_monai.io.frame_layout import FrameLayout, frame_layout, plane_in_name
from radimagenet_monai.io.geometry import PLANES, PlaneChoice
from radimagenet_monai.io.reader import count_frames
from radimagenet_monai.io.slice_order import order_slices

MODALITIES = ("CT", "MR", "US", "radiograph")
"""Values of the records' ``modality`` column."""

HASHED_FILES = 20_000
"""Tables of up to so many files get their ``sha256`` column filled unasked."""

_PATIENT_DIGITS = 16


def named(value: str | Sequence[object] | None) -> list[str]:
    """Names from an option: ``"a,b"``, or the list that the command line turns it into.

    Examples
    --------
    >>> named("no tear, tear")
    ['no tear', 'tear']
    """
    if value is None:
        return []
    parts = value.split(",") if isinstance(value, str) else value
    return [text for part in parts if (text := str(part).strip())]


def check_modality_option(modality: str) -> None:
    """Refuse a modality without an intensity policy; ``""`` means none given.

    Raises
    ------
    ConfigurationError
    """
    if modality and modality not in MODALITIES:
        raise ConfigurationError(f"modality '{modality}' is unknown; expected one of {', '.join(MODALITIES)}")


def check_plane_option(plane: str) -> None:
    """Refuse a plane in which images cannot be read.

    Raises
    ------
    ConfigurationError
    """
    if plane not in (*PLANES, "acquired"):
        raise ConfigurationError(f"plane '{plane}' is unknown; expected {', '.join(PLANES)} or acquired")


def one_row_a_slice(
    frame: pd.DataFrame,
    root: Path,
    slices: str,
    progress: bool = True,
    plane: str = "acquired",
    left_out: LeftOut | None = None,
) -> pd.DataFrame:
    """Rows for the slices that a rule selects in each volume of a file or series folder, and each series of files.

    Parameters
    ----------
    frame
        Table with ``image``; rows with a filled ``frame`` are kept unchanged, for volumes in ``plane``.
    root
        Folder that relative paths start from.
    slices
        See `radimagenet_monai.datasets.records.slices.choose_slices`; counts along the slice normal.
    progress
        Whether to show a progress bar on a terminal.
    plane
        Plane of the slices, see `radimagenet_monai.io.read_image`; a column ``plane`` of the table takes precedence.
    left_out
        Receives rows that are not slices of an examination (localizers, screen saves and the like), and slices in
        another plane that cannot be read in this one.

    Returns
    -------
    pandas.DataFrame
        A new table with ``frame`` and, if any is known, ``plane``; ``exam`` names each image with several slices unless
        the table gives the exam.

    Raises
    ------
    ConfigurationError
        For an unknown rule or plane.
    RecordsError
        For a series folder with a repeated slice, and for a filled ``frame`` of a volume whose slices along the third
        stored axis differ from those of the plane of acquisition, if ``plane`` does not say which are meant.
    """
    choose_slices(1, slices)  # refuse a wrong rule before the slow reading of files
    check_plane_option(plane)
    left_out = LeftOut(root) if left_out is None else left_out
    if "frame" not in frame.columns:
        frame = frame.assign(frame="")
    given = (frame["frame"].astype(str) != "").tolist()
    paths = [os.path.join(root, image) for image in frame["image"]]
    stated = frame["plane"].str.strip().str.lower().tolist() if "plane" in frame.columns else [""] * len(frame)
    planes = [word if word in PLANES else plane for word in stated]
    excluded = _no_slices(paths)
    rows: list[tuple[int, str, str]] = []  # position in the table, frame, plane
    several: set[int] = set()
    bar = tqdm(paths, desc="Counting slices", unit="file", disable=None if progress else True)
    for position, path in enumerate(bar):
        if path in excluded:
            left_out.add(excluded[path], path)
            continue
        if given[position]:
            number = str(frame["frame"].iloc[position])
            rows.append((position, number, _plane_of_given(path, planes[position])))
            continue
        layout = _layout(path, planes[position], left_out)
        if layout is None:
            continue
        if layout.frames > 1:
            several.add(position)
        own = layout.plane or _stated_plane(path, planes[position]) or ""
        rows += [(position, str(number), own) for number in choose_of_volumes(layout.volumes, slices)]
    if slices != "all":
        rows = _slices_of_series(rows, paths, slices)
    table = frame.iloc[[position for position, _, _ in rows]].assign(frame=[number for _, number, _ in rows])
    table = table.reset_index(drop=True)
    if any(known for _, _, known in rows):
        table["plane"] = [known for _, _, known in rows]
    if several and "exam" not in frame.columns:
        table["exam"] = [frame["image"].iloc[position] if position in several else "" for position, _, _ in rows]
    table.attrs = dict(frame.attrs)
    return table


def _no_slices(paths: Sequence[str]) -> dict[str, str]:
    """Why some files are not slices of an examination."""
    return kinds_against([path for path in dict.fromkeys(paths) if Path(path).is_file() and is_dicom(path)])


def _layout(path: str, plane: str, left_out: LeftOut) -> FrameLayout | None:
    """The frame layout of an image; one frame if it cannot be read, ``None`` if it has none in ``plane``."""
    try:
        return frame_layout(path, cast(PlaneChoice, plane), left_out)
    except (UnreadableImageError, OSError) as error:
        if isinstance(error, UnreadableImageError) and error.stage == "geometry":
            if plane == "acquired":
                raise RecordsError(str(error)) from error
            left_out.add(f"no {plane} slices: {error.cause.partition('; ')[2]}", path)
            return None
        return FrameLayout(None, [list(range(count_frames(path)))])


def _plane_of_given(path: str, plane: str) -> str:
    """The plane in which the frames of a table are counted."""
    try:
        acquired = frame_layout(path, "acquired").plane
        stored = frame_layout(path, "stored").plane
    except (UnreadableImageError, OSError):
        return ""
    if plane != "acquired":
        return plane
    if acquired != stored:
        raise RecordsError(
            f"{path}: the table gives its frame, and its slices may be counted along the third axis of the file "
            f"({stored}) or in the plane of its acquisition ({acquired}); say which with --plane {stored} or {acquired}"
        )
    return acquired or _stated_plane(path, plane) or ""


def _stated_plane(path: str, plane: str) -> str | None:
    """The plane of an image that does not state one: the requested plane, or the plane in its name."""
    return plane if plane != "acquired" else plane_in_name(path)


def _slices_of_series(
    rows: list[tuple[int, str, str]], paths: Sequence[str], slices: str
) -> list[tuple[int, str, str]]:
    """Apply the rule to single-frame DICOM files with one row each, within their series and folder."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, (position, _, _) in enumerate(rows):
        facts = known_facts(paths[position]) if _is_file_of_dicom(paths[position]) else None
        if facts is not None and facts.series and facts.frames == 1:
            members[str(Path(paths[position]).parent), facts.series].append(place)
    dropped: set[int] = set()
    for places in members.values():
        if len(places) > 1:
            order = order_slices([header_facts(paths[rows[place][0]]).place for place in places])
            chosen = set(choose_of_volumes(order.volumes, slices))
            dropped.update(place for number, place in enumerate(places) if number not in chosen)
    return [row for place, row in enumerate(rows) if place not in dropped]


def _is_file_of_dicom(path: str) -> bool:
    return Path(path).is_file() and is_dicom(path)


def patients_from_headers(images: Sequence[str], root: Path, salt: str = "", progress: bool = True) -> list[str]:
    """A pseudonym of each DICOM image's Patient ID.

    The pseudonym is the beginning of a SHA-256 of salt, Issuer of Patient ID and Patient ID. Without a secret salt,
    anyone who knows the format of the ids can try them all.

    Parameters
    ----------
    images
        ``(n,)`` paths of files or series folders, relative to ``root`` or absolute.
    root, salt, progress
        Folder, secret text, and whether to show a progress bar on a terminal.

    Returns
    -------
    list of str
        ``(n,)``; ``""`` for images that are not DICOM or have no Patient ID.
    """
    known: dict[str, str] = {}
    first: dict[tuple[str, str], str] = {}
    bar = tqdm(dict.fromkeys(images), desc="Reading patients", unit="file", disable=None if progress else True)
    for image in bar:
        patient, issuer = _stated_patient(os.path.join(root, image))
        if not names_nobody(patient):
            # A person written in two ways gets the pseudonym of the first spelling.
            patient = first.setdefault((issuer, identity(patient)), patient)
            digest = hashlib.sha256("\0".join((salt, issuer, patient)).encode()).hexdigest()
            known[image] = f"p{digest[:_PATIENT_DIGITS]}"
    return [known.get(image, "") for image in images]


def file_hashes(images: Sequence[str], root: Path, wanted: bool, progress: bool = True) -> list[str]:
    """The ``sha256`` column: filled on request or for few files, empty for series folders."""
    files = [image for image in dict.fromkeys(images) if Path(root, image).is_file()]
    if not wanted and len(files) > HASHED_FILES:
        return [""] * len(images)
    digests = dict(zip(files, hash_files(root, files, progress), strict=True))
    return [digests.get(image, "") for image in images]


def own_patients(frame: pd.DataFrame, notes: list[str], way_out: str) -> pd.Series:
    """``patient_id``; for rows without one their ``series`` if known, or else the file itself.

    ``notes`` receives a sentence with the number of those rows and the ``way_out``.
    """
    unknown = frame["patient_id"] == ""
    if not unknown.any():
        return frame["patient_id"]
    notes.append(
        f"{int(unknown.sum())} of {len(frame)} images name no patient: each file or series was taken for a patient of "
        f"its own, so images of one person may stand on both sides of a split; {way_out}"
    )
    stand_in = frame["image"]
    if "series" in frame.columns:
        stand_in = frame["series"].where(frame["series"] != "", stand_in)
    return frame["patient_id"].where(~unknown, stand_in)


def divide_own(
    frame: pd.DataFrame, notes: list[str], seed: int, fractions: Sequence[float], folds: int
) -> pd.DataFrame:
    """`divide`, also for rows without a label and for a given split that lacks validation.

    Rows without a label are spread like a separate class. If all rows are in train and test, some patients of the train
    rows become validation, in the proportion given by ``fractions``.
    """
    labels = frame["label"]
    frame = frame.assign(label=labels.where(labels != "", "no label"))
    train = frame["split"] == "train" if "split" in frame.columns else pd.Series(False, index=frame.index)
    if train.any() and not (frame["split"] == "validation").any() and fractions[0] > 0 and fractions[1] > 0:
        share = fractions[1] / (fractions[0] + fractions[1])
        part = frame[train]
        frame.loc[train, "split"] = assign_splits(part["label"], part["patient_id"], (1 - share, share, 0.0), seed)
        count = int((frame["split"] == "validation").sum())
        notes.append(f"the split has no validation rows: {count} of the {len(part)} train rows became validation")
    return divide(frame, notes, seed, fractions, folds).assign(label=labels)


def below(path: Path, root: Path) -> str:
    """``path`` relative to ``root`` with ``/``, or absolute if it lies elsewhere."""
    if path.is_absolute() and not path.is_relative_to(root):
        root = root.resolve()
        if not path.is_relative_to(root):
            return path.as_posix()
    return (path.relative_to(root) if path.is_absolute() else path).as_posix()


def slices_of(path: str, plane: str = "acquired") -> int:
    """Frames of a file, or slices of the DICOM series in a folder, from headers; 1 if unknown."""
    return count_frames(path, cast(PlaneChoice, plane))


def _dicom_files(folder: str) -> list[str]:
    return sorted(file for file in walk_files(folder) if is_dicom(file))


def _stated_patient(path: str) -> tuple[str, str]:
    file = next(iter(_dicom_files(path)), "") if Path(path).is_dir() else path if is_dicom(path) else ""
    if not file:
        return "", ""
    try:
        header = load_dataset(file, header_only=True, tags=("PatientID", "IssuerOfPatientID"))
        return str(header.get("PatientID") or "").strip(), str(header.get("IssuerOfPatientID") or "").strip()
    except (UnreadableImageError, AttributeError, NotImplementedError, TypeError, UnicodeError, ValueError):
        # pydicom converts an element on first access.
        return "", ""
