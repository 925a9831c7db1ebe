"""ONNX Runtime and OpenVINO give torch's answer, from exports that are never half-written or of another model."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from batch_norm_statistics import settle_batch_norm
from processes import PATIENCE, wait_until
from shallow_densenet import shallow_densenet
from torch import nn

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.encoders.architectures import ARCHITECTURES
from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.integrations.runtimes import build_runtime, kept_files, onnx_float32, runtime_network
from radimagenet_monai.models import build_classifier, build_unet

pytestmark = pytest.mark.slow

BUILD = {"classifier": build_classifier, "unet": build_unet}
SHAPE = (1, 64, 64)


def network_of(kind: str, architecture: str) -> nn.Module:
    """A network whose outputs are of the size of a trained one's."""
    torch.manual_seed(0)
    with shallow_densenet():
        name = "densenet121" if architecture == "shallow" else architecture
        network = BUILD[kind](name, num_classes=2)
    settle_batch_norm(network)
    return network.eval()


class Small(nn.Module):
    """A network that is exported in no time."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.convolution = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.convolution(image).relu().mean(dim=(2, 3)))


def saved(folder: Path, network: nn.Module) -> Path:
    """A model file of the network."""
    folder.mkdir(exist_ok=True)
    save_model(folder / "model.pt", network, {})
    return folder / "model.pt"


def require(runtime: str) -> None:
    for package in {"onnx": ("onnx", "onnxruntime"), "openvino": ("openvino",)}[runtime]:
        pytest.importorskip(package)


# Exports take up to half a minute; the shallow network has the kinds of layers of a whole one.
CASES = [
    ("onnx", "classifier", "shallow"),
    ("onnx", "unet", "shallow"),
    ("openvino", "classifier", "shallow"),
    pytest.param("openvino", "unet", "shallow", marks=pytest.mark.long),
    *(
        pytest.param(runtime, kind, name, marks=pytest.mark.long)
        for runtime in ("onnx", "openvino")
        for kind in BUILD
        for name in ARCHITECTURES
    ),
]


@pytest.mark.parametrize(("runtime", "kind", "architecture"), CASES)
def test_float32_runtimes_equal_torch_for_any_batch(runtime: str, kind: str, architecture: str, tmp_path: Path) -> None:
    require(runtime)
    network = network_of(kind, architecture)
    size = 64 if architecture in ("shallow", "resnet50", "densenet121") else 96
    computed = build_runtime(runtime, network, (1, size, size), saved(tmp_path, network))
    for batch in (1, 5):
        images = torch.rand(batch, 1, size, size)
        with torch.no_grad():
            expected = network(images)
        found = computed(images)
        assert found.dtype == torch.float32
        assert found.shape == expected.shape
        assert expected.std() > 0
        assert (found - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
        assert (found.softmax(1) - expected.softmax(1)).abs().max() <= 1e-5


def test_torch_is_the_network_itself(tmp_path: Path) -> None:
    network = Small()
    assert build_runtime("torch", network, SHAPE, tmp_path / "model.pt") is network


def test_batches_keep_device_and_meta_data(tmp_path: Path) -> None:
    """As MONAI's engines and MONAI Label need them."""
    require("onnx")
    from monai.data import MetaTensor

    network = Small()
    computed = build_runtime("onnx", network, SHAPE, saved(tmp_path, network))
    output = computed(MetaTensor(torch.rand(2, *SHAPE), meta={"filename_or_obj": "a.png"}))
    assert isinstance(output, MetaTensor)
    assert output.meta["filename_or_obj"] == "a.png"
    # Channels-last, as the bundles' loader gives them, and another size than that of the example.
    images = torch.rand(2, 1, 48, 80).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(computed(images), network(images).detach(), rtol=1e-5, atol=1e-6)


def test_an_export_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnx")
    network = Small()
    checkpoint = saved(tmp_path, network)
    build_runtime("onnx", network, SHAPE, checkpoint)
    (folder,) = (tmp_path / "runtimes").iterdir()
    monkeypatch.setattr(onnx_float32, "write", lambda *given: pytest.fail("exported again"))
    images = torch.rand(3, *SHAPE)
    found = build_runtime("onnx", network, SHAPE, checkpoint)(images)
    torch.testing.assert_close(found, network(images).detach(), rtol=1e-5, atol=1e-6)
    assert [path.name for path in (tmp_path / "runtimes").iterdir()] == [folder.name]


def test_a_retrained_model_is_exported_anew(tmp_path: Path) -> None:
    require("onnx")
    first, second = Small(0), Small(1)
    images = torch.rand(3, *SHAPE)
    for network in (first, second, first):
        found = build_runtime("onnx", network, SHAPE, saved(tmp_path, network))(images)
        torch.testing.assert_close(found, network(images).detach(), rtol=1e-5, atol=1e-6)
    assert len(list((tmp_path / "runtimes").iterdir())) == 2
    assert (first(images) - second(images)).abs().max() > 1e-3


