"""What cannot be imported: one line that names what was expected and found, and a store as it was."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from radimagenet_monai.core.errors import ConfigurationError, WeightsError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.encoders.encoder import BACKBONES
from radimagenet_monai.weights import catalogue
from radimagenet_monai.weights.importers import import_file
from radimagenet_monai.weights.importers.import_file import import_weights
from radimagenet_monai.weights.importers.keras_h5 import read_keras
from radimagenet_monai.weights.importers.keras_layers import keras_layers
from radimagenet_monai.weights.importers.torch_layouts import read_torch
from radimagenet_monai.weights.store import stored_path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return BACKBONES["densenet121"]().state_dict()


@pytest.fixture(scope="module")
def imported(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to import, and beside it a weight store into which it was imported."""
    folder = tmp_path_factory.mktemp("imported")
    torch.save(state, folder / "good.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADIMAGENET_HOME", str(folder))
        import_weights(folder / "good.pth", "radimagenet_torch")
    return folder


@pytest.fixture
def filled_store(imported: Path, store: Path) -> Path:
    shutil.copytree(imported / "weights", store)
    return store


def contents(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def refused(path: Path, store: Path, name: str | None = "radimagenet_torch", error: Any = WeightsError) -> str:
    """The one line of the refusal, after which the store holds exactly what it held."""
    before = contents(store)
    with pytest.raises(error) as caught:
        import_weights(path, name, replace_existing=True)
    assert contents(store) == before
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def write_keras(path: Path, state: dict[str, Tensor]) -> None:
    """DenseNet121 in the layout of whole Keras models."""
    parts = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
    parts |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights")
        layers = [layer for layer in keras_layers("densenet121") if layer.weights]
        root.attrs["layer_names"] = [layer.name for layer in layers]
        for layer in layers:
            group = root.create_group(str(layer.name))
            group.attrs["weight_names"] = [f"{layer.name}/{part}:0" for part in layer.weights]
            for part in layer.weights:
                array = state[f"{layer.module}.{parts[part]}"].numpy()
                array = array.transpose(2, 3, 1, 0) if part == "kernel" else array
                group.create_dataset(f"{layer.name}/{part}:0", data=array)


@pytest.fixture(scope="module")
def whole(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound file of each kind, not to be changed in place."""
    folder = tmp_path_factory.mktemp("whole")
    paths = {kind: folder / kind for kind in ("torch", "legacy", "safetensors", "keras")}
    write_keras(paths["keras"], state)
    save_file(state, paths["safetensors"])
    torch.save(state, paths["torch"])
    torch.save(state, paths["legacy"], _use_new_zipfile_serialization=False)
    return paths


def change(state: dict[str, Tensor], **changes: Tensor | None) -> dict[str, Tensor]:
    changed = {**state, **changes}
    return {name: tensor for name, tensor in changed.items() if tensor is not None}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features.norm5.bias": None}, "1 missing (first: features.norm5.bias)"),
        ({"features.norm6.bias": torch.zeros(3)}, "1 unexpected (first: features.norm6.bias)"),
        (
            {"features.conv0.weight": torch.zeros(64, 1, 7, 7)},
            "features.conv0.weight is [64, 1, 7, 7], expected [64, 3",
        ),
        ({"features.norm5.bias": torch.full((1024,), torch.nan)}, "not finite in features.norm5.bias"),
        ({"features.norm0.running_var": torch.full((64,), -1.0)}, "running variance of -1 in features.norm0,"),
        ({"features.norm0.running_var": torch.full((64,), torch.inf)}, "not finite"),
        ({"features.conv0.weight": torch.zeros(64, 3, 7, 7, dtype=torch.int8)}, "as torch.int8, expected floating"),
    ],
)
def test_torch_file_that_does_not_fit(
    state: dict[str, Tensor], changes: dict[str, Tensor | None], words: str, tmp_path: Path, filled_store: Path
) -> None:
    torch.save(change(state, **changes), tmp_path / "bad.pth")
    assert words in refused(tmp_path / "bad.pth", filled_store)


def delete(name: str) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        group, part = name.split("/")
        root = file["model_weights"][group]
        del root[f"{group}/{part}"]
        root.attrs["weight_names"] = [item for item in root.attrs["weight_names"] if not item.endswith(part)]

    return edit


def reshape(file: h5py.File) -> None:
    del file["model_weights/bn/bn/beta:0"]
    file["model_weights/bn"].create_dataset("bn/beta:0", data=np.zeros(3, np.float32))


def add_layer(file: h5py.File) -> None:
    root = file["model_weights"]
    root.attrs["layer_names"] = [*root.attrs["layer_names"], "conv6_conv"]
    group = root.create_group("conv6_conv")
    group.attrs["weight_names"] = ["conv6_conv/kernel:0"]
    group.create_dataset("conv6_conv/kernel:0", data=np.zeros((1, 1, 3, 3), np.float32))


def add_array(file: h5py.File) -> None:
    file["model_weights/bn"].create_dataset("stray", data=np.zeros(3, np.float32))


def drop_layer(file: h5py.File) -> None:
    root = file["model_weights"]
    root.attrs["layer_names"] = [name for name in root.attrs["layer_names"] if name != "conv4_block7_1_bn"]
    del root["conv4_block7_1_bn"]


def point_elsewhere(file: h5py.File) -> None:
    del file["model_weights/bn/bn/beta:0"]
    file["model_weights/bn"].create_dataset("bn/beta:0", (1024,), np.float32, external=[("/etc/hostname", 0, 4096)])


def link_elsewhere(file: h5py.File) -> None:
    del file["model_weights/bn/bn/beta:0"]
    file["model_weights/bn/bn/beta:0"] = h5py.ExternalLink("other.h5", "/beta")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (delete("bn/beta:0"), "bn/beta is missing"),
        (drop_layer, "layer conv4_block7_1_bn is missing"),
        (add_layer, "layer conv6_conv is unexpected"),
        (add_array, "1 arrays of no layer (first: /model_weights/bn/stray)"),
        (reshape, "bn/beta is [3], expected [1024]"),
        (point_elsewhere, "keeps /model_weights/bn/bn/beta:0 in another file"),
        (link_elsewhere, "damaged or incomplete HDF5"),
    ],
)
def test_keras_file_that_does_not_fit(
    whole: dict[str, Path], edit: Callable[[h5py.File], None], words: str, tmp_path: Path, filled_store: Path
) -> None:
    path = tmp_path / "bad.h5"
    shutil.copyfile(whole["keras"], path)
    with h5py.File(path, "r+") as file:
        edit(file)
    assert words in refused(path, filled_store, "radimagenet_keras")


def test_the_unchanged_files_of_these_tests_are_accepted(whole: dict[str, Path]) -> None:
    import_weights(whole["keras"], "radimagenet_keras")
    import_weights(whole["torch"], "radimagenet_torch")


def test_h5_of_another_architecture(tmp_path: Path, filled_store: Path) -> None:
    with h5py.File(tmp_path / "vgg.h5", "w") as file:
        names = [f"block{i}_conv{j}" for i in range(1, 6) for j in (1, 2)]
        file.attrs["layer_names"] = names
        for name in names:
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0", f"{name}/bias:0"]
            group.create_dataset(f"{name}/kernel:0", data=np.zeros((3, 3, 8, 8), np.float32))
            group.create_dataset(f"{name}/bias:0", data=np.zeros(8, np.float32))
    message = refused(tmp_path / "vgg.h5", filled_store)
    assert "10 convolutions and 0 batch norms, expected resnet50 53 and 53; densenet121 120 and 121" in message
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    assert "without arrays" in refused(tmp_path / "empty.h5", filled_store)


def test_torch_file_of_another_architecture(tmp_path: Path, filled_store: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3), "fc.weight": torch.zeros(2, 3)}, tmp_path / "other.pt")
    assert "is none of resnet50, densenet121" in refused(tmp_path / "other.pt", filled_store)


@pytest.mark.parametrize("kind", ["torch", "legacy", "safetensors", "keras"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.99])
def test_truncated_file(whole: dict[str, Path], kind: str, share: float, tmp_path: Path, filled_store: Path) -> None:
    path, data = tmp_path / "cut", whole[kind].read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    refused(path, filled_store)


@pytest.mark.parametrize("kind", ["torch", "safetensors", "keras"])
def test_changed_bytes_are_read_or_refused(whole: dict[str, Path], kind: str, tmp_path: Path) -> None:
    """Where a file describes itself: at its beginning, and for torch and HDF5 also at its end."""
    path, data, generator = tmp_path / "changed", whole[kind].read_bytes(), np.random.default_rng(0)
    outcomes = set()
    for _ in range(5):
        changed = bytearray(data)
        for place in generator.integers(0, 60_000, 4):
            changed[place if kind == "safetensors" or place % 2 else len(data) - 1 - place] = generator.integers(256)
        path.write_bytes(changed)
        try:
            (read_keras if kind == "keras" else read_torch)(path)
            outcomes.add("read")
        except WeightsError as error:
            outcomes.add("refused")
            assert "\n" not in str(error)  # noqa: PT017 - both outcomes are right
    assert "refused" in outcomes


class Trap:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.write_text, (self.path, "executed")


@pytest.mark.parametrize("kind", ["torch", "legacy", "pickle", "whole network"])
def test_pickle_with_code_is_not_executed(kind: str, tmp_path: Path, filled_store: Path) -> None:
    path, trap = tmp_path / "trap.pt", tmp_path / "executed"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Trap(trap)))
    elif kind == "whole network":
        torch.save(torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)), path)
    else:
        torch.save({"state_dict": Trap(trap)}, path, _use_new_zipfile_serialization=kind == "torch")
    message = refused(path, filled_store)
    assert not trap.exists()
    named = {"pickle": "could run code", "whole network": "would run code when loaded (torch.nn.modules.container.Seq"}
    assert named.get(kind, "would run code when loaded (getattr)") in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer"),
        (b"", "is empty"),
        (b"GIF89a" + b"\0" * 100, "of no known format"),
        (b"PK\x03\x04 but no archive", "damaged"),
        (b"\x89HDF\r\n\x1a\n but no more", "damaged"),
        ((100).to_bytes(8, "little") + b"{" + b"x" * 200, "safetensors"),
    ],
)
def test_file_that_is_no_weights(content: bytes, words: str, tmp_path: Path, filled_store: Path) -> None:
    path = tmp_path / "ResNet50.pt"
    path.write_bytes(content)
    assert words in refused(path, filled_store)


def test_archive_of_keras_3_says_what_to_unpack(tmp_path: Path, filled_store: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"")
    assert "unpack model.weights.h5 from it" in refused(tmp_path / "model.keras", filled_store)


def test_missing_file_and_folder_without_model(tmp_path: Path, filled_store: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.h5", filled_store)
    (tmp_path / "folder").mkdir()
    assert "without models/model.pt" in refused(tmp_path / "folder", filled_store)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("resnet50.radimagenet_torch", WeightsError, "holds densenet121, not resnet50"),
        ("densenet121.random", ConfigurationError, "is not in the catalogue"),
        ("densenet121.mine", ConfigurationError, "can be densenet121.radimagenet_torch or"),
        ("radimagenet_keras", WeightsError, "cannot be densenet121.radimagenet_keras: it holds names of torchvision"),
        (None, ConfigurationError, "--as densenet121.radimagenet_torch or --as densenet121.imagenet_torchvision"),
    ],
)
def test_name_that_contradicts_the_file(
    state: dict[str, Tensor], name: str | None, error: type, words: str, tmp_path: Path, filled_store: Path
) -> None:
    torch.save(state, tmp_path / "x.pth")
    assert words in refused(tmp_path / "x.pth", filled_store, name, error)


def test_name_that_is_none(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "x.pth")
    for name in ("../../evil", "densenet121.../evil", "vgg16.imagenet", "densenet121.A"):
        with pytest.raises(ConfigurationError, match="is no name of weights"):
            import_weights(tmp_path / "x.pth", name)


def test_known_hash_decides_and_refuses_another_name(
    state: dict[str, Tensor], tmp_path: Path, filled_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.pth"
    torch.save(state, path)
    name = "densenet121.imagenet_torchvision"
    known = catalogue.CATALOGUE[name]
    changed = {**catalogue.CATALOGUE, name: import_file.replace(known, sha256=(file_digest(path)[:8],))}
    monkeypatch.setattr(import_file, "CATALOGUE", changed)
    message = refused(path, filled_store, "radimagenet_torch")
    assert f"is known by its SHA-256 to be {name}, not densenet121.radimagenet_torch" in message
    report = import_weights(path)
    assert report.stored.spec.name == name
    assert report.hash_known
    assert "(equal to the known one)" in "\n".join(report.describe())


def test_other_weights_are_not_overwritten_unasked(
    imported: Path, state: dict[str, Tensor], tmp_path: Path, filled_store: Path
) -> None:
    import_weights(imported / "good.pth", "radimagenet_torch")  # the same file again changes nothing
    before = contents(filled_store)
    torch.save(change(state, **{"features.norm5.bias": torch.ones(1024)}), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="already in the weight store, from another file"):
        import_weights(tmp_path / "other.pth", "radimagenet_torch")
    assert contents(filled_store) == before
    import_weights(tmp_path / "other.pth", "radimagenet_torch", replace_existing=True)
    assert contents(filled_store) != before


def test_full_disk_leaves_the_store_as_it_was(
    imported: Path, filled_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = contents(filled_store)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        import_weights(imported / "good.pth", "radimagenet_torch")
    assert contents(filled_store) == before
    assert stored_path("densenet121.radimagenet_torch").is_file()


def test_extreme_running_variance_is_pointed_out(state: dict[str, Tensor], tmp_path: Path) -> None:
    """DenseNet121 of the PyTorch set has one of 56 296 (issue 20 of the authors' repository)."""
    variance = torch.ones(1024)
    variance[7], variance[8] = 56_296, 0
    torch.save(change(state, **{"features.norm5.running_var": variance}), tmp_path / "x.pth")
    text = "\n".join(import_weights(tmp_path / "x.pth", "radimagenet_torch").describe())
    assert "largest running variance 56296 (features.norm5)" in text
    assert "note: running variance above 10000 in features.norm5: do not run this encoder in float16" in text
    assert "note: 1 channels with a running variance of 0" in text
