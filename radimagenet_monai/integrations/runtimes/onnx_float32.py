"""ONNX Runtime in float32, on the CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

FILE = "model.onnx"
INPUT, OUTPUT = "image", "pred"


def versions() -> dict[str, str]:
    """Versions that an export depends on."""
    import onnx

    return {"torch": torch.__version__, "onnx": onnx.__version__}


def write(folder: Path, network: nn.Module, shape: tuple[int, int, int]) -> None:
    """Export a network for images ``(N, *shape)`` with any N.

    torch's exporter by tracing: that by ``torch.export`` takes forty times as long for the same result, and traced
    shapes are what is wanted, since the image size is fixed.
    """
    axes = {0: "batch"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.rand(2, *shape),),
            str(folder / FILE),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: axes, OUTPUT: axes},
            dynamo=False,
        )


def load(folder: Path, network: nn.Module, shape: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """A function of images float32 ``(N, C, H, W)`` to outputs, with torch's number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # From memory: the file may be in a temporary folder.
    session: Any = onnxruntime.InferenceSession(
        (folder / FILE).read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: np.asarray(session.run([OUTPUT], {INPUT: images})[0])
