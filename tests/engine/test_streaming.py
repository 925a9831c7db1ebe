"""Counting and writing while an evaluator runs: over one process and several, with MONAI's lists and without."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from monai.transforms import Activationsd
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, roc_auc_score, top_k_accuracy_score

from radimagenet_monai.catalog.labels import LABELS
from radimagenet_monai.catalog.phantom_notice import PHANTOM_NOTICE
from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError, RecordsError
from radimagenet_monai.engine import (
    PredictionWriter,
    StreamingEvaluationWriter,
    StreamingMetric,
    StreamingPredictionWriter,
)
from radimagenet_monai.loading import PrepareBatch, SampleKey, build_loader
from radimagenet_monai.statistics.predictions import PredictionTable

pytestmark = pytest.mark.slow

CLASSES = [label.key for label in LABELS][40:52]
IMAGES = 43
MEASURES = ("balanced_accuracy", "top1", "top5", "auc")


def knowledge(images: int = IMAGES) -> tuple[torch.Tensor, np.ndarray]:
    """Logits of each image that know something of its label, and the labels, every class among them."""
    rng = np.random.default_rng(5)
    labels = rng.permutation(np.arange(images) % len(CLASSES))
    logits = rng.normal(size=(images, len(CLASSES)))
    logits[np.arange(images), labels] += 1.5
    return torch.tensor(logits, dtype=torch.float32), labels


class Images(torch.utils.data.Dataset):
    """Images of one pixel that holds their place in the table."""

    def __init__(self, root: Path, labels: np.ndarray | None) -> None:
        self.labels = labels
        self.data = [{"image": str(root / "a, b" / f"{i}.png"), "frame": i % 2} for i in range(IMAGES)]

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, key: SampleKey) -> dict:
        item = {"image": torch.full((1, 1, 1), float(key.index)), "index": key.index}
        return item if self.labels is None else {**item, "label": int(self.labels[key.index])}


class Knows(torch.nn.Module):
    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.logits[image.flatten().long()]


def evaluate(folder: Path, decollate: bool = False, labeled: bool = True, scale: float = 1.0) -> SupervisedEvaluator:
    """An evaluator put together as the pretraining bundles do, with all metrics and writers."""
    logits, labels = knowledge()
    dataset = Images(folder, labels if labeled else None)
    metrics = {name: StreamingMetric(name) for name in MEASURES}
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=build_loader(dataset, batch_size=7),
        network=Knows(logits * scale),
        prepare_batch=PrepareBatch(),
        postprocessing=Activationsd(keys="pred", softmax=True, dim=-1),
        key_val_metric={"balanced_accuracy": metrics.pop("balanced_accuracy")} if labeled else None,
        additional_metrics=metrics if labeled else None,
        val_handlers=[
            StreamingPredictionWriter(folder, dataset.data, CLASSES, folder),
            *([StreamingEvaluationWriter(folder, CLASSES, folder, {"bundle": "x"})] if labeled else []),
        ],
        decollate=decollate,
    )
    evaluator.run()
    return evaluator


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_file_is_that_of_the_writer_for_few_images(tmp_path: Path) -> None:
    classes, rng = [label.key for label in LABELS][:24], np.random.default_rng(3)
    probabilities = rng.dirichlet(np.full(24, 0.2), 9).astype(np.float32)
    labels = rng.integers(24, size=9)
    data = [{"image": str(tmp_path / f"{i}.png"), "frame": i} for i in range(9)]
    output = {"pred": torch.tensor(probabilities), "label": torch.tensor(labels)}
    engine = SimpleNamespace(state=SimpleNamespace(batch={"index": torch.arange(9)}, output=output))
    streaming = StreamingPredictionWriter(tmp_path, data, classes, tmp_path)
    for step in (streaming._start, streaming._write, streaming._finish):
        step(engine)
    streamed = (tmp_path / "predictions.csv").read_text()
    table = PredictionTable(np.arange(9), probabilities.astype(np.float64), labels)
    engine = SimpleNamespace(state=SimpleNamespace(predictions=table, batch=[]))
    general = PredictionWriter(tmp_path, data, classes, tmp_path, tmp_path / "model.pt")
    general._start(engine)
    general(engine)
    assert (tmp_path / "predictions.csv").read_text() == streamed


@pytest.mark.parametrize("decollate", [False, True])
def test_metrics_and_files_are_those_of_the_whole_table(tmp_path: Path, decollate: bool) -> None:
    evaluator = evaluate(tmp_path, decollate)
    logits, labels = knowledge()
    probabilities = torch.softmax(logits, dim=1).numpy()
    called = probabilities.argmax(axis=1)
    found = evaluator.state.metrics
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, called))
    assert found["top1"] == np.mean(called == labels)
    assert found["top5"] == top_k_accuracy_score(labels, probabilities, k=5)
    area = roc_auc_score(np.eye(12)[labels], probabilities, average="macro")
    assert evaluator.state.best_metric == found["balanced_accuracy"]

    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert report["metrics"]["top5"]["estimate"] == found["top5"]
    assert report["metrics"]["auc_macro"] == found["auc"]
    assert abs(found["auc"] - area) <= report["metrics"]["auc_macro_bound"] + 1e-12
    assert [group["name"] for group in report["metrics"]["groups"]["modality"]] == ["MR"]
    assert (report["image_warning"], report["settings"]) == (None, {"bundle": "x"})

    with (tmp_path / "confusion.csv").open(newline="") as stream:
        header, *table = csv.reader(stream)
    assert header[1:] == CLASSES == [row[0] for row in table]
    np.testing.assert_array_equal(
        [[int(cell) for cell in row[1:]] for row in table], confusion_matrix(labels, called, labels=range(12))
    )

    rows = rows_of(tmp_path / "predictions.csv")
    assert [row["file"] for row in rows] == [f"a, b/{i}.png" for i in range(IMAGES)]
    assert [row["frame"] for row in rows[:3]] == ["0", "1", "0"]
    assert [row["label"] for row in rows] == [CLASSES[label] for label in labels]
    assert [row["decision"] for row in rows] == [row["top1"] for row in rows] == [CLASSES[number] for number in called]
    for row, own in zip(rows, probabilities, strict=True):
        five = np.argsort(-own)[:5]
        assert [row[f"top{place}"] for place in range(1, 6)] == [CLASSES[number] for number in five]
        np.testing.assert_allclose(
            [float(row[f"probability_top{place}"]) for place in range(1, 6)], own[five], rtol=1e-8
        )
    assert not list(tmp_path.glob(".*.part"))


def of_rank(rank: int, folder: str) -> None:
    """One of three processes, of which the last has two batches and the others three."""
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=3)
    evaluator = evaluate(Path(folder))
    (Path(folder) / f"metrics{rank}.json").write_text(json.dumps(evaluator.state.metrics))
    torch.distributed.destroy_process_group()


def test_uneven_processes_give_what_one_gives(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    metrics = evaluate(alone).state.metrics
    torch.multiprocessing.start_processes(of_rank, (str(together),), nprocs=3, start_method="fork")
    for rank in range(3):
        assert json.loads((together / f"metrics{rank}.json").read_text()) == metrics
    for name in ("predictions.csv", "evaluation.json", "confusion.csv"):
        assert (together / name).read_bytes() == (alone / name).read_bytes()
    assert not list(together.glob(".*.part"))


def test_a_run_that_breaks_off_leaves_the_former_file(tmp_path: Path) -> None:
    evaluate(tmp_path)
    before = (tmp_path / "predictions.csv").read_bytes()
    with pytest.raises(RadImageNetError, match="where the model became infinite"):
        evaluate(tmp_path, scale=float("inf"))
    assert (tmp_path / "predictions.csv").read_bytes() == before
    evaluate(tmp_path)
    assert (tmp_path / "predictions.csv").read_bytes() == before


def test_each_pass_counts_anew(tmp_path: Path) -> None:
    evaluator = evaluate(tmp_path)
    first = dict(evaluator.state.metrics)
    evaluator.run()
    assert evaluator.state.metrics == first
    assert evaluator.state.counts.images == IMAGES


def test_images_without_labels_are_written_and_not_measured(tmp_path: Path) -> None:
    evaluate(tmp_path, labeled=False)
    rows = rows_of(tmp_path / "predictions.csv")
    assert {row["label"] for row in rows} == {""}
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=build_loader(Images(tmp_path, None), batch_size=7),
        network=Knows(knowledge()[0]),
        prepare_batch=PrepareBatch(),
        key_val_metric={"top1": StreamingMetric("top1")},
        decollate=False,
    )
    with pytest.raises(RecordsError, match="the records have no labels"):
        evaluator.run()


def test_phantoms_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "README.txt").write_text("These images are phantoms: none of a patient.\n")
    evaluate(tmp_path)
    assert json.loads((tmp_path / "evaluation.json").read_text())["image_warning"] == PHANTOM_NOTICE


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="measure 'f1' is unknown; expected one of balanced_accuracy, top1"):
        StreamingMetric("f1")


def test_a_process_without_an_image_says_so(tmp_path: Path) -> None:
    evaluator = evaluate(tmp_path)
    evaluator.fire_event(Events.EPOCH_STARTED)
    with pytest.raises(RecordsError, match="at least one for each process"):
        evaluator.fire_event(Events.EPOCH_COMPLETED)
