"""Read volumes with header and voxels in two files (NIfTI .hdr and .img), and FreeSurfer's (.mgh, .mgz).

An Analyze 7.5 pair is refused: its header does not state which side of the patient is left, and programs disagree
about it.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.fileholders import FileHolder

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.formats.volume import (
    GZIP_MAGIC,
    RAS_TO_LPS_AFFINE,
    gunzip,
    gunzipped_head,
    is_placed,
    layout_of,
    read_voxels,
    stated_slice_axis,
)
from radimagenet_monai.io.geometry import Plane, PlaneChoice
from radimagenet_monai.io.native_image import NativeImage

_ANALYZE_HEADER_BYTES = 348
_MGH_VERSION = 1
_MGH_TYPES = frozenset({0, 1, 3, 4, 10})  # uchar, int, float, short, ushort
_MGH_HEADER_BYTES = 284
_MOST_VOXELS_A_SIDE = 1 << 15


def pair_class(head: bytes) -> type[nib.Nifti1Pair] | None:
    """The nibabel class for the header of a pair that starts with ``head``, or ``None`` if it is not a NIfTI pair."""
    if head[4:8] == b"ni2\0":
        return nib.Nifti2Pair
    return nib.Nifti1Pair if head[344:348] == b"ni1\0" else None


def is_analyze(head: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes that starts with ``head`` is the header of an Analyze 7.5 pair."""
    lengths = (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))
    # SPM and nibabel write nothing after the header.
    return _ANALYZE_HEADER_BYTES in lengths and size in (_ANALYZE_HEADER_BYTES, _ANALYZE_HEADER_BYTES + 4)


def is_mgh(head: bytes) -> bool:
    """Whether a file that starts with ``head`` (28 bytes or more, inflated) is FreeSurfer's."""
    if len(head) < 28:
        return False
    version, *sizes, kind, _ = struct.unpack_from(">7i", head)
    return version == _MGH_VERSION and kind in _MGH_TYPES and all(0 < side < _MOST_VOXELS_A_SIDE for side in sizes)


def pixels_of_header(path: str) -> str | None:
    """The ``.img`` file beside the ``.hdr`` file of a pair, or ``None``."""
    return _beside(path, ".hdr", ".img")


def header_of_pixels(path: str) -> str | None:
    """The ``.hdr`` file beside the ``.img`` file of a pair, or ``None``."""
    return _beside(path, ".img", ".hdr")


def read_pair(path: str, plane: PlaneChoice = "acquired") -> NativeImage:
    """Read a NIfTI-1 or NIfTI-2 pair; ``path`` is the ``.hdr`` or the ``.img`` file, each gzipped or not.

    Raises
    ------
    UnreadableImageError
        As for a single-file NIfTI; also if the other file is missing, and for an Analyze 7.5 pair.
    """
    header_file = header_of_pixels(path) or path
    voxel_file = pixels_of_header(header_file)
    with stage(path, "open"):
        header = _content(header_file)
        kind = pair_class(header[:540])
        if kind is None:
            raise UnreadableImageError(
                path, "header", "Analyze 7.5 does not say which side is left; convert it to NIfTI where you know it"
            )
        if voxel_file is None:
            raise UnreadableImageError(path, "open", "it is the header of a pair, and no .img file lies beside it")
        voxels = _content(voxel_file)
    with stage(path, "header"):
        holders = {"header": FileHolder(fileobj=io.BytesIO(header)), "image": FileHolder(fileobj=io.BytesIO(voxels))}
        image = kind.from_file_map(holders)
        placed, stated = is_placed(image.header), stated_slice_axis(image.header)
    return read_voxels(path, image, len(voxels), plane, placed, stated)


def read_mgh(path: str, plane: PlaneChoice = "acquired") -> NativeImage:
    """Read a FreeSurfer volume, gzipped or not; several frames are read as consecutive volumes.

    Raises
    ------
    UnreadableImageError
        If the file is damaged or cut short.
    """
    with stage(path, "open"):
        data = _content(path)
    with stage(path, "header"):
        image = nib.MGHImage.from_bytes(data)
        placed = bool(int(image.header["goodRASFlag"]))
    return read_voxels(path, image, len(data), plane, placed)


def pair_layout(path: str, plane: PlaneChoice = "acquired") -> tuple[Plane | None, int, int]:
    """Plane, slices per volume and number of volumes of a pair, from its header alone; a single slice if unknown."""
    head = _head(header_of_pixels(path) or path)
    kind = pair_class(head)
    if kind is None:
        return None, 1, 1
    with stage(path, "header"):
        header = kind.header_class(head[: kind.header_class.sizeof_hdr], check=False)
        affine = RAS_TO_LPS_AFFINE @ np.asarray(header.get_best_affine(), float)
        return layout_of(affine, header.get_data_shape(), plane, stated_slice_axis(header))


def mgh_layout(path: str, plane: PlaneChoice = "acquired") -> tuple[Plane | None, int, int]:
    """Plane, slices per volume and number of volumes of a FreeSurfer volume, from its header alone."""
    with stage(path, "header"):
        header = nib.MGHImage.header_class(_head(path)[:_MGH_HEADER_BYTES], check=False)
        affine = RAS_TO_LPS_AFFINE @ np.asarray(header.get_affine(), float)
        return layout_of(affine, header.get_data_shape(), plane, None)


def _head(path: str) -> bytes:
    with open(path, "rb") as stream:
        head = stream.read(540)
    return gunzipped_head(path, 540) if head.startswith(GZIP_MAGIC) else head


def _content(path: str) -> bytes:
    data = Path(path).read_bytes()
    return gunzip(path, data) if data.startswith(GZIP_MAGIC) else data


def _beside(path: str, suffix: str, other: str) -> str | None:
    gzipped = path.lower().endswith(".gz")
    stem = path[:-3] if gzipped else path
    if not stem.lower().endswith(suffix):
        return None
    stem = stem[: -len(suffix)]
    endings = (other, f"{other}.gz", other.upper(), f"{other.upper()}.GZ")
    return next((stem + ending for ending in endings if Path(stem + ending).is_file()), None)
