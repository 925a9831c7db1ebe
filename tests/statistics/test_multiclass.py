"""Metrics of many classes against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    precision_score,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.multiclass import balanced_accuracy, class_aucs, evaluate_multiclass, top_k_correct


def draw(seed: int, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), labels] += 1
    return labels, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "classes"), [(300, 3), (400, 12), (2000, 165)])
def test_every_measure_is_scikit_learns(n: int, classes: int) -> None:
    labels, probabilities = draw(classes, n, classes)
    found = evaluate_multiclass(labels, probabilities, [f"class {k}" for k in range(classes)])
    called = probabilities.argmax(axis=1)
    everything = np.arange(classes)
    assert found.top1.estimate == pytest.approx(top_k_accuracy_score(labels, probabilities, k=1, labels=everything))
    if classes > 5:
        assert found.top5 is not None
        expected = top_k_accuracy_score(labels, probabilities, k=5, labels=everything)
        assert found.top5.estimate == pytest.approx(expected)
    else:
        assert found.top5 is None
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, called))
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro", labels=everything)
    assert found.auc_macro == pytest.approx(expected, abs=1e-12)
    recalls = recall_score(labels, called, average=None, labels=everything)
    precisions = precision_score(labels, called, average=None, labels=everything, zero_division=np.nan)
    for number, (item, recall, precision) in enumerate(zip(found.per_class, recalls, precisions, strict=True)):
        assert item.auc.auc == pytest.approx(roc_auc_score(labels == number, probabilities[:, number]), abs=1e-12)
        assert item.recall.estimate == pytest.approx(recall)
        assert (item.precision.estimate is None) == bool(np.isnan(precision))
        if item.precision.estimate is not None:
            assert item.precision.estimate == pytest.approx(precision)
    if classes <= 20:
        assert found.confusion == confusion_matrix(labels, called).tolist()


def test_absent_classes_are_left_out_of_means_and_said() -> None:
    labels, probabilities = draw(0, 200, 4)
    present = labels != 2
    found = evaluate_multiclass(labels[present], probabilities[present], ["a", "b", "c", "d"], ["p"] * present.sum())
    assert found.classes_present == 3
    assert found.per_class[2].auc.auc is None
    assert found.per_class[2].auc.reason == "all images are negative"
    assert np.isnan(class_aucs(labels[present], probabilities[present])[2])
    assert found.balanced_accuracy == pytest.approx(
        recall_score(labels[present], probabilities[present].argmax(axis=1), average=None, labels=[0, 1, 3]).mean()
    )
    assert any("1 of 4 classes have no image" in note for note in found.notes)
    assert any("of 1 patients" in note for note in found.notes)


def test_several_images_a_patient_widen_the_intervals() -> None:
    labels, probabilities = draw(1, 150, 3)
    names, copies = ["a", "b", "c"], 4
    patients = [f"patient {number}" for number in range(150)]
    single = evaluate_multiclass(labels, probabilities, names, patients)
    copied = evaluate_multiclass(
        np.repeat(labels, copies), np.repeat(probabilities, copies, axis=0), names, np.repeat(patients, copies).tolist()
    )
    assert (single.auc_method.name, copied.auc_method.name) == ("DeLong", "Obuchowski")
    assert (copied.images, copied.patients) == (600, 150)
    for one, many in zip(single.per_class, copied.per_class, strict=True):
        assert (many.auc.low, many.auc.high) == pytest.approx((one.auc.low, one.auc.high), rel=1e-9)
        assert many.recall.low == pytest.approx(one.recall.low, abs=0.01)
        assert many.precision.high == pytest.approx(one.precision.high, abs=0.01)
    assert copied.top1.low == pytest.approx(single.top1.low, abs=0.01)


def test_a_network_that_says_nothing_is_not_called_right() -> None:
    labels = np.array([0, 1, 2, 3, 4, 5, 6])
    assert not top_k_correct(labels, np.full((7, 7), 1 / 7), 5).any()
    assert balanced_accuracy(labels, np.zeros(7, int)) == pytest.approx(1 / 7)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], np.ones((3, 2)), "shape"),
        ([0, 2], np.ones((2, 2)), "from 0 to 1"),
        ([0, 1], np.full((2, 2), np.nan), "NaN"),
        ([], np.ones((0, 2)), "at least one image"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(labels: list, probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(RadImageNetError, match=message):
        evaluate_multiclass(np.array(labels, dtype=int), probabilities, ["a", "b"])
