"""Dictionary items out of memory-mapped uint8 images: what all datasets on a packed store have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from radimagenet_monai.data.augmentation import AffineAugmentation, warp_with_opencv
from radimagenet_monai.data.sampler import SampleKey
from radimagenet_monai.errors import StoreError


class ImageSource(Protocol):
    """Where images are read from, by part and row."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of every image."""

    def image(self, part: int, row: int) -> np.ndarray:
        """A uint8 view ``(H, W, C)`` that must not be written to."""


class MappedParts:
    """Image files of a store, each mapped when it is first read, by each process for itself.

    Parameters
    ----------
    files
        ``images.npy`` of each part, at least one where anything is read.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = list(files)
        self._images: list[np.ndarray | None] = [None] * len(self._files)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        rows, columns, channels = self._part(0).shape[1:]
        return rows, columns, channels

    def image(self, part: int, row: int) -> np.ndarray:
        return self._part(part)[row]

    def __getstate__(self) -> dict[str, Any]:
        # A process maps the files itself: pickling a memory map would send the images.
        return {"_files": self._files, "_images": [None] * len(self._files)}

    def _part(self, part: int) -> np.ndarray:
        images = self._images[part]
        if images is None:
            # A plain view of the map: indexing numpy.memmap itself costs more than copying a small image.
            images = self._images[part] = open_images(self._files[part]).view(np.ndarray)
        return images


class PackedImages(Dataset):
    """Items whose images are read from an `ImageSource`; made by `PackedDataset` and `packed_dataset`.

    An item, ``dataset[i]`` or ``dataset[SampleKey(epoch, i)]`` (a plain index is epoch 0), holds the image (under
    ``image_key``) as uint8 ``(C, H, W)``, 255 for 1.0; ``index`` (int), the place in `data`; ``epoch`` (int); and
    the columns of its record, but for those of ``not_scalar``. A slice or a list of indices gives a
    ``torch.utils.data.Subset``, as in MONAI.

    Parameters
    ----------
    data
        The record of each image.
    source
        Its images.
    places
        Part and row of each image in ``source``, integers ``(N, 2)``.
    not_scalar, vectors
        Record columns that items leave out, and those of them that items hold as float32 vectors instead.
    augmentation
        Applied to each image on the CPU, in uint8.
    image_key
        Where records hold the path and items the image.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        source: ImageSource,
        places: np.ndarray,
        not_scalar: set[str],
        vectors: set[str],
        augmentation: AffineAugmentation | None = None,
        image_key: str = "image",
    ) -> None:
        self.data = data
        self.image_key = image_key
        self.augmentation = augmentation
        self._source = source
        self._places = places
        self._not_scalar = not_scalar
        self._vectors = vectors

    @property
    def shards(self) -> np.ndarray:
        """Number of the part that each image lies in, integers ``(N,)``."""
        return self._places[:, 0]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return Subset(self, range(len(self))[item])
        if isinstance(item, Sequence) and not isinstance(item, SampleKey):
            return Subset(self, item)
        epoch, index = _epoch_and_index(item, len(self))
        image = self._source.image(*self._places[index].tolist())
        image = image.copy() if self.augmentation is None else self.augmentation.warp(image, epoch, index)
        return self._item(epoch, index, torch.from_numpy(image).permute(2, 0, 1))

    def __getitems__(self, items: Sequence[Any]) -> list[dict[str, Any]]:
        """Items of a batch, read in the order in which they lie on disk; data loaders call this where it exists."""
        pairs = [_epoch_and_index(item, len(self)) for item in items]
        epochs, indices = np.array(pairs).T
        places = self._places[indices]
        batch = np.empty((len(pairs), *self._source.image_shape), np.uint8)
        if self.augmentation is not None:
            matrices = self.augmentation.matrices(epochs, indices, (batch.shape[1], batch.shape[2]))
        for position in np.lexsort((places[:, 1], places[:, 0])).tolist():
            image = self._source.image(*places[position].tolist())
            if self.augmentation is not None:
                image = warp_with_opencv(image, matrices[position])
            batch[position] = image
        images = torch.from_numpy(batch).permute(0, 3, 1, 2).unbind()
        return [self._item(epoch, index, image) for (epoch, index), image in zip(pairs, images, strict=True)]

    def _item(self, epoch: int, index: int, image: torch.Tensor) -> dict[str, Any]:
        item = dict(self.data[index])
        for key in self._not_scalar:
            value = item.pop(key, None)
            if key in self._vectors:
                item[key] = torch.tensor(value, dtype=torch.float32)
        item[self.image_key] = image
        item["index"] = index
        item["epoch"] = epoch
        return item


def open_images(path: Path) -> np.ndarray:
    """Map the images of a part, uint8 ``(rows, H, W, C)``.

    Raises
    ------
    StoreError
        If the file is missing or is none of that form.
    """
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged_part(path, error) from error
    if images.dtype != np.uint8 or images.ndim != 4:
        raise damaged_part(path, f"{images.dtype} of shape {images.shape}")
    return images


def damaged_part(path: Path, cause: object) -> StoreError:
    """The error for a file of a part that is not what it should be."""
    return StoreError(
        f"packed store {path} is damaged ({cause}); delete the folder {path.parent}, it will be packed anew"
    )


def _epoch_and_index(item: Any, length: int) -> tuple[int, int]:
    epoch, index = item if isinstance(item, SampleKey) else (0, int(item))
    if not -length <= index < length:
        raise IndexError(f"index {index} of a dataset of {length} images")
    return epoch, index % length
