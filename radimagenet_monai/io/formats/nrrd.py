"""Parse NRRD files (http://teem.sourceforge.net/nrrd/format.html) of one scalar or RGB volume.

ITK is not used: its reader allocates whatever size the header claims, follows a detached header to any file of the
machine, and takes seconds to import in every worker process. The tests compare with ITK.
"""

from __future__ import annotations

import bz2
import math
import os
import re
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from radimagenet_monai.io.formats.detached import file_beside
from radimagenet_monai.io.geometry import RAS_TO_LPS

_MAGIC = re.compile(rb"NRRD000[1-5]$")
_MOST_HEADER_BYTES = 1 << 20
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_DTYPES = {name: code for code, names in _TYPES.items() for name in names}
_SPACES = {
    "right-anterior-superior": RAS_TO_LPS,
    "ras": RAS_TO_LPS,
    "left-anterior-superior": np.diag([1.0, -1.0, 1.0]),
    "las": np.diag([1.0, -1.0, 1.0]),
    "left-posterior-superior": np.eye(3),
    "lps": np.eye(3),
}
_TEXT = frozenset({"ascii", "txt", "text"})
_COLOR_KINDS = frozenset({"rgb-color", "3-color"})


@dataclass(frozen=True)
class NrrdHeader:
    """Fields of an NRRD header.

    Attributes
    ----------
    sizes
        Samples along each axis, fastest first, without a color axis.
    color
        Whether an additional first axis holds three RGB samples.
    directions
        One LPS vector per axis, in mm; identity times the spacings if the file states no space.
    origin
        LPS position of the first sample, or ``None`` if the file does not place it in the patient.
    """

    sizes: tuple[int, ...]
    color: bool
    dtype: np.dtype
    encoding: str
    directions: np.ndarray
    origin: np.ndarray | None
    data_file: str | None
    data_offset: int
    line_skip: int
    byte_skip: int

    @property
    def nbytes(self) -> int:
        """Size of the decoded samples in bytes."""
        return math.prod(self.sizes) * (3 if self.color else 1) * self.dtype.itemsize

    @property
    def slice_nbytes(self) -> int:
        """Size of one decoded slice in bytes."""
        return self.nbytes // (self.sizes[2] if len(self.sizes) > 2 else 1)


def read_nrrd_header(path: str) -> NrrdHeader:
    """Parse the header of ``path``.

    Raises
    ------
    ValueError
        If a field is missing, damaged, or describes something other than an image of one to three dimensions.
    OSError
        If the file cannot be opened.
    """
    with open(path, "rb") as stream:
        fields, offset = _fields(stream)
    kind = fields.get("type", "").lower()
    if kind not in _DTYPES:
        raise ValueError("the NRRD type is missing or no plain number")
    dtype = np.dtype(_DTYPES[kind])
    if dtype.itemsize > 1 and fields.get("encoding", "").lower() not in _TEXT:
        endian = fields.get("endian", "").lower()
        if endian not in ("little", "big"):
            raise ValueError("the NRRD endian is missing")
        dtype = dtype.newbyteorder("<" if endian == "little" else ">")
    dimension = int(fields.get("dimension", "0"))
    sizes = tuple(int(size) for size in fields.get("sizes", "").split())
    if len(sizes) != dimension or not 2 <= dimension <= 4:
        raise ValueError(f"the NRRD has {len(sizes)} sizes and dimension {dimension}; images have 2 or 3")
    kinds = fields.get("kinds", "").lower().split()
    color = bool(kinds) and kinds[0] in _COLOR_KINDS and sizes[0] == 3
    if color:
        sizes = sizes[1:]
    if not 2 <= len(sizes) <= 3 or any(kind not in ("domain", "space", "none", "???") for kind in kinds[color:]):
        raise ValueError("the NRRD is not one image: an axis is a list, a vector, time or the like; split it first")
    skips = (
        int(fields.get("line skip", fields.get("lineskip", "0"))),
        int(fields.get("byte skip", fields.get("byteskip", "0"))),
    )
    if skips[0] < 0 or skips[1] < -1:
        raise ValueError("the NRRD skips a negative number of lines or bytes")
    return NrrdHeader(
        sizes=sizes,
        color=color,
        dtype=dtype,
        encoding=fields.get("encoding", "").lower(),
        directions=_directions(fields, len(sizes), color),
        origin=_origin(fields),
        data_file=fields.get("data file", fields.get("datafile")),
        data_offset=offset,
        line_skip=skips[0],
        byte_skip=skips[1],
    )


