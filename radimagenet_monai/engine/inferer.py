"""Mixed precision for MONAI engines on any device."""

from __future__ import annotations

import functools
import logging
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

logger = logging.getLogger(__name__)


class AutocastInferer(Inferer):
    """Run the network under ``torch.autocast`` in bfloat16 and return its output in float32.

    MONAI's engines autocast for CUDA only and pair it with a gradient scaler. bfloat16 has the exponent range of
    float32 and needs no scaler, so wrapping the forward pass alone is enough, on the CPU as well; loss and metrics
    are computed in float32, and the engine's own ``amp`` stays off.

    A stack of slices ``(B, C, slices, rows, columns)``, which `radimagenet_monai.loading.EachSlice` makes of a whole
    image, goes through the network slice by slice, ``slices_at_once`` together. The output of a classifier is then
    ``(B, slices, classes)``, that of a segmenter ``(B, classes, slices, rows, columns)``.

    A processor without AVX-512 or bfloat16 instructions emulates them, eight times slower than float32 and without
    saving memory: there the network runs in float32, which is logged once.

    Parameters
    ----------
    amp
        Whether to autocast; otherwise the network runs in the precision of its parameters.
    slices_at_once
        Number of slices of a stack in one forward pass.
    """

    def __init__(self, amp: bool = True, slices_at_once: int = 16) -> None:
        super().__init__()
        self.amp = bool(amp)
        self.slices_at_once = int(slices_at_once)

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        if inputs.ndim != 5:
            return self._forward(inputs, network, *args, **kwargs)
        images, _, slices = inputs.shape[:3]
        stacked = inputs.transpose(1, 2).flatten(0, 1)
        parts = [self._forward(part, network, *args, **kwargs) for part in stacked.split(self.slices_at_once)]
        outputs = torch.cat(parts).unflatten(0, (images, slices))
        return outputs.transpose(1, 2) if outputs.ndim == 5 else outputs

    def _forward(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        device = inputs.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=self.amp and computes_bfloat16(device)):
            outputs = network(inputs, *args, **kwargs)
        return outputs.float()


@functools.cache
def computes_bfloat16(device: str) -> bool:
    """Whether bfloat16 is worth using on a device type; logs a line if not."""
    if device != "cpu" or (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return True
    logger.info("amp: this processor has no bfloat16 instructions; the network runs in float32")
    return False
