"""What a comparison is going to do: names, folds, fractions, and what is refused before anything is done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from radimagenet_monai.comparison.plan import (
    OWN_SPLIT,
    PLAN_FILE,
    Choices,
    Plan,
    identify,
    make_plan,
    names,
    plan_from,
    save_plan,
)
from radimagenet_monai.comparison.probe.features import PROBE_IMAGE_SIZE
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.trained.encoder_file import save_encoder
from radimagenet_monai.models.classifier import Classifier
from radimagenet_monai.weights.pretrained_encoder import build_encoder

BREAST = "breast_mass_us_classification"
RECORDS = "a" * 64


def planned(weights: list[str] | None = None, task: str = BREAST, protocol: str = "quick", **choices: Any) -> Plan:
    return make_plan(task, protocol, weights or ["random", "imagenet_torchvision"], RECORDS, Choices(**choices))


def test_the_paper_has_24_scenarios_an_initialization() -> None:
    """Mei et al. 2022: four networks; all layers, frozen encoder, last ten layers; two learning rates each."""
    plan = planned(protocol="paper")
    of_one = [run for run in plan.runs() if (run.initialization, run.fold) == ("random", 0)]
    assert len(of_one) == 24
    assert len(plan.runs()) == 24 * 2 * 5
    assert {(item.freeze, item.learning_rate) for item in plan.scenarios} == {
        ("none", 1e-3),
        ("none", 1e-4),
        ("encoder", 1e-2),
        ("encoder", 1e-3),
        ("all_but_last_10", 1e-2),
        ("all_but_last_10", 1e-3),
    }
    assert plan.epochs == 30


def test_runs_are_paired_and_named_apart() -> None:
    plan = planned(protocol="paper", fractions=(0.25, 1), folds=3)
    runs = plan.runs()
    assert len({run.id for run in runs}) == len(runs)
    of_each = [
        {(run.architecture, run.scenario, run.fold, run.fraction) for run in runs if run.initialization == item.name}
        for item in plan.initializations
    ]
    assert of_each[0] == of_each[1]
    assert [run.fraction for run in runs[: len(runs) // 2]] == [1.0] * (len(runs) // 2), "what matters most first"
    assert {run.initialization for run in runs[:2]} == {"random", "imagenet_torchvision"}


def test_the_folds_are_the_tasks_where_none_are_given() -> None:
    assert planned(protocol="paper").folds == 5
    assert planned(task="pneumonia_cxr_classification", protocol="paper").folds == OWN_SPLIT
    assert planned(protocol="paper", folds=3).folds == 3
    assert [run.fold for run in planned(folds=1).runs()] == [None, None]


def test_the_whole_training_set_is_always_a_fraction() -> None:
    assert planned(fractions=(0.5,)).fractions == (0.5, 1.0)
    assert planned(fractions=("0.5", "0.25")).fractions == (0.25, 0.5, 1.0)


def test_names_come_from_the_weights_or_before_an_equals_sign(tmp_path: Path) -> None:
    plan = planned(["random", "imagenet_torchvision", f"mine={tmp_path}/encoder.safetensors", f"{tmp_path}/no 2.pt"])
    assert [item.name for item in plan.initializations] == ["random", "imagenet_torchvision", "mine", "no-2"]


def test_paths_of_weights_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs may be started from another folder."""
    (tmp_path / "encoder.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    plan = planned(["random", "a=encoder.safetensors", "b=./encoder.safetensors"])
    expected = str(tmp_path / "encoder.safetensors")
    assert [item.weights for item in plan.initializations] == ["random", expected, expected]


def test_a_folder_called_as_weights_is_not_taken_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`find_weights` knows names first; so must the plan."""
    (tmp_path / "random").mkdir()
    monkeypatch.chdir(tmp_path)
    assert planned(["random", "imagenet_torchvision"]).weights_of("random") == "random"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"weights": ["random"]}, "1 weights were given; a comparison needs two or more"),
        ({"weights": ["random", "random"]}, "two weights are called 'random'; give them names"),
        ({"weights": ["a=random", "a=imagenet_torchvision"]}, "two weights are called 'a'"),
        ({"weights": ["random", "b="]}, "weights 'b=' were given; expected a name"),
        ({"weights": ["random", "my net=random"]}, "weights 'my net=random' were given; expected a name"),
        ({"weights": ["random", "../up=random"]}, "expected a name"),
        ({"task": "breast"}, "unknown task 'breast'"),
        ({"task": "radimagenet_resnet50_pretraining"}, "is a pretraining task; a comparison takes one of the class"),
        ({"task": "breast_mass_us_segmentation"}, "is a segmentation task; a comparison takes one of the class"),
        ({"protocol": "fast"}, "protocol 'fast' is unknown; expected one of paper, quick, probe"),
        ({"architectures": ["vgg16"]}, "architecture 'vgg16' is unknown"),
        ({"architectures": ["all", "resnet50"]}, "architecture 'all' is unknown"),
        ({"folds": 2}, "2 folds were given; expected 3 or more"),
        ({"folds": 0}, "--folds 0 was given; expected a whole number, 1 or more"),
        ({"folds": "five"}, "--folds five was given; expected a whole number"),
        ({"folds": 2.5}, "--folds 2.5 was given; expected a whole number"),
        ({"fractions": (0, 1)}, "expected shares in (0, 1]"),
        ({"fractions": (0.5, 1.5)}, "expected shares in (0, 1]"),
        ({"fractions": (float("nan"),)}, "expected shares in (0, 1]"),
        ({"fractions": ("half",)}, "--fractions half was given; expected numbers"),
        ({"learning_rates": (10,)}, "learning rates [10.0] were given"),
        ({"learning_rates": ("fast",)}, "--learning_rates fast was given; expected numbers"),
        ({"freeze": ("everything",)}, "freeze 'everything' is unknown"),
        ({"epochs": 0}, "--epochs 0 was given; expected a whole number, 1 or more"),
        ({"image_size": -1}, "--image_size -1 was given"),
        ({"batch_size": "big"}, "--batch_size big was given"),
        ({"seed": "x"}, "--seed x was given"),
        ({"protocol": "probe", "epochs": 3}, "have no meaning for the probe"),
        ({"protocol": "probe", "freeze": ("none",)}, "have no meaning for the probe"),
        ({"classes": ("benign",)}, "1 classes were given, benign; expected two or more"),
        ({"classes": ("a", "a")}, "expected two or more different names"),
    ],
)
def test_what_cannot_be_compared_is_refused(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        planned(**choices)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = identify(planned(["a=random", "b=random"], fractions=(0.5, 1), architectures=["resnet50", "inceptionv3"]))
    save_plan(plan, tmp_path, "radimagenet compare ...")
    assert plan_from(json.loads((tmp_path / PLAN_FILE).read_text())) == plan


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_encoder(path, Classifier(build_encoder("densenet121", "random"), 2), {"epoch": 1, "weights": "random"})
    return path


def test_pairs_that_do_not_exist_are_marked_and_not_run(encoder_file: Path) -> None:
    plan = identify(planned(["random", f"mine={encoder_file}"], architectures=["densenet121", "resnet50"]))
    ((architecture, name, reason),) = plan.unavailable
    assert (architecture, name) == ("resnet50", "mine")
    assert "densenet121" in reason
    pairs = {(run.architecture, run.initialization) for run in plan.runs()}
    assert pairs == {("densenet121", "random"), ("densenet121", "mine"), ("resnet50", "random")}
    assert len(plan.identities["densenet121"]["mine"]["tensors_sha256"]) == 64
    assert "mine" not in plan.identities["resnet50"]


def test_where_nothing_is_left_to_compare_the_reasons_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"nothing is left to compare: absent with densenet121: .*no such file"
    ):
        identify(planned(["random", f"{tmp_path}/absent.pt"]))


def test_a_file_that_holds_no_encoder_is_refused(tmp_path: Path) -> None:
    import torch

    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(ConfigurationError, match="nothing is left to compare: other with densenet121"):
        identify(planned(["random", f"{tmp_path}/other.safetensors"]))


def test_more_may_be_added_to_a_comparison(tmp_path: Path) -> None:
    save_plan(planned(["a=random", "b=random"]), tmp_path, "")
    more = planned(["a=random", "b=random", "c=random"], architectures=["densenet121", "resnet50"], fractions=(0.5, 1))
    save_plan(more, tmp_path, "")
    assert plan_from(json.loads((tmp_path / PLAN_FILE).read_text())) == more


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"folds": 3}, "folds"),
        ({"epochs": 7}, "epochs"),
        ({"image_size": 128}, "image_size"),
        ({"batch_size": 4}, "batch_size"),
        ({"seed": 1}, "seed"),
        ({"classes": ("malignant", "benign")}, "classes"),
        ({"task": "thyroid_nodule_us_classification"}, "task"),
        ({"protocol": "paper"}, "protocol"),
    ],
)
def test_another_comparison_needs_another_folder(tmp_path: Path, changes: dict[str, Any], name: str) -> None:
    save_plan(planned(), tmp_path, "")
    before = (tmp_path / PLAN_FILE).read_bytes()
    with pytest.raises(ConfigurationError, match=f"holds a comparison with {name} .* choose another --out"):
        save_plan(planned(**changes), tmp_path, "")
    assert (tmp_path / PLAN_FILE).read_bytes() == before


def test_other_records_need_another_folder(tmp_path: Path) -> None:
    save_plan(planned(), tmp_path, "")
    with pytest.raises(ConfigurationError, match="records_sha256"):
        save_plan(make_plan(BREAST, "quick", ["random", "imagenet_torchvision"], "b" * 64), tmp_path, "")


@pytest.mark.parametrize("text", ["no JSON", "[]", "3"])
def test_a_folder_with_a_file_of_that_name_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / PLAN_FILE).write_text(text)
    with pytest.raises(ConfigurationError, match="choose another --out"):
        save_plan(planned(), tmp_path, "")


def test_lists_come_as_fire_gives_them() -> None:
    assert names("a, b,c") == names(("a", "b", "c")) == names(["a", "b", "c"]) == ["a", "b", "c"]
    assert names(0.5) == ["0.5"]
    assert names(()) == []


def test_a_probe_has_an_image_size_unasked() -> None:
    plan = make_plan("breast_mass_us_classification", "probe", ["random", "b=random"], "0" * 64)
    assert plan.image_size == PROBE_IMAGE_SIZE
