"""Synthetic axial slices of a chest in Hounsfield units, healthy or with findings of pneumonia.

The slices are phantoms; nothing measured on them says anything about patients. Lengths are in mm, ``x`` runs to the
patient's left and ``y`` to posterior; levels run from 0 at the base of the lungs to 1 at the apex.

Anatomy: skin and fat, chest wall with ribs, spine and sternum, mediastinum with heart, aorta and airways, liver dome,
lungs with branching vessels and a density that rises toward the dependent side. Findings:

- *viral*: ground-glass opacity and fine reticulation in several patches, peripheral, posterior and basal, mostly in
  both lungs, partly consolidated.
- *bacterial*: one or two large consolidations with air bronchograms and a margin of ground glass, mostly in one lung,
  with small nodules along airways and often an effusion.

The two overlap on purpose: some cases of each kind look like the other. Emphysema, nodules, scars and dependent
atelectasis occur in everybody, so density alone decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from radimagenet_monai.phantoms.anatomy.noise import grain, rise, smooth_noise
from radimagenet_monai.phantoms.ct_dicom import AIR

Disease = Literal["none", "viral", "bacterial"]

_COMPUTED_SIDE = 192  # smaller slices are computed at this size and averaged
_LEVELS = (0.16, 0.88)
_VESSEL_GENERATIONS = 4
_TISSUE = 45.0


def simulate_chest(
    rng: np.random.Generator, disease: Disease, size: int, slices: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Compute one chest scan.

    Parameters
    ----------
    rng
        Generator for all random draws.
    disease
        The patient's disease.
    size
        Rows and columns in pixels.
    slices
        Number of slices, spread from base to apex.

    Returns
    -------
    hounsfield : numpy.ndarray
        ``(slices, size, size)`` float32 HU, from the base up.
    lesions : numpy.ndarray
        ``(slices, size, size)`` bool, true in diseased tissue.
    spacing : float
        Pixel size in millimeters.
    """
    chest = _draw_chest(rng)
    findings = [*_draw_incidental(rng), *_draw_disease(rng, disease)]
    factor = -(-_COMPUTED_SIDE // size)
    images, masks = [], []
    for level in np.linspace(*_LEVELS, slices) if slices > 1 else [0.45]:
        image, lesion = _slice(rng, chest, findings, float(level), size * factor)
        if factor > 1:
            image, lesion = (cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA) for part in (image, lesion))
        deviation = chest.noise * (0.5 + 0.5 * min(1.0, size / 256))
        images.append(image + deviation * rise(image + 950, 120) * grain(rng, image.shape, 0.7 * size / 512))
        masks.append(lesion >= 0.3)
    return np.stack(images).astype(np.float32), np.stack(masks), chest.field / size


@dataclass(frozen=True)
class _Chest:
    half_width: float
    half_depth: float
    fat: float
    turn: float
    shift: tuple[float, float]
    field: float
    heart: float
    liver: float  # level of the top of the dome
    parenchyma: float  # HU
    gradient: float  # HU from front to back
    emphysema: float
    dependent: float  # mm of atelectasis behind
    noise: float
    rib_phase: float


@dataclass(frozen=True)
class _Finding:
    kind: Literal["glass", "consolidation", "nodule", "scar", "effusion"]
    diseased: bool
    side: int
    direction: float  # radians from the lung's middle: 0 lateral, +pi/2 posterior
    reach: float  # 0 in the middle of the lung, 1 at the pleura
    radius: float
    level: float
    half_height: float
    density: float  # HU that it approaches
    amount: float = 1.0


@dataclass(frozen=True)
class _Lungs:
    x: np.ndarray
    y: np.ndarray
    mask: np.ndarray  # float32 0 or 1
    pleura: np.ndarray  # mm from the lung's surface
    pixel: float
    level: float


