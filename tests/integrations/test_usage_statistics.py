"""OpenVINO and NNCF report nothing to anybody: a clinic's machine must not tell what is computed on it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# Outside of pytest, under which NNCF is silent by itself. Any connection, by whatever library, ends the process.
CODE = """
import os, socket, sys
def refuse(*arguments, **options):
    sys.stderr.write(f"connects: {arguments[1:]}"); sys.stderr.flush(); os._exit(9)
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda *a, **k: refuse(None, *a)
import torch
from radimagenet_monai.integrations.runtimes import names, openvino_float32, openvino_int8
layers = torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
network = torch.nn.Sequential(*layers)
openvino_float32.convert(network, (1, 16, 16))
if sys.argv[1] == "int8":
    from pathlib import Path
    from tempfile import TemporaryDirectory
    openvino_int8.require_quantizer()
    with TemporaryDirectory() as folder:
        openvino_int8.write(Path(folder), network, torch.rand(4, 1, 16, 16))
reporting = [name for name, module in sys.modules.items() if name.startswith("openvino_telemetry") and module]
assert reporting == [], reporting
"""


@pytest.mark.parametrize("kind", ["float32", pytest.param("int8", marks=pytest.mark.long)])
def test_nothing_is_reported(kind: str) -> None:
    pytest.importorskip("openvino")
    if kind == "int8":
        pytest.importorskip("nncf")
    done = subprocess.run([sys.executable, "-c", CODE, kind], capture_output=True, text=True, check=False)
    assert "connects" not in done.stderr, done.stderr[:500]  # children report, too
    assert done.returncode == 0, done.stderr[-2000:]
