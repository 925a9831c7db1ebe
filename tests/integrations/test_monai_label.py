"""MONAI Label's real server with bundles of this project: ``make test-label``."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bundle_runs import TINY, copy_bundle, run_whole_workflow
from PIL import Image
from pydicom.data import get_testdata_file
from written_series import write_nifti, write_series

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.integrations.monai_label import install_app, server_process
from radimagenet_monai.phantoms import write_phantom

CLASSIFIER, SEGMENTER = "breast_mass_us_classification", "breast_mass_us_segmentation"
CT = "covid19_ct_classification"

NOT_INSTALLED = pytest.mark.skipif(
    importlib.util.find_spec("monailabel") is None,
    reason="MONAI Label is not installed; 'make test-label' has an environment with it",
)


def random_model(bundle: Path, classes: list[str]) -> None:
    """A model of random weights with the facts of a small one."""
    from radimagenet_monai.engine.trained.model_file import save_model
    from radimagenet_monai.engine.trained.stated_facts import state_trained_facts
    from radimagenet_monai.models import build_classifier

    torch.manual_seed(0)
    network = build_classifier("densenet121", num_classes=len(classes), weights="random")
    (bundle / "models").mkdir(exist_ok=True)
    facts = {"architecture": "densenet121", "image_size": 64, "classes": classes, "aggregate": "mean"}
    save_model(bundle / "models" / "model.pt", network, facts)
    state_trained_facts(bundle)


def test_an_app_holds_copies_of_trained_bundles(tmp_path: Path) -> None:
    bundle = copy_bundle(CLASSIFIER, tmp_path)
    with pytest.raises(ConfigurationError, match="train the bundle"):
        install_app(tmp_path / "app", [bundle])
    with pytest.raises(ConfigurationError, match="no configs"):
        install_app(tmp_path / "app", [tmp_path])
    random_model(bundle, ["benign", "malignant"])
    (bundle / "output").mkdir()
    app = install_app(tmp_path / "app", [bundle])
    copied = app / "model" / CLASSIFIER
    assert file_digest(copied / "models" / "model.pt") == file_digest(bundle / "models" / "model.pt")
    assert not (copied / "output").exists()
    assert len((app / "main.py").read_text().splitlines()) < 10
    with pytest.raises(ConfigurationError, match="two bundles of the name"):
        install_app(app, [bundle])
    with pytest.raises(ConfigurationError, match="other files"):
        install_app(bundle / "configs", [bundle])


@pytest.mark.skipif(importlib.util.find_spec("monailabel") is not None, reason="MONAI Label is installed")
def test_a_server_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"pip install --no-deps -r requirements/monai_label\.txt"):
        server_process(tmp_path, "studies")


@pytest.mark.parametrize("client", ["monai_label", "monai_deploy"])
def test_the_required_versions_are_those_of_the_tested_set(client: str) -> None:
    root = Path(__file__).parents[2]
    tested, wanted = (
        dict(
            line.lower().replace("_", "-").split("==")
            for line in (root / name).read_text().splitlines()
            if "==" in line
        )
        for name in ("constraints.txt", f"requirements/{client}.txt")
    )
    assert {name: tested[name] for name in wanted if name in tested} == {
        name: version for name, version in wanted.items() if name in tested
    }


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three small bundles, a folder of images, a CT series and the same as a volume."""
    folder = tmp_path_factory.mktemp("clinic")
    busi = write_phantom("busi", folder / "busi", patients=40, seed=3, size=(72, 96), progress=False)
    places = {"busi": busi, "studies": folder / "studies"}
    places["studies"].mkdir()
    for kind in ("benign", "malignant"):
        for image in sorted(path for path in busi.rglob(f"{kind} (*).png") if "mask" not in path.name)[:10]:
            shutil.copy(image, places["studies"] / f"{kind}{image.stem.partition('(')[2].rstrip(')')}.png")
    # The second is a clip of 30 frames with a scan region, outside of which the image is cropped.
    for name in ("examples_rgb_color.dcm", "examples_ybr_color.dcm"):
        shutil.copy(str(get_testdata_file(name, download=False)), places["studies"] / name)
    voxels = np.random.default_rng(0).integers(-900, 100, (40, 44, 20)).astype(np.int16)
    affine = np.array([[-0.8, 0, 0, 10], [0, -0.8, 0, 20], [0, 0, 3.0, -5], [0, 0, 0, 1.0]])
    places["series"] = write_series(folder / "series", voxels, affine)
    places["volume"] = write_nifti(folder / "volume.nii.gz", voxels, affine)
    for name, epochs in ((CLASSIFIER, 1), (SEGMENTER, 4)):  # fewer leave its masks empty
        places[name] = copy_bundle(name, folder)
        run_whole_workflow(
            places[name], "train", dataset_dir=str(busi), max_epochs=epochs, **{**TINY, "image_size": 64}
        )
    places[CT] = copy_bundle(CT, folder)
    random_model(places[CT], ["negative", "positive"])
    return places


