"""Find image files below a folder, and the files that belong to one series."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.dicom.header_facts import header_facts, known_facts
from radimagenet_monai.io.dicom.series_kind import kinds_against
from radimagenet_monai.io.discovery.left_out import (
    MASK,
    NO_PIXELS,
    NOT_AN_IMAGE,
    NOT_UTF8,
    PIXELS_ALONE,
    LeftOut,
    is_utf8,
)
from radimagenet_monai.io.discovery.walk import walk_files
from radimagenet_monai.io.formats.volume_pairs import pixels_of_header
from radimagenet_monai.io.reader import count_frames, data_file, image_kind, junk_reason
from radimagenet_monai.io.slice_order import order_slices

_IMAGE_SUFFIXES = (
    *(".dcm", ".dicom", ".dic", ".ima", ".nii", ".nii.gz", ".nrrd", ".nhdr", ".zip", ".npy"),
    *(".mha", ".mhd", ".mgh", ".mgz", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf"),
)
_HEADER_SUFFIXES = (".mhd", ".nhdr", ".hdr", ".hdr.gz")
_PIXEL_SUFFIXES = (".raw", ".zraw", ".img", ".img.gz", ".raw.gz")
_MASK_NAME = re.compile(
    r"(.+?)[ _.-]+(?:masks?|seg|segmentation|label|labels|labelmap|annotation|gt|roi)(?:[ _-]?\d+)?", re.IGNORECASE
)
_MASK_FOLDERS = frozenset({"mask", "masks", "seg", "segmentation", "segmentations", "annotations"})
_IMAGE_FOLDERS = ("images", "image", "imgs", "img")


@dataclass(frozen=True)
class ImageItem:
    """A file that is, or claims to be, an image.

    Attributes
    ----------
    path
        Path of the file, below the given root.
    frames
        Number of frames in the header; 1 if unknown.
    """

    path: str
    frames: int


class Survey(NamedTuple):
    """Contents of a folder.

    Attributes
    ----------
    images
        Sorted by path.
    left_out
        Everything else, by reason.
    """

    images: list[ImageItem]
    left_out: LeftOut


def find_images(root: str | os.PathLike[str]) -> list[ImageItem]:
    """The ``images`` of `survey`.

    Raises
    ------
    UnreadableImageError
        As `survey` does.
    """
    return survey(root).images


def survey(root: str | os.PathLike[str]) -> Survey:
    """List the image files below a folder, or the single file ``root``, and all other files by reason.

    Files with the content or the suffix of an image are listed even if damaged: leaving them out here would hide
    them, whereas `read_image` gives the reason. Content decides, so a DICOM file may have any suffix or none. Links are
    followed. Left out are hidden files and folders, texts and tables, masks beside their image (``x_mask.png`` beside
    ``x.png``), DICOM objects without pixels, localizers, screen saves, dose reports, derived series and copies
    (`radimagenet_monai.io.dicom.series_kind`), names that are not UTF-8, and broken or circular links. A single file is
    always listed.

    Raises
    ------
    UnreadableImageError
        If ``root`` does not exist or a folder cannot be listed.
    """
    name = os.fspath(root)
    if not Path(name).exists():
        raise UnreadableImageError(name, "open", "there is no such file or folder")
    if not Path(name).is_dir():
        return Survey([ImageItem(name, count_frames(name))], LeftOut(name))
    left_out = LeftOut(name)
    images = []
    refused: dict[str, str] = {}
    for path in walk_files(name, left_out):
        reason = NOT_UTF8 if not is_utf8(path[len(name) :]) else _reason_against(path)
        if reason is None:
            images.append(path)
        else:
            refused[path] = reason
    parts = _parts_of(images)
    images = [path for path in images if path not in parts]
    others = dict.fromkeys(masks_beside_images(images), MASK)
    others.update(kinds_against([path for path in images if path not in others and is_dicom(path)]))
    for path, reason in (*refused.items(), *sorted(others.items())):
        if path not in parts:
            left_out.add(reason, path)
    return Survey([ImageItem(path, count_frames(path)) for path in sorted(images) if path not in others], left_out)


def _parts_of(images: Iterable[str]) -> set[str]:
    """The data files of headers among ``images``, which are read with their header."""
    parts: set[str | None] = set()
    for path in images:
        if path.lower().endswith(_HEADER_SUFFIXES):
            parts.add(pixels_of_header(path) or data_file(path))
    return {part for part in parts if part is not None}


def masks_beside_images(paths: Iterable[str]) -> set[str]:
    """The ``paths`` that are masks of others, judged by name.

    ``x_mask.png``, ``x_mask_1.png`` or ``x-seg.nii.gz`` is a mask if an image ``x`` of any format lies in the same
    folder; ``masks/x.png`` is one if ``x`` lies in the folder above or in ``images`` beside ``masks``.
    """
    stems = {path: _stem(path) for path in paths}
    known = set(stems.values())
    return {path for path, stem in stems.items() if any(image in known for image in _images_of_mask(stem))}


def _stem(path: str) -> str:
    stem = Path(path).with_suffix("")
    return str(stem.with_suffix("") if path.lower().endswith(".gz") else stem)


def _images_of_mask(stem: str) -> Iterator[str]:
    folder, name = os.path.split(stem)
    if match := _MASK_NAME.fullmatch(name):
        yield os.path.join(folder, match[1])
    above, inner = os.path.split(folder)
    if inner.lower() in _MASK_FOLDERS:
        name = match[1] if match else name
        yield os.path.join(above, name)
        yield from (os.path.join(above, images, name) for images in _IMAGE_FOLDERS)


def series_files(path: str | os.PathLike[str]) -> list[str]:
    """The files of `series_volumes`, one volume after the other."""
    return [file for volume in series_volumes(path) for file in volume]


def series_volumes(path: str | os.PathLike[str]) -> list[list[str]]:
    """The single-frame DICOM files of the same series in the folder of ``path``.

    Parameters
    ----------
    path
        Any input of `read_image`.

    Returns
    -------
    list of list of str
        One list per volume, in order by `radimagenet_monai.io.slice_order.order_slices`; ``[[path]]`` for anything but
        a single-frame DICOM slice with a Series Instance UID. Localizers, screen saves and copies are not part of the
        series. Only headers are read, once per folder until it changes.
    """
    name = os.fspath(path)
    if not Path(name).is_file():
        return [[name]]
    folder = Path(name).parent
    try:
        series = _series_of_folder(str(folder), folder.stat().st_mtime_ns)
    except OSError:
        return [[name]]
    volumes = series.get(Path(name).name)
    return [[name]] if volumes is None else [[str(folder / sibling) for sibling in volume] for volume in volumes]


@lru_cache(maxsize=16)
def _series_of_folder(folder: str, _changed: int) -> dict[str, list[list[str]]]:
    """By file name, the volumes of its series; ``_changed`` only invalidates the cache when the folder changes."""
    series: dict[str, list[str]] = defaultdict(list)
    for entry in os.scandir(folder):
        if entry.name.startswith(".") or not Path(entry.path).is_file() or image_kind(entry.path) != "dicom":
            continue
        facts = known_facts(entry.path)
        if facts is not None and facts.series and facts.has_pixels and facts.frames == 1:
            series[facts.series].append(entry.path)
    others = kinds_against([path for paths in series.values() for path in paths])
    volumes_of: dict[str, list[list[str]]] = {}
    for paths in series.values():
        # A series of only projections is still a series if one of them is asked for.
        kept = [path for path in paths if path not in others] or paths
        order = order_slices([header_facts(path).place for path in kept])
        volumes = [[Path(kept[index]).name for index in volume] for volume in order.volumes]
        volumes_of.update((name, volumes) for volume in volumes for name in volume)
    return volumes_of


def is_dicom(path: str) -> bool:
    """Whether a file can be opened and is DICOM."""
    try:
        return image_kind(path) == "dicom"
    except OSError:
        return False


def _reason_against(path: str) -> str | None:
    """Why a file is left out; ``None`` for an image or a file that claims to be one."""
    try:
        kind = image_kind(path)
    except OSError:
        return None
    junk = junk_reason(Path(path).name)
    if kind == "dicom":
        facts = known_facts(path)
        if facts is None:
            return junk
        return None if facts.has_pixels or not facts.sop_class else junk or NO_PIXELS
    if kind is not None or path.lower().endswith(_IMAGE_SUFFIXES):
        return None
    return junk or (PIXELS_ALONE if path.lower().endswith(_PIXEL_SUFFIXES) else NOT_AN_IMAGE)
