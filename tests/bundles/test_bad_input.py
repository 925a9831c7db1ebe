"""Bad input to a bundle run: one clear line, exit status 1, nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import forks
import pytest
from bundle_runs import TINY, command, copy_bundle, run_command
from shallow_densenet import make_shallow

pytestmark = pytest.mark.slow

NAME = "breast_mass_us_classification"


def assert_one_clear_line(done: subprocess.CompletedProcess, *parts: str) -> None:
    """Exit status 1, a single error line with the given parts, no traceback."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stdout + done.stderr
    for part in parts:
        assert part in lines[0]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return copy_bundle(NAME, tmp_path)


def write_table(busi: Path, path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"dataset_dir": "{empty}"}, ["{empty}", "is empty"]),
        ({}, ["--dataset_dir"]),
        ({"dataset_dir": "{busi}", "datalist": "{unlabeled}"}, ["{unlabeled}", "no column 'label'"]),
        ({"dataset_dir": "{busi}", "datalist": "{mislabeled}"}, ["{mislabeled}", "cyst", "benign"]),
        ({"dataset_dir": "{busi}", "architecture": "resnet51"}, ["unknown architecture 'resnet51'", "resnet50"]),
        ({"dataset_dir": "{busi}", "weights": "imagenot"}, ["unknown weights 'imagenot'", "random"]),
        ({"dataset_dir": "{busi}", "freeze": "half"}, ["unknown freezing policy 'half'", "all_but_last_10"]),
        (
            {"dataset_dir": "{busi}", "architecture": "inceptionv3", "image_size": 64},
            ["image_size 64", "inceptionv3", "at least 75"],
        ),
        ({"dataset_dir": "{busi}", "output_dir": "{file}/out"}, ["{file}", "is a file", "--output_dir"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_training_input(
    overrides: dict[str, Any], parts: list[str], bundle: Path, busi: Path, tmp_path: Path
) -> None:
    places = {"busi": busi, "empty": tmp_path / "empty", "file": tmp_path / "file"}
    places["empty"].mkdir()
    places["file"].touch()
    image = "Dataset_BUSI_with_GT/benign/benign (1).png"
    places["unlabeled"] = tmp_path / "unlabeled.csv"
    places["unlabeled"].write_text(f"image,split\n{image},train\n")
    places["mislabeled"] = tmp_path / "mislabeled.csv"
    places["mislabeled"].write_text(f"image,label,split\n{image},cyst,train\n")
    before = sorted(bundle.rglob("*"))
    filled = {key: str(value).format(**places) for key, value in overrides.items()}
    done = run_command(bundle, "train", tmp_path, **{**TINY, **filled})
    assert_one_clear_line(done, *(part.format(**places) for part in parts))
    assert sorted(bundle.rglob("*")) == before, "something was left behind"


@pytest.mark.long
def test_checkpoint_of_another_architecture(trained: Path, busi: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(trained, tmp_path / NAME))
    done = run_command(bundle, "evaluate", tmp_path, dataset_dir=busi, architecture="resnet50", num_workers=0)
    assert_one_clear_line(done, "model.pt", "densenet121", "resnet50")
    resumed = {**TINY, "architecture": "resnet50", "resume": True, "dataset_dir": busi, "max_epochs": 3}
    before = (bundle / "output" / "checkpoint.pt").read_bytes()
    done = run_command(bundle, "train", tmp_path, **resumed)
    assert_one_clear_line(done, "checkpoint.pt", "architecture='densenet121'", "architecture='resnet50'")
    assert (bundle / "output" / "checkpoint.pt").read_bytes() == before


def test_evaluation_before_training(bundle: Path, busi: Path, tmp_path: Path) -> None:
    done = run_command(bundle, "evaluate", tmp_path, dataset_dir=busi, num_workers=0)
    assert_one_clear_line(done, "model.pt", "does not exist", "train the bundle first")
    assert not (bundle / "output").exists()


_IN_NAMESPACE = """
import pathlib, runpy, sys
from processes import mount_own

out, options, listing, *command = sys.argv[1:]
if not mount_own(out, options):
    sys.exit(77)
sys.argv = command[2:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
finally:
    # Made here, where the file system can be seen.
    pathlib.Path(listing).write_text("\\n".join(path.name for path in pathlib.Path(out).rglob("*")))
"""


def run_on_file_system(options: str, bundle: Path, tmp_path: Path, **overrides: Any) -> tuple[Any, list[str]]:
    """Train into a file system of its own, mounted with ``options``; the process that has ended, and what is in it."""
    out, listing = tmp_path / "out", tmp_path / "listing"
    out.mkdir()
    run = command(bundle, "train", {**TINY, "output_dir": out, **overrides})
    arguments = [sys.executable, "-c", _IN_NAMESPACE, str(out), options, str(listing), *run]
    done = forks.run(arguments, cwd=tmp_path, first=make_shallow)
    if done.returncode == 77:
        pytest.skip("this machine lets no process have a mount namespace of its own")
    return done, listing.read_text().splitlines()


def test_read_only_output_folder(bundle: Path, busi: Path, tmp_path: Path) -> None:
    done, _ = run_on_file_system("ro", bundle, tmp_path, dataset_dir=busi)
    assert_one_clear_line(done, str(tmp_path / "out"), "--output_dir")


@pytest.mark.parametrize(
    ("size", "fits"), [("200k", "nothing"), pytest.param("3m", "the packed images", marks=pytest.mark.long)]
)
def test_no_space_left(size: str, fits: str, bundle: Path, busi: Path, tmp_path: Path) -> None:
    done, left = run_on_file_system(f"size={size}", bundle, tmp_path, dataset_dir=busi, max_epochs=1, image_size=64)
    assert_one_clear_line(done, "o space left on device")
    assert not [name for name in left if name.endswith(".part") or "building" in name], "half-written files"
    assert "checkpoint.pt" not in left
    assert ("images.npy" in left) == (fits == "the packed images")
