"""Native images without records: what inference runs on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch.utils.data import Dataset

from radimagenet_monai.data.filling import describe_failure
from radimagenet_monai.data.resize import SPACING
from radimagenet_monai.data.sampler import SampleKey
from radimagenet_monai.datasets.slices import choose_slices
from radimagenet_monai.errors import ConfigurationError, RecordsError, UnreadableImageError
from radimagenet_monai.io.discovery import series_files, survey
from radimagenet_monai.io.left_out import LeftOut

GEOMETRY = "geometry"


class NativeImages(list[dict[str, Any]]):
    """What `list_native_images` found, and in ``left_out``, by reason, what else there was."""

    def __init__(self, images: Iterable[dict[str, Any]] = (), left_out: LeftOut | None = None) -> None:
        super().__init__(images)
        self.left_out = LeftOut() if left_out is None else left_out


def list_native_images(root: str | os.PathLike[str], slices: str = "all") -> NativeImages:
    """One dictionary for each frame of each image file below ``root``, or of that file.

    Empty for an empty ``root``: MONAI builds workflows without data to check them.

    Parameters
    ----------
    root
        A file or a folder.
    slices
        Rule of `choose_slices` for the slices of an exam that are used.

    Returns
    -------
    NativeImages
        Dictionaries with ``image`` (path), ``frame`` (int) and ``exam`` (path): the file of many frames, or the first
        file of the DICOM series, that the image is a slice of; for any other image itself.

    Raises
    ------
    RecordsError
        Where there is no image.
    UnreadableImageError
        Where ``root`` does not exist.
    """
    if not root:
        return NativeImages()
    exams: dict[str, list[tuple[str, int]]] = {}
    found, left_out = survey(root)
    for item in found:
        series = [item.path] if item.frames > 1 else series_files(item.path)
        exams.setdefault(series[0], []).extend((item.path, frame) for frame in range(item.frames))
    images = []
    for exam, members in exams.items():
        order = {path: place for place, path in enumerate(series_files(exam))} if len(members) > 1 else {}
        members.sort(key=lambda member: (order.get(member[0], len(order)), member))
        images += [
            {"image": members[number][0], "frame": members[number][1], "exam": exam}
            for number in choose_slices(len(members), slices)
        ]
    if not images:
        found = f"; {left_out.notes[0]}" if left_out else ""
        raise RecordsError(
            f"'{os.fspath(root)}' holds no image; expected DICOM, NIfTI, NRRD, PNG, JPEG, TIFF or NPY{found}"
        )
    if slices == "all":
        images.sort(key=lambda image: (image["image"], image["frame"]))
    return NativeImages(images, left_out)


def left_out_of(data: Any) -> LeftOut:
    """What was left out when ``data``, the list of a `NativeDataset`, was made; nothing for any other list."""
    return data.left_out if isinstance(data, NativeImages) else LeftOut()


class NativeDataset(Dataset):
    """Images read and transformed when asked for, without a packed store.

    Items hold ``image``, what ``transform`` makes of it; ``index`` and ``frame`` (int); and ``unreadable``, the reason
    why an image could not be read, or ``""``. An unreadable image is then all zeros, so that a batch keeps its shape
    and its place. Where ``transform`` leaves a ``geometry`` and a ``spacing`` (see `ResizeCanonicald`), the item has
    them too, zeros for an unreadable image.

    Parameters
    ----------
    data
        One dictionary an image: ``image``, a path, and optionally ``frame``.
    transform
        Gives a canonical image of fixed size under ``image``.
    unreadable
        ``"skip"`` goes on after an image that cannot be read; ``"stop"`` raises.
    placeholder
        Shape of the zeros.

    Raises
    ------
    UnreadableImageError
        From an item, with ``unreadable="stop"``.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[..., Any],
        placeholder: Sequence[int],
        unreadable: Literal["stop", "skip"] = "skip",
    ) -> None:
        if unreadable not in ("stop", "skip"):
            raise ConfigurationError(f"unreadable={unreadable!r}: expected 'stop' or 'skip'")
        self.data = data if isinstance(data, NativeImages) else list(data)
        self.transform = transform
        self.placeholder = tuple(int(length) for length in placeholder)
        self.unreadable = unreadable

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, item: int | SampleKey) -> dict[str, Any]:
        index = item.index if isinstance(item, SampleKey) else int(item)
        record = self.data[index]
        problem = ""
        geometry = None
        spacing = None
        try:
            result = self.transform(dict(record))
            geometry = result.get(GEOMETRY)
            spacing = result.get(SPACING)
            image = torch.as_tensor(result["image"])
            # Batches hold plain tensors: MetaTensor would carry the header along.
            image = image.as_subclass(torch.Tensor)
        except Exception as error:
            failure = describe_failure(error, record)
            cause = failure.cause.removeprefix(f"{record['image']}: ")
            if self.unreadable == "stop":
                raise UnreadableImageError(str(record["image"]), failure.stage, cause) from error
            image, problem = torch.zeros(self.placeholder), f"{failure.stage}: {cause}"
        loaded = {"image": image, "index": index, "frame": int(record.get("frame", 0)), "unreadable": problem}
        # A batch is collated by the keys of its first item, so every item has the keys.
        loaded[GEOMETRY] = torch.zeros(6, dtype=torch.int64) if geometry is None else geometry
        loaded[SPACING] = torch.zeros(2, dtype=torch.float64) if spacing is None else spacing
        return loaded
