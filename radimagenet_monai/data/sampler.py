"""The order of an epoch as a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Literal, NamedTuple

import numpy as np
import torch.distributed
from torch.utils.data.distributed import DistributedSampler

from radimagenet_monai.errors import ConfigurationError

Uneven = Literal["drop", "keep"]


class SampleKey(NamedTuple):
    """What a dataset is asked for: which image, and in which epoch, so that no worker has to keep an epoch."""

    epoch: int
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a key


class EpochSampler(DistributedSampler[SampleKey]):
    """Yields `SampleKey` s of one epoch in an order that depends on ``(seed, epoch)`` alone.

    Neither the global random state nor the number of workers has a part in it, so a run that resumes at the start of
    an epoch sees the same order as one that was never interrupted. All ranks draw the same permutation and take every
    ``num_replicas``-th key of it: no key goes to two ranks, and none is repeated to fill up a rank.

    It is a ``DistributedSampler``, so MONAI's engines call `set_epoch` at the start of each epoch (counted from 1).
    In a loop of your own call it yourself; without it every pass is the same epoch.

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
    uneven
        What to do when ``length`` is no multiple of ``num_replicas``. ``"drop"``: each rank gets
        ``length // num_replicas`` samples, as synchronous training needs equal numbers of batches; with shuffling the
        few left out differ from epoch to epoch. ``"keep"``: every sample is given exactly once, the first ranks have
        one more; for evaluation, where a sample counted twice would bias the metric. Evaluate with the bare module,
        not its ``DistributedDataParallel`` wrapper, which would wait for the shorter ranks. Default: ``"drop"`` when
        shuffling, else ``"keep"``.

    Raises
    ------
    ConfigurationError
        If rank, number of replicas, seed or ``uneven`` make no sense, or nothing would be left for a rank to train on.
    """

    def __init__(
        self,
        length: int | Sized,
        shuffle: bool = True,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        uneven: Uneven | None = None,
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
        if uneven not in (None, "drop", "keep"):
            raise ConfigurationError(f"uneven={uneven!r}: expected 'drop' or 'keep'")
        self.length = length if isinstance(length, int) else len(length)
        self.shuffle = shuffle
        self.seed = seed
        self.num_replicas = num_replicas
        self.rank = rank
        self.uneven: Uneven = uneven or ("drop" if shuffle else "keep")
        self.epoch = 0
        if self.uneven == "drop" and 0 < self.length < num_replicas:
            raise ConfigurationError(
                f"{self.length} samples for {num_replicas} processes: expected at least one each; use fewer processes"
            )

    def __len__(self) -> int:
        if self.uneven == "drop":
            return self.length // self.num_replicas
        return len(range(self.rank, self.length, self.num_replicas))

    def __iter__(self) -> Iterator[SampleKey]:
        epoch = self.epoch
        mine = self.order(epoch)[self.rank :: self.num_replicas][: len(self)]
        return (SampleKey(epoch, index) for index in mine.tolist())

    def order(self, epoch: int) -> np.ndarray:
        """Indices of all ranks together in ``epoch``, int64 of shape ``(length,)``."""
        if not self.shuffle:
            return np.arange(self.length)
        # Sorting raw 64-bit words, because NumPy keeps bit streams stable between versions but not `permutation`.
        words = np.random.Philox(key=[self.seed, epoch]).random_raw(self.length)
        return np.argsort(words, kind="stable")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration gives."""
        if epoch < 0:
            raise ConfigurationError(f"epoch {epoch}: expected a non-negative integer")
        self.epoch = int(epoch)
