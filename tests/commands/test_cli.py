"""The command line as a person meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from radimagenet_monai import __version__
from radimagenet_monai.cli import main
from radimagenet_monai.core.errors import RecordsError

pytestmark = pytest.mark.slow


def stopped(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """The one error line of a command that must end with status 1."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def test_version(capsys: pytest.CaptureFixture) -> None:
    main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


def test_info_tells_of_one_task(capsys: pytest.CaptureFixture) -> None:
    main(["info", "--task", "breast_mass_us_classification", "--json"])
    info = json.loads(capsys.readouterr().out)
    assert list(info["tasks"]) == ["breast_mass_us_classification"]
    assert list(info["datasets"]) == ["busi"]
    main(["info"])
    assert "* breast_mass_us_classification" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "--task", "breast"], "unknown task 'breast'; choose one of"),
        (["prepare", "basi", "--root", ".", "--out", "out"], "no reader for dataset 'basi'; there is one for busi"),
        (["prepare", "busi", "--root", "absent", "--out", "out"], "'absent' is not a folder"),
        (["phantom", "basi", "--out", "out"], "phantom 'basi' is unknown"),
        (["bundles", "render", "breast", "--out", "out"], "unknown task 'breast'"),
        (["bundles", "render", "pneumonia_xr", "--out", "out"], "unknown task"),
        (["bundles", "check", "."], "holds no bundle"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in stopped(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_demo_does_not_empty_a_strangers_folder(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "no demo of ours" in stopped(capsys, "demo", "--out", str(tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_phantom_to_records(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    main(["phantom", "busi", "--out", str(tmp_path / "busi"), "--patients", "24", "--workers", "1"])
    main(["prepare", "busi", "--root", str(tmp_path / "busi"), "--out", str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert "24 images" in out
    assert "differs from the published counts" in out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["images"] == 24
    assert (tmp_path / "out" / "records.csv").is_file()


@pytest.mark.parametrize("command", [[], ["info"], ["prepare"], ["phantom"], ["bundles", "render"], ["demo"]])
def test_help_names_the_arguments(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "radimagenet_monai", *command, "--help"], capture_output=True, text=True, check=True
    )
    text = done.stdout + done.stderr
    assert "radimagenet" in text
    if command and command != ["info"]:
        assert "--out" in text or "OUT" in text


def test_false_switches_an_option_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fire gives the text 'false', which would count as true."""
    seen: dict[str, object] = {}

    def prepare(*arguments: object, **options: object) -> None:
        seen.update(options)
        raise RecordsError("seen enough")

    monkeypatch.setattr("radimagenet_monai.datasets.registry.prepare", prepare)
    options = ["--official", "false", "--hash_files", "True", "--slices", "central:3"]
    with pytest.raises(SystemExit):
        main(["prepare", "mrnet", "--root", "x", "--out", str(tmp_path), *options])
    assert seen == {"official": False, "hash_files": True, "slices": "central:3"}
