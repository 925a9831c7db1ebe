"""Synthetic thyroid ultrasound in the on-disk format of DDTI: one XML file per case beside its images.

The pictures are phantoms: no patient was imaged, and nothing measured on them says anything about patients. They serve
tests and demonstrations that need a dataset with the format, the texture and the kind of task of the real one.

The physics is that of `radimagenet_monai.phantoms.anatomy.ultrasound`. Under skin and subcutaneous fat lie the strap
muscles, a lobe of the thyroid in its capsule, and the longus colli muscle; across the neck also the trachea, a bright
arc with a dirty shadow, and the carotid artery, round and without echoes. As in DDTI the scan is surrounded by a black
frame with burnt-in text, a gray bar and a depth scale.

A nodule follows its TI-RADS category. A hidden degree of suspicion, whose distributions in neighboring categories
overlap, drives echogenicity, margin, orientation, calcifications and attenuation, each with independent noise: no
single feature decides, and no reader can be right every time. The XML file states the composition, echogenicity,
margins and calcifications that were drawn.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from radimagenet_monai.core.errors import ConfigurationError
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

REHEARSAL = Rehearsal(patients=320, size=(160, 240), epochs=12)

DATASET_FOLDER = "DDTI"

README = """These images are phantoms: computed thyroid ultrasound, not patients.

They lie in the file layout of DDTI (Pedraza et al., Proc. SPIE 9287 (2015) 92870W) and hold no image of it. They are
meant for tests and demonstrations of software. Nothing measured on them says anything about patients.

