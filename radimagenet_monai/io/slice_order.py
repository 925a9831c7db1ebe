"""The order of slices: by position along their normal, one volume after the other.

Instance Numbers, file names and the frame order of an object reflect how images were sent or stored, not necessarily
their position in the patient, which PS3.3 C.7.6.2.1.1 states. They are used only if positions are unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.geometry import series_normal

_SAME_DIRECTION = 1e-3
_SAME_PLACE = 1e-2  # mm
_ON_A_LINE = 1.0  # mm
# Elements that distinguish the volumes of a series, most telling first; combined if no single one is enough.
VOLUME_ELEMENTS = (
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "EchoTime",
    "EchoNumbers",
    "ImageType",
    "InversionTime",
    "FlipAngle",
    "TriggerTime",
    "AcquisitionNumber",
)
LAST_VOLUME_ELEMENTS = ("AcquisitionTime", "ContentTime")


@dataclass(frozen=True)
class SliceFacts:
    """Facts about a slice's position.

    Attributes
    ----------
    name
        File name; ``""`` for a frame.
    number
        Instance Number, or the frame number in its object; ``None`` if unknown.
    orientation, position
        Image Orientation (6,) and Position (3,) (Patient), or ``None``.
    volume
        Known values of `VOLUME_ELEMENTS`, `LAST_VOLUME_ELEMENTS` and the like, by name.
    uid
        SOP Instance UID, or ``""``.
    """

    name: str
    number: int | None
    orientation: np.ndarray | None = None
    position: np.ndarray | None = None
    volume: dict[str, Any] = field(default_factory=dict)
    uid: str = ""


@dataclass(frozen=True)
class SliceOrder:
    """Sorted slice indices.

    Attributes
    ----------
    volumes
        One list per volume; stacks of different orientations are separate volumes.
    repeated
        Pairs of slices at the same position that nothing distinguishes.
    """

    volumes: list[list[int]]
    repeated: list[tuple[int, int]]

    @property
    def flat(self) -> list[int]:
        """The indices of all volumes in sequence."""
        return [index for volume in self.volumes for index in volume]


def order_slices(slices: Sequence[SliceFacts]) -> SliceOrder:
    """Sort slices.

    Slices of one orientation follow the slice order of their plane (`radimagenet_monai.io.geometry`). If positions
    repeat, the slices form several volumes, separated by time, echo, diffusion weighting, acquisition and the like, or
    by number if all positions repeat equally often. Slices without orientation that lie on a line are ordered along it,
    to the left, posterior or superior. All others are ordered by number, or by name (``2`` before ``10``) if numbers
    are missing or all the same.
    """
    placed = [index for index, piece in enumerate(slices) if piece.position is not None]
    if not slices or len(placed) < len(slices):
        return SliceOrder([_by_number(slices, range(len(slices)))], [])
    if any(piece.orientation is None for piece in slices):
        normal = _line_of([piece.position for piece in slices if piece.position is not None])
        if normal is None:
            return SliceOrder([_by_number(slices, range(len(slices)))], [])
        return _order_along(slices, list(range(len(slices))), normal)
    volumes: list[list[int]] = []
    repeated: list[tuple[int, int]] = []
    for stack in _stacks(slices):
        try:
            normal = series_normal(np.asarray(slices[stack[0]].orientation))
        except ValueError:
            volumes.append(_by_number(slices, stack))
            continue
        order = _order_along(slices, stack, normal)
        volumes += order.volumes
        repeated += order.repeated
    return SliceOrder(volumes, repeated)


def order_series(slices: Sequence[SliceFacts]) -> SliceOrder:
    """`order_slices` for the files of one series, whose slices must be distinct.

    Raises
    ------
    UnreadableImageError
        Names a file whose orientation differs from the others, that is a copy of another, or whose slice has the
        position of another although nothing separates two volumes.
    """
    require_one_orientation(slices)
    seen: dict[str, str] = {}
    for piece in slices:
        if piece.uid and piece.uid in seen:
            raise UnreadableImageError(
                piece.name,
                "geometry",
                f"this slice is a copy of '{Path(seen[piece.uid]).name}' (same SOP Instance UID); remove one",
            )
        seen[piece.uid] = piece.name
    order = order_slices(slices)
    if order.repeated:
        first, second = (slices[index].name for index in order.repeated[0])
        more = f" ({len(order.repeated)} such pairs)" if len(order.repeated) > 1 else ""
        raise UnreadableImageError(
            second,
            "geometry",
            f"this slice lies at the place of '{Path(first).name}'{more}, and nothing tells two volumes apart; "
            "move one of them out of the folder",
        )
    return order


def require_one_orientation(slices: Sequence[SliceFacts]) -> None:
    """Refuse a slice oriented differently from most of its series; slices without orientation are ignored.

    Raises
    ------
    UnreadableImageError
        Names the file.
    """
    across = slices_across(slices, least=1)
    if across:
        raise UnreadableImageError(
            slices[across[0]].name, "geometry", "this slice is oriented unlike its series (a localizer?); move it out"
        )


def slices_across(slices: Sequence[SliceFacts], least: int) -> list[int]:
    """Indices of slices outside the most common orientation, if that has ``least`` times the slices of all others."""
    oriented = [index for index, piece in enumerate(slices) if piece.orientation is not None]
    if len(oriented) < len(slices) or not slices:
        return []
    stacks = sorted(_stacks(slices), key=len, reverse=True)
    others = sorted(index for stack in stacks[1:] for index in stack)
    return others if len(stacks[0]) >= least * len(others) else []


def natural(name: str) -> tuple[Any, ...]:
    """A sorting key that puts ``IM2`` before ``IM10``."""
    parts = re.split(r"(\d+)", name)
    return tuple((1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts)


def _by_number(slices: Sequence[SliceFacts], indices: Sequence[int] | range) -> list[int]:
    numbers = [slices[index].number for index in indices]
    telling = None not in numbers and len(set(numbers)) > 1
    return sorted(
        indices, key=lambda index: (slices[index].number if telling else 0, natural(slices[index].name), index)
    )


def _stacks(slices: Sequence[SliceFacts]) -> list[list[int]]:
    """Indices by orientation, in order of first occurrence."""
    stacks: list[tuple[np.ndarray, list[int]]] = []
    for index, piece in enumerate(slices):
        orientation = np.asarray(piece.orientation)
        for known, members in stacks:
            if np.abs(known - orientation).max() <= _SAME_DIRECTION:
                members.append(index)
                break
        else:
            stacks.append((orientation, [index]))
    return [members for _, members in stacks]


def _line_of(positions: Sequence[np.ndarray]) -> np.ndarray | None:
    """The direction of positions on a line, towards the left, posterior or superior."""
    points = np.stack(positions)
    centered = points - points.mean(axis=0)
    direction = np.linalg.svd(centered, full_matrices=False)[2][0]
    off = centered - np.outer(centered @ direction, direction)
    if np.abs(off).max() > _ON_A_LINE or np.ptp(centered @ direction) <= _SAME_PLACE:
        return None
    return direction * np.sign(direction[np.abs(direction).argmax()])


def _order_along(slices: Sequence[SliceFacts], stack: list[int], normal: np.ndarray) -> SliceOrder:
    along = {index: float(np.asarray(slices[index].position) @ normal) for index in stack}
    tied = {index: rank for rank, index in enumerate(_by_number(slices, stack))}
    slots: list[list[int]] = []
    for index in sorted(stack, key=lambda index: along[index]):
        if slots and along[index] - along[slots[-1][0]] <= _SAME_PLACE:
            slots[-1].append(index)
        else:
            slots.append([index])
    for slot in slots:
        slot.sort(key=lambda index: tied[index])
    most = max(map(len, slots))
    if most == 1 or len(slots) == 1:  # a stack, or one slice repeated
        return SliceOrder([[index for slot in slots for index in slot]], [])
    for key in _volume_keys(slices, stack):
        volumes = _told_apart(slots, most, key)
        if volumes is not None:
            return SliceOrder(volumes, [])
    if all(len(slot) == most for slot in slots):
        return SliceOrder([[slot[number] for slot in slots] for number in range(most)], [])
    pairs = [(slot[0], other) for slot in slots for other in slot[1:]]
    return SliceOrder([[index for slot in slots for index in slot]], pairs)


def _volume_keys(slices: Sequence[SliceFacts], stack: Sequence[int]) -> list[Callable[[int], Any]]:
    known = [
        name for name in dict.fromkeys(name for index in stack for name in slices[index].volume)
        if all(name in slices[index].volume for index in stack)
        and len({_sortable(slices[index].volume[name]) for index in stack}) > 1
    ]  # fmt: skip
    ranks = {name: rank for rank, name in enumerate((*VOLUME_ELEMENTS, *LAST_VOLUME_ELEMENTS))}
    known.sort(key=lambda name: ranks.get(name, -1))
    single = [lambda index, name=name: _sortable(slices[index].volume[name]) for name in known]
    together = [name for name in known if name not in LAST_VOLUME_ELEMENTS]

    def all_of(index: int) -> tuple[Any, ...]:
        return tuple(_sortable(slices[index].volume[name]) for name in together)

    return [*single, all_of]


def _told_apart(slots: list[list[int]], most: int, key: Callable[[int], Any]) -> list[list[int]] | None:
    """Volumes by a key, if it has as many values as a position has slices and no volume has a position twice."""
    volumes: dict[Any, list[int]] = {}
    for slot in slots:
        values = [key(index) for index in slot]
        if len(set(values)) < len(values):
            return None
        for value, index in zip(values, slot, strict=True):
            volumes.setdefault(value, []).append(index)
    return [volumes[value] for value in sorted(volumes)] if len(volumes) == most else None


def _sortable(value: Any) -> tuple[Any, ...]:
    """Numbers by size, everything else by its text."""
    values = value if isinstance(value, (list, tuple)) else [value]
    keys: list[tuple[Any, ...]] = []
    for one in values:
        try:
            keys.append((0, float(one), ""))
        except (TypeError, ValueError):
            keys.append((1, 0.0, str(one)))
    return tuple(keys)
