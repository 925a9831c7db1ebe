"""MR to the canonical image: scaling between two percentiles of the volume or series."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydicom.dataset import Dataset

from radimagenet_monai.core.errors import ConfigurationError, IntensityError, UnreadableImageError
from radimagenet_monai.intensity.checks.modality import Policy
from radimagenet_monai.intensity.checks.plausibility import finite_questions
from radimagenet_monai.intensity.corrections.bias_field import corrected_slice, log_bias_field
from radimagenet_monai.intensity.policy import CanonicalFrame, IntensityPolicy, as_rendered, require_monochrome
from radimagenet_monai.intensity.values.grayscale import (
    header_faults,
    is_inverted,
    is_padding,
    map_stored,
    modality_transform,
    numbers,
    padding_bounds,
)
from radimagenet_monai.intensity.values.luminance import color_luminance
from radimagenet_monai.intensity.values.once import once
from radimagenet_monai.io.discovery.survey import series_files
from radimagenet_monai.io.frame_layout import frame_layout
from radimagenet_monai.io.native_image import NativeImage
from radimagenet_monai.io.reader import read_image


class MRPercentile(IntensityPolicy):
    """MR: scale intensities between two percentiles of all voxels to [0, 1] and clip the rest.

    MR values have no unit, and slices of one acquisition share one gain, so percentiles are taken over all frames of
    the volume. In a file of several volumes (4-D: echoes, phases, b-values), this is the volume that contains the
    frame. For a single-frame DICOM file it is the series, whose readable files are read once per process and again if
    one of them changes. Values first pass the modality LUT (scanners rescale frames unequally); MONOCHROME1 is
    inverted. Background air is included, so the result does not depend on a foreground rule that could differ between
    scanners; pixel padding and values that are not finite are excluded and become black. If the two percentiles
    coincide, as in an almost black volume, the smallest and largest value are used instead; a constant image becomes 0.

    Pictures are already rendered and are scaled by `radimagenet_monai.intensity.values.rendered`; 8-bit arrays, such as
    MRNet's, are scaled by their percentiles.

    Parameters
    ----------
    allow_modality_mismatch
        See `IntensityPolicy`.
    lower, upper
        Percentiles mapped to 0 and 1, linearly interpolated between ranks as in `numpy.percentile`.
    scope
        ``"volume"``: all frames, or the series; ``"slice"``: only the frame.
    bias_correction
        ``"n4"``: first divide out the bias field of the volume or series
        (`radimagenet_monai.intensity.corrections.bias_field`); takes seconds to a minute per volume.

    Raises
    ------
    IntensityError
        For another modality, a color image, or, with bias correction, slices of a series that differ in size.
    UnreadableImageError
        See `IntensityPolicy`.
    """

    policy: ClassVar[Policy] = "MR"

    def __init__(
        self,
        lower: float = 1.0,
        upper: float = 99.0,
        scope: Literal["volume", "slice"] = "volume",
        bias_correction: Literal["n4"] | None = None,
        allow_modality_mismatch: bool = False,
    ) -> None:
        super().__init__(allow_modality_mismatch)
        if not 0 <= lower < upper <= 100:
            raise ConfigurationError(f"percentiles {lower} and {upper} were given; 0 <= lower < upper <= 100 must hold")
        if scope not in ("volume", "slice"):
            raise ConfigurationError(f"unknown scope {scope!r} of MR percentiles: choose volume or slice")
        if bias_correction not in (None, "n4"):
            raise ConfigurationError(f"unknown bias correction {bias_correction!r}: choose n4 or null")
        self.lower = lower
        self.upper = upper
        self.scope = scope
        self.bias_correction = bias_correction

    def canonical(self, image: NativeImage, frame: int) -> CanonicalFrame:
        if image.source == "picture" or (image.is_color and image.source != "dicom"):
            return as_rendered(image, frame, "MR as rendered in the file")
        header = image.headers[frame] if image.source == "dicom" else Dataset()
        if image.source == "dicom" and not require_monochrome(image, header, self.allow_modality_mismatch):
            luminance = color_luminance(image.pixels[frame], header)
            return CanonicalFrame(luminance[np.newaxis], "MR as rendered in the file")
        scaled = self._scaled(image, frame, header)
        words = f"MR percentiles {self.lower:g} to {self.upper:g} of the {self.scope}"
        questions = once(image, ("finite",), lambda: tuple(finite_questions(image)))
        return CanonicalFrame(scaled[np.newaxis], words + (", N4" if self.bias_correction else ""), None, questions)

    def _scaled(self, image: NativeImage, frame: int, header: Dataset) -> np.ndarray:
        stored = image.pixels[frame]
        inverted, bounds = is_inverted(header), padding_bounds(header)

        def clipped(values: np.ndarray) -> np.ndarray:
            shown = np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)
            return 1 - shown if inverted and high > low else shown

        if self.bias_correction is None:
            low, high = self._range(image, frame)
            modality = modality_transform(header)
            return map_stored(
                stored, lambda values: np.where(is_padding(values, bounds), 0.0, clipped(modality(values)))
            )
        field, place = self._field(image, frame)
        low, high = field.low, field.high
        corrected = corrected_slice(_native(stored, header), field.log_field[place], field.least)
        blank = is_padding(stored, bounds) | ~np.isfinite(stored)
        return np.where(blank, 0.0, clipped(corrected)).astype(np.float32)

    def _range(self, image: NativeImage, frame: int) -> tuple[float, float]:
        if self.scope == "slice":
            return _percentiles([_distinct(image, frame)], self.lower, self.upper)
        stamps = _series(image)
        if stamps:
            return _series_range(stamps, self.lower, self.upper)

        frames = _volume_of(image, frame)

        def compute() -> tuple[float, float]:
            return _percentiles([_distinct(image, number) for number in frames], self.lower, self.upper)

        return once(image, ("range", self.lower, self.upper, frames), compute)

    def _field(self, image: NativeImage, frame: int) -> tuple[BiasField, int]:
        """The bias field of the frame's volume, and the index of the frame in it."""
        if self.scope == "slice":
            return _estimate([_native(image.pixels[frame], _header(image, frame))], self.lower, self.upper), 0
        stamps = _series(image)
        if stamps:
            field, places = _series_field(stamps, self.lower, self.upper)
            return field, places[os.path.realpath(image.path)]

        frames = _volume_of(image, frame)

        def compute() -> BiasField:
            volume = [_native(image.pixels[number], _header(image, number)) for number in frames]
            return _estimate(volume, self.lower, self.upper)

        return once(image, ("field", self.lower, self.upper, frames), compute), frames.index(frame)


