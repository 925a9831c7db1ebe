"""One run of a comparison as a job for any process: its commands, folder and result."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from radimagenet_monai.catalog.tasks import get_task
from radimagenet_monai.collection.render import write_bundles
from radimagenet_monai.comparison.bundle_run import bundle_command
from radimagenet_monai.comparison.plan import Plan, Run
from radimagenet_monai.comparison.training_sets import records_path
from radimagenet_monai.core.atomic import atomic_write_text, read_json_if_whole
from radimagenet_monai.core.errors import one_line
from radimagenet_monai.core.named_roots import shell_command, without_folders
from radimagenet_monai.engine.handlers.checkpoint import CHECKPOINT_NAME
from radimagenet_monai.engine.handlers.run_record import RUN_FILE
from radimagenet_monai.engine.start.run_folder import FACTS_NAME, MODEL_NAME

RESULT_FILE = "result.json"
ROOTS_FILE = "roots.env"
RUNS_FOLDER = "runs"
STORE_FOLDER = "store"
FEATURES_FOLDER = "features"
EVALUATION_FOLDER = Path("output") / "evaluation"

FINISHED, FAILED = "finished", "failed"
_LOCK = ".lock"


@dataclass(frozen=True)
class Job:
    """A run to execute.

    Attributes
    ----------
    id
        Id of the run, also the name of its folder.
    folder
        Folder of the run: a complete bundle, or the outputs of a probe.
    bundle
        The rendered bundle that a training run starts from; empty for a probe.
    commands
        Name to command line, in order, each ready to type.
    probe
        Arguments of `radimagenet_monai.comparison.probe.probe.probe`; `probe_run` is called instead of the command, to
        avoid starting a process for a run of seconds. Empty for a bundle run.
    recipe
        Everything the result depends on; a result with the same recipe is not recomputed.
    threads
        CPU threads. Use the same number everywhere for the same results everywhere.
    keep_model
        Whether to keep the trained model.
    roots
        Names of this machine's folders and files in the commands, see `named_roots`.
    """

    id: str
    folder: str
    bundle: str
    commands: Mapping[str, list[str]]
    probe: Mapping[str, Any]
    recipe: Mapping[str, Any]
    threads: int
    keep_model: bool = True
    roots: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that repeats the run, in a shell with the variables of ``roots.env``."""
        return " && ".join(
            f"OMP_NUM_THREADS={self.threads} {shell_command(each, self.roots)}" for each in self.commands.values()
        )


def named_roots(plan: Plan, out: Path, root: Path) -> dict[str, str]:
    """Names for the paths in a comparison's commands and messages.

    ``COMPARISON``, its folder; ``DATA``, the folder of the images; ``WEIGHTS_name``, each file of weights.
    """
    roots = {"COMPARISON": os.fspath(out), "DATA": os.fspath(root)}
    for item in plan.initializations:
        if Path(item.weights).is_absolute():
            roots["WEIGHTS_" + re.sub(r"\W", "_", item.name)] = item.weights
    return roots


def write_roots(roots: Mapping[str, str], out: Path) -> None:
    """Write ``roots.env``, the paths of this machine, which a shell reads before it repeats a run."""
    lines = ["# Paths of this machine, for the commands that repeat a run: . ./roots.env", "set -a"]
    lines += [f"{name}={shlex.quote(path)}" for name, path in roots.items()]
    atomic_write_text(out / ROOTS_FILE, "\n".join([*lines, "set +a", ""]))


