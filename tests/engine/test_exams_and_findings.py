"""Slices scored as exams, findings that may occur together, and the intensities a model was trained with."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.engine import KnownFindingsLoss, intensity_facts, require_trained_intensity
from radimagenet_monai.engine.outputs.predictions import area_under_roc
from radimagenet_monai.engine.outputs.writers import EvaluationWriter, PredictionWriter
from radimagenet_monai.intensity import CTWindowd, MRPercentiled
from radimagenet_monai.statistics.predictions import PredictionTable, by_exam


def table_of(positive: list[float], labels: list[int] | None) -> PredictionTable:
    scores = np.array(positive)
    known = None if labels is None else np.array(labels)
    return PredictionTable(np.arange(len(scores)), np.stack([1 - scores, scores], axis=1), known)


DATA = [
    {"image": "a.npy", "frame": 0, "patient_id": "1", "exam": "left"},
    {"image": "a.npy", "frame": 1, "patient_id": "1", "exam": "left"},
    {"image": "b.npy", "frame": 0, "patient_id": "1", "exam": "right"},
    {"image": "c.npy", "frame": 0, "patient_id": "2", "exam": "left"},
    {"image": "d.npy", "frame": 0, "patient_id": "3"},
    {"image": "e.npy", "frame": 0, "patient_id": "3"},
]
TABLE = table_of([0.2, 0.6, 0.9, 0.4, 0.1, 0.3], [0, 1, 1, 0, 0, 1])


def test_mean_and_max_over_the_slices_of_an_exam() -> None:
    mean, highest = by_exam(TABLE, DATA, "mean"), by_exam(TABLE, DATA, "max")
    assert mean.index.tolist() == highest.index.tolist() == [0, 2, 3, 4, 5]
    np.testing.assert_allclose(mean.probabilities[:, 1], [0.4, 0.9, 0.4, 0.1, 0.3])
    np.testing.assert_allclose(highest.probabilities[:, 1], [0.6, 0.9, 0.4, 0.1, 0.3])
    np.testing.assert_allclose(highest.probabilities.sum(axis=1), 1)
    assert mean.labels is not None
    assert mean.labels.tolist() == [1, 1, 0, 0, 1], "an exam with a positive slice is positive"
    assert by_exam(TABLE, DATA, "none") is TABLE


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4)), min_size=1, max_size=30), st.randoms())
def test_order_of_slices_does_not_matter(slices: list[tuple[float, int]], random: object) -> None:
    shuffled = slices.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random

    def result(rows: list[tuple[float, int]], rule: str) -> dict[str, float]:
        data = [{"image": f"{exam}.npy", "patient_id": str(exam), "exam": "x"} for _, exam in rows]
        exams = by_exam(table_of([score for score, _ in rows], None), data, rule)
        return {
            data[index]["patient_id"]: round(float(value), 9)
            for index, value in zip(exams.index, exams.probabilities[:, 1], strict=True)
        }

    for rule in ("mean", "max"):
        assert result(slices, rule) == result(shuffled, rule)


def test_what_cannot_be_scored_together_is_refused() -> None:
    three = PredictionTable(np.arange(2), np.full((2, 3), 1 / 3), np.array([0, 2]))
    data = [{"image": "a.npy", "exam": "x"}] * 2
    with pytest.raises(ConfigurationError, match="aggregate 'median' is unknown"):
        by_exam(TABLE, DATA, "median")
    with pytest.raises(ConfigurationError, match="for two classes"):
        by_exam(three, data, "max")
    with pytest.raises(RecordsError, match=r"class indices \[0, 2\]"):
        by_exam(three, data, "mean")


def test_findings_of_an_exam_are_the_highest_of_its_slices() -> None:
    labels = np.array([[0, np.nan], [1, np.nan], [0, 1.0]])
    table = PredictionTable(np.arange(3), np.array([[0.1, 0.5], [0.7, 0.2], [0.4, 0.4]]), labels, exclusive=False)
    exams = by_exam(table, [DATA[0], DATA[1], DATA[3]], "max")
    np.testing.assert_allclose(exams.probabilities, [[0.7, 0.5], [0.4, 0.4]])
    np.testing.assert_array_equal(exams.labels, [[1, np.nan], [0, 1]])
    assert area_under_roc(table) == roc_auc_score([0, 1, 0], [0.1, 0.7, 0.4])


def run_writers(folder: Path, table: PredictionTable, data: list, **options: object) -> tuple[list, dict]:
    """The two writers on a finished pass; the exams' rows and the evaluation."""
    root = folder / "data"
    root.mkdir()
    items = [{**item, "image": str(root / item["image"])} for item in data]
    engine = SimpleNamespace(state=SimpleNamespace(predictions=table, batch=[]))
    writer = PredictionWriter(folder, items, ["no tear", "tear"], root, folder / "model.pt", 0.35, **options)  # type: ignore[arg-type]
    writer._start(engine)
    writer(engine)
    EvaluationWriter(folder, items, ["no tear", "tear"], {}, **options)(engine)  # type: ignore[arg-type]
    exams = folder / "exams.csv"
    rows = list(csv.DictReader(exams.read_text().splitlines())) if exams.exists() else []
    return rows, json.loads((folder / "evaluation.json").read_text())


