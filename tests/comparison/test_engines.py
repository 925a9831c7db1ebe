"""Doing runs: what fails is told and sinks nothing, what is finished stays, what was killed is gone on from."""

from __future__ import annotations

import fcntl
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import forks
import pytest
from processes import PATIENCE, is_running, wait_until

from radimagenet_monai.comparison import engines
from radimagenet_monai.comparison.engines import check_engine, do_all
from radimagenet_monai.comparison.jobs import FAILED, FINISHED, Job, execute, read_result, write_result
from radimagenet_monai.core.errors import ConfigurationError

pytestmark = pytest.mark.slow

POISON = "poison"
"""As the name of a probe's ``task``: ends the process that does it."""


def job_of(folder: Path, name: str, *scripts: str, **changes: Any) -> Job:
    """A run whose commands are Python scripts, each started in the run's folder."""
    bundle = folder / "bundle"
    bundle.mkdir(exist_ok=True)
    (bundle / "LICENSE").write_text("of the bundle")
    run = folder / "runs" / name
    commands = {
        f"step{number}": [sys.executable, "-c", f"import os; os.chdir({str(run)!r})\n{textwrap.dedent(script)}"]
        for number, script in enumerate(scripts)
    }
    facts: dict[str, Any] = {"bundle": str(bundle), "commands": commands, "probe": {}, "recipe": {"seed": 1}}
    return Job(id=name, folder=str(run), threads=1, **{**facts, **changes})


def counted(name: str = "log") -> str:
    """A script that leaves a line each time it is run."""
    return f"open({name!r}, 'a').write('run\\n')"


def lines(job: Job, name: str = "log") -> int:
    path = Path(job.folder) / name
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_commands_are_run_in_turn_within_a_copy_of_the_bundle(tmp_path: Path) -> None:
    job = job_of(tmp_path, "a", "open('order', 'a').write('1')", "open('order', 'a').write('2')")
    result = execute(job)
    assert (result["status"], result["problem"]) == (FINISHED, None)
    assert result["command"].count("OMP_NUM_THREADS=1 ") == 2
    assert (Path(job.folder) / "order").read_text() == "12"
    assert (Path(job.folder) / "LICENSE").exists()
    assert read_result(Path(job.folder)) == result


def test_a_failed_run_is_told_and_sinks_nothing(tmp_path: Path) -> None:
    broken = job_of(tmp_path, "broken", "print('first line'); raise SystemExit('no room left on the disk')", counted())
    good = [job_of(tmp_path, name, counted()) for name in ("a", "b", "c")]
    results = {result["id"]: result for result in do_all([good[0], broken, *good[1:]], workers=2)}
    assert [results[job.id]["status"] for job in good] == [FINISHED] * 3
    assert results["broken"]["status"] == FAILED
    assert results["broken"]["problem"] == "the step0 run failed: no room left on the disk"
    assert lines(broken) == 0, "there is nothing to evaluate after a failed training"