Written by radimagenet_monai.phantoms.ddti with seed {seed}, longer side {low} to {high} pixels, {patients} cases.
"""

_SUSPICION = {"2": -1.6, "3": -0.9, "4a": 0.5, "4b": 0.9, "4c": 1.3, "5": 1.7}
_BENIGN = ("2", "3")
_MALIGNANT = ("4a", "4b", "4c", "5")
_MALIGNANT_SHARES = (0.3, 0.3, 0.25, 0.15)
_BENIGN_EVERY = 3  # so that a handful of cases has both classes
_SEVERAL_IMAGES = (0.82, 0.16, 0.02)  # one, two and three images per case: 1.2 on average
_LARGEST_SHARE = 0.85  # of the lobe's height and width that a nodule may occupy


def write_ddti_phantom(
    out: str | os.PathLike[str],
    patients: int = 298,
    seed: int = 0,
    size: int | tuple[int, int] = (360, 560),
    workers: int = 1,
    progress: bool = True,
    oddities: bool = False,
) -> Path:
    """Write a DDTI folder of synthetic cases, about 1.2 images each, every third of them benign.

    Each case depends only on ``seed``, ``size``, ``oddities`` and its number: a larger set contains the smaller
    one, and the number of worker processes does not matter.

    Parameters
    ----------
    out
        Folder that receives ``DDTI`` and a ``README.txt`` that says what the images are.
    patients
        Number of cases.
    seed
        Seed for all random draws.
    size
        Smallest and largest length of an image's longer side in pixels, or one for both; DDTI's are mostly 560.
    workers
        Number of processes that compute images.
    progress
        Whether to show a progress bar on a terminal.
    oddities
        Write irregularities of the real files: every seventh case without a TI-RADS category, every eleventh with an
        empty ``svg``, every thirteenth with an ``svg`` truncated after its points.

    Returns
    -------
    pathlib.Path
        ``out``, the folder to prepare records from.

    Raises
    ------
    ConfigurationError
        If the numbers do not give a dataset, or ``out`` already contains such a folder.
    """
    low, high = (size, size) if isinstance(size, int) else size
    if patients < 1:
        raise ConfigurationError(f"patients {patients} was given; expected 1 or more")
    if not 64 <= low <= high:
        raise ConfigurationError(f"size {size} was given; expected (smallest, largest) longer side from 64 pixels")
    return write_dataset(
        out,
        DATASET_FOLDER,
        range(1, patients + 1),
        partial(_write_case, seed=seed, size=(low, high), oddities=oddities),
        README.format(seed=seed, low=low, high=high, patients=patients),
        workers=workers,
        progress=progress,
    )


@dataclass(frozen=True)
class ThyroidImage:
    """One frame.

    Attributes
    ----------
    pixels
        ``(rows, columns)`` uint8.
    masks
        ``(rows, columns)`` bool, one per nodule.
    outlines
        ``(n, 2)`` int32 x and y, one per nodule: the simplified edge of its mask.
    """

    pixels: np.ndarray
    masks: list[np.ndarray]
    outlines: list[np.ndarray]


@dataclass(frozen=True)
class ThyroidStudy:
    """One case: the content of its XML file, and its images."""

    facts: dict[str, str]
    images: list[ThyroidImage]


def simulate(number: int, seed: int = 0, size: tuple[int, int] = (360, 560)) -> ThyroidStudy:
    """Compute the case ``number`` (from 1); for ``seed`` and ``size`` see `write_ddti_phantom`."""
    rng = np.random.default_rng([seed, number])
    benign = number % _BENIGN_EVERY == 0
    category = str(rng.choice(_BENIGN) if benign else rng.choice(_MALIGNANT, p=_MALIGNANT_SHARES))
    nodule = _draw_nodule(rng, category)
    count = 1 + int(rng.choice(3, p=_SEVERAL_IMAGES))
    longer = int(rng.integers(size[0], size[1] + 1))
    images = [
        _simulate_image(np.random.default_rng([seed, number, image]), nodule, longer) for image in range(1, count + 1)
    ]
    facts = {
        "number": str(number),
        "age": str(int(np.clip(rng.normal(57, 16), 18, 90))) if rng.random() < 0.9 else "",
        "sex": "F" if rng.random() < 0.87 else "M",
        **nodule.words,
        "tirads": category,
    }
    return ThyroidStudy(facts, images)


@dataclass(frozen=True)
class _Nodule:
    """Properties shared by the images of one nodule; degrees 0 ... 1 say how suspicious a feature looks."""

    diameter: float  # mm
    shape: float
    margin: float
    orientation: float
    darkness: float
    calcifications: float
    shadow: float
    composition: str
    words: dict[str, str]


@dataclass(frozen=True)
class _Neck:
    """Depths of the layers in mm, ``(1, columns)`` if they vary, and the surroundings of the lobe."""

    skin: np.ndarray
    fat: np.ndarray
    strap: np.ndarray
    lobe: tuple[float, float, float, float]  # lateral and depth of the center, half width, half height
    across: bool  # a transverse section, with trachea and carotid artery
    side: int  # 1: the trachea is on the left of the picture, -1: on the right


def _draw_nodule(rng: np.random.Generator, category: str) -> _Nodule:
    suspicion = rng.normal(_SUSPICION[category], 0.25)

    def degree() -> float:
        return float(1 / (1 + np.exp(-2.2 * (suspicion + rng.normal(0, 0.5)))))

    shape, margin, orientation, darkness, calcifications, shadow = (degree() for _ in range(6))
    draw = rng.random()
    composition = "solid" if category in _MALIGNANT or draw < 0.45 else "spongiform" if draw < 0.75 else "cystic"
    diameter = float(np.clip(rng.lognormal(np.log(14), 0.28), 7, 24))
    if composition == "cystic":
        echogenicity = ""
    else:
        level = int(np.digitize(darkness, (0.12, 0.4, 0.85)))
        echogenicity = ("hyperechogenicity", "isoechogenicity", "hypoechogenicity", "marked hypoechogenicity")[level]
    words = {
        "composition": {"spongiform": "spongiform appareance"}.get(composition, composition),  # as DDTI spells it
        "echogenicity": echogenicity,
        "margins": ("well defined smooth", "ill defined", "microlobulated", "spiculated")[int(margin * 3.99)],
        "calcifications": "microcalcifications" if calcifications > 0.6 else "non",
    }
    return _Nodule(diameter, shape, margin, orientation, darkness, calcifications, shadow, composition, words)


def _simulate_image(rng: np.random.Generator, nodule: _Nodule, longer: int) -> ThyroidImage:
    rows, columns = round(longer * rng.choice((0.64, 0.64, 0.72))), longer
    height, width = round(rows * rng.uniform(0.78, 0.9)), round(columns * rng.uniform(0.6, 0.78))
    enlarged = max(1.0, SIMULATED_SIDE / width)
    view = View(round(height * enlarged), round(width * enlarged), depth=rng.uniform(30, 38))
    neck = _draw_neck(rng, view)
    echo, excess, specular = _tissue(rng, view, neck)
    masses = [_place(rng, nodule, neck)]
    if rng.random() < 0.12 and (second := _place_beside(rng, masses[0], neck)):
        masses.append(second)
    masks = [add_mass(rng, view, mass, echo, excess, specular) for mass in masses]
    pixels = scan(rng, view, echo, excess, specular, dynamic_range=rng.uniform(44, 62))
    if enlarged > 1:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        masks = [reduce_mask(mask, (width, height)) for mask in masks]
    frame = np.zeros((rows, columns), np.uint8)
    top = round((rows - height) * rng.uniform(0.45, 0.6))
    left = round((columns - width) * rng.uniform(0.35, 0.65))
    place = np.s_[top : top + height, left : left + width]
    _annotate(rng, frame, (top, left, height, width), neck)
    frame[place] = pixels
    framed = []
    for mask in masks:
        whole = np.zeros(frame.shape, bool)
        whole[place] = mask
        framed.append(whole)
    framed = [mask for mask in framed if mask.sum() > 12]
    return ThyroidImage(frame, framed, [_outline(mask) for mask in framed])


def _draw_neck(rng: np.random.Generator, view: View) -> _Neck:
    skin = rng.uniform(1.0, 1.8) + 0.1 * view.profile(rng, 12)
    fat = skin + np.clip(rng.uniform(1.0, 4.0) + 0.6 * view.profile(rng, 9), 0.5, None)
    strap = fat + np.clip(rng.uniform(2.5, 4.5) + 0.5 * view.profile(rng, 12), 1.5, None)
    across = bool(rng.random() < 0.6)
    half_height = rng.uniform(7.5, 10.0)
    half_width = rng.uniform(10.5, 13.5) if across else rng.uniform(0.42, 0.6) * view.width
    depth = float(strap.mean()) + half_height - 0.8
    side = int(rng.choice((-1, 1)))
    lateral = (0.5 + (0.03 * side if across else 0)) * view.width + rng.normal(0, 1.0)
    return _Neck(skin, fat, strap, (float(lateral), depth, float(half_width), float(half_height)), across, side)


def _tissue(rng: np.random.Generator, view: View, neck: _Neck) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Echo level (dB), attenuation beyond normal tissue (dB/mm) and specular reflectors without nodules."""
    depth = (np.arange(view.rows, dtype=np.float32)[:, None] + 0.5) / view.pixels_per_mm
    across = (np.arange(view.columns, dtype=np.float32)[None] + 0.5) / view.pixels_per_mm

    def above(boundary: np.ndarray, blur: float = 0.3) -> np.ndarray:
        return np.clip((boundary - depth) / blur + 0.5, 0, 1).astype(np.float32)

    def within(inward: np.ndarray, blur: float = 0.4) -> np.ndarray:
        return np.clip(inward / blur + 0.5, 0, 1).astype(np.float32)

    longus = rng.normal(-24, 1.5) + 4.0 * np.clip(view.smooth(rng, 0.8, 10), -0.5, None)
    deep = rng.normal(-19, 1.5) + 4.0 * view.smooth(rng, 1.5, 6)
    muscle = rng.normal(-24, 1.5) + 4.0 * np.clip(view.smooth(rng, 0.7, 16), -0.5, None)
    gland = rng.normal(-12.5, 1.5) + 0.9 * view.smooth(rng, 2.5, 2.5) + 0.8 * view.smooth(rng, 6, 8)
    fat = rng.normal(-21, 1.5) + 2.0 * view.smooth(rng, 0.8, 6)
    skin = rng.normal(-7, 1.5)

    lateral, center, half_width, half_height = neck.lobe
    radius = np.sqrt((np.abs(across - lateral) / half_width) ** 2.4 + (np.abs(depth - center) / half_height) ** 2.4)
    radius = radius + 0.05 * view.smooth(rng, 5, 6)
    inward = ((1 - radius) * min(half_height, half_width)).astype(np.float32)

    echo = longus + above(np.full((1, view.columns), center + half_height + 1.5)) * (deep - longus)
    echo += above(neck.strap) * (muscle - echo)
    echo += above(neck.fat) * (fat - echo)
    echo += within(inward) * (gland - echo)
    echo += above(neck.skin) * (skin - echo)
    specular = np.zeros_like(echo, dtype=np.float32)
    capsule = np.clip(0.7 + 0.6 * view.profile(rng, 6), 0, None)
    steep = np.abs(depth - center) / np.maximum(np.hypot(depth - center, across - lateral), 1e-3)
    specular += 0.35 * capsule * np.exp(-((inward / 0.25) ** 2)) * steep**3
    for boundary, strength in ((neck.skin, 0.5), (neck.fat, 0.3)):
        broken = np.clip(0.6 + 0.7 * view.profile(rng, 5), 0, None)
        specular += strength * broken * np.exp(-(((depth - boundary) / 0.2) ** 2))
    excess = 0.12 * view.smooth(rng, 8, 7) * (depth > neck.skin) + rng.normal(0.1, 0.12)
    if neck.across:
        trachea = lateral - neck.side * (half_width + rng.uniform(6.0, 8.0))
        artery = lateral + neck.side * (half_width + rng.uniform(2.5, 3.5))
        wall = np.hypot((across - trachea) / rng.uniform(7, 9), (depth - center - 2) / rng.uniform(7, 8.5)) - 1
        echo += within(-wall * 8) * (rng.normal(-30, 2) + 3 * view.smooth(rng, 1.0, 3) - echo)
        specular += 1.1 * np.exp(-((wall * 8 / 0.45) ** 2)) * (depth < center + 1)
        excess += 1.4 * within(-wall * 8)
        vessel = np.hypot(across - artery, depth - center - rng.uniform(-1, 2)) - rng.uniform(2.6, 3.6)
        echo += within(-vessel) * (-50 - echo)
        specular += 0.4 * np.exp(-((vessel / 0.25) ** 2))
        excess -= 0.5 * within(-vessel)
    return echo.astype(np.float32), excess.astype(np.float32), specular.astype(np.float32)


