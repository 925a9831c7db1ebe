"""Synthetic knee MRI exams in the on-disk layout of MRNet v1.0, drawn by `radimagenet_monai.phantoms.anatomy.knee`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.mrnet import DATASET_FOLDER, PLANES, TARGETS, Plane
from radimagenet_monai.phantoms.anatomy.knee import Knee, draw_knee, image_knee
from radimagenet_monai.phantoms.writing import Rehearsal, write_dataset

REHEARSAL = Rehearsal(patients=240, size=128, epochs=6)

README = """These exams are phantoms: computed knee MRI, not patients.

They lie in the folder layout of MRNet v1.0 (Bien et al., PLOS Medicine 2018;15(11):e1002699) and hold no image of it.
They are meant for tests and demonstrations of software. Nothing measured on them says anything about patients.

Written by radimagenet_monai.phantoms.mrnet with seed {seed}: {exams} exams in the planes {planes}.
"""

MOST_EXAMS = 1412
"""More do not fit into MRNet's numbers: training exams stand below 1130, validation exams from there."""

_FIRST_VALID = 1130
_VALID_EVERY = 5


def write_mrnet_phantom(
    out: str | os.PathLike[str],
    patients: int = 240,
    seed: int = 0,
    size: int = 256,
    planes: str = ",".join(PLANES),
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write ``MRNet-v1.0`` with synthetic exams.

    Each exam depends only on ``seed``, ``size`` and its number: a larger set contains the smaller one, with each exam
    in the same part, and neither the planes written nor the number of worker processes matter. About 35 % have a torn
    anterior cruciate ligament and, independently, 45 % a torn meniscus.

    Parameters
    ----------
    out
        Folder to write to.
    patients
        Number of exams, one per patient; every fifth is in ``valid``.
    seed
        Seed for all random draws.
    size
        Rows and columns in pixels; MRNet's are 256.
    planes
        Planes to write, separated by commas.
    workers
        Number of processes that compute exams.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    pathlib.Path
        ``out``, the folder to prepare records from.

    Raises
    ------
    ConfigurationError
        If the numbers or planes do not give a dataset, or ``out`` already contains such a folder.
    """
    wanted = wanted_planes(planes)
    if not _VALID_EVERY <= patients <= MOST_EXAMS or size < 32:
        raise ConfigurationError(
            f"patients {patients} and size {size} were given; expected {_VALID_EVERY} to {MOST_EXAMS}, and 32 or more"
        )
    return write_dataset(
        out,
        DATASET_FOLDER,
        range(patients),
        partial(_write_exam, seed=seed, size=size, planes=wanted),
        README.format(seed=seed, exams=patients, planes=", ".join(wanted)),
        _write_tables,
        workers,
        progress,
    )


def exam_place(number: int) -> tuple[str, int]:
    """``train`` or ``valid``, and the number on disk, of the phantom's exam ``number`` (from 0)."""
    before = number // _VALID_EVERY
    return ("valid", _FIRST_VALID + before) if number % _VALID_EVERY == _VALID_EVERY - 1 else ("train", number - before)


def wanted_planes(planes: str) -> tuple[Plane, ...]:
    """The planes in a comma-separated list."""
    names = [name.strip() for name in planes.split(",")] if isinstance(planes, str) else list(planes)
    if not names or not set(names) <= set(PLANES):
        raise ConfigurationError(
            f"planes '{planes}' were given; expected some of {', '.join(PLANES)}, joined by commas"
        )
    return tuple(plane for plane in PLANES if plane in names)


def stored_series(knee: Knee, plane: Plane, size: int) -> np.ndarray:
    """One series as stored in MRNet: ``(slices, size, size)`` uint8 over the range of the series."""
    volume = image_knee(knee, plane, size)
    return np.round(np.clip(volume / np.percentile(volume, 99.8), 0, 1) * 255).astype(np.uint8)


def _write_exam(folder: Path, number: int, seed: int, size: int, planes: tuple[Plane, ...]) -> tuple[int, Knee]:
    part, exam = exam_place(number)
    # By the number on disk, so that tears have the right proportions in both parts, however few exams there are.
    knee = draw_knee(seed, exam)
    for plane in planes:
        (folder / part / plane).mkdir(parents=True, exist_ok=True)
        np.save(folder / part / plane / f"{exam:04d}.npy", stored_series(knee, plane, size))
    return number, knee


def _write_tables(folder: Path, results: list[tuple[int, Knee]]) -> None:
    rows: dict[tuple[str, str], list[str]] = {}
    for number, knee in results:
        part, exam = exam_place(number)
        for target, value in zip(TARGETS, (knee.acl_tear, knee.meniscal_tear, knee.is_abnormal), strict=True):
            rows.setdefault((part, target), []).append(f"{exam:04d},{int(value)}\n")
    for (part, name), lines in rows.items():
        atomic_write_text(folder / f"{part}-{name}.csv", "".join(lines))
