"""MONAI's, torch's and timm's own parts in a bundle, by keys or a second config file alone."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle_runs import TINY, copy_bundle, run_workflow
from sklearn.metrics import roc_auc_score

NAME = "breast_mass_us_classification"
NOISE = {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.5}
RESIZE = {"_target_": "Resized", "keys": "image", "spatial_size": [32, 32]}
SMALL_NETWORK = {
    "_target_": "monai.networks.nets.DenseNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": "$len(@classes)",
    "init_features": 8,
    "growth_rate": 4,
    "block_config": [2, 2],
}


def dataset(kind: str, items: str, *transforms: dict, **options: Any) -> dict[str, Any]:
    """One of MONAI's datasets over the records of a bundle."""
    return {"_target_": kind, "data": items, "transform": ["@preprocessing", RESIZE, *transforms], **options}


def loader(of: str, kind: str = "DataLoader", **options: Any) -> dict[str, Any]:
    return {"_target_": kind, "dataset": of, "batch_size": "@batch_size", **options}


def training_parts(kind: str, of: str = "DataLoader", **options: Any) -> dict[str, Any]:
    """Overrides that train and validate on MONAI's datasets and loaders."""
    return {
        "train::dataset": dataset(kind, "@train::items", NOISE, **options),
        "train::dataloader": loader("@train::dataset", of, shuffle=True),
        "validate::dataset": dataset(kind, "@validate::items", **options),
        "validate::dataloader": loader("@validate::dataset", of),
    }


@pytest.fixture
def data(busi: Path, few_records: Callable[[str], Path]) -> dict[str, Any]:
    """Overrides for few images."""
    return {"dataset_dir": str(busi), "datalist": str(few_records(NAME))}


def weights(bundle: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(bundle / "output" / "checkpoint.pt", weights_only=True)
    assert checkpoint["epoch"] == 2
    return checkpoint["network"]


@pytest.mark.parametrize(
    ("kind", "of", "options"),
    [
        pytest.param("CacheDataset", "DataLoader", {"progress": False}, marks=pytest.mark.long),
        pytest.param("Dataset", "ThreadDataLoader", {}, marks=pytest.mark.long),
        pytest.param(
            "PersistentDataset", "DataLoader", {"cache_dir": "$@output_dir + '/cache'"}, marks=pytest.mark.long
        ),
    ],
)
def test_a_run_on_monais_datasets_resumes_exactly_by_epoch(
    kind: str, of: str, options: dict, data: dict[str, Any], tmp_path: Path
) -> None:
    whole, resumed = (copy_bundle(NAME, tmp_path / folder) for folder in ("whole", "resumed"))
    keys = {**TINY, **data, "network_def": SMALL_NETWORK, **training_parts(kind, of, **options)}
    run_workflow(whole, "train", **keys, max_epochs=2)
    run_workflow(resumed, "train", **keys, max_epochs=1)
    run_workflow(resumed, "train", **keys, max_epochs=2, resume=True)
    expected, found = weights(whole), weights(resumed)
    assert expected.keys() == found.keys()
    assert [name for name in expected if not torch.equal(expected[name], found[name])] == []


@pytest.mark.long
def test_predictions_from_a_shuffled_cache_belong_to_their_images(data: dict[str, Any], tmp_path: Path) -> None:
    """``SmartCacheDataset`` shuffles its records when it is made; file names and labels must still fit."""
    bundle = copy_bundle(NAME, tmp_path)
    keys = {**TINY, **data, "network_def": SMALL_NETWORK}
    cache = {"cache_num": 1000, "progress": False}
    run_workflow(bundle, "train", **keys, max_epochs=1, **training_parts("SmartCacheDataset", **cache))
    evaluated = {
        "dataset": dataset("SmartCacheDataset", "@items", **cache),
        "dataloader": loader("@dataset"),
        "network_def": SMALL_NETWORK,
    }
    workflow = run_workflow(bundle, "evaluate", **data, batch_size=8, **evaluated)
    order = [item["index"] for item in workflow.dataset.data]
    assert order != sorted(order), "nothing was shuffled"
    with (bundle / "output" / "evaluation" / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(order) == 10
    # The folder of a BUSI image is its class.
    assert {row["label"] for row in rows if "/malignant/" in row["file"]} == {"malignant"}
    assert {row["label"] for row in rows if "/malignant/" not in row["file"]} == {"benign"}
    truth = np.array([row["label"] == "malignant" for row in rows])
    area = roc_auc_score(truth, [float(row["probability_malignant"]) for row in rows])
    assert 0 <= area <= 1
