"""Federated learning by MONAI's own client: two sites, two rounds, and a global model that evaluates."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bundle_runs import REPOSITORY, TINY, copy_bundle, run_workflow
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject

from radimagenet_monai.core.errors import WeightsError
from radimagenet_monai.engine.trained.global_model import save_global_model
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_classification"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def averaged(sites: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {name: np.mean([np.asarray(site[name]) for site in sites], axis=0) for name in sites[0]}


@pytest.mark.long
def test_two_sites_and_two_rounds(busi: Path, few_records: Callable[[str], Path], tmp_path: Path) -> None:
    table = pd.read_csv(few_records(NAME))
    algos, bundles = [], []
    for number in (0, 1):
        bundle = copy_bundle(NAME, tmp_path / f"site-{number}")
        table[(table.index % 2 == number) | (table["split"] != "train")].to_csv(tmp_path / f"{number}.csv", index=False)
        keys = {**TINY, "dataset_dir": str(busi), "datalist": str(tmp_path / f"{number}.csv")}
        algo = MonaiAlgo(str(bundle), send_weight_diff=False, train_kwargs=keys, eval_kwargs=dict(keys))
        algo.initialize({ExtraItems.CLIENT_NAME: f"site-{number}"})
        algos.append(algo)
        bundles.append(bundle)
    torch.manual_seed(3)
    weights: dict[str, Any] = build_classifier("densenet121").state_dict()
    for round_number in (1, 2):
        found = []
        for algo, bundle in zip(algos, bundles, strict=True):
            before = contents(bundle / "models")
            metrics = algo.evaluate(ExchangeObject(weights=weights)).metrics
            assert 0 <= metrics["val_auc"] <= 1
            assert contents(bundle / "models") == before, "an evaluation writes no model"
            assert not (bundle / "output" / "evaluation").exists()
            algo.train(ExchangeObject(weights=weights))
            found.append(algo.get_weights().weights)
            assert algo.trainer.state.epoch == round_number
        weights = averaged(found)
    for algo in algos:
        algo.finalize()
    bundle = copy_bundle(NAME, tmp_path / "global")
    save_global_model(bundle, weights, bundles[0], {"sites": 2, "rounds": 2})
    facts = json.loads((bundle / "models" / "model.json").read_text())
    assert (facts["architecture"], facts["image_size"], facts["sites"]) == ("densenet121", 32, 2)
    assert not {"threshold", "val_auc", "source"} & facts.keys(), "what one site alone chose or measured"
    run_workflow(bundle, "evaluate", dataset_dir=str(busi), datalist=str(few_records(NAME)), num_workers=0)
    evaluation = json.loads((bundle / "output" / "evaluation" / "evaluation.json").read_text())
    assert 0 <= evaluation["metrics"]["auc"]["auc"] <= 1
    with pytest.raises(WeightsError, match="1 tensors of the global model are not those of"):
        save_global_model(bundle, {**weights, "other": np.zeros(1)}, bundles[0])


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("nvflare") is None, reason="nvflare is not installed")
def test_the_simulation_of_the_how_to(busi: Path, tmp_path: Path) -> None:
    """The whole page, as typed: NVFlare's own simulator, a process for each site, and the evaluation at the end."""
    page = (REPOSITORY / "docs" / "how-to" / "federated.md").read_text(encoding="utf-8")
    typed = [line for line in page.splitlines() if line.startswith("python ")]
    assert len(typed) == 2
    keys = {"dataset_dir": str(busi), "architecture": "densenet121", "image_size": 32, "batch_size": 16}
    keys["num_workers"] = 0
    for site in ("site-1", "site-2"):
        copy_bundle(NAME, tmp_path / "sites" / site).rename(tmp_path / "sites" / site / "bundle")
        (tmp_path / "sites" / site / "keys.json").write_text(json.dumps({"train": keys, "evaluate": keys}))
    copy_bundle(NAME, tmp_path / "bundles")
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for line in typed:
        words = [
            sys.executable if word == "python" else str(busi) if word == "D" else word for word in shlex.split(line)
        ]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    bundle = tmp_path / "global" / NAME
    assert json.loads((bundle / "models" / "model.json").read_text())["rounds"] == 2
    assert (bundle / "output" / "evaluation" / "evaluation.json").is_file()
