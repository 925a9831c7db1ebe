"""Synthetic chest CT pictures in the on-disk layout of CC-CCII.

The pictures are phantoms: no patient was scanned, and nothing measured on them says anything about patients. As in the
real dataset the slices are already windowed, with different windows, are partly PNG and partly JPEG, and differ in
size. The window, format and size of a scan are unrelated to the patient's disease.

CP (common pneumonia) is the *bacterial* kind of `radimagenet_monai.phantoms.anatomy.chest_ct`, NCP (novel coronavirus
pneumonia) the *viral* kind; the appearances of the two overlap.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.cc_ccii import LEFT_OUT_FOLDER
from radimagenet_monai.phantoms.anatomy.chest_ct import Disease, simulate_chest
from radimagenet_monai.phantoms.anatomy.noise import even_share
from radimagenet_monai.phantoms.writing import Rehearsal, write_dataset

REHEARSAL = Rehearsal(patients=160, size=128, epochs=8)

README = """These images are phantoms: computed chest CT, not patients.

They lie in the folder layout of CC-CCII (Zhang et al., Cell 2020;181(6):1423-1433) and hold no image of it. They are
meant for tests and demonstrations of software. Nothing measured on them says anything about patients.

Written by radimagenet_monai.phantoms.cc_ccii with seed {seed}: {patients} patients, {slices} slices a scan of about
{size} x {size} pixels.
"""

DATASET_FOLDER = "CC-CCII"

_DISEASES: dict[str, Disease] = {"CP": "bacterial", "NCP": "viral", LEFT_OUT_FOLDER: "none"}
_SHARES = (("CP", 0.44), ("NCP", 0.88), (LEFT_OUT_FOLDER, 1.0))
_WINDOWS = ((-600, 1500), (-500, 1400), (-600, 1200), (-450, 1500))


def write_cc_ccii_phantom(
    out: str | os.PathLike[str],
    patients: int = 200,
    seed: int = 0,
    size: int = 256,
    workers: int = 1,
    progress: bool = True,
    slices: int = 6,
) -> Path:
    """Write a CC-CCII folder of synthetic slices.

    Each picture depends only on ``seed``, ``size``, ``slices`` and its patient's number: a larger set contains the
    smaller one, and the number of worker processes does not matter.

    Parameters
    ----------
    out
        Folder that receives ``CC-CCII`` and a ``README.txt`` that says what the images are.
    patients
        Number of patients, about 44 % CP, 44 % NCP and the rest normal; a fifth have two scans.
    seed
        Seed for all random draws.
    size
        Rows and columns of the slices in pixels before they are cropped to unequal sizes; the dataset's are about 512.
    workers
        Number of processes that compute images.
    progress
        Whether to show a progress bar on a terminal.
    slices
        Number of slices per scan.

    Returns
    -------
    pathlib.Path
        ``out``, the folder to prepare records from.

    Raises
    ------
    ConfigurationError
        If the numbers do not give a dataset, or ``out`` already contains such a folder.
    """
    if patients < 3 or slices < 1 or size < 32:
        raise ConfigurationError(
            f"patients {patients}, slices {slices} and size {size} were given; expected 3 patients, 1 slice and "
            "32 pixels or more"
        )
    return write_dataset(
        out,
        DATASET_FOLDER,
        range(1, patients + 1),
        partial(_write_patient, seed=seed, size=size, slices=slices),
        README.format(seed=seed, patients=patients, slices=slices, size=size),
        workers=workers,
        progress=progress,
    )


def _write_patient(folder: Path, number: int, seed: int, size: int, slices: int) -> None:
    share = even_share(seed, number)
    label = next(name for name, limit in _SHARES if share < limit)
    rng = np.random.default_rng([seed, number])
    scans = 2 if rng.random() < 0.2 else 1
    for scan in range(scans):
        target = folder / label / str(1000 + number) / str(3 * number + scan)
        target.mkdir(parents=True)
        hounsfield, _, _ = simulate_chest(rng, _DISEASES[label], size, slices)
        pictures = _windowed(hounsfield, *_WINDOWS[int(rng.integers(len(_WINDOWS)))])
        top, left = rng.integers(0, max(1, size // 8), size=2)
        bottom, right = size - rng.integers(0, max(1, size // 8), size=2)
        scale = float(rng.choice([1.0, 1.0, 0.8, 1.15]))
        suffix = "jpg" if rng.random() < 0.35 else "png"
        first = int(rng.integers(0, 40))
        for index, picture in enumerate(pictures[::-1]):  # from the apex down, as in the dataset
            cut = picture[top:bottom, left:right]
            if scale != 1:
                cut = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            path = target / f"{first + index:04d}.{suffix}"
            if suffix == "jpg":
                Image.fromarray(cut).save(path, quality=95)
            else:
                Image.fromarray(cut).save(path, compress_level=3)


def _windowed(hounsfield: np.ndarray, center: float, width: float) -> np.ndarray:
    return np.round(np.clip((hounsfield - center) / width + 0.5, 0, 1) * 255).astype(np.uint8)
