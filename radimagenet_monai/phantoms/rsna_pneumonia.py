"""Synthetic chest radiographs in the on-disk format of the RSNA pneumonia challenge.

The images are phantoms: no patient was imaged, and nothing measured on them says anything about patients. They serve
tests and demonstrations that need DICOM radiographs with the challenge's tables of boxes.

The model sums the attenuation of an upright chest along the beam, in centimeters of water: trunk and shoulders, air in
the lungs, heart and great vessels, spine, ribs, clavicles, diaphragm, breasts. An opacity replaces air in a part of a
lung. The detector records the logarithm of the remaining beam, with quantum noise.

Radiographs without lung opacity are normal or show other findings: an enlarged heart, an effusion, a nodule, a band of
atelectasis, overinflation, tubes and a pacemaker. These also occur beside opacities, so a bright or busy image proves
nothing. Files have 8 or 12 bits, MONOCHROME1 or 2, with a linear or sigmoid window or without one; the file format is
unrelated to the content.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets.readers.rsna_pneumonia import (
    DATASET_FOLDER,
    DETAILS_FILE,
    FINDINGS,
    IMAGES_FOLDER,
    LABELS_FILE,
)
from radimagenet_monai.phantoms.anatomy.noise import even_share, grain, rise, smooth_noise
from radimagenet_monai.phantoms.writing import Rehearsal, write_dataset

REHEARSAL = Rehearsal(patients=400, size=128, epochs=12)

README = """These images are phantoms: computed chest radiographs, not patients.

They lie in the folder layout of the RSNA Pneumonia Detection Challenge (Shih et al., Radiology: Artificial Intelligence
2019;1(1):e180041) and hold no image of it. They are meant for tests and demonstrations of software. Nothing measured on
them says anything about patients.

