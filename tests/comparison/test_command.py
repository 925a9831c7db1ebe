"""``radimagenet compare`` as a person meets it: from a records table to a report, twice, and what it refuses.

Nothing that it writes to be shown holds patients, names of files, or folders of the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from forks import forked_commands, forked_pools
from small_comparison import arguments_of, write_small_phantom

from radimagenet_monai.cli import main
from radimagenet_monai.comparison import compare
from radimagenet_monai.comparison.jobs import Job, write_result
from radimagenet_monai.datasets.records.table import read_records, write_records
from radimagenet_monai.report.comparison.report import write_comparison_report

pytestmark = pytest.mark.slow


PATIENT, FILE, HOME = "MUELLER", "ZEBRASCAN", "janedoe"

# Working files of the person who compares; SECURITY.md says so.
WITH_PATHS = {"comparison.json", "roots.env"}
WITH_NAMES = {"predictions.csv", "predictions.json"}
WITH_PATIENTS = "records"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small phantom with names planted in folders, files and patients."""
    data = write_small_phantom(tmp_path_factory.mktemp("homes") / HOME / "data")
    table = data / "prepared" / "records.csv"
    frame = read_records(table)
    (data / "busi" / "scans").mkdir()
    for row, name in enumerate(frame["image"]):
        (data / "busi" / name).rename(data / "busi" / "scans" / f"{FILE}{row:03d}.png")
    frame["image"] = [f"scans/{FILE}{row:03d}.png" for row in range(len(frame))]
    frame["patient_id"] = [f"{PATIENT}{row:03d}" for row in range(len(frame))]
    frame["mask"], frame["sha256"] = "", ""
    write_records(frame, table)
    return data


def typed(data: Path, out: Path, *more: str, protocol: str = "probe") -> None:
    """The command, given at home."""
    arguments = arguments_of(data, out, *more, protocol=protocol)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(data.parent))
        patch.setattr("sys.argv", ["radimagenet", *arguments])
        main([*arguments, "--workers", "1"])


@pytest.fixture(scope="module")
def finished(data: Path) -> Path:
    """The folder of a finished comparison by the probe."""
    with forked_pools():
        typed(data, data.parent / "out")
    return data.parent / "out"


@pytest.fixture(scope="module", params=["probe", pytest.param("quick", marks=pytest.mark.long)])
def shown(request: pytest.FixtureRequest, data: Path) -> Path:
    """The folder of a finished comparison by each protocol."""
    if request.param == "probe":
        return Path(request.getfixturevalue("finished"))
    with forked_pools(), forked_commands():
        typed(data, data.parent / "quick", "--epochs", "1", protocol="quick")
    return data.parent / "quick"


def test_it_ends_in_an_analysis_and_a_report(finished: Path, data: Path) -> None:
    text = (finished / "analysis.json").read_text()
    analysis = json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert [run["status"] for run in analysis["runs"]] == ["finished"] * 6
    assert len(analysis["sentences"]) == 1
    assert analysis["data"]["images"] == 40
    frame = read_records(data / "prepared" / "records.csv")
    assert not [name for name in frame["image"] if Path(name).name in text]
    page = (finished / "report.html").read_text()
    assert analysis["sentences"][0].split(" (")[0] in page


def test_given_again_nothing_is_repeated_and_the_report_is_the_same(
    finished: Path, data: Path, capsys: pytest.CaptureFixture
) -> None:
    paths = [finished / name for name in ("analysis.json", "report.html", "report.json", "comparison.json")]
    before = {path: path.read_bytes() for path in paths}
    times = {path: path.stat().st_mtime_ns for path in finished.glob("runs/*/result.json")}
    assert len(times) == 6
    typed(data, finished)
    assert "6 runs, 6 of them finished before" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert {path: path.read_bytes() for path in paths} == before


@pytest.mark.long
def test_the_command_beside_a_run_repeats_it(finished: Path) -> None:
    run = json.loads((finished / "analysis.json").read_text())["runs"][0]
    predictions = finished / "runs" / run["id"] / "output" / "evaluation" / "predictions.csv"
    before = predictions.read_bytes()
    shutil.rmtree(predictions.parent)
    typed = f". {finished / 'roots.env'} && {run['command']}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where `python` has the package
    subprocess.run(typed, shell=True, check=True, capture_output=True, env={**os.environ, "PATH": path})
    assert predictions.read_bytes() == before