def cli(bundle: Path, images: Path, out: Path) -> Path:
    """One image at a time, as the server does: float32 sums of larger batches differ by a millionth."""
    run_whole_workflow(bundle, "inference", dataset_dir=str(images), output_dir=str(out), num_workers=0, batch_size=1)
    return out


def check_as_the_command_line(server: Any, app: Path, clinic: dict[str, Path], out: Path) -> None:
    """Every answer of the server equals that of ``inference.json``, for pictures, DICOM, clips, series and volumes."""
    studies = clinic["studies"]
    predictions = pd.read_csv(cli(app / "model" / CLASSIFIER, studies, out / "c") / "predictions.csv")
    columns = [name for name in predictions.columns if name.startswith("probability_")]
    images = sorted(path for path in studies.iterdir() if path.suffix in (".png", ".dcm"))
    assert len(images) == 22
    for image in images:
        expected = predictions.loc[predictions["file"] == image.name, columns].mean()
        found = server.probabilities(CLASSIFIER, image.stem)
        for column in columns:
            assert abs(found[column.removeprefix("probability_")] - expected[column]) <= 1e-6, image.name

    masks = cli(app / "model" / SEGMENTER, studies, out / "s") / "masks"
    both = set()
    for image in images:
        found = sorted(masks.glob(f"{image.stem}.png")) or sorted(masks.glob(f"{image.stem}_frame*.png"))
        expected = np.stack([np.asarray(Image.open(path)) for path in found]) > 0
        extension = ".png" if len(found) == 1 else ".nii.gz"
        answer = server.infer(SEGMENTER, image.stem, "image", result_extension=extension, result_dtype="uint8")
        got = out / f"answer{extension}"
        got.write_bytes(answer.content)
        if extension == ".png":
            mask = np.asarray(Image.open(got))[None]
        else:
            import nibabel as nib

            mask = np.asarray(nib.load(got).dataobj).T
        assert np.array_equal(mask > 0, expected), image.name
        both |= set(np.unique(expected).tolist())
    assert both == {False, True}

    for place in ("series", "volume"):
        exams = pd.read_csv(cli(app / "model" / CT, clinic[place], out / place) / "exams.csv")
        (probability,) = exams[[name for name in exams.columns if name.startswith("probability_")]].iloc[:, -1]
        found = list(server.probabilities(CT, clinic[place]).values())
        assert abs(found[-1] - probability) <= 1e-6, place


def label(server: Any, clinic: dict[str, Path], kind: str) -> None:
    """Labels of 12 images, as JSON or as masks."""
    images = sorted(clinic["studies"].glob("*.png"))[4:16]
    for image in images:
        name, number = ("benign", image.stem[6:]) if image.stem.startswith("benign") else ("malignant", image.stem[9:])
        if kind == "class":
            server.save_label(image.stem, f"{image.stem}.json", json.dumps({"label": name}).encode())
        else:
            (mask,) = clinic["busi"].rglob(f"{name} ({number})_mask.png")
            server.save_label(image.stem, f"{image.stem}.png", mask.read_bytes())