Written by radimagenet_monai.phantoms.rsna_pneumonia with seed {seed}: {patients} radiographs of {size} x {size} pixels.
"""

Box = tuple[int, int, int, int]
"""``x, y, width, height`` in pixels from the upper left corner."""

_COMPUTED_SIDE = 192  # smaller images are computed at this size and averaged
_FIELD = 400.0  # mm
_SHARES = (0.3, 0.65, 1.0)  # cumulative, by finding; the challenge's shares are 0.33, 0.44 and 0.23
_OTHER_FINDINGS = ("heart", "effusion", "nodule", "band", "inflation", "devices")
_ATTENUATION = 0.2  # per cm of water at the energies of a chest radiograph
_BOX_SHARE = 0.4  # fraction of an opacity's strength at which its box ends


def write_rsna_pneumonia_phantom(
    out: str | os.PathLike[str],
    patients: int = 300,
    seed: int = 0,
    size: int = 256,
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Write the challenge's training folder and tables with synthetic radiographs.

    Each radiograph depends only on ``seed``, ``size`` and its number: a larger set contains the smaller one, and
    the number of worker processes does not matter.

    Parameters
    ----------
    out
        Folder that receives ``rsna-pneumonia-detection-challenge`` and a ``README.txt`` that says what the images are.
    patients
        Number of patients, one radiograph each: 30 % normal, 35 % not normal without opacity, 35 % with opacity.
    seed
        Seed for all random draws.
    size
        Rows and columns in pixels; the challenge's are 1024.
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
    if patients < 3 or size < 32:
        raise ConfigurationError(
            f"patients {patients} and size {size} were given; expected 3 patients and 32 pixels or more"
        )
    return write_dataset(
        out,
        DATASET_FOLDER,
        range(1, patients + 1),
        partial(_write_patient, seed=seed, size=size),
        README.format(seed=seed, patients=patients, size=size),
        _write_tables,
        workers=workers,
        progress=progress,
    )


def simulate(number: int, seed: int = 0, size: int = 256) -> tuple[np.ndarray, np.ndarray, str]:
    """Compute one radiograph.

    Parameters
    ----------
    number
        Number of the patient, from 1.
    seed, size
        See `write_rsna_pneumonia_phantom`.

    Returns
    -------
    image : numpy.ndarray
        ``(size, size)`` float32 in [0, 1], 1 where most of the beam is absorbed.
    opacities : numpy.ndarray
        ``(n, size, size)`` float32, strength of each opacity from 0 to 1.
    finding : str
        One of `radimagenet_monai.datasets.readers.rsna_pneumonia.FINDINGS`.
    """
    rng, chest, finding = _draw_patient(number, seed)
    factor = -(-_COMPUTED_SIDE // size)
    thickness, opacities = _project(rng, chest, size * factor)
    if factor > 1:
        thickness = cv2.resize(thickness, (size, size), interpolation=cv2.INTER_AREA)
        opacities = [cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA) for part in opacities]
    image = _detected(rng, chest, thickness)
    return image, np.stack(opacities) if opacities else np.zeros((0, size, size), np.float32), finding


def opacity_box(opacity: np.ndarray) -> Box | None:
    """The box that a reader would draw around an opacity of `simulate`; ``None`` if nothing of it is visible."""
    rows, columns = np.nonzero(opacity > _BOX_SHARE * max(float(opacity.max()), 0.25))
    if not rows.size:
        return None
    x, y = int(columns.min()), int(rows.min())
    return x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y


@dataclass(frozen=True)
class _Chest:
    width: float
    thickness: float  # cm
    inflation: float  # 1 is a full breath
    heart: float
    turn: float
    shift: tuple[float, float]
    breasts: float
    anterior: bool  # AP: the patient sits or lies in front of the detector
    bones: float
    noise: float
    black: float  # percentiles of the body shown as black and white
    white: float
    gamma: float
    opacities: int
    others: frozenset[str]


@dataclass(frozen=True)
class _View:
    """Coordinates in mm: ``x`` to the patient's left (the viewer's right), ``y`` downward."""

    x: np.ndarray
    y: np.ndarray
    pixel: float

    @property
    def side(self) -> int:
        return len(self.x)

    def pixel_of(self, x: float, y: float) -> tuple[int, int]:
        """Pixel position for cv2's drawing functions, with 4 fractional bits."""
        middle = self.side // 2
        scale = 16 / self.pixel
        return (
            round((x - float(self.x[middle, middle])) * scale) + middle * 16,
            round((y - float(self.y[middle, middle])) * scale) + middle * 16,
        )

    def ellipse(
        self, x: float, y: float, half_x: float, half_y: float, turn: float = 0.0, edge: float = 3.0
    ) -> np.ndarray:
        dx, dy = self.x - np.float32(x), self.y - np.float32(y)
        cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        radius = np.sqrt(((dx * cosine + dy * sine) / half_x) ** 2 + ((dy * cosine - dx * sine) / half_y) ** 2)
        return rise((1 - radius) * min(half_x, half_y), edge)


def _draw_patient(number: int, seed: int) -> tuple[np.random.Generator, _Chest, str]:
    share = even_share(seed, number)
    finding = next(name for name, limit in zip(FINDINGS, _SHARES, strict=True) if share < limit)
    rng = np.random.default_rng([seed, number])
    return rng, _draw_chest(rng, finding), finding


def _draw_chest(rng: np.random.Generator, finding: str) -> _Chest:
    others: frozenset[str] = frozenset()
    chance = {FINDINGS[0]: 0.0, FINDINGS[1]: 1.0, FINDINGS[2]: 0.45}[finding]
    if rng.random() < chance:
        count = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
        others = frozenset(str(name) for name in rng.choice(_OTHER_FINDINGS, size=count, replace=False))
    return _Chest(
        width=float(rng.normal(1.0, 0.05)),
        thickness=float(rng.uniform(17, 25)),
        inflation=float(rng.normal(1.16 if "inflation" in others else 1.0, 0.05)),
        heart=float(rng.normal(1.28 if "heart" in others else 1.0, 0.06)),
        turn=float(rng.normal(0, 0.02)),
        shift=(float(rng.normal(0, 8)), float(rng.normal(0, 10))),
        breasts=float(rng.uniform(0.5, 2.0)) if rng.random() < 0.45 else 0.0,
        anterior=bool(rng.random() < 0.4),
        bones=float(rng.uniform(0.7, 1.2)),
        noise=float(rng.uniform(0.004, 0.014)),
        black=float(rng.uniform(0.2, 3)),
        white=float(rng.uniform(98.5, 99.9)),
        gamma=float(rng.uniform(0.75, 1.25)),
        opacities=int(rng.choice([1, 2, 3, 4], p=[0.46, 0.42, 0.09, 0.03])) if finding == FINDINGS[2] else 0,
        others=others,
    )


