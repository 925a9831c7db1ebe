"""MONAI's, torch's and timm's own parts in a bundle, by keys or a second config file alone."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import pytest
import torch
from bundle_runs import REPOSITORY, copy_bundle, run_workflow
from monai.bundle import create_workflow
from sklearn.metrics import roc_auc_score
from torchvision_oracle import library

from radimagenet_monai.core import registry
from radimagenet_monai.core.errors import UsageError
from radimagenet_monai.engine.start.error_lines import user_error_line

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_classification"
# No architecture: a network of one's own has none.
TINY: dict[str, Any] = {"image_size": 32, "batch_size": 8, "learning_rate": 1e-3, "num_workers": 0}
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


RECIPE: dict[str, Any] = {
    "loss_function": {"_target_": "FocalLoss", "to_onehot_y": True, "use_softmax": True, "weight": "$[1.0, 2.0]"},
    "optimizer": {
        "_target_": "torch.optim.SGD",
        "params": "$@network.parameters()",
        "lr": "@learning_rate",
        "momentum": 0.9,
    },
    "lr_scheduler": {
        "_target_": "WarmupCosineSchedule",
        "optimizer": "@optimizer",
        "warmup_steps": 1,
        "t_total": "$@max_epochs + 1",
    },
    "validate::key_metric": {
        "val_accuracy": {
            "_target_": "ignite.metrics.Accuracy",
            "output_transform": "$lambda out: (torch.stack([i['pred'] for i in out]), "
            "torch.tensor([int(i['label']) for i in out]))",
        }
    },
    "+train::handlers": [{"_target_": "StatsHandler", "iteration_log": False, "name": "mine"}],
}
"""Loss, optimizer, schedule, metric and handler that are not the bundle's, as a second config file holds them."""

RECORDED = {
    "loss_function": {"_target_": "FocalLoss", "to_onehot_y": True, "use_softmax": True, "weight": [1.0, 2.0]},
    "optimizer": {"_target_": "torch.optim.SGD", "lr": 1e-3, "momentum": 0.9},
    "lr_scheduler": {"_target_": "WarmupCosineSchedule", "warmup_steps": 1, "t_total": 2},
}

