"""Synthetic CT, MR and ultrasound pictures of 165 classes in the on-disk layout of RadImageNet.

The pictures are phantoms: no patient was imaged, and nothing measured on them says anything about patients. They serve
tests and demonstrations of pretraining: region, modality and finding must be recognized from outlines, textures and
small lesions at certain places, so that the learned features are useful elsewhere.

Model of an image:

- The body region is a drawing of ellipses in anatomical coordinates, filled with tissues. Size, position, rotation and
  a smooth deformation differ between images.
- The class is a certain kind of finding at a certain site of the drawing: a liver lesion, a torn band, fluid, stones,
  metal streaks. Size, position and contrast vary, so that no single pixel decides.
- CT has fixed tissue values and fine noise; MR has tissue values that differ between images, a smooth coil gain and
  Rician noise; ultrasound has speckle on echo levels in decibels, attenuation, shadows and a sector.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from radimagenet_monai.catalog.labels import LABELS, RadImageNetLabel
from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.radimagenet import DATASET_FOLDER, class_folder
from radimagenet_monai.phantoms.anatomy.body_regions import FINDINGS, SITES, VIEW_OF_REGION, VIEWS, Shape
from radimagenet_monai.phantoms.writing import Rehearsal, write_dataset

REHEARSAL = Rehearsal(patients=165 * 12, size=80, epochs=5)

README = """These images are phantoms: computed pictures in the style of CT, MR and ultrasound, not patients.

They lie in the folder layout of RadImageNet (Mei et al., Radiology: Artificial Intelligence 2022;4(5):e210315) and
hold no image of it. They are meant for tests and demonstrations of software. Nothing measured on them says anything
about patients.

