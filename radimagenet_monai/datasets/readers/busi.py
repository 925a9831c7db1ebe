"""Turn BUSI, the breast ultrasound images of Al-Dhabyani et al., into records.

Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. *Dataset of breast ultrasound images.* Data in Brief 2020;28:104863.

The folder ``Dataset_BUSI_with_GT`` holds ``benign``, ``malignant`` and ``normal``. The mask of ``benign (1).png`` is
``benign (1)_mask.png`` beside it; further lesions of the image are ``benign (1)_mask_1.png`` and so on.

The data identify no patients, although the 780 images are of 600 women. Each image therefore counts as a separate
patient, except that files with the same content and pictures that look the same count as one: BUSI is known to contain
near-duplicates, which would inflate the results if they were on both sides of a split.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from radimagenet_monai.catalog.datasets import Certainty, Count, Dataset
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.audit.picture_hash import NEAR_DUPLICATE_BITS, difference_hash, near_pairs, pack_hashes
from radimagenet_monai.datasets.records.split_columns import DEFAULT_FOLDS, divide
from radimagenet_monai.datasets.records.splits import DEFAULT_FRACTIONS
from radimagenet_monai.datasets.records.summary import summarize
from radimagenet_monai.datasets.records.table import MASK_SEPARATOR, check_records

DATASET = Dataset(
    name="busi",
    title="BUSI (breast ultrasound images dataset)",
    access="Public: Al-Dhabyani W, et al. Dataset of breast ultrasound images. Data in Brief 2020;28:104863.",
    terms="See the data set's own page; cite its authors.",
    format="Dataset_BUSI_with_GT/{benign,malignant,normal}/benign (1).png with benign (1)_mask.png, _mask_1.png, ...",
    counts={
        "images": Count(780),
        "malignant": Count(210),
        "benign": Count(437, Certainty.REMEMBERED),
        "normal": Count(133, Certainty.REMEMBERED),
    },
    notes=(
        "No patient ids are published; near-duplicate images are known. Near-duplicates are kept on one side "
        "of every split here, but patients cannot be.",
        "Normal images count as benign, as in the RadImageNet protocol.",
    ),
)

DATASET_FOLDER = "Dataset_BUSI_with_GT"
FINDINGS = ("benign", "malignant", "normal")
CLASSES = ("benign", "malignant")
PUBLISHED_COUNTS = DATASET.published(*FINDINGS)
"""Images of each finding in the published dataset, 780 in all."""

_NAME = re.compile(r"(?P<finding>[a-z]+) \((?P<number>\d+)\)(?P<mask>_mask(?:_(?P<lesion>\d+))?)?\.png", re.IGNORECASE)


def looks_like_busi(root: str | os.PathLike[str]) -> bool:
    """Whether ``root`` is a BUSI folder, or contains one named ``Dataset_BUSI_with_GT``."""
    return _find_folder(Path(root)) is not None


def read_busi(
    root: str | os.PathLike[str],
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int = DEFAULT_FOLDS,
    progress: bool = True,
) -> pd.DataFrame:
    """List a BUSI folder as a records table with grouped, stratified splits and folds.

    Parameters
    ----------
    root
        ``Dataset_BUSI_with_GT`` or its parent folder; paths in the table are relative to it.
    seed, fractions, folds
        Random seed, shares and number of folds, see `radimagenet_monai.datasets.records.splits`. The ``fold`` column
        stays empty if a class has fewer patients than folds.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    pandas.DataFrame
        A records table in order of finding and number. ``label`` is ``malignant`` or ``benign``; normal counts as
        benign, as in the RadImageNet paper's breast task, and the free column ``finding`` distinguishes ``normal``.
        ``mask`` joins the masks of an image by ``;``. ``attrs["notes"]`` has one sentence on each anomalous file.

    Raises
    ------
    RecordsError
        For a folder that is not BUSI or has no image, and for a class with fewer patients than splits.
    """
    root = Path(root)
    folder = _find_folder(root)
    if folder is None:
        state = "is not a folder" if not root.is_dir() else "does not hold BUSI"
        raise RecordsError(
            f"'{root}' {state}; expected {DATASET_FOLDER} with folders benign and malignant of 'benign (1).png' files"
        )
    notes: list[str] = []
    pictures = [picture for finding in FINDINGS for picture in _list_pictures(folder, finding, root, notes)]
    for picture in tqdm(pictures, desc="Reading BUSI", unit="image", disable=None if progress else True):
        _inspect(picture, root, notes)
    patients = _group(pictures, notes)
    frame = pd.DataFrame(
        {
            "image": [picture.path for picture in pictures],
            "label": ["malignant" if picture.finding == "malignant" else "benign" for picture in pictures],
            "patient_id": patients,
            "mask": [MASK_SEPARATOR.join(picture.masks) for picture in pictures],
            "sha256": [picture.sha256 for picture in pictures],
            "finding": [picture.finding for picture in pictures],
        }
    )
    frame = divide(frame, notes, seed, fractions, folds)
    frame.attrs["notes"] = notes
    return check_records(frame, folder, CLASSES)


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Compare the counts of a `read_busi` table with the published dataset, see `summarize`."""
    found = {finding: int((frame["finding"] == finding).sum()) for finding in FINDINGS}
    several = int(frame["mask"].str.contains(MASK_SEPARATOR, regex=False).sum())
    return summarize(frame, PUBLISHED_COUNTS, found, images_with_several_masks=several)


