"""A trained network computed by another program, in place of the network itself."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.utils import convert_to_dst_type
from torch import Tensor, nn

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.flags import parse_flag
from radimagenet_monai.engine.distributed import unwrap_network
from radimagenet_monai.integrations.runtimes.kept_files import discard, export, kept_folder
from radimagenet_monai.integrations.runtimes.names import RUNTIMES, require_runtime
from radimagenet_monai.integrations.runtimes.passed_models import passed_folder, require_passed

logger = logging.getLogger(__name__)

Shape = tuple[int, int, int]
Run = Callable[[np.ndarray], np.ndarray]

TOLERANCE = 1e-4
"""Largest difference of an export's output from the network's, relative to its largest value, on noise. Rounding alone
gives about 1e-6; another network, or other weights, differ by far more."""


class RuntimeNetwork(nn.Module):
    """A network that a runtime computes, on the CPU, for the same inputs and outputs.

    Takes images float32 ``(N, C, H, W)`` and gives what the network gives, such as logits ``(N, classes)`` or
    ``(N, classes, H, W)``, for any N, on the device and with the meta data of the images. An export is made, or read
    from the folder of the model file, for each ``(C, H, W)`` when it first occurs; it is compared with the network
    before it is used. Gradients do not flow through it.

    Parameters
    ----------
    name
        One of `RUNTIMES` except ``"torch"``.
    network
        The network. Its weights must have been loaded from ``checkpoint`` before the first image comes.
    checkpoint
        The model file. Exports are kept in ``runtimes/`` beside it.

    Raises
    ------
    ConfigurationError
        For an unknown name, a package that is not installed, or an int8 runtime without a quantized model that passed
        its validation. At the first image: if the export does not give the network's output, or an int8 model was
        validated for another size.
    """

    def __init__(self, name: str, network: nn.Module, checkpoint: str | os.PathLike[str]) -> None:
        super().__init__()
        self.name = name
        self.runtime = require_runtime(name)
        if not self.runtime.module:
            raise ConfigurationError(f"runtime {name!r} is the network itself; use build_runtime or runtime_network")
        self.checkpoint = Path(checkpoint)
        self.network = network
        self._report = require_passed(checkpoint, name) if self.runtime.is_quantized else {}
        self._runs: dict[Shape, Run] = {}
        self._building = threading.Lock()

    def forward(self, image: Tensor) -> Tensor:
        """Compute the output of a batch of images."""
        run = self.prepare((int(image.shape[1]), int(image.shape[2]), int(image.shape[3])))
        images = torch.as_tensor(image).as_subclass(Tensor).detach().to("cpu", torch.float32).contiguous()
        output: Tensor = convert_to_dst_type(torch.from_numpy(run(images.numpy())), image, dtype=torch.float32)[0]
        return output

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """That of the network."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Into the network. The next image is computed with these weights."""
        self._runs.clear()
        return self.network.load_state_dict(*args, **kwargs)

    def prepare(self, shape: Shape) -> Run:
        """The program for images of a shape, made if it is not there yet."""
        with self._building:
            if shape not in self._runs:
                was_training = self.network.training
                self.network.to("cpu").eval()
                try:
                    self._runs[shape] = self._quantized(shape) if self.runtime.is_quantized else self._exported(shape)
                finally:
                    self.network.train(was_training)
            return self._runs[shape]

    def _quantized(self, shape: Shape) -> Run:
        validated = self._report.get("shape")
        if list(shape) != validated:
            raise ConfigurationError(
                f"runtime {self.name}: images of {shape} were given, the int8 model was validated for {validated}; "
                "give the image size of training, or run 'radimagenet quantize' for this one"
            )
        folder = passed_folder(self.checkpoint, self.name)
        run: Run = self._module().load(folder, self.network, shape)
        return run

    def _exported(self, shape: Shape) -> Run:
        module = self._module()
        made_from = (shape, module.versions(), repr(self.network))
        folder = kept_folder(self.checkpoint, self.name, *made_from)

        def write(target: Path) -> dict[str, Any]:
            logger.info("runtime %s: exporting the network", self.name)
            module.write(target, self.network, shape)
            return {"runtime": self.name, "shape": shape, "versions": module.versions()}

        for _ in range(2):
            with export(folder, write) as (found, was_there):
                run: Run = module.load(found, self.network, shape)
            difference = _difference(run, self.network, shape)
            if difference <= TOLERANCE:
                return run
            if not was_there:
                break
            discard(folder)  # of a network with other weights
        raise ConfigurationError(
            f"runtime {self.name}: the exported network differs from torch by {difference:.2g} of its largest output, "
            f"expected at most {TOLERANCE:g}; use runtime torch"
        )

    def _module(self) -> Any:
        return import_module(f"{__package__}.{self.runtime.module}")


def build_runtime(
    name: str, network: nn.Module, example_shape: tuple[int, ...], checkpoint: str | os.PathLike[str]
) -> nn.Module:
    """A network computed by a runtime, ready to run.

    Parameters
    ----------
    name
        One of `RUNTIMES`.
    network
        The network with the weights of ``checkpoint`` loaded.
    example_shape
        ``(C, H, W)``, or ``(N, C, H, W)`` with any N, of the images.
    checkpoint
        The model file.

    Returns
    -------
    nn.Module
        ``network`` itself for ``"torch"``, otherwise a `RuntimeNetwork`.

    Raises
    ------
    ConfigurationError
        See `RuntimeNetwork`.
    """
    runtime = runtime_network(name, network, checkpoint)
    if isinstance(runtime, RuntimeNetwork):
        channels, rows, columns = (int(length) for length in example_shape[-3:])
        runtime.prepare((channels, rows, columns))
    return runtime


def runtime_network(
    name: str, network: nn.Module, checkpoint: str | os.PathLike[str], amp: bool | str = False
) -> nn.Module:
    """As `build_runtime`, for a config: nothing is exported before the first image.

    Parameters
    ----------
    name, network, checkpoint
        See `build_runtime`. The weights may be loaded later.
    amp
        Whether the run asks for mixed precision, which torch alone has.

    Raises
    ------
    ConfigurationError
        See `RuntimeNetwork`.
    """
    require_runtime(name)
    if not RUNTIMES[name].module:
        return network
    if parse_flag(amp):
        raise ConfigurationError(f"amp true has no effect on runtime {name}; leave it out, or give runtime torch")
    return RuntimeNetwork(name, unwrap_network(network), checkpoint)


def _difference(run: Run, network: nn.Module, shape: Shape) -> float:
    """Largest difference on noise, relative to the largest output, over batches of one and three images."""
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(images).float().numpy()
    found = np.concatenate([run(images.numpy())[:1], run(images[1:].numpy())])
    scale = float(np.abs(expected).max()) or 1.0
    return float(np.abs(found - expected).max()) / scale if found.shape == expected.shape else float("inf")
