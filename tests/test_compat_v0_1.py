"""What a user of release 0.1 has on disk still works: bundles, packed stores, trained models, checkpoints, tables.

The files are those that 0.1 wrote, and the expected values those that it read, see ``fixtures/v0_1/make.py``. Nothing
here names a module of the package: all goes through bundle configs, the command line and the names below.
"""

from __future__ import annotations

import ast
import csv
import functools
import hashlib
import importlib
import inspect
import json
import os
import pydoc
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import create_workflow

ARCHIVES = Path(__file__).parent / "fixtures" / "v0_1"
sys.path.append(str(ARCHIVES))
from reading import digests, evaluated_dataset, network_of, outputs, rebuild  # noqa: E402

PACKAGE = "radimagenet_monai"
MODIFIED = 1_767_225_600  # seconds; of the images when 0.1 packed them
CLASSIFICATION, SEGMENTATION = "breast_mass_us_classification", "breast_mass_us_segmentation"
PRETRAINING = "radimagenet_densenet121_pretraining"
TINY_NETWORK = {
    "_target_": "monai.networks.nets.ResNet",
    "block": "basic",
    "layers": [1, 1, 1, 1],
    "block_inplanes": [8, 8, 8, 8],
    "spatial_dims": 2,
    "n_input_channels": 1,
    "num_classes": "$len(@classes)",
}
RECIPE = {"image_size": 32, "batch_size": 8, "learning_rate": 1e-3, "num_workers": 0, "device": "cpu", "amp": False}
STORES = (
    "acl_tear_mri_classification",
    "breast_mass_us_classification",
    "breast_mass_us_segmentation",
    "intracranial_hemorrhage_ct_classification",
    "pneumonia_cxr_classification",
    "radimagenet_densenet121_pretraining",
)


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder that an archive of 0.1 holds; tests do not change it."""

    @functools.cache
    def unpacked(name: str) -> Path:
        folder = tmp_path_factory.mktemp("v0_1") / name
        with tarfile.open(ARCHIVES / f"{name}.tar.xz") as archive:
            archive.extractall(folder, filter="data")
        return folder

    return unpacked


def expected(folder: Path) -> Any:
    return json.loads((folder / "expected.json").read_text())


# Bundle configs


def components(value: Any) -> Iterator[dict[str, Any]]:
    """All parts of a config that name what to make."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield value
        for item in value.values():
            yield from components(item)
    elif isinstance(value, list):
        for item in value:
            yield from components(item)


def expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from expressions(item)
    elif isinstance(value, str) and value.startswith("$") and not value.startswith(("$import ", "$from ")):
        yield value[1:].replace("@", "").replace("::", "_")


def imported(config: dict[str, Any]) -> dict[str, Any]:
    """What the names that a config imports from the package stand for."""
    names = {}
    for statement in config.get("imports", []):
        node = ast.parse(statement.removeprefix("$")).body[0]
        assert isinstance(node, ast.Import), statement
        for name in node.names:
            if name.name.split(".")[0] == PACKAGE:
                assert name.asname, statement
                names[name.asname] = importlib.import_module(name.name)
    return names


def test_all_names_in_bundles_resolve_and_take_their_arguments(release):
    configs = sorted(release("bundles").glob("*/configs/*.json"))
    assert len({path.parent for path in configs}) == 14
    targets = calls = 0
    for path in configs:
        config = json.loads(path.read_text())
        for component in components(config):
            name = component["_target_"]
            if not name.startswith(f"{PACKAGE}."):
                continue
            target = pydoc.locate(name)  # as MONAI does
            assert callable(target), f"{path.parent.parent.name}/{path.name}: {name}"
            given = {key: value for key, value in component.items() if not key.startswith("_")}
            inspect.signature(target).bind(**given)
            targets += 1
        if path.name == "multi_gpu_train.json":  # is read after train.json
            config["imports"] = json.loads((path.parent / "train.json").read_text())["imports"]
        names = imported(config)
        for expression in expressions(config):
            for node in ast.walk(ast.parse(expression)):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
                    assert hasattr(names[node.value.id], node.attr), f"{path}: {expression}"
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                module = node.func.value
                if isinstance(module, ast.Name) and module.id in names:
                    keywords = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
                    called = getattr(names[module.id], node.func.attr)
                    inspect.signature(called).bind(*node.args, **keywords)
                    calls += 1
    assert (targets, calls) == (757, 694)


