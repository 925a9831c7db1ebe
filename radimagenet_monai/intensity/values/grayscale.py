"""The DICOM grayscale pipeline on stored values: modality LUT, VOI LUT or window, polarity, padding.

Each step depends only on the stored value. An integer frame is therefore rendered through one table over the values
that it spans (`map_stored`), which is as exact as rendering each pixel and several times faster. The tests compare with
pydicom's own functions.

Standard: DICOM PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (photometric interpretation),
C.7.5.1.1.2 (pixel padding).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from pydicom.dataset import Dataset

from radimagenet_monai.core.errors import RadImageNetError, UnreadableImageError
from radimagenet_monai.intensity.checks.plausibility import NO_WINDOW, SHORT_LUT

_LUT_REACH = 0.5  # share of the largest value that its bits can represent


@contextmanager
def header_faults(path: str) -> Iterator[None]:
    """Turn any error caused by a malformed header into `UnreadableImageError` with stage ``"intensity"``.

    pydicom converts elements on first access, so a damaged one may raise almost any exception almost anywhere; the
    package's own errors pass unchanged.
    """
    try:
        yield
    except RadImageNetError:
        raise
    except Exception as error:
        raise UnreadableImageError(path, "intensity", error) from error


def map_stored(stored: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Apply ``function`` to every stored value; float32 of the same shape.

    Parameters
    ----------
    stored
        Any shape, integer or float. NaN and infinity count as padding and become 0, black.
    function
        Pointwise function from float64 to float64.

    Raises
    ------
    ValueError
        If ``function`` overflows.
    """
    if stored.size and stored.dtype.kind in "iu":
        low, high = int(stored.min()), int(stored.max())
        if high - low < stored.size:
            table = _finite(function(np.arange(low, high + 1, dtype=np.float64)))
            if stored.dtype == np.uint8:  # the most common case, five times as fast
                return cv2.LUT(stored.reshape(1, -1), np.pad(table, (low, 255 - high))).reshape(stored.shape)
            return np.take(table, np.subtract(stored, low, dtype=np.int64))
    if stored.dtype.kind != "f":
        return _finite(function(stored.astype(np.float64)))
    finite = np.isfinite(stored)
    out = _finite(function(np.where(finite, stored, 0).astype(np.float64)))
    out[~finite] = 0
    return out


