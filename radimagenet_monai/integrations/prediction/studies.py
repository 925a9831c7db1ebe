"""Which images are predicted, and what is left out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.engine.outputs.writers import images_folder, relative_to
from radimagenet_monai.io.dicom.header_facts import known_facts
from radimagenet_monai.io.discovery.survey import is_dicom
from radimagenet_monai.io.reader import archived_facts
from radimagenet_monai.loading.native_dataset import NativeImages

Group = Literal["series", "study"]
GroupChoice = Literal["auto", "series", "study"]
Names = Literal["files", "paths"]


@dataclass(frozen=True)
class Exam:
    """An image or a series: what the transforms of a bundle take as a whole.

    Attributes
    ----------
    root
        The path given by the user that it was found in.
    listed
        Its slices, see `radimagenet_monai.loading.native_dataset.list_native_images`.
    """

    root: str
    listed: tuple[dict[str, Any], ...]

    @property
    def path(self) -> str:
        """The file of many frames, or the first file of the series."""
        return str(self.listed[0]["exam"])

    @property
    def plane(self) -> str | None:
        """Plane of the slices, if known."""
        return self.listed[0].get("plane")

    def name(self, path: str, names: Names) -> str:
        """What the outputs call a file: its own name, or its path below the one given by the user."""
        return shown_name(self.root, path, names)


@dataclass(frozen=True)
class Study:
    """What gets one answer; ``number`` counts from 1."""

    number: int
    exams: tuple[Exam, ...]


@dataclass
class Studies:
    """Everything found below the given paths.

    Attributes
    ----------
    studies
        In the order of the paths, and of names within them.
    left_out
        Reason and shown name of each file left out.
    notes
        Oddities of what was found, in words.
    digest
        SHA-256 that changes with the list of studies.
    """

    studies: list[Study] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digest: str = ""

    @property
    def reasons(self) -> dict[str, int]:
        """Number of files left out by reason."""
        counts: dict[str, int] = {}
        for reason, _ in self.left_out:
            counts[reason] = counts.get(reason, 0) + 1
        return dict(sorted(counts.items()))


def find_studies(
    paths: Sequence[str | os.PathLike[str]],
    images_in: Callable[[str], NativeImages],
    group: Group = "series",
    names: Names = "files",
) -> Studies:
    """List the studies below files and folders.

    Parameters
    ----------
    paths
        Files, folders, archives, in any mixture.
    images_in
        Lists the images below a path as the bundle's inference does.
    group
        ``"series"``: each series or file is a study; ``"study"``: series of one DICOM study are.
    names
        See `shown_name`.

    Raises
    ------
    UnreadableImageError
        If a path does not exist, before any is read.
    """
    roots = list(dict.fromkeys(os.fspath(path) for path in paths))
    for root in roots:
        if not Path(root).exists():
            raise UnreadableImageError(root, "open", "there is no such file or folder")
    found = Studies()
    exams: list[list[Exam]] = []
    of_study: dict[str, list[Exam]] = {}
    seen: set[str] = set()
    identity = hashlib.sha256()
    for root in roots:
        images = images_in(root)
        found.notes += images.notes
        for reason, files in images.left_out.items():
            found.left_out += [(reason, shown_name(root, os.path.join(root, file), names)) for file in files]
        listed: dict[str, list[dict[str, Any]]] = {}
        for item in images:
            listed.setdefault(str(item["exam"]), []).append(item)
        for path, items in listed.items():
            if os.path.realpath(path) in seen:
                found.left_out.append(("given twice", shown_name(root, path, names)))
                continue
            seen.add(os.path.realpath(path))
            exam = Exam(root, tuple(items))
            identity.update(_identity(exam).encode("utf-8", "backslashreplace"))
            members = of_study.setdefault(_study_of(path), []) if group == "study" and _study_of(path) else []
            if not members:
                exams.append(members)
            members.append(exam)
    found.studies = [Study(number, tuple(members)) for number, members in enumerate(exams, start=1)]
    found.digest = identity.hexdigest()
    return found


def shown_name(root: str, path: str, names: Names) -> str:
    """What the outputs call a file.

    ``"files"``: its own name, since names of folders often are those of patients; ``"paths"``: its path below ``root``.
    """
    return Path(path).name if names == "files" else relative_to(Path(root), path)


def _study_of(path: str) -> str:
    try:
        facts = known_facts(path) if is_dicom(path) else archived_facts(path)
    except UnreadableImageError:  # reading it gives the reason
        return ""
    return "" if facts is None else facts.study


def may_be_dicom(path: str) -> bool:
    """Whether a file, or a ZIP archive, holds a DICOM image, or is an archive too damaged to tell."""
    try:
        return is_dicom(path) or archived_facts(path) is not None
    except UnreadableImageError:
        return True


def _identity(exam: Exam) -> str:
    folder = images_folder(Path(exam.root))
    slices = [[os.path.relpath(item["image"], folder), item["frame"]] for item in exam.listed]
    return json.dumps([slices, _size(exam.path)]) + "\n"


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def plane_of(study: Study) -> str | None:
    """Plane, or planes, of a study's slices, where known."""
    planes = list(dict.fromkeys(exam.plane for exam in study.exams if exam.plane))
    return " and ".join(planes) or None


def counts_of(values: Sequence[str]) -> dict[str, int]:
    """How often each value occurs, sorted."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))


def listed_frames(exam: Exam) -> Mapping[tuple[str, int], int]:
    """Place in the list of each (file, frame)."""
    return {(str(item["image"]), int(item["frame"])): place for place, item in enumerate(exam.listed)}