def test_a_run_that_was_killed_is_told(tmp_path: Path) -> None:
    job = job_of(tmp_path, "a", "import signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert execute(job)["problem"] == "the step0 run failed: it was ended by signal 9"


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    job = job_of(tmp_path, "a", commands={"train": [str(tmp_path / "absent")]})
    assert "absent" in execute(job)["problem"]


def test_what_is_finished_is_not_repeated(tmp_path: Path) -> None:
    job = job_of(tmp_path, "a", counted())
    first = execute(job)
    written = (Path(job.folder) / "result.json").stat().st_mtime_ns
    assert execute(job) == first
    assert (Path(job.folder) / "result.json").stat().st_mtime_ns == written
    assert lines(job) == 1


def test_another_recipe_starts_over(tmp_path: Path) -> None:
    execute(job_of(tmp_path, "a", counted(), "open('checkpoint', 'w')"))
    changed = job_of(tmp_path, "a", counted(), recipe={"seed": 2})
    assert execute(changed)["recipe"] == {"seed": 2}
    assert lines(changed) == 1
    assert not (Path(changed.folder) / "checkpoint").exists(), "nothing of the earlier recipe may be gone on from"


def test_a_failed_run_is_tried_again_and_gone_on_with(tmp_path: Path) -> None:
    job = job_of(
        tmp_path, "a", "import pathlib; new = not pathlib.Path('log').exists()\n" + counted() + "\nassert not new"
    )
    assert execute(job)["status"] == FAILED
    assert execute(job)["status"] == FINISHED
    assert lines(job) == 2


@pytest.mark.parametrize(("status", "trainings"), [("completed", 1), ("running", 2)])
def test_a_finished_training_is_not_gone_on_with(tmp_path: Path, status: str, trainings: int) -> None:
    """It would find nothing to do, and forget which epoch was the best."""
    train = f"""
        import os
        for name in ("models", "output"):
            os.makedirs(name, exist_ok=True)
        open("models/model.pt", "w")
        open("output/run.json", "w").write('{{"status": "{status}"}}')
        {counted()}
    """
    evaluate = "import pathlib; new = not pathlib.Path('tried').exists(); open('tried', 'w'); assert not new"
    job = job_of(tmp_path, "a", train, evaluate)
    steps = dict(zip(("train", "evaluate"), job.commands.values(), strict=True))
    job = replace(job, commands=steps)
    assert execute(job)["problem"].startswith("the evaluate run failed")
    assert execute(job)["status"] == FINISHED
    assert lines(job) == trainings


def test_a_half_made_copy_of_the_bundle_is_made_anew(tmp_path: Path) -> None:
    """A run killed while its bundle was copied has no recipe yet."""
    job = job_of(tmp_path, "a", counted())
    Path(job.folder).mkdir(parents=True)
    (Path(job.folder) / "stray").write_text("half")
    assert execute(job)["status"] == FINISHED
    assert not (Path(job.folder) / "stray").exists()


def test_a_torn_result_is_no_result(tmp_path: Path) -> None:
    job = job_of(tmp_path, "a", counted())
    execute(job)
    (Path(job.folder) / "result.json").write_text('{"id": "a", "sta')
    assert execute(job)["status"] == FINISHED
    assert lines(job) == 2


def test_models_go_where_they_are_not_wanted(tmp_path: Path) -> None:
    script = "import os\nfor name in ('models', 'output'): os.makedirs(name)\nopen('models/model.pt', 'w')\n"
    script += "open('output/checkpoint.pt', 'w')"
    for keep in (True, False):
        job = job_of(tmp_path, f"keep{keep}", script, keep_model=keep)
        assert execute(job)["status"] == FINISHED
        assert (Path(job.folder) / "models").exists() == keep
        assert not (Path(job.folder) / "output" / "checkpoint.pt").exists()


def test_a_run_waits_for_one_that_outlived_its_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL of a comparison leaves its training run alive: the next start waits for it to end."""
    script = f"""
        import os, time
        open("started", "w")
        end = time.monotonic() + {PATIENCE}
        while not os.path.exists("waited for"):
            assert time.monotonic() < end
            time.sleep(0.01)
        {counted()}
    """
    job = job_of(tmp_path, "a", script)
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    command = (
        "import pickle, sys; from radimagenet_monai.comparison.jobs import execute; "
        "execute(pickle.load(open(sys.argv[1], 'rb')))"
    )
    parent = forks.Popen([sys.executable, "-c", command, str(tmp_path / "job")])
    wait_until((Path(job.folder) / "started").exists, "the start of the run")
    parent.kill()
    parent.wait()
    assert read_result(Path(job.folder)) is None
    assert lines(job) == 0

    # The orphan goes on once the second run has come to the lock that it holds.
    lock = fcntl.flock

    def flock(descriptor: int, how: int) -> None:
        (Path(job.folder) / "waited for").touch()
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert execute(job)["status"] == FINISHED
    assert lines(job) == 2, "the orphan ended first, then the run was done anew"


def probe_job(folder: Path, name: str, action: str) -> Job:
    """A probe whose part is played by `played`."""
    return job_of(folder, name, probe={"task": action, "out": str(folder / name)}, commands={"probe": ["probe"]})


def played(job: Job) -> dict[str, Any]:
    """In place of `execute` within a pool: ends its process, takes its time, or does it."""
    action = str(job.probe["task"])
    if action == POISON:
        os._exit(9)
    time.sleep(float(action))
    return write_result(job, None, float(action))


@pytest.mark.usefixtures("forked_pools")
def test_a_process_that_dies_takes_only_its_own_run_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ran beside it is done again and not blamed."""
    monkeypatch.setattr(engines, "execute", played)
    actions = ["0.3", POISON, "0"]
    wanted = [probe_job(tmp_path, f"run{number}", action) for number, action in enumerate(actions)]
    results = {result["id"]: result for result in do_all(wanted, workers=2)}
    assert len(results) == len(wanted)
    for job, action in zip(wanted, actions, strict=True):
        assert results[job.id]["status"] == (FAILED if action == POISON else FINISHED)
        assert read_result(Path(job.folder)) == results[job.id], "the analysis reads it there"
    assert "its process ended without a word" in results["run1"]["problem"]


@pytest.mark.long
def test_processes_of_a_pool_end_with_their_parent(tmp_path: Path) -> None:
    """`kill -9` of a comparison must not leave processes that hold memory and wait for ever."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, pathlib, time
            from radimagenet_monai.comparison import engines
            from radimagenet_monai.comparison.jobs import Job

            def sleep(job):
                pathlib.Path({str(tmp_path)!r}, f"pid-{{os.getpid()}}").touch()
                time.sleep(600)

            if __name__ == "__main__":
                engines.execute = sleep
                job = Job("a", {str(tmp_path)!r}, "", {{}}, {{"task": "x"}}, {{}}, 1)
                list(engines.do_all([job], workers=1))
            """
        )
    )
    parent = subprocess.Popen([sys.executable, str(script)])
    wait_until(lambda: list(tmp_path.glob("pid-*")), "the process of the pool")
    child = int(next(tmp_path.glob("pid-*")).name.removeprefix("pid-"))
    assert is_running(child)
    parent.kill()
    parent.wait()
    try:
        wait_until(lambda: not is_running(child), "the end of the process of the pool")
    finally:
        if is_running(child):
            os.kill(child, signal.SIGKILL)