def make_job(plan: Plan, run: Run, out: Path, root: Path, workers: int, threads: int, keep_model: bool) -> Job:
    """The job of a run.

    Parameters
    ----------
    plan, run
        The comparison and one of its runs.
    out
        Folder of the comparison.
    root
        Folder that the records' paths are relative to.
    workers
        Image-loading processes during training; 0 is best for small images.
    threads, keep_model
        As for `Job`.
    """
    records = records_path(out, run.fold, run.fraction)
    folder = out / RUNS_FOLDER / run.id
    recipe = {
        "run": json.loads(json.dumps(asdict(run))),
        "weights": dict(plan.identities.get(run.architecture, {}).get(run.initialization, {})),
        "settings": {
            name: getattr(plan, name)
            for name in ("task", "folds", "image_size", "batch_size", "epochs", "seed", "records_sha256")
        }
        | {"classes": list(plan.classes)},
        "threads": threads,
    }
    weights = plan.weights_of(run.initialization)
    roots = named_roots(plan, out, root)
    if plan.is_probe:
        probe: dict[str, Any] = {
            "task": plan.task,
            "records": str(records),
            "root": str(root),
            "architecture": run.architecture,
            "weights": weights,
            "fold": run.fold,
            "image_size": plan.image_size,
            "seed": plan.seed,
            "cache_dir": str(out / FEATURES_FOLDER),
            "out": str(folder / EVALUATION_FOLDER),
        }
        if plan.classes != get_task(plan.task).classes:
            probe["classes"] = list(plan.classes)
        command = [sys.executable, "-m", "radimagenet_monai.comparison.probe.probe"]
        for name, value in probe.items():
            if value is not None:
                command += [f"--{name}", str(value)]
        return Job(run.id, str(folder), "", {"probe": command}, probe, recipe, threads, keep_model, roots)

    assert run.scenario is not None
    place = {"dataset_dir": root, "datalist": records, "store_dir": out / STORE_FOLDER}
    settings: dict[str, Any] = {
        "architecture": run.architecture,
        "weights": weights,
        "freeze": run.scenario.freeze,
        "image_size": plan.image_size,
        "batch_size": plan.batch_size,
        "learning_rate": run.scenario.learning_rate,
        "max_epochs": plan.epochs,
        "seed": plan.seed,
        "num_workers": workers,
    }
    if run.fold is not None:
        settings["fold"] = run.fold
    if plan.classes != get_task(plan.task).classes:
        settings["classes"] = list(plan.classes)
    commands = {
        "train": bundle_command(folder, "train", {**place, **settings, "resume": "true"}),
        "evaluate": bundle_command(folder, "evaluate", {**place, "num_workers": workers}),
    }
    bundle = str(out / "bundle" / plan.task)
    return Job(run.id, str(folder), bundle, commands, {}, recipe, threads, keep_model, roots)


def prepare_bundle(plan: Plan, out: Path) -> None:
    """Render the bundle from which the runs start."""
    if not plan.is_probe:
        write_bundles(out / "bundle", [plan.task])