@dataclass
class _Picture:
    path: str
    finding: str
    number: int
    masks: list[str] = field(default_factory=list)
    sha256: str = ""
    bits: np.ndarray | None = None


def _find_folder(root: Path) -> Path | None:
    for folder in (root, root / DATASET_FOLDER):
        if all((folder / finding).is_dir() for finding in CLASSES):
            names = (
                entry.name for finding in FINDINGS if (folder / finding).is_dir() for entry in _scan(folder / finding)
            )
            if any(_NAME.fullmatch(name) for name in names):
                return folder
    return None


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _list_pictures(folder: Path, finding: str, root: Path, notes: list[str]) -> list[_Picture]:
    """Images of one finding in numerical order, each with its masks in order of lesions."""
    if not (folder / finding).is_dir():
        notes.append(f"folder '{finding}' is missing")
        return []
    pictures: dict[int, _Picture] = {}
    masks: list[tuple[int, int, str]] = []
    for entry in _scan(folder / finding):
        path = Path(entry.path).relative_to(root).as_posix()
        match = _NAME.fullmatch(entry.name)
        if match is None or entry.is_dir():
            notes.append(f"'{path}' was left out: its name is not of the form '{finding} (1).png'")
        elif match["finding"].lower() != finding:
            notes.append(f"'{path}' was left out: a file of {match['finding'].lower()} in the folder of {finding}")
        elif match["mask"]:
            masks.append((int(match["number"]), int(match["lesion"] or 0), path))
        elif int(match["number"]) in pictures:
            notes.append(f"'{path}' was left out: it has the number of '{pictures[int(match['number'])].path}'")
        else:
            pictures[int(match["number"])] = _Picture(path, finding, int(match["number"]))
    for number, _, path in sorted(masks):
        if number in pictures:
            pictures[number].masks.append(path)
        else:
            notes.append(f"'{path}' was left out: a mask without its image")
    notes.extend(f"'{picture.path}' has no mask" for _, picture in sorted(pictures.items()) if not picture.masks)
    return [picture for _, picture in sorted(pictures.items())]


def _inspect(picture: _Picture, root: Path, notes: list[str]) -> None:
    """Compute hash and bits, and drop masks that do not match the size of the image."""
    content = (root / picture.path).read_bytes()
    picture.sha256 = hashlib.sha256(content).hexdigest()
    gray = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    if gray is None:
        notes.append(f"'{picture.path}' is not a readable picture")
        return
    picture.bits = difference_hash(gray)
    for mask in list(picture.masks):
        size = _size(root / mask)
        if size != (gray.shape[1], gray.shape[0]):
            picture.masks.remove(mask)
            reason = (
                "it is not a readable picture"
                if size is None
                else f"it is {size[0]} x {size[1]} pixels, its image {gray.shape[1]} x {gray.shape[0]}"
            )
            notes.append(f"mask '{mask}' was left out: {reason}")


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, UnidentifiedImageError):
        return None


def _group(pictures: Sequence[_Picture], notes: list[str]) -> list[str]:
    """Patient ids: the name of the first picture among those with the same content or near-identical appearance."""
    leader = list(range(len(pictures)))

    def find(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    def join(first: int, second: int, likeness: str) -> None:
        one, other = pictures[first], pictures[second]
        labels = "" if one.finding == other.finding else ", under different findings"
        notes.append(f"'{one.path}' and '{other.path}' {likeness}{labels}: kept together in every split")
        low, high = sorted((find(first), find(second)))
        leader[high] = low

    for first, second, distance in _near_pairs(pictures):
        same = pictures[first].sha256 == pictures[second].sha256
        join(first, second, "are the same file" if same else f"look the same ({distance} of 256 bits differ)")
    names = (pictures[find(index)] for index in range(len(pictures)))
    return [f"{picture.finding}-{picture.number:04d}" for picture in names]


def _near_pairs(pictures: Sequence[_Picture]) -> list[tuple[int, int, int]]:
    """Pairs ``(i, j, differing bits)`` with ``i < j``; identical unreadable files count too."""
    known = [(index, picture.bits) for index, picture in enumerate(pictures) if picture.bits is not None]
    pairs: list[tuple[int, int, int]] = []
    if known:
        packed = pack_hashes(np.stack([bits for _, bits in known]))
        for block in near_pairs(packed, NEAR_DUPLICATE_BITS):
            pairs += [(known[i][0], known[j][0], distance) for i, j, distance in zip(*block.tolist(), strict=True)]
        pairs.sort()
    first_with: dict[str, int] = {}
    for index, picture in enumerate(pictures):
        if picture.bits is None and picture.sha256 in first_with:
            pairs.append((first_with[picture.sha256], index, 0))
        first_with.setdefault(picture.sha256, index)
    return pairs