def test_exams_are_written_and_evaluated(tmp_path: Path) -> None:
    rows, evaluation = run_writers(tmp_path, TABLE, DATA, aggregate="mean")
    assert [(row["file"], row["exam"], row["slices"], row["decision"]) for row in rows[:3]] == [
        ("a.npy", "left", "2", "tear"),
        ("b.npy", "right", "1", "tear"),
        ("c.npy", "left", "1", "tear"),
    ]
    exams = by_exam(TABLE, DATA, "mean")
    assert evaluation["metrics"]["images"] == 5
    assert evaluation["metrics"]["auc"]["auc"] == pytest.approx(roc_auc_score(exams.labels, exams.probabilities[:, 1]))
    assert evaluation["metrics_of_images"]["images"] == 6


def test_every_exam_has_a_name(tmp_path: Path) -> None:
    """Of inference the exam is a file or the first one of a series; records may leave it out."""
    rows, _ = run_writers(tmp_path, TABLE, DATA, aggregate="mean")
    assert [row["exam"] for row in rows] == ["left", "right", "left", "d.npy", "e.npy"]
    (tmp_path / "inference").mkdir()
    root = tmp_path / "inference" / "data"
    series = [{"image": f"s/{number}.dcm", "exam": str(root / "s/0.dcm")} for number in range(4)]
    items = [*series, {"image": "v.nii", "frame": 0, "exam": str(root / "v.nii")}, {"image": "x.png"}]
    rows, _ = run_writers(tmp_path / "inference", TABLE, items, aggregate="mean")
    assert [(row["exam"], row["slices"]) for row in rows] == [("s/0.dcm", "4"), ("v.nii", "1"), ("x.png", "1")]


def test_findings_are_written_each_with_its_decision(tmp_path: Path) -> None:
    labels = np.array([[0, 1.0], [1, 0], [0, np.nan]])
    table = PredictionTable(np.arange(3), np.array([[0.1, 0.5], [0.7, 0.2], [0.4, 0.4]]), labels, exclusive=False)
    _, evaluation = run_writers(tmp_path, table, DATA[:3], findings=["any", "subdural"])
    rows = list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert [(row["decision_any"], row["decision_subdural"], row["label_subdural"]) for row in rows] == [
        ("0", "1", "1"),
        ("1", "0", "0"),
        ("1", "1", ""),
    ]
    assert evaluation["metrics"]["findings"]["subdural"]["images"] == 2


def test_unknown_findings_neither_add_to_the_loss_nor_to_the_gradient() -> None:
    logits = torch.randn(5, 3, requires_grad=True)
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1], [1, 0, 0]])
    known = torch.tensor([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.bool)
    loss = KnownFindingsLoss()(logits, labels.masked_fill(~known, float("nan")))
    loss.backward()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits.detach()[known], labels[known])
    torch.testing.assert_close(loss.detach(), expected)
    assert torch.isfinite(logits.grad).all()
    assert torch.equal(logits.grad != 0, known)
    nothing = KnownFindingsLoss()(torch.randn(2, 3, requires_grad=True), torch.full((2, 3), float("nan")))
    assert float(nothing.detach()) == 0


def test_a_model_is_not_given_other_intensities_than_it_was_trained_with(tmp_path: Path) -> None:
    trained = CTWindowd("image", windows=["brain", "subdural", "bone"])
    require_trained_intensity(tmp_path, trained)  # nothing is known, so nothing is refused
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.json").write_text(json.dumps({"intensity": intensity_facts(trained)}))
    same = CTWindowd("image", windows=["brain", "subdural", "bone"], allow_modality_mismatch=True)
    require_trained_intensity(tmp_path, same)
    for other in (CTWindowd("image", windows=["lung"]), MRPercentiled("image")):
        with pytest.raises(ConfigurationError, match=r"CTWindowd\(windows=\['brain 40/80 HU'.*--intensity"):
            require_trained_intensity(tmp_path, other)
