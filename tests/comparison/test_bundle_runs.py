"""Comparisons of real training runs: killed and gone on with, and on a Ray cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from small_comparison import arguments_of, write_small_phantom

pytestmark = pytest.mark.long

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
TIMES = {"seconds", "started", "ended", "heads_seconds", "epoch_seconds"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_phantom(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run(training(data, out), check=True, env=ENVIRONMENT)
    return out


def training(data: Path, out: Path, *more: str) -> list[str]:
    """The command line of a comparison of six training runs of one epoch."""
    options = ["--epochs", "1", "--batch_size", "8", "--workers", "2", *more]
    return [sys.executable, "-m", "radimagenet_monai", *arguments_of(data, out, *options, protocol="quick")]


def results(out: Path) -> dict[str, int]:
    """Times of writing of the finished runs' results."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("runs/*/result.json")}


def analysis_of(out: Path) -> dict[str, Any]:
    """Without times, and without the folder that commands name."""
    return without_times(json.loads((out / "analysis.json").read_text().replace(str(out), "OUT")))


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(item) for name, item in value.items() if name not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def test_killed_and_started_again_it_gives_the_same_report(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    parent = subprocess.Popen(training(data, out), env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 300
    # In the middle: some runs are finished, and another one trains.
    while not (len(results(out)) >= 2 and list(out.glob("runs/*/train.log"))[2:]):
        assert parent.poll() is None, "it was over before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    before = results(out)
    assert 2 <= len(before) < 6
    assert not (out / "analysis.json").exists()

    again = subprocess.run(training(data, out), check=True, env=ENVIRONMENT, capture_output=True, text=True)
    assert f"6 runs, {len(before)} of them finished before" in again.stdout
    after = results(out)
    assert {name: after[name] for name in before} == before, "no finished run is repeated"
    assert analysis_of(out) == analysis_of(uninterrupted)

    report = (out / "report.html").read_bytes()
    subprocess.run(training(data, out), check=True, env=ENVIRONMENT, capture_output=True)
    assert (out / "report.html").read_bytes() == report
    assert results(out) == after


def test_ray_gives_the_same_numbers(data: Path, uninterrupted: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    subprocess.run(training(data, tmp_path / "out", "--engine", "ray"), check=True, env=ENVIRONMENT)
    assert {**analysis_of(tmp_path / "out"), "command": ""} == {**analysis_of(uninterrupted), "command": ""}


def test_ray_gives_the_same_probe(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    for engine in ("local", "ray"):
        options = arguments_of(data, tmp_path / engine, "--engine", engine, "--workers", "1")
        subprocess.run([sys.executable, "-m", "radimagenet_monai", *options], check=True, env=ENVIRONMENT)
    local, ray = analysis_of(tmp_path / "local"), analysis_of(tmp_path / "ray")
    assert {**ray, "command": ""} == {**local, "command": ""}
