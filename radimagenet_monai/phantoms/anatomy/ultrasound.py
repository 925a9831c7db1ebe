"""Synthetic B-mode ultrasound: the physics shared by the phantoms of breast and thyroid.

Model of the image, in millimeters of depth and width under a linear probe:

- Fully developed speckle: circular complex Gaussian scatterers blurred by a point spread function that is finer along
  the beam than across it, so the envelope is Rayleigh distributed (Wagner et al., IEEE Trans. Sonics Ultrason. 1983);
  K distributed in a heterogeneous mass. A few looks are compounded.
- Attenuation along the beam, with time-gain compensation set for normal tissue, so that shadows and enhancement behind
  a mass follow from its attenuation.
- Log compression to a dynamic range as chosen by operators.

Tissue is described by three maps of the size of the image: echo level in dB, attenuation in excess of normal tissue in
dB/mm, and the amplitude of specular reflectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIMULATED_SIDE = 256
"""Smaller pictures are computed at least this large and reduced, as speckle needs the pixels."""

_ANGLES = 720
_BRIGHTEST_DB = 8.0  # echo level shown as white


@dataclass(frozen=True)
class View:
    """The scanned field: ``depth`` millimeters over ``rows`` pixels, square pixels."""

    rows: int
    columns: int
    depth: float

    @property
    def pixels_per_mm(self) -> float:
        return self.rows / self.depth

    @property
    def width(self) -> float:
        return self.columns / self.pixels_per_mm

    def smooth(self, rng: np.random.Generator, axial: float, lateral: float) -> np.ndarray:
        """Smooth unit-variance noise ``(rows, columns)`` with details of ``axial`` and ``lateral`` mm."""
        grid = (max(2, round(self.depth / axial)) + 1, max(2, round(self.width / lateral)) + 1)
        coarse = rng.standard_normal(grid, dtype=np.float32)
        return cv2.resize(coarse, (self.columns, self.rows), interpolation=cv2.INTER_CUBIC)

    def profile(self, rng: np.random.Generator, lateral: float) -> np.ndarray:
        """Smooth unit-variance noise ``(1, columns)`` across the beam, with details of ``lateral`` mm."""
        coarse = rng.standard_normal((1, max(2, round(self.width / lateral)) + 1), dtype=np.float32)
        return cv2.resize(coarse, (self.columns, 1), interpolation=cv2.INTER_CUBIC)


@dataclass(frozen=True)
class Mass:
    """A lesion: an ellipse with a margin, and its echogenicity and attenuation."""

    depth: float  # depth of the center, mm
    lateral: float
    half_height: float
    half_width: float
    tilt: float  # radians
    radius: np.ndarray  # (_ANGLES,) margin relative to the ellipse
    edge: float  # mm over which the margin fades
    echo: float  # dB
    texture: float  # dB of slow variation inside
    clumping: float  # 1 / shape of the K distribution; 0 is Rayleigh
    excess: float  # attenuation in excess of normal tissue, dB/mm, both ways
    halo: float  # dB of the echogenic rim outside
    capsule: float  # strength of the specular lines where the beam meets the margin
    edge_shadow: float  # dB behind the lateral margins
    calcifications: int


def draw_margin(rng: np.random.Generator, shape: float, margin: float) -> np.ndarray:
    """``(_ANGLES,)`` factors on the ellipse's radius: gentle lobes, irregularity, microlobulation, spicules."""
    angle = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False)
    radius = np.ones(_ANGLES)
    for order in range(2, 6):
        height = rng.normal(0, 0.022 + 0.11 * shape) / np.sqrt(order - 1)
        radius += height * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    for _ in range(6):
        order = int(rng.integers(7, 16))
        radius += rng.normal(0, 0.03 * margin) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    if rng.random() < margin:
        for _ in range(rng.integers(3, 10)):
            away = np.angle(np.exp(1j * (angle - rng.uniform(0, 2 * np.pi))))
            radius += rng.uniform(0.05, 0.4) * margin * np.exp(-np.abs(away) / rng.uniform(0.03, 0.14))
    return np.clip(radius, 0.55, 1.9).astype(np.float32)


