"""Dictionary items out of memory-mapped uint8 images: what all datasets on a packed store have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from radimagenet_monai.data.augmentation import AffineAugmentation, warp_with_opencv
from radimagenet_monai.data.sampler import SampleKey
from radimagenet_monai.errors import StoreError

_BLOCK_BYTES = 4 << 20
_PART_SHIFT = 32  # no part has so many rows that its number of a block takes more bits


class ImageSource(Protocol):
    """Where images are read from, by part and row."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of every image."""

    def read(self, places: np.ndarray) -> Iterator[np.ndarray]:
        """Images at parts and rows ``(n, 2)``, in that order: uint8 ``(H, W, C)`` that must not be written to."""


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

    def read(self, places: np.ndarray) -> Iterator[np.ndarray]:
        for part, row in places.tolist():
            yield self._part(part)[row]

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
        Record of each image.
    source
        Its images.
    places
        Part and row of each image in ``source``, integers ``(N, 2)``.
    not_scalar, vectors
        Record columns that items leave out, and those of them that items hold as float32 vectors instead.
    augmentation
        Applied to each image on the CPU, in uint8.
    image_key
        Key of the path in records and of the image in items.
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
        """Which run of about 4 MiB in the store each image lies in, int64 ``(N,)``; the same wherever the store is."""
        rows = rows_of_a_block(self._source.image_shape)
        part, row = self._places.astype(np.int64).T
        return (part << _PART_SHIFT) + row // rows

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, slice):
            return Subset(self, range(len(self))[item])
        if isinstance(item, Sequence) and not isinstance(item, SampleKey):
            return Subset(self, item)
        epoch, index = _epoch_and_index(item, len(self))
        (image,) = self._source.read(self._places[index : index + 1])
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
        by_place = np.lexsort((places[:, 1], places[:, 0]))
        for position, image in zip(by_place.tolist(), self._source.read(places[by_place]), strict=True):
            batch[position] = image if self.augmentation is None else warp_with_opencv(image, matrices[position])
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


def rows_of_a_block(image_shape: tuple[int, int, int]) -> int:
    """Images in a block: what is shuffled together and fetched from far at once, about 4 MiB."""
    return max(1, _BLOCK_BYTES // int(np.prod(image_shape)))


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
