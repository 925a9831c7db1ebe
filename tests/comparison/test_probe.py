"""A probe run: the outputs of a bundle's evaluation, from the test part alone."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from probe_data import ARCHITECTURE, SIZE, TASK, write_speckle
from shallow_densenet import shallow_densenet

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.comparison.probe import heads as probe_heads
from radimagenet_monai.comparison.probe import probe
from radimagenet_monai.comparison.probe.features import FrozenEncoder
from radimagenet_monai.comparison.probe.probe import probe_run
from radimagenet_monai.core.errors import ConfigurationError, RecordsError, WeightsError
from radimagenet_monai.datasets.records.table import read_records, write_records
from radimagenet_monai.report.run_report import write_run_report

pytestmark = pytest.mark.slow

Run = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def _shallow_densenet() -> Iterator[None]:
    with shallow_densenet():
        yield


@pytest.fixture
def data(tmp_path: Path, seed: int) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_speckle(folder, images=48, seed=seed)
    return folder


@pytest.fixture
def run(data: Path, tmp_path: Path, seed: int) -> Run:
    """`probe_run` on the small dataset; the folder of its outputs."""

    def go(out: str = "out", **changes: Any) -> Path:
        arguments: dict[str, Any] = {
            "task": get_task(TASK),
            "records": data / "records.csv",
            "root": data,
            "architecture": ARCHITECTURE,
            "weights": "random",
            "fold": 0,
            "seed": seed,
            "image_size": SIZE,
            "cache_dir": tmp_path / "cache",
            "out": tmp_path / out,
            "inner_folds": 3,
            **changes,
        }
        encoder = {name: arguments.pop(name) for name in FrozenEncoder.__dataclass_fields__ if name in arguments}
        probe_run(frozen=FrozenEncoder(**encoder), **arguments)
        return tmp_path / out

    return go


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def run_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run.json").read_text()))


@pytest.mark.learns
def test_outputs_are_those_of_an_evaluation(run: Run, data: Path) -> None:
    folder = run()
    rows = rows_of(folder)
    probabilities = ["probability_benign", "probability_malignant"]
    assert list(rows[0]) == ["file", "frame", *probabilities, "threshold", "decision", "label", "problem"]
    frame = read_records(data / "records.csv")
    test = frame[frame["fold"] == 0]
    assert [(row["file"], row["label"]) for row in rows] == list(zip(test["image"], test["label"], strict=True))
    for row in rows:
        assert sum(float(row[name]) for name in probabilities) == pytest.approx(1, abs=1e-5)
        called = "malignant" if float(row[probabilities[1]]) >= float(row["threshold"]) else "benign"
        assert row["decision"] == called
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["metrics"]["auc"]["auc"] > 0.9  # speckle of two sizes
    assert "linear probe" in write_run_report(folder).read_text()
    record = run_of(folder)
    assert record["status"] == "completed"
    assert record["train"] == record["train"] | {"images": 16, "patients": 8}
    assert record["weights"]["name"] == f"{ARCHITECTURE}.random"
    assert record["features"]["images"] == record["features"]["computed"] == 48
    (head,) = record["heads"]
    assert head["C"] in record["settings"]["path"]
    assert [len(entry["folds"]) for entry in head["inner_auc"]] == [3] * 8
    assert "inner folds" in head["threshold_rule"]


@pytest.mark.long
def test_every_fold_finds_the_features_of_the_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("first")
    assert run_of(run("second", fold=1))["features"]["computed"] == 0
    again = run("again")
    assert (again / "predictions.csv").read_bytes() == (first / "predictions.csv").read_bytes()


def test_labels_of_validation_and_test_do_not_enter(run: Run, data: Path) -> None:
    before = rows_of(run("before"))
    frame = read_records(data / "records.csv")
    other = {"benign": "malignant", "malignant": "benign"}
    for fold in (0, 1):
        chosen = frame["fold"] == fold
        frame.loc[chosen, "label"] = frame.loc[chosen, "label"].map(other)
    write_records(frame, data / "swapped.csv")
    after = rows_of(run("after", records=data / "swapped.csv"))
    for one, two in zip(before, after, strict=True):
        assert {**one, "label": ""} == {**two, "label": ""}
        assert one["label"] != two["label"]
    training = frame["fold"] == 2
    frame.loc[training, "label"] = frame.loc[training, "label"].map(other)
    write_records(frame, data / "trained.csv")
    assert rows_of(run("trained", records=data / "trained.csv"))[0]["threshold"] != before[0]["threshold"]


def test_folds_within_the_training_part_are_by_patient(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    deal = probe_heads.assign_folds
    monkeypatch.setattr(
        probe_heads, "assign_folds", lambda labels, groups, *rest: seen.append(groups) or deal(labels, groups, *rest)
    )
    run()
    assert sorted(set(seen[0])) == sorted({f"p{number}" for number in range(24) if (number // 2) % 3 == 2})


@pytest.mark.long
@pytest.mark.learns
def test_more_classes(run: Run, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "three"
    folder.mkdir()
    classes = ("coarse", "fine", "finer")
    write_speckle(folder, images=54, classes=classes, seed=seed)
    out = run(records=folder / "records.csv", root=folder, classes=classes)
    rows = rows_of(out)
    assert "threshold" not in rows[0]
    names = [f"probability_{name}" for name in classes]
    for row in rows:
        values = [float(row[name]) for name in names]
        assert row["decision"] == classes[int(np.argmax(values))]
    assert json.loads((out / "evaluation.json").read_text())["metrics"]["auc_macro"] > 0.8


@pytest.mark.long
@pytest.mark.learns
def test_findings_get_a_head_each(run: Run, data: Path) -> None:
    task = replace(get_task(TASK), findings=("any", "coarse", "rare"))
    frame = read_records(data / "records.csv").astype({"fold": object})
    frame["coarse"] = (frame["label"] == "benign").map({True: "1", False: "0"})
    frame.loc[frame.index[::5], "coarse"] = ""
    frame["rare"] = "0"
    write_records(pd.DataFrame(frame), data / "findings.csv")
    out = run(task=task, records=data / "findings.csv")
    rows = rows_of(out)
    assert {"probability_any", "decision_coarse", "label_rare"} <= rows[0].keys()
    assert {row["probability_rare"] for row in rows} == {"0.0"}
    heads = {head["output"]: head for head in run_of(out)["heads"]}
    assert heads["rare"]["C"] is None
    assert "constant" in heads["rare"]["notes"][0]
    known = [(float(row["probability_coarse"]), row["label_coarse"]) for row in rows if row["label_coarse"]]
    assert min(p for p, label in known if label == "1") > np.median([p for p, label in known if label == "0"])


def test_exams_are_scored_as_exams(run: Run, data: Path) -> None:
    task = replace(get_task(TASK), aggregate="mean")
    frame = read_records(data / "records.csv")
    frame["exam"] = frame["patient_id"]
    write_records(frame, data / "exams.csv")
    out = run(task=task, records=data / "exams.csv")
    assert len((out / "exams.csv").read_text().splitlines()) == 1 + len(rows_of(out)) // 2
    # The same head, but its threshold lies between exams and not between images.
    images = run("images", records=data / "exams.csv")
    assert run_of(images)["heads"][0]["C"] == run_of(out)["heads"][0]["C"]
    assert rows_of(images)[0]["threshold"] != rows_of(out)[0]["threshold"]
    assert "metrics_of_images" in json.loads((out / "evaluation.json").read_text())


def test_images_that_cannot_be_read_are_left_out_where_wanted(run: Run, data: Path) -> None:
    test = read_records(data / "records.csv").query("fold == 0")["image"].tolist()
    (data / test[2]).write_bytes(b"no picture")
    rows = rows_of(run(unreadable="skip"))
    assert [row["file"] for row in rows] == [*test[:2], *test[3:]]


def test_a_failed_run_says_so(run: Run, data: Path, tmp_path: Path) -> None:
    frame = read_records(data / "records.csv")
    frame.loc[frame["fold"] == 2, "label"] = "benign"
    write_records(frame, data / "one.csv")
    with pytest.raises(RecordsError, match="of one class"):
        run(records=data / "one.csv")
    record = run_of(tmp_path / "out")
    assert record["status"] == "failed"
    assert "of one class" in record["error"]


def test_what_cannot_be_probed_is_refused(run: Run) -> None:
    with pytest.raises(ConfigurationError, match="is a segmentation"):
        run(task=get_task("breast_mass_us_segmentation"))
    with pytest.raises(RecordsError, match="fold 7"):
        run(fold=7)
    with pytest.raises(WeightsError, match="not in the weight store"):
        run(weights="radimagenet_keras")


def test_typed_as_a_command(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    arguments = ["--task", TASK, "--records", str(data / "records.csv"), "--root", str(data), "--image_size", str(SIZE)]
    arguments += ["--architecture", ARCHITECTURE, "--out", str(tmp_path / "typed"), "--inner_folds", "3", "--fold", "0"]
    arguments += ["--classes", str(["benign", "malignant"])]
    monkeypatch.setattr(sys, "argv", ["probe", *arguments, "--weights", "random"])
    probe.main()
    assert capsys.readouterr().out == f"{tmp_path / 'typed'}\n"
    assert len(rows_of(tmp_path / "typed")) == 16
    monkeypatch.setattr(sys, "argv", ["probe", *arguments, "--weights", "radimagenet_keras"])
    with pytest.raises(SystemExit) as stopped:
        probe.main()
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: weights")
    assert error.count("\n") == 1


@pytest.mark.long
def test_the_module_runs_as_a_command_of_its_own() -> None:
    command = [sys.executable, "-m", "radimagenet_monai.comparison.probe.probe", "--task", "none", "--records", "r"]
    command += ["--root", "d", "--architecture", ARCHITECTURE, "--weights", "random", "--out", "o"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
