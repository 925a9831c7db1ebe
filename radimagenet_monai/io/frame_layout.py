"""How the frames of an image form volumes, and in which plane, from headers alone."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.dicom.files import frame_plane, frame_volumes, load_dataset
from radimagenet_monai.io.dicom.header_facts import header_facts
from radimagenet_monai.io.discovery.left_out import LeftOut
from radimagenet_monai.io.geometry import PLANES, Plane, PlaneChoice, plane_of, require_plane
from radimagenet_monai.io.reader import (
    VOLUME_LAYOUTS,
    count_frames,
    dicom_files_below,
    image_kind,
    read_frame,
    series_of,
)
from radimagenet_monai.io.slice_order import order_series


@dataclass(frozen=True)
class FrameLayout:
    """Volumes and plane of an image's frames.

    Attributes
    ----------
    plane
        Plane of the frames, or ``None`` if unknown.
    volumes
        Frame numbers of each volume, in order along the slice normal. A single volume with all frames in file order if
        the file states no positions.
    """

    plane: Plane | None
    volumes: list[list[int]]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return sum(map(len, self.volumes))


def frame_layout(
    path: str | os.PathLike[str], plane: PlaneChoice = "acquired", left_out: LeftOut | None = None
) -> FrameLayout:
    """The frames that `read_image` would return, grouped in volumes.

    Parameters
    ----------
    path
        Any input of `read_image`.
    plane
        Plane of the frames, as for `read_image`. For DICOM frames in a plane other than the acquired one, the pixels
        have to be read.
    left_out
        Receives the files of a series folder that are not slices of the series.

    Raises
    ------
    UnreadableImageError
        As `read_image`, for problems that show in headers.
    ConfigurationError
        For an unknown plane.
    """
    require_plane(plane)
    name = os.fspath(path)
    if Path(name).is_dir():
        files = series_of(name, dicom_files_below(name), left_out)
        if len(files) == 1:
            return frame_layout(files[0], plane)
        layout = _layout_of_series(name, files)
        return layout if plane in ("acquired", layout.plane) else _layout_of_pixels(name, plane)
    kind = image_kind(name)
    if kind == "dicom":
        dataset = load_dataset(name, header_only=True)
        layout = FrameLayout(frame_plane(name, dataset), frame_volumes(name, dataset))
        if plane in ("acquired", "stored", layout.plane):
            return layout
        if layout.plane is not None and layout.frames == 1:
            raise UnreadableImageError(
                name, "geometry", f"{plane} slices were asked for; its one slice is {layout.plane}"
            )
        return _layout_of_pixels(name, plane)
    if kind in VOLUME_LAYOUTS:
        own, slices, volumes = VOLUME_LAYOUTS[kind](name, plane)
        return FrameLayout(own, _blocks([slices] * volumes))
    if kind == "zip":
        return _layout_of_pixels(name, plane)
    return FrameLayout(None, [list(range(count_frames(name)))])


def plane_in_name(path: str | os.PathLike[str]) -> Plane | None:
    """The plane named by a file or its folder, such as MRNet's ``sagittal/0000.npy``.

    For images that do not state their plane. ``None`` if none or several of the three are named.
    """
    place = Path(path)
    for name in (place.stem, place.parent.name):
        words = set(re.split(r"[^a-z]+", name.lower()))
        found = [plane for plane in PLANES if plane in words]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _layout_of_series(folder: str, files: list[str]) -> FrameLayout:
    facts = [header_facts(file) for file in files]
    several = [fact for fact in facts if fact.frames > 1]
    if several:
        return FrameLayout(None, _blocks([sum(fact.frames for fact in facts)]))  # reading it reports the problem
    order = order_series([fact.place for fact in facts])
    orientation = facts[0].place.orientation
    plane = None if orientation is None else plane_of(orientation)
    return FrameLayout(plane, _blocks([len(volume) for volume in order.volumes]))


def _layout_of_pixels(path: str, plane: PlaneChoice) -> FrameLayout:
    image, _ = read_frame(path, 0, plane)
    return FrameLayout(image.plane, _blocks([len(image) // image.volumes] * image.volumes))


def _blocks(lengths: list[int]) -> list[list[int]]:
    """Frame numbers of consecutive volumes."""
    start = 0
    blocks = []
    for length in lengths:
        blocks.append(list(range(start, start + length)))
        start += length
    return blocks
