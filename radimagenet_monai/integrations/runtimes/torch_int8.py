"""torch in int8: post-training quantization by ``torch.ao``'s graph mode, with oneDNN's kernels.

Kept are the ranges of the activations alone, as plain tensors; weights come from the model file, and the network is
quantized again when it is loaded. So there is no program in a file, as TorchScript would be.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from radimagenet_monai.core.errors import ConfigurationError, one_line
from radimagenet_monai.weights.tensor_file import read_torch_file

FILE = "ranges.pt"
_ENGINE = "onednn"
_OBSERVER = "activation_post_process_"
_BATCH = 8


def versions() -> dict[str, str]:
    """Versions of what quantizes and runs."""
    return {"torch": torch.__version__}


def require_quantizer() -> None:
    """Refuse to go on without int8 kernels.

    Raises
    ------
    ConfigurationError
        If this build of torch has none.
    """
    if _ENGINE not in torch.backends.quantized.supported_engines:
        raise ConfigurationError(f"this torch has no int8 kernels of {_ENGINE}; use runtime openvino-int8 or torch")


def write(folder: Path, network: nn.Module, images: Tensor) -> None:
    """Measure the ranges of a network's activations and write them.

    Parameters
    ----------
    images
        Calibration images, float32 ``(N, C, H, W)``.
    """
    prepared = _prepared(network, images[:2])
    with torch.no_grad():
        for first in range(0, len(images), _BATCH):
            prepared(images[first : first + _BATCH])
    ranges = {name: tensor for name, tensor in prepared.state_dict().items() if name.startswith(_OBSERVER)}
    torch.save(ranges, folder / FILE)


def load(folder: Path, network: nn.Module, shape: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """A function of images float32 ``(N, C, H, W)`` to outputs."""
    from torch.ao.quantization import quantize_fx

    require_quantizer()
    prepared = _prepared(network, torch.rand(2, *shape))
    loaded = prepared.load_state_dict(read_torch_file(folder / FILE), strict=False)
    missing = [name for name in loaded.missing_keys if name.startswith(_OBSERVER)]
    if missing or loaded.unexpected_keys:
        raise ConfigurationError(f"{FILE} was measured on another network; run 'radimagenet quantize' again")
    with _quiet(), _engine():
        quantized = quantize_fx.convert_fx(prepared)

    def run(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            tensor = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
            return np.asarray(quantized(tensor).numpy())

    return run


def _prepared(network: nn.Module, example: Tensor) -> Any:
    """A copy of the network with observers."""
    from torch.ao.quantization import get_default_qconfig_mapping, quantize_fx

    example = example.contiguous()
    try:
        graph = _ShapedTracer(network, example).trace(network)
        _pool_for_means(graph)
        traced = fx.GraphModule(network, graph)
        with torch.no_grad():
            traced_output, output = traced(example[:1]), network(example[:1])
        if traced_output.shape != output.shape or not torch.allclose(traced_output, output, rtol=1e-4, atol=1e-5):
            raise ValueError("what it does depends on more than its weights")
        with _quiet():
            # Activations of seven bits: with eight, processors without VNNI instructions saturate.
            mapping = get_default_qconfig_mapping("x86")
            prepared = quantize_fx.prepare_fx(copy.deepcopy(traced).eval(), mapping, (example,))
    except Exception as error:  # of any kind, from a network of any library
        raise ConfigurationError(
            f"torch cannot quantize this network ({one_line(error)[:160]}); use runtime openvino-int8"
        ) from error
    return prepared


def _pool_for_means(graph: fx.Graph) -> None:
    """Replace means over rows and columns by a pool: torch has no mean of int8 images in channels-last layout."""
    for node in list(graph.nodes):
        dims = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        keeps = node.kwargs.get("keepdim", len(node.args) > 2 and node.args[2])
        if node.target in ("mean", torch.mean) and not keeps and _as_tuple(dims) in ((2, 3), (-2, -1)):
            with graph.inserting_before(node):
                pooled = graph.call_function(nn.functional.adaptive_avg_pool2d, (node.args[0], 1))
                flat = graph.call_function(torch.flatten, (pooled, 1))
            node.replace_all_uses_with(flat)
            graph.erase_node(node)


def _as_tuple(dims: Any) -> tuple[Any, ...]:
    return tuple(dims) if isinstance(dims, list | tuple) else (dims,)


class _ShapedTracer(fx.Tracer):
    """A tracer that computes each step on an example, so that code may ask for the size of an image."""

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.example = example
        self.tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        # Within the trace a module's own tensors are traced, too, so that it cannot compute.
        self.outputs: dict[str, deque[Any]] = defaultdict(deque)
        hooks = [
            module.register_forward_hook(lambda _, given, output, name=name: self.outputs[name].append(output))
            for name, module in network.named_modules()
        ]
        with torch.no_grad():
            network(example)
        for hook in hooks:
            hook.remove()

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _ShapedProxy(node, self)

    def create_arg(self, a: Any) -> Any:
        return a.node if issubclass(type(a), fx.Proxy) else super().create_arg(a)

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *others: Any, **named: Any) -> fx.Proxy:
        proxy = super().create_proxy(kind, target, args, kwargs, *others, **named)
        given, keywords = map_aggregate((args, kwargs), lambda item: getattr(item, "value", item))
        with torch.no_grad():
            proxy.value = self._value(kind, target, given, keywords)  # type: ignore[attr-defined]
        return proxy

    def _value(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        if kind == "placeholder":
            return self.example
        if kind == "call_module":
            return self.outputs[target].popleft()
        if kind == "call_method":
            return getattr(args[0], target)(*args[1:], **kwargs)
        if kind == "get_attr":
            return self.tensors[target]  # reading the attribute is traced
        return target(*args, **kwargs) if kind == "call_function" else None


class _ShapedProxy(fx.Proxy):
    """Has a size, and is a tensor for code that asks, as MONAI's U-Net does before it uses a skip connection."""

    @property
    def shape(self) -> torch.Size:
        shape: Any = self.value.shape
        return torch.Size(shape)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return Tensor if isinstance(self.value, Tensor) else type(self)


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = _ENGINE
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