PLUGGED_NET = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Conv2d(1, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
"""


def train_with(bundle: Path, override: dict[str, Any], **keys: Any) -> Any:
    """Train with a second config file."""
    mine = bundle.parent / "mine.json"
    mine.write_text(json.dumps(override))
    files = [str(bundle / "configs" / "train.json"), str(mine)]
    workflow = create_workflow(config_file=files, workflow_type="train", bundle_root=str(bundle), **TINY, **keys)
    workflow.run()
    workflow.finalize()
    return workflow


@pytest.mark.parametrize(
    ("network", "name", "kind"),
    [
        (SMALL_NETWORK, "monai.networks.nets.DenseNet", "monai.networks.nets.densenet.DenseNet"),
        pytest.param(
            {"_target_": "timm.create_model", "model_name": "efficientnet_b0", "in_chans": 1, "num_classes": 2},
            "timm.create_model(efficientnet_b0)",
            "timm.models.efficientnet.EfficientNet",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {
                "_target_": "EfficientNetBN",
                "model_name": "efficientnet-b0",
                "pretrained": False,
                "in_channels": 1,
                "num_classes": "$len(@classes)",
            },
            "EfficientNetBN(efficientnet-b0)",
            "monai.networks.nets.efficientnet.EfficientNetBN",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"_target_": "plugged_net.Net", "classes": "$len(@classes)"},
            "plugged_net.Net",
            "plugged_net.Net",
            marks=pytest.mark.long,
        ),
    ],
    ids=["small", "timm", "monai", "plug-in"],
)
def test_a_network_and_a_recipe_of_others_are_recorded_and_rebuilt(
    network: dict[str, Any],
    name: str,
    kind: str,
    data: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if name.startswith("timm"):
        library("torchvision")
        library("timm")
    if name.startswith("plugged"):
        (tmp_path / "plugged_net.py").write_text(PLUGGED_NET)
        (tmp_path / "plugged-1.dist-info").mkdir()
        (tmp_path / "plugged-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1\n")
        points = "[radimagenet_monai.datasets]\nmine = plugged_net\n"
        (tmp_path / "plugged-1.dist-info" / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(registry, "_entry_points", lambda group: tuple(entry_points(group=group)))
    bundle = copy_bundle(NAME, tmp_path)
    cached = training_parts("CacheDataset", progress=False)
    train_with(bundle, {"network_def": network, **RECIPE, **cached}, **data, max_epochs=1)
    facts = json.loads((bundle / "models" / "model.json").read_text())
    run = json.loads((bundle / "output" / "run.json").read_text())
    recorded = {"network_def": {key: 2 if value == "$len(@classes)" else value for key, value in network.items()}}
    for settings in (facts, run["settings"]):
        assert {key: settings[key] for key in (*RECORDED, *recorded)} == {**RECORDED, **recorded}
        assert settings["architecture"] == name
        assert settings["weights"] == "as network_def states"
    assert "weights" not in run, "the hash of an encoder that was not used"
    assert "val_accuracy" in facts

    # Neither of these is told of the network.
    evaluated = run_workflow(bundle, "evaluate", **data, batch_size=8, num_workers=0)
    built = type(evaluated.parser.get_parsed_content("network_def"))
    assert f"{built.__module__}.{built.__name__}" == kind
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    shutil.copy(evaluated.parser.get_parsed_content("dataset").data[0]["image"], pictures)
    run_workflow(bundle, "inference", dataset_dir=str(pictures), num_workers=0)
    assert (bundle / "output" / "inference" / "predictions.csv").is_file()
    loaded = monai.bundle.load(NAME, bundle_dir=tmp_path, device="cpu").eval()
    monai.bundle.ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(bundle / "models" / "model.pt"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / "inference.json"),
        bundle_root=str(bundle),
    )
    image = torch.rand(3, 1, 32, 32)
    trained = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(tensor, loaded.state_dict()[key]) for key, tensor in trained.items())
    with torch.inference_mode():
        torch.testing.assert_close(torch.jit.load(tmp_path / "model.ts").eval()(image), loaded(image))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"loss_function": {"_target_": "torch.nn.CrossEntropyLoss"}},
            "another loss_function (FocalLoss(to_onehot_y=True",
        ),
        ({"optimizer": {**RECIPE["optimizer"], "momentum": 0.5}}, "this run has torch.optim.SGD("),
        ({"network_def": {**SMALL_NETWORK, "growth_rate": 6}}, "another network_def (monai.networks.nets.DenseNet("),
    ],
    ids=["loss", "optimizer", "network"],
)
@pytest.mark.long
def test_a_run_is_not_resumed_with_another_recipe(
    change: dict[str, Any], message: str, data: dict[str, Any], tmp_path: Path
) -> None:
    bundle = copy_bundle(NAME, tmp_path)
    recipe = {"network_def": SMALL_NETWORK, **RECIPE}
    train_with(bundle, recipe, **data, max_epochs=1)
    with pytest.raises(RuntimeError) as caught:
        train_with(bundle, {**recipe, **change}, **data, max_epochs=2, resume=True)
    assert message in (user_error_line(caught.value) or "")
    # A schedule may follow the number of epochs.
    train_with(bundle, recipe, **data, max_epochs=2, resume=True)


@pytest.mark.parametrize(("key", "value"), [("architecture", "densenet121"), ("weights", "x"), ("freeze", "encoder")])
def test_keys_that_a_network_of_ones_own_does_not_use_are_refused(key: str, value: str, tmp_path: Path) -> None:
    bundle = copy_bundle(NAME, tmp_path)
    with pytest.raises(RuntimeError) as caught:
        run_workflow(bundle, "train", network_def=SMALL_NETWORK, **{key: value})
    line = user_error_line(caught.value) or ""
    assert line.startswith(f"error: --{key} {value} was given and has no effect: network_def is monai.networks.nets.D")
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, UsageError):
        cause = cause.__cause__
    assert cause is not None


@pytest.mark.long
def test_a_pretraining_takes_a_network_and_loaders_of_others(
    few_records: Callable[[str], Path], phantom: Callable[[str], Path], tmp_path: Path
) -> None:
    """The recipe's schedule and gathered batches work by batches then, and there is no encoder to save."""
    name = "radimagenet_densenet121_pretraining"
    bundle = copy_bundle(name, tmp_path)
    keys = {"dataset_dir": str(phantom("radimagenet")), "datalist": str(few_records(name)), "measure_rates": False}
    override = {"network_def": SMALL_NETWORK, "accumulate": 2, **training_parts("CacheDataset", progress=False)}
    train_with(bundle, override, **keys, max_epochs=1)
    facts = json.loads((bundle / "models" / "model.json").read_text())
    assert facts["schedule"]["_target_"].endswith("LearningRateSchedule")
    assert facts["network_def"]["out_channels"] == 165
    assert not (bundle / "output" / "encoder.safetensors").exists()
    run_workflow(bundle, "evaluate", **{key: keys[key] for key in ("dataset_dir", "datalist")}, num_workers=0)


def test_the_configs_of_the_page_are_taken(data: dict[str, Any], tmp_path: Path) -> None:
    library("torchvision")
    library("timm")
    page = (REPOSITORY / "docs" / "how-to" / "extend" / "monai_parts.md").read_text()
    blocks = [
        json.loads(block) for block in re.findall(r"```json\n(.*?)```", page.split("## Datasets and")[1], re.DOTALL)
    ]
    assert [next(iter(block)) for block in blocks] == ["train::dataset", "network_def", "loss_function"]
    bundle = copy_bundle(NAME, tmp_path)
    mine = tmp_path / "mine.json"
    for block in blocks:
        mine.write_text(json.dumps(block))
        files = [str(bundle / "configs" / "train.json"), str(mine)]
        workflow = create_workflow(config_file=files, workflow_type="train", bundle_root=str(bundle), **TINY, **data)
        recorded = workflow.parser.get_parsed_content("settings")
        for key in {"network_def", "loss_function", "optimizer", "lr_scheduler"} & block.keys():
            assert recorded[key]["_target_"] == block[key]["_target_"]
        for key in ("train::dataset", "train::dataloader"):
            found = workflow.parser.get_parsed_content(key)
            assert type(found).__name__ == block.get(key, {}).get("_target_", type(found).__name__)