def _place(rng: np.random.Generator, nodule: _Nodule, neck: _Neck) -> Mass:
    """The nodule as shown in one section, inside the lobe."""
    lateral, center, half_width, half_height = neck.lobe
    aspect = float(np.clip(rng.normal(0.62 + 0.5 * nodule.orientation, 0.08), 0.45, 1.35))
    diameter = nodule.diameter * rng.uniform(0.92, 1.08)
    tall = min(diameter / 2 * np.sqrt(aspect), _LARGEST_SHARE * half_height)
    wide = min(diameter / 2 / np.sqrt(aspect), _LARGEST_SHARE * half_width)
    room_down, room_across = half_height - tall, min(half_width, 15.0) - wide
    shift = rng.uniform(-0.75, 0.75, size=2)
    cystic, spongy = nodule.composition == "cystic", nodule.composition == "spongiform"
    margin = 0.1 * nodule.margin if cystic else nodule.margin
    return Mass(
        depth=float(center + shift[0] * room_down),
        lateral=float(lateral + shift[1] * room_across),
        half_height=float(tall),
        half_width=float(wide),
        tilt=float(rng.normal(0, 0.15)),
        radius=draw_margin(rng, 0.3 * nodule.shape if cystic else 0.9 * nodule.shape, margin),
        edge=0.25 + (0.0 if cystic else rng.uniform(0.3, 1.4) * margin),
        echo=-46.0 if cystic else float(rng.normal(-14.5 - 12.0 * nodule.darkness - (3.0 if spongy else 0), 1.5)),
        texture=0.5 if cystic else 5.0 if spongy else 1.0 + 1.5 * nodule.darkness,
        clumping=0.0 if cystic else 0.9 if spongy else 0.5 * nodule.darkness,
        excess=-0.7 if cystic else float(rng.normal(-0.35 + 1.2 * nodule.shadow, 0.2)),
        halo=0.0 if cystic else -9.0 * (1 - margin),  # the dark halo of a benign nodule
        capsule=float(rng.uniform(0.3, 0.8)) * (1 - margin),
        edge_shadow=float(rng.uniform(0.5, 4)) * (1 - margin),
        calcifications=int(rng.poisson(7.0 * nodule.calcifications)) if nodule.calcifications > 0.6 else 0,
    )