# Packed stores


@pytest.mark.parametrize("name", STORES)
def test_sealed_store_gives_the_same_images(release, tmp_path, name):
    known = expected(release("stores"))[name]
    for split, images in known["splits"].items():
        dataset = evaluated_dataset(
            release("bundles") / name,
            bundle_root=str(tmp_path),
            store_dir=str(release("stores") / name),
            image_size=known["size"],
            split=split,
        )
        assert digests(dataset) == images


def test_unsealed_store_is_used_and_nothing_is_packed_again(release, tmp_path):
    """The images are files of the right size and time and nothing else: reading one would fail."""
    name = "breast_mass_us_classification"
    known = expected(release("stores"))[name]
    images, store = tmp_path / "busi", tmp_path / "store"
    shutil.copytree(release("images") / "busi", images)
    shutil.copytree(release("stores") / name, store)
    (store / "sealed.json").unlink()
    (folder,) = store.glob("32x32-*")
    shutil.rmtree(folder / "index")
    table = release("images") / "prepared" / "records.csv"
    keys = []
    for record in csv.DictReader(table.read_text().splitlines()):
        path = images / record["image"]
        path.write_bytes(bytes(path.stat().st_size))
        os.utime(path, (MODIFIED, MODIFIED))
        keys.append(key_of_v0_1(path, record["sha256"]))
    np.save(folder / "part-00000" / "keys.npy", np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16))
    for split, digests_of_split in known["splits"].items():
        dataset = evaluated_dataset(
            release("bundles") / name,
            bundle_root=str(tmp_path),
            dataset_dir=str(images),
            datalist=str(table),
            store_dir=str(store),
            image_size=known["size"],
            num_workers=0,
            split=split,
        )
        assert digests(dataset) == digests_of_split
    assert [path.name for path in folder.glob("part-*")] == ["part-00000"]


def key_of_v0_1(path: Path, sha256: str) -> bytes:
    """What 0.1 put into ``keys.npy`` for a picture without a stated modality."""
    stamp = [path.stat().st_size, path.stat().st_mtime_ns]
    return hashlib.blake2b(json.dumps([str(path), 0, stamp, sha256, [None]]).encode(), digest_size=16).digest()


# Networks

ARCHITECTURES = ("resnet50", "densenet121", "inceptionv3", "inceptionresnetv2")


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        pytest.param(name, architecture, marks=[] if architecture == "densenet121" else pytest.mark.long)
        for name in (CLASSIFICATION, SEGMENTATION)
        for architecture in ARCHITECTURES
    ],
)
def test_network_takes_the_tensors_and_gives_the_same(release, name, architecture):
    known = json.loads((release("networks") / name / f"{architecture}.json").read_text())
    network = network_of(release("bundles") / name, architecture=architecture)
    network.load_state_dict(rebuild(known["state"]))
    found = outputs(network, known["size"])
    scale = np.abs(known["outputs"]).max()
    np.testing.assert_allclose(found, known["outputs"], rtol=0, atol=1e-4 * scale)


# Checkpoints


def train(bundle: Path, **options: Any) -> dict[str, Any]:
    """Run a bundle's training; returns the checkpoint it ends with."""
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "train.json"), workflow_type="train", bundle_root=str(bundle), **options
    )
    workflow.run()
    workflow.finalize()
    return torch.load(bundle / "output" / "checkpoint.pt", weights_only=True)


@pytest.mark.parametrize("moment", ["epoch_1", "within_epoch_2"])
def test_training_goes_on_from_a_checkpoint(release, tmp_path, moment):
    known = expected(release("checkpoints"))
    bundle = Path(shutil.copytree(release("bundles") / CLASSIFICATION, tmp_path / CLASSIFICATION))
    shutil.copytree(release("checkpoints") / moment, bundle / "output")
    options = {**RECIPE, "network_def": TINY_NETWORK, "store_dir": str(release("stores") / CLASSIFICATION)}
    state = train(bundle, max_epochs=2, resume=True, **options)
    assert (state["epoch"], state["iteration"]) == (2, 6)
    for name, values in known["network"].items():
        np.testing.assert_allclose(state["network"][name].numpy(), values, rtol=1e-4, atol=1e-6)
    assert state["best_metric"] == known["best_metric"]