def _finite(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    if not np.isfinite(narrow).all():
        raise ValueError("the numbers of the header, or the pixel values, are so large that they overflow")
    return narrow


def number(header: Dataset, keyword: str) -> float | None:
    """The single finite number in ``keyword``; ``None`` if the element is absent or empty.

    Raises
    ------
    ValueError
        If there are several values, or the value is not finite.
    """
    value = header.get(keyword)
    if value is None or value == "":
        return None
    if not isinstance(value, int | float):
        raise ValueError(f"{keyword} holds {value!r}, expected one number")
    if not math.isfinite(value):
        raise ValueError(f"{keyword} is {value}, expected a finite number")
    return float(value)


def numbers(header: Dataset, keyword: str) -> list[float]:
    """All numbers in ``keyword``; empty if the element is absent or empty."""
    value = header.get(keyword)
    if value is None or value == "":
        return []
    return [float(item) for item in ([value] if isinstance(value, int | float | str) else value)]


@dataclass(frozen=True)
class LookupTable:
    """A modality or VOI lookup table (PS3.3 C.11.1.1, C.11.2.1.1).

    Attributes
    ----------
    first
        Input value that maps to the first entry; smaller inputs do too.
    entries
        Output values, shape ``(n,)``; inputs beyond the table map to the last one.
    bits
        Bits per entry: outputs lie in ``0 .. 2**bits - 1``.
    """

    first: int
    entries: np.ndarray
    bits: int

    @property
    def largest(self) -> int:
        """The largest output that the entries' bits can represent."""
        return 2**self.bits - 1

    def __call__(self, values: np.ndarray) -> np.ndarray:
        index = np.clip(np.floor(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[index.astype(np.int64)]


def byte_order(*datasets: Dataset) -> str:
    """``"<"`` or ``">"``: the byte order of OW in the first dataset that states its encoding, else little endian."""
    for dataset in datasets:
        meta = getattr(dataset, "file_meta", None)
        syntax = meta.get("TransferSyntaxUID") if meta is not None else None
        if syntax is not None and not syntax.is_private:
            return "<" if syntax.is_little_endian else ">"
        little = dataset.original_encoding[1]
        if little is not None:
            return "<" if little else ">"
    return "<"


def first_input(stated: int, low: float, high: float) -> int:
    """The first input value of a lookup table, whose sign the file may not state (PS3.3 C.11.1.1, C.11.2.1.1).

    Under implicit VR its 16 bits are read with the sign of the stored values; the input of a VOI LUT can be negative
    even if stored values cannot.

    Parameters
    ----------
    stated
        First input value as read.
    low, high
        Smallest and largest value that can enter the table.
    """
    other = stated - 2**16 if stated >= 2**15 else stated + 2**16 if stated < 0 else stated
    signed, unsigned = min(stated, other), max(stated, other)
    first, second = (signed, unsigned) if low < 0 else (unsigned, signed)
    return next((value for value in (first, second) if low <= value <= high), stated)


def read_lookup_table(item: Dataset, header: Dataset, name: str, inputs: tuple[float, float]) -> LookupTable:
    """The table in an item of Modality LUT Sequence or VOI LUT Sequence.

    Parameters
    ----------
    item, header
        Item of the sequence, and header of the frame.
    name
        Name of the table for errors.
    inputs
        Smallest and largest value that can enter the table.

    Raises
    ------
    ValueError
        If descriptor and data contradict each other or the standard.
    """
    descriptor = item.get("LUTDescriptor")
    if descriptor is None or len(descriptor) != 3:
        raise ValueError(f"{name}: LUT Descriptor holds {descriptor!r}, expected three values")
    length, first, bits = (int(value) for value in descriptor)
    length = length % 2**16 or 2**16
    if not (bits == 8 or 10 <= bits <= 16):
        raise ValueError(f"{name}: LUT Descriptor [{length}, {first}, {bits}] is not one that the standard allows")
    data = item.get("LUTData")
    if data is None:
        raise ValueError(f"{name}: no LUT Data")
    if isinstance(data, bytes):
        entries = np.frombuffer(data[: len(data) // 2 * 2], dtype=f"{byte_order(header, item)}u2")
    else:
        entries = np.atleast_1d(np.asarray(data))
    if entries.ndim != 1 or len(entries) < length:
        raise ValueError(f"{name}: LUT Data holds {entries.size} entries, the descriptor states {length}")
    entries = entries[:length].astype(np.float64)
    if entries.min() < 0 or entries.max() > 2**bits - 1:
        raise ValueError(f"{name}: LUT entries up to {entries.max():.0f} do not fit the {bits} bits of the descriptor")
    return LookupTable(first_input(first, *inputs), entries, bits)


def stored_range(header: Dataset) -> tuple[int, int]:
    """The smallest and largest stored value allowed by Bits Stored and Pixel Representation."""
    bits = header.get("BitsStored")
    if not isinstance(bits, int) or not 1 <= bits <= 64:
        raise ValueError(f"Bits Stored is {bits!r}, expected 1 to 64")
    if header.get("PixelRepresentation"):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


@dataclass(frozen=True)
class ModalityTransform:
    """Stored values to modality values (HU for CT): a table, a line, or the identity (PS3.3 C.11.1)."""

    table: LookupTable | None
    slope: float
    intercept: float
    stated: bool

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if self.table is not None:
            return self.table(values)
        return values * self.slope + self.intercept if self.stated else values

    def output_range(self, header: Dataset) -> tuple[float, float]:
        """The smallest and largest possible output."""
        if self.table is not None:
            return 0.0, float(self.table.largest)
        ends = [bound * self.slope + self.intercept for bound in stored_range(header)]
        return min(ends), max(ends)


def modality_transform(header: Dataset) -> ModalityTransform:
    """The modality LUT of a frame; Modality LUT Sequence takes precedence over the rescale pair, as in pydicom.

    Raises
    ------
    ValueError
        For a malformed table, a slope of 0, or a number that is not finite.
    """
    if header.get("ModalityLUTSequence"):
        table = read_lookup_table(header.ModalityLUTSequence[0], header, "Modality LUT", stored_range(header))
        return ModalityTransform(table, 1.0, 0.0, True)
    slope, intercept = number(header, "RescaleSlope"), number(header, "RescaleIntercept")
    if slope is None or intercept is None:
        return ModalityTransform(None, 1.0, 0.0, False)
    if slope == 0:
        raise ValueError("Rescale Slope is 0, which would make every value the same")
    return ModalityTransform(None, slope, intercept, True)


@dataclass(frozen=True)
class Window:
    """A window to [0, 1]: one of the three VOI LUT functions (PS3.3 C.11.2.1.2, C.11.2.1.3).

    ``LINEAR`` has the half-pixel terms of the standard (centre - 0.5, width - 1); ``LINEAR_EXACT`` runs from
    centre - width/2 to centre + width/2; ``SIGMOID`` is the logistic function.
    """

    center: float
    width: float
    function: str = "LINEAR_EXACT"

    def __post_init__(self) -> None:
        if self.function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
            raise ValueError(f"VOI LUT Function {self.function!r} is not LINEAR, LINEAR_EXACT or SIGMOID")
        if not (math.isfinite(self.center) and math.isfinite(self.width)):
            raise ValueError(f"window {self.center}/{self.width} is not finite")
        least = 1 if self.function == "LINEAR" else 0
        if self.width < least or self.width == 0:
            raise ValueError(f"Window Width {self.width:g} is too small for a {self.function} window")

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if self.function == "SIGMOID":
            # Limit the exponent so that extreme values saturate without an overflow warning.
            return 1 / (1 + np.exp(np.clip(-4 * (values - self.center) / self.width, -700, 700)))
        center, width = self.center, self.width
        if self.function == "LINEAR":
            center, width = center - 0.5, width - 1
        if width == 0:
            return (values > center).astype(np.float64)
        return np.clip((values - center) / width + 0.5, 0, 1)


@dataclass(frozen=True)
class VoiTable:
    """A VOI LUT to [0, 1]."""

    table: LookupTable

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return self.table(values) / self.table.largest


def header_window(header: Dataset, index: int = 0) -> Window | None:
    """Window number ``index`` of a header; ``None`` if the header has no window.

    Raises
    ------
    ValueError
        If centres and widths differ in number, the index is out of range, or the standard forbids the width.
    """
    centers, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    if not centers or not widths:
        return None
    if index >= min(len(centers), len(widths)):
        raise ValueError(f"window {index} asked for, the header holds {min(len(centers), len(widths))}")
    function = str(header.get("VOILUTFunction") or "LINEAR").upper()
    return Window(centers[index], widths[index], function)


def has_unset_window(header: Dataset, index: int = 0) -> bool:
    """Whether window number ``index`` has width 0, which is invalid (PS3.3 C.11.2.1.2)."""
    return numbers(header, "WindowWidth")[index : index + 1] == [0.0]


def voi_transform(
    header: Dataset, index: int = 0, prefer_lut: bool = True
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Modality values to [0, 1] by the header's VOI LUT or window; ``None`` if the header has neither.

    If a header has both, ``prefer_lut`` decides, as in pydicom's ``apply_voi_lut``. A VOI LUT's entries are divided by
    the largest value that their bits can represent. A window of width 0 counts as missing: some writers leave it so if
    they know none.
    """
    items = header.get("VOILUTSequence")
    has_table = bool(items) and items[0].get("LUTDescriptor") is not None and items[0].get("LUTData") is not None
    if not (has_table and prefer_lut) and not has_unset_window(header, index):
        window = header_window(header, index)
        if window is not None:
            return window
    if not has_table:
        return None
    if index >= len(items):
        raise ValueError(f"VOI LUT {index} asked for, the header holds {len(items)}")
    table = read_lookup_table(items[index], header, "VOI LUT", modality_transform(header).output_range(header))
    return VoiTable(table)


def questions_of_voi(header: Dataset, index: int = 0, prefer_lut: bool = True) -> list[str]:
    """What is doubtful about the VOI LUT or window used by `voi_transform`."""
    voi = voi_transform(header, index, prefer_lut)
    if isinstance(voi, VoiTable) and voi.table.entries.max() <= _LUT_REACH * voi.table.largest:
        return [SHORT_LUT]
    return [NO_WINDOW] if voi is None and has_unset_window(header, index) else []


def is_inverted(header: Dataset) -> bool:
    """Whether small values are shown white: MONOCHROME1, or Presentation LUT Shape INVERSE.

    A conforming radiograph states both for the same inversion, so they do not cancel out.
    """
    return header.get("PhotometricInterpretation") == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE"


def padding_bounds(header: Dataset) -> tuple[float, float] | None:
    """The inclusive range of stored values that are pixel padding, or ``None`` (PS3.3 C.7.5.1.1.2)."""
    value = number(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = number(header, "PixelPaddingRangeLimit")
    ends = [_as_stored(bound, header) for bound in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def is_padding(values: np.ndarray, bounds: tuple[float, float] | None) -> np.ndarray:
    """A mask of the stored values within ``bounds``."""
    if bounds is None:
        return np.zeros(values.shape, dtype=bool)
    return (values >= bounds[0]) & (values <= bounds[1])


def _as_stored(value: float, header: Dataset) -> float:
    """A padding value written with the wrong sign (US for SS or the reverse), converted to match the pixels."""
    bits = header.get("BitsAllocated")
    if isinstance(bits, int) and 1 <= bits <= 64:
        if header.get("PixelRepresentation") and value >= 2 ** (bits - 1):
            return value - 2**bits
        if not header.get("PixelRepresentation") and value < 0:
            return value + 2**bits
    return value


def render_gray(
    stored: np.ndarray,
    header: Dataset,
    without_voi: Literal["bits", "values"],
    index: int = 0,
    prefer_lut: bool = True,
) -> np.ndarray:
    """Render one monochrome frame as a viewer shows it: modality LUT, VOI LUT or window, polarity; padding black.

    Parameters
    ----------
    stored
        Stored values, ``(rows, columns)``.
    header
        Header of the frame.
    without_voi
        Black and white if the header has no VOI LUT or window: ``"bits"`` for the limits of the bits stored,
        ``"values"`` for the smallest and largest value of this frame outside its padding.
    index, prefer_lut
        See `voi_transform`.

    Returns
    -------
    numpy.ndarray
        float32 ``(rows, columns)`` in [0, 1]. A constant frame is black if ``without_voi`` is ``"values"``.

    Raises
    ------
    ValueError
        For malformed elements, or stored values that exceed the bits stored.
    """
    if stored.ndim != 2:
        raise ValueError(f"{header.get('PhotometricInterpretation')} with three samples a pixel")
    modality, voi = modality_transform(header), voi_transform(header, index, prefer_lut)
    inverted, bounds = is_inverted(header), padding_bounds(header)
    low, high = 0.0, 1.0
    if voi is None:
        low, high = modality.output_range(header) if without_voi == "bits" else _value_range(stored, modality, bounds)

    def render(values: np.ndarray) -> np.ndarray:
        native = modality(values)
        if voi is not None:
            shown = voi(native)
        elif high > low:
            shown = (native - low) / (high - low)
        else:
            return np.zeros_like(native)
        return np.where(is_padding(values, bounds), 0.0, 1 - shown if inverted else shown)

    rendered = map_stored(stored, render)
    if rendered.size and not (rendered.min() >= 0 and rendered.max() <= 1):
        raise ValueError(f"stored values beyond the {header.get('BitsStored')} bits stored")
    return rendered


def _value_range(
    stored: np.ndarray, modality: ModalityTransform, bounds: tuple[float, float] | None
) -> tuple[float, float]:
    """The smallest and largest modality value of a frame outside its padding; (0, 0) if all is padding."""
    kept = stored[~is_padding(stored, bounds) & np.isfinite(stored)]
    if not kept.size:
        return 0.0, 0.0
    # A table need not be monotonic, so the extreme stored values are not enough.
    native = modality(np.unique(kept).astype(np.float64))
    return float(native.min()), float(native.max())