def execute(job: Job, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Do a run, or reuse its earlier result, and write ``result.json`` into its folder. Never raises for a failed run.

    Parameters
    ----------
    job
        The run.
    environment
        Variables for its processes, such as the GPU to use.

    Returns
    -------
    dict
        ``id``, ``status`` (`FINISHED` or `FAILED`), ``seconds``, ``problem``, ``command``, ``recipe``.
    """
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder) as lock:
        known = finished_before(job)
        if known is not None:
            return known
        started = time.monotonic()
        try:
            problem = _probe(job) if job.probe else _bundle_run(job, folder, environment or {}, lock)
        except Exception as error:  # a failed run must not stop the others, whatever the reason
            problem = one_line(f"{type(error).__name__}: {error}")
        result = write_result(job, problem, round(time.monotonic() - started, 1))
        if not problem:
            _tidy(job, folder)
        return result


def write_result(job: Job, problem: str | None, seconds: float | None) -> dict[str, Any]:
    """Write ``result.json`` of a successful (``problem`` is ``None``) or failed run, and return its content."""
    result = {
        "id": job.id,
        "status": FAILED if problem else FINISHED,
        "seconds": seconds,
        "problem": without_folders(problem, job.roots),
        "command": job.command,
        "recipe": _plain(job.recipe),
    }
    Path(job.folder).mkdir(parents=True, exist_ok=True)
    atomic_write_text(Path(job.folder) / RESULT_FILE, json.dumps(result, indent=2) + "\n")
    return result


def read_result(folder: Path) -> dict[str, Any] | None:
    """``result.json`` of a run, or ``None`` if it is missing or unreadable."""
    return read_json_if_whole(folder / RESULT_FILE) or None


def finished_before(job: Job) -> dict[str, Any] | None:
    """The earlier result of a job with the same recipe, or ``None``."""
    known = read_result(Path(job.folder))
    if known is None or known["status"] != FINISHED or known["recipe"] != _plain(job.recipe):
        return None
    return known


def _probe(job: Job) -> str | None:
    import torch

    from radimagenet_monai.comparison.probe.features import FrozenEncoder
    from radimagenet_monai.comparison.probe.probe import probe_run

    torch.set_num_threads(job.threads)
    given = {**job.probe, "task": get_task(str(job.probe["task"]))}
    names = ("architecture", "weights", "image_size", "seed", "cache_dir")
    probe_run(frozen=FrozenEncoder(**{name: given.pop(name) for name in names}), **given)
    return None


def _bundle_run(job: Job, folder: Path, environment: Mapping[str, str], lock: Sequence[int]) -> str | None:
    """Train and evaluate; return the reason for a failure, or ``None``."""
    _renew_bundle(job, folder)
    variables = {**os.environ, **environment, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": str(job.threads)}
    for name, command in job.commands.items():
        if name == "train" and _is_trained(folder):
            continue
        log = folder / f"{name}.log"
        try:
            problem = _run(command, log, variables, lock)
        finally:
            text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
            atomic_write_text(log, "".join(without_folders(line, job.roots) for line in text.splitlines(True)))
        if problem:
            return f"the {name} run failed: {problem}"
    return None


def _is_trained(folder: Path) -> bool:
    """Whether a training finished but was not evaluated, such as one that outlived a killed comparison.

    If resumed, it would find nothing to do and overwrite the record of the training.
    """
    facts = read_json_if_whole(folder / "output" / RUN_FILE)
    return facts.get("status") == "completed" and (folder / "models" / "model.pt").is_file()


def _renew_bundle(job: Job, folder: Path) -> None:
    """Give the run its bundle; files of an earlier recipe are removed, a killed run is resumed."""
    recipe = folder / "recipe.json"
    text = json.dumps(_plain(job.recipe), indent=2) + "\n"
    if not recipe.exists() or recipe.read_text(encoding="utf-8") != text:
        for path in folder.iterdir():
            if path.name != _LOCK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(job.bundle, folder, dirs_exist_ok=True)
        atomic_write_text(recipe, text)


def _run(command: list[str], log: Path, environment: Mapping[str, str], lock: Sequence[int]) -> str | None:
    """The last line of a failed command's output, or ``None``."""
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            pass_fds=tuple(lock),
            check=False,
        )
    if not done.returncode:
        return None
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if done.returncode < 0:
        return f"it was ended by signal {-done.returncode}"
    return one_line(lines[-1]) if lines else f"exit status {done.returncode}"


def _tidy(job: Job, folder: Path) -> None:
    """Remove the checkpoint, three times the model's size, and the model, of which the bundle has a copy."""
    for name in (CHECKPOINT_NAME, MODEL_NAME, FACTS_NAME):
        (folder / "output" / name).unlink(missing_ok=True)
    if not job.keep_model:
        shutil.rmtree(folder / "models", ignore_errors=True)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[Sequence[int]]:
    """Wait for another process doing the same run, such as one that outlived a killed comparison.

    Pass the yielded file descriptors on to the run's processes: the lock is released when the last of them ends.
    """
    try:
        import fcntl
    except ImportError:  # Windows: no process outlives its console
        yield ()
        return
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield (descriptor,)
    finally:
        os.close(descriptor)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
