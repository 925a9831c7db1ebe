"""Every bundle of the repository, found by itself: files, metadata, properties."""

from __future__ import annotations

import importlib.resources
import json
import shutil
from pathlib import Path

import pytest
import torch
from bundle_runs import BUNDLES, copy_bundle
from monai.bundle import ConfigParser, create_workflow, verify_metadata, verify_net_in_out

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.cli import main
from radimagenet_monai.collection.render import released_tasks, stale_files
from radimagenet_monai.engine.trained.settings import SETTINGS

pytestmark = pytest.mark.slow

every_bundle = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def test_every_released_task_has_its_bundle() -> None:
    assert [bundle.name for bundle in BUNDLES] == sorted(task.name for task in released_tasks())


@every_bundle
def test_bundle_is_rendered_from_the_catalogue(bundle: Path) -> None:
    assert stale_files(bundle, get_task(bundle.name)) == []
    assert "_v" not in bundle.name
    assert not (bundle / "scripts").exists()


# They say where something is, how fast or how carefully a run works, or what is recorded elsewhere, as the plane is.
NOT_SETTINGS = {
    *("bundle_root", "dataset_dir", "datalist", "output_dir", "store_dir", "checkpoint", "mlflow", "imports"),
    *("device", "num_workers", "sync_batch_norm", "channels_last", "compile", "network", "tensorboard", "overlays"),
    *("resume", "overwrite", "checkpoint_minutes", "val_interval", "measure_rates", "unreadable"),
    *("allow_modality_mismatch", "ct_region", "plane", "evaluated_network", "initialize", "run", "handlers"),
}


@every_bundle
@pytest.mark.parametrize("config", ["train", "evaluate"])
def test_what_changes_a_result_is_recorded(bundle: Path, config: str) -> None:
    content = json.loads((bundle / "configs" / f"{config}.json").read_text())
    keys = {key for key, value in content.items() if not isinstance(value, dict)}
    assert keys - NOT_SETTINGS <= set(SETTINGS), "add a new key to SETTINGS, or to NOT_SETTINGS here"
    parser = ConfigParser(content)
    assert list(parser.get_parsed_content("settings"))[2:][: len(keys & set(SETTINGS))] == [
        key for key in SETTINGS if key in keys
    ]


@every_bundle
def test_metadata_pass_monais_own_verification(bundle: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    with importlib.resources.as_file(
        importlib.resources.files("radimagenet_monai.collection") / "meta_schema.json"
    ) as source:
        shutil.copy(source, schema)
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))


# Of bundles that take the same networks, one; the two Inception networks take longest to build.
DAILY = (
    "radimagenet_densenet121_pretraining",
    "acl_tear_mri_classification",
    "intracranial_hemorrhage_ct_classification",
    "thyroid_nodule_us_segmentation",
)
every_network = pytest.mark.parametrize(
    "bundle",
    [pytest.param(path, marks=() if path.name in DAILY else pytest.mark.long) for path in BUNDLES],
    ids=lambda path: path.name,
)


@pytest.fixture
def unfilled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are whatever was in memory: for tests that look at no value, drawing them takes most of the time."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "trunc_normal_", "xavier_uniform_"):
        monkeypatch.setattr(torch.nn.init, name, lambda tensor, *_, **__: tensor)


@every_network
@pytest.mark.usefixtures("unfilled")
@pytest.mark.parametrize(
    ("config", "kind"), [("train", "train"), ("evaluate", "inference"), ("inference", "inference")]
)
def test_properties_are_complete_without_any_data(bundle: Path, config: str, kind: str, tmp_path: Path) -> None:
    copy = copy_bundle(bundle.name, tmp_path)
    before = sorted(copy.rglob("*"))
    workflow = create_workflow(
        config_file=str(copy / "configs" / f"{config}.json"), workflow_type=kind, bundle_root=str(copy)
    )
    assert workflow.check_properties() == []
    workflow.initialize()
    assert sorted(copy.rglob("*")) == before, "building or initializing a workflow left files behind"


@every_network
@pytest.mark.usefixtures("unfilled")
@pytest.mark.parametrize("config", [pytest.param("train", marks=pytest.mark.long), "inference"])
def test_network_fits_its_metadata(bundle: Path, config: str) -> None:
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(bundle / "configs" / "metadata.json"),
        config_file=str(bundle / "configs" / f"{config}.json"),
        bundle_root=str(bundle),
    )


@every_bundle
def test_keys_a_user_changes_stand_first(bundle: Path) -> None:
    keys = list(json.loads((bundle / "configs" / "train.json").read_text()))
    wanted = """bundle_root dataset_dir datalist output_dir architecture weights freeze image_size batch_size
        learning_rate max_epochs seed amp device num_workers resume"""
    assert set(wanted.split()) <= set(keys[: keys.index("imports")])


def test_check_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bundle = copy_bundle("breast_mass_us_classification", tmp_path)
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata.pop("task")
    metadata["version"] = "9.9.9"
    path.write_text(json.dumps(metadata))
    with pytest.raises(SystemExit) as caught:
        main(["bundles", "check", str(bundle)])
    assert caught.value.code == 1
    problems = "".join(capsys.readouterr())
    assert "metadata.json is missing or out of date" in problems
    assert "'task' is a required property" in problems
    assert "version 9.9.9 is not in the changelog" in problems
    main(["bundles", "render", "breast_mass_us_classification", "--out", str(tmp_path)])
    main(["bundles", "check", str(bundle)])
    assert "breast_mass_us_classification: ok" in capsys.readouterr().out


@pytest.mark.long
def test_render_leaves_trained_models_alone(tmp_path: Path) -> None:
    bundle = copy_bundle("breast_mass_us_classification", tmp_path)
    (bundle / "models" / "model.pt").write_bytes(b"trained")
    main(["bundles", "render", "--out", str(tmp_path)])
    assert (bundle / "models" / "model.pt").read_bytes() == b"trained"
