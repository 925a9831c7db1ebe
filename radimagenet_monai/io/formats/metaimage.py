"""Parse MetaImage files (.mha, and .mhd with .raw or .zraw beside it) of one volume or picture.

Format: https://docs.itk.org/en/latest/learn/metaio.html. ITK is not used, for the same reasons as for NRRD: its
reader allocates whatever size the header claims and follows a header to any file of the machine. The tests compare
with ITK.
"""

from __future__ import annotations

import math
import os
import re
import zlib
from dataclasses import dataclass

import numpy as np

from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.formats.detached import file_beside
from radimagenet_monai.io.formats.volume import axis_of, layout_of, upright_volume
from radimagenet_monai.io.geometry import Plane, PlaneChoice
from radimagenet_monai.io.limits import require_affordable
from radimagenet_monai.io.native_image import NativeImage

_MOST_HEADER_BYTES = 1 << 16
_FIRST_KEYS = (
    *("ObjectType", "ObjectSubType", "NDims", "Comment", "Name", "ID", "ParentID", "TransformType", "AcquisitionDate"),
    *("BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData", "DimSize", "Modality"),
)
_START = re.compile(rb"\s*(?:" + b"|".join(key.encode() for key in _FIRST_KEYS) + rb")[ \t]*[=:]")
_FIELD = re.compile(r"\s*(\w+)\s*[=:]\s*(.*?)\s*")
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # 4 bytes on every machine
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_INTENSITY = {"ElementToIntensityFunctionSlope": 1.0, "ElementToIntensityFunctionOffset": 0.0}


@dataclass(frozen=True)
class MetaImageHeader:
    """Fields of a MetaImage header.

    Attributes
    ----------
    sizes
        Elements along each axis, fastest first; axes beyond the third hold volumes.
    channels
        Values per element: 1, or 3 for RGB.
    steps
        ``(3, 3)`` float64: one LPS vector in mm for each of the first three axes.
    origin
        ``(2,)`` or ``(3,)`` float64: centre of the first element, in LPS mm.
    data_file
        Name of the data file beside the header, or ``None`` if the elements are in this file.
    data_offset
        Offset of the elements in bytes; ``-1`` if they are the last bytes of the file.
    """

    sizes: tuple[int, ...]
    channels: int
    dtype: np.dtype
    steps: np.ndarray
    origin: np.ndarray
    compressed: bool
    text: bool
    data_file: str | None
    data_offset: int

    @property
    def nbytes(self) -> int:
        """Size of the decoded elements in bytes."""
        return math.prod(self.sizes) * self.channels * self.dtype.itemsize

    @property
    def affine(self) -> np.ndarray:
        """``(4, 4)`` float64 from an element (x, y, z, 1) to LPS mm."""
        affine = np.eye(4)
        affine[:3, :3] = self.steps.T
        affine[: len(self.origin), 3] = self.origin
        return affine

    @property
    def slice_nbytes(self) -> int:
        """Size of one decoded slice in bytes."""
        return math.prod(self.sizes[:2]) * self.channels * self.dtype.itemsize


def is_metaimage(head: bytes) -> bool:
    """Whether ``head`` (540 bytes, or the whole file) is the start of a MetaImage."""
    return _START.match(head) is not None and b"NDims" in head


def read_metaimage_header(path: str) -> MetaImageHeader:
    """Parse the header of ``path``.

    Raises
    ------
    ValueError
        If a field is missing, damaged, or describes something other than an image.
    OSError
        If the file cannot be opened.
    """
    fields, end = _fields(path)
    if fields.get("ObjectType", "Image") != "Image":
        raise ValueError(f"the MetaImage holds a {fields['ObjectType']}, not an image")
    axes = int(fields.get("NDims", "0"))
    sizes = tuple(int(word) for word in fields.get("DimSize", "").split())
    if len(sizes) != axes or not 2 <= axes <= 7:
        raise ValueError(f"the MetaImage has {len(sizes)} sizes and {axes} dimensions; images have two or more")
    kind = fields.get("ElementType", "")
    if kind not in _TYPES:
        raise ValueError(f"the MetaImage element type is {kind or 'missing'}; plain numbers are read")
    channels = int(fields.get("ElementNumberOfChannels", "1"))
    if channels != 1 and not (channels == 3 and kind in ("MET_UCHAR", "MET_USHORT")):
        raise ValueError(f"the MetaImage has {channels} channels of {kind}; gray and unsigned RGB images are read")
    for key, neutral in _INTENSITY.items():
        if key in fields and float(fields[key]) != neutral:
            raise ValueError(f"the MetaImage has {key} {fields[key]}, which ITK ignores; write the scaled values")
    order = _first(fields, ("ElementByteOrderMSB", "BinaryDataByteOrderMSB"), "False")
    text = not _is_true(fields.get("BinaryData", "True"))
    data_file = fields["ElementDataFile"]
    local = data_file.upper() == "LOCAL"
    skip = int(fields.get("HeaderSize", "0"))
    if skip < -1 or (local and skip > 0):
        raise ValueError(f"the MetaImage has HeaderSize {skip}; expected -1 or, beside a data file, 0 or more")
    if not local and (data_file.upper().startswith("LIST") or "%" in data_file):
        raise ValueError("the MetaImage data lie in several files; join them into one first")
    return MetaImageHeader(
        sizes=sizes,
        channels=channels,
        dtype=np.dtype(_TYPES[kind]).newbyteorder(">" if _is_true(order) else "<"),
        steps=_steps(fields, axes),
        origin=_numbers(fields, ("Offset", "Position", "Origin"), axes, [0.0] * axes)[:3],
        compressed=_is_true(fields.get("CompressedData", "False")),
        text=text,
        data_file=None if local else data_file,
        data_offset=skip if skip < 0 or not local else end,
    )


