"""From predictions to ``analysis.json`` and its sentences, against direct computations on the same numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fake_runs import PLANTED, FakeComparison, drawn, made_records, of_two
from scipy.stats import nct, norm, ttest_1samp
from scipy.stats import t as student_t
from sklearn.metrics import roc_auc_score

from radimagenet_monai.comparison.analysis import measures, selected
from radimagenet_monai.comparison.analysis.analysis import ANALYSIS_FILE, analyze
from radimagenet_monai.comparison.jobs import FAILED, RUNS_FOLDER
from radimagenet_monai.comparison.plan import Run
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.records.table import check_records, read_records
from radimagenet_monai.statistics.auc.discrimination import compare_discrimination
from radimagenet_monai.statistics.resampling.cross_validation import corrected_resampled_test

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples for the confidence band of the ROC curve, which no test here checks."""
    monkeypatch.setattr(selected, "_RESAMPLES", 5)


THREE = ("first=random", "second=random", "third=random")


def probabilities_of(comparison: FakeComparison, run: Run) -> pd.DataFrame:
    """``predictions.csv`` of a run with the patient of each row."""
    table = pd.read_csv(comparison.out / RUNS_FOLDER / run.id / "output" / "evaluation" / "predictions.csv")
    records = read_records(comparison.out / "records" / "all.csv").set_index("image")
    return table.join(records[["patient_id"]], on="file")


