"""Synthetic breast ultrasound in the on-disk layout of BUSI.

The pictures are phantoms: no patient was imaged, and nothing measured on them says anything about patients. They serve
tests and demonstrations that need a dataset with the format, the texture and the kind of task of the real one.

The physics is that of `radimagenet_monai.phantoms.anatomy.ultrasound`, applied to skin, subcutaneous fat with Cooper's
ligaments, fibroglandular tissue with fat lobules, and pectoral muscle, at a dynamic range of 42 to 64 dB.

Masses follow the BI-RADS descriptors. A hidden degree of suspicion, whose distributions in benign and malignant masses
overlap, drives margin, shape, orientation, texture, halo and posterior features, each with independent noise: no single
feature decides, and no reader can be right every time.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.busi import DATASET_FOLDER, FINDINGS, PUBLISHED_COUNTS
from radimagenet_monai.phantoms.anatomy.ultrasound import (
    SIMULATED_SIDE,
    Mass,
    View,
    add_mass,
    draw_margin,
    reduce_mask,
    scan,
)
from radimagenet_monai.phantoms.writing import Rehearsal, write_dataset

REHEARSAL = Rehearsal(patients=400, size=(160, 240), epochs=12)

README = """These images are phantoms: computed breast ultrasound, not patients.

They lie in the folder layout of the BUSI dataset (Al-Dhabyani et al., Data in Brief 2020;28:104863) and hold no image
of it. They are meant for tests and demonstrations of software. Nothing measured on them says anything about patients.

Written by radimagenet_monai.phantoms.busi with seed {seed}, longer side {low} to {high} pixels:
{counts}.
"""


def write_busi_phantom(
    out: str | os.PathLike[str],
    patients: int | Mapping[str, int] = 780,
    seed: int = 0,
    size: int | tuple[int, int] = (360, 600),
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write a BUSI folder of synthetic images with their masks.

    Each image depends only on ``seed``, ``size``, its finding and its number: a larger set contains the smaller
    one, and the number of worker processes does not matter.

    Parameters
    ----------
    out
        Folder that receives ``Dataset_BUSI_with_GT`` and a ``README.txt`` that says what the images are.
    patients
        Number of patients, one image each, divided into benign, malignant and normal as in BUSI, or a number for each.
    seed
        Seed for all random draws.
    size
        Smallest and largest length of an image's longer side in pixels, or one for both; BUSI's are about 500.
    workers
        Number of processes that compute images.
    progress
        Whether to show a progress bar on a terminal.

    Returns
    -------
    pathlib.Path
        ``out``, the folder to prepare records from.

    Raises
    ------
    ConfigurationError
        If the numbers do not give a dataset, or ``out`` already contains such a folder.
    """
    counts = _counts(patients)
    low, high = (size, size) if isinstance(size, int) else size
    if not 32 <= low <= high:
        raise ConfigurationError(f"size {size} was given; expected (smallest, largest) longer side from 32 pixels")
    jobs = [(finding, number) for finding in FINDINGS for number in range(1, counts[finding] + 1)]
    listed = ", ".join(f"{counts[finding]} {finding}" for finding in FINDINGS)
    return write_dataset(
        out,
        DATASET_FOLDER,
        jobs,
        partial(_write_image, seed=seed, size=(low, high)),
        README.format(seed=seed, low=low, high=high, counts=listed),
        workers=workers,
        progress=progress,
    )


