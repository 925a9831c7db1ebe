"""OpenVINO in float32, on the CPU.

By default OpenVINO computes in bfloat16 or float16 where a processor can, which moved probabilities by 0.002 in
classification and 0.057 in segmentation; here it is told to compute in float32.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from radimagenet_monai.integrations.runtimes.names import send_no_usage_statistics

FILE = "model.xml"

send_no_usage_statistics()


def versions() -> dict[str, str]:
    """Versions that an export depends on."""
    import openvino

    return {"torch": torch.__version__, "openvino": openvino.__version__}


def convert(network: nn.Module, shape: tuple[int, int, int]) -> Any:
    """An ``openvino.Model`` of a network for images ``(N, *shape)`` with any N."""
    import openvino

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")
        return openvino.convert_model(network, example_input=torch.rand(2, *shape), input=[(-1, *shape)])


def save(model: Any, folder: Path) -> None:
    """Write an ``openvino.Model`` in its own precision: by default OpenVINO stores weights in float16."""
    import openvino

    openvino.save_model(model, str(folder / FILE), compress_to_fp16=False)


def write(folder: Path, network: nn.Module, shape: tuple[int, int, int]) -> None:
    """Export a network for images ``(N, *shape)`` with any N."""
    save(convert(network, shape), folder)


def load(folder: Path, network: nn.Module, shape: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """A function of images float32 ``(N, C, H, W)`` to outputs, with torch's number of threads."""
    import openvino

    # Without memory mapping: the file may be in a temporary folder.
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})
    return compiled(core.read_model(str(folder / FILE)))


def compiled(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """A function of images to outputs for an ``openvino.Model``."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    program = openvino.Core().compile_model(model, "CPU", settings)
    one_at_a_time = threading.Lock()

    def run(images: np.ndarray) -> np.ndarray:
        with one_at_a_time:
            return np.array(program(images)[0])

    return run