def row_of(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (found,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return found


def assert_plain(value: Any) -> None:
    """No NaN, no infinity, nothing planted, anywhere."""
    text = json.dumps(value, allow_nan=False)
    assert PLANTED not in text


def test_folds_give_the_corrected_resampled_test(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(400)).write(drawn({"first": 2.5, "second": 1.0}))
    analysis = analyze(comparison.out, comparison.root)
    areas: dict[str, list[float]] = {"first": [], "second": []}
    for run in comparison.plan.runs():
        table = probabilities_of(comparison, run)
        areas[run.initialization].append(roc_auc_score(table["label"] == "malignant", table["probability_malignant"]))
    differences = np.subtract(areas["first"], areas["second"])
    (row,) = analysis["differences"]
    assert [item["difference"] for item in row["per_fold"]] == pytest.approx(differences, abs=1e-12)
    assert row["difference"] == pytest.approx(differences.mean(), abs=1e-12)
    # One fold of five tests, one validates, three train; Nadeau and Bengio: the variance grows by n_test / n_train.
    error = differences.std(ddof=1) * np.sqrt(1 / 5 + 1 / 3)
    assert row["standard_error"] == pytest.approx(error, rel=1e-9)
    naive = ttest_1samp(differences, 0)
    shrunk = naive.statistic * np.sqrt((1 / 5) / (1 / 5 + 1 / 3))
    assert row["p"] == pytest.approx(corrected_resampled_test(differences, 1 / 3).p, rel=1e-9)
    assert row["difference"] / row["standard_error"] == pytest.approx(shrunk, rel=1e-9)
    for name, values in areas.items():
        performance = row_of(analysis["performance"], initialization=name)
        assert performance["mean"] == pytest.approx(np.mean(values), abs=1e-12)
        assert performance["sd_folds"] == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert analysis["sentences"][0].startswith("With densenet121, first is better than second")
    assert not analysis["data"]["clustered"]
    assert_plain(analysis)


def test_test_sets_give_the_mean_of_paired_delong_tests(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(150)).write(drawn({"first": 2.0, "second": 1.0}))
    analysis = analyze(comparison.out, comparison.root)
    found = []
    for fold in range(5):
        first, second = (probabilities_of(comparison, run) for run in comparison.plan.runs() if run.fold == fold)
        assert list(first["file"]) == list(second["file"])
        scores = {"first": first["probability_malignant"], "second": second["probability_malignant"]}
        found.append(compare_discrimination(first["label"] == "malignant", scores)[0].pairs[0])
    row = analysis["differences"][0]["test_sets"]
    assert row["method"] == "DeLong"
    assert row["difference"] == pytest.approx(np.mean([item.difference for item in found]), abs=1e-12)
    error = np.sqrt(np.sum([(item.difference / item.z) ** 2 for item in found])) / 5
    assert row["standard_error"] == pytest.approx(error, rel=1e-9)
    assert row["p"] == pytest.approx(2 * norm.sf(abs(row["difference"] / error)), rel=1e-9)


def test_identical_initializations_gave_the_same_results(tmp_path: Path) -> None:
    """Also where scenarios are averaged: rounding must not make a difference out of none."""

    def scores(run: Run, rows: pd.DataFrame) -> np.ndarray:
        key = [run.fold or 0, *str(run.scenario).encode()]
        return of_two(np.random.default_rng(key).normal(size=len(rows)) + (rows["label"] == "malignant"))

    options: dict[str, Any] = {"protocol": "paper", "architectures": ["densenet121", "resnet50"], "folds": 3}
    comparison = FakeComparison.planned(tmp_path, made_records(67), **options).write(scores)
    analysis = analyze(comparison.out, comparison.root)
    assert [row["difference"] for row in analysis["differences"]] == [0, 0, 0]
    assert [row["p"] for row in analysis["differences"]] == [None, None, None]
    assert analysis["sentences"] == [
        "Over all architectures, first and second gave the same results: the models gave the same results in every "
        "fold."
    ]
    assert_plain(analysis)


@pytest.mark.long
def test_identical_models_of_three_classes_gave_the_same_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "_RESAMPLES", 20)

    def scores(run: Run, rows: pd.DataFrame) -> np.ndarray:
        return np.random.default_rng([run.fold or 0, *str(run.scenario).encode()]).dirichlet(np.ones(3), len(rows))

    options: dict[str, Any] = {"protocol": "quick", "learning_rates": [1e-3, 3e-4, 1e-4], "folds": 3}
    frame = made_records(45, classes=("a", "b", "c"))
    comparison = FakeComparison.planned(tmp_path, frame, classes=("a", "b", "c"), **options).write(scores)
    (row,) = analyze(comparison.out, comparison.root)["differences"]
    assert row["difference"] == 0
    assert row["p"] is None
    assert row["test_sets"]["p"] is None


def test_pairs_of_one_training_set_size_are_one_holm_family(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(150), weights=THREE, fractions=(0.5, 1))
    comparison.write(drawn({"first": 2.0, "second": 1.6, "third": 0.4}))
    analysis = analyze(comparison.out, comparison.root)
    assert len(analysis["differences"]) == 6
    for fraction in (0.5, 1.0):
        rows = sorted((row for row in analysis["differences"] if row["fraction"] == fraction), key=lambda row: row["p"])
        by_hand = np.maximum.accumulate(np.minimum(1, np.array([row["p"] for row in rows]) * [3, 2, 1]))
        assert [row["p_adjusted"] for row in rows] == pytest.approx(by_hand)
    assert len(analysis["sentences"]) == 3


def test_patients_with_several_images_are_clusters(tmp_path: Path) -> None:
    frame = made_records(60, images=3)
    frame["split"] = np.where(
        np.arange(len(frame)) < 60, "train", np.where(np.arange(len(frame)) < 90, "validation", "test")
    )
    comparison = FakeComparison.planned(tmp_path, frame, folds=1)
    comparison.write(drawn({"first": 1.5, "second": 1.0}))
    analysis = analyze(comparison.out, comparison.root)
    first, second = (probabilities_of(comparison, run) for run in comparison.plan.runs())
    scores = {"first": first["probability_malignant"], "second": second["probability_malignant"]}
    found, method = compare_discrimination(first["label"] == "malignant", scores, first["patient_id"].tolist())
    row = analysis["differences"][0]
    assert method.name == row["method"] == "Obuchowski"
    for name in ("difference", "low", "high", "p"):
        assert row[name] == pytest.approx(getattr(found.pairs[0], name), rel=1e-9)
    assert analysis["data"]["clustered"]
    assert row_of(analysis["power"], difference=0.05)["have"] == 30
    assert any("clustered by patient" in note for note in analysis["notes"])
    interval = row_of(analysis["performance"], initialization="first")
    assert interval["low"] < interval["mean"] < interval["high"]
    assert_plain(analysis)


def test_slices_of_an_exam_are_scored_together(tmp_path: Path) -> None:
    frame = made_records(40, images=5, classes=("no tear", "tear"))
    frame["exam"] = [f"exam{number // 5}" for number in range(len(frame))]
    frame = check_records(frame)
    comparison = FakeComparison.planned(tmp_path, frame, task="acl_tear_mri_classification")
    comparison.write(drawn({"first": 1.5, "second": 1.0}, positive="tear"))
    analysis = analyze(comparison.out, comparison.root)
    areas = []
    for run in comparison.plan.runs():
        exams = probabilities_of(comparison, run).groupby("patient_id")
        labels = exams["label"].first() == "tear"
        areas.append((run.initialization, roc_auc_score(labels, exams["probability_tear"].mean())))
    for name in ("first", "second"):
        found = row_of(analysis["performance"], initialization=name)["mean"]
        assert found == pytest.approx(np.mean([area for owner, area in areas if owner == name]), abs=1e-12)
    assert analysis["data"]["scored"] == "exams"
    assert analysis["data"]["exams"] == 40
    assert not analysis["data"]["clustered"], "one exam a patient"
    operating = row_of(analysis["performance"], initialization="first")["pooled"]["operating_point"]
    assert operating["sensitivity"]["total"] + operating["specificity"]["total"] == 40


def test_findings_are_compared_by_the_first_one(tmp_path: Path) -> None:
    frame = made_records(90, classes=("no hemorrhage", "hemorrhage"))
    frame["subdural"] = np.where(frame["label"] == "hemorrhage", "1", "0")
    task = "intracranial_hemorrhage_ct_classification"
    frame = check_records(frame)
    comparison = FakeComparison.planned(tmp_path, frame, task=task, folds=3)
    two = drawn({"first": 1.5, "second": 1.0}, positive="hemorrhage")

    def scores(run: Run, rows: pd.DataFrame) -> np.ndarray:
        positive = two(run, rows)[:, 1]
        return np.stack([positive, *np.random.default_rng(0).uniform(size=(5, len(rows)))], axis=1)

    comparison.write(scores)
    analysis = analyze(comparison.out, comparison.root)
    assert analysis["task"]["positive"] == "any"
    areas = [
        roc_auc_score(table["label_any"], table["probability_any"])
        for run in comparison.plan.runs()
        if run.initialization == "first"
        for table in [probabilities_of(comparison, run)]
    ]
    assert row_of(analysis["performance"], initialization="first")["mean"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert_plain(analysis)


def test_three_classes_are_compared_by_the_macro_auc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_RESAMPLES", 50)
    classes = ("a", "b", "c")
    comparison = FakeComparison.planned(tmp_path, made_records(90, classes=classes), classes=classes, folds=3)

    def scores(run: Run, rows: pd.DataFrame) -> np.ndarray:
        signal = np.eye(3)[rows["label"].map({"a": 0, "b": 1, "c": 2})] * (3 if run.initialization == "first" else 1)
        logits = signal + np.random.default_rng([*run.id.encode()]).normal(size=(len(rows), 3))
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    comparison.write(scores)
    analysis = analyze(comparison.out, comparison.root)
    assert analysis["measure"] == "macro AUC"
    columns = [f"probability_{name}" for name in classes]
    areas: dict[str, list[float]] = {"first": [], "second": []}
    for run in comparison.plan.runs():
        table = probabilities_of(comparison, run)
        values = [
            roc_auc_score(table["label"] == name, table[column]) for name, column in zip(classes, columns, strict=True)
        ]
        areas[run.initialization].append(float(np.mean(values)))
    (row,) = analysis["differences"]
    assert row["difference"] == pytest.approx(np.mean(areas["first"]) - np.mean(areas["second"]), abs=1e-12)
    assert row["test_sets"]["method"] == "bootstrap"
    assert row["test_sets"]["p"] < 0.05
    assert "macro AUC" in analysis["sentences"][0]
    assert analysis["subgroups"] == []
    assert_plain(analysis)


def test_one_split_answers_for_its_test_set_alone(tmp_path: Path) -> None:
    frame = made_records(300)
    frame["split"] = np.repeat(["train", "validation", "test"], [100, 50, 150])
    comparison = FakeComparison.planned(tmp_path, frame, folds=1).write(drawn({"first": 2.0, "second": 0.5}))
    analysis = analyze(comparison.out, comparison.root)
    row = analysis["differences"][0]
    assert row["method"] == "DeLong"
    assert row["p"] == row["test_sets"]["p"]
    assert [fold["test"]["images"] for fold in analysis["data"]["folds"]] == [150]
    power = row_of(analysis["power"], difference=0.02)
    assert (power["have"], power["method"], power["degrees_of_freedom"]) == (150, "DeLong", None)
    deviates = norm.ppf(0.975) + norm.ppf(0.8)
    assert power["patients"] == int(np.ceil(150 * (deviates * row["standard_error"] / 0.02) ** 2))
    assert analysis["about"] == "these trained models"
    assert analysis["sentences"][0].startswith(
        "With densenet121, on the 150 patients of the test part, the model started from first has a higher AUC than "
        "the model started from second (AUC 0."
    )
    assert analysis["sentences"][0].endswith(
        "This is about these two models alone: one split does not show how results vary from training to training."
    )


def in_one_split(folder: Path, positives: int, negatives: int, images: int = 1, **options: Any) -> FakeComparison:
    """60 training and 40 validation patients, and a test part of so many patients of each class."""
    patients = 100 + positives + negatives
    frame = made_records(patients, images)
    of_patient = np.array(["benign", "malignant"])[[*(np.arange(100) % 2), *[1] * positives, *[0] * negatives]]
    frame["label"] = np.repeat(of_patient, images)
    frame["split"] = np.repeat([*["train"] * 60, *["validation"] * 40, *["test"] * (patients - 100)], images)
    return FakeComparison.planned(folder, frame, **{"folds": 1, **options})


@pytest.mark.parametrize(
    ("positives", "negatives", "enough"), [(3, 39, False), (9, 40, False), (10, 10, True), (12, 7, False)]
)
def test_few_patients_bear_no_claim(tmp_path: Path, positives: int, negatives: int, enough: bool) -> None:
    comparison = in_one_split(tmp_path, positives, negatives, images=2)
    comparison.write(drawn({"first": 6.0, "second": 0.2}))
    analysis = analyze(comparison.out, comparison.root)
    (row,), (sentence,) = analysis["differences"], analysis["sentences"]
    assert row["tested"] == {
        "unit": "patient",
        "total": positives + negatives,
        "per_class": {"benign": negatives, "malignant": positives},
    }
    assert (row["too_few"] is None) == enough
    assert row["difference"] > 0.3
    if enough:
        assert row["p"] < 0.001
        assert "has a higher AUC" in sentence
        return
    for found in (row, row["test_sets"]):
        assert [found[name] for name in ("standard_error", "low", "high", "p")] == [None] * 4
    assert row["p_adjusted"] is None
    assert analysis["power"] == []
    counted = f"benign: {negatives} patients; malignant: {positives} patients"
    assert sentence.startswith(
        "With densenet121, too few were tested to compare the model started from first with the model started from "
        f"second: {counted}; a comparison needs at least 10 of each class and 20 in all (AUC "
    )
    assert not re.search(r"P [<=>]|CI|better|higher|needed;|power", sentence)
    assert_plain(analysis)


def test_few_patients_over_folds_bear_no_claim(tmp_path: Path) -> None:
    """Also where patients have many images, and where they are unknown, which leaves images to count."""
    comparison = FakeComparison.planned(tmp_path, made_records(18, images=10), folds=3)
    comparison.write(drawn({"first": 6.0, "second": 0.2}))
    analysis = analyze(comparison.out, comparison.root)
    assert analysis["differences"][0]["p"] is analysis["differences"][0]["test_sets"]["p"] is None
    assert analysis["sentences"][0].startswith("With densenet121, too few were tested to compare first with second")
    frame = made_records(30)
    frame["patient_id"] = ""
    frame["split"] = np.repeat(["train", "validation", "test"], 10)
    unknown = FakeComparison.planned(tmp_path / "unknown", frame, folds=1).write(drawn({"first": 1.5, "second": 1.0}))
    assert re.search(r"benign: \d images; malignant: \d images", analyze(unknown.out, unknown.root)["sentences"][0])


def test_operating_points_are_over_patients(tmp_path: Path) -> None:
    """Images of a patient are called alike, so there are as many independent ones as patients."""

    def alike(run: Run, rows: pd.DataFrame) -> np.ndarray:
        number = rows["patient_id"].str.rpartition("-")[2].astype(int).to_numpy()
        wrong = number % 5 == 0
        noise = np.random.default_rng([*run.id.encode()]).uniform(0.1, 1, len(rows))
        return of_two(np.where((rows["label"] == "malignant").to_numpy() != wrong, 1, -1) * noise)

    comparison = in_one_split(tmp_path, 20, 30, images=8).write(alike)
    point = row_of(analyze(comparison.out, comparison.root)["performance"], initialization="first")["pooled"]
    found = point["operating_point"]["specificity"]
    assert (found["estimate"], found["total"]) == (0.8, 240)
    # Sums of 0 or 8 of eight images: the design effect is eight times 30 / 29.
    effective = 240 / (8 * 30 / 29)
    z = norm.ppf(0.975)
    center = (0.8 + z**2 / (2 * effective)) / (1 + z**2 / effective)
    reach = z / (1 + z**2 / effective) * np.sqrt(0.16 / effective + z**2 / (4 * effective**2))
    assert (found["low"], found["high"]) == pytest.approx((center - reach, center + reach), abs=1e-9)


def test_only_pairs_of_finished_runs_count(tmp_path: Path) -> None:
    """A failed run takes its partner out of the difference, and out of the means that the sentence states."""
    comparison = FakeComparison.planned(tmp_path, made_records(150))
    scores = drawn({"first": 1.5, "second": 1.0})
    for run in comparison.plan.runs():
        if (run.initialization, run.fold) == ("first", 0):
            comparison.write_run(run, scores, status=FAILED, problem=f"no room left at /data/{PLANTED}.png")
        elif (run.initialization, run.fold) != ("second", 1):
            comparison.write_run(run, scores)
    analysis = analyze(comparison.out, comparison.root)
    (row,) = analysis["differences"]
    assert [item["fold"] for item in row["per_fold"]] == [2, 3, 4]
    assert row_of(analysis["runs"], initialization="first", fold=0)["status"] == "failed"
    assert row_of(analysis["runs"], initialization="second", fold=1)["status"] == "missing"
    assert any("2 of 10 runs have no result" in note for note in analysis["notes"])
    means = {
        name: np.mean(
            [
                roc_auc_score(table["label"] == "malignant", table["probability_malignant"])
                for run in comparison.plan.runs()
                if run.initialization == name and run.fold in (2, 3, 4)
                for table in [probabilities_of(comparison, run)]
            ]
        )
        for name in ("first", "second")
    }
    assert means["first"] - means["second"] == pytest.approx(row["difference"], abs=1e-12)
    assert f"(mean AUC {means['first']:.3f} against {means['second']:.3f})" in analysis["sentences"][0]


def test_pooled_means_are_of_the_architectures_that_both_have(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(150), architectures=["densenet121", "resnet50"])
    distance = {"densenet121": 3.0, "resnet50": 0.5}
    for run in comparison.plan.runs():
        if (run.architecture, run.initialization) != ("resnet50", "second"):
            comparison.write_run(run, drawn({"first": distance[run.architecture], "second": 3.0}))
    analysis = analyze(comparison.out, comparison.root)
    of_densenet = row_of(analysis["differences"], architecture="densenet121")
    assert row_of(analysis["differences"], architecture="all")["difference"] == of_densenet["difference"]
    means = [
        row_of(analysis["performance"], architecture="densenet121", initialization=name)["mean"]
        for name in ("first", "second")
    ]
    stated = sorted((f"{value:.3f}" for value in means), reverse=means[0] < means[1])
    assert all(value in analysis["sentences"][0] for value in stated)


def test_nothing_in_common_is_refused_in_words(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(60))
    with pytest.raises(RecordsError, match="fewer than two runs were finished"):
        analyze(comparison.out, comparison.root)
    scores = drawn({"first": 1.5, "second": 1.0})
    for run in comparison.plan.runs():
        if (run.fold == 0) == (run.initialization == "first"):
            comparison.write_run(run, scores)
    analysis = analyze(comparison.out, comparison.root)
    assert analysis["differences"] == []
    assert analysis["sentences"] == ["No two initializations have a finished run in common, so nothing can be said."]


def test_images_that_one_model_could_not_read_count_for_neither(tmp_path: Path) -> None:
    frame = made_records(120)
    frame["split"] = np.repeat(["train", "validation", "test"], [40, 20, 60])
    comparison = FakeComparison.planned(tmp_path, frame, folds=1)
    scores = drawn({"first": 1.5, "second": 1.0})
    for run in comparison.plan.runs():
        comparison.write_run(run, scores, unreadable=[0, 7] if run.initialization == "first" else [])
    analysis = analyze(comparison.out, comparison.root)
    first, second = (probabilities_of(comparison, run) for run in comparison.plan.runs())
    kept = first["problem"].isna()
    assert kept.sum() == 58
    areas = [
        roc_auc_score(table[kept]["label"] == "malignant", table[kept]["probability_malignant"])
        for table in (first, second)
    ]
    assert analysis["differences"][0]["difference"] == pytest.approx(areas[0] - areas[1], abs=1e-12)
    assert analysis["data"]["excluded"] == [{"reason": "could not be read", "images": 2}]
    assert_plain(analysis)


def test_a_fold_without_a_class_is_left_out(tmp_path: Path) -> None:
    frame = made_records(100)
    frame["fold"] = pd.array(np.arange(100) % 5, dtype="Int64")
    frame.loc[frame["fold"] == 2, "label"] = "benign"
    comparison = FakeComparison.planned(tmp_path, frame).write(drawn({"first": 1.5, "second": 1.0}))
    analysis = analyze(comparison.out, comparison.root)
    (row,) = analysis["differences"]
    known = [item["difference"] for item in row["per_fold"]]
    assert [value is None for value in known] == [False, False, True, False, False]
    assert row["difference"] == pytest.approx(np.mean([value for value in known if value is not None]))
    assert_plain(analysis)


def test_perfect_separation_is_not_estimable_and_has_a_reason(tmp_path: Path) -> None:
    frame = made_records(180)
    frame["split"] = np.repeat(["train", "validation", "test"], 60)
    comparison = FakeComparison.planned(tmp_path, frame, folds=1)
    comparison.write(lambda run, rows: of_two(np.where(rows["label"] == "malignant", 4.0, -4.0)))
    analysis = analyze(comparison.out, comparison.root)
    row = analysis["differences"][0]
    assert (row["difference"], row["p"], row["low"]) == (0, None, None)
    assert "no variance" in row["reason"]
    assert "separate the classes perfectly" in analysis["sentences"][0]
    assert_plain(analysis)


def test_a_fold_without_a_variance_does_not_make_the_others_surer(tmp_path: Path) -> None:
    """One of five test sets is separated perfectly by both: its variance is unknown, not zero."""
    usual = drawn({"first": 1.5, "second": 1.0})

    def scores(run: Run, rows: pd.DataFrame) -> np.ndarray:
        return of_two(np.where(rows["label"] == "malignant", 4.0, -4.0)) if run.fold == 0 else usual(run, rows)

    comparison = FakeComparison.planned(tmp_path, made_records(150)).write(scores)
    row = analyze(comparison.out, comparison.root)["differences"][0]["test_sets"]
    found = []
    for fold in range(1, 5):
        first, second = (probabilities_of(comparison, run) for run in comparison.plan.runs() if run.fold == fold)
        models = {"first": first["probability_malignant"], "second": second["probability_malignant"]}
        found.append(compare_discrimination(first["label"] == "malignant", models)[0].pairs[0])
    assert row["standard_error"] == pytest.approx(
        np.sqrt(np.mean([(item.difference / item.z) ** 2 for item in found]) / 5), rel=1e-9
    )


@pytest.mark.long
def test_subgroups_hold_the_differences_of_their_images(tmp_path: Path) -> None:
    frame = made_records(200, sex=np.arange(200) % 2)
    frame["sex"] = np.where(np.arange(200) % 4 < 2, "F", "M")
    comparison = FakeComparison.planned(tmp_path, frame, folds=3).write(drawn({"first": 1.5, "second": 1.0}))
    analysis = analyze(comparison.out, comparison.root)
    assert {(row["column"], row["group"]) for row in analysis["subgroups"]} == {("sex", "F"), ("sex", "M")}
    sex = frame.set_index("image")["sex"]
    for group in ("F", "M"):
        differences = []
        for fold in range(3):
            tables = [probabilities_of(comparison, run) for run in comparison.plan.runs() if run.fold == fold]
            tables = [table[table["file"].map(sex) == group] for table in tables]
            areas = [roc_auc_score(table["label"] == "malignant", table["probability_malignant"]) for table in tables]
            differences.append(areas[0] - areas[1])
        row = row_of(analysis["subgroups"], group=group)
        assert row["difference"] == pytest.approx(np.mean(differences), abs=1e-12)
        assert row["images"] == 100
        assert row["values"]["first"]["low"] < row["values"]["first"]["auc"] < row["values"]["first"]["high"]


def test_subgroups_of_a_split_are_of_its_test_images(tmp_path: Path) -> None:
    """Training images must not make a group look large enough."""
    frame = made_records(200)
    frame["split"] = np.repeat(["train", "validation", "test"], [100, 40, 60])
    frame["site"] = np.where(np.arange(200) >= 190, "small", "large")
    frame.loc[:60, "site"] = "small"
    comparison = FakeComparison.planned(tmp_path, frame, folds=1).write(drawn({"first": 1.5, "second": 1.0}))
    analysis = analyze(comparison.out, comparison.root, columns=["site"])
    row = row_of(analysis["subgroups"], group="small")
    assert row["images"] == row["patients"] == 10
    assert row["difference"] is None
    assert "too small" in row["reason"]
    assert row_of(analysis["subgroups"], group="large")["images"] == 50


def test_a_column_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(60)).write(drawn({"first": 1.5, "second": 1.0}))
    with pytest.raises(ConfigurationError, match="no column 'shoe_size'"):
        analyze(comparison.out, comparison.root, columns=["shoe_size"])


@pytest.mark.long
def test_the_learning_curve_counts_who_was_trained_on(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(150, images=2), fractions=(0.25, 1))
    comparison.write(drawn({"first": 1.5, "second": 1.0}))
    analysis = analyze(comparison.out, comparison.root)
    rows = [row for row in analysis["learning_curve"] if row["initialization"] == "first"]
    assert [row["fraction"] for row in rows] == [0.25, 1.0]
    assert rows[1]["patients"] == 90
    assert rows[1]["images"] == 180
    assert rows[0]["patients"] == pytest.approx(22.5, abs=1)
    assert rows[0]["mean"] == row_of(analysis["performance"], initialization="first", fraction=0.25)["mean"]
    # With fewer trained on, one fold tells more of the spread: the test share is a share of what is left.
    quarter, whole = (row_of(analysis["differences"], fraction=share) for share in (0.25, 1.0))
    for row, trained in ((quarter, rows[0]["patients"]), (whole, 90)):
        spread = np.std([item["difference"] for item in row["per_fold"]], ddof=1)
        assert row["standard_error"] == pytest.approx(spread * np.sqrt(1 / 5 + 30 / trained), rel=0.03)


def test_power_follows_from_the_variance_seen(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(150)).write(drawn({"first": 1.2, "second": 1.0}))
    analysis = analyze(comparison.out, comparison.root)
    error = analysis["differences"][0]["standard_error"]
    row = row_of(analysis["power"], difference=0.05)
    assert (row["have"], row["degrees_of_freedom"], row["level"]) == (150, 4, 0.05)
    # Five folds: the statistic has a noncentral t distribution of four degrees of freedom.
    away = 0.05 * np.sqrt(row["patients"] / 150) / error
    assert nct.sf(student_t.ppf(0.975, 4), 4, away) == pytest.approx(0.8, abs=0.01)
    away = 0.05 * np.sqrt((row["patients"] - 1) / 150) / error
    assert nct.sf(student_t.ppf(0.975, 4), 4, away) < 0.8
    assert "cannot tell" in analysis["sentences"][0]
    assert "patients would be needed; there are 150" in analysis["sentences"][0]


def test_scenarios_are_averaged_and_validation_chooses_one(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(150), protocol="paper", folds=3)
    scores = drawn({"first": 1.5, "second": 1.0})
    for run in comparison.plan.runs():
        comparison.write_run(run, scores, validation=0.9 if run.scenario and run.scenario.freeze == "encoder" else 0.5)
    analysis = analyze(comparison.out, comparison.root)
    by_scenario: dict[str, list[float]] = {}
    for run in comparison.plan.runs():
        if run.initialization == "first" and run.scenario:
            table = probabilities_of(comparison, run)
            area = roc_auc_score(table["label"] == "malignant", table["probability_malignant"])
            by_scenario.setdefault(run.scenario.name, []).append(area)
    means = [np.mean(values) for values in by_scenario.values()]
    row = row_of(analysis["performance"], initialization="first")
    assert (row["runs"], row["scenarios"]) == (18, 6)
    assert row["mean"] == pytest.approx(np.mean(means), abs=1e-12)
    assert row["sd"] == pytest.approx(np.std(means, ddof=1), abs=1e-12)
    assert row["pooled"]["scenario"].startswith("encoder-")
    assert len(analysis["differences"][0]["per_scenario"]) == 6


def test_predictions_of_other_records_are_refused(tmp_path: Path) -> None:
    comparison = FakeComparison.planned(tmp_path, made_records(60)).write(drawn({"first": 1.5, "second": 1.0}))
    path = comparison.out / RUNS_FOLDER / comparison.plan.runs()[0].id / "output" / "evaluation" / "predictions.csv"
    path.write_text(path.read_text().replace("FILE_0000", "FILE_7777"))
    with pytest.raises(RecordsError, match="which the comparison's records do not hold; remove the run's folder"):
        analyze(comparison.out, comparison.root)


def test_the_analysis_is_a_function_of_the_runs(tmp_path: Path) -> None:
    """Analyzed again later, the same runs give the same bytes."""
    comparison = FakeComparison.planned(tmp_path, made_records(60)).write(drawn({"first": 1.5, "second": 1.0}))
    analyze(comparison.out, comparison.root)
    before = (comparison.out / ANALYSIS_FILE).read_bytes()
    analysis = analyze(comparison.out, comparison.root)
    assert (comparison.out / ANALYSIS_FILE).read_bytes() == before
    assert analysis["seconds"] == 15.0, "ten runs of 1.5 s"


@pytest.mark.long
def test_two_equally_good_initializations_are_rarely_told_apart(tmp_path: Path) -> None:
    """100 comparisons of models from the same distribution, five folds, images of 150 patients."""
    told = 0
    for number in range(100):
        folder = tmp_path / str(number)
        comparison = FakeComparison.planned(folder, made_records(150, seed=number), seed=number)
        comparison.write(drawn({"first": 1.5, "second": 1.5}, seed=number))
        analysis = analyze(comparison.out, comparison.root)
        (row,), (sentence,) = analysis["differences"], analysis["sentences"]
        told += row["p_adjusted"] < 0.05
        if row["p_adjusted"] >= 0.05:
            assert sentence.startswith("With densenet121, these data cannot tell first from second (mean AUC ")
        else:
            assert "is better than" in sentence
    assert told <= 7
