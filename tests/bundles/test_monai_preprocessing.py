"""A bundle whose `preprocessing` is replaced by MONAI's transforms, by a second config file alone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle_runs import BUNDLES, REPOSITORY, TINY, copy_bundle
from monai.bundle import ConfigParser, create_workflow
from PIL import Image
from shallow_densenet import shallow_densenet
from torch import nn

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.datasets import read_records, write_records
from radimagenet_monai.engine import trained_preprocessing
from radimagenet_monai.engine.start.error_lines import user_error_line
from radimagenet_monai.models import Classifier

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_classification"
SIZE = 32
OPTIONS: dict[str, Any] = {**TINY, "image_size": SIZE, "max_epochs": 1}
MONAI_STEPS: list[Any] = [
    {"_target_": "LoadImaged", "keys": "image", "reader": "PILReader", "reverse_indexing": False},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "ScaleIntensityd", "keys": "image", "minv": 0.1, "maxv": 0.9},
    {"_target_": "Resized", "keys": "image", "spatial_size": "$[@image_size, @image_size]"},
]


def replaced(steps: list[Any]) -> dict[str, Any]:
    return {"preprocessing": {"_target_": "Compose", "transforms": steps}}


def run(bundle: Path, config: str, override: dict[str, Any] | None = None, **options: Any) -> Any:
    """Run a config with a second config file, as a user does."""
    files = [str(bundle / "configs" / f"{config}.json")]
    if override is not None:
        extra = bundle.parent / "mine.json"
        extra.write_text(json.dumps(override))
        files.append(str(extra))
    with shallow_densenet():
        workflow = create_workflow(
            config_file=files,
            workflow_type="train" if config == "train" else "inference",
            bundle_root=str(bundle),
            **options,
        )
        workflow.run()
        workflow.finalize()
    return workflow


@contextmanager
def network_inputs() -> Iterator[list[np.ndarray]]:
    """Every image that reaches a classifier, ``(C, H, W)``, in order."""
    seen: list[np.ndarray] = []

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if isinstance(module, Classifier):
            seen.extend(inputs[0].float().numpy().copy())

    hook = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield seen
    finally:
        hook.remove()


def expected(path: str) -> np.ndarray:
    """What `MONAI_STEPS` compute, by PIL, NumPy and torch."""
    pixels = np.moveaxis(np.asarray(Image.open(path)), -1, 0).astype(np.float32)
    scaled = (pixels - pixels.min()) / (pixels.max() - pixels.min()) * 0.8 + 0.1
    return nn.functional.interpolate(torch.tensor(scaled)[None], (SIZE, SIZE), mode="area")[0].numpy()


@pytest.fixture(scope="module")
def places(few_records: Callable[[str], Path], busi: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """For each config, where the colour images of the phantom are: MONAI gives gray ones another number of channels."""
    few = few_records(NAME)
    frame = read_records(few)
    frame = frame[[Image.open(busi / path).mode == "RGB" for path in frame["image"]]].reset_index(drop=True)
    write_records(frame, few.with_name("colour.csv"))
    folder = tmp_path_factory.mktemp("pictures")
    for number, path in enumerate(frame["image"].head(3)):
        shutil.copy(busi / path, folder / f"{number}.png")
    listed = {"dataset_dir": str(busi), "datalist": str(few.with_name("colour.csv"))}
    return {"train": listed, "evaluate": listed, "inference": {"dataset_dir": str(folder)}}


def same_pixels(workflow: Any, seen: list[np.ndarray]) -> None:
    data = workflow.parser.get_parsed_content("dataset").data
    assert len(seen) == len(data) > 0
    for record, image in zip(data, seen, strict=True):
        np.testing.assert_allclose(image, expected(record["image"]), atol=0.5 / 255 + 1e-5)


@pytest.fixture(scope="module")
def monai_trained(tmp_path_factory: pytest.TempPathFactory, places: dict[str, Any]) -> Path:
    bundle = copy_bundle(NAME, tmp_path_factory.mktemp("monai"))
    with network_inputs() as seen:
        workflow = run(bundle, "train", replaced(MONAI_STEPS), **places["train"], **OPTIONS)
    paths = [record["image"] for record in workflow.parser.get_parsed_content("validate::dataset").data]
    for path, image in zip(paths, seen[-len(paths) :], strict=True):
        np.testing.assert_allclose(image, expected(path), atol=0.5 / 255 + 1e-5)
    return bundle


def test_evaluation_and_inference_prepare_images_as_training_did(monai_trained: Path, places: dict[str, Any]) -> None:
    facts = json.loads((monai_trained / "models" / "model.json").read_text())
    assert facts["intensity"] is None  # the bundle's policy did not run
    assert facts["preprocessing"]["steps"] == ["LoadImaged", "EnsureChannelFirstd", "ScaleIntensityd", "Resized"]
    assert facts["preprocessing"]["config"]["transforms"][3]["spatial_size"] == [SIZE, SIZE]
    stores = sorted((monai_trained / "output" / "store").iterdir())
    for config in ("evaluate", "inference"):
        with network_inputs() as seen:
            same_pixels(run(monai_trained, config, num_workers=0, **places[config]), seen)
    assert sorted((monai_trained / "output" / "store").iterdir()) == stores  # the store of training is found


def test_the_same_file_may_be_given_again(monai_trained: Path, places: dict[str, Any]) -> None:
    for config in ("evaluate", "inference"):
        with network_inputs() as seen:
            workflow = run(monai_trained, config, replaced(MONAI_STEPS), num_workers=0, **places[config])
            same_pixels(workflow, seen)


def test_another_preprocessing_is_refused(monai_trained: Path, trained: Path, places: dict[str, Any]) -> None:
    other = [*MONAI_STEPS[:2], {**MONAI_STEPS[2], "maxv": 1.0}, MONAI_STEPS[3]]
    own = "prepared by the bundle's own preprocessing, this run has LoadImaged"
    for bundle, before in ((monai_trained, "Resized, this run has them with other options"), (trained, own)):
        with pytest.raises(Exception, match="require_trained_intensity") as raised:
            run(bundle, "inference", replaced(other), num_workers=0, **places["inference"])
        line = user_error_line(raised.value)
        assert line is not None
        assert before in line
        assert "leave the 'preprocessing' of this run out" in line


def test_without_an_override_nothing_changes(trained: Path) -> None:
    facts = json.loads((trained / "models" / "model.json").read_text())
    assert facts["preprocessing"] is facts["augmentation"] is None
    assert facts["intensity"]["class"].endswith("UltrasoundLuminanced")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"config": None, "reason": "a lambda"}, r"LoadImaged.*cannot rebuild \(a lambda\); give the config file"),
        ({"config": {"_target_": "os.system", "command": "true"}}, "'os.system' is not a transform of MONAI"),
        ({"config": [{**MONAI_STEPS[0], "reader": "os.system"}]}, "the reader 'os.system' is not one of MONAI's"),
        ({"config": [{"_target_": "SaveImaged", "keys": "image"}]}, "'SaveImaged' is not a transform"),
        ({"config": [{"_target_": "Lambdad", "keys": "image", "func": "$print"}]}, "'Lambdad' is not a transform"),
        ({"config": [{"_target_": "Flipd", "keys": "$__import__('os')"}]}, "is not a plain value"),
    ],
)
def test_a_model_file_runs_no_code(change: dict[str, Any], match: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"preprocessing": {"steps": ["LoadImaged"], **change}}))
    with pytest.raises(ConfigurationError, match=match) as raised:
        trained_preprocessing([], tmp_path / "model.pt")
    assert "\n" not in str(raised.value)


OWN_STEPS = json.loads((REPOSITORY / "bundles" / NAME / "configs" / "train.json").read_text())["preprocessing"]
NOISE = {"_target_": "RandGaussianNoised", "keys": "image", "prob": 1.0, "std": 0.1}
CONTRAST = {"_target_": "RandAdjustContrastd", "keys": "image", "prob": 1.0}
DARKER = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 1, "b_min": 0, "b_max": 0.5}
WARP = json.loads((REPOSITORY / "bundles" / NAME / "configs" / "train.json").read_text())["augmentation"]
ZOOM = {"_target_": "RandZoomd", "keys": "image", "prob": 0.5, "min_zoom": 0.9, "max_zoom": 1.1}
HOLES = {"_target_": "RandCoarseDropoutd", "keys": "image", "holes": 2, "spatial_size": 5, "prob": 0.5}


@pytest.mark.long
@pytest.mark.parametrize(
    "override",
    [
        replaced([*OWN_STEPS["transforms"], NOISE, CONTRAST]),
        replaced([*MONAI_STEPS, NOISE, CONTRAST, DARKER]),
        {"augmentation": NOISE},
        {"augmentation": {"_target_": "Compose", "transforms": [WARP, ZOOM, HOLES, NOISE, CONTRAST]}},
    ],
    ids=["after our image", "after MONAI's image", "as augmentation", "beside the warp"],
)
def test_random_transforms_resume_exactly_and_are_not_evaluated(
    override: dict[str, Any], places: dict[str, Any], tmp_path: Path
) -> None:
    bundles = [copy_bundle(NAME, tmp_path / name) for name in ("whole", "halves")]
    options = {**OPTIONS, **places["train"], "store_dir": str(tmp_path / "store")}
    run(bundles[0], "train", override, **{**options, "max_epochs": 2})
    run(bundles[1], "train", override, **options)
    half = network_of(bundles[1])
    other = json.loads(json.dumps(override).replace('"std": 0.1', '"std": 0.2'))
    with pytest.raises(RuntimeError) as raised:
        run(bundles[1], "train", other, **{**options, "max_epochs": 2, "resume": True})
    assert "was saved with another " in str(user_error_line(raised.value))
    run(bundles[1], "train", override, **{**options, "max_epochs": 2, "resume": True})
    whole, resumed = map(network_of, bundles)
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    assert any(not torch.equal(half[name], whole[name]) for name in whole)

    foreign = override == replaced([*MONAI_STEPS, NOISE, CONTRAST, DARKER])
    for config in ("evaluate", "inference"):
        with network_inputs() as seen:
            workflow = run(bundles[1], config, num_workers=0, **places[config])
        if foreign:
            for record, image in zip(workflow.parser.get_parsed_content("dataset").data, seen, strict=True):
                np.testing.assert_allclose(image, expected(record["image"]) / 2, atol=0.25 / 255 + 1e-5)
        else:
            assert all(np.abs(image * 255 - np.rint(image * 255)).max() < 1e-3 for image in seen)  # no noise


def network_of(bundle: Path) -> dict[str, torch.Tensor]:
    return dict(torch.load(bundle / "output" / "checkpoint.pt", weights_only=True)["network"])


def test_a_foreign_loader_is_warned_about_once(
    caplog: pytest.LogCaptureFixture, places: dict[str, Any], tmp_path: Path
) -> None:
    parser = ConfigParser()
    parser.read_config(REPOSITORY / "bundles" / NAME / "configs" / "train.json")
    parser.update(replaced(MONAI_STEPS))
    assert parser.get_parsed_content("settings")["preprocessing"]["steps"][0] == "LoadImaged"
    assert [record.message[:60] for record in caplog.records if "LoadNativeImaged" in record.message] == [
        "images are read by LoadImaged, not by LoadNativeImaged: that"
    ]


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda bundle: bundle.name)
def test_every_bundle_runs_its_own_preprocessing(bundle: Path) -> None:
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "train.json")
    settings = parser.get_parsed_content("settings")
    assert settings["preprocessing"] is settings["augmentation"] is None
    assert settings["intensity"] is not None


def test_the_configs_of_the_how_to_page_run() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "extend" / "monai_parts.md").read_text()
    section = page[page.index("## Transforms") :]
    blocks = [
        json.loads(block) for block in re.findall(r"```json\n(\{\n    \"(?:augm|prep).*?)```", section, re.DOTALL)
    ]
    assert [list(block) for block in blocks] == [["augmentation"], ["preprocessing"], ["preprocessing"]]
    for block in blocks:
        parser = ConfigParser()
        parser.read_config(REPOSITORY / "bundles" / NAME / "configs" / "train.json")
        parser.update(block)
        facts = parser.get_parsed_content("settings")
        named = [transform["_target_"] for transform in next(iter(block.values()))["transforms"][2:]]
        assert any(named[-1] in (facts[name] or {}).get("steps", ()) for name in ("preprocessing", "augmentation"))


def test_transforms_of_a_dataset_count_in_place_of_the_preprocessing() -> None:
    parser = ConfigParser()
    parser.read_config(REPOSITORY / "bundles" / NAME / "configs" / "train.json")
    for part, steps in (("train", [*MONAI_STEPS, NOISE]), ("validate", MONAI_STEPS)):
        parser.update({f"{part}::dataset": {"_target_": "Dataset", "data": f"@{part}::items", "transform": steps}})
    settings = parser.get_parsed_content("settings")
    assert settings["preprocessing"]["steps"] == ["LoadImaged", "EnsureChannelFirstd", "ScaleIntensityd", "Resized"]
    assert settings["preprocessing"]["config"][3]["spatial_size"] == [256, 256]
    assert settings["augmentation"]["steps"] == ["RandGaussianNoised", "AffineAugmentation"]
    assert settings["intensity"] is None
