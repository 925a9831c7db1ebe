"""Checks of a compressed frame before a C decoder sees it.

The decoders fill missing data with grey and trust the sizes in a damaged stream; some of them crash on it. These
checks read the markers of JPEG (ITU-T T.81), JPEG-LS (T.87) and JPEG 2000 (T.800, also HTJ2K, T.814) and the header of
DICOM RLE (PS3.5 Annex G), and refuse a frame that is cut short or differs in size from the image.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from radimagenet_monai.io.limits import MAX_CODESTREAM_TILES

_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_STANDALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, b"\xff\xd9"
_DCT = frozenset({0xC0, 0xC1, 0xC2, 0xC5, 0xC6, 0xC9, 0xCA, 0xCD, 0xCE})  # the others store samples directly
_APP0, _APP14 = 0xE0, 0xEE
_RGB_IDS = (b"RGB", b"rgb")
_CODING_STYLE = b"\xff\x52"

Color = Literal["RGB", "YBR"]


@dataclass(frozen=True)
class Frame:
    """Properties of every frame, from the image's header."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int


@dataclass(frozen=True)
class Stream:
    """Properties that a compressed frame declares.

    Attributes
    ----------
    precision
        Bits per sample.
    color
        Color space that the stream declares for three samples, as libjpeg reads it: a JFIF marker means YCbCr, an
        Adobe marker names the transform, component ids R, G, B mean RGB. ``None`` if it declares nothing. For JPEG
        2000: RGB if a component transform has to be undone.
    dct
        Whether the stream is a DCT-based JPEG; encoders convert only those to YCbCr.
    subsampled
        Whether the second sample has a lower resolution than the first, which makes it chroma.
    """

    precision: int
    color: Color | None = None
    dct: bool = False
    subsampled: bool = False


def require_whole_jpeg(data: bytes, frame: Frame) -> Stream:
    """Check the size of a JPEG or JPEG-LS stream and that it has an end marker.

    Returns
    -------
    Stream
        The properties that it declares.

    Raises
    ------
    ValueError
        If the stream is damaged, cut short, or differs in size from ``frame``.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError("the frame is no JPEG stream")
    sized = jfif = dct = False
    adobe: int | None = None
    precision, ids, sampling = 0, b"", b""
    position = 2
    while True:
        if position + 4 > len(data):
            raise ValueError("the JPEG stream ends within its header")
        if data[position] != 0xFF:
            raise ValueError("the JPEG stream holds no marker where one is due")
        marker = data[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if length < 2 or position + 2 + length > len(data):
            raise ValueError("the JPEG stream ends within its header")
        if marker in _START_OF_FRAME:
            if sized or length < 8:
                raise ValueError("the JPEG stream holds a damaged or second frame header")
            sized = True
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, position + 4)
            _require_size(frame, rows, columns, samples, precision)
            dct = marker in _DCT
            components = data[position + 10 : position + 2 + length]
            ids, sampling = components[::3], components[1::3]
        body = data[position + 4 : position + 2 + length]
        jfif = jfif or (marker == _APP0 and body.startswith(b"JFIF\0"))
        if marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
            adobe = body[11]
        if marker == _START_OF_SCAN:
            break
        position += 2 + length
    if not sized:
        raise ValueError("the JPEG stream holds no frame header")
    if data.rfind(_END_OF_IMAGE) < position:
        raise ValueError("the JPEG stream is cut short (no end-of-image marker)")
    color: Color | None = None
    if dct and len(ids) == 3:
        if jfif:
            color = "YBR"
        elif adobe is not None:
            color = "YBR" if adobe else "RGB"
        elif ids in _RGB_IDS:
            color = "RGB"
    return Stream(precision, color, dct, len(sampling) == 3 and sampling[1] != sampling[0])


def require_whole_jpeg2000(data: bytes, frame: Frame) -> Stream:
    """Check the size of a JPEG 2000 codestream, bare or in a JP2 file, and that every tile is complete.

    Returns
    -------
    Stream
        The properties that it declares.

    Raises
    ------
    ValueError
        If the stream is damaged, cut short, or differs in size from ``frame``.
    """
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0 or start + 42 > len(data):
        raise ValueError("the frame is no JPEG 2000 stream")
    (length,) = struct.unpack_from(">H", data, start + 4)
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, samples = struct.unpack_from(
        ">8IH", data, start + 8
    )
    if length != 38 + 3 * samples or start + 4 + length > len(data):
        raise ValueError("the JPEG 2000 stream ends within its header or holds a damaged one")
    precisions = [(data[start + 42 + 3 * sample] & 0x7F) + 1 for sample in range(samples)]
    _require_size(frame, bottom - top, right - left, samples, max(precisions, default=0))
    if not tile_width or not tile_height or right <= tile_left or bottom <= tile_top:
        raise ValueError("the JPEG 2000 stream claims tiles without size")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > MAX_CODESTREAM_TILES:
        raise ValueError(f"the JPEG 2000 stream claims {tiles} tiles; at most {MAX_CODESTREAM_TILES} are read")

    position = start + 4 + length
    transformed = False
    while data[position : position + 2] != b"\xff\x90":
        if position + 4 > len(data) or data[position] != 0xFF:
            raise ValueError("the JPEG 2000 stream ends within its header or holds a damaged one")
        if data[position : position + 2] == _CODING_STYLE:
            transformed = (
                data[position + 8 : position + 9] == b"\1"
            )  # T.800, A.6.1: SGcod, multiple component transform
        position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    seen: set[int] = set()
    while data[position : position + 2] == b"\xff\x90":
        if position + 12 > len(data):
            raise ValueError("the JPEG 2000 stream is cut short")
        tile, size = struct.unpack_from(">HI", data, position + 4)
        seen.add(tile)
        # The last tile-part may have size 0: it then extends to the end-of-codestream marker.
        end = position + size if size else data.rfind(_END_OF_IMAGE)
        if end < position + 14 or end > len(data):
            raise ValueError("the JPEG 2000 stream is cut short")
        position = end
    if seen != set(range(tiles)):
        raise ValueError(f"the JPEG 2000 stream holds {len(seen)} of {tiles} tiles")
    return Stream(max(precisions), "RGB" if transformed and samples == 3 else None)


def require_whole_rle(data: bytes, frame: Frame) -> None:
    """Check the header of a DICOM RLE frame: one segment per byte plane, in order and within the frame.

    Raises
    ------
    ValueError
        If the header does not fit ``frame``.
    """
    if len(data) < 64:
        raise ValueError("the RLE frame ends within its header")
    count, *offsets = struct.unpack_from("<16I", data)
    expected = frame.samples * -(-frame.bits_allocated // 8)
    if count != expected:
        raise ValueError(f"the RLE frame holds {count} segments, not {expected}")
    starts = [*offsets[:count], len(data)]
    if starts[0] != 64 or any(low >= high for low, high in pairwise(starts)):
        raise ValueError("the RLE frame is cut short or its segments are out of order")


def _require_size(frame: Frame, rows: int, columns: int, samples: int, precision: int) -> None:
    if (rows, columns, samples) != (frame.rows, frame.columns, frame.samples):
        raise ValueError(
            f"the compressed frame is {rows} x {columns} x {samples}, "
            f"the header says {frame.rows} x {frame.columns} x {frame.samples} (rows x columns x samples)"
        )
    if not 1 <= precision <= frame.bits_allocated:
        raise ValueError(f"the compressed frame has {precision} bits, the header allocates {frame.bits_allocated}")
