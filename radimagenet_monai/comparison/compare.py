"""Compare initializations: plan, run, analyze, report. Finished runs are never repeated."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from radimagenet_monai.comparison.analysis.subgroup_differences import check_columns
from radimagenet_monai.comparison.engines import check_engine, do_all
from radimagenet_monai.comparison.jobs import (
    FAILED,
    RUNS_FOLDER,
    Job,
    finished_before,
    make_job,
    named_roots,
    prepare_bundle,
    read_result,
    write_roots,
)
from radimagenet_monai.comparison.plan import Choices, Plan, identify, make_plan, save_plan, whole_number
from radimagenet_monai.comparison.progress import ComparisonProgress
from radimagenet_monai.comparison.training_sets import RECORDS_FOLDER, check_classes, with_folds, write_training_sets
from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.core.named_roots import shell_command
from radimagenet_monai.datasets.records.data_source import source_of_table
from radimagenet_monai.datasets.records.root import root_of, table_of
from radimagenet_monai.datasets.records.table import missing_files, read_records, write_records


def compare(
    task: str,
    records: str | os.PathLike[str],
    weights: Sequence[str],
    out: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    protocol: str = "quick",
    engine: str = "local",
    workers: int | None = None,
    threads: int = 1,
    address: str | None = None,
    loaders: int = 0,
    keep_models: bool = True,
    subgroups: Sequence[str] = (),
    **choices: Any,
) -> Path:
    """Run a comparison and write its analysis and report.

    Parameters
    ----------
    task, protocol, weights
        As for `make_plan`.
    choices
        Those of `Choices`.
    records
        The records table, or the folder that holds it.
    out
        Output folder. If it holds the same comparison, that is resumed.
    root
        Folder that the table's paths are relative to; found automatically by default.
    engine, workers, address
        As for `do_all`.
    threads
        CPU threads of each run. Part of the recipe: another number changes rounding.
    loaders
        Image-loading processes of each run; 0 is best for small images.
    keep_models
        Whether to keep the trained models, which ``explain`` needs.
    subgroups
        Columns of the table, as for `analyze`.

    Returns
    -------
    pathlib.Path
        Path of the report.

    Raises
    ------
    ConfigurationError
        For invalid settings, before anything is run.
    RecordsError
        If the table cannot be used, or every run failed.
    """
    check_engine(engine, workers, threads)
    whole_number("loaders", loaders, 0)
    out = Path(out).resolve()
    path = table_of(records)
    if not path.is_file():
        raise RecordsError(f"{path}: no such records table; write one with 'radimagenet prepare'")
    plan = make_plan(task, protocol, weights, file_digest(path), Choices(**choices))
    frame = read_records(path, plan.classes)
    folder = root_of(path, frame, root).resolve()
    absent = missing_files([os.path.join(folder, image) for image in frame["image"]])
    if absent:
        raise RecordsError(f"{path}: {len(absent)} of {len(frame)} images do not exist, first '{absent[0]}'")
    plan = identify(plan)
    frame = with_folds(frame, plan)
    check_classes(frame, plan)
    check_columns(frame, subgroups)
    roots = named_roots(plan, out, folder)
    typed = {**roots, "RECORDS": os.path.abspath(records)}  # noqa: PTH100  # a link keeps its name
    command = shell_command(["radimagenet", *sys.argv[1:]], typed) if "compare" in sys.argv[1:2] else ""
    save_plan(plan, out, command, source_of_table(path))
    write_roots(typed, out)
    _write_records(plan, frame, out)
    prepare_bundle(plan, out)

    jobs = [make_job(plan, run, out, folder, loaders, threads, keep_models) for run in plan.runs()]
    _do(plan, jobs, out, engine, workers, address)
    return _finish(out, folder, subgroups)


def _write_records(plan: Plan, frame: pd.DataFrame, out: Path) -> None:
    whole = out / RECORDS_FOLDER / "all.csv"
    whole.parent.mkdir(parents=True, exist_ok=True)
    if not whole.exists():
        write_records(frame, whole)
    write_training_sets(plan, frame, out)


def _do(plan: Plan, jobs: Sequence[Job], out: Path, engine: str, workers: int | None, address: str | None) -> None:
    progress = ComparisonProgress(plan, out)
    for architecture, name, reason in plan.unavailable:
        progress.console.print(f"  {name} with {architecture} is left out: {reason}", soft_wrap=True)
    waiting = []
    for job in jobs:
        known = finished_before(job)
        if known is not None:
            progress.note(known, before=True)
        else:
            waiting.append(job)
    done = len(jobs) - len(waiting)
    progress.console.print(f"{len(jobs)} runs" + (f", {done} of them finished before" if done else ""))
    with progress.shown():
        for result in do_all(waiting, engine, workers, address):
            progress.note(result)
    if progress.console.is_terminal:
        progress.console.print(progress)
    failed = [run for run, status in progress.results.items() if status == FAILED]
    if len(failed) == len(jobs):
        first = read_result(out / RUNS_FOLDER / failed[0]) or {}
        raise RecordsError(f"every run failed; the first: {first.get('problem')}")
    if failed:
        progress.console.print(f"{len(failed)} runs failed; the same command tries them again")


def _finish(out: Path, root: Path, subgroups: Sequence[str]) -> Path:
    from radimagenet_monai.comparison.analysis.analysis import analyze
    from radimagenet_monai.report.comparison.report import write_comparison_report

    print("analyzing the predictions, and where the models look if there are masks", flush=True)
    analysis = analyze(out, root, subgroups)
    for sentence in analysis["sentences"]:
        print(sentence)
    return write_comparison_report(out)
