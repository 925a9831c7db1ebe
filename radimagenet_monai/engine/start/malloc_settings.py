"""Avoids repeated memory allocation by the C library when training on a CPU."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys

import torch

# Parameters of mallopt(3).
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_LARGEST = 2**31 - 1
_MAPPED_FROM = 2**30


def keep_freed_memory(device: torch.device | str) -> bool:
    """Let glibc reuse the memory of freed activations instead of returning it after every layer.

    By default every tensor of 32 MiB or more is mapped and unmapped each time, and its pages are cleared on first
    touch: `benchmarks/train_step.py` shows the cost. With this setting the process keeps its peak size. Does nothing
    for a GPU or a C library other than glibc; returns whether it had an effect.
    """
    if torch.device(device).type != "cpu" or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MAPPED_FROM) and mallopt(_TRIM_THRESHOLD, _LARGEST))
