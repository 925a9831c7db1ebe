"""Portable bundles: MONAI's parts give our probabilities where this package cannot be imported."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image
from released_bundle import BUNDLES
from shallow_densenet import shallow_densenet
from small_bundles import untrained
from written_series import dicom_slice, save

from radimagenet_monai import predict
from radimagenet_monai.collection.bundle_files import BundleError
from radimagenet_monai.collection.portable import NotPortableError, convert_network, make_portable, network_problem
from radimagenet_monai.collection.release import release_bundles
from radimagenet_monai.collection.verification.findings import Grade
from radimagenet_monai.collection.verification.verify import inspect_bundle, inspect_release
from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.integrations.prediction.trained_bundle import TrainedBundle
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow

CT = "covid19_ct_classification"
HEMORRHAGE = "intracranial_hemorrhage_ct_classification"
PICTURES = "radimagenet_resnet50_pretraining"
SIZE = 32


def trained(folder: Path, name: str, architecture: str, outputs: int, channels: int = 1, **facts: Any) -> Path:
    """A bundle with random weights whose batch statistics are those of images, so that no probability is 0 or 1."""
    bundle = Path(shutil.copytree(BUNDLES / name, folder / name, ignore=shutil.ignore_patterns("output")))
    torch.manual_seed(0)
    network = build_classifier(architecture, outputs, "random").train()
    with torch.no_grad():
        for _ in range(4):
            network(torch.rand(8, channels, SIZE, SIZE).square())
        logits = network.eval()(torch.rand(8, channels, SIZE, SIZE))
        network.head.weight /= logits.std()
    facts = {"architecture": architecture, "image_size": SIZE, "weights": "random", **facts}
    save_model(bundle / "models" / "model.pt", network, facts)
    return bundle


def pixels(size: int, seed: int, low: int, high: int) -> np.ndarray:
    """Whole numbers ``(size, size)``, coarse and fine structure; no symmetry."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(low, high, (size // 8, size // 8)), np.ones((8, 8), int))
    return np.clip(coarse + rng.integers(-30, 30, (size, size)), low, high)


def slices(folder: Path, size: int, **elements: Any) -> Path:
    """CT slices with a border of padding."""
    folder.mkdir(parents=True)
    for number in range(2):
        stored = pixels(size, number, -1000, 400)
        stored[:3] = -2000
        elements = {"PixelSpacing": ["0.7", "0.7"], "PixelPaddingValue": -2000, **elements}
        save(dicom_slice(stored.astype(np.int16), **elements), folder / f"{number}.dcm")
    return folder


