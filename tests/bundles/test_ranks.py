"""A bundle under torchrun, as on a cluster: a lost process, a time limit, and going on afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bundle_runs import REPOSITORY, command, copy_bundle
from processes import PATIENCE, wait_until

pytestmark = pytest.mark.long

NAME = "breast_mass_us_classification"
SMALL: dict[str, Any] = {
    "image_size": 32,
    "batch_size": 2,
    "num_workers": 1,
    "device": "cpu",
    "checkpoint_minutes": 1e-6,  # after every step
}


def ranks_of(bundle: Path, settings: dict[str, Any], processes: int = 2) -> list[str]:
    """The command line of the how-to."""
    alone = command(bundle, "train", settings)
    configs = f"['{bundle}/configs/train.json','{bundle}/configs/multi_gpu_train.json']"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*launcher, "-m", *(configs if part.endswith("train.json") else part for part in alone[2:])]


def start(arguments: list[str], log: Path) -> subprocess.Popen:
    with log.open("w") as stream:
        return subprocess.Popen(arguments, stdout=stream, stderr=stream, env={**os.environ, "OMP_NUM_THREADS": "1"})


def wait_for(path: Path, process: subprocess.Popen, log: Path) -> None:
    wait_until(lambda: path.exists() or process.poll() is not None, path.name)
    assert process.poll() is None, log.read_text()[-2000:]


def finish(process: subprocess.Popen, seconds: float) -> int:
    try:
        return process.wait(seconds)
    finally:
        process.kill()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def settings(few_records: Callable[[str], Path], busi: Path) -> dict[str, Any]:
    return {**SMALL, "dataset_dir": str(busi), "datalist": str(few_records(NAME))}


def test_a_lost_process_ends_the_run_and_the_rest_goes_on(settings: dict[str, Any], tmp_path: Path) -> None:
    bundle, log = copy_bundle(NAME, tmp_path), tmp_path / "log.txt"
    saved = bundle / "output" / "checkpoint.pt"
    # Both processes find an empty store: one fills it, the other waits.
    run = start(ranks_of(bundle, {**settings, "max_epochs": 500}), log)
    wait_for(saved, run, log)
    os.kill(children(run.pid)[1], signal.SIGKILL)
    assert finish(run, PATIENCE) != 0
    before = torch.load(saved, weights_only=True)
    assert before["processes"] == 2
    assert before["epoch"] < 500
    last = before["epoch"] + 2
    alone = command(bundle, "train", {**settings, "max_epochs": last, "resume": True})
    done = subprocess.run(alone, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "saved by 2 processes, this run has 1" in done.stdout + done.stderr
    assert torch.load(saved, weights_only=True)["epoch"] == last
    assert json.loads((bundle / "output" / "run.json").read_text())["status"] == "completed"


def test_a_time_limit_saves_and_the_run_goes_on(settings: dict[str, Any], tmp_path: Path) -> None:
    bundle, log = copy_bundle(NAME, tmp_path), tmp_path / "log.txt"
    saved = bundle / "output" / "checkpoint.pt"
    run = start(ranks_of(bundle, {**settings, "max_epochs": 500}), log)
    wait_for(saved, run, log)
    run.send_signal(signal.SIGTERM)
    assert finish(run, PATIENCE) != 0
    record = bundle / "output" / "run.json"
    assert json.loads(record.read_text())["status"] == "stopped", log.read_text()[-4000:]
    assert log.read_text().count("stopped by SIGTERM after") == 1
    last = torch.load(saved, weights_only=True)["epoch"] + 2
    again = start(ranks_of(bundle, {**settings, "max_epochs": last, "resume": True}), log)
    assert finish(again, PATIENCE) == 0, log.read_text()[-4000:]
    assert torch.load(saved, weights_only=True)["epoch"] == last
    assert json.loads(record.read_text())["processes"] == 2


SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
echo $$ > "$SHARED/srun.pid"
exec "$@"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo localhost; else echo "$@" >> "$SHARED/requeued"; fi
"""


def test_the_batch_script_requeues_what_was_stopped_and_nothing_else(settings: dict[str, Any], tmp_path: Path) -> None:
    """With stand-ins for SLURM's commands: srun runs on this machine, scontrol notes what it is asked for."""
    bundle, log, output = copy_bundle(NAME, tmp_path), tmp_path / "log.txt", tmp_path / "output"
    programs = tmp_path / "programs"
    programs.mkdir()
    python = Path(sys.executable)
    launcher = f'#!/bin/bash\nexec "{python}" -m torch.distributed.run "$@"\n'
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "torchrun": launcher}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "SHARED": str(tmp_path),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_GPUS_ON_NODE": "2",
        "OMP_NUM_THREADS": "1",
    }

    def submit(**keys: Any) -> subprocess.Popen:
        words = [part for key, value in {**settings, **keys}.items() for part in (f"--{key}", str(value))]
        arguments = ["bash", str(REPOSITORY / "docs" / "how-to" / "pretrain.sbatch"), str(bundle), str(output), *words]
        with log.open("w") as stream:
            return subprocess.Popen(arguments, stdout=stream, stderr=stream, env=environment)

    job = submit(max_epochs=500)
    wait_for(output / "checkpoint.pt", job, log)
    os.kill(int((tmp_path / "srun.pid").read_text()), signal.SIGTERM)
    assert finish(job, PATIENCE) != 0
    assert (tmp_path / "requeued").read_text() == "requeue 7\n", log.read_text()[-4000:]
    # A job that fails at its start finds the record of the stopped one, and is not requeued for it.
    assert finish(submit(max_epochs=500, seed=1), PATIENCE) != 0
    assert "seed=0, this run has seed=1" in log.read_text()
    assert (tmp_path / "requeued").read_text() == "requeue 7\n"
