"""Training learns what the labels say, and nothing when the labels say nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bundle_runs import TINY, copy_bundle, run_workflow

from radimagenet_monai.datasets import prepare, read_records, write_records
from radimagenet_monai.phantoms import write_phantom

NAME = "breast_mass_us_classification"
LEARNING = {**TINY, "batch_size": 16, "max_epochs": 10}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of 320 phantoms, and their records."""
    folder = tmp_path_factory.mktemp("learning")
    data = write_phantom("busi", folder / "data", patients=320, seed=1, size=(96, 128), workers=2, progress=False)
    records, _ = prepare("busi", data, folder / "prepared")
    return data, records


def held_out_auc(bundle: Path, data: Path, training_records: Path, test_records: Path) -> dict:
    """Train on one table, evaluate the test split of another, and return the AUC with its interval."""
    run_workflow(bundle, "train", dataset_dir=str(data), datalist=str(training_records), **LEARNING)
    run_workflow(bundle, "evaluate", dataset_dir=str(data), datalist=str(test_records), num_workers=0)
    report = json.loads((bundle / "output" / "evaluation" / "evaluation.json").read_text())
    return report["metrics"]["auc"]


def test_held_out_phantoms_are_told_apart(phantoms: tuple[Path, Path], tmp_path: Path) -> None:
    data, records = phantoms
    auc = held_out_auc(copy_bundle(NAME, tmp_path), data, records, records)
    assert auc["auc"] >= 0.85
    assert auc["low"] > 0.6


def test_shuffled_labels_teach_nothing(phantoms: tuple[Path, Path], tmp_path: Path) -> None:
    data, records = phantoms
    frame = read_records(records)
    learned_from = frame["split"].isin(["train", "validation"]).to_numpy()
    labels = frame["label"].to_numpy(copy=True)
    labels[learned_from] = np.random.default_rng(0).permutation(labels[learned_from])
    write_records(frame.assign(label=labels), tmp_path / "shuffled.csv")
    auc = held_out_auc(copy_bundle(NAME, tmp_path), data, tmp_path / "shuffled.csv", records)
    assert auc["low"] < 0.5 < auc["high"]
