"""The few places where a run of one process differs from several started by torchrun."""

from __future__ import annotations

import datetime
import logging
import os
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import distributed, nn

TIMEOUT = datetime.timedelta(minutes=10)
"""Longer than anything one process does alone between two exchanges, such as writing a checkpoint. (Processes that
wait for another to fill the store wait for a file lock, not for an exchange.)"""


def is_distributed() -> bool:
    """Whether this process belongs to a group of several."""
    return process_count() > 1


def rank() -> int:
    """Number of this process, 0 in a run of one."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def process_count() -> int:
    """Number of processes of this run."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def is_first_process() -> bool:
    """Whether this process is the one that writes files and talks to the terminal."""
    return rank() == 0


def start_process_group() -> None:
    """Join the processes that torchrun started: NCCL for tensors on GPUs, gloo for those on the CPU.

    A process that waits longer than `TIMEOUT` for another ends with an error: the other is presumed dead.
    """
    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, timeout=TIMEOUT)
        if rank() != 0:
            # Messages common to all processes are logged once.
            logging.getLogger(__package__.split(".")[0]).setLevel(logging.WARNING)


def stop_process_group() -> None:
    """Leave the group at the end of a run."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def local_device() -> torch.device:
    """The GPU assigned to this process on its machine, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def wrap_network(
    network: nn.Module, device: torch.device | str, sync_batch_norm: bool = False, channels_last: bool = True
) -> nn.Module:
    """``network`` on ``device`` in channels-last layout, as DistributedDataParallel in a run of several processes.

    Parameters
    ----------
    sync_batch_norm
        Whether batch norm layers use the mean and variance of the global batch instead of each process's own. GPUs
        only: torch has no such layer for the CPU.
    channels_last
        Whether to use the channels-last layout; otherwise PyTorch's default.
    """
    device = torch.device(device)
    if sync_batch_norm and is_distributed() and device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    # The stub of Module.to leaves out memory_format.
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    if not is_distributed():
        return network
    return nn.parallel.DistributedDataParallel(network, device_ids=None if device.type == "cpu" else [device])


def unwrap_network(network: nn.Module) -> nn.Module:
    """The network itself. Evaluation runs on it because ranks may have unequal numbers of batches."""
    return network.module if isinstance(network, nn.parallel.DistributedDataParallel) else network


def gather_objects(item: Any) -> list[Any]:
    """``item`` of every process, in rank order, in every process."""
    if not is_distributed():
        return [item]
    items: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(items, item)
    return items


def sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` summed over all processes, in place, in every process."""
    if is_distributed():
        distributed.all_reduce(tensor)
    return tensor


def is_lost_process(error: BaseException) -> bool:
    """Whether an exchange with another process failed, as happens when that process has ended."""
    # Gloo raises a plain RuntimeError, which names its source file.
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo/" in str(error))


class BroadcastBuffers:
    """Handler that gives every process the batch norm statistics of the first at the end of an epoch.

    DistributedDataParallel only does so before each forward pass; without this handler the processes would validate
    networks that differ by their last batch.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        if is_distributed():
            for buffer in self.network.buffers():
                distributed.broadcast(buffer, src=0)
