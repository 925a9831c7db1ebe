"""Workers of a loader outlive a SIGTERM to the whole group, and end when their loader does."""

from __future__ import annotations

import subprocess

import pytest
import torch

from radimagenet_monai.loading.loader import build_loader

pytestmark = pytest.mark.slow


class _Numbers(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 200

    def __getitem__(self, key) -> dict:
        return {"index": key.index}


def test_workers_leave_sigterm_to_their_parent():
    loader = build_loader(_Numbers(), 4, num_workers=2, multiprocessing_context="fork", persistent_workers=False)
    batches = iter(loader)
    # The first batch is of the first worker, the second of the second: both have begun.
    found = [*next(batches)["index"].tolist(), *next(batches)["index"].tolist()]
    workers = list(batches._workers)
    # As a scheduler sends it: from neither the worker nor its parent.
    subprocess.run(["kill", "-TERM", *(str(worker.pid) for worker in workers)], check=True)
    for batch in batches:
        found += batch["index"].tolist()
    assert found == list(range(200))
    batches._shutdown_workers()
    assert [worker.exitcode for worker in workers] == [0, 0]


def test_a_worker_ends_when_its_parent_says_so():
    batches = iter(build_loader(_Numbers(), 4, num_workers=1, multiprocessing_context="fork"))
    next(batches)
    worker = batches._workers[0]
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0