def _place_beside(rng: np.random.Generator, first: Mass, neck: _Neck) -> Mass | None:
    """A smaller nodule of the same kind in the other half of the lobe, or ``None`` if there is no room."""
    lateral, center, half_width, half_height = neck.lobe
    half = 0.3 * min(half_width, 12.0)
    away = -1 if first.lateral > lateral else 1
    x = lateral + away * (min(half_width, 15.0) - half) * 0.85
    if abs(x - first.lateral) < 1.25 * first.half_width + half:
        return None
    return replace(
        first,
        lateral=float(x),
        depth=float(center + rng.uniform(-0.3, 0.3) * (half_height - half)),
        half_width=half,
        half_height=min(half * first.half_height / first.half_width, 0.5 * half_height),
        calcifications=0,
    )


def _annotate(rng: np.random.Generator, frame: np.ndarray, place: tuple[int, int, int, int], neck: _Neck) -> None:
    """Burn in scanner text around the scan; none of it depends on the nodule."""
    top, left, height, width = place
    rows, columns = frame.shape
    scale = max(0.2, rows / 900)

    def write(text: str, x: int, y: int) -> None:
        cv2.putText(frame, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 190, 1, cv2.LINE_AA)

    section = "TRANS" if neck.across else "LONG"
    write(f"THYROID {section} {'RT' if neck.side > 0 else 'LT'}", max(1, round(0.02 * columns)), max(6, top - 3))
    write(f"{rng.integers(7, 13)}.0MHz", max(1, round(0.01 * columns)), round(0.5 * rows))
    write(f"MI 0.{rng.integers(6, 10)}", max(1, round(0.01 * columns)), round(0.5 * rows) + max(8, round(0.05 * rows)))
    bar = max(2, round(0.015 * columns))
    right = min(columns - bar - 1, left + width + max(3, round(0.04 * columns)))
    length = round(0.5 * height)
    frame[top : top + length, right : right + bar] = np.linspace(255, 0, length).astype(np.uint8)[:, None]
    for tick in np.linspace(top, top + height - 1, 5).astype(int):
        frame[tick, left + width + 1 : left + width + 1 + max(2, bar // 2)] = 170


def _outline(mask: np.ndarray) -> np.ndarray:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max(contours, key=cv2.contourArea)
    simple = cv2.approxPolyDP(largest, max(0.5, 0.002 * max(mask.shape)), closed=True)
    return (simple if len(simple) > 2 else largest)[:, 0].astype(np.int32)


def _write_case(folder: Path, number: int, seed: int, size: tuple[int, int], oddities: bool) -> None:
    study = simulate(number, seed, size)
    facts = dict(study.facts)
    if oddities and number % 7 == 0:
        facts["tirads"] = ""
    marks = []
    for index, image in enumerate(study.images, start=1):
        Image.fromarray(image.pixels).convert("RGB").save(folder / f"{number}_{index}.jpg", quality=92)
        # In DDTI, several nodules of an image are in one mark or in separate marks.
        groups = [image.outlines] if number % 2 else [[outline] for outline in image.outlines]
        for group in groups:
            svg = _svg(group)
            if oddities and number % 11 == 0:
                svg = ""
            elif oddities and number % 13 == 0:
                svg = svg[: svg.rindex("ionType")]
            marks.append(f"<mark><image>{index}</image><svg>{svg}</svg></mark>")
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in facts.items())
    text = f'<?xml version="1.0" encoding="UTF-8" standalone="no"?><case>{fields}{"".join(marks)}</case>\n'
    (folder / f"{number}.xml").write_text(text, encoding="utf-8")


def _svg(outlines: list[np.ndarray]) -> str:
    regions = [
        {"points": [{"x": int(x), "y": int(y)} for x, y in outline], "regionType": "freehand"} for outline in outlines
    ]
    return json.dumps(regions)
