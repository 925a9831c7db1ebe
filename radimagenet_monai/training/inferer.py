"""Mixed precision for MONAI engines on any device."""

from __future__ import annotations

from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor


class AutocastInferer(Inferer):
    """Run the network under ``torch.autocast`` in bfloat16 and return its output in float32.

    MONAI's engines autocast for CUDA only and pair it with a gradient scaler. bfloat16 has the exponent range of
    float32 and needs no scaler, so wrapping the forward pass alone is enough, on the CPU as well; loss and metrics
    are computed in float32, and the engine's own ``amp`` stays off.

    Parameters
    ----------
    amp
        Off: the network runs in the precision of its parameters.
    """

    def __init__(self, amp: bool = True) -> None:
        super().__init__()
        self.amp = bool(amp)

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> Tensor:
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=self.amp):
            outputs = network(inputs, *args, **kwargs)
        return outputs.float()
