"""``torch.compile`` if it pays off, with a fallback to the uncompiled network if it fails."""

from __future__ import annotations

import importlib.util
import logging
from typing import Any

import torch
from torch import nn

from radimagenet_monai.core.errors import ConfigurationError, one_line
from radimagenet_monai.core.flags import parse_flag

logger = logging.getLogger(__name__)


def compile_network(network: nn.Module, device: torch.device | str, compiled: object = "auto") -> nn.Module:
    """Compile ``network`` in place; its parameters, their names and its state dict are unchanged.

    Compilation happens at the first batch, for forward and backward. If it fails, one warning says why, and the
    network runs uncompiled.

    Parameters
    ----------
    network
        The network, already wrapped for several processes so that gradient exchange overlaps with the backward pass.
    device
        Device the network runs on.
    compiled
        ``true``, ``false`` or ``"auto"``: only on a GPU with Triton installed.

    Raises
    ------
    ConfigurationError
        For another value.
    """
    if _wanted(compiled, torch.device(device)):
        network.compile()
        compiled_call = network._compiled_call_impl
        if compiled_call is not None:
            network._compiled_call_impl = _FirstCall(network, compiled_call)
    return network


def _wanted(compiled: object, device: torch.device) -> bool:
    if str(compiled).strip().lower() == "auto":
        return device.type == "cuda" and importlib.util.find_spec("triton") is not None
    try:
        return parse_flag(compiled)
    except ConfigurationError:
        raise ConfigurationError(f"compile {compiled!r}: expected true, false or auto") from None


class _FirstCall:
    """The compiled network until its first batch has shown whether it can be compiled."""

    def __init__(self, network: nn.Module, compiled_call: Any) -> None:
        self.network = network
        self.compiled_call = compiled_call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from torch._dynamo.exc import TorchDynamoException
        from torch._functorch import config as functorch

        try:
            # Otherwise the backward pass would be compiled, and could fail, after the point of fallback.
            with functorch.patch(force_non_lazy_backward_lowering=True):
                result = self.compiled_call(*args, **kwargs)
        except (TorchDynamoException, RuntimeError) as error:
            logger.warning("training goes on without torch.compile, which failed: %s", _reason(error))
            self.network._compiled_call_impl = None
            return self.network(*args, **kwargs)
        self.network._compiled_call_impl = self.compiled_call
        return result


def _reason(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(" ".join(lines[:2]) or type(error).__name__)[:300]