def _draw_chest(rng: np.random.Generator) -> _Chest:
    half_width = float(rng.uniform(150, 182))
    return _Chest(
        half_width=half_width,
        half_depth=float(half_width * rng.uniform(0.68, 0.78)),
        fat=float(rng.uniform(6, 24)),
        turn=float(rng.normal(0, 0.04)),
        shift=(float(rng.normal(0, 6)), float(rng.normal(0, 6))),
        field=float(2 * half_width * rng.uniform(1.0, 1.15)),
        heart=float(rng.normal(1.0, 0.1)),
        liver=float(rng.uniform(0.2, 0.34)),
        parenchyma=float(rng.normal(-855, 18)),
        gradient=float(rng.uniform(15, 70)),
        emphysema=float(max(0.0, rng.normal(-0.3, 0.6))),
        dependent=float(rng.uniform(0, 9)),
        noise=float(rng.uniform(12, 34)),
        rib_phase=float(rng.uniform(0, 2 * np.pi)),
    )


def _draw_incidental(rng: np.random.Generator) -> list[_Finding]:
    found = [
        _Finding(
            "nodule", False, _side(rng), rng.uniform(-np.pi, np.pi), rng.uniform(0.3, 0.95), rng.uniform(3, 9),
            rng.uniform(0.2, 0.85), 0.06, rng.uniform(0, 60),
        )
        for _ in range(int(rng.poisson(0.5)))
    ]  # fmt: skip
    if rng.random() < 0.25:
        found.append(
            _Finding(
                "scar", False, _side(rng), rng.uniform(-np.pi, np.pi), 0.9, rng.uniform(14, 30), rng.uniform(0.5, 0.9),
                0.15, -250.0, 0.8,
            )
        )  # fmt: skip
    if rng.random() < 0.08:
        found.append(_effusion(rng, False, _side(rng)))
    return found


def _draw_disease(rng: np.random.Generator, disease: Disease) -> list[_Finding]:
    if disease == "none":
        return []
    atypical = rng.random() < 0.15
    if disease == "viral":
        sides = [1, -1] if rng.random() < (0.5 if atypical else 0.88) else [_side(rng)]
        found = []
        for side in sides:
            for _ in range(int(rng.integers(2, 5 if len(sides) > 1 else 4))):
                direction = float(rng.normal(0.9, 0.8))
                solid = rng.random() < (0.45 if atypical else 0.15)
                radius = float(rng.uniform(14, 38))
                found.append(
                    _glass(rng, side, direction, float(rng.uniform(0.72, 1.0)), radius, float(rng.beta(1.6, 2.2)))
                )
                if solid:
                    found.append(
                        _consolidation(
                            rng, side, direction, float(rng.uniform(0.85, 1.0)), 0.5 * radius, found[-1].level
                        )
                    )
        return found
    if atypical:
        side = _side(rng)
        return [
            _glass(
                rng, side, rng.uniform(-np.pi, np.pi), rng.uniform(0.2, 0.9), rng.uniform(18, 36), rng.uniform(0.2, 0.8)
            )
            for _ in range(int(rng.integers(2, 4)))
        ]
    first = _side(rng)
    found = []
    for side in [first, -first] if rng.random() < 0.2 else [first]:
        level, direction = float(rng.uniform(0.2, 0.75)), float(rng.uniform(-1.2, 2.2))
        reach, radius = float(rng.uniform(0.3, 0.85)), float(rng.uniform(20, 42))
        found.append(_glass(rng, side, direction, reach, 1.35 * radius, level))
        found.append(_consolidation(rng, side, direction, reach, radius, level))
        for _ in range(int(rng.integers(0, 9))):
            found.append(
                _Finding(
                    "nodule", True, side, direction + rng.normal(0, 0.7), reach * rng.uniform(0.5, 1.2),
                    rng.uniform(1.5, 3.5), level + rng.normal(0, 0.15), 0.1, -50.0, 0.9,
                )
            )  # fmt: skip
        if rng.random() < 0.35:
            found.append(_effusion(rng, True, side))
    return found