def simulate(
    finding: str, number: int, seed: int = 0, size: tuple[int, int] = (360, 600)
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Compute one image and its masks.

    Parameters
    ----------
    finding
        ``"benign"``, ``"malignant"`` or ``"normal"``.
    number
        Number of the image among those of its finding, from 1.
    seed, size
        See `write_busi_phantom`.

    Returns
    -------
    image : numpy.ndarray
        ``(rows, columns)`` uint8.
    masks : list of numpy.ndarray
        ``(rows, columns)`` bool, one per mass; a single empty one for a normal image.
    """
    rng = np.random.default_rng([seed, FINDINGS.index(finding), number])
    longer = int(rng.integers(size[0], size[1] + 1))
    shorter = round(longer * rng.uniform(0.68, 0.98))
    enlarged = max(1.0, SIMULATED_SIDE / longer)
    columns, rows = round(longer * enlarged), round(shorter * enlarged)
    view = View(rows, columns, depth=rng.uniform(30, 46))

    anatomy = _draw_anatomy(rng, view)
    masses: list[Mass] = []
    if finding != "normal":
        masses.append(_draw_mass(rng, finding, view, anatomy, masses))
        if rng.random() < 0.05:
            masses.append(_draw_mass(rng, finding, view, anatomy, masses))
    echo, excess, specular = _tissue(rng, view, anatomy)
    masks = [add_mass(rng, view, mass, echo, excess, specular) for mass in masses]
    image = scan(rng, view, echo, excess, specular, dynamic_range=rng.uniform(42, 64))
    if not masks:
        masks = [np.zeros((rows, columns), bool)]
    if enlarged > 1:
        image = cv2.resize(image, (longer, shorter), interpolation=cv2.INTER_AREA)
        masks = [reduce_mask(mask, (longer, shorter)) for mask in masks]
    return image, masks


@dataclass(frozen=True)
class _Anatomy:
    """Depths in mm at which the layers end, each ``(1, columns)``."""

    skin: np.ndarray
    fat: np.ndarray
    gland: np.ndarray


def _counts(patients: int | Mapping[str, int]) -> dict[str, int]:
    if isinstance(patients, Mapping):
        if set(patients) != set(FINDINGS) or min(patients.values()) < 0 or sum(patients.values()) < 1:
            raise ConfigurationError(f"patients {dict(patients)} were given; expected a number for each of {FINDINGS}")
        return {finding: int(patients[finding]) for finding in FINDINGS}
    if patients < len(FINDINGS):
        raise ConfigurationError(f"patients {patients} was given; expected {len(FINDINGS)} or more")
    total = sum(PUBLISHED_COUNTS.values())
    counts = {finding: max(1, round(patients * PUBLISHED_COUNTS[finding] / total)) for finding in FINDINGS}
    counts["benign"] = patients - counts["malignant"] - counts["normal"]
    return counts


def _write_image(folder: Path, job: tuple[str, int], seed: int, size: tuple[int, int]) -> None:
    finding, number = job
    (folder / finding).mkdir(exist_ok=True)
    image, masks = simulate(finding, number, seed, size)
    # BUSI mixes pixel formats: mostly RGB, a few gray or RGBA; most masks have one bit.
    look = np.random.default_rng([seed, FINDINGS.index(finding), number, 1]).random()
    picture = Image.fromarray(image).convert("L" if look < 0.05 else "RGBA" if look < 0.1 else "RGB")
    stem = folder / finding / f"{finding} ({number})"
    picture.save(f"{stem}.png", compress_level=3)
    for lesion, mask in enumerate(masks):
        suffix = f"_mask_{lesion}" if lesion else "_mask"
        Image.fromarray(mask.astype(np.uint8) * 255).convert("1" if look < 0.8 else "L").save(f"{stem}{suffix}.png")


def _draw_anatomy(rng: np.random.Generator, view: View) -> _Anatomy:
    skin = rng.uniform(1.2, 2.2) + 0.1 * view.profile(rng, 12)
    fat = skin + np.clip(rng.uniform(2, 9) + 1.5 * view.profile(rng, 9), 0.8, None)
    gland = rng.uniform(0.68, 0.95) * view.depth + 1.0 * view.profile(rng, 15)
    return _Anatomy(skin, fat, np.maximum(gland, fat + 4))


def _draw_mass(rng: np.random.Generator, finding: str, view: View, anatomy: _Anatomy, others: list[Mass]) -> Mass:
    suspicion = rng.normal(1.0 if finding == "malignant" else -1.0, 0.5)

    def degree() -> float:
        """How suspicious one feature looks, 0 ... 1."""
        return float(1 / (1 + np.exp(-2.2 * (suspicion + rng.normal(0, 0.5)))))

    shape, margin, orientation, texture, posterior, halo = (degree() for _ in range(6))
    cyst = finding == "benign" and rng.random() < 0.2
    smaller = 0.6 if others else 1.0
    diameter = smaller * float(np.clip(rng.lognormal(np.log(13 + 2.0 * shape), 0.32), 5, 0.62 * view.depth))
    aspect = float(np.clip(rng.normal(0.58 + 0.34 * orientation, 0.1), 0.38, 1.5))
    half_width, half_height = diameter / 2 / np.sqrt(aspect), diameter / 2 * np.sqrt(aspect)
    top = float(anatomy.skin.max()) + 2 + half_height
    bottom = max(top + 0.5, min(float(anatomy.gland.mean()), 0.9 * view.depth) - half_height)
    laterals = rng.uniform(0.18, 0.82, size=16) * view.width
    lateral = float(max(laterals, key=lambda x: min((abs(x - other.lateral) for other in others), default=0.0)))
    if not others:
        lateral = float(np.clip(rng.normal(0.5, 0.12), 0.25, 0.75)) * view.width
    return Mass(
        depth=float(rng.uniform(top, bottom)),
        lateral=lateral,
        half_height=half_height,
        half_width=half_width,
        tilt=float(rng.normal(0, 0.16 + 0.1 * orientation)),
        radius=draw_margin(rng, 0.3 * shape if cyst else shape, 0.2 * margin if cyst else margin),
        edge=0.25 + (0 if cyst else rng.uniform(0.3, 1.8) * margin),
        echo=-50.0 if cyst else float(rng.normal(-28.5 - 1.5 * texture, 3.0)),
        texture=0.5 if cyst else 0.8 + 3.2 * texture,
        clumping=0.0 if cyst else 0.9 * texture,
        excess=-0.75 if cyst else float(rng.normal(-0.5 + 1.8 * posterior, 0.22)),
        halo=0.0 if cyst else 7.0 * max(0.0, halo - 0.25),
        capsule=float(rng.uniform(0.4, 1.0)) * (1 - margin),
        edge_shadow=float(rng.uniform(1, 6)) * (1 - margin),
        calcifications=int(rng.poisson(3.0 * texture)) if rng.random() < 0.35 and not cyst else 0,
    )


def _tissue(rng: np.random.Generator, view: View, anatomy: _Anatomy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Echo level (dB), attenuation beyond normal tissue (dB/mm) and specular reflectors (amplitude) without masses."""
    depth = (np.arange(view.rows, dtype=np.float32)[:, None] + 0.5) / view.pixels_per_mm

    def above(boundary: np.ndarray, blur: float = 0.25) -> np.ndarray:
        return np.clip((boundary - depth) / blur + 0.5, 0, 1).astype(np.float32)

    lobules = 1 / (1 + np.exp(-4 * (view.smooth(rng, 3.5, 8) - rng.uniform(0.3, 1.3))))
    streaks = view.smooth(rng, 0.9, 5)
    gland = rng.normal(-14, 2) + 3.5 * streaks + 2.0 * view.smooth(rng, 4, 4) - 9.0 * lobules
    ligaments = np.exp(-((view.smooth(rng, 3.0, 7.0) / 0.10) ** 2))
    fat = rng.normal(-23, 1.5) + 1.2 * view.smooth(rng, 1.2, 4) + 9.0 * ligaments
    muscle = rng.normal(-24, 1.5) + 5.0 * np.clip(view.smooth(rng, 0.8, 14), -0.5, None)
    skin = rng.normal(-7, 1.5)

    in_skin, in_fat, in_gland = above(anatomy.skin), above(anatomy.fat, 0.6), above(anatomy.gland)
    echo = muscle + in_gland * (gland - muscle)
    echo += in_fat * (fat - echo)
    echo += in_skin * (skin - echo)
    specular = np.zeros_like(echo)
    for boundary, strength in ((anatomy.skin, 0.5), (anatomy.gland, 0.35)):
        broken = np.clip(0.6 + 0.7 * view.profile(rng, 5), 0, None)
        specular += strength * broken * np.exp(-(((depth - boundary) / 0.22) ** 2))
    # Poor contact, ligaments and the nipple shade whole beams, with and without a mass.
    excess = 0.15 * view.smooth(rng, 8, 7) * (depth > anatomy.skin) + 0.06 * np.maximum(view.profile(rng, 5), 0) ** 2
    excess += rng.normal(0.12, 0.12)  # time-gain compensation is never set quite right
    return echo.astype(np.float32), excess.astype(np.float32), specular.astype(np.float32)
