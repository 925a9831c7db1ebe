"""What the readers of anybody's own data share: slices of volumes as rows, patients from headers, lists of names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from radimagenet_monai.datasets.division import divide
from radimagenet_monai.datasets.file_hash import hash_files
from radimagenet_monai.datasets.slices import choose_slices
from radimagenet_monai.datasets.splits import assign_splits
from radimagenet_monai.errors import ConfigurationError, UnreadableImageError
from radimagenet_monai.io.dicom import load_dataset, number_of_frames
from radimagenet_monai.io.reader import count_frames, image_kind
from radimagenet_monai.io.walk import walk_files

MODALITIES = ("CT", "MR", "US", "radiograph")
"""Values of the records' ``modality`` column."""

HASHED_FILES = 20_000
"""Tables of up to so many files get their ``sha256`` column filled unasked."""

_PATIENT_DIGITS = 16


def named(value: str | Sequence[object] | None) -> list[str]:
    """Names from an option: ``"a,b"``, or the list that the command line makes of it.

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
    """Refuse a modality that no intensity policy knows; ``""`` is none.

    Raises
    ------
    ConfigurationError
    """
    if modality and modality not in MODALITIES:
        raise ConfigurationError(f"modality '{modality}' is unknown; expected one of {', '.join(MODALITIES)}")


def one_row_a_slice(frame: pd.DataFrame, root: Path, slices: str, progress: bool = True) -> pd.DataFrame:
    """Repeat the row of every volume, multi-frame file and series folder for each slice that the rule takes.

    Parameters
    ----------
    frame
        With ``image``; rows whose ``frame`` column is filled stay as they are.
    root
        Folder that relative paths start from.
    slices
        See `radimagenet_monai.datasets.slices.choose_slices`.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    pandas.DataFrame
        A new table with ``frame``; where an image has several slices, ``exam`` names it, unless the table says what
        the exam is.

    Raises
    ------
    ConfigurationError
        For an unknown rule.
    """
    choose_slices(1, slices)  # refused before a long look at the files
    if "frame" not in frame.columns:
        frame = frame.assign(frame="")
    given = (frame["frame"].astype(str) != "").tolist()
    paths = [os.path.join(root, image) for image in frame["image"]]
    positions: list[int] = []
    numbers: list[str] = []
    several: set[int] = set()
    bar = tqdm(paths, desc="Counting slices", unit="file", disable=None if progress else True)
    for position, path in enumerate(bar):
        if given[position]:
            positions.append(position)
            numbers.append(str(frame["frame"].iloc[position]))
            continue
        count = slices_of(path)
        if count > 1:
            several.add(position)
        for number in choose_slices(count, slices):
            positions.append(position)
            numbers.append(str(number))
    rows = frame.iloc[positions].assign(frame=numbers).reset_index(drop=True)
    if several and "exam" not in frame.columns:
        rows["exam"] = [frame["image"].iloc[position] if position in several else "" for position in positions]
    rows.attrs = dict(frame.attrs)
    return rows


def patients_from_headers(images: Sequence[str], root: Path, salt: str = "", progress: bool = True) -> list[str]:
    """A pseudonym of each DICOM image's Patient ID.

    The pseudonym is the beginning of a SHA-256 of salt, Issuer of Patient ID and Patient ID. Without a secret salt,
    whoever knows the form of the ids can try them all.

    Parameters
    ----------
    images
        ``(n,)`` paths of files or series folders, relative to ``root`` or absolute.
    root, salt, progress
        Folder, secret text, and whether to show a progress bar on a terminal.

    Returns
    -------
    list of str
        ``(n,)``; ``""`` for images that are not DICOM or name no patient.
    """
    known: dict[str, str] = {}
    bar = tqdm(dict.fromkeys(images), desc="Reading patients", unit="file", disable=None if progress else True)
    for image in bar:
        patient, issuer = _stated_patient(os.path.join(root, image))
        if patient:
            digest = hashlib.sha256("\0".join((salt, issuer, patient)).encode()).hexdigest()
            known[image] = f"p{digest[:_PATIENT_DIGITS]}"
    return [known.get(image, "") for image in images]


def file_hashes(images: Sequence[str], root: Path, wanted: bool, progress: bool = True) -> list[str]:
    """The ``sha256`` column: filled where wanted or where the files are few, empty for series folders."""
    files = [image for image in dict.fromkeys(images) if Path(root, image).is_file()]
    if not wanted and len(files) > HASHED_FILES:
        return [""] * len(images)
    digests = dict(zip(files, hash_files(root, files, progress), strict=True))
    return [digests.get(image, "") for image in images]


def own_patients(frame: pd.DataFrame, notes: list[str], way_out: str) -> pd.Series:
    """``patient_id``, and for rows that name no patient their ``series``, where that is known, or the file itself.

    ``notes`` receives a sentence that says how many those are, and the ``way_out``.
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
    """`divide`, also for rows without a label and for a split of the data's own that lacks validation.

    Rows without a label are spread like a class of their own. Where the rows are in train and test only, patients of
    the train rows become validation, in the proportion that ``fractions`` have.
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
    """``path`` relative to ``root`` with ``/``, or absolute where it lies elsewhere."""
    if path.is_absolute() and not path.is_relative_to(root):
        root = root.resolve()
        if not path.is_relative_to(root):
            return path.as_posix()
    return (path.relative_to(root) if path.is_absolute() else path).as_posix()


def slices_of(path: str) -> int:
    """Frames of a file, or slices of the DICOM series in a folder, from headers; 1 where that cannot be told."""
    return _slices_of_folder(path) if Path(path).is_dir() else count_frames(path)


def _slices_of_folder(folder: str) -> int:
    """Slices of a DICOM series in a folder, from headers; 1 where there are none."""
    count = 0
    for file in _dicom_files(folder):
        try:
            header = load_dataset(file, header_only=True, tags=("Rows", "NumberOfFrames"))
        except UnreadableImageError:
            continue
        count += number_of_frames(header) if "Rows" in header else 0
    return max(1, count)


def _dicom_files(folder: str) -> list[str]:
    return sorted(file for file in walk_files(folder) if _is_dicom(file))


def _is_dicom(path: str) -> bool:
    try:
        return image_kind(path) == "dicom"
    except OSError:
        return False


def _stated_patient(path: str) -> tuple[str, str]:
    file = next(iter(_dicom_files(path)), "") if Path(path).is_dir() else path if _is_dicom(path) else ""
    if not file:
        return "", ""
    try:
        header = load_dataset(file, header_only=True, tags=("PatientID", "IssuerOfPatientID"))
        return str(header.get("PatientID") or "").strip(), str(header.get("IssuerOfPatientID") or "").strip()
    except (UnreadableImageError, AttributeError, NotImplementedError, TypeError, UnicodeError, ValueError):
        # pydicom converts an element when it is first touched.
        return "", ""
