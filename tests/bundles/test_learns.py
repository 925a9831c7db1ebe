"""Training learns what the labels say, and the test part has no share in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from bundle_runs import TINY, copy_bundle, run_workflow
from shallow_densenet import shallow_densenet

from radimagenet_monai.datasets import read_records, write_records
from radimagenet_monai.engine.trained.encoder_file import save_encoder
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_classification"
PATIENTS = {"train": 64, "validation": 16, "test": 32}
EDGE = 64
LEARNING = {**TINY, "image_size": EDGE, "batch_size": 16, "max_epochs": 3, "learning_rate": 0.01, "freeze": "encoder"}


def draw(generator: np.random.Generator, marked: bool) -> np.ndarray:
    """Speckle, with a bright bar somewhere if ``marked``."""
    image = generator.normal(90, 12, (EDGE, EDGE))
    if marked:
        top, left = generator.integers(4, 40, 2)
        image[top : top + 16, left : left + 20] += 110
    return np.clip(image, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Path:
    """Images and ``records.csv``: a bar is malignant."""
    folder = tmp_path_factory.mktemp("learning")
    generator = np.random.default_rng(seed)
    rows = []
    for split in (split for split, count in PATIENTS.items() for _ in range(count)):
        number = len(rows)
        cv2.imwrite(str(folder / f"{number}.png"), draw(generator, bool(number % 2)))
        label = ("benign", "malignant")[number % 2]
        rows.append({"image": f"{number}.png", "label": label, "split": split, "patient_id": f"p{number}"})
    write_records(pd.DataFrame(rows), folder / "records.csv")
    return folder


@pytest.fixture(scope="module")
def encoder(data: Path, seed: int) -> Path:
    """Random convolutions with the batch norm statistics of the images: a head on them is a convex problem, which is
    solved for any seed, where a whole network trained for seconds would have to be lucky."""
    torch.manual_seed(seed)
    with shallow_densenet():
        network = build_classifier("densenet121")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    images = [cv2.imread(str(data / f"{number}.png"), cv2.IMREAD_GRAYSCALE) for number in range(64)]
    with torch.no_grad():
        network.train()(torch.from_numpy(np.stack(images)[:, None] / np.float32(255)))
    with shallow_densenet():
        save_encoder(data / "encoder.safetensors", network, {"epoch": 0})
    return data / "encoder.safetensors"


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, data: Path, encoder: Path, seed: int) -> Path:
    """The bundle trained on them."""
    bundle = copy_bundle(NAME, tmp_path_factory.mktemp("taught"))
    run_workflow(bundle, "train", dataset_dir=str(data), weights=str(encoder), seed=seed, **LEARNING)
    return bundle


def evaluation(bundle: Path, data: Path, datalist: Path, out: Path) -> tuple[dict[str, Any], list[float]]:
    """The AUC in the test part of a table, and the probabilities."""
    place = {"dataset_dir": str(data), "datalist": str(datalist), "output_dir": str(out), "num_workers": 0}
    run_workflow(bundle, "evaluate", **place)
    probabilities = pd.read_csv(out / "predictions.csv")["probability_malignant"].tolist()
    return json.loads((out / "evaluation.json").read_text())["metrics"]["auc"], probabilities


@pytest.mark.learns
def test_held_out_images_are_told_apart(taught: Path, data: Path, tmp_path: Path) -> None:
    auc, _ = evaluation(taught, data, data / "records.csv", tmp_path)
    # 1.000 for seeds 0 to 9, with the kernels of AVX2 and with ATEN_CPU_CAPABILITY=default.
    assert auc["auc"] > 0.85


@pytest.mark.long
def test_labels_of_the_test_part_do_not_enter_training(
    taught: Path, data: Path, encoder: Path, tmp_path: Path, seed: int
) -> None:
    """With the opposite labels there, the weights are the same bit for bit, and the AUC is the complement."""
    frame = read_records(data / "records.csv")
    other = {"benign": "malignant", "malignant": "benign"}
    tested = frame["split"] == "test"
    frame.loc[tested, "label"] = frame.loc[tested, "label"].map(other)
    write_records(frame, tmp_path / "swapped.csv")
    bundle = copy_bundle(NAME, tmp_path)
    place = {"dataset_dir": str(data), "datalist": str(tmp_path / "swapped.csv")}
    run_workflow(bundle, "train", **place, weights=str(encoder), seed=seed, **LEARNING)
    one, two = (torch.load(folder / "models" / "model.pt", weights_only=True) for folder in (taught, bundle))
    assert [name for name in one if not torch.equal(one[name], two[name])] == []

    auc, probabilities = evaluation(taught, data, data / "records.csv", tmp_path / "as_they_are")
    swapped, the_same = evaluation(taught, data, tmp_path / "swapped.csv", tmp_path / "swapped")
    assert probabilities == the_same
    assert swapped["auc"] == pytest.approx(1 - auc["auc"], abs=1e-12)
