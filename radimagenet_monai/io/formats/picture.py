"""Read pictures (PNG, JPEG, JPEG 2000, TIFF, BMP, GIF, WebP) and arrays (NPY).

Pictures are returned as a viewer shows them: palettes resolved, EXIF orientation applied, alpha composed over black,
one bit as 0 and 255. Sixteen bits are kept, also in color, which Pillow alone would reduce to eight.
"""

from __future__ import annotations

import io
import itertools
import os
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin, TiffTags, UnidentifiedImageError

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.dicom.codestream import Frame, require_whole_jpeg2000
from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.limits import require_affordable
from radimagenet_monai.io.native_image import NativeImage

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")
_EXIF_ORIENTATION = 0x0112
# EXIF orientation: (transpose, flip rows, flip columns); flips follow the transposition.
_EXIF_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
# Pillow supports this kind only in the other byte order.
TiffImagePlugin.OPEN_INFO.setdefault((TiffImagePlugin.MM, 0, (1,), 1, (16,), ()), ("I;16B", "I;16B"))
_COLOR_MODES = frozenset({"RGB", "YCbCr", "RGBA", "RGBX", "P", "PA"})
_ALPHA_MODES = frozenset({"LA", "La", "RGBA", "RGBa", "PA"})
_TIFF_BITS_PER_SAMPLE, _TIFF_SAMPLE_FORMAT = 258, 339
_TIFF_PHOTOMETRIC, _TIFF_PLANAR, _TIFF_EXTRA_SAMPLES = 262, 284, 338
_MIN_IS_WHITE = 0
_JPEG2000_START = b"\xff\x4f\xff\x51"
# Supported 16-bit color: photometric interpretation (1 gray, 2 RGB) and samples per pixel.
_DEEP_TIFF = frozenset({(2, 3), (2, 4)})
# Tags needed to decode strips or tiles: sizes, compression, fill order, rows per strip, predictor, tile sizes.
_TIFF_LAYOUT = (256, 257, 259, 266, 278, 317, 322, 323)


def read_picture(path: str) -> NativeImage:
    """Read a PNG, JPEG, JPEG 2000, TIFF, BMP, GIF or WebP file; the pages of a TIFF file are its frames.

    Returns
    -------
    NativeImage
        ``pixels`` (pages, rows, columns) or (pages, rows, columns, 3) in RGB, uint8 or uint16.

    Raises
    ------
    UnreadableImageError
        If the file is damaged or cut short, is animated, or holds CMYK, 32-bit or float samples.
    """
    with stage(path, "open"):
        try:
            picture = Image.open(path, formats=_FORMATS)
        except UnidentifiedImageError:
            raise UnreadableImageError(
                path, "open", "its header is damaged or of a rare kind; save it as gray or RGB of 8 or 16 bits"
            ) from None
    with picture:
        with stage(path, "header"):
            pages = getattr(picture, "n_frames", 1)
            if pages > 1 and picture.format != "TIFF":
                raise UnreadableImageError(path, "header", f"it is an animation of {pages} pictures; give single ones")
            if picture.format == "JPEG2000":
                _require_plain_jpeg2000(path, picture)
            deep = _has_deep_color(path, picture)
            width, height = picture.size
            require_affordable(path, (pages, height, width, 4), 2 if deep or picture.mode.startswith("I") else 1)
        frames = []
        for page in range(pages):
            with stage(path, "decode"):
                picture.seek(page)
                if page:
                    deep = _has_deep_color(path, picture)
                if not (deep and _is_planar(picture)):
                    # Pillow notices cut and damaged files where OpenCV returns grey; so it always decodes first.
                    picture.load()
                samples = _deep_color(path, picture, page) if deep else _samples(path, picture)
                frames.append(_turned(samples, picture.getexif().get(_EXIF_ORIENTATION, 1)))
            first = frames[0]
            if frames[-1].shape != first.shape or frames[-1].dtype != first.dtype:
                raise UnreadableImageError(path, "decode", "its pages differ in size or kind; give single pictures")
    return NativeImage(path, "picture", np.stack(frames), ())


def read_array(path: str) -> NativeImage:
    """Read an NPY file: (rows, columns), (slices, rows, columns) or (slices, rows, columns, 3).

    Raises
    ------
    UnreadableImageError
        If it holds another shape, objects, complex or Boolean values, or a different number of bytes than stated.
    """
    with stage(path, "header"), open(path, "rb") as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise UnreadableImageError(path, "header", f"NPY version {version} is not an array of numbers")
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
        if dtype.hasobject or dtype.kind not in "uif" or dtype.itemsize > 8:
            raise UnreadableImageError(
                path, "header", "it holds no integers or floating-point numbers of at most 64 bits"
            )
        if not (len(shape) in (2, 3) or (len(shape) == 4 and shape[-1] == 3)):
            raise UnreadableImageError(
                path, "header", f"its shape is {shape}; (rows, columns), (slices, rows, columns[, 3]) are read"
            )
        require_affordable(path, shape, dtype.itemsize)
        expected = int(np.prod(shape)) * dtype.itemsize
        present = os.fstat(stream.fileno()).st_size - stream.tell()
        if present != expected:
            raise UnreadableImageError(path, "decode", f"{present} of {expected} bytes of pixels are there")
        pixels = np.frombuffer(stream.read(expected), dtype=dtype).reshape(shape, order="F" if fortran else "C")
    if pixels.ndim == 2:
        pixels = pixels[None]
    return NativeImage(path, "array", np.array(pixels, dtype=dtype.newbyteorder("="), order="C"), ())


