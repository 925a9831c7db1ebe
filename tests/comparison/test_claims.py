"""What a comparison must not say: more than its data bear, and of anybody's own data what a template says of others."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import FakeComparison, drawn, made_records

from radimagenet_monai.catalog.tasks import NOT_A_DEVICE, TASKS, get_task
from radimagenet_monai.comparison.analysis import selected
from radimagenet_monai.comparison.analysis.analysis import ANALYSIS_FILE, analyze
from radimagenet_monai.comparison.jobs import EVALUATION_FOLDER, RUNS_FOLDER
from radimagenet_monai.comparison.plan import PLAN_FILE
from radimagenet_monai.datasets.records.data_source import described, source_of_bundle, source_of_table
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.phantoms import write_phantom
from radimagenet_monai.report.comparison.report import write_comparison_report

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples for the confidence band of the ROC curve, which no test here checks."""
    monkeypatch.setattr(selected, "_RESAMPLES", 5)


CT = "sarscov2_ct_classification"
# Claims about initializations, or about trainings that were not made.
ABOUT_INITIALIZATIONS = re.compile(
    r"is better than|better initialization|another training|training anew|trains anew|Which initialization|"
    r"comparison of initializations|ways to train|over (scenarios and )?folds",
    re.IGNORECASE,
)
PROJECTED = re.compile(
    r"(patients|images)( that)? would be needed|most likely have been seen|with 80% power", re.IGNORECASE
)


def split_comparison(folder: Path, task: str, positives: int, negatives: int, **options: Any) -> FakeComparison:
    classes = get_task(task).classes if "classes" not in options else tuple(options["classes"])
    patients = 100 + positives + negatives
    frame = made_records(patients, classes=classes)
    frame["label"] = np.array(classes)[[*(np.arange(100) % 2), *[1] * positives, *[0] * negatives]]
    frame["split"] = [*["train"] * 60, *["validation"] * 40, *["test"] * (patients - 100)]
    comparison = FakeComparison.planned(folder, frame, task=task, folds=1, **options)
    return comparison.write(drawn({"first": 6.0, "second": 0.2}, positive=classes[1]))


def everything(comparison: FakeComparison) -> dict[str, str]:
    """All that a comparison wrote for a reader, name to text."""
    analysis = analyze(comparison.out, comparison.root)
    page = write_comparison_report(comparison.out)
    told = {"sentences": "\n".join(analysis["sentences"]), "analysis": (comparison.out / ANALYSIS_FILE).read_text()}
    told |= {path.name: path.read_text() for path in (page, page.with_name("report.json"))}
    return told | {path.name: path.read_text() for path in (comparison.out / "csv").glob("*.csv")}


def test_one_split_with_three_positives_claims_nothing(tmp_path: Path) -> None:
    told = everything(split_comparison(tmp_path, "breast_mass_us_classification", 3, 39))
    assert {"checklist_claim_2024.csv", "checklist_tripod_ai.csv", "differences.csv"} <= told.keys()
    for name, text in told.items():
        assert not ABOUT_INITIALIZATIONS.search(text), (name, ABOUT_INITIALIZATIONS.search(text))
        assert not PROJECTED.search(text), name
    assert not re.search(r"P (<|=|&lt;)", told["report.html"] + told["report.json"])
    assert "benign: 39 patients; malignant: 3 patients" in told["sentences"]
    analysis = json.loads(told["analysis"])
    assert analysis["power"] == []
    for row in analysis["differences"]:
        assert row["p"] is row["p_adjusted"] is row["low"] is row["test_sets"]["p"] is None
    (statistics,) = [line for line in told["checklist_claim_2024.csv"].splitlines() if line.startswith("29,")]
    assert "too few were tested" in statistics


def test_one_split_with_enough_patients_speaks_of_its_models(tmp_path: Path) -> None:
    told = everything(split_comparison(tmp_path, "breast_mass_us_classification", 40, 60))
    for name, text in told.items():
        assert not ABOUT_INITIALIZATIONS.search(text), (name, ABOUT_INITIALIZATIONS.search(text))
    assert "the model started from first has a higher AUC" in told["sentences"]
    assert "for these trained models" in told["report.html"]
    assert "Comparison of trained models" in told["report.html"]
    assert "Model started from first, AUC" in json.loads(told["report.json"])["headline"]


@pytest.mark.long
def test_folds_still_speak_of_initializations(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(400)).write(drawn({"first": 2.5, "second": 1.0}))
    told = everything(comparison)
    assert "first is better than second" in told["sentences"]
    assert ABOUT_INITIALIZATIONS.search(told["report.html"])


PREPARED = {"table": "records.csv", "reader": "csv", "options": {}, "left_out": {"a": 2}}


