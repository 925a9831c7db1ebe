"""Starting a bundle's run from Python: what goes to the log, to the terminal and into an error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from radimagenet_monai.comparison import bundle_run
from radimagenet_monai.comparison.bundle_run import BundleRunError, run_bundle

LINES = "print('12:00:00 INFO half done'); print('bundle_root: x'); "


def test_progress_is_shown_and_all_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(bundle_run, "bundle_command", lambda *run: [sys.executable, "-c", LINES])
    run_bundle(tmp_path, "train", {}, tmp_path / "logs" / "train.log")
    assert (tmp_path / "logs" / "train.log").read_text().splitlines() == ["12:00:00 INFO half done", "bundle_root: x"]
    assert capsys.readouterr().out == "  12:00:00 INFO half done\n"


def test_a_failed_run_is_told_with_its_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = LINES + "raise SystemExit('no room left')"
    monkeypatch.setattr(bundle_run, "bundle_command", lambda *run: [sys.executable, "-c", code])
    with pytest.raises(BundleRunError, match=r"the train run of \S+ failed: no room left \(all of its output: "):
        run_bundle(tmp_path, "train", {}, tmp_path / "train.log")


def test_the_command_is_what_a_user_types() -> None:
    assert bundle_run.bundle_command("b", "train", {"max_epochs": 2})[1:] == [
        *("-m", "monai.bundle", "run", "--config_file", "b/configs/train.json", "--bundle_root", "b"),
        *("--max_epochs", "2"),
    ]
