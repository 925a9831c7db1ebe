"""Several processes train as one does, change their number in the middle of an epoch, and end together."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.transforms import Activationsd
from processes import PATIENCE
from small_training import CONTEXT, run, run_many, seen

from radimagenet_monai.engine import AreaUnderROC, LesionDice
from radimagenet_monai.engine.stop_signal import STOPPED_STATUS
from radimagenet_monai.loading import PrepareBatch, SampleKey, build_loader
from radimagenet_monai.models import build_classifier

pytestmark = pytest.mark.slow


def steps(folder: Path, ranks: int) -> list[tuple[set[int], float]]:
    """Samples of every step in all ranks, and its loss: the mean over them."""
    found = []
    for rows in zip(*(seen(folder, rank) for rank in range(ranks)), strict=True):
        counts = [len(row["index"]) for row in rows]
        loss = sum(count * row["loss"] for count, row in zip(counts, rows, strict=True)) / sum(counts)
        found.append(({index for row in rows for index in row["index"]}, loss))
    return found


def test_two_processes_train_as_one_with_the_doubled_batch(tmp_path: Path) -> None:
    # The last global batch holds 5 images: 3 in one process, 2 in the other.
    options = {"length": 21, "epochs": 7, "frozen_statistics": True}
    assert run_many(tmp_path / "two", 2, batch_size=4, **options) == [0, 0]
    assert run(tmp_path / "one", batch_size=8, **options) == 0
    two, one = steps(tmp_path / "two", 2), steps(tmp_path / "one", 1)
    assert len(one) == 21
    assert [samples for samples, _ in two] == [samples for samples, _ in one]
    losses = np.array([[loss for _, loss in course] for course in (two, one)])
    assert np.abs(losses[0] - losses[1]).max() < 1e-5
    assert np.ptp(losses[1]) > 0.01


def used(folder: Path, ranks: int, epoch: int, first: int, last: float = np.inf) -> list[int]:
    """Samples that the ranks were trained on in these iterations of an epoch."""
    return [
        index
        for rank in range(ranks)
        for row in seen(folder, rank)
        if row["epoch"] == epoch and first <= row["iteration"] <= last
        for index in row["index"]
    ]


@pytest.mark.long
def test_going_on_with_another_number_of_processes_uses_each_sample_once(tmp_path: Path) -> None:
    length = 23
    options: dict[str, Any] = {"length": length, "batch_size": 3}  # 8 batches an epoch in one process, 4 in two
    one, two, again = tmp_path / "one", tmp_path / "two", tmp_path / "again"
    assert run(one, save_at=[11], signals_of={0: {13: signal.SIGKILL}}, **options) == -signal.SIGKILL
    two.mkdir()
    (one / "checkpoint.pt").rename(two / "checkpoint.pt")
    lost = run_many(two, 2, resume=True, save_at=[10], signals_of={1: {11: signal.SIGKILL}}, **options)
    # The loss of one process ends the other with an error; `run_many` fails where it waits for ever.
    assert lost == [1, -signal.SIGKILL]
    assert json.loads((two / "run.json").read_text())["status"] == "failed"
    again.mkdir()
    (two / "checkpoint.pt").rename(again / "checkpoint.pt")
    assert run(again, resume=True, **options) == 0

    # 3 batches of 3 before, the other 14 samples in two processes: 6 and 8, since a last image of each would be alone.
    assert sorted(used(one, 1, 2, 9, 11) + used(two, 2, 2, 1)) == list(range(length))
    assert [len(samples) for samples, _ in steps(two, 2)[:4]] == [6, 8, 6, 6]
    assert sorted(used(two, 2, 3, 9, 10) + used(again, 1, 3, 1)) == list(range(length))
    assert "saved by 1 process, this run has 2: each keeps its batch size" in (two / "log.txt").read_text()
    assert "a step is on 0.5 times as many images" in (again / "log.txt").read_text()


def test_all_processes_end_where_one_is_told_to(tmp_path: Path) -> None:
    assert run_many(tmp_path, 2, batch_size=2, signals_of={1: {8: signal.SIGTERM}}) == [STOPPED_STATUS] * 2
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert (saved["epoch"], saved["processes"]) == (1, 2)
    assert saved["samples"] == 4 * (saved["iteration"] - 5)  # the 22 images of an epoch are 4 batches of 4, then 6
    assert len(seen(tmp_path, 0)) == len(seen(tmp_path, 1)) == saved["iteration"] < 11
    assert run_many(tmp_path, 2, batch_size=2, resume=True) == [0, 0]


@pytest.mark.long
def test_two_processes_go_on_bit_for_bit(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_many(whole, 2, batch_size=2) == [0, 0]
    both = {rank: {10: signal.SIGKILL} for rank in range(2)}
    assert run_many(killed, 2, batch_size=2, save_at=[8], signals_of=both) == [-signal.SIGKILL] * 2
    assert torch.load(killed / "checkpoint.pt", weights_only=True)["samples"] == 12
    assert run_many(killed, 2, batch_size=2, resume=True) == [0, 0]
    assert [seen(killed, rank) for rank in range(2)] == [seen(whole, rank) for rank in range(2)]
    ours, theirs = (torch.load(folder / "final.pt", weights_only=True) for folder in (killed, whole))
    assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


class _Scores(torch.utils.data.Dataset):
    """An image of one pixel that is its own score, and a mask."""

    def __init__(self, length: int) -> None:
        self.data = [{"image": f"{index}.png"} for index in range(length)]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        generator = np.random.default_rng(key.index)
        image = torch.from_numpy(generator.random((2, 4, 4), dtype=np.float32))
        return {"image": image, "label": int(generator.random() < 0.4), "index": key.index}


class _Means(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=(2, 3))


def _evaluate(rank: int, processes: int, meeting: str, out: Path) -> None:
    if processes > 1:
        torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=processes)
    found = {}
    for name, network, metric in (("auc", _Means(), AreaUnderROC()), ("dice", torch.nn.Identity(), LesionDice())):
        evaluator = SupervisedEvaluator(
            device=torch.device("cpu"),
            val_data_loader=build_loader(_Scores(23), batch_size=3),
            network=network,
            prepare_batch=PrepareBatch(with_mask=False) if name == "auc" else _with_mask,
            postprocessing=Activationsd(keys="pred", softmax=True),
            key_val_metric={name: metric},
        )
        evaluator.run()
        found[name] = evaluator.state.metrics[name]
    (out / f"{processes}-{rank}.json").write_text(json.dumps(found))
    if processes > 1:
        torch.distributed.destroy_process_group()


def _with_mask(batch: dict[str, Any], *args: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return batch["image"], (batch["image"][:, :1] > 0.5).long()


def test_metrics_of_uneven_processes_equal_those_of_one(tmp_path: Path) -> None:
    for processes in (1, 3):
        meeting = str(tmp_path / f"meeting-{processes}")
        ranks = [
            CONTEXT.Process(target=_evaluate, args=(rank, processes, meeting, tmp_path)) for rank in range(processes)
        ]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(PATIENCE)
        assert [process.exitcode for process in ranks] == [0] * processes
    expected = json.loads((tmp_path / "1-0.json").read_text())
    assert 0.2 < expected["auc"] < 0.8
    assert 0.2 < expected["dice"] < 0.8
    for rank in range(3):
        assert json.loads((tmp_path / f"3-{rank}.json").read_text()) == expected


@pytest.mark.long
def test_an_image_left_over_for_two_processes_joins_the_batch_before(tmp_path: Path) -> None:
    assert run_many(tmp_path, 2, length=9, batch_size=4, epochs=2, frozen_statistics=True) == [0, 0]
    assert [len(samples) for samples, _ in steps(tmp_path, 2)] == [9, 9]


@pytest.mark.parametrize("architecture", ["densenet121", pytest.param("inceptionresnetv2", marks=pytest.mark.long)])
def test_synchronized_batch_norm_changes_nothing_but_the_batch(architecture: str) -> None:
    """The conversion keeps names and, in evaluation, every output; synchronizing itself needs GPUs."""
    network = build_classifier(architecture, num_classes=3).eval()
    images = torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(images)
        names = list(network.state_dict())
        converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in converted.modules())
        assert list(converted.state_dict()) == names
        assert torch.equal(converted(images), expected)