def add_mass(
    rng: np.random.Generator, view: View, mass: Mass, echo: np.ndarray, excess: np.ndarray, specular: np.ndarray
) -> np.ndarray:
    """Add a mass to the tissue maps, in place.

    Parameters
    ----------
    rng, view, mass
        Random generator, field and lesion.
    echo, excess, specular
        ``(rows, columns)`` float32 maps, see the module; changed in place.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` bool, the mask as a reader would trace it.
    """
    down = (np.arange(view.rows, dtype=np.float32)[:, None] + 0.5) / view.pixels_per_mm - mass.depth
    across = (np.arange(view.columns, dtype=np.float32)[None] + 0.5) / view.pixels_per_mm - mass.lateral
    cosine, sine = np.float32(np.cos(mass.tilt)), np.float32(np.sin(mass.tilt))
    x = (across * cosine + down * sine) / np.float32(mass.half_width)
    y = (down * cosine - across * sine) / np.float32(mass.half_height)
    distance, angle = cv2.cartToPolar(x, y)
    bin_of = (angle * np.float32(_ANGLES / (2 * np.pi))).astype(np.int32) % _ANGLES
    scale = np.float32(np.sqrt(mass.half_width * mass.half_height))
    inward = (mass.radius[bin_of] - distance) * scale  # approximate distance in mm inside the margin
    window = np.hanning(33)
    traced = np.convolve(np.pad(mass.radius, 16, mode="wrap"), window / window.sum(), mode="valid")
    mask = distance < traced.astype(np.float32)[bin_of]

    inside = np.clip(inward / np.float32(mass.edge) + 0.5, 0, 1)
    level = mass.echo + mass.texture * view.smooth(rng, 2.5, 2.5)
    if mass.clumping > 0.05:
        drawn = rng.gamma(1 / mass.clumping, mass.clumping, size=echo.shape).astype(np.float32)
        clumps = cv2.GaussianBlur(drawn, (0, 0), 0.25 * view.pixels_per_mm)
        level = level + 10 * np.log10(np.maximum(clumps, 0.05))
    rim = np.exp(-((np.minimum(inward + 0.9, 0) / 0.9) ** 2)) * (inward < 0)
    echo += mass.halo * rim
    echo += inside * (level - echo)
    excess += inside * mass.excess
    # A margin perpendicular to the beam reflects; a margin along the beam refracts.
    on_margin = np.exp(-((inward / 0.22) ** 2))
    facing = np.abs(y) / np.maximum(distance, 1e-3)
    specular += 0.3 * mass.capsule * on_margin * facing**4
    lateral_margin = on_margin * np.clip(1 - facing, 0, 1) ** 2
    excess += mass.edge_shadow / max(mass.half_height, 1.0) * lateral_margin
    for _ in range(mass.calcifications):
        row = round((mass.depth + rng.uniform(-0.6, 0.6) * mass.half_height) * view.pixels_per_mm)
        column = round((mass.lateral + rng.uniform(-0.6, 0.6) * mass.half_width) * view.pixels_per_mm)
        if 0 <= row < view.rows and 0 <= column < view.columns:
            cv2.circle(specular, (column, row), max(1, round(0.15 * view.pixels_per_mm)), 0.9, -1)
    return mask


def scan(
    rng: np.random.Generator,
    view: View,
    echo: np.ndarray,
    excess: np.ndarray,
    specular: np.ndarray,
    dynamic_range: float,
) -> np.ndarray:
    """Scan the tissue: ``(rows, columns)`` uint8 envelope, log-compressed to ``dynamic_range`` dB."""
    scale = view.pixels_per_mm
    beam = cv2.GaussianBlur(excess, (0, 0), sigmaX=0.45 * scale, sigmaY=0.2 * scale)
    loss = np.clip(np.cumsum(beam, axis=0) / scale, -12, 26)
    amplitude = 10 ** ((echo - loss) / 20)
    axial, lateral = max(0.5, 0.11 * scale), max(0.7, rng.uniform(0.2, 0.3) * scale)
    # A unit-energy point spread function preserves the mean echo power for any width.
    gain = np.float32(np.sqrt(4 * np.pi * axial * lateral))
    mirror = cv2.GaussianBlur(specular * 10 ** (-loss / 20), (0, 0), sigmaX=lateral, sigmaY=axial)
    looks = int(rng.integers(1, 5))
    power = np.zeros_like(echo)
    for _ in range(looks):
        real = cv2.GaussianBlur(
            amplitude * rng.standard_normal(echo.shape, np.float32), (0, 0), sigmaX=lateral, sigmaY=axial
        )
        imaginary = cv2.GaussianBlur(
            amplitude * rng.standard_normal(echo.shape, np.float32), (0, 0), sigmaX=lateral, sigmaY=axial
        )
        power += ((gain * real + mirror) ** 2 + (gain * imaginary) ** 2) / (2 * looks)
    noise_floor = 10 ** (rng.uniform(-58, -50) / 10)
    decibels = 10 * np.log10(power + noise_floor)
    gray = 1 + (decibels - _BRIGHTEST_DB + rng.normal(0, 3.5)) / dynamic_range
    return np.round(np.clip(gray, 0, 1) * 255).astype(np.uint8)


def reduce_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """``mask`` at a smaller ``size`` (width, height): a pixel is true if at least half of its area was."""
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
