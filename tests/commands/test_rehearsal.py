"""The rehearsal, small: what it runs, repeats and prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forks import forked_commands
from shallow_densenet import make_shallow

from radimagenet_monai.catalog.tasks import TASKS, Kind, get_task
from radimagenet_monai.commands.on_phantoms import rehearsal
from radimagenet_monai.commands.on_phantoms.rehearsal import Plan, measured, plan_for, rehearse, table

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_segmentation"


def test_every_task_has_a_plan_and_a_bar_to_reach() -> None:
    for task in TASKS.values():
        plan = plan_for(task)
        required = {Kind.CLASSIFICATION: 0.85, Kind.SEGMENTATION: 0.75, Kind.PRETRAINING: 5 * 5 / 165}[task.kind]
        assert plan.required == pytest.approx(required)
        if task.kind is Kind.PRETRAINING:
            assert plan.training["architecture"] == task.architecture


@pytest.mark.long
def test_one_bundle_is_rehearsed_once_and_the_table_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    training = {"architecture": "densenet121", "image_size": 64, "batch_size": 8, "max_epochs": 1}
    plan = Plan(40, {"size": (72, 96)}, training, "mean Dice", 0.99)
    monkeypatch.setattr(rehearsal, "plan_for", lambda task: plan)
    with forked_commands(make_shallow):
        path, learnt = rehearse(tmp_path / "out", [NAME])
    assert not learnt
    text = path.read_text()
    assert "**not reached**" in text
    assert "not patients" in text
    result = json.loads((tmp_path / "out" / NAME / "result.json").read_text())
    assert f"| {NAME} | densenet121, 64 px, 1 epochs | {result['images']} " in text
    assert result["command"].startswith("python -m monai.bundle run ")
    monkeypatch.setattr(rehearsal, "run_bundle", lambda *arguments: pytest.fail("a finished bundle was run again"))
    assert rehearse(tmp_path / "out", [NAME]) == (path, False)
    assert "done before" in capsys.readouterr().out
    assert path.read_text() == text


def test_measures_are_taken_from_the_evaluation() -> None:
    auc = {"auc": 0.9, "low": 0.8, "high": 0.95}
    binary = {"images": 10, "patients": 5, "auc": auc}
    assert measured(get_task("acl_tear_mri_classification"), binary)["value"] == 0.9
    hemorrhage = get_task("intracranial_hemorrhage_ct_classification")
    assert measured(hemorrhage, {"findings": {"any": binary, "subdural": None}})["patients"] == 5
    row = {"bundle": "x", "architecture": "y", "image_size": 1, "epochs": 1, "measure": "AUC", "required": 0.85}
    assert "0.900 (0.800 to 0.950)" in table(
        [row | {"seconds": 1.0, "images": 1, "patients": None} | auc | {"value": 0.9}]
    )