def _side(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def _glass(
    rng: np.random.Generator, side: int, direction: float, reach: float, radius: float, level: float
) -> _Finding:
    return _Finding(
        "glass", True, side, direction, reach, radius, level, float(rng.uniform(0.25, 0.5)),
        float(rng.uniform(-560, -380)), float(rng.uniform(0.55, 0.95)),
    )  # fmt: skip


def _consolidation(
    rng: np.random.Generator, side: int, direction: float, reach: float, radius: float, level: float
) -> _Finding:
    return _Finding(
        "consolidation", True, side, direction, reach, radius, level, float(rng.uniform(0.3, 0.5)),
        float(rng.uniform(-60, 40)), 0.97,
    )  # fmt: skip


def _effusion(rng: np.random.Generator, diseased: bool, side: int) -> _Finding:
    return _Finding("effusion", diseased, side, 0.0, 1.0, float(rng.uniform(8, 28)), 0.0, rng.uniform(0.35, 0.7), 10.0)


def _slice(
    rng: np.random.Generator, chest: _Chest, findings: Sequence[_Finding], level: float, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """HU and disease (soft 0 ... 1) of one slice, without noise."""
    pixel = chest.field / side
    line = (np.arange(side, dtype=np.float32) - (side - 1) / 2) * np.float32(pixel)
    across, down = line[None, :] - np.float32(chest.shift[0]), line[:, None] - np.float32(chest.shift[1])
    cosine, sine = np.float32(np.cos(chest.turn)), np.float32(np.sin(chest.turn))
    x, y = across * cosine + down * sine, down * cosine - across * sine

    image, lungs, airways = _anatomy(rng, chest, x, y, level, pixel)
    tree = _vessels(rng, lungs)
    parenchyma = (
        chest.parenchyma
        + chest.gradient * y / chest.half_depth
        + 14 * smooth_noise(rng, x.shape, 9 / pixel)
        - 90 * chest.emphysema * rise(smooth_noise(rng, x.shape, 7 / pixel) - 1.0, 0.4)
    )
    dependent = rise(chest.dependent - lungs.pleura, 4.0) * rise(y - 0.35 * chest.half_depth, 20.0)
    parenchyma += 330 * dependent
    content = parenchyma + np.clip(tree, 0, 1) * (_TISSUE - 10 - parenchyma)
    lesion = np.zeros(x.shape, dtype=np.float32)
    for finding in findings:
        amount, density = _finding(rng, finding, lungs, tree)
        if amount is not None:
            content += amount * (density - content)
            if finding.diseased:
                lesion = np.maximum(lesion, amount)
    image += lungs.mask * (content - image)
    image += airways * (AIR + 10 - image)
    return cv2.GaussianBlur(image, (0, 0), 0.7), cv2.GaussianBlur(lesion * lungs.mask, (0, 0), 0.7)


def _anatomy(
    rng: np.random.Generator, chest: _Chest, x: np.ndarray, y: np.ndarray, level: float, pixel: float
) -> tuple[np.ndarray, _Lungs, np.ndarray]:
    """HU of everything but the lungs' content, the lungs, and the large airways."""
    outside = _outside(x, y, 0, 0, chest.half_width, chest.half_depth, 2.5)
    narrowing = float(np.sqrt(1 - (max(level - 0.4, 0.0) / 0.72) ** 2))
    wall = chest.fat + 14
    cage_width, cage_depth = (
        (chest.half_width - wall) * narrowing,
        (chest.half_depth - wall) * (0.35 + 0.65 * narrowing),
    )
    cage = _outside(x, y, 0, 4, cage_width, cage_depth, 2.3)

    image = np.full(x.shape, AIR, dtype=np.float32)
    fat = -98 + 8 * smooth_noise(rng, x.shape, 8 / pixel)
    image += rise(-outside, pixel) * (fat - image)
    image += rise(-outside - 2.0, pixel) * (fat - image)
    muscle = _TISSUE + 10 + 6 * smooth_noise(rng, x.shape, 6 / pixel)
    image += rise(12 - cage, 3.0) * (muscle - image)
    angle = np.arctan2(y - 4, x)
    ribs = rise(np.sin(9 * angle + chest.rib_phase + 14 * level) - 0.25, 0.5) * rise(3.5 - np.abs(cage - 4.5), 1.5)
    ribs *= rise(np.abs(angle + np.pi / 2) - 0.35, 0.2)
    image += ribs * (420 - image)

    inner = rise(-cage, pixel)
    mediastinum_width = 26 + 10 * (1 - level)
    central = rise(-_outside(x, y, 0, -2, mediastinum_width, cage_depth + 6, 2.0), 2.0)
    central = np.maximum(central, rise(-_outside(x, y, 0, cage_depth - 12, 24, 26, 2.0), 2.0))
    filling = -20 + 55 * rise(smooth_noise(rng, x.shape, 12 / pixel), 0.6)
    image += inner * (filling - image)
    solid = central.copy()
    swell = float(np.sqrt(max(0.0, 1 - ((level - 0.25) / 0.36) ** 2)))
    if swell > 0.1:
        size = chest.heart * swell
        heart = rise(-_outside(x, y, 22, -0.28 * cage_depth, 58 * size, 44 * size, 2.0), 2.0)
        image += heart * (_TISSUE - image)
        solid = np.maximum(solid, heart)
    for center, radius in (((20, 0.5 * cage_depth), 13), ((-6, -0.2 * cage_depth), 15 * float(level > 0.45))):
        if radius:
            aorta = rise(-_outside(x, y, *center, radius, radius, 2.0), 1.5)
            image += aorta * (_TISSUE - image)
            solid = np.maximum(solid, aorta)
    dome = chest.liver - level
    if dome > -0.02:
        reach = float(np.sqrt(np.clip((dome + 0.02) / 0.22, 0, 1)))
        liver = rise(-_outside(x, y, -0.52 * cage_width, -6, 66 * reach, 0.8 * cage_depth * reach, 2.2), 2.0) * inner
        image += liver * (58 - image)
        solid = np.maximum(solid, liver)
    mask = (rise(-cage - 3, pixel) * (1 - np.clip(solid, 0, 1)) > 0.5).astype(np.uint8)
    spine_y = cage_depth - 10
    vertebra = rise(-_outside(x, y, 0, spine_y, 19, 16, 2.4), 2.0)
    image += vertebra * (230 + 70 * smooth_noise(rng, x.shape, 4 / pixel) - image)
    image += rise(-_outside(x, y, 0, spine_y + 20, 9, 8, 2.0), 1.5) * (25 - image)
    image += rise(-_outside(x, y, 0, spine_y + 31, 4, 7, 2.0), 1.5) * (350 - image)
    image += rise(-_outside(x, y, 0, -cage_depth + 1, 20, 5, 2.4), 1.5) * (260 - image)

    airways = np.zeros(x.shape, dtype=np.float32)
    if level > 0.55:
        airways = rise(-_outside(x, y, -2, 0.18 * cage_depth, 8.5, 8.5, 2.0), 1.5)
    elif level > 0.38:
        apart = 60 * (0.55 - level) / 0.17 + 12
        for side in (1, -1):
            airways = np.maximum(airways, rise(-_outside(x, y, side * apart / 2, 0.2 * cage_depth, 6, 6, 2.0), 1.5))
    mask[airways > 0.5] = 0
    pleura = cv2.distanceTransform(mask, cv2.DIST_L2, 5) * np.float32(pixel)
    return image, _Lungs(x, y, mask.astype(np.float32), pleura, pixel, level), airways


def _outside(
    x: np.ndarray, y: np.ndarray, center_x: float, center_y: float, half_x: float, half_y: float, power: float
) -> np.ndarray:
    """Approximate distance in mm outside a superellipse."""
    dx, dy = x - np.float32(center_x), y - np.float32(center_y)
    half_x, half_y = max(half_x, 1e-3), max(half_y, 1e-3)
    radius = (np.abs(dx / half_x) ** power + np.abs(dy / half_y) ** power) ** (1 / power) + np.float32(1e-6)
    return np.sqrt(dx**2 + dy**2) * (1 - 1 / radius)


def _vessels(rng: np.random.Generator, lungs: _Lungs) -> np.ndarray:
    """Soft mask 0 ... 1 of branching vessels, drawn from the hila outward."""
    canvas = np.zeros(lungs.x.shape, dtype=np.float32)
    side = len(canvas)
    middle_x, middle_y = float(lungs.x[side // 2, side // 2]), float(lungs.y[side // 2, side // 2])

    def pixel_of(x: float, y: float) -> tuple[int, int]:
        scale = 16 / lungs.pixel
        return round((x - middle_x) * scale + side * 8), round((y - middle_y) * scale + side * 8)

    def draw(x: float, y: float, direction: float, length: float, width: float, generation: int) -> None:
        end_x, end_y = x + length * np.cos(direction), y + length * np.sin(direction)
        thickness = max(1, round(width / lungs.pixel))
        shade = min(1.0, width / (thickness * lungs.pixel))
        cv2.line(canvas, pixel_of(x, y), pixel_of(end_x, end_y), shade, thickness, cv2.LINE_AA, 4)
        if generation < _VESSEL_GENERATIONS:
            for turn in (rng.uniform(0.15, 0.6), -rng.uniform(0.15, 0.6)):
                draw(end_x, end_y, direction + turn, length * rng.uniform(0.65, 0.95), 0.72 * width, generation + 1)

    for lung in (1, -1):
        for _ in range(6):
            spread = rng.uniform(-1.35, 1.35)
            direction = spread if lung > 0 else np.pi - spread
            draw(lung * 34.0, 6.0 + rng.normal(0, 8), direction, rng.uniform(18, 28), rng.uniform(1.8, 3.4), 1)
    return cv2.GaussianBlur(canvas, (0, 0), 0.5) * lungs.mask


def _finding(
    rng: np.random.Generator, finding: _Finding, lungs: _Lungs, tree: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | float]:
    """Soft share of each pixel that a finding covers, and its HU; the share is ``None`` if the slice misses it."""
    relative = abs(lungs.level - finding.level) / finding.half_height
    if relative >= 1:
        return None, 0.0
    swell = float(np.sqrt(1 - relative**2))
    own_side = lungs.mask * rise(finding.side * lungs.x, 2.0)
    if own_side.max() == 0:
        return None, 0.0
    if finding.kind == "effusion":
        lowest = float(lungs.y[own_side > 0.5].max())
        return own_side * rise(lungs.y - lowest + finding.radius * (1 - relative), 3.0), finding.density
    x, y = _place(finding, lungs, own_side)
    dx, dy = lungs.x - np.float32(x), lungs.y - np.float32(y)
    if finding.kind == "nodule":
        return own_side * rise(finding.radius * swell - np.sqrt(dx**2 + dy**2), 2.0) * finding.amount, finding.density
    # Findings extend farther along the pleura than into the lung.
    outward = finding.direction if finding.side > 0 else np.pi - finding.direction
    radial = dx * np.cos(outward) + dy * np.sin(outward)
    along = dy * np.cos(outward) - dx * np.sin(outward)
    flat = 1.0 + 0.7 * max(0.0, finding.reach - 0.5)
    distance = np.sqrt((radial * flat) ** 2 + (along / flat) ** 2)
    ragged = finding.radius * swell * (1 + 0.3 * smooth_noise(rng, lungs.x.shape, 11 / lungs.pixel))
    if finding.kind == "scar":
        strand = np.abs(smooth_noise(rng, lungs.x.shape, 9 / lungs.pixel)) < 0.22
        return own_side * rise(ragged - distance, 6.0) * strand * finding.amount, finding.density
    if finding.kind == "glass":
        lines = np.abs(smooth_noise(rng, lungs.x.shape, 5 / lungs.pixel)) < 0.18
        haze = finding.density + 60 * smooth_noise(rng, lungs.x.shape, 8 / lungs.pixel) + 110 * lines
        return own_side * rise(ragged - distance, 11.0) * finding.amount, np.maximum(haze, tree * _TISSUE - 600)
    bronchi = rise(np.roll(tree, (3, 3), axis=(0, 1)) - 0.45, 0.3)
    solid = finding.density + 15 * smooth_noise(rng, lungs.x.shape, 6 / lungs.pixel) - 700 * bronchi
    return own_side * rise(ragged - distance, 5.0) * finding.amount, solid


def _place(finding: _Finding, lungs: _Lungs, own_side: np.ndarray) -> tuple[float, float]:
    """Center of a finding, between the middle of the lung and its surface."""
    inside = own_side > 0.5
    middle_x, middle_y = float(lungs.x[inside].mean()), float(lungs.y[inside].mean())
    outward = finding.direction if finding.side > 0 else np.pi - finding.direction
    cosine, sine = float(np.cos(outward)), float(np.sin(outward))
    dx, dy = lungs.x[inside] - middle_x, lungs.y[inside] - middle_y
    near = np.abs(dy * cosine - dx * sine) < 2 * lungs.pixel
    edge = float((dx * cosine + dy * sine)[near].max()) if near.any() else 0.0
    return middle_x + finding.reach * edge * cosine, middle_y + finding.reach * edge * sine
