"""How the frames of an image lie in volumes, and in which plane, from headers alone."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from radimagenet_monai.errors import UnreadableImageError
from radimagenet_monai.io.dicom import frame_plane, frame_volumes, load_dataset
from radimagenet_monai.io.geometry import PLANES, Plane, PlaneChoice, plane_of, require_plane
from radimagenet_monai.io.header_facts import header_facts
from radimagenet_monai.io.left_out import LeftOut
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
    """The frames of an image.

    Attributes
    ----------
    plane
        Of the frames, or ``None`` where it is unknown.
    volumes
        Frame numbers of each volume, in order along the normal of the slices. One volume of all frames in their order
        where the file knows no positions.
    """

    plane: Plane | None
    volumes: list[list[int]]

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return sum(map(len, self.volumes))


def frame_layout(
    path: str | os.PathLike[str], plane: PlaneChoice = "acquired", left_out: LeftOut | None = None
) -> FrameLayout:
    """The frames that `read_image` would give, as volumes.

    Parameters
    ----------
    path
        Any input of `read_image`.
    plane
        The plane of the frames, as for `read_image`. Frames of DICOM images in another plane than the acquired need the
        pixels to be read.
    left_out
        Receives the files of a series folder that are no slices of the series.

    Raises
    ------
    UnreadableImageError
        As `read_image`, as far as headers show it.
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
    """The plane that the name of a file or of its folder states, as MRNet's ``sagittal/0000.npy`` does.

    For images that do not state it themselves. ``None`` where none or several of the three are named.
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
        return FrameLayout(None, _blocks([sum(fact.frames for fact in facts)]))  # reading it says what is wrong
    order = order_series([fact.place for fact in facts])
    orientation = facts[0].place.orientation
    plane = None if orientation is None else plane_of(orientation)
    return FrameLayout(plane, _blocks([len(volume) for volume in order.volumes]))


def _layout_of_pixels(path: str, plane: PlaneChoice) -> FrameLayout:
    image, _ = read_frame(path, 0, plane)
    return FrameLayout(image.plane, _blocks([len(image) // image.volumes] * image.volumes))


def _blocks(lengths: list[int]) -> list[list[int]]:
    """Frame numbers of volumes one behind the other."""
    start = 0
    blocks = []
    for length in lengths:
        blocks.append(list(range(start, start + length)))
        start += length
    return blocks
