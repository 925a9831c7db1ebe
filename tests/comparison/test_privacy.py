"""Nothing that a comparison writes to be shown holds patients, names of files, or folders of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from forks import forked_commands, forked_pools
from small_comparison import TASK, write_small_phantom

from radimagenet_monai.cli import main
from radimagenet_monai.datasets.records.table import read_records, write_records

pytestmark = pytest.mark.slow

PATIENT, FILE, HOME = "MUELLER", "ZEBRASCAN", "janedoe"

# Working files of the person who compares; SECURITY.md says so.
WITH_PATHS = {"comparison.json", "roots.env"}
WITH_NAMES = {"predictions.csv", "predictions.json"}
WITH_PATIENTS = "records"


@pytest.fixture(scope="module", params=["probe", pytest.param("quick", marks=pytest.mark.long)])
def comparison(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("homes") / HOME
    with pytest.MonkeyPatch.context() as patch, forked_pools(), forked_commands():
        patch.setenv("HOME", str(home))
        data = write_small_phantom(home / "data")
        table = data / "prepared" / "records.csv"
        frame = read_records(table)
        images = data / "busi" / "scans"
        images.mkdir()
        for row, name in enumerate(frame["image"]):
            (data / "busi" / name).rename(images / f"{FILE}{row:03d}.png")
        frame["image"] = [f"scans/{FILE}{row:03d}.png" for row in range(len(frame))]
        frame["patient_id"] = [f"{PATIENT}{row:03d}" for row in range(len(frame))]
        frame["mask"], frame["sha256"] = "", ""
        write_records(frame, table)
        out = home / "out"
        arguments = ["compare", "--task", TASK, "--records", str(data / "prepared"), "--protocol", request.param]
        if request.param == "quick":
            arguments += ["--epochs", "1"]
        arguments += ["--weights", f"random,trained={data / 'encoder.safetensors'}", "--architectures", "densenet121"]
        patch.setattr("sys.argv", ["radimagenet", *arguments])
        main([*arguments, "--folds", "3", "--image_size", "64", "--workers", "1", "--out", str(out)])
    return out


def files_with(folder: Path, planted: str) -> set[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder) for path in files if planted.encode() in path.read_bytes()}


def test_names_are_only_where_they_have_to_be(comparison):
    assert {path.name for path in files_with(comparison, HOME)} == WITH_PATHS
    assert {path.parts[0] for path in files_with(comparison, PATIENT)} == {WITH_PATIENTS}
    found = files_with(comparison, FILE)
    assert {path.name for path in found if path.parts[0] != WITH_PATIENTS} <= WITH_NAMES


def test_the_report_says_how_to_repeat_it_all_the_same(comparison):
    page = (comparison / "report.html").read_text()
    assert "${COMPARISON}" in page
    assert "${WEIGHTS_trained}" in page
    assert (comparison / "roots.env").read_text().count("=") >= 3


def test_folders_in_an_analysis_of_an_earlier_version_stay_out_of_the_report(comparison, tmp_path):
    from radimagenet_monai.report.comparison.report import write_comparison_report

    text = (comparison / "analysis.json").read_text()
    old = text.replace("${COMPARISON}", f"/home/{HOME}/out").replace('"encoder.safetensors"', f'"/home/{HOME}/e.pt"')
    assert old != text
    (tmp_path / "analysis.json").write_text(old)
    write_comparison_report(tmp_path)
    assert {path.name for path in files_with(tmp_path, HOME)} == {"analysis.json"}
