"""Execution of the runs: processes on this machine, or a Ray cluster."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from radimagenet_monai.comparison.jobs import Job, execute, write_result
from radimagenet_monai.comparison.plan import whole_number
from radimagenet_monai.core.errors import ConfigurationError, one_line
from radimagenet_monai.core.workers import available_cores

ENGINES = ("local", "ray")


def check_engine(engine: str, workers: int | None = None, threads: int = 1) -> None:
    """Raise for settings that `do_all` cannot run, before anything is run.

    Raises
    ------
    ConfigurationError
        For an unknown engine, Ray if it is not installed, or less than one worker or thread.
    """
    if engine not in ENGINES:
        raise ConfigurationError(f"engine '{engine}' is unknown; expected one of {', '.join(ENGINES)}")
    whole_number("threads", threads, 1)
    if workers is not None:
        whole_number("workers", workers, 1)
    if engine == "ray":
        _ray()


def do_all(
    jobs: Sequence[Job], engine: str = "local", workers: int | None = None, address: str | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the results of `execute` in the order of completion.

    Parameters
    ----------
    jobs
        Jobs to run, most urgent first.
    engine
        ``"local"`` or ``"ray"`` (with the extra ``ray``).
    workers
        Runs at a time on this machine; by default one per GPU, or as many as the CPU cores allow without a GPU.
    address
        Address of the Ray cluster, such as ``auto`` or ``ray://HOST:10001``; by default Ray starts on this machine. All
        nodes must share the folders of images, bundles and outputs.

    Raises
    ------
    ConfigurationError
        As for `check_engine`.
    """
    check_engine(engine, workers)
    if not jobs:
        return
    if engine == "ray":
        yield from _with_ray(jobs, workers, address)
    elif jobs[0].probe:
        yield from _in_processes(jobs, workers or default_workers(jobs[0].threads))
    else:
        # Each run is already a separate process, so a thread is enough to wait for it.
        yield from _in_threads(jobs, workers or default_workers(jobs[0].threads))


def default_workers(threads: int) -> int:
    """One run per GPU, or as many as the CPU cores allow without a GPU."""
    return _gpus() or max(1, available_cores() // threads)


def _in_threads(jobs: Sequence[Job], workers: int) -> Iterator[dict[str, Any]]:
    gpus = _gpus()
    places: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    for place in range(workers):
        places.put(place % gpus if gpus else None)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_on_free_gpu, job, places) for job in jobs]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _on_free_gpu(job: Job, places: queue.SimpleQueue[int | None]) -> dict[str, Any]:
    gpu = places.get()
    try:
        return execute(job, {} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu)})
    finally:
        places.put(gpu)


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[dict[str, Any]]:
    context = multiprocessing.get_context("spawn")
    waiting, at_a_time = list(jobs), workers
    while waiting:
        undone = set()
        with concurrent.futures.ProcessPoolExecutor(at_a_time, context, _end_with_parent) as pool:
            futures = {pool.submit(execute, job): job.id for job in waiting}
            for future in concurrent.futures.as_completed(futures):
                try:
                    yield future.result()
                except BrokenProcessPool:  # a process died and broke the pool, which does not say which job it was
                    undone.add(futures[future])
        waiting = [job for job in waiting if job.id in undone]
        if at_a_time == 1 and waiting:
            # Run one by one, the first job without a result is the one that killed its process.
            culprit, *waiting = waiting
            yield write_result(culprit, "its process ended without a word, for want of memory?", None)
            at_a_time = workers
        else:
            at_a_time = 1


def _end_with_parent() -> None:
    """End a pool process with its parent; otherwise it would wait forever for work from a killed parent."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _with_ray(jobs: Sequence[Job], workers: int | None, address: str | None) -> Iterator[dict[str, Any]]:
    ray = _ray()
    from ray.exceptions import RayError

    own = not ray.is_initialized()
    if own:
        cores = None if address else (workers or default_workers(jobs[0].threads)) * jobs[0].threads
        ray.init(
            address=address, num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
        )
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        remote = ray.remote(execute).options(num_cpus=jobs[0].threads, num_gpus=gpus, max_retries=1)
        waiting = {remote.remote(job): job for job in jobs}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            job = waiting.pop(done[0])
            try:
                yield ray.get(done[0])
            except RayError as error:
                yield write_result(job, one_line(f"{type(error).__name__}: {error}"), None)
    finally:
        if own:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ConfigurationError(
            "engine 'ray' needs the package ray; install it with: pip install 'radimagenet-monai[ray]'"
        ) from None
    return ray


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