def _project(rng: np.random.Generator, chest: _Chest, side: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Centimeters of water along the beam, and the opacities."""
    pixel = _FIELD / side
    line = (np.arange(side, dtype=np.float32) - (side - 1) / 2) * np.float32(pixel)
    across, down = line[None, :] - np.float32(chest.shift[0]), line[:, None] - np.float32(chest.shift[1])
    cosine, sine = np.float32(np.cos(chest.turn)), np.float32(np.sin(chest.turn))
    view = _View((across * cosine + down * sine) / np.float32(chest.width), down * cosine - across * sine, pixel)
    x, y = view.x, view.y

    shoulder = np.clip((y + 195) / 75, 0, 1)
    half = 62 + 128 * np.sqrt(shoulder) - 18 * np.clip((y + 60) / 120, 0, 1)
    body = chest.thickness * np.sqrt(np.clip(1 - (np.abs(x) / half) ** 4, 0, 1))
    body *= 0.72 + 0.28 * np.clip((y + 190) / 110, 0, 1)
    air, lungs = _lungs(chest, view)
    heart = view.ellipse(24, 52, 60 * chest.heart, 52 * (0.6 + 0.4 * chest.heart), 0.55, 6)
    heart = np.maximum(heart, view.ellipse(-12, 42, 34 * (0.5 + 0.5 * chest.heart), 56, 0, 6))
    aorta = np.maximum(view.ellipse(30, -52, 17, 18, 0, 4), view.ellipse(26, -10, 10, 60, 0.05, 4))
    air *= 1 - np.maximum(0.72 * heart, 0.5 * aorta)

    opacities = _opacities(rng, chest, view, air, lungs)
    filled = np.zeros_like(air)
    for opacity in opacities:
        filled = np.maximum(filled, opacity)
    filled = np.maximum(filled, _other_findings(rng, chest, view, air, lungs))
    tree = _vessels(rng, view) * np.clip(air / 8, 0, 1)
    thickness = body - 0.74 * air * (1 - filled) + 0.9 * tree
    thickness += 0.35 * smooth_noise(rng, x.shape, 16 / pixel) * np.clip(body / 10, 0, 1)
    thickness -= 1.6 * view.ellipse(0, -130, 7.5, 78, 0, 3)
    thickness += _bones(chest, view) * np.clip(body / 6, 0, 1)
    if chest.breasts:
        for place in (-88, 88):
            thickness += chest.breasts * view.ellipse(place, 72, 56, 48, 0, 22) * np.clip(body / 10, 0, 1)
    if "devices" in chest.others:
        thickness += _devices(rng, view)
    return np.maximum(thickness, 0).astype(np.float32), opacities


def _lungs(chest: _Chest, view: _View) -> tuple[np.ndarray, np.ndarray]:
    """Centimeters of lung along the beam, and the lungs as soft masks: right, left."""
    x, y = np.abs(view.x), view.y
    depths, masks = [], []
    for side, dome in ((-1, 80.0), (1, 92.0)):
        bottom = dome * chest.inflation - (14 if chest.anterior else 0)
        top = -148.0
        height = np.clip((y - top) / (bottom + 60 - top), 0, 1)
        outer = 58 + 94 * height**0.5
        inner = 11 + 12 * height
        diaphragm = bottom + 46 * ((x - 68) / 68) ** 2
        apex = top + 0.014 * (x - 55) ** 2
        edge = np.minimum.reduce([outer - x, x - inner, diaphragm - y, y - apex])
        mask = rise(edge, 3.0) * (np.sign(view.x) == side)
        distance = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5) * np.float32(view.pixel)
        depths.append(0.74 * chest.thickness * (1 - np.exp(-distance / 24)) * mask)
        masks.append(mask)
    return np.maximum(*depths).astype(np.float32), np.stack(masks).astype(np.float32)


def _opacities(
    rng: np.random.Generator, chest: _Chest, view: _View, air: np.ndarray, lungs: np.ndarray
) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    shape = (view.side, view.side)
    both = rng.permutation(2)
    for index in range(chest.opacities):
        lung = lungs[both[index % 2]]
        # Lower and middle zones are affected more often than upper ones.
        chance = ((lung > 0.8) & (air > 0.45 * air.max())) * np.clip((view.y + 190) / 220, 0.1, 1.0)
        pick = int(np.searchsorted(np.cumsum(chance.ravel()), rng.random() * chance.sum()))
        row, column = divmod(min(pick, chance.size - 1), view.side)
        center_x, center_y = float(view.x[row, column]), float(view.y[row, column])
        half_x, half_y = float(rng.uniform(18, 38)), float(rng.uniform(24, 56))
        blob = np.zeros(shape, dtype=np.float32)
        for _ in range(int(rng.integers(3, 7))):
            lump_x, lump_y = center_x + rng.normal(0, 0.45) * half_x, center_y + rng.normal(0, 0.45) * half_y
            away = ((view.x - lump_x) / (0.8 * half_x)) ** 2 + ((view.y - lump_y) / (0.8 * half_y)) ** 2
            blob += np.exp(-away).astype(np.float32)
        strength = 0.34 + 0.6 * float(rng.beta(1.8, 1.6))
        ragged = 1 + 0.3 * smooth_noise(rng, shape, 14 / view.pixel)
        mottle = 1 - 0.2 * rise(np.abs(smooth_noise(rng, shape, 10 / view.pixel)) - 0.8, 0.8)
        found.append(strength * np.clip(blob / blob.max() * 1.5 * ragged - 0.15, 0, 1) * mottle * lung)
    return found


def _other_findings(
    rng: np.random.Generator, chest: _Chest, view: _View, air: np.ndarray, lungs: np.ndarray
) -> np.ndarray:
    """Fraction of the air replaced by findings other than opacities."""
    filled = np.zeros(view.x.shape, dtype=np.float32)
    side = int(rng.integers(2))
    outward = -1 if side == 0 else 1
    if "effusion" in chest.others:
        lowest = float(view.y[lungs[side] > 0.5].max())
        level = lowest - rng.uniform(16, 60)
        # Meniscus sign: higher along the lateral wall.
        surface = level + 40 * np.exp(-np.clip(150 - np.abs(view.x), 0, None) / 25) * -0.6
        filled = np.maximum(filled, 0.92 * rise(view.y - surface, 7.0) * lungs[side])
    if "nodule" in chest.others:
        inside = np.flatnonzero((lungs[1 - side] > 0.9).ravel() & (air > 0.5 * air.max()).ravel())
        row, column = divmod(int(inside[int(rng.integers(len(inside)))]), view.side)
        radius = float(rng.uniform(5, 14))
        nodule = view.ellipse(float(view.x[row, column]), float(view.y[row, column]), radius, radius, 0, 3)
        filled = np.maximum(filled, 0.3 * nodule)
    if "band" in chest.others:
        x, y = outward * rng.uniform(55, 90), rng.uniform(20, 70)
        band = view.ellipse(x, y, rng.uniform(25, 45), rng.uniform(2.0, 4.0), rng.normal(0, 0.25), 2)
        filled = np.maximum(filled, 0.35 * band * lungs[side])
    return filled


def _vessels(rng: np.random.Generator, view: _View) -> np.ndarray:
    """Soft mask 0 ... 1 of branching vessels, drawn from the hila outward."""
    canvas = np.zeros(view.x.shape, dtype=np.float32)

    def draw(x: float, y: float, direction: float, length: float, width: float, generation: int) -> None:
        end_x, end_y = x + length * np.cos(direction), y + length * np.sin(direction)
        pixels = max(1, round(width / view.pixel))
        shade = min(1.0, width / (pixels * view.pixel)) * (1 - 0.15 * generation)
        cv2.line(canvas, view.pixel_of(x, y), view.pixel_of(end_x, end_y), shade, pixels, cv2.LINE_AA, 4)
        if generation < 4:
            for turn in (rng.uniform(0.1, 0.55), -rng.uniform(0.1, 0.55)):
                draw(end_x, end_y, direction + turn, length * rng.uniform(0.65, 0.95), 0.7 * width, generation + 1)

    for side in (-1, 1):
        for _ in range(7):
            spread = rng.uniform(-1.2, 1.4)
            direction = spread if side > 0 else np.pi - spread
            draw(side * 34.0, -8 + rng.normal(0, 12), direction, rng.uniform(22, 34), rng.uniform(3.5, 7), 1)
    return cv2.GaussianBlur(canvas, (0, 0), max(0.5, 1.0 / view.pixel))


def _bones(chest: _Chest, view: _View) -> np.ndarray:
    """Water equivalent of spine, ribs and clavicles in cm."""
    x, y = np.abs(view.x), view.y
    discs = 1 - 0.25 * (np.cos(2 * np.pi * y / 24) > 0.75)
    bones = 2.0 * rise(17 - x, 4.0) * discs
    for number in range(10):
        start = -156 + 24.5 * number * (0.9 + 0.1 * chest.inflation)
        reach = np.clip((x - 18) / (62 + 9.5 * min(number, 8)), 0, 1.2)
        posterior = start - 12 * np.sin(np.pi * np.clip(reach, 0, 1)) + (8 + 3 * number) * reach**1.5
        bones += 0.55 * _rib(y - posterior, 4.2) * rise(x - 17, 3.0) * rise(1.08 - reach, 0.12)
        anterior = start + 64 - 0.42 * (x - 40)
        bones += 0.3 * _rib(y - anterior, 5.0) * rise(x - 52, 22.0) * rise(1.05 - reach, 0.12) * float(number < 7)
    slope = -128 - 12 * np.sin((x - 20) / 40) - 0.06 * x
    bones += 0.9 * _rib(y - slope, 6.0) * rise(x - 14, 4.0) * rise(150 - x, 8.0)
    bones += 0.9 * view.ellipse(-152, -95, 26, 62, 0.25, 6) + 0.9 * view.ellipse(152, -95, 26, 62, -0.25, 6)
    return chest.bones * bones


def _rib(distance: np.ndarray, half: float) -> np.ndarray:
    """Profile of a bone with a dense cortex, 0 ... 1.3."""
    within = rise(half - np.abs(distance), 1.5)
    return within * (1 + 0.3 * np.exp(-(((np.abs(distance) - half + 1) / 1.2) ** 2)))


def _devices(rng: np.random.Generator, view: _View) -> np.ndarray:
    canvas = np.zeros(view.x.shape, dtype=np.float32)
    if rng.random() < 0.35:
        x, y = 95.0 + rng.normal(0, 6), -70.0 + rng.normal(0, 8)
        canvas = np.maximum(canvas, 5.0 * view.ellipse(x, y, 22, 17, rng.normal(0, 0.3), 2))
        path = [(x, y), (60.0, -110.0), (10.0, -85.0), (-8.0, 0.0), (15.0, 70.0)]
        _draw_tube(canvas, view, path, 1.2, 1.6)
    for _ in range(int(rng.integers(1, 4))):
        x = float(rng.uniform(-70, 70))
        path = [(x, -200.0), (x + rng.normal(0, 30), -60.0), (x + rng.normal(0, 40), float(rng.uniform(-20, 160)))]
        _draw_tube(canvas, view, path, float(rng.uniform(1.5, 3.5)), float(rng.uniform(0.8, 2.0)))
    return canvas


def _draw_tube(
    canvas: np.ndarray, view: _View, path: Sequence[tuple[float, float]], width: float, strength: float
) -> None:
    points = np.array([view.pixel_of(x, y) for x, y in path], dtype=np.int32)
    pixels = max(1, round(width / view.pixel))
    drawn = np.zeros_like(canvas)
    cv2.polylines(drawn, [points], False, min(1.0, width / (pixels * view.pixel)), pixels, cv2.LINE_AA, 4)
    np.maximum(canvas, strength * drawn, out=canvas)


def _detected(rng: np.random.Generator, chest: _Chest, thickness: np.ndarray) -> np.ndarray:
    """The logarithm of the remaining beam, with scatter and quantum noise, scaled to 0 ... 1."""
    transmitted = np.exp(-_ATTENUATION * thickness)
    # Air beside the patient is collimated away before it scatters; a grid holds back most of the rest.
    scatter = 0.15 * cv2.GaussianBlur(np.minimum(transmitted, 0.3), (0, 0), 0.08 * len(thickness))
    signal = transmitted + scatter
    quanta = 1 / np.sqrt(np.maximum(signal, 1e-3))
    recorded = -np.log(signal) + chest.noise * quanta * grain(rng, thickness.shape, 0.6 * len(thickness) / 512)
    body = recorded[thickness > 4]
    low, high = np.percentile(body if body.size else recorded, (chest.black, chest.white))
    shown = np.clip((recorded - low) / np.float32(max(high - low, 1e-3)), 0, 1)
    return (shown ** np.float32(chest.gamma)).astype(np.float32)


def _write_patient(folder: Path, number: int, seed: int, size: int) -> tuple[str, str, list[Box]]:
    """Write one radiograph; returns patientId, finding and boxes."""
    images = folder / IMAGES_FOLDER
    images.mkdir(exist_ok=True)
    image, opacities, finding = simulate(number, seed, size)
    digest = hashlib.sha256(f"rsna_pneumonia/{seed}/{number}/{size}".encode()).hexdigest()
    identity = str(uuid.UUID(digest[:32]))
    _, chest, _ = _draw_patient(number, seed)
    look = np.random.default_rng([seed, number, 1])
    _write_dicom(images / f"{identity}.dcm", image, identity, look, "AP" if chest.anterior else "PA")
    boxes = [box for opacity in opacities if (box := opacity_box(opacity)) is not None]
    return identity, finding, boxes


def _write_dicom(path: Path, image: np.ndarray, identity: str, rng: np.random.Generator, view: str) -> None:
    bits = 8 if rng.random() < 0.4 else 12
    largest = 2**bits - 1
    inverted = rng.random() < 0.35
    windowing = str(rng.choice(["none", "linear", "sigmoid"], p=[0.5, 0.3, 0.2]))
    # With a window the image fills only a part of the stored range.
    low, high = (0.0, float(largest)) if windowing == "none" else (0.15 * largest, 0.85 * largest)
    values = low + image * (high - low)
    stored = np.rint(largest - values if inverted else values)
    uid = generate_uid(entropy_srcs=[identity, "image"])
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.SOPClassUID = ComputedRadiographyImageStorage
    dataset.SOPInstanceUID = uid
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.Modality = "CR"
    dataset.Manufacturer = "Phantom"
    dataset.SeriesDescription = f"view: {view}"
    dataset.PatientName = identity
    dataset.PatientID = identity
    dataset.PatientBirthDate = ""
    dataset.PatientSex = str(rng.choice(["F", "M"]))
    dataset.PatientAge = f"{int(rng.integers(18, 92)):03d}Y"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = view
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[identity, "study"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[identity, "series"])
    dataset.StudyID = ""
    dataset.SeriesNumber = "1"
    dataset.InstanceNumber = "1"
    dataset.PatientOrientation = ["L", "F"]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    dataset.Rows, dataset.Columns = image.shape
    dataset.PixelSpacing = [f"{_FIELD / len(image):.6f}"] * 2
    dataset.BitsAllocated = 8 if bits == 8 else 16
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
    if windowing != "none":
        dataset.WindowCenter, dataset.WindowWidth = f"{largest / 2:g}", f"{0.7 * largest:.6g}"
        if windowing == "sigmoid":
            dataset.VOILUTFunction = "SIGMOID"
    dataset.PixelData = stored.astype("u1" if bits == 8 else "<u2").tobytes()
    if bits == 8 and stored.size % 2:
        dataset.PixelData += b"\0"
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    dataset.save_as(path, enforce_file_format=True)


def _write_tables(folder: Path, results: list[tuple[str, str, list[Box]]]) -> None:
    labels = ["patientId,x,y,width,height,Target"]
    details = ["patientId,class"]
    for identity, finding, boxes in sorted(results):
        if finding != FINDINGS[2]:
            labels.append(f"{identity},,,,,0")
        labels += [f"{identity},{','.join(f'{number:.1f}' for number in box)},1" for box in boxes]
        details += [f"{identity},{finding}"] * max(1, len(boxes))
    atomic_write_text(folder / LABELS_FILE, "\n".join(labels) + "\n")
    atomic_write_text(folder / DETAILS_FILE, "\n".join(details) + "\n")
