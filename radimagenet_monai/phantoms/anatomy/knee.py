"""A synthetic three-dimensional knee MRI, with or without a torn cruciate ligament or meniscus.

The volumes are phantoms: no patient was imaged, and nothing measured on them says anything about patients.

The knee is a model of ellipsoids and bands in knee coordinates, -1 ... 1: ``x`` from front to back, ``y`` downward,
``z`` from one side to the other; a left knee is the mirror image of a right one. A series samples it on slices in one
plane, so the three planes of an exam show the same knee. Contrast is that of a fat-suppressed proton-density sequence:
fluid is bright; cortex, ligaments and menisci are dark. Values vary between exams with the coil gain; noise is Rician.

- The anterior cruciate ligament runs through the notch between the condyles as a dark band; when torn, it is swollen,
  bright and interrupted.
- Each meniscus is a ring, open toward the middle, with a wedge-shaped cross-section; a tear is a bright line through
  the posterior horn of one of them, up to its surface.
- Effusion, bone bruises and thin cartilage are more frequent with tears, but also occur without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

Plane = Literal["axial", "coronal", "sagittal"]

_HALF_FIELD = 0.94  # half of the field of view, in knee coordinates
_DEPTH = {"sagittal": 0.80, "coronal": 0.60, "axial": 0.75}  # farthest slice from the middle
_R3 = np.array([0.8191725133961645, 0.6710436067037893, 0.5497004779019703])
_STREAM = {"sagittal": 1, "coronal": 2, "axial": 3}
_GRAY = {
    "fat": 0.36, "muscle": 0.27, "marrow": 0.33, "cortex": 0.06, "cartilage": 0.62, "fluid": 0.95, "ligament": 0.10,
    "meniscus": 0.07, "vessel": 0.80,
}  # fmt: skip


@dataclass(frozen=True)
class Knee:
    """One exam: the findings of the knee, and its individual appearance."""

    seed: int
    number: int
    acl_tear: bool
    meniscal_tear: bool
    other_finding: bool

    @property
    def is_abnormal(self) -> bool:
        return self.acl_tear or self.meniscal_tear or self.other_finding


def draw_knee(seed: int, number: int) -> Knee:
    """The exam ``number`` (from 0): 35 % have a torn cruciate ligament and, independently, 45 % a torn meniscus.

    These proportions also hold for few exams, since the thresholds are compared with a low-discrepancy sequence
    (Roberts' R3) instead of random numbers.
    """
    start = np.random.default_rng([seed]).random(3)
    shares = (start + (number + 1) * _R3) % 1
    return Knee(seed, number, *(bool(share < part) for share, part in zip(shares, (0.35, 0.45, 0.4), strict=True)))


def image_knee(knee: Knee, plane: Plane = "sagittal", size: int = 256) -> np.ndarray:
    """Compute one series of an exam.

    Parameters
    ----------
    knee
        Result of `draw_knee`.
    plane
        Sagittal images have anterior on the left and superior at the top, coronal ones superior at the top, axial ones
        anterior at the top.
    size
        Rows and columns in pixels.

    Returns
    -------
    numpy.ndarray
        ``(slices, size, size)`` float32 from 0 to about 1.2; 12 to 20 slices, from side to side, front to back, or top
        to bottom.
    """
    anatomy = np.random.default_rng([knee.seed, knee.number, 0])
    series = np.random.default_rng([knee.seed, knee.number, _STREAM[plane]])
    slices = int(series.integers(12, 21))
    space = _Space(anatomy, series, plane, slices, size)
    _paint(anatomy, space, knee)
    grid = series.standard_normal((3, 3), dtype=np.float32)
    gain = np.exp(0.14 * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC))
    sigma = float(series.uniform(0.015, 0.04))
    real = space.volume * gain + sigma * series.standard_normal(space.shape, dtype=np.float32)
    return np.hypot(real, sigma * series.standard_normal(space.shape, dtype=np.float32)).astype(np.float32)


class _Space:
    """A series being drawn: its voxels, their knee coordinates, and shapes in these coordinates."""

    def __init__(
        self, anatomy: np.random.Generator, series: np.random.Generator, plane: Plane, slices: int, size: int
    ) -> None:
        side = 1 if anatomy.random() < 0.5 else -1
        stretch = np.exp(anatomy.normal(0, 0.05, 3))
        tilt, turn = anatomy.normal(0, 0.06, 2)
        at = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1) * np.float32(_HALF_FIELD)
        depth = np.linspace(-1, 1, slices, dtype=np.float32) * np.float32(_DEPTH[plane])
        through = depth[:, None, None]
        down = at[None, :, None] - np.float32(series.normal(0, 0.04))
        across = at[None, None, :] - np.float32(series.normal(0, 0.04))
        if plane == "sagittal":
            x, y, z = across, down, through
        elif plane == "coronal":
            x, y, z = through, down, across
        else:
            x, y, z = down, through, across
        shape = (slices, size, size)
        warp = [0.02 * _smooth_volume(series, shape) for _ in range(2)]
        x, y, z = (np.broadcast_to(values, shape) for values in (x, y, z))
        self.x = ((x + tilt * y) / stretch[0] + warp[0]).astype(np.float32)
        self.y = ((y - tilt * x + turn * z) / stretch[1] + warp[1]).astype(np.float32)
        self.z = (side * z / stretch[2]).astype(np.float32)
        self.edge = 2 * _HALF_FIELD / size
        self.shape = shape
        self.volume = np.zeros(shape, np.float32)

    def paint(self, coverage: np.ndarray, value: float | np.ndarray) -> None:
        self.volume += coverage * (value - self.volume)

    def ellipsoid(self, center: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        """Coverage 0 ... 1 of each voxel."""
        (x, y, z), (a, b, c) = (np.asarray(values, np.float32) for values in (center, radii))
        distance = np.sqrt(((self.x - x) / a) ** 2 + ((self.y - y) / b) ** 2 + ((self.z - z) / c) ** 2)
        return self.inside((1 - distance) * min(a, b))

    def band(self, start: tuple[float, float, float], end: tuple[float, float, float], radius: float) -> np.ndarray:
        """Coverage of a straight band."""
        return self.inside(radius - self.along(start, end)[1])

    def along(
        self, start: tuple[float, float, float], end: tuple[float, float, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Position 0 ... 1 along a line, and distance from it."""
        origin, way = np.asarray(start, np.float32), np.asarray(end, np.float32) - np.asarray(start, np.float32)
        offset = (self.x - origin[0], self.y - origin[1], self.z - origin[2])
        place = sum(part * step for part, step in zip(offset, way, strict=True)) / np.float32((way**2).sum())
        place = np.clip(place, 0, 1)
        squared = sum((part - place * step) ** 2 for part, step in zip(offset, way, strict=True))
        return place, np.sqrt(squared)

    def inside(self, depth: np.ndarray, edge: float = 0.0) -> np.ndarray:
        """Coverage of the region where ``depth`` below a surface is positive, with an edge of at least one pixel."""
        return np.clip(depth / np.float32(max(edge, self.edge)) + 0.5, 0, 1)


def _smooth_volume(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """Smooth noise of about unit variance that changes slowly from slice to slice."""
    first, last = (rng.standard_normal((5, 5), dtype=np.float32) for _ in range(2))
    ends = [cv2.resize(grid, shape[:0:-1], interpolation=cv2.INTER_CUBIC) for grid in (first, last)]
    mix = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None, None]
    return (1 - mix) * ends[0] + mix * ends[1]


def _bones(rng: np.random.Generator) -> Iterator[tuple[tuple[float, float, float], tuple[float, float, float]]]:
    """Center and radii of each ellipsoid."""
    parts = (
        ((-0.10, -0.92, 0.0), (0.25, 0.64, 0.31)),  # shaft of the femur
        ((-0.26, -0.42, 0.0), (0.24, 0.26, 0.46)),  # trochlea
        ((-0.02, -0.28, -0.40), (0.42, 0.33, 0.33)),  # condyles
        ((-0.02, -0.28, 0.40), (0.42, 0.33, 0.33)),
        ((0.00, 0.36, 0.0), (0.46, 0.20, 0.80)),  # plateau of the tibia
        ((-0.04, 0.20, 0.0), (0.12, 0.08, 0.12)),
        ((-0.05, 0.95, 0.0), (0.28, 0.68, 0.40)),
        ((-0.68, -0.30, 0.0), (0.10, 0.20, 0.30)),  # patella
        ((0.44, 0.85, 0.62), (0.10, 0.50, 0.10)),  # fibula
    )
    for center, radii in parts:
        moved = np.asarray(center) + rng.normal(0, 0.012, 3)
        grown = np.asarray(radii) * np.exp(rng.normal(0, 0.03, 3))
        yield tuple(moved.tolist()), tuple(grown.tolist())


def _paint(rng: np.random.Generator, space: _Space, knee: Knee) -> None:
    gray = {tissue: value * float(np.exp(rng.normal(0, 0.10))) for tissue, value in _GRAY.items()}

    leg = space.inside((1 - np.sqrt((space.x / 0.88) ** 2 + (space.z / 0.98) ** 2)) * np.float32(0.88))
    space.paint(leg, gray["fat"] + 0.03 * _smooth_volume(rng, space.shape))
    for side in (-0.36, 0.36):
        space.paint(space.ellipsoid((0.52, -0.75, side), (0.22, 0.60, 0.32)), gray["muscle"])
        space.paint(space.ellipsoid((0.55, 0.80, side), (0.22, 0.52, 0.30)), gray["muscle"])
    space.paint(space.ellipsoid((-0.52, -0.95, 0.0), (0.14, 0.45, 0.50)), gray["muscle"])
    space.paint(space.band((0.62, -1.2, 0.08), (0.58, 1.2, 0.02), 0.06), gray["vessel"])

    effusion = rng.uniform(0.5, 1.0) if rng.random() < (0.65 if knee.is_abnormal else 0.25) else rng.uniform(0.0, 0.3)
    if effusion > 0.1:
        space.paint(space.ellipsoid((-0.50, -0.62, 0.0), (0.05 + 0.12 * effusion, 0.28, 0.55)), gray["fluid"])
    space.paint(space.ellipsoid((0.0, 0.05, 0.0), (0.42, 0.16 + 0.06 * effusion, 0.74)), 0.55 * gray["fluid"])
    bones = list(_bones(rng))
    for center, radii in bones[1:5]:
        thicker = tuple(radius + 0.05 for radius in radii)
        space.paint(space.ellipsoid(center, (thicker[0], thicker[1], thicker[2])), gray["cartilage"])
    for center, radii in bones:
        space.paint(space.ellipsoid(center, radii), gray["cortex"])
    marrow = gray["marrow"] + 0.035 * _smooth_volume(rng, space.shape)
    interior = np.zeros(space.shape, np.float32)
    for center, radii in bones:
        inner = (radii[0] - 0.03, radii[1] - 0.03, radii[2] - 0.03)
        coverage = space.ellipsoid(center, inner)
        interior = np.maximum(interior, coverage)
    space.paint(interior, marrow)
    # The notch with the cruciate ligaments.
    space.paint(space.ellipsoid((0.10, -0.12, 0.0), (0.33, 0.28, 0.22)), 0.95 * gray["fat"])

    space.paint(space.band((-0.66, -1.1, 0.0), (-0.70, -0.48, 0.0), 0.035), gray["ligament"])  # quadriceps tendon
    space.paint(space.band((-0.70, -0.12, 0.0), (-0.46, 0.42, 0.0), 0.035), gray["ligament"])  # patellar tendon
    for side in (-0.84, 0.84):
        space.paint(
            space.band((0.0, -0.5, side), (0.02, 0.6, 0.92 * side), 0.028), gray["ligament"]
        )  # collateral ligaments
    space.paint(
        space.band((0.02, -0.16, -0.10), (0.22, 0.00, -0.06), 0.045), gray["ligament"]
    )  # posterior cruciate ligament
    space.paint(space.band((0.22, 0.00, -0.06), (0.34, 0.26, 0.0), 0.045), gray["ligament"])
    # Separate random streams, so that a tear changes nothing else.
    _paint_acl(np.random.default_rng([knee.seed, knee.number, 4]), space, knee.acl_tear, gray)
    _paint_menisci(np.random.default_rng([knee.seed, knee.number, 5]), space, knee.meniscal_tear, gray)

    bruises = rng.random() < (0.75 if knee.acl_tear else 0.30 if knee.is_abnormal else 0.10)
    for _ in range(2 if bruises else 0):
        place = (float(rng.uniform(-0.25, 0.25)), float(rng.choice((-0.25, 0.38))), float(rng.uniform(-0.5, 0.5)))
        spread = float(rng.uniform(0.10, 0.2))
        away = (space.x - place[0]) ** 2 + (space.y - place[1]) ** 2 + (space.z - place[2]) ** 2
        space.paint(interior * 0.8 * np.exp(-away / np.float32(spread**2)), 0.8 * gray["fluid"])
    if knee.other_finding and rng.random() < 0.5:  # a popliteal cyst
        space.paint(space.ellipsoid((0.66, 0.15, -0.30), (0.12, 0.25, 0.18)), gray["fluid"])
    space.volume *= np.maximum(leg, 0.02)


def _paint_acl(rng: np.random.Generator, space: _Space, torn: bool, gray: dict[str, float]) -> None:
    start, end = (0.18, -0.22, 0.08), (-0.14, 0.17, 0.0)
    place, distance = space.along(start, end)
    if not torn:
        fibers = 0.05 * _smooth_volume(rng, space.shape)
        space.paint(space.inside(0.07 - distance), gray["ligament"] + 0.04 + fibers)
        return
    middle, gap = rng.uniform(0.3, 0.7), rng.uniform(0.12, 0.3)
    swelling = np.float32(rng.uniform(0.15, 0.22)) * np.exp(-(((place - np.float32(middle)) / 0.35) ** 2))
    frayed = 1 + 0.35 * _smooth_volume(rng, space.shape)
    space.paint(space.inside(swelling * frayed - distance, 0.05), rng.uniform(0.75, 0.95) * gray["fluid"])
    stumps = space.inside(np.abs(place - np.float32(middle)) - np.float32(gap), 0.06)
    space.paint(stumps * space.inside(0.05 - distance), gray["ligament"] + 0.15)


def _paint_menisci(rng: np.random.Generator, space: _Space, torn: bool, gray: dict[str, float]) -> None:
    torn_side = rng.choice((-1, 1), p=(0.65, 0.35)) if torn else 0  # the medial meniscus tears more often
    height = 0.09
    for side in (-1, 1):
        across = space.z - np.float32(0.38 * side)
        ring = np.sqrt((space.x / np.float32(0.36)) ** 2 + (across / np.float32(0.36)) ** 2)
        thickness = np.float32(0.11) * (ring - np.float32(0.45)) / np.float32(0.6)
        below = np.minimum(
            thickness - np.abs(space.y - np.float32(height)), (np.float32(1.05) - ring) * np.float32(0.36)
        )
        meniscus = space.inside(below) * space.inside(side * space.z - np.float32(0.06))
        space.paint(meniscus, gray["meniscus"])
        if side == torn_side:
            angle = np.arctan2(across, space.x)  # 0 is the posterior horn
            extent = space.inside(
                np.float32(rng.uniform(0.9, 1.4)) - np.abs(angle - np.float32(rng.normal(0, 0.2))), 0.2
            )
            for _ in range(int(rng.integers(1, 3))):
                slope, offset = rng.choice((-1, 1)) * rng.uniform(0.10, 0.28), rng.normal(0, 0.012)
                line = space.y - np.float32(height + offset) - np.float32(slope) * (ring - np.float32(0.8))
                width = np.float32(max(rng.uniform(0.02, 0.032), 0.6 * space.edge))
                space.paint(meniscus * extent * space.inside(width - np.abs(line)), gray["fluid"])
            beside = np.exp(-(((ring - np.float32(1.15)) / 0.12) ** 2) - ((space.y - np.float32(height)) / 0.10) ** 2)
            space.paint(0.8 * beside * extent, gray["fluid"])  # the capsule behind it is edematous
