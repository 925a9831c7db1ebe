"""Native images without records: what inference runs on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch.utils.data import Dataset

from radimagenet_monai.data.filling import describe_failure
from radimagenet_monai.data.sampler import SampleKey
from radimagenet_monai.errors import ConfigurationError, RecordsError, UnreadableImageError
from radimagenet_monai.io.discovery import find_images


def list_native_images(root: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """One dictionary, ``image`` and ``frame``, for each frame of each image file below ``root``, or of that file.

    Empty for an empty ``root``: MONAI builds workflows without data to check them.

    Raises
    ------
    RecordsError
        Where there is no image.
    UnreadableImageError
        Where ``root`` does not exist.
    """
    if not root:
        return []
    images = [{"image": item.path, "frame": frame} for item in find_images(root) for frame in range(item.frames)]
    if not images:
        raise RecordsError(f"'{os.fspath(root)}' holds no image; expected DICOM, NIfTI, NRRD, PNG, JPEG, TIFF or NPY")
    return images


class NativeDataset(Dataset):
    """Images read and transformed when asked for, without a packed store.

    Items hold ``image``, what ``transform`` makes of it; ``index`` and ``frame`` (int); and ``unreadable``, the reason
    why an image could not be read, or ``""``. An unreadable image is then all zeros, so that a batch keeps its shape
    and its place.

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
        self.data = list(data)
        self.transform = transform
        self.placeholder = tuple(int(length) for length in placeholder)
        self.unreadable = unreadable

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, item: int | SampleKey) -> dict[str, Any]:
        index = item.index if isinstance(item, SampleKey) else int(item)
        record = self.data[index]
        problem = ""
        try:
            image = torch.as_tensor(self.transform(dict(record))["image"])
            # Batches hold plain tensors: MetaTensor would carry the header along.
            image = image.as_subclass(torch.Tensor)
        except Exception as error:
            failure = describe_failure(error, record)
            cause = failure.cause.removeprefix(f"{record['image']}: ")
            if self.unreadable == "stop":
                raise UnreadableImageError(str(record["image"]), failure.stage, cause) from error
            image, problem = torch.zeros(self.placeholder), f"{failure.stage}: {cause}"
        return {"image": image, "index": index, "frame": int(record.get("frame", 0)), "unreadable": problem}
