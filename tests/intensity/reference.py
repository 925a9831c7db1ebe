"""Reference implementation of intensities: every canonical image, computed slowly with pydicom's LUT functions.

Nothing here is shared with the policies, which are written for speed; the tests compare the two on every readable
file of pydicom's collections.

All functions take *stored* values, as returned by `pydicom.pixels.pixel_array(..., raw=True)`, and their data set,
and return float64 in [0, 1]. If pydicom 3.0 departs from the standard, the data set is converted to a form that
pydicom handles correctly, and a comment says so.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, apply_windowing

#: Far outside all values of medical images, where a window is plain black or plain white.
_FAR = np.array([-1e12, 1e12])


def reference_ct(stored: np.ndarray, ds: Dataset, center: float, width: float) -> np.ndarray:
    """One CT frame in a window from ``center - width / 2`` to ``center + width / 2`` HU."""
    window = Dataset()
    window.PhotometricInterpretation = "MONOCHROME2"
    window.BitsStored, window.PixelRepresentation = 16, 0
    window.WindowCenter, window.WindowWidth = center, width
    window.VOILUTFunction = "LINEAR_EXACT"
    shown = apply_windowing(modality_values(stored, ds), window) / 65535
    return _black_padding(_polarity(shown, ds), stored, ds)


def reference_ct_header_window(stored: np.ndarray, ds: Dataset, index: int = 0) -> np.ndarray:
    """One CT frame in window number ``index`` of its own header."""
    black, white = apply_windowing(_FAR, ds, index)
    shown = (apply_windowing(modality_values(stored, ds), ds, index) - black) / (white - black)
    return _black_padding(_polarity(shown, ds), stored, ds)


def reference_mr(
    frames: Sequence[np.ndarray], datasets: Sequence[Dataset], frame: int, lower: float = 1, upper: float = 99
) -> np.ndarray:
    """One MR frame between two percentiles of the whole volume or series."""
    values = [modality_values(stored, ds) for stored, ds in zip(frames, datasets, strict=True)]
    kept = np.concatenate(
        [value[~padding(stored, ds)] for value, stored, ds in zip(values, frames, datasets, strict=True)]
    )
    low, high = np.percentile(kept, [lower, upper])
    if low == high:
        low, high = kept.min(), kept.max()
    if low == high:
        return np.zeros(frames[frame].shape)
    shown = np.clip((values[frame] - low) / (high - low), 0, 1)
    return _black_padding(_polarity(shown, datasets[frame]), frames[frame], datasets[frame])


def reference_ultrasound(stored: np.ndarray, ds: Dataset) -> np.ndarray:
    """The luminance of one ultrasound frame, uncropped (Rec. 601 luma, PS3.3 C.7.6.3.1.2)."""
    if ds.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2"):
        if "VOILUTSequence" in ds or "WindowCenter" in ds:
            return reference_radiograph(stored, ds)
        ends = np.array([0, 2**ds.BitsStored - 1]) - (2 ** (ds.BitsStored - 1) if ds.PixelRepresentation else 0)
        low, high = np.sort(modality_values(ends, ds))
        return _black_padding(_polarity((modality_values(stored, ds) - low) / (high - low), ds), stored, ds)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        rgb = apply_color_lut(_within_palette(stored, ds), _little_endian_palette(ds))
        return _luma(rgb / np.iinfo(rgb.dtype).max)
    if ds.PhotometricInterpretation == "RGB":
        return _luma(stored / (2**ds.BitsStored - 1))
    if ds.PhotometricInterpretation in ("YBR_FULL", "YBR_FULL_422"):
        return stored[..., 0] / (2**ds.BitsStored - 1)
    raise ValueError(f"no reference for {ds.PhotometricInterpretation}")


def reference_radiograph(stored: np.ndarray, ds: Dataset, index: int = 0, prefer_lut: bool = True) -> np.ndarray:
    """One radiograph frame through its VOI LUT or window; without either, from its smallest to its largest value."""
    values = modality_values(stored, ds)
    items = ds.get("VOILUTSequence")
    if items and (prefer_lut or "WindowCenter" not in ds):
        first, length = int(items[index].LUTDescriptor[1]), int(items[index].LUTDescriptor[0]) or 2**16
        largest = 2 ** int(items[index].LUTDescriptor[2]) - 1
        # pydicom 3.0 keeps the index in the output type, so 8-bit entries beyond number 255 overflow, as do inputs
        # beyond 16 bits. Neither changes the table.
        inside = np.clip(np.floor(values), first, first + length - 1).astype(np.int64)
        shown = apply_voi_lut(inside, _wide_entries(ds), index) / largest
    elif "WindowCenter" in ds:
        black, white = apply_windowing(_FAR, ds, index)
        shown = (apply_windowing(values, ds, index) - black) / (white - black)
    else:
        kept = values[~padding(stored, ds)]
        if kept.size == 0 or kept.min() == kept.max():
            return np.zeros(values.shape)
        shown = (values - kept.min()) / (kept.max() - kept.min())
    return _black_padding(_polarity(shown, ds), stored, ds)


def modality_values(stored: np.ndarray, ds: Dataset) -> np.ndarray:
    """Stored values through the modality LUT, as float64."""
    if stored.dtype.kind in "iu":
        # pydicom 3.0 computes the table index in the type of the pixels, where it may overflow.
        stored = stored.astype(np.int64)
    return apply_modality_lut(stored, ds).astype(np.float64)


def padding(stored: np.ndarray, ds: Dataset) -> np.ndarray:
    """Mask of the stored values that are pixel padding (PS3.3 C.7.5.1.1.2)."""
    if "PixelPaddingValue" not in ds:
        return np.zeros(stored.shape, dtype=bool)
    ends = ds.PixelPaddingValue, ds.get("PixelPaddingRangeLimit", ds.PixelPaddingValue)
    return (stored >= min(ends)) & (stored <= max(ends))


def _polarity(shown: np.ndarray, ds: Dataset) -> np.ndarray:
    if ds.PhotometricInterpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE":
        return 1 - shown
    return shown


def _black_padding(shown: np.ndarray, stored: np.ndarray, ds: Dataset) -> np.ndarray:
    return np.where(padding(stored, ds), 0, shown)


def _luma(rgb: np.ndarray) -> np.ndarray:
    return 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]


def _wide_entries(ds: Dataset) -> Dataset:
    wide = copy.deepcopy(ds)
    for item in wide.VOILUTSequence:
        item.LUTDescriptor = [*item.LUTDescriptor[:2], 16]
    return wide


def _within_palette(stored: np.ndarray, ds: Dataset) -> np.ndarray:
    # As for VOI LUTs, pydicom 3.0 keeps palette indices in the type of the entries.
    length, first, _ = (int(value) for value in ds.RedPaletteColorLookupTableDescriptor)
    return np.clip(stored.astype(np.int64), first, first + (length or 2**16) - 1)


def _little_endian_palette(ds: Dataset) -> Dataset:
    # pydicom 3.0 reads plain palettes of 16-bit entries in native byte order, even in big-endian files.
    if ds.original_encoding[1] is not False or "RedPaletteColorLookupTableData" not in ds:
        return ds
    swapped = copy.deepcopy(ds)
    length = int(ds.RedPaletteColorLookupTableDescriptor[0]) or 2**16
    for color in ("Red", "Green", "Blue"):
        keyword = f"{color}PaletteColorLookupTableData"
        data = getattr(ds, keyword)
        if len(data) >= 2 * length:
            setattr(swapped, keyword, np.frombuffer(data, ">u2").astype("<u2").tobytes())
    return swapped
