"""Datasets of the images in a packed store, as dictionary items."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset, Subset

from radimagenet_monai.core.errors import ConfigurationError, RecordsError, StoreError, one_line
from radimagenet_monai.core.transform_steps import flattened
from radimagenet_monai.datasets.records.table import PLANE
from radimagenet_monai.intensity.checks.plausibility import in_words
from radimagenet_monai.intensity.checks.stated_modality import require_fitting_modality
from radimagenet_monai.loading.augmentation import AffineAugmentation, warp_with_opencv
from radimagenet_monai.loading.random_steps import RandomSteps, Steps
from radimagenet_monai.loading.sampler import SampleKey
from radimagenet_monai.store.mapped_images import ImageSource, MappedParts, rows_of_a_block
from radimagenet_monai.store.packed_row import Progress
from radimagenet_monai.store.packed_store import QUARANTINE_FILE, PackedStore

logger = logging.getLogger(__name__)

_Scalar = bool | int | float | str | None

_PART_SHIFT = 32  # no part has so many rows that its number of a block takes more bits


class PackedImages(Dataset):
    """Items whose images are read from an `ImageSource`; made by `PackedDataset` and `packed_dataset`.

    An item, ``dataset[i]`` or ``dataset[SampleKey(epoch, i)]`` (a plain index is epoch 0), holds the image (under
    ``image_key``) as uint8 ``(C, H, W)``, 255 for 1.0, or as float32 from `RandomSteps`; ``index`` (int), the place in
    `data`; ``epoch`` (int); and the columns of its record, but for those of ``not_scalar``. A slice or a list of
    indices gives a ``torch.utils.data.Subset``, as in MONAI.

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
        Applied to each image on the CPU: an `AffineAugmentation` in uint8; any other dictionary transform, a sequence
        of them or a ``Compose`` by `RandomSteps`.
    image_key
        Key of the path in records and of the image in items.
    steps
        Dictionary transforms that come before the augmentation.
    seed
        Seed of the random transforms; `AffineAugmentation` has its own.
    with_mask
        The last channel of an image is its mask.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        source: ImageSource,
        places: np.ndarray,
        not_scalar: set[str],
        vectors: set[str],
        augmentation: Steps | None = None,
        image_key: str = "image",
        steps: Sequence[Callable[..., Any]] = (),
        seed: int = 0,
        with_mask: bool = False,
    ) -> None:
        self.data = data
        self.image_key = image_key
        later = [*steps, *flattened(augmentation)]
        # A warp that comes first is done as it is by itself, in uint8.
        first = later[0] if later else None
        self.augmentation = first if isinstance(first, AffineAugmentation) else None
        later = later if self.augmentation is None else later[1:]
        self.steps = RandomSteps(later, seed, image_key) if later else None
        self.with_mask = with_mask
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
        item[self.image_key] = image if self.steps is None else self.steps(image, epoch, index, item, self.with_mask)
        item["index"] = index
        item["epoch"] = epoch
        return item


