"""Turn DDTI, the open access thyroid ultrasound images of Pedraza et al., into records.

Pedraza L, Vargas C, Narváez F, Durán O, Muñoz E, Romero E. *An open access thyroid ultrasound image database.*
Proc. SPIE 9287 (2015) 92870W.

``12.xml``, which describes case 12, lies beside its images ``12_1.jpg``, ``12_2.jpg``, ...; some mirrors use separate
folders for the two kinds. The XML file holds the TI-RADS category and the radiologists' outlines of nodules, see
`radimagenet_monai.datasets.readers.ddti_case`. As in the RadImageNet paper, the label follows the category: 2 and 3 are
benign, 4a, 4b, 4c and 5 malignant. It is a reading of the image, not histology.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from radimagenet_monai.catalog.datasets import Count, Dataset
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.core.file_hash import hash_files
from radimagenet_monai.datasets.readers.authors_csv import select_listed
from radimagenet_monai.datasets.readers.ddti_case import FIELDS, ThyroidCase, fill_polygons, read_case
from radimagenet_monai.datasets.records.split_columns import DEFAULT_FOLDS, divide
from radimagenet_monai.datasets.records.splits import DEFAULT_FRACTIONS
from radimagenet_monai.datasets.records.summary import summarize
from radimagenet_monai.datasets.records.table import check_records
from radimagenet_monai.io.discovery.walk import walk_files
from radimagenet_monai.io.reader import is_junk

DATASET = Dataset(
    name="ddti",
    title="DDTI (digital database of thyroid images)",
    access="Public.",
    terms="See the data set's own page; cite its authors.",
    format="N.xml beside N_K.jpg; polygons and TI-RADS in the XML",
    counts={"images": Count(349), "malignant": Count(288), "benign": Count(61), "patients": Count(298)},
    notes=("Cases without a TI-RADS value exist in larger mirrors and are left out.",),
)

CLASSES = ("benign", "malignant")
BENIGN_CATEGORIES = ("2", "3")
MALIGNANT_CATEGORIES = ("4", "4a", "4b", "4c", "5")
TARGETS = ("malignancy", "nodule")
PUBLISHED_COUNTS = DATASET.published("images", "malignant", "benign", "patients")
"""What the RadImageNet paper used: the images of cases with a TI-RADS category."""

_CASE = re.compile(r"(\d{1,6})\.xml", re.IGNORECASE)
_IMAGE = re.compile(r"(\d{1,6})_(\d{1,5})\.(?:jpe?g|png)", re.IGNORECASE)
_CATEGORY = re.compile(r"(?:ti-?rads)?\s*([1-6])\s*([a-c]?)", re.IGNORECASE)
_SHOWN = 5


def looks_like_ddti(root: str | os.PathLike[str]) -> bool:
    """Whether ``root``, including its subfolders, holds ``N.xml`` and an image ``N_K.jpg`` of the same case."""
    root = Path(root)
    if not root.is_dir():
        return False
    folders = [root, *(entry for entry in sorted(root.iterdir()) if entry.is_dir() and not entry.name.startswith("."))]
    names = [entry.name for folder in folders for entry in folder.iterdir()]
    cases = {match[1] for name in names if (match := _CASE.fullmatch(name))}
    return any((match := _IMAGE.fullmatch(name)) and match[1] in cases for name in names)


def read_ddti(
    root: str | os.PathLike[str],
    seed: int = 0,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
    folds: int = DEFAULT_FOLDS,
    progress: bool = True,
    target: str = "malignancy",
    authors_csv: str = "",
    authors_fold: int = 0,
) -> pd.DataFrame:
    """List a DDTI folder as a records table.

    Parameters
    ----------
    root
        The folder of XML files and images, or its parent; paths in the table are relative to it.
    seed, fractions, folds
        Random seed, shares and number of folds, see `radimagenet_monai.datasets.records.splits`. The ``fold`` column
        stays empty if a class has fewer patients than folds.
    progress
        Whether to show a progress bar on a terminal.
    target
        ``"malignancy"``: images of cases with a TI-RADS category of 2 or more, outlined or not. ``"nodule"``: images
        with an outline, scored or not; ``label`` is empty if no category is known.
    authors_csv
        The RadImageNet authors' CSV file or files (see `radimagenet_monai.datasets.readers.authors_csv`), which define
        the images, labels and folds.
    authors_fold
        With ``authors_csv``: 1 to 5 uses the authors' train, validation and test files of that fold as the split; 0
        uses their five test files as folds.

    Returns
    -------
    pandas.DataFrame
        A records table in order of case and image. ``patient_id`` is the case number; ``mask`` names the outlines of an
        image as ``12.xml#1`` (see `radimagenet_monai.datasets.masks`). Free columns: ``tirads`` and the radiologists'
        other notes. ``attrs["notes"]`` has one sentence on each anomaly.

    Raises
    ------
    RecordsError
        For a folder without such files, and for a class with fewer patients than splits.
    ConfigurationError
        For an unknown target, or a fold without the authors' files.
    """
    if target not in TARGETS:
        raise ConfigurationError(f"target '{target}' is unknown; expected {' or '.join(TARGETS)}")
    if authors_fold and not authors_csv:
        raise ConfigurationError(f"authors_fold {authors_fold} was given without authors_csv; give the authors' files")
    root = Path(root)
    notes: list[str] = []
    images = _find(root, notes)
    if not images:
        raise RecordsError(f"'{root}' holds no DDTI case that can be used: {'; '.join(notes[:3])}")
    table = pd.DataFrame([_row(image, root) for image in images])
    notes.extend(_oddities(images))
    if authors_csv:
        table = _as_listed(table, authors_csv, authors_fold, notes)
        if target == "nodule":
            table = _outlined(table, notes)
    elif target == "nodule":
        table = _outlined(table, notes)
    else:
        table = _scored(table, notes)
    if table.empty:
        raise RecordsError(f"'{root}' holds no DDTI image that can be used for {target}: {'; '.join(notes[-3:])}")
    table["sha256"] = hash_files(root, table["image"].tolist(), progress)
    known = table["label"]
    # Unscored images are spread over the parts like a separate class.
    table = divide(table.assign(label=known.replace("", "not scored")), notes, seed, fractions, folds)
    table["label"] = known
    table.attrs = {"notes": notes, "target": target}
    return check_records(table, root, CLASSES, require_label=target == "malignancy")


def summary(frame: pd.DataFrame) -> dict[str, Any]:
    """Compare the counts of a `read_ddti` table with the images of the RadImageNet paper, see `summarize`.

    The paper's counts are for the target *malignancy*; there are none for *nodule*.
    """
    found = {"images": len(frame)} | {name: int((frame["label"] == name).sum()) for name in reversed(CLASSES)}
    found["patients"] = int(frame["patient_id"].nunique())
    published = PUBLISHED_COUNTS if frame.attrs.get("target", "malignancy") == "malignancy" else {}
    return summarize(frame, published, found, categories=frame["tirads"].value_counts().sort_index().to_dict())


@dataclass
class _Image:
    path: Path
    case_number: int
    number: int
    xml: Path
    case: ThyroidCase
    size: tuple[int, int] | None  # width, height

    @property
    def outlines(self) -> list[np.ndarray]:
        return self.case.outlines.get(self.number, [])

    @property
    def is_outlined(self) -> bool:
        """Whether an outline covers any pixel of the image."""
        if self.size is None:
            return bool(self.outlines)
        return bool(self.outlines) and bool(fill_polygons(self.outlines, self.size[::-1]).any())


def _find(root: Path, notes: list[str]) -> list[_Image]:
    """Images with their case, in order of case and image."""
    cases: dict[int, Path] = {}
    pictures: dict[tuple[int, int], Path] = {}
    for file in walk_files(root) if root.is_dir() else ():
        path = Path(file)
        case, image = _CASE.fullmatch(path.name), _IMAGE.fullmatch(path.name)
        if case:
            _keep_first(cases, int(case[1]), path, root, notes)
        elif image:
            _keep_first(pictures, (int(image[1]), int(image[2])), path, root, notes)
        elif not is_junk(path.name):
            notes.append(f"'{_below(path, root)}' was left out: its name is of the form neither 12.xml nor 12_1.jpg")
    if not cases or not pictures:
        state = "is not a folder" if not root.is_dir() else "does not hold DDTI"
        raise RecordsError(f"'{root}' {state}; expected files such as 12.xml and 12_1.jpg")
    read: dict[int, ThyroidCase] = {}
    for number, path in sorted(cases.items()):
        try:
            read[number] = read_case(path)
        except RecordsError as error:
            notes.append(f"case {number} was left out: {str(error).replace(str(path), _below(path, root), 1)}")
            continue
        stated = read[number].facts["number"]
        if stated and stated != str(number):
            notes.append(f"'{_below(path, root)}' says it is case {stated}; the file name was believed")
        notes.extend(f"'{_below(path, root)}': {problem}" for problem in read[number].problems)
        absent = [image for image in sorted(read[number].outlines) if (number, image) not in pictures]
        notes.extend(f"'{_below(path, root)}' outlines image {image}, which is not there" for image in absent)
    alone = sorted({number for number, _ in pictures} - cases.keys())
    if alone:
        notes.append(f"{_count(alone, 'case')} without an XML file left out: {_listed(alone)}")
    without = sorted(cases.keys() - {number for number, _ in pictures})
    if without:
        notes.append(f"{_count(without, 'case')} without an image: {_listed(without)}")
    return [
        _Image(path, case, image, cases[case], read[case], _size(path))
        for (case, image), path in sorted(pictures.items())
        if case in read
    ]


def _keep_first(files: dict[Any, Path], key: Any, path: Path, root: Path, notes: list[str]) -> None:
    if key in files:
        notes.append(f"'{_below(path, root)}' was left out: '{_below(files[key], root)}' is the same case and image")
    else:
        files[key] = path


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None


def _row(image: _Image, root: Path) -> dict[str, str]:
    facts = image.case.facts
    category = tirads_category(facts["tirads"])
    label = "benign" if category in BENIGN_CATEGORIES else "malignant" if category in MALIGNANT_CATEGORIES else ""
    return {
        "image": _below(image.path, root),
        "label": label,
        "patient_id": str(image.case_number),
        "mask": f"{_below(image.xml, root)}#{image.number}" if image.is_outlined else "",
        "tirads": category,
        **{name: facts[name] for name in FIELDS if name not in ("number", "tirads")},
    }


def tirads_category(text: str) -> str:
    """A TI-RADS category in its usual spelling (``2``, ``4a``), or ``""`` if the text is not one.

    Examples
    --------
    >>> tirads_category(" TIRADS 4A ")
    '4a'
    """
    match = _CATEGORY.fullmatch(text.strip())
    return (match[1] + match[2]).lower() if match else ""


def _oddities(images: Sequence[_Image]) -> list[str]:
    """Sentences on images that do not depend on the choice of rows."""
    notes = [f"'{image.path.name}' is not a readable picture" for image in images if image.size is None]
    outside = [image.path.name for image in images if image.outlines and not image.is_outlined]
    if outside:
        notes.append(f"{_count(outside, 'image')} with an outline outside the picture, not used: {_listed(outside)}")
    unknown: dict[str, list[int]] = defaultdict(list)
    for image in images:
        written = image.case.facts["tirads"]
        if written and tirads_category(written) not in (*BENIGN_CATEGORIES, *MALIGNANT_CATEGORIES):
            unknown[written].append(image.case_number)
    notes.extend(
        f"TI-RADS '{written}' of case {_listed(sorted(set(cases)))} is neither benign nor malignant here: not scored"
        for written, cases in sorted(unknown.items())
    )
    return notes


def _scored(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    unscored = table[table["label"] == ""]
    if len(unscored):
        cases = unscored["patient_id"].unique()
        notes.append(
            f"{_count(unscored, 'image')} of {_count(cases, 'case')} without a TI-RADS category left out, first case "
            f"{_listed(cases)}"
        )
    table = table[table["label"] != ""].reset_index(drop=True)
    bare = table.loc[table["mask"] == "", "image"]
    if len(bare):
        notes.append(f"{_count(bare, 'image')} without an outline, kept without a mask: {_listed(bare)}")
    return table


def _outlined(table: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    bare = table.loc[table["mask"] == "", "image"]
    if len(bare):
        notes.append(f"{_count(bare, 'image')} without an outline left out: {_listed(bare)}")
    return table[table["mask"] != ""].reset_index(drop=True)


def _as_listed(table: pd.DataFrame, authors_csv: str, fold: int, notes: list[str]) -> pd.DataFrame:
    """The images listed in the authors' files, with their labels and split."""
    listed = select_listed(authors_csv, table["image"], CLASSES, fold=fold or None)
    notes.extend(listed.attrs["notes"])
    own = table.set_index("image")["label"]
    theirs = listed.set_index("image")["label"]
    differing = [image for image, label in theirs.items() if own[image] not in ("", label)]
    if differing:
        notes.append(
            f"{_count(differing, 'image')} with another label in the authors' files than by TI-RADS, theirs used: "
            f"{_listed(differing)}"
        )
    return table.drop(columns="label").merge(listed.drop(columns="pid", errors="ignore"), on="image", how="inner")


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _count(things: Iterable[Any], noun: str) -> str:
    number = len(list(things)) if not isinstance(things, pd.DataFrame) else len(things)
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(names: Iterable[Any]) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(str(name) for name in names[:_SHOWN]) + more