@pytest.mark.parametrize(("source", "classes"), [(None, None), (PREPARED, ("no", "yes"))])
def test_own_data_are_not_the_templates(
    tmp_path: Path, source: dict[str, Any] | None, classes: Sequence[str] | None
) -> None:
    options = {"classes": classes} if classes else {}
    comparison = split_comparison(tmp_path, CT, 20, 30, **options)
    plan = json.loads((comparison.out / PLAN_FILE).read_text())
    (comparison.out / PLAN_FILE).write_text(json.dumps({**plan, "source": source}))
    told = everything(comparison)
    for name, text in told.items():
        assert "CC-CCII" not in text, name
        assert "SARS-CoV-2" not in text, name
        for limit in set(TASKS[CT].limits) - {NOT_A_DEVICE}:
            assert limit not in text, name
    stated = "Your own data (records.csv, prepared by csv)" if source else "Your own data (a table)"
    (claim,) = [line for line in told["checklist_claim_2024.csv"].splitlines() if line.startswith("7,")]
    assert stated in claim
    assert stated in told["report.html"]
    assert f"Comparison of trained models: {' or '.join(classes or ('CP', 'NCP'))} in CT images" in told["report.html"]
    if source:
        (missing,) = [line for line in told["checklist_claim_2024.csv"].splitlines() if line.startswith("12,")]
        assert "a: 2" in missing


def test_a_prepared_dataset_is_known_by_its_summary(tmp_path: Path) -> None:
    root = write_phantom("busi", tmp_path / "busi", patients=20, seed=3, size=(48, 64), progress=False)
    prepare("busi", root, tmp_path / "prepared", progress=False)
    source = source_of_table(tmp_path / "prepared" / "records.csv")
    assert (source["table"], source["reader"]) == ("records.csv", "busi")
    breast = get_task("breast_mass_us_classification")
    assert described(breast, breast.classes, source)[0] is breast
    assert described(breast, breast.classes, source)[1].title.startswith("BUSI")
    # The same data under other classes or in another task are not what that task's bundle describes.
    for task, classes in ((breast, ("no", "yes")), (get_task(CT), ("CP", "NCP"))):
        about, dataset = described(task, classes, source)
        assert dataset.title.startswith("BUSI")
        assert about.title == f"{' or '.join(classes)} in {task.modality} images"
        assert NOT_A_DEVICE in about.limits
        assert not set(about.limits) & (set(task.limits) - {NOT_A_DEVICE})
    assert source_of_bundle(breast, root, None) == {"table": None, "reader": "busi", "options": {}, "left_out": {}}
    assert source_of_bundle(breast, root, tmp_path / "prepared" / "records.csv") == source
    (tmp_path / "prepared" / "summary.json").unlink()
    assert source_of_table(tmp_path / "prepared" / "records.csv")["reader"] is None


def test_a_target_of_another_task_is_another_task(tmp_path: Path) -> None:
    source = {"table": "records.csv", "reader": "mrnet", "options": {"target": "acl"}}
    acl, meniscus = get_task("acl_tear_mri_classification"), get_task("meniscal_tear_mri_classification")
    assert described(acl, acl.classes, source)[0] is acl
    assert described(meniscus, meniscus.classes, source)[0].title == "no tear or tear in MR images"


def test_the_report_says_what_was_run(tmp_path: Path) -> None:
    """One network for one epoch, of a protocol of four networks and thirty epochs; of two runs one has no result."""
    comparison = FakeComparison.planned(
        tmp_path, made_records(90), protocol="paper", architectures=["densenet121", "resnet50"], folds=3
    )
    for run in comparison.plan.runs():
        if run.architecture == "resnet50" or run.scenario is None or run.scenario.freeze != "none":
            continue
        comparison.write_run(run, drawn({"first": 2.0, "second": 1.0}))
        path = (comparison.out / RUNS_FOLDER / run.id / EVALUATION_FOLDER).parent / "run.json"
        facts = json.loads(path.read_text())
        facts |= {
            "settings": {"max_epochs": 30, "image_size": 64, "batch_size": 4, "seed": 5},
            "epochs": 1 if run.fold else 2,
            "images": 30,
            "versions": {"python": "3.11.2", "torch": "2.10" if run.fold else "2.9"},
        }
        path.write_text(json.dumps(facts))
    analysis = analyze(comparison.out, comparison.root)
    protocol = analysis["protocol"]
    assert protocol["architectures"] == ["densenet121"]
    assert [item["name"] for item in protocol["scenarios"]] == ["none-0.001", "none-0.0001"]
    assert (protocol["epochs"], protocol["seed"], protocol["image_size"], protocol["batch_size"]) == (
        "1 to 2",
        5,
        64,
        4,
    )
    assert protocol["training_images"] == 30
    assert "1 network (densenet121)" in protocol["description"]
    assert "four networks" not in protocol["description"]
    assert set(analysis["software"]["torch"].split(" and ")) == {"2.9", "2.10"}
    page = write_comparison_report(comparison.out).read_text()
    assert "four networks" not in page
    assert "30 epochs" not in page
    assert "1 to 2 epochs" in page


def test_rows_of_no_part_are_not_counted_as_used(tmp_path: Path) -> None:
    frame = made_records(120)
    frame["split"] = np.repeat(["train", "validation", "test", ""], [40, 20, 50, 10])
    comparison = FakeComparison.planned(tmp_path, frame, folds=1).write(drawn({"first": 1.5, "second": 1.0}))
    analysis = analyze(comparison.out, comparison.root)
    assert analysis["data"]["excluded"] == [{"reason": "in no part of the split", "images": 10}]