def check_training(server: Any, app: Path, clinic: dict[str, Path]) -> None:
    """Training goes on from the model with its architecture and size; the next answer is that of the new weights."""
    for model, kind in ((CLASSIFIER, "class"), (SEGMENTER, "mask")):
        label(server, clinic, kind)
        bundle = app / "model" / model
        for _ in range(2 if kind == "class" else 1):
            before = json.loads((bundle / "models" / "model.json").read_text())
            server.train(model, max_epochs=1)
            now = json.loads((bundle / "models" / "model.json").read_text())
            assert now["continued_from"] == before["sha256"] != now["sha256"]
            assert (now["architecture"], now["image_size"]) == ("densenet121", 64)
        stored = np.concatenate([np.load(path) for path in (bundle / "output").glob("labels_*/store/*/*/images.npy")])
        assert len(stored) == (24 if kind == "class" else 12)
        if kind == "mask":
            assert (stored[..., -1] > 0).any(axis=(1, 2)).all()


def check_connections(server: Any) -> None:
    elsewhere = [
        address for address in server.connected_to() if address.startswith("(") and "'127.0.0.1'" not in address
    ]
    assert elsewhere == []


@pytest.mark.long
@NOT_INSTALLED
def test_the_unmodified_sample_app(clinic: dict[str, Path], tmp_path: Path) -> None:
    from label_server import running

    app = Path(shutil.copytree(Path(sys.prefix) / "monailabel" / "sample-apps" / "monaibundle", tmp_path / "app"))
    for name in (CLASSIFIER, SEGMENTER, CT):
        shutil.copytree(clinic[name], app / "model" / name, ignore=shutil.ignore_patterns("output"))
    studies = Path(shutil.copytree(clinic["studies"], tmp_path / "studies"))
    with running(app, studies, [CLASSIFIER, SEGMENTER, CT]) as server:
        check_training(server, app, clinic)
        check_as_the_command_line(server, app, clinic, tmp_path)
        check_connections(server)


@pytest.mark.long
@NOT_INSTALLED
def test_our_own_app(clinic: dict[str, Path], tmp_path: Path) -> None:
    from label_server import running

    app = install_app(tmp_path / "app", [clinic[name] for name in (CLASSIFIER, SEGMENTER, CT)])
    studies = Path(shutil.copytree(clinic["studies"], tmp_path / "studies"))
    with running(app, studies) as server:
        info = server.send("GET", "info/").json()
        assert set(info["models"]) == set(info["trainers"]) == {CLASSIFIER, SEGMENTER, CT}
        assert {f"uncertainty_{CLASSIFIER}", f"uncertainty_{SEGMENTER}", "random", "first"} <= set(info["strategies"])
        check_training(server, app, clinic)
        check_as_the_command_line(server, app, clinic, tmp_path)
        check_least_sure(server, studies)
        refuse_unknown_class(server, app, clinic)
        check_connections(server)


def check_least_sure(server: Any, studies: Path) -> None:
    """The first image shown is the one with the largest entropy among those without a label."""
    key = f"uncertainty_{CLASSIFIER}"
    server.wait_for_scoring()
    server.send("POST", f"scoring/{key}", params={"run_sync": "true"}, json={})
    datastore = server.send("GET", "datastore/", params={"output": "all"}).json()["objects"]
    without = [name for name, entry in datastore.items() if "final" not in entry["labels"]]
    assert len(without) == 10

    def entropy(name: str) -> float:
        values = np.array(list(server.probabilities(CLASSIFIER, name).values()))
        return float(-(values * np.log2(values)).sum())

    expected = {name: entropy(name) for name in without}
    for name, value in expected.items():
        assert abs(datastore[name]["image"]["info"][key] - value) < 1e-5
    shown = server.send("POST", f"activelearning/{key}", json={}).json()
    assert shown["id"] == max(expected, key=expected.__getitem__)


def refuse_unknown_class(server: Any, app: Path, clinic: dict[str, Path]) -> None:
    import requests

    model = app / "model" / CLASSIFIER / "models" / "model.pt"
    before = file_digest(model)
    label(server, clinic, "class")  # the masks have taken their place
    server.save_label("benign1", "benign1.json", b'{"label": "normal"}')
    answer = requests.post(
        f"{server.address}/train/{CLASSIFIER}", params={"run_sync": "true"}, json={"device": "cpu"}, timeout=600
    )
    assert answer.status_code == 500
    server.wait_for_log("names the class 'normal'; this bundle knows 'benign', 'malignant'")
    assert file_digest(model) == before
