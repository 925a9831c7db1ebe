"""A misspelt key or a value of the wrong type never runs a bundle: exit status 2, the nearest name, no file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forks
import monai.bundle
import pytest
from bundle_runs import BUNDLES, command, copy_bundle
from monai.bundle import ConfigWorkflow, create_workflow

from radimagenet_monai.core.errors import UsageError
from radimagenet_monai.core.flags import nearest, number, whole
from radimagenet_monai.engine.start.error_lines import user_error_line

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_classification"
CONFIGS = ("train", "evaluate", "inference")
every_config = pytest.mark.parametrize("config", CONFIGS)


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[Path]:
    """A bundle that must be as it was when the test ends."""
    copy = copy_bundle(NAME, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    yield copy
    new = [path for path in set(tmp_path.rglob("*")) - set(before) if path.parent != tmp_path]
    assert new == []


def refused(bundle: Path, config: str, files: Any = None, **overrides: Any) -> str:
    """The message with which a workflow is refused when it is made, before it runs."""
    with pytest.raises(RuntimeError) as caught:
        create_workflow(
            config_file=files or str(bundle / "configs" / f"{config}.json"), bundle_root=str(bundle), **overrides
        )
    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, UsageError):
        cause = cause.__cause__
    assert isinstance(cause, UsageError)
    assert user_error_line(caught.value) == f"error: {cause}"
    return str(cause)


def accepted(bundle: Path, config: str, files: Any = None, **overrides: Any) -> ConfigWorkflow:
    """A workflow that is made as asked for."""
    return create_workflow(
        config_file=files or str(bundle / "configs" / f"{config}.json"), bundle_root=str(bundle), **overrides
    )


@pytest.mark.parametrize("source", BUNDLES, ids=lambda path: path.name)
@every_config
def test_a_misspelt_key_is_refused_by_every_bundle(source: Path, config: str) -> None:
    before = sorted(source.rglob("*"))
    keys = {"train": ("wieghts", "weights"), "evaluate": ("fodl", "fold"), "inference": ("slcies", "slices")}
    given, meant = keys[config]
    assert f"unknown key --{given}: did you mean --{meant}?" in refused(source, config, **{given: "x"})
    assert "--num_workers -1" in refused(source, config, num_workers=-1)
    assert sorted(source.rglob("*")) == before


def run_monai(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "monai.bundle", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "RANK": "0"},
    )


def assert_status_2(done: subprocess.CompletedProcess, *parts: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


def test_the_command_line_ends_with_status_2_and_leaves_no_file(bundle: Path, tmp_path: Path) -> None:
    arguments = command(bundle, "train", {"wieghts": "radimagenet_keras", "dataset_dir": "absent"})[3:]
    done = forks.run([sys.executable, "-m", "monai.bundle", *arguments], cwd=tmp_path)
    assert_status_2(done, "--wieghts", "did you mean --weights?")


@pytest.mark.long
@pytest.mark.parametrize("name", [path.name for path in BUNDLES])
@every_config
def test_the_command_line_of_every_bundle(name: str, config: str, tmp_path: Path) -> None:
    bundle = copy_bundle(name, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = run_monai(*command(bundle, config, {"wieghts": "radimagenet_keras"})[3:], cwd=tmp_path)
    assert_status_2(done, "--wieghts")
    assert sorted(tmp_path.rglob("*")) == before


def test_an_args_file_is_checked_too(bundle: Path, tmp_path: Path) -> None:
    args = tmp_path / "args.json"
    args.write_text(json.dumps({"config_file": str(bundle / "configs" / "train.json"), "lerning_rate": 0.1}))
    for call in (monai.bundle.run, monai.bundle.run_workflow):
        with pytest.raises(RuntimeError) as caught:
            call(args_file=str(args), bundle_root=str(bundle))
        assert "did you mean --learning_rate?" in str(user_error_line(caught.value))
    args.write_text(json.dumps({"config_file": str(bundle / "configs" / "train.json"), "+rate": 0.1}))
    with pytest.raises(RuntimeError) as caught:
        create_workflow(args_file=str(args), bundle_root=str(bundle))
    assert "not in an args file" in str(user_error_line(caught.value))


def test_python_raises(bundle: Path) -> None:
    file = str(bundle / "configs" / "evaluate.json")
    for call in (monai.bundle.run, monai.bundle.run_workflow):
        with pytest.raises(RuntimeError) as caught:
            call(config_file=file, bundle_root=str(bundle), spilt="validation")
        assert "did you mean --split?" in str(user_error_line(caught.value))


@pytest.mark.parametrize(
    ("config", "key", "meant"),
    [
        ("train", "train::trainer::max_epoch", "--train::trainer::max_epochs"),
        ("train", "train#trainer#max_epoch", "--train::trainer::max_epochs"),
        ("train", "optimizer#weight_dcay", "--optimizer::weight_decay"),
        ("train", "network_def#wieghts", "--network_def::weights"),
        ("train", "train#dataloader#num_worker", "--train::dataloader::num_workers"),
        ("train", "train#handlers#5#intervall", "--train::handlers::5::interval"),
        ("train", "settings#bundle_versions", "--settings::bundle_version"),
        ("train", "lr", "--learning_rate"),
        ("train", "epochs", "--max_epochs"),
        ("train", "arch", "--architecture"),
        ("train", "noamp", "--amp"),
        ("train", "Weights", "--weights"),
        ("train", "config_fil", "--config_file"),
        ("inference", "tresholds", "--threshold"),
    ],
)
def test_the_nearest_key_is_named(config: str, key: str, meant: str, bundle: Path) -> None:
    assert f"did you mean {meant}?" in refused(bundle, config, **{key: 1})


def test_a_key_of_another_config_is_told_apart(bundle: Path) -> None:
    assert "it is a key of inference.json and has no effect on train.json" in refused(bundle, "train", slices="all")


def test_all_misspelt_keys_are_named_at_once(bundle: Path) -> None:
    message = refused(bundle, "train", wieghts="random", fodl=1)
    assert "did you mean --weights?" in message
    assert "did you mean --fold?" in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("batch_size", "abc", "whole number, 1 or more"),
        ("batch_size", 8.0, "whole number"),
        ("batch_size", True, "whole number"),
        ("amp", "maybe", "true or false"),
        ("max_epochs", 0, "1 or more"),
        ("fold", "three", "whole number"),
        ("fold", -1, "0 or more"),
        ("learning_rate", "fast", "number"),
        ("learning_rate", 0, "greater than 0"),
        ("learning_rate", float("nan"), "number"),
        ("weights", True, "text"),
        ("unreadable", "ignore", "stop, skip"),
        ("aggregate", "means", "did you mean mean?"),
        ("device", "gpu", "cpu"),
        ("classes", "benign", "list of two"),
        ("val_interval", 0, "1 or more"),
        ("tensorboard", "perhaps", "true or false"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(key: str, value: Any, expected: str, bundle: Path) -> None:
    message = refused(bundle, "train", **{key: value})
    assert f"--{key} {value}" in message
    assert expected in message


def test_what_is_right_goes_through(bundle: Path, tmp_path: Path) -> None:
    accepted(bundle, "train", batch_size=4, amp="false", fold=2, classes=["a", "b"], **{"optimizer#weight_decay": 0.1})
    accepted(bundle, "train", **{"train::dataloader::prefetch_factor": 4})  # for torch's loader, through **options
    accepted(bundle, "evaluate", split="validation", threshold=0.3)
    accepted(bundle, "inference", **{"network_def": {"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 1}})
    train, ranks = (str(bundle / "configs" / f"{name}.json") for name in ("train", "multi_gpu_train"))
    with pytest.MonkeyPatch.context() as patch:
        # No process group in this process.
        patch.setattr("radimagenet_monai.engine.distributed.start_process_group", lambda: None)
        accepted(bundle, "train", [train, ranks])
        assert "did you mean --weights?" in refused(bundle, "train", [train, ranks], wieghts="x")
    own = tmp_path / "own_train.json"
    own.write_text(json.dumps({**json.loads(Path(train).read_text()), "own_key": 1}))
    accepted(bundle, "train", str(own), own_key=2)
    assert "did you mean --own_key?" in refused(bundle, "train", str(own), own_kee=2)


def test_a_further_config_file_is_checked_and_may_add_on_purpose(bundle: Path, tmp_path: Path) -> None:
    train = str(bundle / "configs" / "train.json")

    def further(content: dict[str, Any]) -> list[str]:
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(content))
        return [train, str(path)]

    assert "unknown key --lerning_rate (in mine.json)" in refused(bundle, "train", further({"lerning_rate": 1}))
    message = refused(bundle, "train", further({"train#trainer#max_epoch": 1}))
    assert "unknown key --train::trainer::max_epoch (in mine.json): did you mean" in message
    accepted(bundle, "train", further({"+note": {"why": "a test"}}))
    accepted(bundle, "train", further({"my_rate": 0.5, "learning_rate": "@my_rate"}))
    merged = accepted(bundle, "train", further({"+train#handlers": [{"_target_": "StatsHandler", "name": "mine"}]}))
    assert merged.parser["train#handlers"][-1]["name"] == "mine"
    assert merged.parser["train#handlers"][0]["_target_"].endswith("RunFolder")


def test_a_plus_marks_a_new_key_and_never_replaces_unasked(bundle: Path) -> None:
    workflow = accepted(bundle, "train", **{"+note": "on purpose"})
    assert workflow.parser["note"] == "on purpose"
    message = refused(bundle, "train", **{"+train#handlers": []})
    assert "would replace train#handlers" in message


def test_a_positional_word_is_not_taken_for_something_to_run(bundle: Path) -> None:
    """``--dataset_dir my data``: Fire takes ``data`` for the first argument of ``run``, its run_id."""
    assert "'data' is given beside the keys" in refused(bundle, "train", run_id="data")


def test_a_workflow_made_without_monais_functions_is_compared_with_its_file(bundle: Path) -> None:
    workflow = ConfigWorkflow(str(bundle / "configs" / "train.json"), wieghts="x")
    with pytest.raises(RuntimeError) as caught:
        workflow.initialize()
    assert "did you mean --weights?" in str(user_error_line(caught.value))


def test_an_initialize_of_ones_own_does_not_switch_the_check_off(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"initialize": []}))
    workflow = accepted(bundle, "train", [str(bundle / "configs" / "train.json"), str(path)], wieghts="x")
    with pytest.raises(RuntimeError) as caught:
        workflow.run()
    assert "did you mean --weights?" in str(user_error_line(caught.value))


@pytest.mark.parametrize(
    ("given", "known", "meant"),
    [
        ("--sha265", ["sha256", "name", "out"], "sha256"),
        ("dataset-dir", ["dataset_dir", "datalist"], "dataset_dir"),
        ("seedd", ["seed", "split"], "seed"),
        ("zzz", ["seed", "split"], None),
        ("", ["seed"], None),
    ],
)
def test_nearest(given: str, known: list[str], meant: str | None) -> None:
    assert nearest(given, known) == meant


def test_numbers_are_told_apart() -> None:
    assert whole(1)(1) is None
    assert whole(0)(-1)
    assert whole(0)("1")
    assert number(0, 1)(1) is None
    assert number(0, 1)(1.01) == "expected a number from 0 to 1"
    assert number(0)(float("inf")) == "expected a number of 0 or more"
