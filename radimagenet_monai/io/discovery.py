"""Finding image files below a folder, and the files that belong to one series."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from radimagenet_monai.errors import UnreadableImageError
from radimagenet_monai.io.dicom import load_dataset, number_of_frames
from radimagenet_monai.io.reader import count_frames, image_kind, is_junk

_IMAGE_SUFFIXES = (
    *(".dcm", ".dicom", ".dic", ".ima", ".nii", ".nii.gz", ".nrrd", ".nhdr", ".zip", ".npy"),
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
)


@dataclass(frozen=True)
class ImageItem:
    """A file that is, or claims to be, an image.

    Attributes
    ----------
    path
        The file, below the root that was asked for.
    frames
        What its header says; 1 where it cannot be told.
    """

    path: str
    frames: int


def find_images(root: str | os.PathLike[str]) -> list[ImageItem]:
    """List the image files below a folder, or the single file ``root``.

    Files with the content or the suffix of an image are listed, also when damaged: leaving them out here would hide
    them, where `read_image` gives the reason. Hidden files and folders, thumbnails, tables and texts are passed over,
    and so are DICOM objects without an image.

    Returns
    -------
    list of ImageItem
        Sorted by path.

    Raises
    ------
    UnreadableImageError
        When ``root`` does not exist or a folder cannot be listed.
    """
    name = os.fspath(root)
    if not Path(name).exists():
        raise UnreadableImageError(name, "open", "there is no such file or folder")
    if not Path(name).is_dir():
        return [ImageItem(name, count_frames(name))]

    def refuse(error: OSError) -> None:
        raise UnreadableImageError(str(error.filename), "open", f"the folder cannot be listed: {error.strerror}")

    paths = []
    for parent, folders, files in os.walk(name, onerror=refuse):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        paths += [os.path.join(parent, file) for file in files if not is_junk(file)]
    return [ImageItem(path, count_frames(path)) for path in sorted(paths) if _is_candidate(path)]


def series_files(path: str | os.PathLike[str]) -> list[str]:
    """The single-frame DICOM files of the same series in the folder of ``path``, for statistics over a series.

    Parameters
    ----------
    path
        Any input of `read_image`.

    Returns
    -------
    list of str
        Sorted by Instance Number, then name; ``[path]`` for anything but a single-frame DICOM file with a Series
        Instance UID. Only headers are read, once per folder until it changes.
    """
    name = os.fspath(path)
    if not Path(name).is_file():
        return [name]
    folder = Path(name).parent
    try:
        series = _series_of_folder(str(folder), folder.stat().st_mtime_ns)
    except OSError:
        return [name]
    return [str(folder / sibling) for sibling in series.get(Path(name).name, ())] or [name]


@lru_cache(maxsize=16)
def _series_of_folder(folder: str, _changed: int) -> dict[str, tuple[str, ...]]:
    """By file name, the names of its series; ``_changed`` only makes the cache notice that the folder has changed."""
    series: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for entry in os.scandir(folder):
        if is_junk(entry.name) or not entry.is_file() or image_kind(entry.path) != "dicom":
            continue
        try:
            header = load_dataset(
                entry.path,
                header_only=True,
                tags=("SeriesInstanceUID", "InstanceNumber", "NumberOfFrames", "Rows"),
            )
            uid = str(header.get("SeriesInstanceUID") or "")
            number = int(header.get("InstanceNumber") or 0)
        except (UnreadableImageError, TypeError, ValueError):
            continue
        if uid and "Rows" in header and number_of_frames(header) == 1:
            series[uid].append((number, entry.name))
    ordered = (tuple(name for _, name in sorted(files)) for files in series.values())
    return {name: names for names in ordered for name in names}


def _is_candidate(path: str) -> bool:
    try:
        kind = image_kind(path)
    except OSError:
        return True
    if kind == "dicom":
        try:
            header = load_dataset(path, header_only=True, tags=("Rows", "SOPClassUID"))
        except UnreadableImageError:
            return True
        return "Rows" in header or "SOPClassUID" not in header
    return kind is not None or path.lower().endswith(_IMAGE_SUFFIXES)
