"""Synthetic chest CT as DICOM series with a table of labels, a format in which COVID-19 data may come.

The images are phantoms: no patient was scanned, and nothing measured on them says anything about patients. Positive
patients have the *viral* findings of `radimagenet_monai.phantoms.anatomy.chest_ct`; some of the negative ones have
*bacterial* findings, as among patients who present with fever and cough.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.phantoms.anatomy.chest_ct import simulate_chest
from radimagenet_monai.phantoms.anatomy.noise import even_share
from radimagenet_monai.phantoms.ct_dicom import Series, choose_scanner, write_slice
from radimagenet_monai.phantoms.writing import Rehearsal, write_dataset

REHEARSAL = Rehearsal(patients=150, size=128, epochs=6)

README = """These images are phantoms: computed chest CT, not patients.

One folder a patient holds the slices of one series; labels.csv names the folders and says positive or negative. They
are meant for tests and demonstrations of software. Nothing measured on them says anything about patients.

Written by radimagenet_monai.phantoms.covid19_ct with seed {seed}: {patients} patients with {slices} slices of
{size} x {size} pixels each.
"""

DATASET_FOLDER = "covid19_ct"
TABLE_FILE = "labels.csv"

_HEIGHT = 240.0  # mm from the lowest to the highest slice
_WINDOWS = ((-600, 1500), (50, 350))
_WINDOW_NAMES = ("LUNG", "MEDIASTINUM")
_OTHER_PNEUMONIA = 0.12


def write_covid19_ct_phantom(
    out: str | os.PathLike[str],
    patients: int = 100,
    seed: int = 0,
    size: int = 256,
    workers: int = 1,
    progress: bool = True,
    slices: int = 12,
) -> Path:
    """Write one DICOM series per patient and ``labels.csv`` with ``filename,label,patient``.

    Each slice depends only on ``seed``, ``size``, ``slices`` and its patient's number: a larger set contains the
    smaller one, and the number of worker processes does not matter.

    Parameters
    ----------
    out
        Folder that receives ``covid19_ct`` and a ``README.txt`` that says what the images are.
    patients
        Number of patients; half of them are positive.
    seed
        Seed for all random draws.
    size
        Rows and columns in pixels.
    workers
        Number of processes that compute images.
    progress
        Whether to show a progress bar on a terminal.
    slices
        Number of slices per patient.

    Returns
    -------
    pathlib.Path
        ``out``, the folder to prepare records from.

    Raises
    ------
    ConfigurationError
        If the numbers do not give a dataset, or ``out`` already contains such a folder.
    """
    if patients < 2 or slices < 1 or size < 32:
        raise ConfigurationError(
            f"patients {patients}, slices {slices} and size {size} were given; expected 2 patients, 1 slice and "
            "32 pixels or more"
        )
    return write_dataset(
        out,
        DATASET_FOLDER,
        range(1, patients + 1),
        partial(_write_patient, seed=seed, size=size, slices=slices),
        README.format(seed=seed, patients=patients, slices=slices, size=size),
        _write_table,
        workers=workers,
        progress=progress,
    )


def _write_patient(folder: Path, number: int, seed: int, size: int, slices: int) -> str:
    """Write one series and return its row of the table."""
    positive = even_share(seed, number) < 0.5
    rng = np.random.default_rng([seed, number])
    other = rng.random() < _OTHER_PNEUMONIA
    hounsfield, _, spacing = simulate_chest(
        rng, "viral" if positive else "bacterial" if other else "none", size, slices
    )
    name = f"patient{number:04d}"
    (folder / name).mkdir()
    series = Series(
        name=f"covid19_ct/{seed}/{number}/{size}/{slices}",
        patient_id=f"C{number:04d}",
        sex=str(rng.choice(["F", "M"])),
        age=int(rng.integers(18, 90)),
        body_part="CHEST",
        description="Chest phantom 1.5",
        scanner=choose_scanner(seed, number),
        windows=_WINDOWS if rng.random() < 0.6 else _WINDOWS[:1],
        window_names=_WINDOW_NAMES,
        spacing=spacing,
        step=_HEIGHT / slices,
        thickness=1.5,
    )
    # Scanners number the files from either end; only the position in the header shows the order.
    downward = rng.random() < 0.5
    for index in range(slices):
        place = slices - index if downward else index + 1
        write_slice(folder / name / f"IM{place:04d}.dcm", hounsfield[index], series, index)
    return f"{name},{'positive' if positive else 'negative'},{series.patient_id}"


def _write_table(folder: Path, rows: list[str]) -> None:
    atomic_write_text(folder / TABLE_FILE, "\n".join(["filename,label,patient", *rows]) + "\n")