def picture_pages(path: str) -> int:
    """Number of pages of a picture, from its header alone; 1 if it cannot be opened."""
    with open(path, "rb") as stream:
        # Only TIFF has pages, so a million PNG files need not be parsed.
        if not stream.read(2).startswith((b"II", b"MM")):
            return 1
    try:
        with stage(path, "open"), Image.open(path, formats=_FORMATS) as picture:
            return int(getattr(picture, "n_frames", 1)) if picture.format == "TIFF" else 1
    except UnreadableImageError:
        return 1


def picture_orientations(path: str) -> tuple[int, ...]:
    """EXIF orientation, 1 to 8, of each page of a picture before turning; a single entry if all pages share it.

    Raises
    ------
    UnreadableImageError
        If the file cannot be opened.
    """
    found = []
    with stage(path, "open"), Image.open(path, formats=_FORMATS) as picture:
        for page in range(getattr(picture, "n_frames", 1) if picture.format == "TIFF" else 1):
            picture.seek(page)
            orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
            found.append(int(orientation) if orientation in _EXIF_TURNS else 1)
    return (found[0],) if len(set(found)) == 1 else tuple(found)


def array_slices(path: str) -> int:
    """Number of slices of an NPY file, from its header alone; 1 if it cannot be opened."""
    try:
        with stage(path, "open"):
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except UnreadableImageError:
        return 1
    return int(shape[0]) if len(shape) > 2 else 1


def _has_deep_color(path: str, picture: Image.Image) -> bool:
    """Whether pixels have several 16-bit samples, including alpha, which Pillow would reduce to 8 bits."""
    if picture.format == "PNG":
        with open(path, "rb") as stream:
            header = stream.read(26)
        return header[24] == 16 and header[25] != 0
    if picture.format == "TIFF":
        tags = picture.tag_v2  # type: ignore[attr-defined]  # only TIFF pictures have it
        bits = tags.get(_TIFF_BITS_PER_SAMPLE, (1,))
        formats = tags.get(_TIFF_SAMPLE_FORMAT, (1,))
        if set(formats) != {1} or max(bits) > 16:
            raise UnreadableImageError(
                path, "header", f"its samples have {max(bits)} bits, signed or floating; 8 or 16 bits unsigned are read"
            )
        return len(bits) > 1 and max(bits) == 16
    return False


def _require_plain_jpeg2000(path: str, picture: Image.Image) -> None:
    """Refuse a JPEG 2000 file that is cut short (OpenJPEG fills it with gray) or that Pillow would reduce to 8 bits."""
    data = Path(path).read_bytes()
    start = data.find(_JPEG2000_START)
    (count,) = struct.unpack_from(">H", data, start + 40)
    parts = [data[start + 42 + 3 * number] for number in range(count)]
    require_whole_jpeg2000(data, Frame(picture.height, picture.width, count, 16))
    if any(part & 0x80 for part in parts) or (count > 1 and max(parts) > 7):
        raise UnreadableImageError(
            path, "header", "its samples are signed, or color of more than 8 bits; gray of up to 16 bits is read"
        )


def _is_planar(picture: Image.Image) -> bool:
    return picture.format == "TIFF" and picture.tag_v2.get(_TIFF_PLANAR, 1) == 2  # type: ignore[attr-defined]


def _deep_color(path: str, picture: Image.Image, page: int) -> np.ndarray:
    extra: int | None = 2  # PNG alpha, by which the color has yet to be multiplied
    if picture.format == "TIFF":
        tags = picture.tag_v2  # type: ignore[attr-defined]  # only TIFF pictures have it
        bits, photometric = tags[_TIFF_BITS_PER_SAMPLE], tags.get(_TIFF_PHOTOMETRIC)
        if set(bits) != {16} or (photometric, len(bits)) not in _DEEP_TIFF:
            raise UnreadableImageError(
                path, "decode", "16-bit color of this kind is not read; RGB with or without alpha is"
            )
        extra = tags.get(_TIFF_EXTRA_SAMPLES, (0,))[0]
        if _is_planar(picture):
            # OpenCV treats planes as interleaved samples, and Pillow has no such mode.
            samples = np.stack([_samples(path, plane) for plane in _tiff_planes(path, tags)], axis=-1)
            return _flattened(samples, extra)
    ok, pages = cv2.imreadmulti(path, start=page, count=1, flags=cv2.IMREAD_UNCHANGED)
    if not ok or pages[0].dtype != np.uint16:
        raise UnreadableImageError(path, "decode", "16-bit color of this kind is not read")
    samples = np.asarray(pages[0])
    if samples.ndim == 2:
        return samples
    order = [2, 1, 0, 3][: samples.shape[-1]] if samples.shape[-1] > 2 else [0, 1]
    return _flattened(samples[..., order], extra)