def test_a_gpu_is_given_to_whoever_finds_it_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first run keeps its GPU, all others are done on the other one."""
    taken: list[tuple[str, str]] = []
    at_once: dict[str, int] = {}
    lock, others_done = threading.Lock(), threading.Event()

    def on_gpu(job: Job, environment: Mapping[str, str]) -> dict[str, Any]:
        gpu = environment["CUDA_VISIBLE_DEVICES"]
        with lock:
            taken.append((gpu, job.id))
            at_once[gpu] = at_once.get(gpu, 0) + 1
            assert at_once[gpu] == 1
            if len(taken) == 8:
                others_done.set()
        if job.id == "run0":
            assert others_done.wait(PATIENCE)
        with lock:
            at_once[gpu] -= 1
        return {"id": job.id, "status": FINISHED}

    monkeypatch.setattr(engines, "execute", on_gpu)
    monkeypatch.setattr(engines, "_gpus", lambda: 2)
    wanted = [job_of(tmp_path, f"run{number}") for number in range(8)]
    assert len(list(do_all(wanted))) == 8
    (of_the_first,) = (gpu for gpu, name in taken if name == "run0")
    assert {gpu for gpu, name in taken if name != "run0"} == {"0", "1"} - {of_the_first}


def test_no_jobs_are_done_at_once() -> None:
    assert list(do_all([])) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cluster",), "engine 'cluster' is unknown; expected one of local, ray"),
        (("local", 0), "--workers 0 was given; expected a whole number, 1 or more"),
        (("local", None, 0), "--threads 0 was given; expected a whole number, 1 or more"),
        (("local", "two"), "--workers two was given"),
    ],
)
def test_what_cannot_be_done_is_refused_beforehand(arguments: Sequence[Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_engine(*arguments)


def test_ray_that_is_not_installed_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'radimagenet-monai\[ray\]'"):
        check_engine("ray")
