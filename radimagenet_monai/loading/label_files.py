"""Records of a labelling client: images, each with a file that holds its label."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.records.splits import assign_splits
from radimagenet_monai.io.discovery.survey import is_dicom
from radimagenet_monai.loading.native_dataset import list_native_images

Part = Literal["train", "validation"]

_LARGEST = 64 * 1024  # bytes of a file that names classes
_VALIDATION_SHARE = 0.2


def are_label_files(data: Any) -> bool:
    """Whether ``data`` is a client's list of ``{"image": path, "label": path}``, and not a dataset's list of items."""
    return (
        isinstance(data, Sequence)
        and not isinstance(data, str)
        and len(data) > 0
        and all(isinstance(item, Mapping) and isinstance(item.get("label"), str | os.PathLike) for item in data)
    )


def records_of_label_files(
    train: Sequence[Mapping[str, Any]],
    validation: Sequence[Mapping[str, Any]],
    classes: Sequence[str] | None,
    findings: Sequence[str] | None = None,
    plane: str = "acquired",
    seed: int = 0,
) -> dict[Part, list[dict[str, Any]]]:
    """The items of both parts of a training, from a client's images and label files.

    Every slice of an image is an item. The division is the client's where it can be used: both parts hold two classes
    or more, and no patient (DICOM Patient ID; without one, every image is a patient) is in both. Where it cannot, the
    images are divided again by patient, each class alike. A client such as MONAI Label divides without regard to
    either.

    Parameters
    ----------
    train, validation
        ``image`` and ``label``, paths; ``validation`` may be empty.
    classes
        Names in the order of the network's outputs; label files then hold a class. ``None`` for segmentation, whose
        label files are masks, see `radimagenet_monai.datasets.masks`.
    findings
        Names of findings that may occur together, see `read_findings`.
    plane
        The plane in which the slices of volumes are counted.
    seed
        Seed of a division.

    Returns
    -------
    dict
        Items by part, as `radimagenet_monai.datasets.to_datalist` makes them.

    Raises
    ------
    RecordsError
        For a label file that names no known class, or too few images to divide.
    """
    given = [*train, *validation]
    names = [_class_of(item, classes, findings) for item in given]
    patients = [_patient(item, number) for number, item in enumerate(given)]
    parts = ["train"] * len(train) + ["validation"] * len(validation)
    if not _can_be_used(parts, names, patients):
        share = len(validation) / len(given) or _VALIDATION_SHARE
        parts = list(assign_splits(_kinds(names), patients, (1 - share, share, 0), seed))
    items: dict[Part, list[dict[str, Any]]] = {"train": [], "validation": []}
    for number, (record, name, patient, part) in enumerate(zip(given, names, patients, parts, strict=True)):
        slices = list_native_images(os.fspath(record["image"]), plane=plane)
        for one in slices:
            item: dict[str, Any] = {key: one[key] for key in ("image", "frame", "plane") if key in one}
            item |= {"record": number, "patient_id": patient}
            if len(slices) > 1:
                item["exam"] = str(number)
            if classes is None:
                item["mask"] = [os.fspath(record["label"])]
            else:
                item["label"] = name if findings else list(classes).index(str(name))
            items["train" if part == "train" else "validation"].append(item)
    return items


def read_class(path: str | os.PathLike[str], classes: Sequence[str]) -> str:
    """The class that a label file names.

    Parameters
    ----------
    path
        A text file that holds the name, or a JSON file that holds it as text or under ``label``. Capital letters do
        not matter, since MONAI Label's clients show names without them.
    classes
        Known names.

    Raises
    ------
    RecordsError
        For a file that holds no name, several, or one that is unknown.
    """
    named = _names_in(path)
    if len(named) != 1:
        raise RecordsError(f"label file {_shown(path)} names {len(named)} classes; expected one of {_listed(classes)}")
    return _known(named[0], classes, path)


def read_findings(path: str | os.PathLike[str], classes: Sequence[str], findings: Sequence[str]) -> list[float]:
    """Which findings a label file names: 1.0, 0.0 or, where nothing is said, NaN for each.

    Parameters
    ----------
    path
        As for `read_class`, or a JSON list of names; what is not named is absent. The first of ``classes`` alone means
        that nothing is present; the second alone, that something is, and the other findings are unknown.
    classes
        The two classes that the first finding decides between.
    findings
        Known findings; the first is present wherever another one is.

    Raises
    ------
    RecordsError
        For a name that is unknown.
    """
    named = [_known(name, (*findings, *classes), path) for name in _names_in(path)]
    if named in ([], [classes[0]]):
        return [0.0] * len(findings)
    if set(named) <= {classes[1], findings[0]}:
        return [1.0] + [float("nan")] * (len(findings) - 1)
    if classes[0] in named:
        raise RecordsError(f"label file {_shown(path)} names {classes[0]!r} beside {_listed(named)}; leave one out")
    return [1.0] + [float(name in named) for name in findings[1:]]


def _class_of(item: Mapping[str, Any], classes: Sequence[str] | None, findings: Sequence[str] | None) -> Any:
    if classes is None:
        return "mask"
    if findings:
        return read_findings(item["label"], classes, findings)
    return read_class(item["label"], classes)


def _kinds(names: Sequence[Any]) -> list[str]:
    """What a division keeps alike: the class, or the first finding."""
    return [str(name[0]) if isinstance(name, list) else name for name in names]


def _can_be_used(parts: Sequence[str], names: Sequence[Any], patients: Sequence[str]) -> bool:
    by_part = {part: [number for number, other in enumerate(parts) if other == part] for part in set(parts)}
    if len(by_part) < 2:
        return False
    kinds = _kinds(names)
    held = [{kinds[number] for number in numbers} for numbers in by_part.values()]
    owners = [{patients[number] for number in numbers} for numbers in by_part.values()]
    return not owners[0] & owners[1] and min(map(len, held)) >= min(2, len(set(kinds)))


def _patient(item: Mapping[str, Any], number: int) -> str:
    """A name for the patient that tells nothing about who it is."""
    path = Path(item["image"])
    if path.is_dir():
        path = next((file for file in sorted(path.rglob("*")) if file.is_file() and is_dicom(str(file))), path)
    if path.is_file() and is_dicom(str(path)):
        import pydicom

        patient = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"]).get("PatientID")
        if patient:
            return hashlib.sha256(str(patient).encode()).hexdigest()[:16]
    return f"image {number}"


def _names_in(path: str | os.PathLike[str]) -> list[str]:
    file = Path(path)
    try:
        if file.stat().st_size > _LARGEST:
            raise RecordsError(f"label file {_shown(path)} is no label: {_EXPECTED}")
        text = file.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise RecordsError(f"label file {_shown(path)} cannot be read ({error.strerror}): {_EXPECTED}") from error
    except UnicodeDecodeError:
        raise RecordsError(f"label file {_shown(path)} is no label: {_EXPECTED}") from None
    if file.suffix.lower() != ".json":
        return [text] if text else []
    try:
        content = json.loads(text)
    except ValueError as error:
        raise RecordsError(f"label file {_shown(path)} is no JSON ({error}): {_EXPECTED}") from error
    if isinstance(content, dict):
        content = content.get("label")
    names = content if isinstance(content, list) else [content]
    if not all(isinstance(name, str) for name in names):
        raise RecordsError(f"label file {_shown(path)} names no class: {_EXPECTED}")
    return names


_EXPECTED = 'expected the name of a class as text, or JSON such as {"label": "benign"}'


def _known(name: str, known: Sequence[str], path: str | os.PathLike[str]) -> str:
    same = dict.fromkeys(item for item in known if item.casefold() == name.strip().casefold())
    if len(same) != 1:
        raise RecordsError(
            f"label file {_shown(path)} names the class {name.strip()!r}; this bundle knows {_listed(known)}"
        )
    return next(iter(same))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, dict.fromkeys(names)))


def _shown(path: str | os.PathLike[str]) -> str:
    return f"'{Path(path).name}'"
