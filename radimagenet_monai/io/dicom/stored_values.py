"""Decode the pixel data of a DICOM file to stored values.

If a compressed stream and the header contradict each other, the stream is trusted for what it declares (color
space, bits per sample) and the header for what only it can state (which bits are stored, PS3.5 8.1.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
    UID_dictionary,
)

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.dicom import codestream

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
STREAM_COLOR = "the compressed stream declares another color space than the header; the stream was believed"
GUESSED_COLOR = "the header says RGB, but the pixels of its JPEG are YCbCr; they were read as YCbCr"
UNUSED_BITS = "bits above Bits Stored were set, as overlays do; they were cleared"

_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000, HTJ2K})
_GRAY_SAMPLES = 8  # largest difference between the samples of a gray pixel after lossy compression


def decode_stored(
    path: str, dataset: Dataset, syntax: UID, frames: int, frame: codestream.Frame, notes: list[str]
) -> tuple[np.ndarray, str]:
    """The stored values of a data set with a checked header, and their photometric interpretation.

    Parameters
    ----------
    path
        File, for errors.
    dataset
        Data set with its pixel data.
    syntax
        Transfer syntax of the pixel data.
    frames, frame
        Number of frames, and the properties of each, from the header.
    notes
        Receives a note on anything doubtful.

    Returns
    -------
    tuple of numpy.ndarray and str
        ``(frames, rows, columns[, 3])`` in native byte order, color by pixel.

    Raises
    ------
    UnreadableImageError, ValueError
        If the pixel data are cut short, damaged, or of a size other than the header states.
    """
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        name = UID_dictionary[syntax][0] if syntax in UID_dictionary else "unknown or private"
        raise UnreadableImageError(path, "decode", f"no decoder for its transfer syntax ({name})") from None
    streams: list[codestream.Stream] = []
    if syntax.is_encapsulated:
        streams = _look_through_encapsulated(dataset, syntax, frames, frame)
    else:
        _require_whole_native(dataset, frames, frame)
    pixels, properties = decoder.as_array(
        dataset,
        raw=True,
        decoding_plugin=_plugin(syntax),
        allow_excess_frames=False,  # type: ignore[arg-type]  # pydicom annotates **kwargs as the whole TypedDict
        **_narrowed(dataset, syntax, frame, streams),
    )
    expected: tuple[int, ...] = (frames, frame.rows, frame.columns, frame.samples)
    expected = expected if frame.samples > 1 else expected[:3]
    if pixels.size != math.prod(expected):
        raise UnreadableImageError(path, "decode", f"it decodes to {pixels.shape}, not to {expected}")
    pixels = pixels.reshape(expected)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise UnreadableImageError(path, "decode", "its float pixel data hold values that are not finite")
    if syntax.is_encapsulated:
        pixels = _stored_bits(pixels, dataset, syntax, frame, notes)
    photometric = str(properties["photometric_interpretation"])
    if frame.samples == 3:
        photometric = _color_space(photometric, str(dataset.PhotometricInterpretation), streams, pixels, notes)
    return pixels, photometric


def _narrowed(
    dataset: Dataset, syntax: UID, frame: codestream.Frame, streams: list[codestream.Stream]
) -> dict[str, Any]:
    """Decoder options for when pydicom's JPEG plug-in returns one byte for a sample with two allocated bytes."""
    is_jpeg = syntax in JPEGTransferSyntaxes and syntax not in JPEGLSTransferSyntaxes
    if not is_jpeg or frame.bits_allocated <= 8 or max(stream.precision for stream in streams) > 8:
        return {}
    signed = dataset.PixelRepresentation if dataset.BitsStored <= 8 else 0
    return {"bits_allocated": 8, "bits_stored": min(8, int(dataset.BitsStored)), "pixel_representation": signed}


def _stored_bits(
    pixels: np.ndarray, dataset: Dataset, syntax: UID, frame: codestream.Frame, notes: list[str]
) -> np.ndarray:
    """Decoded values in the allocated type, without bits above Bits Stored."""
    signed, stored = bool(dataset.PixelRepresentation), int(dataset.BitsStored)
    if pixels.dtype.itemsize * 8 < frame.bits_allocated:
        pixels = pixels.astype(f"{'i' if signed else 'u'}{frame.bits_allocated // 8}")
    unused = pixels.dtype.itemsize * 8 - stored
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if signed else (0, (1 << stored) - 1)
    if pixels.dtype.kind not in "iu" or unused <= 0 or (int(pixels.min()) >= low and int(pixels.max()) <= high):
        return pixels
    if syntax in _LOSSY:  # no extra bits survive; such values are compression overshoot
        return np.clip(pixels, low, high)
    notes.append(UNUSED_BITS)
    return (pixels << unused) >> unused