def pictures(folder: Path, size: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(2):
        Image.fromarray(pixels(size, number, 0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A trained bundle and its portable form."""
    folder = tmp_path_factory.mktemp("portable")
    bundle = trained(folder, CT, "densenet121", 2, classes=["clear", "ill"], threshold=0.4)
    portable = Path(shutil.copytree(bundle, folder / f"{CT}_portable"))
    make_portable(bundle, portable, portable.name)
    return bundle, portable


def inputs(ct: tuple[Path, Path], config: str, folder: Path, shrink: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What the network of the portable form and that of the bundle get of each file."""
    bundle, portable = ct
    parser = ConfigParser()
    parser.read_config(portable / "configs" / f"{config}.json")
    parser["dataset_dir"], parser["shrink"], parser["bundle_root"] = str(folder), shrink, str(portable)
    dataset = parser.get_parsed_content("dataset")
    ours = TrainedBundle(bundle)
    found = []
    for number, path in enumerate(sorted(folder.iterdir())):
        item: Any = ours.before[0].of_slices(list(ours.images_in(str(path))), str(path))
        image = torch.as_tensor(item["image"]).as_subclass(torch.Tensor)
        expected = ours.network.encoder.input_norm(image[None])[0]
        assert expected.std() > 0.1
        found.append((torch.as_tensor(dataset[number]["image"]).as_subclass(torch.Tensor), expected))
    return found


@pytest.mark.parametrize(("config", "files"), [("inference", slices), ("inference_pictures", pictures)])
@pytest.mark.parametrize("factor", [pytest.param(1, marks=pytest.mark.long), 2])
def test_the_network_gets_what_ours_gets(
    ct: tuple[Path, Path], config: str, files: Any, factor: int, tmp_path: Path
) -> None:
    for image, expected in inputs(ct, config, files(tmp_path / "images", SIZE * factor), factor):
        torch.testing.assert_close(image, expected, rtol=0, atol=1e-5)


def test_what_monais_reader_does_with_headers(ct: tuple[Path, Path], tmp_path: Path) -> None:
    """It takes the rescale pair, and leaves MONOCHROME1 as it is; `docs/how-to/portable.md` says so."""
    rescaled = slices(tmp_path / "rescaled", SIZE, RescaleSlope="2", RescaleIntercept="-24")
    for image, expected in inputs(ct, "inference", rescaled, 1):
        torch.testing.assert_close(image, expected, rtol=0, atol=1e-5)
    inverted = slices(tmp_path / "inverted", SIZE, PhotometricInterpretation="MONOCHROME1")
    for image, expected in inputs(ct, "inference", inverted, 1):
        assert (image - expected).abs().max() > 0.5


def test_another_size_ends_with_an_error(ct: tuple[Path, Path], tmp_path: Path) -> None:
    parser = ConfigParser()
    parser.read_config(ct[1] / "configs" / "inference.json")
    parser["dataset_dir"], parser["shrink"] = str(slices(tmp_path / "images", 48)), 2
    with pytest.raises(RuntimeError, match="ConcatItemsd"):
        parser.get_parsed_content("dataset")[0]


REFUSED = {
    "breast_mass_us_classification": "cropped to the scan",
    "acl_tear_mri_classification": "percentiles",
    "thyroid_nodule_us_segmentation": "only classifiers",
}


@pytest.mark.parametrize("names", [list(REFUSED)[:1], pytest.param(list(REFUSED), marks=pytest.mark.long)])
def test_what_monai_cannot_compute_is_refused_by_name(names: list[str], tmp_path: Path) -> None:
    with shallow_densenet():
        for name in names:
            untrained(name, tmp_path / "bundles", weights="random")
        with pytest.raises(BundleError, match="Nothing was released") as error:
            release_bundles(tmp_path / "bundles", tmp_path / "out", portable=True)
    for name in names:
        assert re.search(f"{name}: [^;]*{REFUSED[name]}", str(error.value)), name
    assert not (tmp_path / "out").exists()


def test_networks_that_monai_lacks_are_refused() -> None:
    with pytest.raises(NotPortableError, match="MONAI has no inceptionv3"):
        convert_network(build_classifier("inceptionv3", 2))
    network = build_classifier("resnet50", 2)
    network.encoder.variant[1] = 1
    with pytest.raises(NotPortableError, match="Keras' strides"):
        convert_network(network)


def test_the_profile_finds_what_a_platform_lacks(ct: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, portable = ct
    assert inspect_bundle(portable, profile="portable").problems == []
    ordinary = inspect_bundle(bundle, profile="portable")
    assert ordinary.grade is Grade.UNKNOWN
    assert "'radimagenet_monai.io.LoadNativeImaged' is not of monai, torch, ignite" in "\n".join(ordinary.problems)

    changed = Path(shutil.copytree(portable, tmp_path / portable.name))
    config = changed / "configs" / "inference.json"
    content = json.loads(config.read_text())
    content["imports"].append("$import radimagenet_monai.engine as engine")
    config.write_text(json.dumps(content))
    assert inspect_bundle(changed).grade in (None, Grade.STYLE)
    assert {finding.subject for finding in inspect_bundle(changed, profile="portable").findings} == {
        "radimagenet_monai.engine"
    }


@pytest.mark.long
def test_a_network_with_other_outputs_is_found(ct: tuple[Path, Path], tmp_path: Path) -> None:
    changed = Path(shutil.copytree(ct[1], tmp_path / ct[1].name))
    model = changed / "models" / "model.pt"
    state = torch.load(model, weights_only=True)
    state["class_layers.out.bias"][0] += 0.01
    save_model(model, _holds(state), json.loads(model.with_suffix(".json").read_text()))
    assert "does not give the outputs" in "\n".join(inspect_bundle(changed, profile="portable").problems)


def test_the_comparison_is_bounded_whatever_a_bundle_states(tmp_path: Path) -> None:
    for name in ("configs", "models"):
        (tmp_path / name).mkdir()
    (tmp_path / "configs" / "inference.json").write_text('{"network_def": {}}')
    for size, channels in ((10**7, 1), (64, 10**9)):
        stated = {"portable": {"image_size": size, "channels": channels}}
        (tmp_path / "models" / "model.json").write_text(json.dumps(stated))
        assert "too large to compare" in str(network_problem(tmp_path))


def _holds(state: Mapping[str, torch.Tensor]) -> Any:
    class Holds(torch.nn.Module):
        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return dict(state)

    return Holds()


# Runs `python -m monai.bundle` where neither this package nor OpenCV can be imported.
ELSEWHERE = """
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("radimagenet_monai", "cv2"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocked())
sys.argv = ["monai.bundle", *sys.argv[1:]]
runpy.run_module("monai.bundle", run_name="__main__")
"""


def run_elsewhere(portable: Path, config: str, images: Path, out: Path, shrink: int) -> dict[str, list[float]]:
    """Probabilities by file name."""
    place = ["--config_file", portable / "configs" / config, "--bundle_root", portable, "--dataset_dir", images]
    command = [sys.executable, "-c", ELSEWHERE, "run", *place, "--output_dir", out, "--shrink", shrink]
    done = subprocess.run(
        list(map(str, command)), cwd=images.parent, capture_output=True, text=True, check=False, env={"PATH": ""}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with open(out / "predictions.csv", newline="") as stream:
        return {Path(row[0]).name: list(map(float, row[1:])) for row in csv.reader(stream)}


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "architecture", "outputs", "channels", "config", "files"),
    [
        (CT, "densenet121", 2, 1, "inference.json", slices),
        (CT, "resnet50", 2, 1, "inference_pictures.json", pictures),
        (HEMORRHAGE, "resnet50", 6, 3, "inference.json", slices),
        (HEMORRHAGE, "densenet121", 6, 3, "inference_pictures.json", pictures),
        (PICTURES, "resnet50", 165, 1, "inference.json", pictures),
    ],
)
def test_probabilities_elsewhere_are_those_of_the_command_line(
    name: str, architecture: str, outputs: int, channels: int, config: str, files: Any, tmp_path: Path
) -> None:
    bundle = trained(tmp_path / "bundles", name, architecture, outputs, channels)
    release_bundles(bundle.parent, tmp_path / "release", portable=True, weights="include")
    found = inspect_release(tmp_path / "release", profile="portable")
    assert [problem for verified in found.values() for problem in verified.problems] == []
    portable = tmp_path / "release" / "huggingface" / f"{name}_portable"
    for factor in (1, 2):
        images = files(tmp_path / f"images_{factor}", SIZE * factor)
        probabilities = run_elsewhere(portable, config, images, tmp_path / f"out_{factor}", factor)
        predictions = predict(bundle, sorted(images.iterdir()))
        assert len(predictions) == len(probabilities) == 2
        for prediction in predictions:
            (one,) = prediction.slices
            assert 0.001 < max(one["probabilities"]) < 0.999
            np.testing.assert_allclose(
                probabilities[Path(prediction.files[0]).name], one["probabilities"], rtol=0, atol=1e-5
            )
