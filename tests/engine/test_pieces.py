"""Inferer, seeds, predictions, outputs, run record and preflight, each against an independent account."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import forks
import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.transforms import Activationsd
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import ConfigurationError, RecordsError, UnreadableImageError
from radimagenet_monai.engine import (
    AreaUnderROC,
    AutocastInferer,
    EvaluationWriter,
    PredictionWriter,
    RunRecord,
    SeedIterations,
    parse_flag,
    require_classes,
    require_images,
    require_lesions,
    require_writable,
)
from radimagenet_monai.engine.handlers.run_record import hash_datalist
from radimagenet_monai.engine.inferer import computes_bfloat16
from radimagenet_monai.engine.outputs.predictions import area_under_roc
from radimagenet_monai.engine.start.error_lines import user_error_line
from radimagenet_monai.loading import PrepareBatch, SampleKey, build_loader
from radimagenet_monai.report.run_report import write_run_report
from radimagenet_monai.statistics.predictions import PredictionTable

pytestmark = pytest.mark.slow


class _Spy(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
        self.seen: torch.dtype | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layer(x)
        self.seen = out.dtype
        return out


@pytest.mark.parametrize(
    ("given", "meant"), [(True, True), ("true", True), ("True", True), (1, True), (False, False), ("false", False)]
)
def test_flags_mean_what_they_say(given: object, meant: bool) -> None:
    assert parse_flag(given) is meant


def test_a_flag_that_is_neither_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'maybe' is neither true nor false"):
        parse_flag("maybe")


@pytest.mark.parametrize(
    ("amp", "supported", "inside"),
    [(True, True, torch.bfloat16), (True, False, torch.float32), (False, True, torch.float32)],
)
def test_inferer_computes_in_bfloat16_where_the_processor_does_and_returns_float32(
    amp: bool, supported: bool, inside: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    computes_bfloat16.cache_clear()
    network = _Spy()
    output = AutocastInferer(amp)(torch.rand(3, 4), network)
    assert network.seen is inside
    assert output.dtype is torch.float32
    output.sum().backward()
    assert network.layer.weight.grad.dtype is torch.float32
    computes_bfloat16.cache_clear()


def test_random_numbers_depend_on_seed_and_iteration_alone() -> None:
    def draws(seed: int, iterations: range, disturb: bool) -> list[float]:
        drawn = []
        engine = Engine(lambda e, b: None)
        SeedIterations(seed).attach(engine)
        for iteration in iterations:
            if disturb:
                torch.rand(7)
            engine.state.iteration = iteration
            engine.fire_event(Events.ITERATION_STARTED)
            drawn.append(torch.rand(1).item())
        return drawn

    whole = draws(0, range(6), disturb=False)
    assert len(set(whole)) == 6
    assert draws(0, range(2, 6), disturb=True) == whole[2:]
    assert draws(1, range(6), disturb=False) != whole


class _Table(torch.utils.data.Dataset):
    """Images of one pixel that holds the probability, so that the right prediction is known."""

    def __init__(
        self,
        scores: list[float],
        labels: list[int] | None = None,
        problems: dict | None = None,
        root: Path = Path(),
    ) -> None:
        self.scores, self.labels, self.problems = scores, labels, problems or {}
        self.data = [
            {"image": str(root / "sub" / f"{i}.png"), "frame": 0, "patient_id": f"p{i // 2}"}
            for i in range(len(scores))
        ]

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, key: SampleKey) -> dict:
        index = key.index
        item = {"image": torch.full((1, 1, 1), self.scores[index]), "index": index}
        item["unreadable"] = self.problems.get(index, "")
        if self.labels is not None:
            item["label"] = self.labels[index]
        return item


class _Logits(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        score = image.flatten().double().clamp(1e-9, 1 - 1e-9)
        return torch.stack([torch.zeros_like(score), torch.logit(score)], dim=1)


def evaluate(table: _Table, handlers: list, metric: dict | None = None) -> SupervisedEvaluator:
    """The table through MONAI's own evaluator, as a bundle's config puts it together."""
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=build_loader(table, batch_size=7),
        network=_Logits(),
        prepare_batch=PrepareBatch(),
        postprocessing=Activationsd(keys="pred", softmax=True),
        key_val_metric=metric,
        val_handlers=handlers,
    )
    evaluator.run()
    return evaluator


def test_area_under_roc_is_scikit_learns_over_all_batches() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.random(40).round(1).tolist(), rng.integers(0, 2, 40).tolist()
    evaluator = evaluate(_Table(scores, labels), [], {"auc": AreaUnderROC()})
    assert evaluator.state.metrics["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert evaluator.state.best_metric == evaluator.state.metrics["auc"]
    assert evaluator.state.predictions.index.tolist() == list(range(40))


def test_area_under_roc_of_many_classes_is_the_macro_mean() -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet(np.ones(4), 50)
    labels = np.arange(50) % 4
    expected = np.mean([roc_auc_score(labels == k, probabilities[:, k]) for k in range(4)])
    assert area_under_roc(PredictionTable(np.arange(50), probabilities, labels)) == pytest.approx(expected)


@pytest.mark.parametrize(("labels", "message"), [(None, "no labels"), ([1] * 5, r"only the class indices \[1\] of 2")])
def test_area_under_roc_without_both_classes_is_refused(labels: list[int] | None, message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        evaluate(_Table([0.1, 0.2, 0.3, 0.4, 0.5], labels), [], {"auc": AreaUnderROC()})


def test_predictions_and_evaluation_are_written(tmp_path: Path) -> None:
    scores, labels = [0.1, 0.7, 0.4, 0.9, 0.3, 0.6], [0, 0, 1, 1, 0, 1]
    table = _Table(scores, labels, root=tmp_path)
    classes = ["benign", "malignant"]
    (tmp_path / "model.json").write_text(json.dumps({"threshold": 0.5}))
    evaluate(
        table,
        [
            PredictionWriter(tmp_path, table.data, classes, tmp_path, tmp_path / "model.pt"),
            EvaluationWriter(tmp_path, table.data, classes, {"bundle": "x"}),
        ],
    )
    with (tmp_path / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"] for row in rows] == [f"sub/{i}.png" for i in range(6)]
    assert [float(row["probability_malignant"]) for row in rows] == pytest.approx(scores, abs=1e-6)
    assert [row["decision"] for row in rows] == [classes[score >= 0.5] for score in scores]
    assert [row["label"] for row in rows] == [classes[label] for label in labels]
    report = json.loads((tmp_path / "predictions.json").read_text())
    assert report["thresholds"] == {"malignant": 0.5}
    assert len(report["predictions"]) == 6
    metrics = json.loads((tmp_path / "evaluation.json").read_text())["metrics"]
    assert metrics["auc"]["auc"] == pytest.approx(roc_auc_score(labels, scores))
    assert metrics["operating_point"]["sensitivity"]["estimate"] == pytest.approx(2 / 3)
    assert metrics["patients"] == 3


def test_unreadable_images_are_rows_with_a_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = _Table([0.1, 0.9, 0.8], problems={1: "decode: cut short"})
    evaluate(table, [PredictionWriter(tmp_path, table.data, ["a", "b"], "/data", tmp_path / "model.pt", threshold=0.4)])
    with (tmp_path / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["decision"] for row in rows] == ["a", "", "b"]
    assert rows[1]["problem"] == "decode: cut short"
    assert rows[1]["probability_b"] == ""
    assert "1 of 3 images have no prediction" in caplog.text


def test_run_without_any_readable_image_fails_and_still_says_why(tmp_path: Path) -> None:
    table = _Table([0.1, 0.9], problems={0: "decode: cut short", 1: "open: gone"})
    with pytest.raises(RecordsError, match=r"none of 2 images could be used; the first: .*cut short"):
        evaluate(table, [PredictionWriter(tmp_path, table.data, ["a", "b"], "/data", tmp_path / "m.pt", threshold=0.4)])
    assert "open: gone" in (tmp_path / "predictions.csv").read_text()


def test_run_record_tells_of_success_and_of_failure(tmp_path: Path) -> None:
    data = [{"image": "a.png", "label": 0}]
    record = RunRecord(tmp_path, {"seed": 3}, torch.nn.Linear(2, 2), data)
    engine = Engine(lambda e, b: None)
    record.attach(engine)
    engine.run([0, 1], max_epochs=2)
    written = json.loads((tmp_path / "run.json").read_text())
    assert written["status"] == "completed"
    assert written["epochs"] == len(written["epoch_seconds"]) == 2
    assert written["settings"] == {"seed": 3}
    assert written["versions"]["torch"].startswith("2.")

    def fail(engine: Engine, batch: int) -> None:
        raise RecordsError("broken\nrecord")

    engine = Engine(fail)
    RunRecord(tmp_path, {"seed": 3}, torch.nn.Linear(2, 2), data).attach(engine)
    with pytest.raises(RecordsError):
        engine.run([0], max_epochs=1)
    written = json.loads((tmp_path / "run.json").read_text())
    assert (written["status"], written["error"]) == ("failed", "RecordsError: broken record")


def test_data_hash_notices_what_matters_and_not_the_folder() -> None:
    items = [{"image": "/a/x.png", "label": 0, "sha256": "1"}, {"image": "/a/y.png", "label": 1, "sha256": "2"}]
    same = [{**item, "image": item["image"].replace("/a/", "/b/c/")} for item in items]
    assert hash_datalist(items) == hash_datalist(same)
    for change in ({"label": 1}, {"sha256": "3"}, {"image": "/a/z.png"}, {"frame": 1}):
        assert hash_datalist([{**items[0], **change}, items[1]]) != hash_datalist(items)
    assert hash_datalist(items[::-1]) != hash_datalist(items)


def test_preflight_refuses_what_could_not_be_written(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "deeper")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="is a file; give another --output_dir"):
        require_writable(tmp_path / "file" / "below")
    with pytest.raises(ConfigurationError, match="read-only"):
        require_writable("/proc/self/x")
    with pytest.raises(RecordsError, match="--dataset_dir"):
        require_images([1], [])


def labelled(labels: list[Any], **more: list[str]) -> list[dict[str, Any]]:
    rows = [dict(zip(more, values, strict=True)) for values in zip(*more.values(), strict=True)] or [{}] * len(labels)
    return [{"image": f"{place}.png", "label": label, **rows[place]} for place, label in enumerate(labels)]


def test_parts_of_one_class_are_refused_before_training() -> None:
    both, one, classes = labelled([0, 1, 0]), labelled([1, 1]), ["benign", "malignant"]
    require_classes(both, both, classes)
    require_classes([], [], classes)
    with pytest.raises(RecordsError, match=r"validation part holds only 'malignant' \(2 images\).*'benign' and 'malig"):
        require_classes(both, one, classes)
    with pytest.raises(RecordsError, match="train part holds only 'malignant'"):
        require_classes(one, both, classes)
    # Both slices of the one exam make it positive.
    exams = labelled([0, 1, 1], exam=["a", "a", "b"], patient_id=["p", "p", "p"])
    require_classes(both, exams, classes)
    with pytest.raises(RecordsError, match=r"validation part holds only 'malignant' \(2 exams\)"):
        require_classes(both, exams, classes, "mean")
    known, unknown = labelled([[0.0, 1.0], [1.0, float("nan")]]), labelled([[float("nan"), 1.0]] * 2)
    require_classes(known, known, classes, "none", ["any", "subdural"])
    with pytest.raises(RecordsError, match="validation part holds no known label"):
        require_classes(known, unknown, classes, "none", ["any", "subdural"])


def test_validation_without_a_lesion_is_refused_before_training() -> None:
    empty, lesion = torch.zeros(2, 4, 4), torch.ones(2, 4, 4)
    require_lesions([{"image": empty}, {"image": lesion}])
    require_lesions([])
    with pytest.raises(RecordsError, match="none of the 2 masks of the validation part holds a lesion"):
        require_lesions([{"image": torch.stack([lesion[0], empty[0]])}] * 2)


def test_a_test_part_of_one_class_is_evaluated_as_far_as_it_can_be(tmp_path: Path) -> None:
    table = _Table([0.1, 0.7, 0.4], [1, 1, 1], root=tmp_path)
    classes = ["benign", "malignant"]
    (tmp_path / "model.json").write_text(json.dumps({"threshold": 0.5}))
    writers = [
        PredictionWriter(tmp_path, table.data, classes, tmp_path, tmp_path / "model.pt"),
        EvaluationWriter(tmp_path, table.data, classes, {"bundle": "x"}),
    ]
    evaluate(table, writers)
    text = (tmp_path / "evaluation.json").read_text()
    metrics = json.loads(text)["metrics"]
    assert "NaN" not in text
    assert (metrics["auc"]["auc"], metrics["auc"]["reason"]) == (None, "all images are positive")
    assert metrics["operating_point"]["sensitivity"]["estimate"] == pytest.approx(1 / 3)
    assert metrics["operating_point"]["specificity"]["estimate"] is None
    assert "The AUC is not estimable: all images are positive." in metrics["notes"]
    page = write_run_report(tmp_path).read_text()
    assert "all images are positive" in page
    with pytest.raises(RecordsError, match="no labels"):
        evaluate(_Table([0.1, 0.2], None, root=tmp_path), writers)


def test_only_errors_of_the_input_become_one_line() -> None:
    wrapped = RuntimeError("Failed to instantiate")
    wrapped.__cause__ = UnreadableImageError("a.dcm", "decode", "cut\nshort")
    assert user_error_line(wrapped) == "error: a.dcm: cannot be read (decode): cut short"
    assert user_error_line(OSError(28, "No space left on device", "/x/y")) == (
        "error: /x/y: No space left on device; free some space, or give another --output_dir"
    )
    assert user_error_line(ValueError("a defect")) is None


def test_library_use_leaves_the_excepthook_alone() -> None:
    code = (
        "import sys; from radimagenet_monai.engine import show_errors_in_one_line as show; "
        "before = sys.excepthook; show(); assert sys.excepthook is before"
    )
    forks.run([sys.executable, "-c", code], check=True)
