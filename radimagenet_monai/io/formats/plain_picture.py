"""Fast decoding of the most common pictures: complete 8-bit PNG and JPEG files, gray or RGB.

Anything else (palettes, transparency, 16 bits, interlacing, EXIF, data after the end) is left to
`radimagenet_monai.io.formats.picture`, which also reports damage. Both give the same samples.
"""

from __future__ import annotations

import io
import os
import struct
import warnings

import cv2
import numpy as np
from isal import isal_zlib
from PIL import Image, JpegImagePlugin

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_IHDR, _IDAT, _IEND = b"IHDR", b"IDAT", b"IEND"
_HARMLESS = frozenset({b"pHYs", b"tIME", b"gAMA", b"cHRM", b"sRGB"})  # do not affect the samples
_TEXT = b"tEXt"
_TEXTS_WITH_ORIENTATION = (b"Raw profile type ", b"XML:com.adobe.xmp")
_AFTER_HEADER = len(_PNG_SIGNATURE) + 25  # the header chunk comes first: length, name, 13 bytes, checksum
_END_CHUNK = b"\0\0\0\0IEND\xaeB`\x82"
_STORED_STREAM = b"\x78\x01"  # RFC 1950, 2.2
_LARGEST_BLOCK = 65_535
_LARGEST_FILE = 32 * 2**20
_MOST_SAMPLES = 2**26
_EXIF_ORIENTATION = 0x0112


def read_plain_file(path: str) -> bytes | None:
    """The bytes of a moderately sized file that starts like a PNG or JPEG, else ``None``; also if it does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        length = os.fstat(descriptor).st_size
        content = os.read(descriptor, length) if length <= _LARGEST_FILE else b""
    except OSError:  # a folder
        return None
    finally:
        os.close(descriptor)
    plain = len(content) == length and content.startswith((_PNG_SIGNATURE, _JPEG_SIGNATURE))
    return content if plain else None


def decode_plain(content: bytes) -> np.ndarray | None:
    """Samples of a picture that is plain and complete, else ``None``.

    For a PNG, the checksum of each chunk is verified before decoding.

    Returns
    -------
    numpy.ndarray or None
        uint8 ``(rows, columns)`` or, in RGB, ``(rows, columns, 3)``; it may be read-only.
    """
    return _decode_png(content) if content.startswith(_PNG_SIGNATURE) else _decode_jpeg(content)


def _decode_png(content: bytes) -> np.ndarray | None:
    plain = _plain_png(content)
    if plain is None:
        return None
    shape, compressed = plain
    filtered = _inflated(compressed, shape)
    if filtered is None:
        return None
    samples = cv2.imdecode(np.frombuffer(_stored_png(content, filtered), np.uint8), cv2.IMREAD_UNCHANGED)
    if samples is None or samples.dtype != np.uint8 or samples.shape != shape:
        return None
    return samples[..., ::-1] if samples.ndim == 3 else samples


def _plain_png(content: bytes) -> tuple[tuple[int, ...], bytes] | None:
    """Shape and compressed samples of a plain PNG file with intact chunks; see the PNG specification, 5.3."""
    view = memoryview(content)
    place = len(_PNG_SIGNATURE)
    shape: tuple[int, ...] | None = None
    compressed: list[memoryview] = []
    while True:
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        kind = content[place + 4 : place + 8]
        if end + 4 > len(content):
            return None
        if isal_zlib.crc32(view[place + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return None
        if shape is None:
            if kind != _IHDR or end + 4 != _AFTER_HEADER:
                return None
            shape = _plain_shape(content[place + 8 : end])
            if shape is None:
                return None
        elif kind == _IDAT:
            compressed.append(view[place + 8 : end])
        elif kind == _IEND:
            return (shape, b"".join(compressed)) if end + 4 == len(content) else None
        elif kind == _TEXT:
            if content.startswith(_TEXTS_WITH_ORIENTATION, place + 8):
                return None
        elif kind not in _HARMLESS:
            return None
        place = end + 4


def _inflated(compressed: bytes, shape: tuple[int, ...]) -> bytes | None:
    """The filtered rows, each after its filter number, or ``None`` if they are damaged or of unexpected length."""
    length = shape[0] * (1 + int(np.prod(shape[1:])))
    stream = isal_zlib.decompressobj()
    try:
        rows = stream.decompress(compressed, length + 1)  # one more byte, to detect excess data
    except isal_zlib.error:  # type: ignore[misc]  # its stub declares an instance
        return None
    return rows if len(rows) == length and stream.eof and not stream.unused_data else None


def _stored_png(content: bytes, filtered: bytes) -> bytes:
    """The same picture without compression, so that OpenCV only undoes the filters.

    ISA-L inflates more than twice as fast as OpenCV's zlib, and inflating is more than half of decoding a PNG.
    """
    blocks = [_STORED_STREAM]
    for start in range(0, len(filtered), _LARGEST_BLOCK):
        block = filtered[start : start + _LARGEST_BLOCK]
        last = start + _LARGEST_BLOCK >= len(filtered)
        blocks += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]  # RFC 1951, 3.2.4
    chunk = b"".join((_IDAT, *blocks, struct.pack(">I", isal_zlib.adler32(filtered))))
    return b"".join(
        (
            content[:_AFTER_HEADER],
            struct.pack(">I", len(chunk) - len(_IDAT)),
            chunk,
            struct.pack(">I", isal_zlib.crc32(chunk)),
            _END_CHUNK,
        )
    )


def _plain_shape(header: bytes) -> tuple[int, ...] | None:
    columns, rows = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    # Bits per sample, color type (0 gray, 2 RGB), compression, filter, interlacing.
    if header[8:] not in (b"\x08\0\0\0\0", b"\x08\2\0\0\0") or not 0 < rows * columns <= _MOST_SAMPLES:
        return None
    return (rows, columns) if header[9] == 0 else (rows, columns, 3)


def _decode_jpeg(content: bytes) -> np.ndarray | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=("JPEG",)) as picture:
                # Another class holds several pictures; an orientation would have to be applied.
                plain = type(picture) is JpegImagePlugin.JpegImageFile and picture.mode in ("L", "RGB")
                if not plain or picture.width * picture.height > _MOST_SAMPLES:
                    return None
                picture.load()
                return np.asarray(picture) if picture.getexif().get(_EXIF_ORIENTATION, 1) == 1 else None
    except Exception:
        # The general reader reports what is wrong.
        return None
