"""The names of the runtimes, and what each of them needs to be installed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from radimagenet_monai.core.errors import ConfigurationError


@dataclass(frozen=True)
class Runtime:
    """A runtime.

    Attributes
    ----------
    module
        Module of this folder that exports and loads; empty for torch, which needs neither.
    extra
        Extra of this package that installs ``packages``.
    packages
        Modules that must be importable.
    is_quantized
        Whether it computes in int8 and needs ``radimagenet quantize`` first.
    """

    module: str = ""
    extra: str = ""
    packages: tuple[str, ...] = ()
    is_quantized: bool = False


RUNTIMES: Mapping[str, Runtime] = {
    "torch": Runtime(),
    "onnx": Runtime("onnx_float32", "onnx", ("onnx", "onnxruntime")),
    "openvino": Runtime("openvino_float32", "openvino", ("openvino",)),
    "torch-int8": Runtime("torch_int8", is_quantized=True),
    "openvino-int8": Runtime("openvino_int8", "openvino", ("openvino",), is_quantized=True),
}
"""Runtime by name."""


def require_runtime(name: str) -> Runtime:
    """The runtime of that name.

    Raises
    ------
    ConfigurationError
        If there is none, or a package that it needs is not installed.
    """
    if name not in RUNTIMES:
        raise ConfigurationError(f"runtime {name!r} is unknown; expected one of {', '.join(RUNTIMES)}")
    runtime = RUNTIMES[name]
    for package in runtime.packages:
        require_package(package, runtime.extra, f"runtime {name}")
    return runtime


def require_package(package: str, extra: str, purpose: str) -> None:
    """Refuse to go on without an installed package.

    Raises
    ------
    ConfigurationError
        Names the extra to install.
    """
    send_no_usage_statistics()
    try:
        import_module(package)
    except ImportError as error:
        raise ConfigurationError(
            f"{purpose} needs the package {package} ({error}); install it with: "
            f"pip install 'radimagenet-monai[{extra}]'"
        ) from None


def send_no_usage_statistics() -> None:
    """Keep OpenVINO and NNCF, imported from now on, from reporting each conversion to a server.

    They do so by the package ``openvino_telemetry`` unless somebody has declined; without it they stay silent.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # "not installed", for the import system
