"""Synthetic head CT in the on-disk format of the RSNA hemorrhage challenge.

The images are phantoms: no patient was scanned, and nothing measured on them says anything about patients. They serve
tests and demonstrations that need DICOM files with Hounsfield units, several slices per patient, and the challenge's
tables.

Model of the head, in millimeters and Hounsfield units: scalp, skull with two tables and diploe, cerebrospinal fluid in
sulci, fissures, cisterns and ventricles, gray and white matter, falx. Blood has 45 to 80 HU and lies where each
subtype is found: a lens under the skull (epidural), a crescent along a hemisphere (subdural), in sulci and cisterns
(subarachnoid), in the dependent parts of the ventricles (intraventricular), and as an irregular clot with a dark rim of
edema in the brain (intraparenchymal). Each is three-dimensional, so some slices of a head with hemorrhage show nothing.

Other bright or dark structures occur with and without blood: calcified choroid plexus, pineal gland and falx, the sinus
and the tentorium, the band under the skull brightened by beam hardening, infarcts, atrophy, a tilted head and noise.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.rsna_ich import ANY, DATASET_FOLDER, IMAGE_FOLDERS, LABELS_FILE, SUBTYPES
from radimagenet_monai.phantoms.anatomy.noise import even_share, grain, rise, smooth_noise
from radimagenet_monai.phantoms.ct_dicom import AIR, Series, choose_scanner, write_slice
from radimagenet_monai.phantoms.writing import Rehearsal, write_dataset

REHEARSAL = Rehearsal(patients=200, size=128, epochs=10)

README = """These images are phantoms: computed head CT, not patients.

They lie in the folder layout of the RSNA Intracranial Hemorrhage Detection Challenge (Flanders et al., Radiology:
Artificial Intelligence 2020;2(3):e190211) and hold no image of it. They are meant for tests and demonstrations of
software. Nothing measured on them says anything about patients.

Written by radimagenet_monai.phantoms.rsna_ich with seed {seed}: {patients} patients with {slices} slices of
{size} x {size} pixels each.
"""

_COMPUTED_SIDE = 160  # smaller slices are computed at this size and averaged, since thin layers need the pixels
_LOWEST, _HIGHEST = -34.0, 58.0  # mm from the middle of the ventricles
_VISIBLE_AREA = 40.0  # mm2 of blood that make a slice positive
_WINDOWS = ((40, 80), (80, 200), (600, 2800))
_WINDOW_NAMES = ("BRAIN", "SUBDURAL", "BONE")
_COMMONNESS = {
    "epidural": 0.6,
    "intraparenchymal": 1.3,
    "intraventricular": 0.9,
    "subarachnoid": 1.0,
    "subdural": 1.2,
}


def write_rsna_ich_phantom(
    out: str | os.PathLike[str],
    patients: int = 200,
    seed: int = 0,
    size: int = 256,
    workers: int = 1,
    progress: bool = True,
    slices: int = 8,
    quirks: bool = False,
) -> Path:
    """Write the challenge's training folder and table with synthetic slices.

    Each slice depends only on ``seed``, ``size``, ``slices`` and its patient's number: a larger set contains the
    smaller one, and the number of worker processes does not matter.

    Parameters
    ----------
    out
        Folder that receives ``rsna-intracranial-hemorrhage-detection`` and a ``README.txt`` that says what the images
        are.
    patients
        Number of patients, one series each; half of them have a hemorrhage.
    seed
        Seed for all random draws.
    size
        Rows and columns in pixels; the challenge's are 512.
    workers
        Number of processes that compute images.
    progress
        Whether to show a progress bar on a terminal.
    slices
        Number of slices per patient, from the skull base to the vertex.
    quirks
        Whether the table has the irregularities of the real one: the six rows of some slices twice, and one ID with
        Label 0 and 1.

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
        partial(_write_table, quirks=quirks),
        workers=workers,
        progress=progress,
    )