def read_metaimage_samples(path: str, header: MetaImageHeader) -> np.ndarray:
    """Decode the elements of ``path``, slowest axis first, channels last, in native byte order.

    Raises
    ------
    ValueError
        If elements are missing, damaged, or in a file that is not beside the header.
    OSError
        If a file cannot be read.
    """
    source = path if header.data_file is None else file_beside(path, header.data_file)
    count = header.nbytes // header.dtype.itemsize
    most = header.nbytes + header.slice_nbytes
    with open(source, "rb") as stream:
        if header.data_offset < 0:
            if header.compressed or header.text:
                raise ValueError("a MetaImage HeaderSize of -1 goes with plain binary data alone")
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - header.nbytes))
        else:
            stream.seek(header.data_offset)
        if header.text:
            words = stream.read(32 * (count + 1)).split()
            if len(words) != count:
                raise ValueError(f"the MetaImage holds {len(words)} of {count} values")
            return _shaped(np.array(words).astype(header.dtype), header)
        data = _inflated(stream.read(), most) if header.compressed else stream.read(most)
    if len(data) < header.nbytes:
        raise ValueError(f"the MetaImage is cut short: {len(data)} of {header.nbytes} bytes of values are there")
    if len(data) - header.nbytes >= header.slice_nbytes:
        raise ValueError(f"the MetaImage holds more values than the {header.nbytes} bytes its header describes")
    return _shaped(np.frombuffer(data, header.dtype, count), header)


def read_metaimage(path: str, plane: PlaneChoice = "acquired") -> NativeImage:
    """Read a MetaImage volume or picture; axes beyond the third are unrolled, volume after volume.

    Parameters
    ----------
    path
        The ``.mha`` file, or the ``.mhd`` header of a detached file.
    plane
        Plane of the slices.

    Returns
    -------
    NativeImage
        ``pixels`` (slices, rows, columns[, 3]) of the stored type; intensities are not rescaled.

    Raises
    ------
    UnreadableImageError
        If the file is damaged or cut short, is not a single image, or keeps its data outside its folder.
    """
    with stage(path, "header"):
        header = read_metaimage_header(path)
        require_affordable(path, (*header.sizes, header.channels), header.dtype.itemsize)
    with stage(path, "decode"):
        samples = read_metaimage_samples(path, header)
        sizes = (*header.sizes, 1)[:3]
        channels = (header.channels,) if header.channels > 1 else ()
        volumes = samples.reshape(-1, *sizes[::-1], *channels)
    with stage(path, "geometry"):
        axis = axis_of(header.affine, sizes, plane, None)
    return upright_volume(path, volumes, header.affine, axis, plane)


def metaimage_layout(path: str, plane: PlaneChoice = "acquired") -> tuple[Plane | None, int, int]:
    """Plane, slices per volume and number of volumes of a MetaImage file, from its header alone.

    Raises
    ------
    UnreadableImageError
        If the header is damaged.
    """
    with stage(path, "header"):
        header = read_metaimage_header(path)
        return layout_of(header.affine, header.sizes, plane, None)


def _shaped(samples: np.ndarray, header: MetaImageHeader) -> np.ndarray:
    shape = header.sizes[::-1] + ((header.channels,) if header.channels > 1 else ())
    return samples.astype(header.dtype.newbyteorder("="), copy=False).reshape(shape)


def _inflated(data: bytes, most: int) -> bytes:
    """At most ``most`` bytes of a complete zlib or gzip stream."""
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
    inflated = inflater.decompress(data, most)
    if not inflater.eof and len(inflated) < most:
        raise ValueError("the MetaImage is cut short: its compressed stream does not end")
    return inflated


def _fields(path: str) -> tuple[dict[str, str], int]:
    """The fields of a header, and the offset of its end: after the line that names the data file."""
    fields: dict[str, str] = {}
    with open(path, "rb") as stream:
        while stream.tell() < _MOST_HEADER_BYTES and (line := stream.readline(_MOST_HEADER_BYTES)):
            match = _FIELD.fullmatch(line.decode("utf-8", errors="replace").rstrip("\r\n"))
            if match is None:
                if line.strip():
                    raise ValueError("the MetaImage header holds a line that is no field")
                continue
            fields[match[1]] = match[2]
            if match[1] == "ElementDataFile":
                return fields, stream.tell()
    raise ValueError("the MetaImage header does not say where its data are (ElementDataFile)")


def _steps(fields: dict[str, str], axes: int) -> np.ndarray:
    """Each row of the matrix is the direction of one axis."""
    spacing = _numbers(fields, ("ElementSpacing", "ElementSize"), axes, [1.0] * axes)
    names = ("TransformMatrix", "Rotation", "Orientation")
    matrix = _numbers(fields, names, axes * axes, np.eye(axes).ravel()).reshape(axes, axes)
    steps = np.eye(3)
    used = min(axes, 3)
    steps[:used, :used] = matrix[:used, :used] * spacing[:used, None]
    return steps


def _numbers(fields: dict[str, str], names: tuple[str, ...], count: int, default: object) -> np.ndarray:
    text = _first(fields, names, "")
    numbers = np.array([float(word) for word in text.split()] if text else default, dtype=np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise ValueError(f"the MetaImage field {names[0]} does not hold {count} numbers")
    return numbers


def _first(fields: dict[str, str], names: tuple[str, ...], default: str) -> str:
    return next((fields[name] for name in names if name in fields), default)


def _is_true(word: str) -> bool:
    return word[:1] in ("T", "t", "1")