def _flattened(samples: np.ndarray, extra: int | None) -> np.ndarray:
    """Gray or color without alpha; in TIFF it may already be multiplied, or the extra sample not be alpha (0)."""
    kept = samples.shape[-1] - 1 + samples.shape[-1] % 2
    color = samples[..., :kept]
    if kept < samples.shape[-1] and extra == 2:
        color = _over_black(color, samples[..., kept:])
    return color[..., 0] if kept == 1 else color


def _tiff_planes(path: str, tags: TiffImagePlugin.ImageFileDirectory_v2) -> list[Image.Image]:
    """Each plane of a planar TIFF page as a separate picture: its tags and its share of the strips or tiles."""
    offsets_tag, lengths_tag = (324, 325) if 324 in tags else (273, 279)
    offsets, lengths = tags[offsets_tag], tags[lengths_tag]
    count = len(offsets) // len(tags[_TIFF_BITS_PER_SAMPLE])
    planes: list[Image.Image] = []
    with open(path, "rb") as stream:
        for start in range(0, len(offsets), count):
            chunks = []
            for offset, length in zip(offsets[start : start + count], lengths[start : start + count], strict=True):
                stream.seek(offset)
                chunks.append(stream.read(length))
            entries = {tag: [int(tags[tag])] for tag in _TIFF_LAYOUT if tag in tags}
            entries |= {_TIFF_BITS_PER_SAMPLE: [16], _TIFF_PHOTOMETRIC: [1]}
            single = io.BytesIO(_tiff_page(tags.prefix, entries, (offsets_tag, lengths_tag), chunks))
            planes.append(Image.open(single, formats=("TIFF",)))
            planes[-1].load()
    return planes


def _tiff_page(prefix: bytes, entries: dict[int, list[int]], parts: tuple[int, int], chunks: list[bytes]) -> bytes:
    """A one-page TIFF file: ``entries``, and the chunks' offsets and lengths under the tags ``parts``.

    All numbers are written as LONG, which readers accept for any integer (TIFF 6.0, section 2).
    """
    order = "<" if prefix == b"II" else ">"
    behind = 8 + 2 + 12 * (len(entries) + 2) + 4 + 8 * len(chunks)
    lengths = list(map(len, chunks))
    starts = [behind + end for end in itertools.accumulate([0, *lengths[:-1]])]
    arrays = b""
    directory = struct.pack(f"{order}H", len(entries) + 2)
    for tag, values in sorted((entries | dict(zip(parts, (starts, lengths), strict=True))).items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        place = behind - 8 * len(chunks) + len(arrays)
        if len(values) > 1:
            arrays += packed
            packed = struct.pack(f"{order}I", place)
        directory += struct.pack(f"{order}HHI", tag, TiffTags.LONG, len(values)) + packed
    arrays = arrays.ljust(8 * len(chunks), b"\0")
    return b"".join((prefix, struct.pack(f"{order}HI", 42, 8), directory, bytes(4), arrays, *chunks))


def _samples(path: str, picture: Image.Image) -> np.ndarray:
    mode = picture.mode
    if mode == "1":
        return np.asarray(picture.convert("L"))
    if mode.startswith("I;16"):
        samples = np.asarray(picture).astype(np.uint16)
        if picture.format == "TIFF":
            tags = picture.tag_v2  # type: ignore[attr-defined]  # only TIFF pictures have it
            if tags.get(_TIFF_PHOTOMETRIC) == _MIN_IS_WHITE:  # Pillow inverts only up to 8 bits
                return ((1 << tags[_TIFF_BITS_PER_SAMPLE][0]) - 1 - samples).astype(np.uint16)
        return samples
    transparent = "transparency" in picture.info or mode in _ALPHA_MODES
    if mode in ("L", "LA", "La"):
        if not transparent:
            return np.asarray(picture)
        samples = np.asarray(picture.convert("LA"))
        return _over_black(samples[..., 0], samples[..., 1])
    if mode in _COLOR_MODES:
        if not transparent:
            return np.asarray(picture.convert("RGB"))
        samples = np.asarray(picture.convert("RGBA"))
        return _over_black(samples[..., :3], samples[..., 3:])
    raise UnreadableImageError(
        path, "decode", f"its color mode is {mode}; grey, palette and RGB of 8 or 16 bits are read"
    )


def _over_black(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Compose over black in integers, rounding half up; opaque pixels are unchanged."""
    full = int(np.iinfo(color.dtype).max)
    return ((color.astype(np.uint32) * alpha + full // 2) // full).astype(color.dtype)


def _turned(samples: np.ndarray, orientation: object) -> np.ndarray:
    if orientation not in _EXIF_TURNS:
        return samples
    transpose, flip_rows, flip_columns = _EXIF_TURNS[orientation]
    if transpose:
        samples = samples.swapaxes(0, 1)
    return samples[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
