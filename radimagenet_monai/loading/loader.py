"""Batches from a packed dataset or one of MONAI's, and their transfer to the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.engines import utils as engine_utils
from torch.utils.data import DataLoader, Dataset, default_collate

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.loading.augmentation import AffineAugmentation
from radimagenet_monai.loading.loader_worker import start_worker
from radimagenet_monai.loading.progressive_size import ProgressiveSize
from radimagenet_monai.loading.sampler import EpochBatches, EpochSampler


class EpochLoader(DataLoader):
    """A data loader over `EpochBatches`; made by `build_loader`.

    Its ``sampler`` is the `EpochSampler` of its batches: MONAI's engines look there for whom to tell the epoch.
    """

    batch_sampler: EpochBatches

    @property  # type: ignore[override]  # torch has a plain attribute
    def sampler(self) -> EpochSampler:
        """The sampler that gives the order of the epoch."""
        return self.batch_sampler.sampler

    @sampler.setter
    def sampler(self, unused: Any) -> None:
        """Torch sets a sequential sampler beside any batch sampler and never asks it."""


def build_loader(
    dataset: Dataset,
    batch_size: int,
    shuffle: bool = False,
    seed: int = 0,
    num_workers: int = 0,
    drop_last: bool = False,
    num_replicas: int | None = None,
    rank: int | None = None,
    window: int = 0,
    **options: Any,
) -> EpochLoader:
    """A data loader whose batches depend on ``(seed, epoch)`` alone.

    They are the same with any number of workers, forked or spawned, and reading them leaves the global random state
    untouched, so a run that is resumed anywhere in an epoch goes on as if it had never stopped. In a run of several
    processes each has its part of every global batch, see `EpochBatches`.

    Parameters
    ----------
    dataset
        `PackedDataset`, or any whose items are dictionaries and which takes a `SampleKey`.
    batch_size
        Images in a batch of this process.
    shuffle, seed, num_replicas, rank
        See `EpochSampler`.
    num_workers
        Number of processes that read and augment; 0 uses this process.
    drop_last
        Leave out a last batch that is not full in every process. Else a last shuffled batch of a single image joins the
        one before.
    window
        0 shuffles over the whole epoch. For a store that does not fit into memory or is far away: shuffle among so many
        of the dataset's ``shards`` (runs of about 4 MiB in a packed store, themselves in random order), see
        `EpochSampler`; 256 of them are about 1 GiB.
    **options
        For ``torch.utils.data.DataLoader``; with workers, ``persistent_workers`` is on unless set here, and
        ``pin_memory`` where there is a GPU.
    """
    if num_workers:
        options.setdefault("persistent_workers", True)
        options.setdefault("worker_init_fn", start_worker)
    options.setdefault("collate_fn", collate_packed)
    # A copy to a GPU runs beside computation only from memory that is pinned.
    options.setdefault("pin_memory", torch.cuda.is_available())
    length = len(dataset)  # type: ignore[arg-type]  # torch's stub of a dataset has no length
    if window:
        shards = dataset.shards  # type: ignore[attr-defined]  # of a dataset on a packed store
        sampler = EpochSampler(length, shuffle, seed, num_replicas, rank, shards, window)
    else:
        sampler = EpochSampler(length, shuffle, seed, num_replicas, rank)
    return EpochLoader(
        dataset,
        # Shuffled batches are trained on.
        batch_sampler=EpochBatches(sampler, batch_size, drop_last, at_least=2 if shuffle else 1),
        num_workers=num_workers,
        # Its own generator: a loader without one draws from the global state whenever an iteration begins.
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


def collate_packed(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join items into a batch.

    Tensors are stacked, with ``(C, H, W)`` images in channels-last memory as they lie in the store; columns of
    integers, of floating point numbers and of booleans become tensors; all other columns become lists. A column that
    some of the items lack, such as a hash that is not known of every file, is left out.
    """
    return {key: _join([item[key] for item in items]) for key in items[0] if all(key in item for item in items)}


def dataset_items(records: Sequence[Mapping[str, Any]], with_mask: bool = False) -> list[dict[str, Any]]:
    """Items for ``Dataset``, ``CacheDataset``, ``PersistentDataset`` and the like, which MONAI's loaders can collate.

    Every item has the same keys, with an empty text where a record states nothing, and ``index``, its place in the
    list: metrics and prediction tables find the record of an image by it, in whatever order a loader gives them.

    Parameters
    ----------
    records
        From `radimagenet_monai.datasets.bundle_datalist`.
    with_mask
        Whether to keep the lists of masks under ``mask``, for `AppendMaskd`, which takes them out of the item.

    Returns
    -------
    list of dict
        Text and numbers; the findings of an image, where ``label`` is a list, as float32 ``(findings,)``.
    """
    keys = list(dict.fromkeys(key for record in records for key in record if with_mask or key != "mask"))
    items = []
    for index, record in enumerate(records):
        item = {key: record.get(key, [] if key == "mask" else "") for key in keys}
        if isinstance(item.get("label"), Sequence):
            item["label"] = np.asarray(item["label"], np.float32)
        items.append({**item, "index": index})
    return items