Written by radimagenet_monai.phantoms.radimagenet with seed {seed}: {images} images of {size} x {size} pixels.
"""

TABLES = {"train": "RadiologyAI_train.csv", "val": "RadiologyAI_val.csv", "test": "RadiologyAI_test.csv"}
SPLIT_CYCLE = ("train", "val", "test", "train", "train", "train", "train", "test", "train", "train")
"""Split of the images of a class by number: of any three or more, each split has one."""

_FEWEST = 3  # images of a class, one per split


def write_radimagenet_phantom(
    out: str | os.PathLike[str],
    patients: int = 20 * len(LABELS),
    seed: int = 0,
    size: int = 224,
    imbalance: float = 1.0,
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write ``radiology_ai`` with synthetic images of all 165 classes, and the three CSV files beside it.

    Each image depends only on ``seed``, ``size``, its class and its number: a larger set contains the smaller one, with
    each image in the same split, and the number of worker processes does not matter.

    Parameters
    ----------
    out
        Folder to write to.
    patients
        Total number of images, each of a different patient. They are distributed over the classes, at least 3 to each,
        so that every class is in every split; if that takes more images, more are written.
    seed
        Seed for all random draws.
    size
        Rows and columns of an image in pixels.
    imbalance
        Ratio of the number of images in the largest class to that in the smallest. Classes without a finding are the
        largest, as in RadImageNet; the others follow a geometric series.
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
    if patients < 1 or size < 32 or not 1 <= imbalance < 10**4:
        raise ConfigurationError(
            f"patients {patients}, size {size} and imbalance {imbalance} were given; expected at least 1, 32 and 1"
        )
    counts = images_per_class(patients, imbalance)
    jobs = [(index, number) for index, count in enumerate(counts) for number in range(count)]
    readme = README.format(seed=seed, images=len(jobs), size=size)
    write = partial(_write_image, seed=seed, size=size)
    folder = write_dataset(out, DATASET_FOLDER, jobs, write, readme, workers=workers, progress=progress)
    for part, table in TABLES.items():
        rows = [_row(LABELS[index], number) for index, number in jobs if SPLIT_CYCLE[number % 10] == part]
        atomic_write_text(folder / table, "\n".join(["filename,label", *rows, ""]))
    return folder


def images_per_class(images: int, imbalance: float = 1.0) -> list[int]:
    """Number of images for each class of `LABELS`, see `write_radimagenet_phantom`."""
    order = sorted(range(len(LABELS)), key=lambda index: (LABELS[index].class_name != "normal", index))
    weights = np.empty(len(LABELS))
    weights[order] = imbalance ** -np.linspace(0, 1, len(LABELS))
    return [max(_FEWEST, round(images * weight)) for weight in weights / weights.sum()]


def simulate(label: RadImageNetLabel, number: int, seed: int = 0, size: int = 224) -> np.ndarray:
    """Compute one image.

    Parameters
    ----------
    label
        Class of the image.
    number
        Number of the image among those of its class, from 0.
    seed, size
        See `write_radimagenet_phantom`.

    Returns
    -------
    numpy.ndarray
        ``(size, size)`` uint8.
    """
    rng = np.random.default_rng([seed, LABELS.index(label), number])
    site, kind = FINDINGS[label.key]
    return _SCANNERS[label.modality](rng, size, _view_of(rng, label, site), site, kind)


def image_name(label: RadImageNetLabel, number: int) -> str:
    """File name of an image in the style of RadImageNet, such as ``lung000012.png``; unique within a region."""
    group = [other for other in LABELS if _stem(other) == _stem(label)]
    return f"{_stem(label)}{number * len(group) + group.index(label):06d}.png"


def _stem(label: RadImageNetLabel) -> str:
    if label.key == "CT_abd_normal":
        return "abd-normal"
    return "usn" if label.modality == "US" else {"af": "foot"}.get(label.region_code, label.region_code)


def _row(label: RadImageNetLabel, number: int) -> str:
    path = f"{DATASET_FOLDER}/{class_folder(label)}/{image_name(label, number)}"
    return f"{path},{label.region_code}-{label.class_name}"


def _write_image(folder: Path, job: tuple[int, int], seed: int, size: int) -> None:
    index, number = job
    label = LABELS[index]
    place = folder / class_folder(label)
    place.mkdir(parents=True, exist_ok=True)
    Image.fromarray(simulate(label, number, seed, size)).save(place / image_name(label, number), compress_level=3)


def _view_of(rng: np.random.Generator, label: RadImageNetLabel, site: str) -> str:
    if label.modality == "US":
        return site
    if label.region_code in VIEW_OF_REGION:
        return VIEW_OF_REGION[label.region_code]
    if site == "-":  # without a finding, either level of the trunk
        return "abdomen" if rng.random() < 0.6 else "pelvis"
    return "abdomen" if site in SITES["abdomen"] else "pelvis"


@dataclass(frozen=True)
class _Gray:
    """Gray levels of findings; ``implant_void`` distinguishes an implant in MR from one in CT."""

    lesion: float
    fluid: float
    lipoma: float
    tube: float
    stone: float
    implant_void: bool


class _Drawing:
    """An image being drawn, with the anatomical coordinates of its pixels."""

    def __init__(self, rng: np.random.Generator, size: int, bend: float = 0.0, still: bool = False) -> None:
        self.rng = rng
        self.size = size
        at = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
        down, across = np.meshgrid(at, at, indexing="ij")
        spread = 0.5 if still else 1.0
        angle = rng.normal(0, 0.07 * spread)
        scale_x, scale_y = np.exp(rng.normal(0, 0.07 * spread, 2)) * (1.0 if still else 1.02)
        cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
        shifted_x, shifted_y = across - rng.normal(0, 0.04), down - rng.normal(0, 0.04)
        self.x = (cosine * shifted_x + sine * shifted_y) * scale_x + 0.025 * self.smooth(4)
        self.y = (cosine * shifted_y - sine * shifted_x) * scale_y + 0.025 * self.smooth(4)
        self.x += bend * np.sin(2.2 * self.y + rng.uniform(-0.5, 0.5))
        self.pixel = 2 / size
        self.image = np.zeros((size, size), np.float32)

    def smooth(self, details: int) -> np.ndarray:
        """Smooth noise ``(size, size)`` of unit variance with ``details`` features across the image."""
        grid = self.rng.standard_normal((details + 1, details + 1), dtype=np.float32)
        return cv2.resize(grid, (self.size, self.size), interpolation=cv2.INTER_CUBIC)

    def ellipse(
        self, x: float, y: float, half_width: float, half_height: float, angle: float = 0.0, edge: float = 0.0
    ) -> np.ndarray:
        """Coverage 0 ... 1 of each pixel; ``edge`` is the distance over which the margin fades, at least a pixel."""
        turn = np.deg2rad(angle)
        cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        u = (cosine * (self.x - np.float32(x)) + sine * (self.y - np.float32(y))) / np.float32(half_width)
        v = (cosine * (self.y - np.float32(y)) - sine * (self.x - np.float32(x))) / np.float32(half_height)
        inside = (1 - cv2.magnitude(u, v)) * np.float32(min(half_width, half_height))
        return np.clip(inside / np.float32(max(edge, self.pixel)) + 0.5, 0, 1)

    def paint(self, coverage: np.ndarray, value: float | np.ndarray) -> None:
        self.image += coverage * (value - self.image)

    def find(self, kind: str, site: tuple[float, float, float], within: np.ndarray, gray: _Gray) -> None:
        """Draw a finding near a site, inside the body as given by ``within`` ``(size, size)``."""
        x, y, radius = site
        away = 0.2 * radius * self.rng.standard_normal(2)
        before = self.image.copy()
        _FINDERS[kind](self, x + away[0], y + away[1], radius * float(np.exp(self.rng.normal(0, 0.15))), gray)
        self.image = np.where(within, self.image, before)

    def draw(self, shapes: tuple[Shape, ...], values: dict[str, float]) -> None:
        for tissue, x, y, half_width, half_height, angle in shapes:
            x, y = np.array([x, y]) + 0.012 * self.rng.standard_normal(2)
            half_width, half_height = np.array([half_width, half_height]) * np.exp(self.rng.normal(0, 0.04, 2))
            coverage = self.ellipse(x, y, half_width, half_height, angle + self.rng.normal(0, 2))
            self.paint(coverage, values[tissue])


# Gray levels of tissues in a soft-tissue CT window (lung kept visible) and in a fluid-sensitive MR sequence.
_CT_VALUES = {
    "fat": 0.30, "muscle": 0.55, "organ": 0.62, "spleen": 0.66, "kidney": 0.70, "vessel": 0.74, "bowel": 0.50,
    "fluid": 0.44, "bone": 1.0, "marrow": 0.80, "lung": 0.12, "tendon": 0.60, "disc": 0.58, "gray": 0.56, "white": 0.52,
}  # fmt: skip
_MR_VALUES = {
    "fat": 0.58, "muscle": 0.32, "organ": 0.42, "spleen": 0.54, "kidney": 0.60, "vessel": 0.14, "bowel": 0.38,
    "fluid": 0.92, "bone": 0.07, "marrow": 0.50, "lung": 0.04, "tendon": 0.10, "disc": 0.66, "gray": 0.58,
    "white": 0.42,
}  # fmt: skip
_ECHO_DECIBELS = {
    "fat": -10.0, "muscle": -19.0, "organ": -15.0, "spleen": -12.0, "kidney": -21.0, "fluid": -45.0, "wall": -2.0,
    "shadow": -38.0,
}  # fmt: skip

_CT_GRAY = _Gray(lesion=0.44, fluid=0.44, lipoma=0.22, tube=0.40, stone=1.0, implant_void=False)
_CHEST_GRAY = _Gray(lesion=0.60, fluid=0.44, lipoma=0.22, tube=0.02, stone=1.0, implant_void=False)
_MR_GRAY = _Gray(lesion=0.76, fluid=0.95, lipoma=0.82, tube=0.92, stone=0.02, implant_void=True)


def _scan_ct(rng: np.random.Generator, size: int, view: str, site: str, kind: str) -> np.ndarray:
    drawing = _Drawing(rng, size)
    drawing.draw(VIEWS[view], _CT_VALUES)
    inside = drawing.image > 0.02
    drawing.image += 0.025 * drawing.smooth(14) * inside
    if kind != "none":
        in_lung = view == "chest"
        within = inside & (drawing.image < 0.35) & (np.abs(drawing.x) < 0.75) if in_lung else inside
        drawing.find(kind, SITES[view][site], within, _CHEST_GRAY if in_lung else _CT_GRAY)
    grain = cv2.GaussianBlur(rng.standard_normal((size, size), dtype=np.float32), (0, 0), 0.6)
    shown = drawing.image + rng.uniform(0.02, 0.06) * grain * (0.3 + 0.7 * inside)
    return _as_bytes((shown - rng.normal(0, 0.02)) * np.exp(rng.normal(0, 0.05)))


def _scan_mr(rng: np.random.Generator, size: int, view: str, site: str, kind: str) -> np.ndarray:
    bend = rng.uniform(0.10, 0.22) * rng.choice((-1, 1)) if kind == "bend" else rng.normal(0, 0.015)
    drawing = _Drawing(rng, size, bend)
    values = {tissue: value * float(np.exp(rng.normal(0, 0.12))) for tissue, value in _MR_VALUES.items()}
    drawing.draw(VIEWS[view], values)
    inside = drawing.image > 0.02
    drawing.image += 0.03 * drawing.smooth(18) * inside
    if kind not in ("none", "bend"):
        drawing.find(kind, SITES[view][site], inside, _MR_GRAY)
    gain = np.exp(rng.uniform(0.05, 0.25) * drawing.smooth(2))
    sigma = rng.uniform(0.015, 0.045)
    real = drawing.image * gain + sigma * rng.standard_normal((size, size), dtype=np.float32)
    return _as_bytes(np.hypot(real, sigma * rng.standard_normal((size, size), dtype=np.float32)))


def _scan_us(rng: np.random.Generator, size: int, view: str, site: str, kind: str) -> np.ndarray:
    del site, kind  # the organ is the class
    drawing = _Drawing(rng, size, still=True)
    drawing.image[:] = -20
    values = {tissue: value + float(rng.normal(0, 1.5)) for tissue, value in _ECHO_DECIBELS.items()}
    drawing.draw(VIEWS[view], values)
    if view == "thyroid_nodule":
        side = rng.choice((-1, 1))
        radius = rng.uniform(0.09, 0.17)
        place = (side * rng.normal(0.36, 0.04), rng.normal(0, 0.05))
        nodule = drawing.ellipse(*place, radius, radius * rng.uniform(0.7, 1.2))
        drawing.paint(nodule, float(rng.choice((-27.0, -32.0, -5.0))) + 2 * drawing.smooth(12))
    echo = drawing.image + 1.5 * drawing.smooth(7)
    attenuation = np.where(drawing.image < -40, -9.0, rng.uniform(1.0, 3.0))
    if view in ("fibroid", "thyroid", "thyroid_nodule"):
        attenuation += 25.0 * ((drawing.image < -36) & (view != "fibroid") & (np.abs(drawing.x) < 0.2))
        attenuation += 9.0 * drawing.ellipse(-0.18, 0.14, 0.24, 0.2) * (view == "fibroid")
    echo -= np.cumsum(attenuation, axis=0) * drawing.pixel
    amplitude = 10 ** (echo / 20)
    across, along = 0.012 * size * rng.uniform(0.8, 1.3), 0.006 * size * rng.uniform(0.8, 1.3)
    envelope = np.zeros_like(amplitude)
    for _ in range(2):
        scatter = amplitude * rng.standard_normal((size, size), dtype=np.float32)
        envelope += cv2.GaussianBlur(scatter, (0, 0), sigmaX=across, sigmaY=max(along, 0.4)) ** 2
    decibels = 10 * np.log10(envelope * (4 * np.pi * across * max(along, 0.4)) / 2 + 10**-5.2)
    gray = 1 + (decibels + rng.normal(1, 1.5)) / rng.uniform(44, 56)
    if not view.startswith("thyroid"):
        gray = np.where(_sector(size, rng.uniform(0.62, 0.85)), gray, 0)
    return _as_bytes(gray)


def _sector(size: int, half_angle: float) -> np.ndarray:
    """The field of view of a curved probe whose center lies above the image."""
    at = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    down, across = np.meshgrid(at + 1.55, at, indexing="ij")
    distance = np.hypot(down, across)
    return (np.abs(np.arctan2(across, down)) < half_angle) & (distance > 0.62) & (distance < 2.5)


def _as_bytes(gray: np.ndarray) -> np.ndarray:
    return np.round(np.clip(gray, 0, 1) * 255).astype(np.uint8)


_SCANNERS: dict[str, Callable[[np.random.Generator, int, str, str, str], np.ndarray]] = {
    "CT": _scan_ct,
    "MR": _scan_mr,
    "US": _scan_us,
}


# Each kind of finding draws itself at (x, y) with a radius.


def _draw_blob(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    rng = drawing.rng
    stretch = float(np.exp(rng.normal(0, 0.15)))
    shape = drawing.ellipse(x, y, 0.7 * radius * stretch, 0.7 * radius / stretch, rng.uniform(0, 180), 0.15 * radius)
    drawing.paint(shape, gray.lesion * rng.uniform(0.85, 1.1) + 0.06 * drawing.smooth(16))


def _draw_ring(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    angle, stretch = drawing.rng.uniform(0, 180), float(np.exp(drawing.rng.normal(0, 0.1)))
    half_width, half_height = 0.85 * radius * stretch, 0.85 * radius / stretch
    drawing.paint(drawing.ellipse(x, y, half_width, half_height, angle), 0.9)
    drawing.paint(drawing.ellipse(x, y, 0.62 * half_width, 0.62 * half_height, angle), 0.28)


def _draw_wall(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    thickness = drawing.rng.uniform(0.72, 0.82)
    drawing.paint(drawing.ellipse(x, y, radius, 0.78 * radius), 0.66)
    drawing.paint(drawing.ellipse(x, y, thickness * radius, 0.72 * thickness * radius), gray.fluid)


def _draw_haze(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    away = ((drawing.x - x) ** 2 + (drawing.y - y) ** 2) / (0.8 * radius) ** 2
    patchy = np.clip(0.75 + 0.45 * drawing.smooth(10), 0, None)
    drawing.paint(np.clip(np.exp(-away) * patchy * drawing.rng.uniform(0.8, 1.1), 0, 1), gray.lesion)


def _draw_fluid(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    angle = drawing.rng.uniform(-25, 25)
    pool = drawing.ellipse(x, y, radius, 0.6 * radius, angle)
    indented = drawing.ellipse(x, y - 0.55 * radius, 0.7 * radius, 0.45 * radius, angle)
    drawing.paint(pool * (1 - indented), gray.fluid)


def _draw_fat(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    drawing.paint(drawing.ellipse(x, y, radius, 0.7 * radius, drawing.rng.uniform(0, 180)), gray.lipoma)


def _draw_stones(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    """Calcified bodies: white in CT, without signal in MR."""
    _scatter_dots(drawing, x, y, radius, gray.stone)


def _draw_spots(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    _scatter_dots(drawing, x, y, radius, gray.fluid)


def _scatter_dots(drawing: _Drawing, x: float, y: float, radius: float, value: float) -> None:
    rng = drawing.rng
    for _ in range(int(rng.integers(4, 9))):
        away, angle = radius * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        dot = max(rng.uniform(0.12, 0.24) * min(radius, 0.14), 0.9 * drawing.pixel)
        drawing.paint(drawing.ellipse(x + away * np.cos(angle), y + away * np.sin(angle), dot, dot), value)


def _draw_line(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    rng = drawing.rng
    angle = rng.normal(35, 12)
    width = max(0.13 * radius, 0.8 * drawing.pixel)
    _draw_haze(drawing, x, y, 0.7 * radius, gray)
    drawing.paint(drawing.ellipse(x, y, 1.1 * radius, width, angle), gray.fluid if rng.random() < 0.8 else 0.05)


def _draw_band(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    """A thick, frayed and interrupted tendon or ligament."""
    rng = drawing.rng
    angle = rng.normal(60, 10)
    drawing.paint(drawing.ellipse(x, y, 1.2 * radius, 0.45 * radius, angle), 0.85 * gray.fluid)
    drawing.paint(drawing.ellipse(x, y, 1.25 * radius, 0.22 * radius, angle, 0.1 * radius), 0.16)
    gap = rng.normal(0, 0.2) * radius
    turn = np.deg2rad(angle)
    torn = drawing.ellipse(x + gap * np.cos(turn), y + gap * np.sin(turn), 0.25 * radius, 0.35 * radius, angle)
    drawing.paint(torn, 0.8 * gray.fluid)


def _draw_stripes(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    patch = drawing.ellipse(x, y, radius, radius, 0, 0.3 * radius)
    period = max(0.32 * min(radius, 0.2), 2.6 * drawing.pixel)
    wave = np.sin(2 * np.pi * (drawing.x + 0.6 * drawing.y) / period + 0.8 * drawing.smooth(6))
    drawing.image += patch * 0.30 * wave


def _draw_mottle(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    patch = drawing.ellipse(x, y, 1.1 * radius, 1.1 * radius, 0, 0.3 * radius)
    details = int(np.clip(2.4 / radius, 6, drawing.size // 4))
    drawing.image += patch * np.clip(0.28 * drawing.smooth(details), -0.35, 0.35)


def _draw_tubes(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    rng = drawing.rng
    for turn in np.array([-55.0, -20.0, 15.0, 50.0]) + rng.normal(0, 8):
        way = np.deg2rad(turn)
        middle = 0.55 * radius
        width = max(0.12 * radius, 0.7 * drawing.pixel)
        place = (x + middle * np.cos(way), y + middle * np.sin(way))
        drawing.paint(drawing.ellipse(*place, 0.75 * radius, 1.9 * width, turn), 0.72)
        drawing.paint(drawing.ellipse(*place, 0.75 * radius, width, turn), gray.tube)


def _draw_diffuse(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    organ = drawing.ellipse(x, y, 1.9 * radius, 1.7 * radius, -15, 0.25 * radius)
    drawing.paint(organ * drawing.rng.uniform(0.6, 0.95), gray.lesion)


def _draw_metal(drawing: _Drawing, x: float, y: float, radius: float, gray: _Gray) -> None:
    """An implant: streaks in CT, a void with a bright rim in MR."""
    rng = drawing.rng
    angle = np.arctan2(drawing.y - y, drawing.x - x)
    distance = np.hypot(drawing.x - x, drawing.y - y)
    rays = np.cos(int(rng.integers(4, 7)) * angle + rng.uniform(0, 2 * np.pi))
    drawing.image += 0.45 * rays * np.exp(-distance / (1.6 * radius))
    turn = rng.uniform(0, 180)
    if gray.implant_void:
        drawing.paint(drawing.ellipse(x, y, 0.75 * radius, 0.5 * radius, turn), 1.0)
        drawing.paint(drawing.ellipse(x, y, 0.6 * radius, 0.36 * radius, turn), 0.02)
    else:
        drawing.paint(drawing.ellipse(x, y, 0.5 * radius, max(0.15 * radius, drawing.pixel), turn), 1.0)


_FINDERS: dict[str, Callable[[_Drawing, float, float, float, _Gray], None]] = {
    "blob": _draw_blob,
    "ring": _draw_ring,
    "wall": _draw_wall,
    "haze": _draw_haze,
    "fluid": _draw_fluid,
    "fat": _draw_fat,
    "stones": _draw_stones,
    "spots": _draw_spots,
    "line": _draw_line,
    "band": _draw_band,
    "stripes": _draw_stripes,
    "mottle": _draw_mottle,
    "tubes": _draw_tubes,
    "diffuse": _draw_diffuse,
    "metal": _draw_metal,
}
