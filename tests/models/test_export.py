"""TorchScript and ONNX of classifier and U-Net equal the eager network, at any batch size."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from batch_norm_statistics import settle_batch_norm
from shallow_densenet import shallow_densenet

from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.models import build_classifier, build_unet

pytestmark = pytest.mark.slow

ALL = list(ARCHITECTURES)
BUILD = {"classifier": build_classifier, "unet": build_unet}
# An export takes up to a quarter of a minute. In a quick run one without most layers stands for all.
# That of a shallow one is in `tests/bundles/test_life.py`.
ONNX_CASES = [
    *(pytest.param(kind, name, marks=pytest.mark.long) for kind in BUILD for name in ALL),
]


def network_of(kind: str, architecture: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if architecture == "shallow":
        with shallow_densenet():
            network = BUILD[kind]("densenet121", num_classes=2)
    else:
        network = BUILD[kind](architecture, num_classes=2)
    settle_batch_norm(network)
    return network.eval()


def assert_equal(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert found.shape == expected.shape
    assert expected.std() > 0
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


# `test_encoder.py` scripts every encoder; what holds them is the same for all, but for the pyramid without padding.
SCRIPTS = [
    *((kind, "shallow") for kind in BUILD),
    *(pytest.param(kind, name, marks=pytest.mark.long) for kind in BUILD for name in ALL),
]


@pytest.mark.parametrize(("kind", "architecture"), SCRIPTS)
def test_torchscript_equals_eager(kind: str, architecture: str) -> None:
    network = network_of(kind, architecture)
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(network), stream)
    stream.seek(0)
    scripted = torch.jit.load(stream)
    with torch.no_grad():
        for shape in ((1, 1, 100, 90), (3, 3, 96, 96)):
            image = torch.rand(shape)
            assert_equal(scripted(image), network(image))


@pytest.mark.parametrize(("kind", "architecture"), ONNX_CASES)
def test_onnx_with_dynamic_batch_equals_eager(kind: str, architecture: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = network_of(kind, architecture)
    stream = io.BytesIO()
    size = (96, 96) if kind == "classifier" else (90, 100)
    torch.onnx.export(
        network,
        (torch.rand(1, 1, *size),),
        stream,
        input_names=["image"],
        output_names=["pred"],
        dynamic_axes={"image": {0: "batch"}, "pred": {0: "batch"}},
        verbose=False,
    )
    session = onnxruntime.InferenceSession(stream.getvalue())
    for batch in (1, 3):
        image = torch.rand(batch, 1, *size)
        (found,) = session.run(None, {"image": image.numpy()})
        with torch.no_grad():
            assert_equal(torch.from_numpy(np.asarray(found)), network(image))
