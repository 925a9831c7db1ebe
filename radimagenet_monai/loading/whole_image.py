"""Whole images through transforms of single slices: what a client hands over is a path, without a frame."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.transforms import Compose

from radimagenet_monai.core.errors import RecordsError, UnreadableImageError
from radimagenet_monai.io.dicom.files import read_dicom_series
from radimagenet_monai.io.discovery.survey import series_volumes
from radimagenet_monai.io.geometry import PlaneChoice
from radimagenet_monai.io.native_image import NativeImage
from radimagenet_monai.io.reader import read_frame
from radimagenet_monai.io.voxels import frames_to_voxels
from radimagenet_monai.loading.native_dataset import DOUBT, GEOMETRY, list_native_images
from radimagenet_monai.loading.resize import CONTENT, QUESTIONS
from radimagenet_monai.store.packed_row import describe_failure

logger = logging.getLogger(__name__)

USED_SLICES = "used_slices"
"""Key of an item: `UsedSlices`, which slices of the whole image ``image`` consists of."""
RESULT = "result"
"""Key of what a client shows beside a prediction, a dictionary of JSON values; MONAI Label's name for it."""


@dataclass(frozen=True)
class UsedSlices:
    """The slices of an image that went through a network, in the order of the stack.

    Attributes
    ----------
    path
        The image: a file, or the folder of a series.
    items
        ``image`` (path) and ``frame`` of each slice.
    places
        Position of each slice among all ``total`` frames of the image, counted along the slice normal for a series of
        files.
    total
        Number of frames of the image.
    plane
        Plane in which it was read.
    geometry, content
        As `ResizeCanonicald` leaves them, one per slice; empty for a preprocessing without.
    unreadable
        Reasons why slices were left out, by file and frame.
    questions
        Doubts about the values of each slice, see `radimagenet_monai.intensity.checks.plausibility`; a sentence a line.
    series
        The files of a DICOM series in the order of ``places``; empty for a single file.
    """

    path: str
    items: list[dict[str, Any]]
    places: list[int]
    total: int
    plane: PlaneChoice
    geometry: list[list[int]] = field(default_factory=list)
    content: list[list[int] | None] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    questions: list[str] = field(default_factory=list)
    series: list[str] = field(default_factory=list)

    def in_place(self, masks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Masks of the slices as voxels of the whole image, 0 where no slice was used; see `frames_to_voxels`.

        Parameters
        ----------
        masks
            (rows, columns) of the original size, one per slice.
        """
        if self.series:
            image = read_dicom_series(self.path, self.series, self.plane, header_only=True)
        else:
            image = _image(self.path, self.plane)
        frames = np.zeros(image.pixels.shape[:3], masks[0].dtype)
        for place, mask in zip(self.places, masks, strict=True):
            if mask.shape != frames.shape[1:]:
                raise UnreadableImageError(
                    self.path, "geometry", f"its slices differ in size: {mask.shape} and {frames.shape[1:]}"
                )
            frames[place] = mask
        return frames_to_voxels(frames, image)

    def stated(self) -> dict[str, Any]:
        """What was used, for a client to show: no path and nothing from a header."""
        return {
            "slices_used": len(self.items),
            "slices_of_the_image": self.total,
            "places": list(self.places),
            "unreadable": dict(Counter(self.unreadable.values())),
        }


class EachSlice(Compose):
    """Transforms of a single slice that also take a whole image.

    An item with a ``frame`` goes through the transforms as through any ``Compose``. An item without one is a whole
    image: a file of any number of frames, or the folder of a series. Its slices, chosen as `list_native_images` does
    for a folder, go through the transforms one by one. A client that knows only a bundle's ``preprocessing`` and hands
    over a path therefore gets every slice that ``monai.bundle run`` would use, never the first one in silence.

    Adds `UsedSlices` under ``used_slices``, and under ``image`` a stack ``(C, slices, rows, columns)``; of an image
    with a single frame ``(C, rows, columns)``.

    Parameters
    ----------
    transforms
        Transforms of a slice, the last of which gives images of one size.
    slices, plane, trained_plane, white, body_parts
        See `list_native_images`.
    """

    def __init__(
        self,
        transforms: Sequence[Callable[..., Any]],
        slices: str = "all",
        plane: str = "acquired",
        trained_plane: str | Sequence[str] | None = None,
        white: str | None = None,
    ) -> None:
        super().__init__(list(transforms))
        self.slices = slices
        self.plane = plane
        self.trained_plane = trained_plane
        self.white = white

    def __call__(self, input_: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]  # as Compose does
        """One slice, or all those of a whole image.

        Raises
        ------
        UnreadableImageError
            If no slice can be read.
        RecordsError
            If the path holds no image, or several.
        """
        if not isinstance(input_, Mapping) or input_.get("frame") not in (None, ""):
            return super().__call__(input_, *args, **kwargs)
        if not isinstance(input_.get("image"), str | os.PathLike):
            return super().__call__(input_, *args, **kwargs)
        return self._whole(dict(input_))

    def _whole(self, item: dict[str, Any]) -> dict[str, Any]:
        path = os.fspath(item["image"])
        found = list_native_images(path, self.slices, self.plane, self.trained_plane, self.white)
        exams = {record["exam"] for record in found}
        if len(exams) > 1:
            raise RecordsError(f"'{path}' holds {len(exams)} images or series; give one, or use `radimagenet predict`")
        return self.of_slices(found, path, item)

    def of_slices(
        self, listed: Sequence[Mapping[str, Any]], root: str | os.PathLike[str], item: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The slices of one image, or of one series, as a whole image.

        Parameters
        ----------
        listed
            Items of `radimagenet_monai.loading.native_dataset.list_native_images`, all of one exam.
        root
            The folder or file that was listed; a file stands for itself, also if it is part of a series.
        item
            Further entries of the result.

        Raises
        ------
        UnreadableImageError
            If no slice can be read.
        """
        item = dict(item or {})
        plane = cast(PlaneChoice, self.plane)
        files = [record["image"] for record in listed]
        path, order = files[0], None
        if Path(root).is_dir():
            series = list(chain.from_iterable(series_volumes(files[0])))
            if len(series) > 1 or Path(files[0]).parent == Path(root):
                path = os.fspath(Path(files[0]).parent)
            if len(series) > 1:
                order = {name: place for place, name in enumerate(series)}
        records = sorted((dict(record) for record in listed), key=lambda record: _place(record, order))
        results, kept, unreadable = [], [], {}
        for record in records:
            try:
                results.append(super().__call__({**item, **record}))
                kept.append(record)
            except Exception as error:
                failure = describe_failure(error, record)
                if len(records) == 1:
                    raise UnreadableImageError(path, failure.stage, failure.cause) from error
                name = f"{Path(record['image']).name}, frame {record['frame']}"
                unreadable[name] = f"{failure.stage}: {failure.cause.removeprefix(record['image'] + ': ')}"
        if not results:
            stage, _, cause = next(iter(unreadable.values())).partition(": ")
            raise UnreadableImageError(path, stage, f"none of its {len(records)} slices can be used: {cause}")
        if unreadable:
            name, reason = next(iter(unreadable.items()))
            logger.warning(
                "%d of %d slices of '%s' are left out; the first, %s: %s",
                len(unreadable),
                len(records),
                path,
                name,
                reason,
            )
        total = len(order) if order else len(_image(files[0], plane))
        used = UsedSlices(
            path,
            kept,
            [_place(record, order) for record in kept],
            total,
            plane,
            [[int(value) for value in result[GEOMETRY]] for result in results if GEOMETRY in result],
            [[int(value) for value in result[CONTENT]] if CONTENT in result else None for result in results],
            unreadable,
            [_questions(record, result) for record, result in zip(kept, results, strict=True)],
            list(order or ()),
        )
        images = [torch.as_tensor(result["image"]).as_subclass(torch.Tensor) for result in results]
        whole = dict(results[0])
        for name in ("frame", "exam", GEOMETRY, CONTENT):
            whole.pop(name, None)
        whole["image"] = images[0] if total == 1 else torch.stack(images, dim=1)
        whole[USED_SLICES] = used
        shown = whole.get(RESULT)
        whole[RESULT] = {**(shown if isinstance(shown, Mapping) else {}), **used.stated()}
        return whole


def _place(record: Mapping[str, Any], order: Mapping[str, int] | None) -> int:
    return int(record["frame"]) if order is None else order[record["image"]]


def _questions(record: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    return "\n".join(filter(None, (record.get(DOUBT), result.get(QUESTIONS))))


def _image(path: str, plane: PlaneChoice) -> NativeImage:
    return read_frame(path, 0, plane)[0]