@dataclass(frozen=True)
class BiasField:
    """The bias field of a volume and the percentiles of the corrected volume."""

    log_field: np.ndarray
    least: float
    low: float
    high: float


#: Path, modification time and size of a file, so that statistics are recomputed when a file of the series changes.
_Stamp = tuple[str, int, int]


def _volume_of(image: NativeImage, frame: int) -> tuple[int, ...]:
    """The frames of the volume that contains a frame; all frames if the file has no volumes or mixes them."""
    if image.source == "dicom" and image.volumes == 1 and len(image) > 1:
        volumes = _frame_volumes(image)
        return next((volume for volume in volumes if frame in volume), tuple(range(len(image))))
    length = len(image) // image.volumes
    first = frame // length * length
    return tuple(range(first, first + length))


def _frame_volumes(image: NativeImage) -> tuple[tuple[int, ...], ...]:
    """The volumes of a multi-frame object, which may be interleaved: frame 0 of each, then frame 1, ..."""

    def compute() -> tuple[tuple[int, ...], ...]:
        whole = (tuple(range(len(image))),)
        if not Path(image.path).is_file():
            return whole  # a series, whose volumes are consecutive
        found = frame_layout(image.path, image.plane or "acquired").volumes
        return tuple(map(tuple, found)) if sum(map(len, found)) == len(image) else whole

    return once(image, ("volumes",), compute)


def _series(image: NativeImage) -> tuple[_Stamp, ...]:
    """The files of the series of a single-frame DICOM file; empty for any other image."""
    if image.source != "dicom" or len(image) > 1:
        return ()
    files = series_files(image.path)
    if len(files) == 1:
        return ()
    stamps = []
    for file in files:
        try:
            status = Path(file).stat()
        except OSError as error:
            raise UnreadableImageError(file, "open", error) from error
        stamps.append((file, status.st_mtime_ns, status.st_size))
    return tuple(stamps)


@lru_cache(maxsize=1024)
def _series_range(stamps: tuple[_Stamp, ...], lower: float, upper: float) -> tuple[float, float]:
    parts = [_distinct(image, frame) for _, image in _readable(stamps) for frame in range(len(image))]
    return _percentiles(parts, lower, upper)