class PackedDataset(PackedImages):
    """Dictionary items with a uint8 image out of a `PackedStore`; takes the place of MONAI's dataset classes.

    Every image is read and transformed once, before the first epoch, by worker processes; afterwards an item costs a
    copy out of a memory-mapped file. It is made of plain arrays and paths, so it goes to forked and spawned workers.

    An item, ``dataset[i]`` or ``dataset[SampleKey(epoch, i)]`` (a plain index is epoch 0), holds the image (under
    ``image_key``) as uint8 ``(C, H, W)``, 255 for 1.0; ``index`` (int), the place in `data`; ``epoch`` (int); and
    every other column that holds only numbers, strings, booleans and None, such as ``label``; a column of lists of
    numbers, such as the labels of several findings, becomes float32 vectors. With ``with_mask`` the last channel is the
    mask. A slice or a list of indices gives a ``torch.utils.data.Subset``, as in MONAI.

    Parameters
    ----------
    data
        May be empty, as in a workflow that is built without data to be checked; nothing is written then. Else one
        dictionary an image: a path under ``image_key``, optionally a frame under ``frame_key`` and the file's
        ``sha256`` (then checked), and free columns.
    transform, store_dir, image_size, keep_aspect, image_key, frame_key, transform_keys, num_workers
        See `PackedStore`.
    progress, path_keys, with_mask
        See `PackedStore`.
    unreadable
        ``"stop"``: raise if any image cannot be packed, after all have been tried and listed in
        ``store_dir/quarantine.csv``. ``"skip"``: leave them out, with one warning.
    augmentation
        Applied to each image on the CPU, see `PackedImages`. Leave it out to augment whole batches on the device
        instead (`PrepareBatch`).
    steps, seed
        See `PackedImages`.

    Attributes
    ----------
    data : list of dict
        The records in use; `unreadable` ones are gone when skipped.

    Raises
    ------
    StoreError
        If images are unreadable, all of them or any with ``"stop"``; if the store cannot be written or is damaged.
    RecordsError
        If a record has no path or a column named ``index`` or ``epoch``.
    IntensityError
        If a record states a modality that the transform does not take, before any image is read.
    ConfigurationError
        See `PackedStore`; also for an unknown value of ``unreadable``.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[..., Any] | Sequence[Callable[..., Any]],
        store_dir: str | os.PathLike[str],
        image_size: int | Sequence[int],
        keep_aspect: bool = False,
        image_key: str = "image",
        frame_key: str = "frame",
        transform_keys: Sequence[str] = (),
        num_workers: int | None = None,
        unreadable: Literal["stop", "skip"] = "stop",
        augmentation: Steps | None = None,
        progress: Progress = True,
        path_keys: Sequence[str] = (),
        with_mask: bool = False,
        steps: Sequence[Callable[..., Any]] = (),
        seed: int = 0,
    ) -> None:
        if unreadable not in ("stop", "skip"):
            raise ConfigurationError(f"unreadable={unreadable!r}: expected 'stop' or 'skip'")
        for taken in ("index", "epoch"):
            if data and taken in data[0]:
                raise RecordsError(f"records have a column {taken!r}, which the dataset gives itself; rename it")
        require_fitting_modality(data, transform)
        store = PackedStore(
            store_dir,
            transform,
            image_size,
            keep_aspect,
            image_key,
            frame_key,
            transform_keys,
            num_workers,
            progress,
            path_keys,
            with_mask,
        )
        keys = store.keys(data)
        places = store.rows(keys)
        if self._is_incomplete(store, keys, places, unreadable):
            store.add(data, keys, retry_unreadable=unreadable == "stop")
            places = store.rows(keys)
        present = places[:, 0] >= 0
        if not present.all():
            self._report(store, data, keys, present, unreadable)
        for sentence in in_words(store.questions(places[present]), int(present.sum())):
            logger.warning("%s", sentence)
        kept = [_plain(record) for record, there in zip(data, present.tolist(), strict=True) if there]
        not_scalar = {key for record in kept for key, value in record.items() if not isinstance(value, _Scalar)}
        not_scalar.add(PLANE)  # of some images only, and nothing that a network needs
        vectors = {key for key in not_scalar if all(_is_vector(record.get(key)) for record in kept)}
        source = MappedParts(store.image_files())
        super().__init__(
            kept, source, places[present], not_scalar, vectors, augmentation, image_key, steps, seed, with_mask
        )

    @staticmethod
    def _is_incomplete(store: PackedStore, keys: np.ndarray, places: np.ndarray, unreadable: str) -> bool:
        missing = [key.tobytes() for key in keys[places[:, 0] < 0]]
        # Known reasons are good enough to skip an image; before stopping, see whether they still hold.
        known = store.unreadable() if missing and unreadable == "skip" else {}
        return any(key not in known for key in missing)

    @staticmethod
    def _report(
        store: PackedStore,
        data: Sequence[Mapping[str, Any]],
        keys: np.ndarray,
        present: np.ndarray,
        unreadable: str,
    ) -> None:
        missing = np.flatnonzero(~present)
        first = int(missing[0])
        reason = store.unreadable()[keys[first].tobytes()]
        which = (
            f"{len(missing)} of {len(data)} images cannot be packed, the first: {data[first][store.image_key]} "
            f"({reason.stage}): {reason.cause}; all are listed in {store.store_dir / QUARANTINE_FILE}"
        )
        if len(missing) == len(data):
            raise StoreError(f"{which}; no image is left, so look at the causes first")
        if unreadable == "stop":
            raise StoreError(f"{which}; repair them, or leave them out with --unreadable skip")
        logger.warning("%s; left out", one_line(which))


def _epoch_and_index(item: Any, length: int) -> tuple[int, int]:
    epoch, index = item if isinstance(item, SampleKey) else (0, int(item))
    if not -length <= index < length:
        raise IndexError(f"index {index} of a dataset of {length} images")
    return epoch, index % length


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.item() if isinstance(value, np.generic) else value for key, value in record.items()}


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(number) in (int, float) for number in value)
