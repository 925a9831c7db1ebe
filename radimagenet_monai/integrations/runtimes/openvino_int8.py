"""OpenVINO in int8, by NNCF's post-training quantization of weights and activations."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from radimagenet_monai.integrations.runtimes.names import require_package
from radimagenet_monai.integrations.runtimes.openvino_float32 import convert, load, save

__all__ = ["load", "require_quantizer", "versions", "write"]


def versions() -> dict[str, str]:
    """Versions of what quantizes and runs."""
    import nncf
    import openvino
    import torch

    return {"openvino": openvino.__version__, "nncf": nncf.__version__, "torch": torch.__version__}


def require_quantizer() -> None:
    """Refuse to go on without NNCF.

    Raises
    ------
    ConfigurationError
        Names the extra to install.
    """
    require_package("nncf", "openvino", "int8 by OpenVINO")


def write(folder: Path, network: nn.Module, images: Tensor) -> None:
    """Quantize a network and write it.

    Weights keep to seven bits (``OverflowFix.ENABLE``): with eight, processors without VNNI instructions saturate sums
    that others hold, so that what is validated on one machine would not be what runs on another.

    Parameters
    ----------
    images
        Calibration images, float32 ``(N, C, H, W)``.
    """
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    logging.getLogger("nncf").setLevel(logging.WARNING)
    model = convert(network, (int(images.shape[1]), int(images.shape[2]), int(images.shape[3])))
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars
        quantized = nncf.quantize(
            model,
            nncf.Dataset([np.ascontiguousarray(image[None]) for image in images.numpy()]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(images),
            advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.ENABLE),
        )
    save(quantized, folder)
