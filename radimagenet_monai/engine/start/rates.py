"""Speed of the loader and of the network, each measured alone before training begins."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from radimagenet_monai.engine.distributed import is_first_process

logger = logging.getLogger(__name__)

_LOADER_SECONDS = 10.0
_LOADER_BATCHES = 20
_MOST_ON_CPU = 32
"""Images of a measured step on the CPU, where a full batch could take minutes."""


class MeasuredRates:
    """Handler that measures images per second of the loader alone and of the network alone at the start of a run.

    One log line gives both rates and says which will limit training; ``engine.state.rates`` holds them. Weights,
    optimizer, statistics, random state and sample order are unchanged: training is bit for bit the same as without.

    Attach it after the handler that restores a checkpoint.

    Parameters
    ----------
    enabled
        Whether to measure anything.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = bool(enabled)

    def attach(self, engine: Engine) -> None:
        if self.enabled:
            engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Any) -> None:
        with _random_state_kept(engine.data_loader):
            batch, loader = _loader_rate(engine.data_loader)
            if batch is None:
                return
            with _training_state_kept(engine.network, engine.optimizer):
                network = _network_rate(engine, batch)
        engine.state.rates = {"loader_images_per_second": loader, "network_images_per_second": network}
        if is_first_process():
            logger.info("%s", rates_line(loader, network, getattr(engine.data_loader, "num_workers", 0)))


def rates_line(loader: float | None, network: float, num_workers: int) -> str:
    """Both rates in images per second, the bottleneck, and how to relieve it; ``loader`` is ``None`` if unknown."""
    if loader is None:
        return f"network alone {network:.4g} images/s; too few batches to measure the loader"
    rates = f"loader alone {loader:.4g} images/s, network alone {network:.4g} images/s: "
    if loader < network:
        cores = os.cpu_count() or 1
        return (
            f"{rates}the loader limits; give more --num_workers (now {num_workers}, {cores} cores here) or a "
            "--store_dir on a faster disk"
        )
    return f"{rates}the network limits; a smaller --image_size or --architecture, or more GPUs, would be faster"


def _loader_rate(loader: Any) -> tuple[Any, float | None]:
    """The first batch (``None`` if there is none), and images per second over batches that were not prefetched."""
    workers = getattr(loader, "num_workers", 0)
    skipped = 1 + workers * (getattr(loader, "prefetch_factor", None) or 0)
    first, images, begun, started = None, 0, time.monotonic(), 0.0
    elapsed = 0.0
    for number, batch in enumerate(loader, start=1):
        now = time.monotonic()
        if first is None:
            first = batch
        if number == skipped:
            started = now
        if number > skipped:
            images += _size(batch)
            elapsed = now - started
        if number >= skipped + _LOADER_BATCHES or now - begun > _LOADER_SECONDS:
            break
    return first, images / elapsed if elapsed > 0 else None


def _network_rate(engine: Any, batch: dict[str, Any]) -> float:
    """Images per second of forward, backward and optimizer step on a batch already on the device."""
    device = engine.state.device
    on_cpu = device.type == "cpu"
    if on_cpu:
        batch = {key: value[:_MOST_ON_CPU] for key, value in batch.items()}
    batch = {**batch, "image": torch.as_tensor(batch["image"]).to(device)}
    # The same number of steps in every process, since each step exchanges gradients.
    warm, timed = (1, 2) if on_cpu else (3, 10)
    started = 0.0
    for number in range(warm + timed):
        if number == warm:
            _wait(device)
            started = time.monotonic()
        images, labels = engine.prepare_batch(batch, device, engine.non_blocking)
        engine.loss_function(engine.inferer(images, engine.network), labels).backward()
        engine.optimizer.step()
        engine.optimizer.zero_grad(set_to_none=True)
    _wait(device)
    return timed * _size(batch) / (time.monotonic() - started)


@contextlib.contextmanager
def _training_state_kept(network: nn.Module, optimizer: Optimizer) -> Iterator[None]:
    tensors = [*network.parameters(), *network.buffers()]
    saved = [tensor.detach().clone() for tensor in tensors]
    state = copy.deepcopy(optimizer.state_dict())
    training = network.training
    network.train()
    for group in optimizer.param_groups:
        # A learning rate of zero keeps the weights from diverging during the measurement.
        group["lr"] = 0.0
    try:
        yield
    finally:
        optimizer.zero_grad(set_to_none=True)
        optimizer.load_state_dict(state)
        network.train(training)
        with torch.no_grad():
            for tensor, value in zip(tensors, saved, strict=True):
                tensor.copy_(value)


@contextlib.contextmanager
def _random_state_kept(loader: Any) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the state set_determinism seeds
    generator = loader.generator if isinstance(loader, DataLoader) else None
    drawn = generator.get_state() if generator is not None else None
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002 - as above
            if generator is not None and drawn is not None:
                generator.set_state(drawn)


def _size(batch: dict[str, Any]) -> int:
    return len(batch["image"])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
