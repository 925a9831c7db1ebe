"""The mask of one record: `item_mask`."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from radimagenet_monai.core.errors import RecordsError, UnreadableImageError
from radimagenet_monai.datasets.masks.grid import (
    Grid,
    Order,
    Placement,
    agree_by_number,
    lesion_outside,
    order_of,
    place,
    sample,
)
from radimagenet_monai.datasets.masks.reference import MaskReference
from radimagenet_monai.datasets.masks.samples import read_samples
from radimagenet_monai.datasets.masks.values import MaskValues, understand
from radimagenet_monai.datasets.readers.ddti_case import fill_polygons, read_outlines
from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.formats.picture import picture_orientations
from radimagenet_monai.io.reader import PlaneChoice, count_frames, image_kind, read_frame

_CACHED_BYTES = 128 * 1024**2  # of masks with one bit per pixel
_CACHED_RELATIONS = 1024

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ImageOfMask:
    """The image that a mask belongs to.

    Attributes
    ----------
    path
        Path of the image file or series folder.
    plane
        Plane in which its frames are counted, as for `radimagenet_monai.io.reader.read_frame`.
    """

    path: str
    plane: PlaneChoice


def item_mask(item: Mapping[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """The union of the masks of one item of a datalist.

    Parameters
    ----------
    item
        Item with ``image`` (path) and, if it has masks, ``mask`` (references); ``frame`` and ``plane`` as read by
        `radimagenet_monai.io.transforms.LoadNativeImaged`.
    shape
        ``(rows, columns)`` of the image.

    Returns
    -------
    numpy.ndarray
        Mask as returned by `load_masks`.

    Raises
    ------
    UnreadableImageError
        As `load_masks`; also if the item has a mask but no frame, and its image has several.
    """
    references = list(item.get("mask") or ())
    if not references:
        return np.zeros(shape, dtype=bool)
    image = ImageOfMask(os.fspath(item["image"]), item.get("plane") or "acquired")
    return load_masks(references, shape, frame_of(item), image)


def frame_of(item: Mapping[str, Any]) -> int:
    """The frame of a datalist item; 0 for an item without one whose image has a single frame.

    Raises
    ------
    UnreadableImageError
        If the item has no frame and its image has several.
    """
    frame = item.get("frame")
    if frame is not None and frame != "":
        return int(frame)
    path = os.fspath(item["image"])
    frames = count_frames(path, item.get("plane") or "acquired")
    if frames > 1:
        raise UnreadableImageError(path, "header", f"it has {frames} frames and the record names none; state its frame")
    return 0


def load_masks(
    references: Sequence[str], shape: tuple[int, int], frame: int, image: ImageOfMask | None = None
) -> np.ndarray:
    """The union of several lesions' masks.

    Parameters
    ----------
    references
        Mask references of a record, see `radimagenet_monai.datasets.masks.reference`.
    shape
        ``(rows, columns)`` of the image that the masks belong to.
    frame
        Zero-based frame or slice of the image.
    image
        Image of the masks. Without it, positions are not compared: a mask of several frames is read at ``frame``, a
        mask of a single frame belongs to frame 0.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` bool, upright like the image; all false without references.

    Raises
    ------
    UnreadableImageError
        For a mask that cannot be read, whose lesion cannot be determined from its values
        (`radimagenet_monai.datasets.masks.values`), or that does not lie on its image
        (`radimagenet_monai.datasets.masks.grid`).
    """
    union = np.zeros(shape, dtype=bool)
    for text in references:
        union |= _load(MaskReference.parse(text), shape, frame, image)
    return union


@dataclass(frozen=True)
class LoadedMask:
    """An interpreted mask file, shared by all its frames.

    Attributes
    ----------
    values
        Interpretation of the values, without the pixels.
    packed
        Lesion, one bit per pixel along columns.
    grid
        Grid of the file.
    kind
        Kind of samples, as in `radimagenet_monai.datasets.masks.samples.MaskSamples`.
    order
        How the orientation and order of the file were determined.
    plane
        Plane of the frames, if the file states it.
    lossy
        Whether the file was compressed with loss.
    """

    values: MaskValues
    packed: np.ndarray = field(repr=False)
    grid: Grid
    kind: str
    order: Order
    plane: str | None
    lossy: bool

    @property
    def lesion(self) -> np.ndarray:
        """``(frames, rows, columns)`` booleans."""
        return self.frames(slice(None))

    def frames(self, which: slice) -> np.ndarray:
        """The lesion in some frames."""
        return np.unpackbits(self.packed[which], axis=-1, count=self.grid.shape[2]).astype(bool)


def load_file(reference: MaskReference) -> LoadedMask:
    """Read a mask file through a small per-process cache.

    Raises
    ------
    UnreadableImageError
        For a file that cannot be read, or whose lesion cannot be determined.
    """
    found = inspect_file(reference)
    if found.values.problem:
        raise UnreadableImageError(str(reference), "mask", found.values.problem)
    return found


def inspect_file(reference: MaskReference) -> LoadedMask:
    """As `load_file`, but also if the lesion cannot be determined: ``values.problem`` then says why.

    Raises
    ------
    UnreadableImageError
        For a file that cannot be read.
    """
    key = (reference.file, reference.values, reference.at_least, _stamp(reference.file))
    return _files.get(key, lambda: _understood(reference), lambda found: found.packed.nbytes)


def relate(found: LoadedMask, reference: MaskReference, image: ImageOfMask) -> Placement | None:
    """The placement of a mask on its image; ``None`` if one of them states no positions and frame numbers decide.

    Raises
    ------
    UnreadableImageError
        For a mask that does not lie on its image, or has other frames, rows and columns.
    """
    _require_same_turn(reference, image)
    if reference.frame is not None:
        if found.grid.shape[0] != 1:
            cause = (
                f"frame={reference.frame} is stated of a file of {found.grid.shape[0]} frames; expected a single one"
            )
            raise UnreadableImageError(str(reference), "geometry", cause)
        return None
    if reference.ignore_positions or (found.order == "stored" and _is_flat(image.path)):
        _require_frames(found.grid.shape[0], count_frames(image.path, image.plane), reference)
        return None
    native, _ = read_frame(image.path, 0, image.plane)
    grid = Grid.of(native)
    if found.grid.affine is None or grid.affine is None:
        _require_frames(found.grid.shape[0], grid.shape[0], reference)
        # Unevenly spaced slices have no affine, but they are upright and in order.
        irregular = order_of(native) == "placed" and found.order.startswith("placed") and native.plane == found.plane
        if not irregular and not agree_by_number(found.order, order_of(native), grid.shape[0]):
            one, other = ("its image does", "it") if found.grid.affine is None else ("it does", "its image")
            raise UnreadableImageError(
                str(reference),
                "geometry",
                f"{one} state the position of its pixels and {other} does not, so that one of them may be turned; give "
                "both positions (NIfTI), or pair them as they are with '#positions=ignore' in the mask column",
            )
        return None
    related = place(found.grid, grid)
    if isinstance(related, str):
        raise UnreadableImageError(str(reference), "geometry", related)
    outside = lesion_outside(found.lesion, found.grid, grid, related)
    if outside:
        cause = f"{outside}: it belongs to another image, or its affine was lost"
        raise UnreadableImageError(str(reference), "geometry", cause)
    return related


def _load(reference: MaskReference, shape: tuple[int, int], frame: int, image: ImageOfMask | None) -> np.ndarray:
    if reference.outlines is not None:
        if image is not None:
            _require_same_turn(reference, image)
        return _outlined(reference, reference.outlines, shape)
    found = load_file(reference)
    placement = None
    if image is not None:
        key = (reference, _stamp(reference.file), image, _stamp(image.path))
        placement = _relations.get(key, lambda: relate(found, reference, image), lambda _: 1)
    elif reference.frame is None and len(found.packed) == 1 and frame:
        _require_frames(1, frame + 1, reference, at_least=True)
    if placement is not None:
        assert image is not None
        native, _ = read_frame(image.path, frame, image.plane)
        mask = sample(found.frames, found.grid, Grid.of(native), placement, frame)
    else:
        mask = _by_number(found, reference, frame)
    if mask.shape != tuple(shape):
        raise UnreadableImageError(str(reference), "geometry", _other_size(mask.shape, shape))
    return mask


def _by_number(found: LoadedMask, reference: MaskReference, frame: int) -> np.ndarray:
    if reference.frame is not None:
        mask = found.frames(slice(0, 1))[0]
        return mask if frame == reference.frame else np.zeros_like(mask)
    frames = found.grid.shape[0]
    if frame >= frames:
        cause = f"frame {frame} was asked for; it has {frames} frame(s), counted from 0"
        raise UnreadableImageError(str(reference), "geometry", cause)
    return found.frames(slice(frame, frame + 1))[0]


def _require_frames(frames: int, expected: int, reference: MaskReference, at_least: bool = False) -> None:
    if frames == expected:
        return
    least = " or more" if at_least else ""
    way_out = (
        "if it was drawn on frame 7, counted from 0, name it as "
        f"'{Path(reference.file).name}#frame=7' in the mask column"
        if frames == 1
        else "give a mask of the same slices, or one that states its positions (NIfTI, NRRD)"
    )
    raise UnreadableImageError(
        str(reference), "geometry", f"it has {frames} frame(s), its image {expected}{least}; {way_out}"
    )


def _other_size(mask: tuple[int, ...], image: tuple[int, int]) -> str:
    turned = "; rows and columns are exchanged: turn the mask" if mask == image[::-1] else ""
    return (
        f"the mask has {mask[0]} x {mask[1]} pixels (rows x columns), its image {image[0]} x {image[1]}"
        f"{turned or '; give a mask of the same size'}"
    )


def _outlined(reference: MaskReference, number: int, shape: tuple[int, int]) -> np.ndarray:
    try:
        return fill_polygons(read_outlines(reference.file, number), shape)
    except RecordsError as error:
        cause = re.sub(f"^{re.escape(reference.file)}: ", "", str(error))
        raise UnreadableImageError(str(reference), "decode", cause) from None


def _understood(reference: MaskReference) -> LoadedMask:
    samples = read_samples(reference.file)
    values = understand(samples, reference)
    lesion = values.lesion if values.lesion is not None else np.zeros(samples.values.shape, bool)
    image = samples.image
    return LoadedMask(
        replace(values, lesion=None),
        np.packbits(lesion, axis=-1),
        Grid.of(image),
        samples.kind,
        order_of(image),
        image.plane,
        samples.lossy,
    )


def _require_same_turn(reference: MaskReference, image: ImageOfMask) -> None:
    """Refuse a mask and an image if EXIF turns only one of them, since the mask was then drawn on other pixels."""
    mask, own = _orientations(reference.file), _orientations(image.path)
    if reference.ignore_positions or mask == own:
        return
    words = [", ".join(map(str, turns)) for turns in (mask, own)]
    alike = (
        "" if reference.outlines is not None else ", or add '#positions=ignore' in the mask column where they coincide"
    )
    raise UnreadableImageError(
        str(reference),
        "geometry",
        f"its EXIF orientation is {words[0]}, that of its image {words[1]} (1: not turned), so that the mask may lie "
        f"on the pixels before or after they are turned; save both turned and without EXIF{alike}",
    )


def _orientations(path: str) -> tuple[int, ...]:
    return picture_orientations(path) if Path(path).is_file() and image_kind(path) == "picture" else (1,)


def _is_flat(path: str) -> bool:
    """Whether an image is a picture or an array, which never state positions."""
    return Path(path).is_file() and image_kind(path) in ("picture", "npy")


def _stamp(path: str) -> Hashable:
    """A value that changes when a file, or a file in a folder, changes."""
    place = Path(path)
    with stage(path, "open"):
        files = [place] if not place.is_dir() else sorted(place.iterdir())
        return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)


class _Cache(Generic[_Value]):
    """The most recently requested values that fit, and always the last one."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: OrderedDict[Hashable, tuple[_Value, int]] = OrderedDict()
        self._taken = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], _Value], size: Callable[[_Value], int]) -> _Value:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
        value = make()
        with self._lock:
            if key in self._kept:  # another thread has made it meanwhile
                self._taken -= self._kept.pop(key)[1]
            self._kept[key] = (value, size(value))
            self._taken += size(value)
            while self._taken > self._room and len(self._kept) > 1:
                self._taken -= self._kept.popitem(last=False)[1][1]
        return value


_files: _Cache[LoadedMask] = _Cache(_CACHED_BYTES)
_relations: _Cache[Placement | None] = _Cache(_CACHED_RELATIONS)
