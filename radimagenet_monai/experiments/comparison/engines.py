"""Who does the runs: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from radimagenet_monai.errors import ConfigurationError
from radimagenet_monai.experiments.comparison.jobs import FAILED, Job, execute

ENGINES = ("local", "ray")


def do_all(
    jobs: Sequence[Job], engine: str = "local", workers: int | None = None, address: str | None = None
) -> Iterator[dict[str, Any]]:
    """The results of `execute`, as they come.

    Parameters
    ----------
    jobs
        What to do, the most urgent first.
    engine
        ``"local"`` or ``"ray"`` (with the extra ``ray``).
    workers
        Runs at a time on this machine; by default one a GPU, or without one as many as the cores hold.
    address
        Of the Ray cluster, such as ``auto`` or ``ray://HOST:10001``; by default Ray starts on this machine. The folders
        of images, bundles and outputs must be the same for all its nodes.

    Raises
    ------
    ConfigurationError
        For an unknown engine, or Ray where it is not installed.
    """
    if engine not in ENGINES:
        raise ConfigurationError(f"engine '{engine}' is unknown; expected one of {', '.join(ENGINES)}")
    if not jobs:
        return
    if engine == "ray":
        yield from _with_ray(jobs, workers, address)
    elif jobs[0].probe:
        yield from _in_processes(jobs, workers or default_workers(jobs[0].threads))
    else:
        # Each run is a process of its own already: a thread is enough to wait for it.
        yield from _in_threads(jobs, workers or default_workers(jobs[0].threads))


def default_workers(threads: int) -> int:
    """One run a GPU, or without one as many as the cores hold."""
    return _gpus() or max(1, _cores() // threads)


def _in_threads(jobs: Sequence[Job], workers: int) -> Iterator[dict[str, Any]]:
    gpus = _gpus()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_on_gpu, job, number % gpus if gpus else None) for number, job in enumerate(jobs)]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _on_gpu(job: Job, gpu: int | None) -> dict[str, Any]:
    return execute(job, {} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu)})


def _in_processes(jobs: Sequence[Job], workers: int) -> Iterator[dict[str, Any]]:
    waiting = list(jobs)
    while waiting:
        context = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(min(workers, len(waiting)), mp_context=context) as pool:
            futures = {pool.submit(execute, job): job for job in waiting}
            waiting = []
            for future in concurrent.futures.as_completed(futures):
                try:
                    yield future.result()
                except BrokenProcessPool:
                    waiting.append(futures[future])
        if len(waiting) == len(futures):
            # No job was done before a process died: one of them is the reason, and none would be done next time.
            job, *waiting = waiting
            yield {"id": job.id, "status": FAILED, "problem": "its process ended without a word, for want of memory?"}


def _with_ray(jobs: Sequence[Job], workers: int | None, address: str | None) -> Iterator[dict[str, Any]]:
    try:
        import ray
    except ImportError:
        raise ConfigurationError(
            "engine 'ray' needs the package ray; install it with: pip install 'radimagenet-monai[ray]'"
        ) from None
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
                yield {"id": job.id, "status": FAILED, "problem": f"{type(error).__name__}: {error}"}
    finally:
        if own:
            ray.shutdown()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()
