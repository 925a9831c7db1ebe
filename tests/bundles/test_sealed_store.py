"""Bundles on a sealed store alone: the same items, training and evaluation as with the images."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bundle_runs import REPOSITORY, TINY, copy_bundle, run_workflow
from monai.bundle import ConfigParser

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.store.packing import pack_records

pytestmark = pytest.mark.slow

PRETRAINING = "radimagenet_densenet121_pretraining"
KINDS = [PRETRAINING, "intracranial_hemorrhage_ct_classification", "breast_mass_us_segmentation"]


@pytest.fixture(scope="module")
def pack(tmp_path_factory, few_records, phantom):
    """Pack few records of a bundle; gives its store, and the folder and table it was made from."""

    def make(name: str) -> tuple[Path, Path, Path]:
        store, table, root = tmp_path_factory.mktemp("store"), few_records(name), phantom(get_task(name).dataset)
        pack_records(table, store, size=TINY["image_size"], task=name, root=root, workers=0, progress=False)
        return store, table, root

    return make


def datasets(name: str, **settings: object) -> list:
    """Training and validation set of a bundle's train config."""
    parser = ConfigParser()
    parser.read_config(str(REPOSITORY / "bundles" / name / "configs" / "train.json"))
    parser.update({**TINY, **settings})
    return [parser.get_parsed_content(f"{part}#dataset") for part in ("train", "validate")]


@pytest.mark.parametrize("name", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.long) for kind in KINDS[1:])])
def test_items_are_those_made_from_the_images(name, pack, tmp_path):
    store, table, root = pack(name)
    sealed = datasets(name, store_dir=str(store))
    packed = datasets(name, store_dir=str(tmp_path / "store"), dataset_dir=str(root), datalist=str(table))
    for one, other in zip(sealed, packed, strict=True):
        assert len(one) == len(other) > 0
        for place in range(len(one)):
            first, second = one[place], other[place]
            assert set(first) == set(second)
            for key, value in first.items():
                if isinstance(value, torch.Tensor):
                    torch.testing.assert_close(value, second[key], rtol=0, atol=0, equal_nan=True)
                else:
                    assert value == second[key]


@pytest.mark.long
def test_training_and_evaluation_on_a_sealed_store_end_in_the_same_numbers(pack, tmp_path):
    store, table, root = pack(PRETRAINING)
    results = []
    for number, source in enumerate([{}, {"dataset_dir": str(root), "datalist": str(table)}]):
        bundle = copy_bundle(PRETRAINING, tmp_path / str(number))
        settings = {**TINY, **source, "store_dir": str(store)}
        run_workflow(bundle, "train", **settings, max_epochs=1, measure_rates=False, compile=False)
        run_workflow(bundle, "evaluate", **{key: value for key, value in settings.items() if key != "learning_rate"})
        report = next((bundle / "output").rglob("evaluation.json"))
        evaluation = json.loads(report.read_text())
        evaluation.pop("settings")
        predictions = (report.parent / "predictions.csv").read_text()
        results.append((torch.load(bundle / "models" / "model.pt", weights_only=True), evaluation, predictions))
    (weights, evaluation, predictions), (other_weights, other_evaluation, other_predictions) = results
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(weights[key], other_weights[key]) for key in weights)
    assert evaluation == other_evaluation
    assert predictions == other_predictions


def test_without_images_and_without_a_sealed_store_a_run_is_refused(tmp_path):
    bundle = copy_bundle(PRETRAINING, tmp_path)
    with pytest.raises(RuntimeError) as refused:
        run_workflow(bundle, "train", **TINY)
    assert isinstance(refused.value.__cause__, RecordsError)
    assert "--store_dir with a store that 'radimagenet pack' has sealed" in str(refused.value.__cause__)