def _color_space(
    decoded: str, stated: str, streams: list[codestream.Stream], pixels: np.ndarray, notes: list[str]
) -> str:
    """RGB, YBR_FULL, or the header's interpretation of three samples if nothing contradicts it."""
    declared = {stream.color for stream in streams}
    if "RGB" in declared and "YBR" in declared:
        raise ValueError("its frames declare different color spaces")
    said = "YBR_FULL" if decoded == "YBR_FULL_422" else decoded
    color = said
    if "RGB" in declared:
        color = "RGB"
    elif "YBR" in declared and not said.startswith("YBR"):
        color = "YBR_FULL"
    elif said == "RGB" and streams and all(stream.dct for stream in streams) and _is_chroma(streams, pixels):
        color = "YBR_FULL"
        notes.append(GUESSED_COLOR)
        return color
    if color.startswith("YBR") != stated.startswith("YBR") and stated not in ("YBR_RCT", "YBR_ICT"):
        notes.append(STREAM_COLOR)
    return color


def _is_chroma(streams: list[codestream.Stream], pixels: np.ndarray) -> bool:
    """Whether the second and third samples of a JPEG without a declared color space are chroma.

    Subsampling shows that they are. Otherwise gray pixels, which are common in radiology, decide: their three samples
    are equal in RGB, and the last two are mid-range in YCbCr.
    """
    if any(stream.subsampled for stream in streams):
        return True
    samples = pixels[0].astype(np.int32)
    middle = 1 << (streams[0].precision - 1)
    neutral = (np.abs(samples[..., 1:] - middle) <= _GRAY_SAMPLES).all(axis=-1)
    gray = (np.abs(samples[..., 1:] - samples[..., :1]) <= _GRAY_SAMPLES).all(axis=-1)
    return bool((neutral & ~gray).sum() > (gray & ~neutral).sum())


def _plugin(syntax: UID) -> str:
    """The fastest plug-in whose result equals pydicom's own.

    Pillow decodes JPEG baseline twice as fast as libjpeg, but rounds differently in one pixel of a few hundred.
    """
    if not syntax.is_encapsulated:
        return ""
    return "pyjpegls" if syntax in JPEGLSTransferSyntaxes else "pylibjpeg"


def _encoded_frames(dataset: Dataset, frames: int) -> Iterator[bytes]:
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    return generate_frames(dataset.PixelData, number_of_frames=frames, extended_offsets=offsets)


def _look_through_encapsulated(
    dataset: Dataset, syntax: UID, frames: int, frame: codestream.Frame
) -> list[codestream.Stream]:
    """Check every compressed frame before decoding; returns what the streams declare, empty for RLE."""
    streams = []
    count = 0
    for data in _encoded_frames(dataset, frames):
        count += 1
        if syntax in JPEG2000TransferSyntaxes:
            streams.append(codestream.require_whole_jpeg2000(data, frame))
        elif syntax in JPEGTransferSyntaxes or syntax in JPEGLSTransferSyntaxes:
            streams.append(codestream.require_whole_jpeg(data, frame))
        elif syntax == RLELossless:
            codestream.require_whole_rle(data, frame)
    if count != frames:
        raise ValueError(f"it holds {count} frames, its header says {frames}")
    return streams


def _require_whole_native(dataset: Dataset, frames: int, frame: codestream.Frame) -> None:
    keyword = next(keyword for keyword in PIXEL_KEYWORDS if keyword in dataset)
    present = len(dataset[keyword].value or b"")
    samples = 2 if dataset.PhotometricInterpretation == "YBR_FULL_422" else frame.samples
    bits = frame.rows * frame.columns * samples * frame.bits_allocated
    expected = math.ceil(frames * bits / 8)
    if present < expected:
        raise ValueError(f"it is cut short: {present} of {expected} bytes of pixel data are there")
    # Some writers pad the pixel data; an extra frame is not padding.
    if present - expected >= max(2, bits // 8):
        raise ValueError(f"it holds {present} bytes of pixel data, its header describes {expected}")