@pytest.mark.long
def test_an_initialization_is_added_without_repeating_the_others(finished: Path, data: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "out"))
    path = next(iter(sorted(out.glob("runs/*/result.json"))))
    arguments = arguments_of(data, out, "--workers", "1")
    place = arguments.index("--weights") + 1
    before = path.stat().st_mtime_ns
    main([*arguments[:place], f"{arguments[place]},again=random", *arguments[place + 1 :]])
    analysis = json.loads((out / "analysis.json").read_text())
    assert path.stat().st_mtime_ns == before
    assert len(analysis["runs"]) == 9
    assert len(analysis["differences"]) == 3
    assert any("random and again gave the same results" in sentence for sentence in analysis["sentences"])


def files_with(folder: Path, planted: str) -> set[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder) for path in files if planted.encode() in path.read_bytes()}


def test_names_are_only_where_they_have_to_be(shown: Path) -> None:
    assert {path.name for path in files_with(shown, HOME)} == WITH_PATHS
    assert {path.parts[0] for path in files_with(shown, PATIENT)} == {WITH_PATIENTS}
    found = files_with(shown, FILE)
    assert {path.name for path in found if path.parts[0] != WITH_PATIENTS} <= WITH_NAMES


def test_the_report_says_how_to_repeat_it_all_the_same(shown: Path) -> None:
    page = (shown / "report.html").read_text()
    assert "${COMPARISON}" in page
    assert "${WEIGHTS_trained}" in page
    assert (shown / "roots.env").read_text().count("=") >= 3


def test_folders_in_an_analysis_of_an_earlier_version_stay_out_of_the_report(shown: Path, tmp_path: Path) -> None:
    text = (shown / "analysis.json").read_text()
    old = text.replace("${COMPARISON}", f"/home/{HOME}/out").replace('"encoder.safetensors"', f'"/home/{HOME}/e.pt"')
    assert old != text
    (tmp_path / "analysis.json").write_text(old)
    write_comparison_report(tmp_path)
    assert {path.name for path in files_with(tmp_path, HOME)} == {"analysis.json"}


def stopped(capsys: pytest.CaptureFixture, arguments: list[str]) -> str:
    """The one error line of a command that must not run."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code in (1, 2)
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "breast"], "unknown task 'breast'"),
        (["--weights", "random"], "a comparison needs two or more"),
        (["--weights", "random,imagenet"], "nothing is left to compare"),
        (["--weights", "random,random"], "two weights are called 'random'"),
        (["--protocol", "fast"], "--protocol fast was given: expected one of quick, probe, paper"),
        (["--architectures", "vgg16"], "architecture 'vgg16' is unknown"),
        (["--folds", "2"], "2 folds were given"),
        (["--folds", "five"], "--folds five was given"),
        (["--fractions", "half"], "--fractions half was given"),
        (["--fractions", "0.5,2"], "expected shares in (0, 1]"),
        (["--engine", "cluster"], "--engine cluster was given: expected one of local, ray"),
        (["--workers", "0"], "--workers 0 was given"),
        (["--threads", "0"], "--threads 0 was given"),
        (["--loaders", "many"], "--loaders many was given"),
        (["--classes", "benign,malign"], "column 'label'"),
        (["--records", "absent.csv"], "absent.csv: no such records table"),
        (["--root", "."], "none of its images are under '.'"),
        (["--subgroups", "shoe_size"], "no column 'shoe_size'"),
        (["--folds", "35"], "ask for fewer folds"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    options: list[str],
    message: str,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = arguments_of(data, tmp_path / "out")
    if options[0] in given:
        given[given.index(options[0]) + 1] = options[1]
    else:
        given += options
    assert message in stopped(capsys, given)
    assert list(tmp_path.iterdir()) == []


def test_images_that_are_missing_are_told_beforehand(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    frame = read_records(data / "prepared" / "records.csv")
    frame.loc[3, "image"] = "absent.png"
    write_records(frame, tmp_path / "records.csv")
    arguments = arguments_of(data, tmp_path / "out", "--root", str(data / "busi"))
    arguments[arguments.index("--records") + 1] = str(tmp_path / "records.csv")
    assert "1 of 40 images do not exist" in stopped(capsys, arguments)
    assert not (tmp_path / "out").exists()


def test_where_every_run_fails_the_reason_is_told(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(jobs: Sequence[Job], *_: Any) -> Iterator[dict[str, Any]]:
        return (write_result(job, "no room left on the disk", 1.0) for job in jobs)

    monkeypatch.setattr(compare, "do_all", fail)
    line = stopped(capsys, arguments_of(data, tmp_path / "out"))
    assert line == "error: every run failed; the first: no room left on the disk"
    assert not (tmp_path / "out" / "analysis.json").exists()


def test_help_tells_of_every_option() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "radimagenet_monai", "compare", "--help"], capture_output=True, text=True, check=True
    )
    text = done.stdout + done.stderr
    for option in ("task", "records", "weights", "out", "protocol", "fractions", "engine", "workers", "subgroups"):
        assert f"--{option}" in text or option.upper() in text
