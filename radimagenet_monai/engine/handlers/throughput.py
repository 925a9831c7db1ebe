"""Cost of an epoch: images per second, time spent waiting for data, GPU memory."""

from __future__ import annotations

import time
from typing import Any

import torch
from ignite.engine import Engine, Events

from radimagenet_monai.engine.distributed import process_count


class Throughput:
    """Handler that stores the throughput of every epoch in ``engine.state.metrics`` and ``engine.state.throughput``.

    ``images_per_second``
        Images per second over all processes, without validation.
    ``data_wait``
        Share of that time, 0 to 1, that this process spent waiting for its loader. On a GPU, which keeps working while
        its process waits, this is an upper bound of the time lost.
    ``gpu_memory_gib``
        Peak tensor memory on the GPU in GiB; absent on the CPU.
    ``learning_rate``
        Learning rate of the last iteration, if a `LearningRateSchedule` is attached.

    Attach it before the handlers that validate and that log metrics.
    """

    def __init__(self) -> None:
        self._started = 0.0
        self._asked = 0.0
        self._waited = 0.0
        self._images = 0

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._ask)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._get)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._end)

    def _start(self, engine: Any) -> None:
        self._waited, self._images = 0.0, 0
        self._started = time.monotonic()
        if engine.state.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(engine.state.device)

    def _ask(self, engine: Any) -> None:
        self._asked = time.monotonic()

    def _get(self, engine: Any) -> None:
        self._waited += time.monotonic() - self._asked
        self._images += len(engine.state.batch["image"])

    def _end(self, engine: Any) -> None:
        device = engine.state.device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = max(time.monotonic() - self._started, 1e-9)
        figures = {
            "images_per_second": process_count() * self._images / seconds,
            "data_wait": min(self._waited / seconds, 1.0),
        }
        if device.type == "cuda":
            figures["gpu_memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
        if hasattr(engine.state, "learning_rate"):
            figures["learning_rate"] = engine.state.learning_rate
        engine.state.throughput = figures
        engine.state.metrics.update(figures)


def throughput_words(figures: dict[str, float]) -> list[str]:
    """The figures of an epoch as parts of a log line; empty without figures."""
    if not figures:
        return []
    words = [f"{figures['images_per_second']:.4g} images/s", f"data wait {100 * figures['data_wait']:.1f} %"]
    if "gpu_memory_gib" in figures:
        words.append(f"GPU memory {figures['gpu_memory_gib']:.1f} GiB")
    return words