def records_of(dataset: Any) -> Sequence[Mapping[str, Any]]:
    """The records of a dataset, each in the place that ``index`` of its item names.

    They are ``dataset.data``, but in the order of `dataset_items` if the dataset, such as MONAI's
    ``SmartCacheDataset``, has shuffled those.
    """
    data: Sequence[Mapping[str, Any]] = dataset.data
    shuffled = len(data) > 0 and isinstance(data[0], Mapping) and "index" in data[0]
    return sorted(data, key=lambda item: int(item["index"])) if shuffled else data


class PrepareBatch(engine_utils.PrepareBatch):
    """Convert a collated batch to the inputs of the network and the loss in MONAI's engines.

    The image goes to the device as uint8 and becomes float32 in [0, 1], channels-last, there.

    Parameters
    ----------
    augmentation
        Applied to the whole batch on the device, by the keys ``epoch`` and ``index`` of the batch. Give it to the
        trainer only, and not to the dataset as well.
    image_key, label_key
        Keys of the batch.
    with_mask
        The last channel of the image is its mask and becomes the label.
    resizing
        Size of the images by the key ``epoch`` of the batch. For the trainer only.
    channels_last
        Memory layout of the images on the device.
    """

    def __init__(
        self,
        augmentation: AffineAugmentation | None = None,
        image_key: str = "image",
        label_key: str = "label",
        with_mask: bool = False,
        resizing: ProgressiveSize | None = None,
        channels_last: bool = True,
    ) -> None:
        self.augmentation = augmentation
        self.resizing = resizing if resizing is not None and resizing.epochs else None
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.with_mask = with_mask
        self.image_key = image_key
        self.label_key = label_key

    def __call__(
        self,
        batchdata: dict[str, Any],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Image and label of a batch.

        Parameters
        ----------
        batchdata
            From `collate_packed` or MONAI's collate functions: the image ``(N, C, H, W)``, uint8 or floating point in
            [0, 1]; the label, if any, ``(N,)`` integers, or ``(N, findings)`` floating point.
        device, non_blocking, kwargs
            For ``Tensor.to``.

        Returns
        -------
        tuple
            float32 ``(N, C, H, W)`` in [0, 1], and the label: int64 ``(N,)``, float32 ``(N, findings)``, int64
            ``(N, 1, H, W)`` of 0 and 1 with ``with_mask``, or ``None``.

        Raises
        ------
        ConfigurationError
            If an augmentation or a resizing was given and the batch has no ``epoch`` and ``index``.
        """
        image = torch.as_tensor(batchdata[self.image_key]).to(device=device, non_blocking=non_blocking, **kwargs)
        scale = 1 / 255 if image.dtype == torch.uint8 else 1
        image = image.to(torch.float32, memory_format=self.memory_format)
        if scale != 1:
            image = image * scale
        if self.augmentation is not None or self.resizing is not None:
            if "epoch" not in batchdata or "index" not in batchdata:
                raise ConfigurationError(
                    "work on the device (augmentation, resizing) needs 'epoch' and 'index' in each batch, as a "
                    "PackedDataset with build_loader gives them; with other loaders put random transforms into the "
                    "dataset and give --train::trainer::prepare_batch::augmentation None"
                )
            if self.augmentation is not None:
                image = self.augmentation.warp_batch(image, batchdata["epoch"], batchdata["index"])
            if self.resizing is not None:
                # All images of a batch are of one epoch.
                image = self.resizing.resize(image, int(batchdata["epoch"][0]))
            image = image.contiguous(memory_format=self.memory_format)
        if self.with_mask:
            # A pixel belongs to the lesion where the mask covers half of it or more.
            mask = (image[:, -1:] >= 0.5).long()
            return image[:, :-1].contiguous(memory_format=self.memory_format), mask
        label = batchdata.get(self.label_key)
        if label is not None:
            label = torch.as_tensor(label)
            dtype = torch.float32 if label.is_floating_point() else torch.long
            label = label.to(device=device, dtype=dtype, non_blocking=non_blocking)
        return image, label


def _join(values: list[Any]) -> Any:
    if isinstance(values[0], torch.Tensor) and values[0].ndim == 3:
        # Networks repeat a gray channel; an unreadable image is one of zeros.
        channels = max(len(image) for image in values)
        values = [image.expand(channels, -1, -1) if len(image) == 1 else image for image in values]
        # default_collate stacks into shared memory when it runs in a worker.
        return default_collate([image.permute(1, 2, 0) for image in values]).permute(0, 3, 1, 2)
    if isinstance(values[0], torch.Tensor):
        return default_collate(values)
    kinds = {type(value) for value in values}
    if kinds <= {int, float} or kinds == {bool}:
        return torch.as_tensor(np.asarray(values))
    return values