def simulate(number: int, seed: int = 0, size: int = 256, slices: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Compute the slices of one patient.

    Parameters
    ----------
    number
        Number of the patient, from 1.
    seed, size, slices
        See `write_rsna_ich_phantom`.

    Returns
    -------
    hounsfield : numpy.ndarray
        ``(slices, size, size)`` float32 HU, from the skull base up.
    blood : numpy.ndarray
        ``(slices, 5, size, size)`` bool, a mask of each subtype.
    """
    rng, head, bleeds = _draw_patient(number, seed)
    pairs = [_slice(rng, head, bleeds, height, size) for height in _heights(slices)]
    return np.stack([image for image, _ in pairs]), np.stack([blood for _, blood in pairs])


@dataclass(frozen=True)
class _Head:
    half_width: float
    half_length: float
    scalp: float
    bone: float
    turn: float  # radians about the long axis
    tilt: float  # elevation of the left side, mm per mm
    shift: tuple[float, float]
    atrophy: float  # 0 young ... 1 old
    asymmetry: float
    choroid: float  # HU above fluid
    pineal: float
    falx: float
    infarct: tuple[float, float, float] | None  # angle, depth (mm), height (mm)
    hardening: float  # HU lost between the petrous bones
    cupping: float  # HU gained under the skull
    gray: float  # HU of gray matter
    noise: float
    field: float  # field of view, mm
    holder: bool


@dataclass(frozen=True)
class _Bleed:
    subtype: str
    side: int
    angle: float
    extent: float  # along the skull: radians; clot: radius in mm; ventricles: filled fraction
    thickness: float
    height: float
    half_height: float
    density: float
    place: tuple[float, float] = (0.0, 0.0)
    harmonics: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class _Plane:
    """Coordinates of one slice in mm from the head's center: ``x`` to the patient's left, ``y`` to posterior."""

    x: np.ndarray
    y: np.ndarray
    height: np.ndarray  # of every pixel, since the head may be tilted
    depth: np.ndarray  # mm inside the inner table of the skull
    outside: np.ndarray  # mm outside the skin
    angle: np.ndarray
    pixel: float
    shape: tuple[int, int]


def _heights(slices: int) -> np.ndarray:
    step = (_HIGHEST - _LOWEST) / slices
    return _LOWEST + step * (np.arange(slices) + 0.5)


def _draw_patient(number: int, seed: int) -> tuple[np.random.Generator, _Head, list[_Bleed]]:
    rng = np.random.default_rng([seed, number])
    head = _draw_head(rng)
    return rng, head, _draw_bleeds(rng, head) if even_share(seed, number) < 0.5 else []


def _draw_head(rng: np.random.Generator) -> _Head:
    atrophy = float(np.clip(rng.beta(2, 2.2), 0, 1))
    infarct = None
    if rng.random() < 0.2:
        infarct = (float(rng.uniform(-np.pi, np.pi)), float(rng.uniform(12, 32)), float(rng.uniform(-10, 40)))
    return _Head(
        half_width=float(rng.normal(73, 3)),
        half_length=float(rng.normal(91, 4)),
        scalp=float(rng.uniform(3.5, 7)),
        bone=float(rng.uniform(4.5, 8)),
        turn=float(rng.normal(0, 0.06)),
        tilt=float(rng.normal(0, 0.05)),
        shift=(float(rng.normal(0, 4)), float(rng.normal(0, 5))),
        atrophy=atrophy,
        asymmetry=float(rng.normal(0, 0.12)),
        choroid=float(rng.uniform(60, 300)) if rng.random() < 0.5 else 0.0,
        pineal=float(rng.uniform(60, 250)) if rng.random() < 0.5 else 0.0,
        falx=float(rng.uniform(45, 55)) if rng.random() < 0.85 else float(rng.uniform(80, 200)),
        infarct=infarct,
        hardening=float(rng.uniform(0, 6)),
        cupping=float(rng.uniform(3, 22)),
        gray=float(rng.normal(38, 3)),
        noise=float(rng.uniform(3.5, 9.0)),
        field=float(rng.uniform(220, 250)),
        holder=bool(rng.random() < 0.4),
    )


def _draw_bleeds(rng: np.random.Generator, head: _Head) -> list[_Bleed]:
    weights = np.array([_COMMONNESS[subtype] for subtype in SUBTYPES])
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    chosen = rng.choice(len(SUBTYPES), size=count, replace=False, p=weights / weights.sum())
    return [_draw_bleed(rng, SUBTYPES[kind], head) for kind in chosen]


def _draw_bleed(rng: np.random.Generator, subtype: str, head: _Head) -> _Bleed:
    side = 1 if rng.random() < 0.5 else -1
    small = float(np.clip(rng.beta(2, 1.6), 0.08, 1))  # 0 hardly visible ... 1 large
    if subtype == "epidural":
        return _Bleed(
            subtype,
            side,
            angle=float(rng.normal(0, 0.5)),
            extent=float(0.3 + 0.35 * small),
            thickness=float(7 + 18 * small),
            height=float(rng.uniform(-8, 38)),
            half_height=float(18 + 16 * small),
            density=float(rng.normal(66, 5)),
        )
    if subtype == "subdural":
        return _Bleed(
            subtype,
            side,
            angle=float(rng.normal(-0.1, 0.35)),
            extent=float(0.9 + 0.5 * small),
            thickness=float(3.5 + 9 * small),
            height=float(rng.uniform(5, 40)),
            half_height=float(28 + 22 * small),
            density=float(rng.normal(62, 6)),
        )
    if subtype == "subarachnoid":
        return _Bleed(
            subtype,
            side,
            angle=float(rng.normal(-0.3, 0.7)),
            extent=float(0.7 + 0.9 * small),
            thickness=float(26 + 14 * small),
            height=float(rng.uniform(-24, 36)),
            half_height=float(26 + 20 * small),
            density=float(rng.normal(56, 5)),
        )
    if subtype == "intraventricular":
        return _Bleed(
            subtype,
            side if rng.random() < 0.5 else 0,
            angle=0.0,
            extent=float(0.2 + 0.75 * small),
            thickness=0.0,
            height=float(rng.uniform(2, 14)),
            half_height=float(22 + 14 * small),
            density=float(rng.normal(60, 5)),
        )
    radius = float(7 + 14 * small)
    deep = rng.random() < 0.45
    angle, reach = rng.uniform(-np.pi / 2, np.pi / 2), rng.uniform(0.3, 0.62)
    place = (
        (float(rng.normal(26, 4)), float(rng.normal(2, 7)))
        if deep
        else (
            float(np.clip(np.cos(angle) * reach * head.half_width, 14, None)),
            float(np.sin(angle) * reach * head.half_length),
        )
    )
    return _Bleed(
        subtype,
        side,
        angle=float(rng.uniform(0, np.pi)),
        extent=radius,
        thickness=float(rng.uniform(2, 7)),
        height=float(rng.uniform(-6, 10) if deep else rng.uniform(-18, 40)),
        half_height=float(radius * rng.uniform(1.0, 1.6) + 5),
        density=float(rng.normal(64, 5)),
        place=place,
        harmonics=tuple(
            (float(rng.normal(0, 0.16 / order)), float(rng.uniform(0, 2 * np.pi))) for order in range(2, 7)
        ),
    )


def _slice(
    rng: np.random.Generator, head: _Head, bleeds: Sequence[_Bleed], height: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    factor = -(-_COMPUTED_SIDE // size)
    plane = _plane(head, height, size * factor)
    fluid, ventricles, cisterns = _fluid_spaces(rng, head, plane)
    brain = _brain(rng, head, plane, fluid, ventricles)
    blood = np.zeros((len(SUBTYPES), *plane.shape), dtype=np.float32)
    for bleed in bleeds:
        amount = _blood(rng, bleed, plane, fluid, ventricles, cisterns)
        if bleed.subtype == "intraparenchymal" and amount.any():
            edema = cv2.GaussianBlur(amount, (0, 0), max(0.5, bleed.thickness / plane.pixel))
            brain -= 12 * np.clip(2 * edema, 0, 1) * rise(plane.depth - 1, 2.0) * (1 - ventricles)
        clotted = bleed.density + 3 * smooth_noise(rng, plane.shape, 5 / plane.pixel)
        brain += amount * (clotted - brain)
        blood[SUBTYPES.index(bleed.subtype)] = np.maximum(blood[SUBTYPES.index(bleed.subtype)], amount)
    image = _skull_and_air(rng, head, plane, brain)
    if factor > 1:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        blood = np.stack([cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA) for part in blood])
    # Fewer pixels average out more noise, but never all of it, so images of any size look like CT.
    deviation = head.noise * (0.55 + 0.45 * min(1.0, size / 256))
    body = rise(image + 400, 400)
    image += deviation * (0.35 + 0.65 * body) * grain(rng, image.shape, 0.7 * size / 512)
    masks = blood >= 0.5
    seen = masks.sum(axis=(1, 2)) * (head.field / size) ** 2 >= _VISIBLE_AREA
    return image.astype(np.float32), masks & seen[:, None, None]


def _plane(head: _Head, height: float, side: int) -> _Plane:
    pixel = head.field / side
    line = (np.arange(side, dtype=np.float32) - (side - 1) / 2) * np.float32(pixel)
    across, down = line[None, :] - np.float32(head.shift[0]), line[:, None] - np.float32(head.shift[1])
    cosine, sine = np.float32(np.cos(head.turn)), np.float32(np.sin(head.turn))
    x, y = across * cosine + down * sine, down * cosine - across * sine
    level = height + head.tilt * x
    upper = np.sqrt(np.clip(1 - (np.clip(level, 0, None) / 96) ** 2, 0.05, 1))
    lower = 1 - 0.12 * (np.clip(-level, 0, None) / 40) ** 2
    scale = (upper * lower).astype(np.float32)
    # The back of the head is rounder than the front.
    width = head.half_width * scale * (1 + 0.05 * np.clip(y / head.half_length, -1, 1))
    length = head.half_length * scale
    radius = np.sqrt((x / width) ** 2 + (y / length) ** 2) + np.float32(1e-6)
    outside = np.sqrt(x**2 + y**2) * (1 - 1 / radius)
    depth = -(outside + head.scalp + head.bone)
    # 0 is the patient's left, or right, side; -pi/2 the front, +pi/2 the back.
    return _Plane(x, y, level, depth, outside, np.arctan2(y, np.abs(x)), pixel, (side, side))


def _ellipse(plane: _Plane, x: float, y: float, half_x: float, half_y: float, turn: float = 0.0) -> np.ndarray:
    """Soft mask 0 ... 1 of an ellipse in the slice."""
    dx, dy = plane.x - np.float32(x), plane.y - np.float32(y)
    cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = (dx * cosine + dy * sine) / half_x, (dy * cosine - dx * sine) / half_y
    radius = np.sqrt(u**2 + v**2)
    return rise((1 - radius) * min(half_x, half_y), 1.5)


def _fluid_spaces(rng: np.random.Generator, head: _Head, plane: _Plane) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Soft masks of the fluid outside the brain, of the ventricles, and of only the fissures and cisterns."""
    level = plane.height
    pattern = np.abs(smooth_noise(rng, plane.shape, 13 / plane.pixel))
    narrow = 0.10 + 0.16 * head.atrophy
    cortical = rise(plane.depth, 1.0) * rise(16 + 5 * head.atrophy - plane.depth, 4.0)
    sulci = rise(narrow - pattern, 0.12) * cortical
    rim = rise(0.6 + 2.2 * head.atrophy - plane.depth, 1.2) * rise(plane.depth, 0.8)
    midline = rise(0.5 + 1.2 * head.atrophy - np.abs(plane.x), 1.0) * rise(plane.depth, 1.0)
    midline *= np.maximum(rise(-20 - plane.y, 6.0), rise(plane.y - 30, 6.0) * 0.5)

    cisterns = np.zeros(plane.shape, dtype=np.float32)
    low = rise(-6 - level, 8.0)
    if low.max() > 0:
        star = np.maximum(_ellipse(plane, 0, -8, 13, 5), _ellipse(plane, 0, 14, 10, 4))
        for side in (1, -1):
            star = np.maximum(star, _ellipse(plane, side * 15, 4, 2.6, 13, side * 0.5))
            star = np.maximum(star, _ellipse(plane, side * 20, -12, 13, 2.6, side * -0.15))
        cisterns = star * low
    insular = rise(22 - np.abs(level + 4), 8.0)
    for side in (1, -1):
        fissure = _ellipse(plane, side * 46, -8, 17, 1.6 + 1.6 * head.atrophy, side * -0.25)
        cisterns = np.maximum(cisterns, fissure * insular * rise(plane.depth, 1.0))

    ventricles = np.zeros(plane.shape, dtype=np.float32)
    size = 0.72 + 0.75 * head.atrophy
    body = rise(30 - np.abs(level - 12), 10.0)
    if body.max() > 0:
        for side in (1, -1):
            swelling = size * (1 + side * head.asymmetry)
            front = _ellipse(plane, side * (9 + 3 * size), -22, 5.5 * swelling, 15, side * 0.35)
            back = _ellipse(plane, side * (19 + 3 * size), 24, 6.0 * swelling, 16, side * -0.35)
            middle = _ellipse(plane, side * (11 + 2 * size), 2, 5.0 * swelling, 20, side * -0.1)
            upper = rise(level - 8, 8.0)
            ventricles = np.maximum(ventricles, np.maximum(np.maximum(front, back), middle * upper) * body)
    third = _ellipse(plane, 0, -2, 1.2 + 2.2 * head.atrophy, 13) * rise(10 - np.abs(level + 6), 5.0)
    ventricles = np.maximum(ventricles, third) * rise(plane.depth - 6, 3.0)
    outer = np.clip(np.maximum.reduce([sulci, rim, midline, cisterns]), 0, 1) * (1 - ventricles)
    return outer, ventricles, np.maximum(cisterns, midline)


def _brain(
    rng: np.random.Generator, head: _Head, plane: _Plane, fluid: np.ndarray, ventricles: np.ndarray
) -> np.ndarray:
    """HU of everything inside the skull, without blood."""
    core = rise(plane.depth - 9 - 3 * smooth_noise(rng, plane.shape, 14 / plane.pixel), 5.0)
    nuclei = np.maximum(_ellipse(plane, 24, 0, 9, 16, -0.3), _ellipse(plane, -24, 0, 9, 16, 0.3))
    nuclei *= rise(22 - np.abs(plane.height - 4), 8.0)
    gray, white = head.gray, head.gray - 8.0 - 2.0 * head.atrophy
    brain = gray + (white - gray) * core * (1 - 0.9 * nuclei) + 1.2 * smooth_noise(rng, plane.shape, 9 / plane.pixel)
    if head.infarct is not None:
        angle, reach, level = head.infarct
        away = np.abs(np.angle(np.exp(1j * (np.arctan2(plane.y, plane.x) - angle))))
        wedge = rise(0.45 - away, 0.15) * rise(reach - plane.depth, 6.0) * rise(20 - np.abs(plane.height - level), 8.0)
        brain -= 11 * wedge
    brain += head.cupping * np.exp(-np.clip(plane.depth, 0, None) / 5.0)
    brain -= head.hardening * rise(-18 - plane.height, 10.0) * np.exp(-(((plane.y + 2) / 9) ** 2))
    brain += (7.0 - brain) * np.maximum(fluid, ventricles)
    falx = rise(0.9 - np.abs(plane.x), 1.0) * rise(plane.depth, 1.0)
    falx *= np.maximum(rise(-30 - plane.y, 8.0), rise(plane.y - 38, 8.0)) * rise(plane.height + 4, 8.0)
    brain += falx * (head.falx - brain) * 0.8
    back = head.half_length - head.scalp - head.bone
    sinus = _ellipse(plane, 0, back * 0.96, 4.5, 4.5) * rise(plane.depth + 1, 1.0)
    brain += sinus * (56 - brain)
    # The tentorium is bright where the slice runs along it, like blood on it.
    leaf = np.abs(plane.y - 26 - 0.35 * np.abs(plane.x) - 0.4 * plane.height) < 2.2
    tentorium = (
        leaf * rise(10 - np.abs(plane.height + 14), 4.0) * rise(plane.depth, 1.0) * rise(np.abs(plane.x) - 8, 4.0)
    )
    brain += tentorium * (head.gray + 14 - brain) * 0.8
    if head.choroid:
        for side in (1, -1):
            plexus = _ellipse(plane, side * 21, 18, 2.2, 4.0) * rise(7 - np.abs(plane.height - 8), 3.0)
            brain += plexus * head.choroid
    if head.pineal:
        brain += _ellipse(plane, 0, 17, 2.2, 2.2) * rise(6 - np.abs(plane.height + 1), 3.0) * head.pineal
    return brain.astype(np.float32)


def _blood(
    rng: np.random.Generator,
    bleed: _Bleed,
    plane: _Plane,
    fluid: np.ndarray,
    ventricles: np.ndarray,
    cisterns: np.ndarray,
) -> np.ndarray:
    """Fraction 0 ... 1 of each pixel that is blood of this bleed."""
    relative = np.clip(np.abs(plane.height - bleed.height) / bleed.half_height, 0, 1)
    swell = np.sqrt(1 - relative**2).astype(np.float32)
    if swell.max() < 0.15:
        return np.zeros(plane.shape, dtype=np.float32)
    within = rise(plane.depth, 0.8)
    side = rise(bleed.side * plane.x, 2.0) if bleed.side else np.ones(plane.shape, dtype=np.float32)
    if bleed.subtype in ("epidural", "subdural"):
        away = np.clip(np.abs(plane.angle - bleed.angle) / (bleed.extent * np.maximum(swell, 0.3)), 0, 1)
        if bleed.subtype == "epidural":
            profile = bleed.thickness * (1 - away**2)
        else:
            profile = bleed.thickness * np.clip(1 - away**4, 0, 1) * (1 + 0.12 * smooth_noise(rng, plane.shape, 20))
        return within * side * rise(profile * swell - plane.depth, 1.2) * (away < 1)
    if bleed.subtype == "subarachnoid":
        sector = rise(bleed.extent - np.abs(plane.angle - bleed.angle), 0.25) * rise(bleed.thickness - plane.depth, 6.0)
        patchy = rise(smooth_noise(rng, plane.shape, 16 / plane.pixel) + 0.5 + swell, 0.5)
        spaces = np.maximum(fluid * sector * side, cisterns * side * float(np.clip((23 - bleed.height) / 10, 0, 1)))
        return np.clip(1.25 * spaces, 0, 1) * patchy * rise(swell - 0.25, 0.2)
    if bleed.subtype == "intraventricular":
        # The patient is supine: blood settles posteriorly and forms a level.
        level = 42 - 62 * bleed.extent * swell
        return ventricles * side * rise(plane.y - level, 2.0)
    dx, dy = plane.x - bleed.side * bleed.place[0], plane.y - bleed.place[1]
    angle = np.arctan2(dy, dx) - bleed.angle
    radius = np.full(plane.shape, bleed.extent, dtype=np.float32)
    for order, (amplitude, phase) in enumerate(bleed.harmonics, start=2):
        radius += bleed.extent * amplitude * np.cos(order * angle + phase)
    distance = np.sqrt((dx * np.cos(bleed.angle) + dy * np.sin(bleed.angle)) ** 2 * 0.75 + dy**2 * 0.25 + dx**2 * 0.25)
    return rise(radius * swell - distance, 2.0) * rise(plane.depth - 1.5, 1.5)


def _skull_and_air(rng: np.random.Generator, head: _Head, plane: _Plane, brain: np.ndarray) -> np.ndarray:
    table = head.bone * 0.32
    below_scalp = -(plane.outside + head.scalp)
    diploe = rise(below_scalp - table, 1.0) * rise(head.bone - table - below_scalp, 1.0)
    bone = 1150 + 120 * smooth_noise(rng, plane.shape, 12 / plane.pixel) - 500 * diploe
    scalp = np.where(plane.outside > -1.6, 30.0, -85.0) + 12 * smooth_noise(rng, plane.shape, 6 / plane.pixel)
    petrous = np.zeros(plane.shape, dtype=np.float32)
    base = rise(-24 - plane.height, 8.0)
    if base.max() > 0:
        for side in (1, -1):
            petrous = np.maximum(petrous, _ellipse(plane, side * 42, 12, 24, 6, side * 0.55))
            petrous = np.maximum(petrous, _ellipse(plane, side * 36, -42, 22, 4, side * -0.4))
        petrous *= base * rise(plane.depth + 2, 1.0)
    image = brain + petrous * (900 + 200 * smooth_noise(rng, plane.shape, 7 / plane.pixel) - brain)
    image += rise(-plane.depth, 1.0) * (bone - image)
    image += rise(plane.outside + head.scalp, 0.9) * (scalp - image)
    air = np.full(plane.shape, AIR, dtype=np.float32)
    if head.holder:
        bowl = np.abs(plane.outside - 9) < 2.0
        air[bowl & (plane.y > 20)] = -650
    image += rise(plane.outside, 1.0) * (air - image)
    return image.astype(np.float32)


def _write_patient(folder: Path, number: int, seed: int, size: int, slices: int) -> list[tuple[str, list[int]]]:
    """Write the slices of one patient; returns each slice's name and labels in the order of the table's rows."""
    images = folder / IMAGE_FOLDERS[0]
    images.mkdir(exist_ok=True)
    hounsfield, blood = simulate(number, seed, size, slices)
    _, head, _ = _draw_patient(number, seed)
    rng = np.random.default_rng([seed, number, 1])
    series = Series(
        name=f"rsna_ich/{seed}/{number}/{size}/{slices}",
        patient_id=f"ID_{_digits(f'patient/{seed}/{number}', 8)}",
        sex=str(rng.choice(["F", "M"])),
        age=int(rng.integers(18, 96)),
        body_part="HEAD",
        description="Head phantom 5.0",
        scanner=choose_scanner(seed, number),
        windows=_WINDOWS if rng.random() < 0.7 else _WINDOWS[:1],
        window_names=_WINDOW_NAMES,
        spacing=head.field / size,
        step=(_HIGHEST - _LOWEST) / slices,
        thickness=5.0,
    )
    rows = []
    for index in range(slices):
        name = f"ID_{_digits(f'{series.name}/{index}', 9)}"
        write_slice(images / f"{name}.dcm", hounsfield[index], series, index)
        labels = [int(part.any()) for part in blood[index]]
        rows.append((name, [*labels, int(any(labels))]))
    return rows


def _write_table(folder: Path, results: list[list[tuple[str, list[int]]]], quirks: bool) -> None:
    rows = sorted(row for patient in results for row in patient)
    lines = [
        [f"{name}_{kind},{label}" for kind, label in zip((*SUBTYPES, ANY), labels, strict=True)]
        for name, labels in rows
    ]
    if quirks:
        repeated = lines[:: max(1, len(lines) // 4)][:4]
        lines += repeated
        name, labels = rows[-1]
        lines.append([f"{name}_{SUBTYPES[0]},{1 - labels[0]}"])
    table = "\n".join(["ID,Label", *(line for block in lines for line in block)])
    atomic_write_text(folder / LABELS_FILE, table + "\n")


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:count]
