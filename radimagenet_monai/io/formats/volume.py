"""Read volumes: NIfTI (.nii, .nii.gz) and NRRD (.nrrd, .nhdr).

A volume is returned as upright slices in the plane of acquisition, or in a requested plane
(`radimagenet_monai.io.geometry`), with the file's scaling applied, so that a CT volume is in Hounsfield units.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import nibabel as nib
import numpy as np

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.formats.nrrd import NrrdHeader, read_nrrd_header, read_nrrd_samples
from radimagenet_monai.io.geometry import (
    PLANES,
    Plane,
    PlaneChoice,
    acquisition_axis,
    plane_of_normal,
    slice_axis,
    upright,
)
from radimagenet_monai.io.limits import MAX_DECODED_BYTES, require_affordable
from radimagenet_monai.io.native_image import NativeImage, VoxelGrid

if TYPE_CHECKING:
    from nibabel.arrayproxy import ArrayProxy

GZIP_MAGIC = b"\x1f\x8b"
_NIFTI_CLASSES: dict[bytes, type[nib.Nifti1Image]] = {b"n+1\0": nib.Nifti1Image, b"n+2\0": nib.Nifti2Image}
RAS_TO_LPS_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
_NO_EXTENSION = bytes(4)
VOXEL_OFFSET = "the voxel offset of the NIfTI header lies within the header; voxels were read from behind it"
SINGULAR_SFORM = "the sform of the NIfTI header is singular; its qform was used"
_RGB_FIELDS = ("R", "G", "B")


def nifti_class(head: bytes) -> type[nib.Nifti1Image] | None:
    """The nibabel class for a file that starts with ``head`` (348 bytes or more), or ``None`` if it is not NIfTI."""
    if head[4:8] in (b"n+2\0", b"ni2\0"):
        return _NIFTI_CLASSES.get(head[4:8])
    return _NIFTI_CLASSES.get(head[344:348])


def gunzipped_head(path: str, size: int) -> bytes:
    """The first ``size`` bytes inside a gzip file; fewer or none if it is damaged."""
    with open(path, "rb") as stream:
        try:
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(stream.read(1 << 16), size)
        except zlib.error:
            return b""


def read_nifti(path: str, plane: PlaneChoice = "acquired") -> NativeImage:
    """Read a single-file NIfTI-1 or NIfTI-2 volume, gzipped or not.

    Axes beyond the third (time, echoes, directions) are unrolled: all slices of the first volume, then those of the
    second. Without sform and qform the axes are interpreted as in nibabel (to the left, anterior, superior).

    Parameters
    ----------
    path
        File to read.
    plane
        Plane of the slices.

    Returns
    -------
    NativeImage
        ``pixels`` (slices, rows, columns[, 3]): the stored type if the file scales by 1 and 0, else float32
        (float64 for stored types that need it).

    Raises
    ------
    UnreadableImageError
        If the file is cut short, fails its gzip checksum, or has an affine that is singular or not finite.
    """
    with stage(path, "open"), open(path, "rb") as stream:
        data = stream.read(len(GZIP_MAGIC))
        stream.seek(0)
        data = gunzip(path, stream.read()) if data == GZIP_MAGIC else stream.read()
    with stage(path, "header"):
        kind = nifti_class(data[:540])
        if kind is None:
            raise UnreadableImageError(path, "header", "it holds no single-file NIfTI volume")
        notes: list[str] = []
        data = _with_voxel_offset(path, data, kind, notes)
        image = kind.from_bytes(data)
        affine = usable_affine(image.header, notes)
        if SINGULAR_SFORM in notes:
            image = kind(image.dataobj, affine, image.header)
        placed, stated = is_placed(image.header), stated_slice_axis(image.header)
    return replace(read_voxels(path, image, len(data), plane, placed, stated), notes=tuple(notes))


def read_voxels(
    path: str, image: Any, present: int, plane: PlaneChoice, placed: bool = True, stated: int | None = None
) -> NativeImage:
    """Read the voxels of an image that nibabel has opened.

    Parameters
    ----------
    path
        Path of the image.
    image
        Image of any nibabel class with an affine to RAS mm.
    present
        Size in bytes of the file that holds the voxels.
    plane
        Plane of the slices.
    placed
        Whether the header states the position of the voxels.
    stated
        Slice axis, if the header names one.

    Raises
    ------
    UnreadableImageError
        As `read_nifti`.
    """
    with stage(path, "header"):
        shape = image.shape
        dtype = image.get_data_dtype()
        color = dtype.names is not None and tuple(dtype.names[:3]) == _RGB_FIELDS
        if dtype.kind not in "uif" and not color:
            raise UnreadableImageError(path, "header", "its voxels are neither real numbers nor RGB")
        if not 2 <= len(shape) <= 7:
            raise UnreadableImageError(path, "header", f"it has {len(shape)} axes; images have two or more")
        require_affordable(path, shape, max(dtype.itemsize, 4))
        offset = cast("ArrayProxy", image.dataobj).offset
        present, expected = present - offset, int(np.prod(shape)) * dtype.itemsize
        if present < expected:
            raise UnreadableImageError(
                path, "decode", f"it is cut short: {present} of {expected} bytes of voxels are there"
            )
        # An extra slice is not padding: the header or the file is damaged. FreeSurfer writes tags after the voxels.
        if not isinstance(image, nib.MGHImage) and present - expected >= shape[0] * shape[1] * dtype.itemsize:
            raise UnreadableImageError(
                path, "decode", f"it holds {present} bytes of voxels, its header describes {expected}"
            )
        affine = RAS_TO_LPS_AFFINE @ np.asarray(image.affine, float)
    with stage(path, "decode"):
        if color:
            raw = np.asanyarray(image.dataobj)
            volumes = np.stack([_volumes(raw[name]) for name in _RGB_FIELDS], axis=-1)
        else:
            volumes = _volumes(_scaled(image))
    axis = axis_of(affine, volumes.shape[3:0:-1], plane, stated)
    return upright_volume(path, volumes, affine, axis, plane, placed)


def read_nrrd(path: str, plane: PlaneChoice = "acquired") -> NativeImage:
    """Read an NRRD volume or picture: raw, gzip, bzip2 or ascii, attached or detached beside its header.

    If the file states no space, the axes are taken as LPS, as in ITK.

    Parameters
    ----------
    path
        The file, or the header of a detached file.
    plane
        Plane of the slices.

    Raises
    ------
    UnreadableImageError
        If the file is damaged or cut short, is not a single image, or keeps its data outside its folder.
    """
    with stage(path, "header"):
        header = read_nrrd_header(path)
        require_affordable(path, (*header.sizes, 3 if header.color else 1), header.dtype.itemsize)
    with stage(path, "decode"):
        samples = read_nrrd_samples(path, header)
    with stage(path, "geometry"):
        if len(header.sizes) == 2:
            samples = samples[None]
        affine = _nrrd_affine(header)
        axis = axis_of(affine, (*header.sizes, 1)[:3], plane, None)
    return upright_volume(path, samples[None], affine, axis, plane, header.origin is not None)


def stored_affine(path: str) -> np.ndarray:
    """``(4, 4)`` from the stored voxels of a NIfTI file to RAS mm, as in nibabel, from its header alone.

    Raises
    ------
    UnreadableImageError
        If the file is not NIfTI.
    """
    with stage(path, "header"), open(path, "rb") as stream:
        head = stream.read(540)
        if head.startswith(GZIP_MAGIC):
            head = gunzipped_head(path, 540)
        kind = nifti_class(head)
        if kind is None:
            raise UnreadableImageError(path, "header", "it holds no single-file NIfTI volume")
        header = kind.header_class(head[: kind.header_class.sizeof_hdr], check=False)
        return usable_affine(header, [])


def volume_layout(path: str, plane: PlaneChoice = "acquired") -> tuple[Plane | None, int, int]:
    """Plane, slices per volume and number of volumes of a NIfTI or NRRD file, from its header alone.

    Raises
    ------
    UnreadableImageError
        If the file cannot be opened or its header is damaged.
    """
    with stage(path, "open"), open(path, "rb") as stream:
        head = stream.read(540)
        if head.startswith(b"NRRD"):
            nrrd = read_nrrd_header(path)
            return layout_of(_nrrd_affine(nrrd), nrrd.sizes, plane, None)
        if head.startswith(GZIP_MAGIC):
            head = gunzipped_head(path, 540)
        kind = nifti_class(head)
        if kind is None:
            return None, 1, 1
        header = kind.header_class(head[: kind.header_class.sizeof_hdr], check=False)
        affine = RAS_TO_LPS_AFFINE @ usable_affine(header, [])
        return layout_of(affine, header.get_data_shape(), plane, stated_slice_axis(header))


def layout_of(
    affine: np.ndarray, shape: Sequence[int], plane: PlaneChoice, stated: int | None
) -> tuple[Plane | None, int, int]:
    """Plane, slices per volume and volumes of voxels of ``shape`` (x, y[, z, ...]), given their affine to LPS mm."""
    sizes = (*shape, 1, 1)[:3]
    axis = axis_of(affine, sizes, plane, stated)
    own = plane if plane in PLANES else plane_of_normal(affine[:3, axis])
    return own, int(sizes[axis]), int(np.prod(shape[3:]))


def _with_voxel_offset(path: str, data: bytes, kind: type[nib.Nifti1Image], notes: list[str]) -> bytes:
    """``data`` with a voxel offset after its header: some writers leave it 0, which nibabel accepts as given.

    The file length shows where the voxels begin: after header and extension flag or, as in niftilib, after the header
    alone.
    """
    header = kind.header_class(data[: kind.header_class.sizeof_hdr], check=False)
    if int(header["vox_offset"]) >= header.sizeof_hdr:
        return data
    voxels = int(np.prod(header.get_data_shape())) * header.get_data_dtype().itemsize
    if (offset := len(data) - voxels) not in (header.sizeof_hdr, header.sizeof_hdr + 4):
        raise UnreadableImageError(
            path,
            "header",
            f"its voxel offset is {int(header['vox_offset'])}, within the header of {header.sizeof_hdr} bytes, and "
            f"{len(data)} bytes do not tell where its {voxels} bytes of voxels begin; write it again",
        )
    header["vox_offset"] = header.sizeof_hdr + len(_NO_EXTENSION)
    notes.append(VOXEL_OFFSET)
    return bytes(header.binaryblock + _NO_EXTENSION + data[offset:])


def usable_affine(header: nib.Nifti1Header, notes: list[str]) -> np.ndarray:
    """The sform, or the qform if the sform is missing or singular, such as one left zero."""
    affine = np.asarray(header.get_best_affine(), float)
    if int(header["qform_code"]) > 0 and not abs(np.linalg.det(affine[:3, :3])) > 0:
        notes.append(SINGULAR_SFORM)
        return np.asarray(header.get_qform(), float)
    return affine


def axis_of(affine: np.ndarray, sizes: Sequence[int], plane: PlaneChoice, stated: int | None) -> int:
    """The axis of the slices to read; ``affine`` (4, 4) goes from voxels of ``sizes`` (x, y, z) to LPS mm."""
    directions = affine[:3, :3]
    return slice_axis(directions, acquisition_axis(np.linalg.norm(directions, axis=0), sizes, stated), plane)


def is_placed(header: nib.Nifti1Header) -> bool:
    """Whether the header states the position of the voxels, by an sform or a qform."""
    return int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0


def stated_slice_axis(header: nib.Nifti1Header) -> int | None:
    """The slice axis named in the header, 0 to 2; ``None`` if it names none."""
    axis = header.get_dim_info()[2]
    return axis if axis in (0, 1, 2) else None


def _nrrd_affine(header: NrrdHeader) -> np.ndarray:
    """(4, 4) from samples (x, y, z) to LPS mm; the origin is zero if the file states none."""
    directions = header.directions
    if len(header.sizes) == 2:
        directions = np.vstack([directions, np.cross(*directions)])
    affine = np.eye(4)
    affine[:3, :3] = directions.T
    if header.origin is not None:
        affine[:3, 3] = header.origin
    return affine


def gunzip(path: str, data: bytes) -> bytes:
    """``data`` inflated to its end, which holds the checksum, but not beyond the limit."""
    parts = []
    size = 0
    while data:
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        parts.append(inflater.decompress(data, MAX_DECODED_BYTES + 540 - size))
        size += len(parts[-1])
        if not inflater.eof:
            cause = "it inflates beyond the limit" if inflater.unconsumed_tail else "it is cut short: gzip does not end"
            raise UnreadableImageError(path, "decode", cause)
        data = inflater.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _scaled(image: Any) -> np.ndarray:
    """The voxels with slope and intercept applied; the stored type if there is nothing to apply."""
    proxy = cast("ArrayProxy", image.dataobj)
    if (proxy.slope, proxy.inter) == (1.0, 0.0):
        voxels = np.asanyarray(proxy)
        return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    exact_in_float32 = proxy.dtype.itemsize <= 2 or proxy.dtype == np.float32
    return np.asarray(proxy, dtype=np.float32 if exact_in_float32 else np.float64)


def _volumes(voxels: np.ndarray) -> np.ndarray:
    """Voxels (x, y[, z[, further ...]]) as (volumes, slices, rows, columns): axis z, then y, then x of each volume."""
    spatial = (*voxels.shape, 1)[:3]
    return voxels.reshape(*spatial, -1, order="F").transpose(3, 2, 1, 0)


def upright_volume(
    path: str,
    volumes: np.ndarray,
    affine: np.ndarray,
    axis: int,
    plane: PlaneChoice = "acquired",
    placed: bool = True,
) -> NativeImage:
    """Turn stored volumes into upright slices.

    Parameters
    ----------
    path
        Path of the image, for errors.
    volumes
        Voxels, (volumes, z, y, x[, 3]).
    affine
        (4, 4) from voxel (x, y, z, 1) to LPS mm.
    axis
        Slice axis: 0 for x, 1 for y, 2 for z.
    plane
        Requested plane.
    placed
        Whether the file states the position of the voxels; otherwise the image has no affine.
    """
    with stage(path, "geometry"):
        columns, rows = (other for other in range(3) if other != axis)
        column_step, row_step, slice_step = affine[:3, [columns, rows, axis]].T
        turn = upright(column_step, row_step, slice_step, plane if plane in PLANES else None)
        stacks = volumes.transpose(0, 3 - axis, 3 - rows, 3 - columns, *range(4, volumes.ndim))
        pixels = np.concatenate([turn.volume(stack) for stack in stacks])
        spacing = turn.spacing(float(np.linalg.norm(row_step)), float(np.linalg.norm(column_step)))
        turned = turn.affine(affine[:, [columns, rows, axis, 3]], stacks.shape[1:4])
    return NativeImage(
        path,
        "volume",
        np.ascontiguousarray(pixels),
        (),
        spacing,
        turn.plane,
        turned if placed and np.isfinite(turned).all() else None,
        len(volumes),
        voxels=VoxelGrid(affine, axis, turn),
    )
