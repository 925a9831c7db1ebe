"""Read DICOM: one file (single frame, multi-frame, enhanced multi-frame) or the files of one series.

Pixels are returned as *stored values*, with color as stored (YBR stays YBR, palette indices stay indices): the
intensity policies need them so, and converting to RGB takes several times as long as decoding. Slices with a known
orientation are turned upright (`radimagenet_monai.io.geometry`).

The frames of a multi-frame object keep the object's own order: annotations and reports refer to them by number.
The slices of a series have no such number and are sorted by position, volume after volume if positions repeat. For
a plane other than the acquired one, both are stacked and their axes exchanged.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    UID_dictionary,
)
from pydicom.valuerep import DSfloat

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.dicom import codestream
from radimagenet_monai.io.dicom.slice_facts import frame_facts, slice_facts
from radimagenet_monai.io.dicom.stored_values import PIXEL_KEYWORDS, decode_stored
from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.formats.volume import upright_volume
from radimagenet_monai.io.geometry import Plane, PlaneChoice, Upright, series_normal, slice_axis, upright
from radimagenet_monai.io.limits import MAX_DECODED_BYTES, require_affordable
from radimagenet_monai.io.native_image import HEADER_KEYWORDS, NativeImage
from radimagenet_monai.io.slice_order import SliceFacts, natural, order_series, order_slices, require_one_orientation

_HEADER_TAGS = frozenset(tag for keyword in HEADER_KEYWORDS if (tag := tag_for_keyword(keyword)) is not None)

# Functional groups (PS3.3 C.7.6.16) whose elements an intensity policy needs. Other groups use the same keywords with
# another meaning, such as the LUTData of a pixel intensity relationship.
_FUNCTIONAL_GROUPS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
)
# Descriptive elements, left out if damaged; any other damaged element makes the file unreadable.
_DESCRIPTIVE = frozenset(
    {
        "BodyPartExamined",
        "ImageType",
        "LargestImagePixelValue",
        "PixelAspectRatio",
        "SOPClassUID",
        "SliceThickness",
        "SmallestImagePixelValue",
        "SpacingBetweenSlices",
        "ViewPosition",
    }
)
_DECIMAL = re.compile(r"[+-]?\d*[.,]?\d+(?:[eE][+-]?\d+)?")
_Encoding = tuple[bool | None, bool | None]
_NUMBERS = frozenset({"DS", "IS", "FD", "FL", "US", "SS", "UL", "SL"})
_NOT_IMAGES = {
    UID("1.2.840.10008.1.3.10"): "it is a DICOMDIR, an index of other files; give one of those",
    UID("1.2.840.10008.5.1.4.1.1.66.4"): "it is a segmentation, a mask and not an image",
    UID("1.2.840.10008.5.1.4.1.1.66.7"): "it is a label map, a mask and not an image",
}
_SAME_DIRECTION = 1e-3
_IRREGULAR = 0.05  # largest deviation of a slice from its place, as a share of the slice distance
_UPRIGHT_STACK = 0.9999  # cosine of the angle between normal and step, about 0.8 degrees
# Elements that define the meaning of a stored value; all pixels of a slice through a stack must share one meaning.
_MEANING = (
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence", "PhotometricInterpretation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "BitsStored", "PixelRepresentation"),
)
DECIMAL_COMMA = "the header writes a number with a decimal comma"
_SAME_POSITION_DIGITS = 3


def read_dicom_file(path: str, plane: PlaneChoice = "acquired") -> NativeImage:
    """Read one DICOM file with all its frames.

    Parameters
    ----------
    path
        A Part 10 file, or one without preamble or file meta information.
    plane
        Plane of the frames. A plane other than the acquired one needs frames that form a regular stack.

    Returns
    -------
    NativeImage
        ``pixels`` (frames, rows, columns[, 3]), stored values in native byte order; one entry of ``headers`` per frame.

    Raises
    ------
    UnreadableImageError
        If the file is damaged, holds no image, or uses a transfer syntax that no decoder here supports.
    """
    notes: list[str] = []
    dataset = load_dataset(path)
    pixels, headers = _decode(path, dataset, notes)
    with stage(path, "geometry"):
        turns = [_frame_upright(header) for header in headers]
        frames = [
            pixels[index : index + 1] if turn is None else turn.slices(pixels[index : index + 1])
            for index, turn in enumerate(turns)
        ]
        shape = frames[0].shape
        if any(frame.shape != shape for frame in frames):
            raise UnreadableImageError(path, "geometry", "frames of several orientations differ in size once upright")
        if any(turns):
            headers = _turned_headers(headers, turns, pixels.shape[1:3])
            pixels = np.concatenate(frames)
        planes = {None if turn is None else turn.plane for turn in turns}
        own = planes.pop() if len(planes) == 1 else None
        volumes = _frame_order(dataset, headers)
    return _in_plane(_placed_image(path, pixels, headers, own, volumes, notes), plane, volumes)


def read_dicom_series(
    path: str, files: Sequence[str], plane: PlaneChoice = "acquired", header_only: bool = False
) -> NativeImage:
    """Read the single-frame files of one series as one volume.

    `radimagenet_monai.io.slice_order.order_slices` sorts the slices by their position along the normal, in the slice
    order of `geometry`, and volume after volume if positions repeat (phases, echoes).

    Parameters
    ----------
    path
        Folder or archive, for the result and for errors about the whole series.
    files
        DICOM files of one Series Instance UID.
    plane
        Plane of the slices. A plane other than the acquired one needs slices that form a regular stack.
    header_only
        Read the geometry alone: pixels are zeros, and damaged ones do no harm.

    Raises
    ------
    UnreadableImageError
        If a file is unreadable (the error names it), or a slice differs from the others in size, color or orientation,
        is a copy of another, or lies at the position of another without belonging to another volume.
    """
    if len(files) == 1:
        return replace(read_dicom_file(files[0], plane), path=path)
    slices = []
    notes: list[str] = []
    total = 0
    for file in sorted(files, key=natural):
        dataset = load_dataset(file, header_only=header_only)
        pixels, headers = (_blank if header_only else _decode)(file, dataset, notes)
        if len(pixels) != 1:
            raise UnreadableImageError(
                file, "geometry", f"a series of {len(files)} files holds a multi-frame file; give one file at a time"
            )
        slices.append(_Slice(file, pixels[0], headers[0], slice_facts(dataset, file)))
        total += pixels.nbytes
        if total > MAX_DECODED_BYTES:
            limit = MAX_DECODED_BYTES // 1024**3
            raise UnreadableImageError(path, "decode", f"the series is larger than {limit} GiB; give single files")
    with stage(path, "geometry"):
        volumes, turn = _sorted_slices(slices, plane)
        ordered = [slices[index] for volume in volumes for index in volume]
        pixels = np.stack([piece.pixels for piece in ordered])
        headers = [piece.header for piece in ordered]
        if turn is not None:
            headers = _turned_headers(headers, [turn] * len(headers), pixels.shape[1:3])
            pixels = turn.slices(pixels)
    own, numbered = None if turn is None else turn.plane, _consecutive(volumes)
    return _in_plane(_placed_image(path, pixels, headers, own, numbered, notes), plane, numbered)


def frame_volumes(path: str, dataset: FileDataset) -> list[list[int]]:
    """Frame numbers of each volume of a multi-frame object, each volume in order of position.

    Raises
    ------
    UnreadableImageError
        If the header is damaged.
    """
    with stage(path, "header"):
        frames = number_of_frames(dataset)
        headers = _frame_headers(path, dataset, frames, [])
        return _frame_order(dataset, headers)


def frame_plane(path: str, dataset: FileDataset) -> Plane | None:
    """The plane of the frames of a file, from its header; ``None`` if it is unknown or differs between frames.

    Raises
    ------
    UnreadableImageError
        If the header is damaged.
    """
    with stage(path, "header"):
        turns = [_frame_upright(header) for header in _frame_headers(path, dataset, number_of_frames(dataset), [])]
    planes = {None if turn is None else turn.plane for turn in turns}
    return planes.pop() if len(planes) == 1 else None


def _frame_order(dataset: Dataset, headers: Sequence[Dataset]) -> list[list[int]]:
    facts = frame_facts(dataset, len(headers))
    placed = [
        replace(
            fact,
            orientation=_vector(header, "ImageOrientationPatient", 6),
            position=_vector(header, "ImagePositionPatient", 3),
        )
        for fact, header in zip(facts, headers, strict=True)
    ]
    return order_slices(placed).volumes


def _consecutive(volumes: Sequence[Sequence[int]]) -> list[list[int]]:
    """Lists of the same lengths, numbered consecutively from 0."""
    start = 0
    numbered = []
    for volume in volumes:
        numbered.append(list(range(start, start + len(volume))))
        start += len(volume)
    return numbered


def _placed_image(
    path: str,
    pixels: np.ndarray,
    headers: Sequence[Dataset],
    plane: Plane | None,
    volumes: Sequence[Sequence[int]],
    notes: Sequence[str],
) -> NativeImage:
    """An upright image, with the affine of its first volume if its frames are consecutive volumes."""
    length = len(volumes[0])
    blocks = [sorted(volume) for volume in volumes] == _consecutive([volumes[0]] * len(volumes))
    in_order = blocks and all(list(volume) in (sorted(volume), sorted(volume)[::-1]) for volume in volumes)
    return NativeImage(
        path,
        "dicom",
        np.ascontiguousarray(pixels),
        headers,
        pixel_spacing(headers[0]),
        plane,
        stack_affine(headers[:length]) if blocks else None,
        len(volumes) if blocks else 1,
        tuple(dict.fromkeys(notes)),
        in_order or all(len(volume) == 1 for volume in volumes),
    )


def stack_affine(headers: Sequence[Dataset]) -> np.ndarray | None:
    """The affine of upright frames that form one regular stack in this order.

    Parameters
    ----------
    headers
        One per frame, with Image Orientation and Position (Patient) and Pixel Spacing of the upright frame.

    Returns
    -------
    numpy.ndarray or None
        (4, 4) float64 from (column, row, frame, 1) to LPS mm. The step of a single frame is its thickness, or 1 mm.
        ``None`` if frames differ in orientation or spacing, or are not equally spaced.
    """
    orientations = [_vector(header, "ImageOrientationPatient", 6) for header in headers]
    positions = [_vector(header, "ImagePositionPatient", 3) for header in headers]
    spacings = [_vector(header, "PixelSpacing", 2) for header in headers]
    if any(value is None for values in (orientations, positions, spacings) for value in values):
        return None
    orientation, spacing = np.stack(orientations), np.stack(spacings)  # type: ignore[arg-type]  # None was returned
    place = np.stack(positions)  # type: ignore[arg-type]
    if np.ptp(orientation, axis=0).max() > _SAME_DIRECTION or np.ptp(spacing, axis=0).max() > _SAME_DIRECTION:
        return None
    column_step, row_step = orientation[0].reshape(2, 3)
    if len(headers) > 1:
        step = (place[-1] - place[0]) / (len(place) - 1)
        line = place[0] + np.arange(len(place))[:, None] * step
        length = float(np.linalg.norm(step))
        if length < _SAME_DIRECTION or np.abs(place - line).max() > _IRREGULAR * length:
            return None
    else:
        normal = series_normal(orientation[0])
        step = normal * (_length(headers[0], "SpacingBetweenSlices") or _length(headers[0], "SliceThickness") or 1.0)
    affine = np.eye(4)
    affine[:3] = np.stack([column_step * spacing[0, 1], row_step * spacing[0, 0], step, place[0]], axis=1)
    return affine


def _length(header: Dataset, keyword: str) -> float:
    value = _vector(header, keyword, 1)
    return 0.0 if value is None else abs(float(value[0]))


def _in_plane(image: NativeImage, plane: PlaneChoice, volumes: Sequence[Sequence[int]]) -> NativeImage:
    """The frames of an upright image, or slices in another plane through its stacks ``volumes``."""
    if plane in ("acquired", "stored", image.plane):
        return image
    asked = f"{plane} slices were asked for"
    with stage(image.path, "geometry"):
        length = len(volumes[0])
        if image.plane is None or length == 1:
            found = "the file does not say in which plane it is"
            if image.plane is not None:
                found = f"its one slice is {image.plane}" if len(image) == 1 else f"its slices are {image.plane}"
            raise UnreadableImageError(image.path, "geometry", f"{asked}; {found}")
        affines = [stack_affine([image.headers[frame] for frame in volume]) for volume in volumes]
        affine = affines[0]
        if affine is None or any(other is None or not np.allclose(other, affine, atol=0.1) for other in affines):
            raise UnreadableImageError(
                image.path,
                "geometry",
                f"{asked}; it is {image.plane}, and its {len(image)} frames are not equally far apart along one line, "
                "so that they cannot be stacked",
            )
        column_step, row_step, slice_step = affine[:3, :3].T
        normal = np.cross(column_step, row_step)
        if abs(normal @ slice_step) < _UPRIGHT_STACK * np.linalg.norm(normal) * np.linalg.norm(slice_step):
            raise UnreadableImageError(
                image.path,
                "geometry",
                f"{asked}; its slices are shifted against each other (gantry tilt), so that stacking them would skew "
                "the picture",
            )
        odd = next((k for k in _MEANING if len({repr(header.get(k)) for header in image.headers}) > 1), None)
        if odd is not None:
            raise UnreadableImageError(
                image.path,
                "geometry",
                f"{asked}; its slices differ in {odd}, so that one through all of them has no meaning of its own",
            )
        axis = slice_axis(affine[:3, :3], 2, plane)
        stacks = image.pixels[np.array(volumes)]
        turned = upright_volume(image.path, stacks, affine, axis, plane)
        header = _stacked_header(image.headers[0], turned)
    return replace(turned, source="dicom", headers=[header] * len(turned), notes=image.notes)


def _stacked_header(header: Dataset, image: NativeImage) -> Dataset:
    """The header of a slice through a stack, without a position, since all slices share it."""
    header = _copy(header)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "SliceThickness", "SpacingBetweenSlices"):
        header.pop(keyword, None)
    header.Rows, header.Columns = image.pixels.shape[1:3]
    header.NumberOfFrames = len(image)
    if image.spacing is not None:
        header.PixelSpacing = _decimals(*image.spacing)
    return header


def load_dataset(path: str, *, header_only: bool = False, tags: Sequence[str] | None = None) -> FileDataset:
    """Parse a DICOM file without decoding its pixels.

    Parameters
    ----------
    header_only
        Stop before the pixel data.
    tags
        Keywords to read; all others are skipped.

    Raises
    ------
    UnreadableImageError
        If the file cannot be opened or parsed.
    """
    with stage(path, "open"), open(path, "rb") as stream:
        _require_modest_inflation(path, stream.read(4096), Path(path).stat().st_size)
    with stage(path, "header"):
        dataset = pydicom.dcmread(
            path, force=True, stop_before_pixels=header_only, specific_tags=list(tags) if tags else None
        )
        if len(dataset) == 0 and not tags:
            raise UnreadableImageError(path, "header", "it holds no DICOM elements")
    return dataset


def number_of_frames(dataset: Dataset) -> int:
    """Number of Frames as stated in the header; 1 if it is absent or damaged."""
    try:
        return max(1, int(dataset.get("NumberOfFrames") or 1))
    except (TypeError, ValueError):
        return 1


@dataclass(frozen=True)
class _Slice:
    file: str
    pixels: np.ndarray
    header: Dataset
    facts: SliceFacts


def _require_modest_inflation(path: str, head: bytes, size: int) -> None:
    """Refuse a deflated file that inflates beyond the limit; pydicom inflates it in one piece."""
    if head[128:132] != b"DICM" or DeflatedExplicitVRLittleEndian.encode() not in head:
        return
    meta = pydicom.filereader.read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    with open(path, "rb") as stream:
        # Preamble, prefix, and the group length element (12 bytes), which counts the bytes after itself.
        stream.seek(128 + 4 + 12 + int(meta.FileMetaInformationGroupLength))
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = 0
        pending = stream.read(1 << 20)
        while pending and not inflater.eof:
            inflated += len(inflater.decompress(pending, 1 << 24))
            if inflated > MAX_DECODED_BYTES:
                raise UnreadableImageError(path, "open", f"its {size} bytes inflate beyond the limit")
            pending = inflater.unconsumed_tail or stream.read(1 << 20)


def _decode(path: str, dataset: FileDataset, notes: list[str]) -> tuple[np.ndarray, list[Dataset]]:
    """The stored values of ``dataset`` as (frames, rows, columns[, 3]), and a header for each frame."""
    with stage(path, "header"):
        _require_image(path, dataset)
        syntax = _transfer_syntax(path, dataset)
        frames, frame = _image_size(path, dataset)
        dtype_size = max(1, frame.bits_allocated // 8)
        require_affordable(path, (frames, frame.rows, frame.columns, frame.samples), dtype_size)
        headers = _frame_headers(path, dataset, frames, notes)
    with stage(path, "decode"):
        pixels, photometric = decode_stored(path, dataset, syntax, frames, frame, notes)
    for header in {id(header): header for header in headers}.values():
        header.PhotometricInterpretation = photometric
        header.NumberOfFrames = frames
        if frame.samples > 1:
            header.PlanarConfiguration = 0
    return pixels, headers


def _blank(path: str, dataset: FileDataset, notes: list[str]) -> tuple[np.ndarray, list[Dataset]]:
    """As `_decode`, with zeros for pixels."""
    with stage(path, "header"):
        frames, frame = _image_size(path, dataset)
        return np.zeros((frames, frame.rows, frame.columns), np.uint8), _frame_headers(path, dataset, frames, notes)


def _require_image(path: str, dataset: Dataset) -> None:
    sop_class = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    if sop_class in _NOT_IMAGES:
        raise UnreadableImageError(path, "header", _NOT_IMAGES[sop_class])
    if "DirectoryRecordSequence" in dataset:
        raise UnreadableImageError(path, "header", _NOT_IMAGES[UID("1.2.840.10008.1.3.10")])
    present = [keyword for keyword in PIXEL_KEYWORDS if keyword in dataset]
    if len(present) == 1:
        return
    # Only names from the DICOM dictionary: an unknown UID could be anything.
    kind = UID_dictionary[sop_class][0] if sop_class in UID_dictionary else "an object of unknown kind"
    if present:
        raise UnreadableImageError(path, "header", f"it holds {len(present)} kinds of pixel data at once ({kind})")
    raise UnreadableImageError(path, "header", f"it holds no pixel data ({kind}), or ends before them; give an image")


def _transfer_syntax(path: str, dataset: FileDataset) -> UID:
    """The declared transfer syntax, or the one the file was parsed with if it has no file meta information."""
    declared = dataset.file_meta.get("TransferSyntaxUID")
    undefined_length = any(k in dataset and dataset[k].is_undefined_length for k in PIXEL_KEYWORDS)
    if declared:
        syntax = UID(str(declared))
        if syntax in UID_dictionary and syntax.is_transfer_syntax and syntax.is_encapsulated != undefined_length:
            state = "encapsulated" if undefined_length else "native"
            raise UnreadableImageError(path, "header", f"its pixel data are {state}, unlike its transfer syntax says")
        return syntax
    if undefined_length:
        raise UnreadableImageError(path, "header", "it holds compressed pixel data but names no transfer syntax")
    implicit, little = dataset.original_encoding
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = syntax
    return syntax


def _image_size(path: str, dataset: Dataset) -> tuple[int, codestream.Frame]:
    frames = _integer(path, dataset, "NumberOfFrames", 1, 2**31 - 1, default=1)
    if frames == 0:
        frames = 1
    samples = _integer(path, dataset, "SamplesPerPixel", 1, 3, default=1)
    bits = _integer(path, dataset, "BitsAllocated", 1, 64)
    frame = codestream.Frame(
        rows=_integer(path, dataset, "Rows", 1, 65535),
        columns=_integer(path, dataset, "Columns", 1, 65535),
        samples=samples,
        bits_allocated=bits,
    )
    if "PixelData" in dataset:
        stored = _integer(path, dataset, "BitsStored", 1, bits)
        high = _integer(path, dataset, "HighBit", 0, bits - 1, default=stored - 1)
        _integer(path, dataset, "PixelRepresentation", 0, 1)
        if high != stored - 1:
            raise UnreadableImageError(
                path, "header", f"its HighBit is {high}; with {stored} BitsStored only {stored - 1} is allowed"
            )
    if not dataset.get("PhotometricInterpretation"):
        raise UnreadableImageError(path, "header", "it has no PhotometricInterpretation")
    if samples == 1:
        dataset.SamplesPerPixel = 1
    return frames, frame


def _integer(path: str, dataset: Dataset, keyword: str, low: int, high: int, default: int | None = None) -> int:
    """An integer of the header within limits; the error names the element and never quotes the value."""
    raw = dataset.get(keyword)
    if raw is None or raw == "":
        if default is None:
            raise UnreadableImageError(path, "header", f"it has no {keyword}")
        return default
    try:
        value = int(raw)
    except (TypeError, ValueError):
        raise UnreadableImageError(path, "header", f"its {keyword} is no whole number") from None
    if keyword == "NumberOfFrames" and value == 0:
        return 0
    if not low <= value <= high:
        raise UnreadableImageError(path, "header", f"its {keyword} is {value}; {low} to {high} are possible")
    return value


def _frame_headers(path: str, dataset: FileDataset, frames: int, notes: list[str]) -> list[Dataset]:
    """The header of each frame, functional groups flattened; one shared object if frames do not differ."""
    base = _allowed_elements(path, dataset, dataset.original_encoding, notes)
    for item in _items(dataset, "SharedFunctionalGroupsSequence")[:1]:
        _flatten(path, item, base, dataset.original_encoding, notes)
    groups = _items(dataset, "PerFrameFunctionalGroupsSequence")
    if not groups:
        return [base] * frames
    if len(groups) < frames:
        raise UnreadableImageError(path, "header", f"it describes {len(groups)} of its {frames} frames")
    headers = []
    for item in groups[:frames]:
        header = _copy(base)
        _flatten(path, item, header, dataset.original_encoding, notes)
        headers.append(header)
    return headers


def _copy(header: Dataset) -> Dataset:
    twin = Dataset()
    twin.update({element.tag: element for element in header})
    twin.set_original_encoding(*header.original_encoding)
    return twin


def _flatten(path: str, functional_group: Dataset, header: Dataset, encoding: _Encoding, notes: list[str]) -> None:
    for keyword in _FUNCTIONAL_GROUPS:
        for item in _items(functional_group, keyword)[:1]:
            header.update({element.tag: element for element in _allowed_elements(path, item, encoding, notes)})


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = dataset.get(keyword)
    return list(value) if isinstance(value, DicomSequence) else []


def _allowed_elements(path: str, dataset: Dataset, encoding: _Encoding, notes: list[str]) -> Dataset:
    """A dataset with only the elements of ``HEADER_KEYWORDS``, at every depth."""
    header = Dataset()
    for tag in sorted(_HEADER_TAGS.intersection(dataset.keys())):
        keyword = keyword_for_tag(tag)
        try:
            element = dataset[tag]
            if isinstance(element.value, DicomSequence):
                items = [_allowed_elements(path, item, encoding, notes) for item in element.value]
                header.add_new(tag, "SQ", DicomSequence(items))
            else:
                try:
                    _require_kind(element)
                except TypeError:
                    element = _with_decimal_points(element)
                    notes.append(DECIMAL_COMMA)
                header[tag] = element
        except UnreadableImageError:
            raise
        except Exception as exc:
            if keyword in _DESCRIPTIVE:
                continue
            cause = f"its {keyword} is damaged ({type(exc).__name__})"
            raise UnreadableImageError(path, "header", cause) from None
    header.set_original_encoding(*encoding)
    return header


def _with_decimal_points(element: DataElement) -> DataElement:
    """A decimal string written with decimal commas, as in some languages; DS has no other comma (PS3.5, 6.2).

    Raises
    ------
    TypeError
        For anything else.
    """
    values = element.value if isinstance(element.value, MultiValue) else str(element.value).split("\\")
    words = [str(value).strip() for value in values]
    if dictionary_VR(element.tag) != "DS" or not all(_DECIMAL.fullmatch(word) for word in words):
        raise TypeError
    return DataElement(element.tag, "DS", [word.replace(",", ".") for word in words])


def _require_kind(element: DataElement) -> None:
    """Refuse text in an element that must hold a number: pydicom returns unconvertible values unchanged."""
    kinds = dictionary_VR(element.tag).split(" or ")
    values = element.value if element.VM > 1 else [element.value]
    for value in values:
        if value is None or value == "" or value == b"":
            continue
        if isinstance(value, bytes):
            fits = "OW" in kinds
        elif isinstance(value, str):
            fits = UID(value).is_valid if kinds == ["UI"] else not _NUMBERS.intersection(kinds)
        else:
            fits = isinstance(value, (int, float)) and math.isfinite(value)
        if not fits:
            raise TypeError


def _vector(header: Dataset, keyword: str, length: int) -> np.ndarray | None:
    """A list of finite header numbers, or ``None``."""
    try:
        values = np.asarray(header.get(keyword), dtype=float).ravel()
    except (TypeError, ValueError):
        return None
    return values if values.shape == (length,) and np.isfinite(values).all() else None


def _frame_upright(header: Dataset) -> Upright | None:
    """How to turn a single frame upright, or ``None`` if it stays as stored."""
    orientation = _vector(header, "ImageOrientationPatient", 6)
    # Ultrasound regions are given in stored rows and columns.
    if orientation is None or "SequenceOfUltrasoundRegions" in header:
        return None
    column, row = orientation.reshape(2, 3)
    try:
        return upright(column, row, series_normal(orientation))
    except ValueError:
        return None


def _sorted_slices(slices: list[_Slice], plane: PlaneChoice) -> tuple[list[list[int]], Upright | None]:
    """Indices of the slices of each volume in anatomical order, and how to turn them, after checking them."""
    sizes = [(piece.pixels.shape, piece.header.PhotometricInterpretation) for piece in slices]
    usual = max(sizes, key=sizes.count)
    for piece, size in zip(slices, sizes, strict=True):
        if size != usual:
            raise UnreadableImageError(
                piece.file,
                "geometry",
                f"this slice is {_described(size)} in a series of {_described(usual)}; move it out of the folder",
            )
    require_one_orientation([piece.facts for piece in slices])
    oriented = all(piece.facts.orientation is not None for piece in slices)
    turn = _frame_upright(slices[0].header) if oriented else None
    if plane == "stored":
        return [_order_of_0_1(slices, turn)], turn
    # The first orientation is used for all: rounding differences must not make several stacks.
    facts = [
        piece.facts if turn is None else replace(piece.facts, orientation=slices[0].facts.orientation)
        for piece in slices
    ]
    return order_series(facts).volumes, turn


def _order_of_0_1(slices: Sequence[_Slice], turn: Upright | None) -> list[int]:
    """How release 0.1 counted the slices of a series: by position, then by Instance Number."""
    by_number = sorted(range(len(slices)), key=lambda index: (slices[index].facts.number or 0, slices[index].file))
    positions = [piece.facts.position for piece in slices]
    if turn is None or any(position is None for position in positions):
        return by_number
    normal = series_normal(np.median([piece.facts.orientation for piece in slices], axis=0))
    places = [round(float(np.asarray(position) @ normal), _SAME_POSITION_DIGITS) for position in positions]
    return sorted(by_number, key=lambda index: places[index])


def _described(size: tuple[tuple[int, ...], str]) -> str:
    return f"{size[0][0]} x {size[0][1]}{' in color' if len(size[0]) > 2 else ''}"


def _turned_headers(
    headers: Sequence[Dataset], turns: Sequence[Upright | None], size: tuple[int, ...]
) -> list[Dataset]:
    """Headers of the slices after turning: size, spacing, orientation and position."""
    return [
        header if turn is None else _turned_header(header, turn, size)
        for header, turn in zip(headers, turns, strict=True)
    ]


def _turned_header(header: Dataset, turn: Upright, size: tuple[int, ...]) -> Dataset:
    orientation = _vector(header, "ImageOrientationPatient", 6)
    if orientation is None or not (turn.transpose or turn.flip_rows or turn.flip_columns):
        return header
    turned = _copy(header)
    # Steps per stored index: columns grow along the first half of the orientation, rows along the second.
    column_step, row_step = orientation.reshape(2, 3)
    spacing = _vector(header, "PixelSpacing", 2)
    between_rows, between_columns = (1.0, 1.0) if spacing is None else (float(spacing[0]), float(spacing[1]))
    rows, columns = size
    if turn.transpose:
        column_step, row_step = row_step, column_step
        between_rows, between_columns = between_columns, between_rows
        rows, columns = columns, rows
    corner = np.zeros(3)
    if turn.flip_rows:
        corner += row_step * between_rows * (rows - 1)
        row_step = -row_step
    if turn.flip_columns:
        corner += column_step * between_columns * (columns - 1)
        column_step = -column_step
    turned.Rows, turned.Columns = rows, columns
    turned.ImageOrientationPatient = _decimals(*column_step, *row_step)
    if spacing is not None:
        turned.PixelSpacing = _decimals(between_rows, between_columns)
        position = _vector(header, "ImagePositionPatient", 3)
        if position is not None:
            turned.ImagePositionPatient = _decimals(*(position + corner))
    return turned


def _decimals(*values: float) -> list[DSfloat]:
    """Numbers as decimal strings, which are limited to 16 characters."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def pixel_spacing(header: Dataset) -> tuple[float, float] | None:
    """Millimetres between rows and between columns; ``None`` if the header does not state them."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        spacing = _vector(header, keyword, 2)
        if spacing is not None and (spacing > 0).all():
            return float(spacing[0]), float(spacing[1])
    return None
