"""The catalogue, the store, and what the command line shows of them."""

from __future__ import annotations

import contextlib
import doctest
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

import radimagenet_monai
from radimagenet_monai import build_classifier, build_unet, list_weights, load_encoder
from radimagenet_monai.commands import weights as commands
from radimagenet_monai.core.errors import ConfigurationError, WeightsError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.encoders.encoder import BACKBONES, Encoder
from radimagenet_monai.encoders.spec import InputConvention, WeightSpec
from radimagenet_monai.models import pretrained
from radimagenet_monai.weights import store as store_module
from radimagenet_monai.weights.catalogue import CATALOGUE
from radimagenet_monai.weights.fingerprint import (
    PATTERN,
    fingerprint_difference,
    fingerprint_image,
    take_fingerprint,
)
from radimagenet_monai.weights.importers.import_file import import_weights
from radimagenet_monai.weights.pretrained_encoder import build_encoder
from radimagenet_monai.weights.store import identify_weights, read_stored, stored_path, weights_folder

pytestmark = pytest.mark.slow

NAME = "densenet121.radimagenet_torch"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("file") / "given.pt"
    torch.save(BACKBONES["densenet121"]().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def imported(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADIMAGENET_HOME", str(folder))
        return import_weights(file, NAME).stored.path


@pytest.fixture
def stored(imported: Path, store: Path) -> Path:
    """The imported file in the store of the test."""
    store.mkdir(parents=True)
    return Path(shutil.copy2(imported, store))


def test_catalogue_is_complete() -> None:
    both = {"random", "radimagenet_keras", "imagenet_keras"}
    torch_sets = {"radimagenet_torch", "imagenet_torchvision"}
    tags = {name: {spec.tag for spec in CATALOGUE.values() if spec.architecture == name} for name in BACKBONES}
    assert tags == {
        "resnet50": both | torch_sets,
        "densenet121": both | torch_sets,
        "inceptionv3": both | torch_sets,
        "inceptionresnetv2": both | {"imagenet_timm"},
    }
    for name, spec in CATALOGUE.items():
        assert spec.name == name
        assert spec.origin
        assert spec.licence
        assert spec.tag == "random" or (spec.obtain and spec.references and spec.file)
        assert all(len(digits) in (8, 64) and int(digits, 16) for digits in spec.sha256)


# By hand from the field's own documents: what a mid-gray (0.5) and a pure red image become in the first channel seen.
@pytest.mark.parametrize(
    ("name", "gray", "red"),
    [
        ("resnet50.radimagenet_keras", (127.5 - 103.939) / 255, -103.939 / 255),
        ("inceptionresnetv2.radimagenet_keras", (127.5 - 103.939) / 255, -103.939 / 255),
        ("densenet121.radimagenet_torch", 0.0, -1.0),
        ("resnet50.imagenet_torchvision", (0.5 - 0.485) / 0.229, (1 - 0.485) / 0.229),
        ("inceptionv3.imagenet_torchvision", 0.0, 1.0),
        ("inceptionresnetv2.imagenet_timm", 0.0, 1.0),
        ("resnet50.imagenet_keras", 127.5 - 103.939, -103.939),
        ("densenet121.imagenet_keras", (0.5 - 0.485) / 0.229, (1 - 0.485) / 0.229),
        ("inceptionv3.imagenet_keras", 0.0, 1.0),
    ],
)
def test_conventions_by_hand(name: str, gray: float, red: float) -> None:
    from radimagenet_monai.encoders.input_norm import InputNorm

    norm = InputNorm(CATALOGUE[name].convention)
    image = torch.zeros(2, 3, 1, 1)
    image[0], image[1, 0] = 0.5, 1.0
    seen = norm(image)[:, 0, 0, 0].tolist()
    assert seen == pytest.approx([gray, red], abs=1e-5)


def test_file_holds_encoder_specification_and_provenance(file: Path, stored: Path) -> None:
    with safe_open(stored, "pt") as opened:
        names, metadata = set(opened.keys()), opened.metadata()
    assert names == set(load_encoder("densenet121").state_dict())
    record = json.loads(metadata["radimagenet"])
    assert WeightSpec.from_dict(record["spec"]) == CATALOGUE[NAME]
    assert record["source"]["sha256"] == file_digest(file)
    assert record["source"]["file"] == "given.pt"
    assert record["source"]["bytes"] == file.stat().st_size
    assert record["tool"] == f"radimagenet-monai {radimagenet_monai.__version__}"
    assert str(file.parent) not in json.dumps(metadata)


@given(
    order=st.sampled_from(["RGB", "BGR"]),
    numbers=st.lists(st.floats(1e-3, 1e3, allow_nan=False), min_size=7, max_size=7),
)
def test_specification_survives_json(order: str, numbers: list[float]) -> None:
    convention = InputConvention(order, numbers[0], tuple(numbers[1:4]), tuple(numbers[4:]))
    spec = replace(CATALOGUE[NAME], convention=convention, sha256=("ab",), references=("x", "y"))
    assert WeightSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_every_way_to_name_stored_weights(stored: Path) -> None:
    expected = load_encoder("densenet121", NAME).state_dict()
    for weights in ("radimagenet_torch", str(stored)):
        state = load_encoder("densenet121", weights).state_dict()
        assert all(torch.equal(state[name], expected[name]) for name in expected)
    network = build_classifier("densenet121", weights="radimagenet_torch").encoder.state_dict()
    assert all(torch.equal(network[name], expected[name]) for name in expected)
    network = build_unet("densenet121", weights="radimagenet_torch").encoder.state_dict()
    assert all(torch.equal(network[name], expected[name]) for name in expected)


def test_known_but_not_imported_says_the_way_out(store: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        load_encoder("resnet50", "radimagenet_keras")
    assert str(caught.value) == (
        f"weights 'resnet50.radimagenet_keras' are not in the weight store ({store}). RadImageNet weights are given "
        "out by their authors; import your copy with 'radimagenet weights import FILE', or train from scratch with "
        "--weights random"
    )
    assert not store.exists()


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ("imagenet", ConfigurationError, r"unknown weights 'imagenet' for densenet121; known: random, radimagenet_k"),
        ("resnet50.random", ConfigurationError, r"are of resnet50, but the architecture is 'densenet121'"),
        ("no/such/file.pt", WeightsError, r"there is no such file"),
        ("model.pt", WeightsError, r"there is no such file"),
        ("densenet121.Nothing", ConfigurationError, r"unknown weights"),
    ],
)
def test_unknown_weights_are_refused(weights: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        load_encoder("densenet121", weights)


def test_stored_weights_of_another_architecture_are_refused(stored: Path) -> None:
    with pytest.raises(ConfigurationError, match="--architecture densenet121"):
        load_encoder("resnet50", str(stored))


def test_one_flipped_bit_is_noticed(stored: Path) -> None:
    data = bytearray(stored.read_bytes())
    data[-1000] ^= 1
    stored.write_bytes(data)
    with pytest.raises(WeightsError, match="has changed since it was imported"):
        load_encoder("densenet121", "radimagenet_torch")
    with pytest.raises(SystemExit):
        commands.verify()


@given(position=st.floats(0, 1), value=st.integers(0, 255))
def test_damaged_header_is_one_error(position: float, value: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    record = {"spec": CATALOGUE[NAME].to_dict(), "source": {"sha256": "0"}, "tensors_sha256": "0", "tool": "x"}
    record |= {"fingerprint": [], "num_parameters": 1}
    text = bytearray(json.dumps({"__metadata__": {"radimagenet": json.dumps(record)}}).encode())
    text[int(position * (len(text) - 1))] = value
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with contextlib.suppress(WeightsError):
        read_stored(path)


def test_renamed_or_outdated_file_is_refused(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = stored_path("densenet121.imagenet_torchvision")
    stored.rename(other)
    with pytest.raises(WeightsError, match=rf"holds {NAME}: it was renamed"):
        load_encoder("densenet121", "imagenet_torchvision")
    other.rename(stored)
    changed = replace(CATALOGUE[NAME], convention=CATALOGUE["densenet121.random"].convention)
    monkeypatch.setattr(store_module, "CATALOGUE", {**CATALOGUE, NAME: changed})
    with pytest.raises(WeightsError, match="with another input convention than this version's"):
        load_encoder("densenet121", "radimagenet_torch")


def test_verify_recomputes_the_fingerprint(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.verify()
    assert f"{NAME}: ok" in capsys.readouterr().out
    content = read_stored(stored)
    encoder = load_encoder("densenet121", str(stored))
    wrong = [value * 1.01 for value in content.record["fingerprint"]]
    provenance = {key: content.record[key] for key in ("source", "num_parameters")}
    store_module.write_stored(content.spec, encoder.state_dict(), {**provenance, "fingerprint": wrong})
    with pytest.raises(SystemExit):
        commands.verify(NAME)
    assert "differ by 9.9e-03 from those at import" in capsys.readouterr().out


def test_fingerprint_tells_conventions_apart(stored: Path) -> None:
    encoder = load_encoder("densenet121", str(stored))
    expected = take_fingerprint(encoder)
    assert fingerprint_difference(expected, take_fingerprint(encoder)) < 1e-6
    for tag in ("radimagenet_keras", "imagenet_torchvision", "random"):
        other = Encoder("densenet121", CATALOGUE[f"densenet121.{tag}"])
        other.backbone.load_state_dict(encoder.backbone.state_dict())
        assert fingerprint_difference(expected, take_fingerprint(other)) > 1e-2, tag
    assert fingerprint_difference(expected, expected[1:]) == float("inf")


def test_pattern_is_its_formula() -> None:
    image = fingerprint_image()
    assert image.shape == (1, 3, 224, 224)
    assert 0 <= float(image.min()) < float(image.max()) <= 1
    expected = 0.5 + 0.25 * np.sin(2 * np.pi * 7 * 10 / 224) + 0.25 * np.cos(2 * np.pi * 7 * 50 / 224)
    assert float(image[0, 2, 10, 50]) == pytest.approx(expected, abs=1e-6)
    assert PATTERN.startswith("0.5 + 0.25 sin(2 pi (3 + 2 c) row / 224)")


def test_trained_networks_checkpoints_and_bundles(stored: Path, tmp_path: Path) -> None:
    """An encoder trained here keeps convention and variant through every file it is saved in."""
    import_weights(stored)
    network = build_classifier("densenet121", weights="radimagenet_torch", num_classes=3)
    with torch.no_grad():
        network.encoder.backbone.features.norm5.bias.add_(1)
    expected = network.encoder.state_dict()
    bundle = tmp_path / "bundle"
    (bundle / "models").mkdir(parents=True)
    torch.save(network.state_dict(), bundle / "models" / "model.pt")
    torch.save({"settings": {}, "network": network.state_dict(), "epoch": 1}, tmp_path / "checkpoint.pt")
    torch.save(network.encoder.state_dict(), tmp_path / "encoder.pt")
    for path in (bundle, bundle / "models" / "model.pt", tmp_path / "checkpoint.pt", tmp_path / "encoder.pt"):
        state = build_encoder("densenet121", str(path)).state_dict()
        assert all(torch.equal(state[name], expected[name]) for name in expected)
    with pytest.raises(WeightsError, match=r"encoder of densenet121, .* give --architecture densenet121"):
        build_encoder("resnet50", str(bundle))
    with pytest.raises(ConfigurationError, match=r"give it a name of its own, such as --as densenet121\.my_training"):
        import_weights(bundle)
    report = import_weights(bundle, "densenet121.thyroid_v2")
    assert report.stored.spec.convention == CATALOGUE[NAME].convention
    assert report.stored.spec.variant == CATALOGUE[NAME].variant
    assert len(report.published.head) == 2
    state = load_encoder("densenet121", "thyroid_v2").state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert "thyroid_v2" in [item.tag for item in list_weights("densenet121")]
    with pytest.raises(ConfigurationError, match=r"thyroid_v2$"):
        load_encoder("densenet121", "imagenet")


def test_store_file_moves_to_another_store(
    file: Path, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADIMAGENET_HOME", str(tmp_path / "second"))
    report = import_weights(stored)
    assert report.stored.path != stored
    assert report.stored.record["source"] == read_stored(stored).record["source"]
    assert report.stored.path.read_bytes() == stored.read_bytes()
    with pytest.raises(WeightsError, match="import it without --as"):
        import_weights(stored, "imagenet_torchvision")


def test_foreign_file_as_weights_is_refused_with_the_way_out(file: Path) -> None:
    with pytest.raises(WeightsError, match="radimagenet weights import"):
        load_encoder("densenet121", str(file))


def test_identity_for_the_record_of_a_run(file: Path, stored: Path) -> None:
    assert identify_weights("densenet121", "random") == {"name": "densenet121.random"}
    identity = identify_weights("densenet121", "radimagenet_torch")
    assert identity["name"] == NAME
    assert identity["source_sha256"] == file_digest(file)
    assert len(identity["tensors_sha256"]) == 64
    assert identify_weights("densenet121", str(file)) == {"name": str(file), "sha256": file_digest(file)}


def test_place_of_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RADIMAGENET_HOME", str(tmp_path))
    assert weights_folder() == tmp_path / "weights"
    monkeypatch.delenv("RADIMAGENET_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert weights_folder() == tmp_path / "data" / "radimagenet" / "weights"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert weights_folder() == Path.home() / "Library" / "Application Support" / "radimagenet" / "weights"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert weights_folder() == tmp_path / "local" / "radimagenet" / "weights"


def test_commands_print_what_there_is(stored: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.where()
    assert capsys.readouterr().out.strip() == str(stored.parent)
    commands.list_("densenet121")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"* {NAME}") for line in lines)
    assert any(line.startswith("  densenet121.radimagenet_keras") for line in lines)
    commands.list_(json=True)
    listed = json.loads(capsys.readouterr().out)
    assert {item["name"] for item in listed} == set(CATALOGUE)
    commands.show(NAME)
    text = capsys.readouterr().out
    assert "BGR, (x * 255 - 127.5) / 127.5" in text
    assert file_digest(file) in text
    commands.show("resnet50.radimagenet_keras", json=True)
    content = json.loads(capsys.readouterr().out)
    assert content["path"] is None
    assert content["sha256"] == ["1f1d1c9fe6ab6980daa5e528145fe0db249c55415f8b3e1f3e3b1624d184f159"]
    with pytest.raises(ConfigurationError, match="unknown weights"):
        commands.show("resnet50.nothing")
    commands.import_(str(file), **{"as": NAME})
    assert f"imported as   {NAME}" in capsys.readouterr().out
    with pytest.raises(ConfigurationError, match="unknown flag --force"):
        commands.import_(str(file), force=True)


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from radimagenet_monai.weights import commands; commands.list_(); commands.where();"
        "commands.show('resnet50.random'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("module", [pretrained, store_module])
def test_examples_in_docstrings(module: object) -> None:
    tried = doctest.testmod(module)  # type: ignore[arg-type] # a module, of which typing knows no more
    assert tried.attempted > 0
    assert tried.failed == 0


def test_top_level_functions_are_those_documented() -> None:
    assert set(radimagenet_monai.__all__) <= set(dir(radimagenet_monai))
    assert radimagenet_monai.load_encoder is pretrained.load_encoder
    with pytest.raises(AttributeError, match="no attribute 'load_decoder'"):
        radimagenet_monai.load_decoder  # noqa: B018 - the access is the test
