"""train.json and evaluate.json together, as MONAI's model zoo tests bundles and federated learning evaluates them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import forks
import pytest
from bundle_runs import copy_bundle, run_workflow
from monai.bundle import ConfigWorkflow
from shallow_densenet import make_shallow, shallow_densenet

from radimagenet_monai.catalog.tasks import Kind, get_task
from radimagenet_monai.core.errors import UsageError
from radimagenet_monai.engine.start.error_lines import user_error_line
from radimagenet_monai.engine.trained.model_file import save_model
from radimagenet_monai.models import build_classifier, build_unet

pytestmark = pytest.mark.slow

CLASSIFICATION, SEGMENTATION = "breast_mass_us_classification", "breast_mass_us_segmentation"
PRETRAINING = "radimagenet_densenet121_pretraining"


def with_a_model(name: str, folder: Path) -> Path:
    """A bundle with a model as a run leaves it, of another size and architecture than the config's."""
    bundle, task = copy_bundle(name, folder), get_task(name)
    with shallow_densenet():
        network = (
            build_unet("densenet121")
            if task.kind is Kind.SEGMENTATION
            else build_classifier("densenet121", num_classes=len(task.classes))
        )
    facts = {"architecture": "densenet121", "image_size": 32, "classes": list(task.classes), "weights": "random"}
    save_model(bundle / "models" / "model.pt", network, facts)
    return bundle


def merged(bundle: Path, **overrides: object) -> ConfigWorkflow:
    """As the zoo's unit tests build it: of type "train", since its parts come from there."""
    return ConfigWorkflow(
        workflow_type="train",
        config_file=[str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")],
        logging_file=str(bundle / "configs" / "logging.conf"),
        meta_file=str(bundle / "configs" / "metadata.json"),
        bundle_root=str(bundle),
        num_workers=0,
        batch_size=8,
        **overrides,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", [CLASSIFICATION, SEGMENTATION, pytest.param(PRETRAINING, marks=pytest.mark.long)])
def test_it_evaluates_the_model_as_evaluate_json_alone_does(
    name: str, phantom: Callable[[str], Path], few_records: Callable[[str], Path], tmp_path: Path
) -> None:
    bundle = with_a_model(name, tmp_path)
    models = contents(bundle / "models")
    data = {"dataset_dir": str(phantom(get_task(name).dataset)), "datalist": str(few_records(name))}
    workflow = merged(bundle, **data)
    workflow.initialize()
    assert workflow.check_properties() == []
    workflow.run()
    workflow.finalize()
    run_workflow(bundle, "evaluate", **data, num_workers=0, batch_size=8, output_dir=str(tmp_path / "alone"))
    together = contents(bundle / "output" / "evaluation")
    # Settings of the run, such as the folder, differ.
    compared = {item for item in together if item.endswith(".csv") or item == "predictions.json"}
    assert compared
    assert {item: together[item] for item in compared} == {
        item: (tmp_path / "alone" / item).read_bytes() for item in compared
    }
    assert contents(bundle / "models") == models, "an evaluation changes no model"


@pytest.mark.parametrize(("name", "metric"), [(CLASSIFICATION, "val_auc"), (SEGMENTATION, "val_dice")])
def test_its_validation_measures_and_writes_nothing(
    name: str, metric: str, busi: Path, few_records: Callable[[str], Path], tmp_path: Path
) -> None:
    """What `workflow.evaluator` is, and so what `MonaiAlgo` evaluates with: validation data, and no file."""
    bundle = with_a_model(name, tmp_path)
    workflow = merged(bundle, dataset_dir=str(busi), datalist=str(few_records(name)), store_dir=str(tmp_path / "store"))
    workflow.initialize()
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    workflow.evaluator.run()
    assert 0 <= workflow.evaluator.state.metrics[metric] <= 1
    assert {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()} == before
    assert len(workflow.evaluator.data_loader.dataset) == len(workflow.parser.get_parsed_content("validate::records"))


def test_on_the_command_line(busi: Path, few_records: Callable[[str], Path], tmp_path: Path) -> None:
    bundle = with_a_model(CLASSIFICATION, tmp_path)
    configs = [str(bundle / "configs" / f"{name}.json") for name in ("train", "evaluate")]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(configs)]
    keys = {"bundle_root": bundle, "dataset_dir": busi, "datalist": few_records(CLASSIFICATION), "num_workers": 0}
    command += [part for key, value in keys.items() for part in (f"--{key}", str(value))]
    done = forks.run(command, cwd=tmp_path, env=dict(os.environ), first=make_shallow)
    assert done.returncode == 0, done.stderr
    assert (bundle / "output" / "evaluation" / "evaluation.json").is_file()


def test_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    workflow = merged(with_a_model(CLASSIFICATION, tmp_path), freze="encoder")
    with pytest.raises(RuntimeError) as caught:
        workflow.initialize()
    assert isinstance(caught.value.__cause__, UsageError)
    assert "did you mean --freeze?" in str(user_error_line(caught.value))
