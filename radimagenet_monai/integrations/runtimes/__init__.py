"""Programs that run a trained network: torch, ONNX Runtime, OpenVINO, and both torch and OpenVINO in int8.

A JSON config names `runtime_network`; everything here computes on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.integrations.runtimes.names import RUNTIMES as RUNTIMES
    from radimagenet_monai.integrations.runtimes.names import require_runtime as require_runtime
    from radimagenet_monai.integrations.runtimes.network import RuntimeNetwork as RuntimeNetwork
    from radimagenet_monai.integrations.runtimes.network import build_runtime as build_runtime
    from radimagenet_monai.integrations.runtimes.network import runtime_network as runtime_network
    from radimagenet_monai.integrations.runtimes.quantization import quantize_bundle as quantize_bundle

_MODULE_OF = {
    "RUNTIMES": "names",
    "RuntimeNetwork": "network",
    "build_runtime": "network",
    "quantize_bundle": "quantization",
    "require_runtime": "names",
    "runtime_network": "network",
}

__all__ = [*_MODULE_OF]

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