@lru_cache(maxsize=8)
def _series_field(stamps: tuple[_Stamp, ...], lower: float, upper: float) -> tuple[BiasField, dict[str, int]]:
    """The bias field of a series, and the index of each file's slice in it."""
    slices: list[tuple[float, int, str, np.ndarray]] = []
    for file, image in _readable(stamps):
        for frame in range(len(image)):
            header = _header(image, frame)
            slices.append((_position(header), len(slices), file, _native(image.pixels[frame], header)))
        if slices[-1][-1].shape != slices[0][-1].shape:
            raise IntensityError(
                f"{file}: a slice of {slices[-1][-1].shape} in a series of {slices[0][-1].shape} was given, slices of "
                "one size were expected for a bias field; use scope 'slice' or no bias correction"
            )
    slices.sort(key=lambda piece: piece[:2])
    places = {os.path.realpath(file): place for place, (_, _, file, _) in enumerate(slices)}
    return _estimate([values for *_, values in slices], lower, upper), places


def _readable(stamps: tuple[_Stamp, ...]) -> Iterator[tuple[str, NativeImage]]:
    """The monochrome images of a series; damaged files are skipped and reported when they are read themselves."""
    for file, _, _ in stamps:
        try:
            image = read_image(file)
            with header_faults(file):
                modality_transform(image.headers[0])
                padding_bounds(image.headers[0])
        except UnreadableImageError:
            continue
        if not image.is_color:
            yield file, image


def _position(header: Dataset) -> float:
    """Position of a slice along the normal of its plane, in mm; 0 if the header does not state it."""
    orientation, position = numbers(header, "ImageOrientationPatient"), numbers(header, "ImagePositionPatient")
    if len(orientation) != 6 or len(position) != 3:
        return 0.0
    return float(np.cross(orientation[:3], orientation[3:]) @ np.array(position))


def _estimate(volume: Sequence[np.ndarray], lower: float, upper: float) -> BiasField:
    stack = np.stack(volume)
    finite = np.isfinite(stack)
    least = float(stack[finite].min()) if finite.any() else 0.0
    log_field = log_bias_field(np.where(finite, stack, least))
    corrected = np.stack([corrected_slice(*pair, least) for pair in zip(stack, log_field, strict=True)])
    low, high = _percentiles([_counted(corrected[finite])], lower, upper)
    return BiasField(log_field, least, low, high)


def _header(image: NativeImage, frame: int) -> Dataset:
    return image.headers[frame] if image.source == "dicom" else Dataset()


def _native(stored: np.ndarray, header: Dataset) -> np.ndarray:
    """One frame's values after the modality LUT, float32, NaN for padding."""
    values = map_stored(stored, modality_transform(header))
    return np.where(is_padding(stored, padding_bounds(header)) | ~np.isfinite(stored), np.nan, values)


def _distinct(image: NativeImage, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values of a frame after the modality LUT, without padding, and their counts."""
    stored, header = image.pixels[frame], _header(image, frame)
    if stored.ndim != 2:
        raise IntensityError(f"{image.path}: a color slice was given in a series of MR, monochrome was expected")
    values, counts = _counted(stored[np.isfinite(stored)] if stored.dtype.kind == "f" else stored.ravel())
    kept = ~is_padding(values, padding_bounds(header))
    return modality_transform(header)(values[kept]), counts[kept]


def _counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values as float64, and their counts; integers are counted without sorting."""
    if values.dtype.kind in "iu" and values.size:
        low = int(values.min())
        span = int(values.max()) - low
        if span < 2**20:
            counts = np.bincount(np.subtract(values, low, dtype=np.int64), minlength=1)
            present = np.flatnonzero(counts)
            return (present + low).astype(np.float64), counts[present]
    distinct, counts = np.unique(values, return_counts=True)
    return distinct.astype(np.float64), counts


def _percentiles(parts: Sequence[tuple[np.ndarray, np.ndarray]], lower: float, upper: float) -> tuple[float, float]:
    """Two percentiles of counted values, equal to `numpy.percentile` of the expanded values.

    (0, 0) if there are no values; the extremes if the percentiles coincide.
    """
    values, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not values.size:
        return 0.0, 0.0
    order = np.argsort(values)
    values, last_rank = values[order], np.cumsum(counts[order]) - 1
    low, high = (_at_rank(values, last_rank, percent / 100 * last_rank[-1]) for percent in (lower, upper))
    return (low, high) if high > low else (float(values[0]), float(values[-1]))


def _at_rank(values: np.ndarray, last_rank: np.ndarray, rank: float) -> float:
    below = int(np.floor(rank))
    first, second = (float(values[np.searchsorted(last_rank, place)]) for place in (below, int(np.ceil(rank))))
    return first + (second - first) * (rank - below)
