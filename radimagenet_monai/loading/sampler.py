"""The order of an epoch, and its batches in every process, as a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import NamedTuple

import numpy as np
import torch.distributed
from torch.utils.data import Sampler
from torch.utils.data.distributed import DistributedSampler

from radimagenet_monai.core.errors import ConfigurationError


class SampleKey(NamedTuple):
    """Index of a requested image with its epoch, so that no worker has to track the epoch."""

    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a key


class EpochSampler(DistributedSampler[SampleKey]):
    """Yields `SampleKey` s of one epoch in an order that depends on ``(seed, epoch)`` alone.

    Neither the global random state nor the number of workers or processes has a part in the order. All ranks draw the
    same permutation and take every ``num_replicas``-th key of it: no key goes to two ranks, none is repeated and none
    is left out. Where the length is no multiple of ``num_replicas`` the first ranks have one key more; `EpochBatches`
    makes equal numbers of batches of them.

    It is a ``DistributedSampler``, so MONAI's engines call `set_epoch` at the start of each epoch (counted from 1).
    In your own training loop, call it yourself; otherwise every pass is the same epoch.

    Parameters
    ----------
    length
        Number of samples, or anything that has a length, such as the dataset.
    shuffle
        ``False`` gives ascending order in every epoch.
    seed
        Non-negative integer.
    num_replicas, rank
        Number of processes and this one's place; taken from ``torch.distributed`` where it is initialized, else 1
        and 0.
    shards
        Number of the file that each sample lies in, non-negative integers ``(length,)``, for data that is not in
        memory: the files are permuted and samples are shuffled among those of ``window`` files only, so that few files
        are read at a time.
    window
        Files whose samples are shuffled together.

    Raises
    ------
    ConfigurationError
        If rank, number of replicas, seed, shards or window is invalid, or there are fewer samples than processes.
    """

    def __init__(
        self,
        length: int | Sized,
        shuffle: bool = True,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        shards: Sequence[int] | np.ndarray | None = None,
        window: int = 8,
    ) -> None:
        # The parent's constructor insists on an initialized process group and on a dataset; only its type is wanted.
        distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
        if num_replicas is None:
            num_replicas = torch.distributed.get_world_size() if distributed else 1
        if rank is None:
            rank = torch.distributed.get_rank() if distributed else 0
        if not 0 <= rank < num_replicas:
            raise ConfigurationError(
                f"rank {rank} of {num_replicas} processes: expected a rank from 0 to {num_replicas - 1}"
            )
        if seed < 0:
            raise ConfigurationError(f"seed {seed}: expected a non-negative integer")
        self.length = length if isinstance(length, int) else len(length)
        self.shuffle = shuffle
        self.seed = seed
        self.num_replicas = num_replicas
        self.rank = rank
        self.shards = None if shards is None else _checked_shards(shards, self.length)
        self.window = int(window)
        self.epoch = 0
        self._start = (0, 0)
        if self.window < 1:
            raise ConfigurationError(f"window {window}: expected 1 or more files to shuffle together")
        if 0 < self.length < num_replicas:
            raise ConfigurationError(
                f"{self.length} samples for {num_replicas} processes: expected at least one each; use fewer processes"
            )

    def __len__(self) -> int:
        return len(range(self.rank, self.length - self.start, self.num_replicas))

    def __iter__(self) -> Iterator[SampleKey]:
        epoch = self.epoch
        mine = self.order(epoch)[self.start + self.rank :: self.num_replicas]
        return (SampleKey(epoch, int(index)) for index in mine)

    @property
    def start(self) -> int:
        """Samples of the epoch's order that the next pass leaves out, because they were used before."""
        epoch, samples = self._start
        return samples if epoch == self.epoch else 0

    def order(self, epoch: int) -> np.ndarray:
        """Indices of all ranks together in ``epoch``, int64 of shape ``(length,)``."""
        if not self.shuffle:
            return np.arange(self.length)
        # Sorting raw 64-bit words, because NumPy keeps bit streams stable between versions but not `permutation`.
        stream = np.random.Philox(key=[self.seed, epoch])
        words = stream.random_raw(self.length)
        if self.shards is None:
            return np.argsort(words, kind="stable")
        files, file_of = np.unique(self.shards, return_inverse=True)
        place = np.empty(len(files), np.int64)
        place[np.argsort(stream.random_raw(len(files)), kind="stable")] = np.arange(len(files))
        return np.lexsort((words, place[file_of] // self.window))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        if epoch < 0:
            raise ConfigurationError(f"epoch {epoch}: expected a non-negative integer")
        self.epoch = int(epoch)

    def start_at(self, epoch: int, samples: int) -> None:
        """Let passes of ``epoch`` begin after the first ``samples`` of its order; other epochs stay whole."""
        if not 0 <= samples <= self.length:
            raise ConfigurationError(f"start after {samples} samples: expected 0 to {self.length}")
        self._start = (int(epoch), int(samples))


class EpochBatches(Sampler[list[SampleKey]]):
    """Batches of this process out of an `EpochSampler`: in all processes equally many, each sample in exactly one.

    A *global batch* is what all processes together train on in one step: the next ``batch_size * num_replicas``
    samples of the epoch's order, of which each rank takes every ``num_replicas``-th. What is left at the end of the
    epoch is split evenly, so that sizes differ by one at most. Were it fewer than ``at_least`` samples for each
    process, they join the batch before, in which some ranks then have a sample or two more than ``batch_size``.

    One case cannot be split: a resumed epoch with fewer samples left than there are processes.
    Every process is given all of them, which counts each of them once in the mean over processes.

    Parameters
    ----------
    sampler
        Order and start of the epoch, and this process' place.
    batch_size
        Samples of a process in a full batch.
    drop_last
        Leave out samples that do not fill a global batch.
    at_least
        Samples of each process in the last batch. 2 for training: batch norm in training cannot take a single image
        whose last feature map is 1 x 1. A ``batch_size`` of 1 stays as it is.
    """

    def __init__(self, sampler: EpochSampler, batch_size: int, drop_last: bool = False, at_least: int = 1) -> None:
        if int(batch_size) < 1:
            raise ConfigurationError(f"batch_size {batch_size}: expected 1 or more images")
        self.sampler = sampler
        self.batch_size = int(batch_size)
        self.drop_last = bool(drop_last)
        self.at_least = min(int(at_least), self.batch_size)

    @property
    def global_batch_size(self) -> int:
        """Samples of a full batch in all processes together."""
        return self.batch_size * self.sampler.num_replicas

    def __len__(self) -> int:
        return self.batches_after(self.sampler.start)

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, start, ranks = self.sampler.epoch, self.sampler.start, self.sampler.num_replicas
        left = self.sampler.order(epoch)[start:]
        count = self.batches_after(start)
        for number in range(count):
            first = number * self.global_batch_size
            taken = left[first : first + self.size(start, number)]
            mine = taken[self.sampler.rank :: ranks] if len(taken) >= ranks else taken
            yield [SampleKey(epoch, index) for index in mine.tolist()]

    def batches_after(self, start: int) -> int:
        """Number of batches of a pass that begins after ``start`` samples."""
        full, rest = divmod(self.sampler.length - start, self.global_batch_size)
        if self.drop_last or rest == 0:
            return full
        return full + 1 if rest >= self.at_least * self.sampler.num_replicas else max(full, 1)

    def size(self, start: int, number: int) -> int:
        """Samples in the global batch ``number``, from 0, of a pass that begins after ``start`` samples."""
        if self.drop_last or number + 1 < self.batches_after(start):
            return self.global_batch_size
        return self.sampler.length - start - number * self.global_batch_size

    def used(self, start: int, batches: int) -> int:
        """Samples of the epoch's order that are behind once ``batches`` of a pass from ``start`` were trained on."""
        if batches == 0:
            return start
        return start + (batches - 1) * self.global_batch_size + self.size(start, batches - 1)

    def weight(self, start: int, number: int) -> float:
        """What the mean loss of this process is multiplied by, so that the mean over processes is the global batch's.

        Averaging gradients over processes, as DistributedDataParallel does, otherwise gives the samples of a smaller
        share more weight. 1 except in an uneven last batch.
        """
        size, ranks = self.size(start, number), self.sampler.num_replicas
        if size < ranks:
            return 1.0
        return ranks * len(range(self.sampler.rank, size, ranks)) / size


def _checked_shards(shards: Sequence[int] | np.ndarray, length: int) -> np.ndarray:
    numbers = np.asarray(shards)
    if numbers.shape != (length,) or numbers.dtype.kind not in "iu":
        raise ConfigurationError(
            f"shards are {numbers.dtype} of shape {numbers.shape}; expected an integer for each of {length} samples"
        )
    return numbers