def test_another_network_under_the_right_name_is_noticed(tmp_path: Path) -> None:
    """Such as one that came with a downloaded bundle: nothing vouches for it but that it gives the network's output."""
    require("onnx")
    network, other = Small(0), Small(1)
    checkpoint = saved(tmp_path, network)
    build_runtime("onnx", network, SHAPE, checkpoint)
    (folder,) = (tmp_path / "runtimes").iterdir()
    kept_files.discard(folder)

    def write(target: Path) -> dict:
        onnx_float32.write(target, other, SHAPE)
        return {}

    kept_files.keep(folder, write)
    images = torch.rand(3, *SHAPE)
    found = build_runtime("onnx", network, SHAPE, checkpoint)(images)
    torch.testing.assert_close(found, network(images).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("damage", ["model.onnx", "export.json"])
def test_a_damaged_export_is_made_again(tmp_path: Path, damage: str) -> None:
    require("onnx")
    network = Small()
    checkpoint = saved(tmp_path, network)
    build_runtime("onnx", network, SHAPE, checkpoint)
    (folder,) = (tmp_path / "runtimes").iterdir()
    content = bytearray((folder / damage).read_bytes())
    (folder / damage).write_bytes(content[: len(content) // 2])
    images = torch.rand(2, *SHAPE)
    found = build_runtime("onnx", network, SHAPE, checkpoint)(images)
    torch.testing.assert_close(found, network(images).detach(), rtol=1e-5, atol=1e-6)
    assert kept_files.is_whole(folder)


def test_an_export_that_differs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnx")
    network, write = Small(0), onnx_float32.write
    monkeypatch.setattr(onnx_float32, "write", lambda folder, network, shape: write(folder, Small(1), shape))
    with pytest.raises(ConfigurationError, match=r"differs from torch by .* use runtime torch"):
        build_runtime("onnx", network, SHAPE, saved(tmp_path, network))


def test_a_bundle_that_cannot_be_written_to(tmp_path: Path) -> None:
    require("onnx")
    network = Small()
    checkpoint = saved(tmp_path, network)
    (tmp_path / "runtimes").write_text("a file where the folder would be")
    images = torch.rand(2, *SHAPE)
    found = build_runtime("onnx", network, SHAPE, checkpoint)(images)
    torch.testing.assert_close(found, network(images).detach(), rtol=1e-5, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.pt", "runtimes"]


def _write_half(folder: Path, half: Path) -> None:
    def write(target: Path) -> dict:
        (target / "model.onnx").write_bytes(b"half")
        half.write_text("written")
        signal.pause()
        return {}

    kept_files.keep(folder, write)


def test_a_kill_in_the_middle_leaves_nothing_half_written(tmp_path: Path) -> None:
    require("onnx")
    network = Small()
    checkpoint = saved(tmp_path, network)
    build_runtime("onnx", network, SHAPE, checkpoint)
    (folder,) = (tmp_path / "runtimes").iterdir()
    kept_files.discard(folder)

    process = multiprocessing.get_context("fork").Process(
        target=_write_half, args=(folder, tmp_path / "half"), daemon=True
    )
    process.start()
    wait_until((tmp_path / "half").exists, "half an export")
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert not folder.exists()
    assert len(list((tmp_path / "runtimes").iterdir())) == 1
    images = torch.rand(2, *SHAPE)
    found = build_runtime("onnx", network, SHAPE, checkpoint)(images)
    torch.testing.assert_close(found, network(images).detach(), rtol=1e-5, atol=1e-6)
    assert [path.name for path in (tmp_path / "runtimes").iterdir()] == [folder.name]


def test_two_at_once_do_not_collide(tmp_path: Path) -> None:
    folder, together = tmp_path / "runtimes" / "onnx-0", threading.Barrier(2, timeout=PATIENCE)

    def write(target: Path) -> dict:
        (target / "model.onnx").write_bytes(np.random.default_rng(threading.get_ident()).bytes(1000))
        together.wait()
        return {}

    threads = [threading.Thread(target=kept_files.keep, args=(folder, write)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept_files.is_whole(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_refusals_name_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Small()
    checkpoint = saved(tmp_path, network)
    with pytest.raises(ConfigurationError, match=r"runtime 'onxx' is unknown; expected one of torch, onnx, openvino"):
        runtime_network("onxx", network, checkpoint)
    with pytest.raises(ConfigurationError, match=r"exactly this model.pt has passed .* run 'radimagenet quantize"):
        runtime_network("torch-int8", network, checkpoint)
    require("onnx")
    with pytest.raises(ConfigurationError, match="amp true has no effect on runtime"):
        runtime_network("onnx", network, checkpoint, amp="true")
    monkeypatch.setitem(sys.modules, "openvino", None)
    for name in ("openvino", "openvino-int8"):
        with pytest.raises(ConfigurationError, match=r"pip install 'radimagenet-monai\[openvino\]'"):
            runtime_network(name, network, checkpoint)
    assert runtime_network("torch", network, checkpoint, amp=True) is network
