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
import math
import os
import pydoc
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import create_workflow
from PIL import Image
from safetensors.torch import save_file

pytestmark = pytest.mark.slow

ARCHIVES = Path(__file__).parent / "fixtures" / "v0_1"
sys.path.append(str(ARCHIVES))
from reading import digests, network_of, outputs, packed_part, place_model, rebuild  # noqa: E402 - its folder is on the path only now

PACKAGE = "radimagenet_monai"
(COMMAND,) = entry_points(group="console_scripts", name="radimagenet")
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
COMPARISON = ("--protocol=probe", "--architectures=densenet121", "--folds=3", "--image_size=32")
MALIGNANT = Path("busi") / "Dataset_BUSI_with_GT" / "malignant"
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
        dataset = packed_part(
            release("bundles") / name,
            split,
            bundle_root=str(tmp_path),
            store_dir=str(release("stores") / name),
            image_size=known["size"],
        )
        assert images
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
        dataset = packed_part(
            release("bundles") / name,
            split,
            bundle_root=str(tmp_path),
            dataset_dir=str(images),
            datalist=str(table),
            store_dir=str(store),
            image_size=known["size"],
            num_workers=0,
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


# Trained bundles


def trained_bundle(release: Callable[[str], Path], name: str, folder: Path) -> Path:
    """A bundle trained by 0.1, with the tensors of the fixture."""
    bundle = Path(shutil.copytree(release("bundles") / name, folder / name))
    known = release("trained") / name
    place_model(bundle, json.loads((known / "model.json").read_text()), known / "models" / "model.json")
    return bundle


@pytest.mark.parametrize(
    "name",
    [
        CLASSIFICATION,
        pytest.param(SEGMENTATION, marks=pytest.mark.long),
        pytest.param(PRETRAINING, marks=pytest.mark.long),
    ],
)
def test_evaluation_gives_the_same(release, tmp_path, name):
    bundle = trained_bundle(release, name, tmp_path)
    data = {"store_dir": str(release("stores") / name)}
    if name == SEGMENTATION:
        data = {"dataset_dir": str(release("images") / "busi")}
    run(bundle, "evaluate", tmp_path / "out", **data)
    check_evaluation(release("trained") / name / "evaluation", tmp_path / "out")


@pytest.mark.long
@pytest.mark.parametrize("name", [CLASSIFICATION, SEGMENTATION])
def test_inference_gives_the_same(release, tmp_path, name):
    bundle = trained_bundle(release, name, tmp_path)
    run(bundle, "inference", tmp_path / "out", dataset_dir=str(release("images") / MALIGNANT))
    check_inference(release("trained") / name / "inference", tmp_path / "out")


@pytest.mark.long
def test_bundle_runs_from_the_command_line(release, tmp_path):
    bundle = trained_bundle(release, CLASSIFICATION, tmp_path)
    data = {
        "evaluate": {"store_dir": release("stores") / CLASSIFICATION},
        "inference": {"dataset_dir": release("images") / MALIGNANT},
    }
    for config, options in data.items():
        command = [sys.executable, "-m", "monai.bundle", "run"]
        options = {"config_file": bundle / "configs" / f"{config}.json", "bundle_root": bundle, **options}
        options |= {"output_dir": tmp_path / config, "device": "cpu", "num_workers": 0}
        command += [part for key, value in options.items() for part in (f"--{key}", str(value))]
        subprocess.run(command, cwd=tmp_path, check=True)
    check_evaluation(release("trained") / CLASSIFICATION / "evaluation", tmp_path / "evaluate")
    check_inference(release("trained") / CLASSIFICATION / "inference", tmp_path / "inference")


@pytest.mark.long
@pytest.mark.parametrize("name", [CLASSIFICATION, SEGMENTATION, PRETRAINING])
def test_training_of_a_bundle_goes_on(release, tmp_path, name):
    """With the recipe of each: optimizer, schedule and, in pretraining, the running average of the weights."""
    bundle = trained_bundle(release, name, tmp_path)
    known = release("trained") / name
    shutil.copytree(known / "output", bundle / "output")
    torch.save(rebuild(json.loads((known / "checkpoint.json").read_text())), bundle / "output" / "checkpoint.pt")
    options = {**RECIPE, "architecture": "densenet121", "store_dir": str(release("stores") / name)}
    state = train(bundle, max_epochs=2, resume=True, **options)
    resumed = json.loads((known / "resumed.json").read_text())
    assert state["iteration"] == resumed["iteration"]
    for key, values in resumed["biases"].items():
        np.testing.assert_allclose(state["network"][key].numpy(), values, rtol=1e-3, atol=1e-5)


def check_evaluation(known: Path, found: Path) -> None:
    for name in ("predictions.csv", "confusion.csv"):
        if (known / name).exists():
            assert list(differences(rows(known / name), rows(found / name))) == []
    old, new = (json.loads((folder / "evaluation.json").read_text()) for folder in (known, found))
    # "perfectly separated" now says in which direction.
    reworded = {"metrics.auc.reason", "metrics.notes.0"}
    assert set(differences(old, new)) <= reworded
    for mask in known.rglob("masks/**/*.png"):
        assert np.array_equal(picture(mask), picture(found / mask.relative_to(known))), mask.name


def check_inference(known: Path, found: Path) -> None:
    old, new = rows(known / "predictions.csv"), rows(found / "predictions.csv")
    # Masks beside their images are no longer classified.
    assert list(new) == [name for name in old if not name.endswith("_mask.png")]
    changed = {name for name in new if any(differences(old[name], new[name]))}
    # Dark bars above and below the scan are cut off now.
    assert changed == {"malignant (3).png", "malignant (5).png"}
    for name in set(new) - changed if (known / "masks").exists() else ():
        assert np.array_equal(picture(known / "masks" / name), picture(found / "masks" / name)), name


def rows(path: Path) -> dict[str, dict[str, Any]]:
    """Rows of a table by their first cell, with numbers as numbers."""
    with path.open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    return {next(iter(row.values())): {key: number(value) for key, value in row.items()} for row in table}


def number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def picture(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Where values of 0.1 are missing or others today."""
    if isinstance(old, dict | list) and type(old) is type(new):
        keys = range(len(old)) if isinstance(old, list) else old
        for key in keys:
            inner = f"{place}.{key}".lstrip(".")
            if (key in new) if isinstance(new, dict) else (key < len(new)):
                yield from differences(old[key], new[key], inner)
            else:
                yield inner
    elif isinstance(old, float) and isinstance(new, float):
        if not math.isclose(old, new, rel_tol=1e-5, abs_tol=1e-7):
            yield place
    elif old != new:
        yield place


def run(bundle: Path, config: str, out: Path, **options: Any) -> None:
    workflow = create_workflow(
        config_file=str(bundle / "configs" / f"{config}.json"),
        workflow_type="inference",
        bundle_root=str(bundle),
        output_dir=str(out),
        num_workers=0,
        device="cpu",
        **options,
    )
    workflow.run()
    workflow.finalize()


# Weights, tables, comparisons


@pytest.fixture
def weight_store(release: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weight store of 0.1 with one encoder."""
    folder = tmp_path / "home" / "weights"
    folder.mkdir(parents=True)
    known = json.loads((release("weights") / "stored.json").read_text())
    save_file(rebuild(known["tensors"], "encoder"), folder / known["file"], known["metadata"])
    monkeypatch.setenv("RADIMAGENET_HOME", str(folder.parent))
    return folder


def radimagenet(*arguments: object) -> None:
    COMMAND.load()([str(argument) for argument in arguments])


def test_stored_weights_are_whole(weight_store, capsys):
    """Tensors by their hash, and what the encoder computes by the fingerprint that 0.1 took."""
    radimagenet("weights", "verify")
    assert "densenet121.radimagenet_pretraining: ok" in capsys.readouterr().out


def test_records_and_audit_are_the_same(release, tmp_path):
    known = release("images") / "prepared"
    radimagenet("prepare", "busi", release("images") / "busi", tmp_path / "anew")
    assert (tmp_path / "anew" / "records.csv").read_bytes() == (known / "records.csv").read_bytes()
    old, new = (json.loads((folder / "summary.json").read_text()) for folder in (known, tmp_path / "anew"))
    assert set(differences(old, new)) == {"root"}
    shutil.copytree(known, tmp_path / "prepared")
    radimagenet("audit", tmp_path / "prepared", "--root", release("images") / "busi")
    old, new = (json.loads((folder / "audit.json").read_text()) for folder in (known, tmp_path / "prepared"))
    assert not list(differences(old, new))


def test_report_of_a_comparison_has_the_same_numbers(release, tmp_path):
    folder = Path(shutil.copytree(release("comparison"), tmp_path / "comparison"))
    (folder / "report.json").unlink()
    radimagenet("report", folder)
    old, new = (json.loads((place / "report.json").read_text()) for place in (release("comparison"), folder))
    # Reports no longer contain absolute paths, and commands hold some.
    commands = {f"runs.{number}.command" for number in range(6)}
    assert set(differences(old["analysis"], new["analysis"])) == commands


@pytest.mark.long
def test_comparison_knows_its_finished_runs(release, tmp_path, weight_store, capsys):
    folder = Path(shutil.copytree(release("comparison"), tmp_path / "comparison"))
    arguments = ["random,radimagenet_pretraining", folder, "--root", release("images") / "busi", *COMPARISON]
    radimagenet("compare", CLASSIFICATION, release("images") / "prepared", *arguments)
    assert "6 runs, 6 of them finished before" in capsys.readouterr().out
    old, new = (json.loads((place / "analysis.json").read_text()) for place in (release("comparison"), folder))
    on_purpose = {
        "command": "kept without absolute paths",
        "power": "the number of patients is that of the test in use, with its degrees of freedom",
        "protocol": "another description, since the folds and the image size are not the protocol's own",
        "sentences": "they name the number of patients",
        "task": "data prepared by 0.1 count as your own",
    }
    assert {place.split(".")[0] for place in differences(old, new)} <= set(on_purpose)