def read_nrrd_samples(path: str, header: NrrdHeader) -> np.ndarray:
    """Decode the samples of ``path``, slowest axis first, a color axis last, in native byte order.

    Raises
    ------
    ValueError
        If samples are missing, damaged, or in a file that is not beside the header.
    OSError
        If a file cannot be read.
    """
    source = path if header.data_file is None else _detached(path, header.data_file)
    with open(source, "rb") as stream:
        stream.seek(header.data_offset if header.data_file is None else 0)
        for _ in range(header.line_skip):
            if not stream.readline(_MOST_HEADER_BYTES):
                raise ValueError("the NRRD data end within the lines to skip")
        data = _decoded(stream, header)
    count = header.nbytes // header.dtype.itemsize
    if header.encoding in _TEXT:
        words = data.split()
        if len(words) != count:
            raise ValueError(f"the NRRD holds {len(words)} of {count} samples")
        samples = np.array(words).astype(header.dtype)
    else:
        if len(data) < header.nbytes:
            raise ValueError(f"the NRRD is cut short: {len(data)} of {header.nbytes} bytes of samples are there")
        if len(data) - header.nbytes >= header.slice_nbytes:
            raise ValueError(f"the NRRD holds more samples than the {header.nbytes} bytes its header describes")
        samples = np.frombuffer(data, dtype=header.dtype, count=count)
    samples = samples.astype(header.dtype.newbyteorder("="), copy=False)
    shape = header.sizes[::-1] + ((3,) if header.color else ())
    return samples.reshape(shape)


def _fields(stream: BinaryIO) -> tuple[dict[str, str], int]:
    """The fields of a header, names in lower case, and the offset of the data; key/value pairs are skipped."""
    if not _MAGIC.match(stream.readline(64).strip()):
        raise ValueError("it is no NRRD file")
    fields: dict[str, str] = {}
    while stream.tell() < _MOST_HEADER_BYTES:
        line = stream.readline(_MOST_HEADER_BYTES)
        text = line.decode("ascii", errors="replace").strip()
        if not text:
            return fields, stream.tell()
        if text.startswith("#") or ":=" in text:
            continue
        name, separator, value = text.partition(":")
        if not separator:
            raise ValueError("the NRRD header holds a line that is no field")
        if value.strip():  # ignore empty fields
            fields[name.strip().lower()] = value.strip()
        if name.strip().lower() in ("data file", "datafile") and value.strip().upper().startswith("LIST"):
            return fields, stream.tell()  # the file names are listed up to the end
    raise ValueError("the NRRD header does not end")


def _directions(fields: dict[str, str], axes: int, color: bool) -> np.ndarray:
    space = fields.get("space", "").lower()
    if "space directions" not in fields:
        spacings = [float(word) for word in fields.get("spacings", "").split()][int(color) :] or [1.0] * axes
        steps = [value if math.isfinite(value) and value != 0 else 1.0 for value in spacings]
        if len(steps) != axes:
            raise ValueError("the NRRD does not have one spacing an axis")
        return np.eye(3)[:axes] * np.abs(steps)[:, None]
    if space and space not in _SPACES:
        raise ValueError("the NRRD space is not one of RAS, LAS, LPS")
    vectors = re.findall(r"none|\([^)]*\)", fields["space directions"].lower())
    if len(vectors) != axes + int(color):
        raise ValueError("the NRRD does not have one direction an axis")
    rows = [[float(word) for word in vector.strip("()").split(",")] for vector in vectors[int(color) :]]
    if any(len(row) != 3 for row in rows):
        raise ValueError("the NRRD directions are not in three dimensions")
    return np.array(rows) @ _SPACES.get(space, np.eye(3))


def _origin(fields: dict[str, str]) -> np.ndarray | None:
    space = _SPACES.get(fields.get("space", "").lower())
    words = fields.get("space origin", "").strip("()").split(",")
    try:
        origin = np.array([float(word) for word in words])
    except ValueError:
        return None
    return None if space is None or origin.shape != (3,) or not np.isfinite(origin).all() else origin @ space


def _detached(path: str, name: str) -> str:
    if name.upper().startswith("LIST") or "%" in name:
        raise ValueError("the NRRD data lie in several files; join them into one first")
    return file_beside(path, name.removeprefix("./"))


def _decoded(stream: BinaryIO, header: NrrdHeader) -> bytes:
    """The bytes of the samples, and up to one slice more than needed."""
    skip = header.byte_skip
    most = header.nbytes + header.slice_nbytes
    if header.encoding == "raw":
        if skip == -1:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - header.nbytes))
        else:
            stream.seek(skip, os.SEEK_CUR)
        return stream.read(most)
    if skip == -1:
        raise ValueError("a byte skip of -1 goes with raw NRRD data alone")
    if header.encoding in _TEXT:
        stream.seek(skip, os.SEEK_CUR)
        # 32 characters are enough for any number of these types.
        return stream.read(most // header.dtype.itemsize * 32)
    inflater: Any
    if header.encoding in ("gzip", "gz"):
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    elif header.encoding in ("bzip2", "bz2"):
        inflater = bz2.BZ2Decompressor()
    else:
        raise ValueError("the NRRD encoding is none of raw, gzip, bzip2, ascii")
    data = inflater.decompress(stream.read(), skip + most)[skip:]
    # The checksum is at the end: a stream that does not reach it is cut short.
    if not inflater.eof and len(data) < most:
        raise ValueError(f"the NRRD is cut short: its {header.encoding} stream does not end")
    return bytes(data)
