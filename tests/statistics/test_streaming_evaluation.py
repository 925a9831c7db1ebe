"""Counting batch by batch against the whole table: scikit-learn's numbers, and those of `evaluate_multiclass`."""

from __future__ import annotations

import itertools
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    balanced_accuracy_score,
    brier_score_loss,
    confusion_matrix,
    roc_auc_score,
    top_k_accuracy_score,
)

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError, RecordsError
from radimagenet_monai.statistics.auc.inference import infer_auc
from radimagenet_monai.statistics.auc.streaming import SCORE_BINS, infer_binned_auc, score_bins
from radimagenet_monai.statistics.multiclass import evaluate_multiclass, top_k_correct
from radimagenet_monai.statistics.streaming.counts import StreamingCounts
from radimagenet_monai.statistics.streaming.evaluation import balanced_accuracy_of, evaluate_counts, macro_auc_of
from radimagenet_monai.statistics.streaming.groups import evaluate_groups, most_confused

pytestmark = pytest.mark.slow

CLASSES = 12


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def table(images: int, classes: int, seed: int = 0, spread: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a long tail, every class present, and probabilities that know something of them."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, classes + 1)
    labels = np.concatenate([np.arange(classes), rng.choice(classes, images - classes, p=shares / shares.sum())])
    logits = rng.normal(scale=spread, size=(images, classes))
    logits[np.arange(images), labels] += spread
    return labels, softmax(logits)


def counted(labels: np.ndarray, probabilities: np.ndarray, batch: int = 32) -> StreamingCounts:
    counts = StreamingCounts(probabilities.shape[1])
    for start in range(0, len(labels), batch):
        counts.update(labels[start : start + batch], probabilities[start : start + batch])
    return counts


LABELS, PROBABILITIES = table(3000, CLASSES)
NAMES = [f"class {number}" for number in range(CLASSES)]
COUNTS = counted(LABELS, PROBABILITIES)
FOUND = evaluate_counts(COUNTS, NAMES)


def test_counts_are_scikit_learns() -> None:
    called = PROBABILITIES.argmax(axis=1)
    np.testing.assert_array_equal(COUNTS.confusion, confusion_matrix(LABELS, called))
    for k, own in ((1, FOUND.top1), (5, FOUND.top5)):
        assert own is not None
        hits = top_k_accuracy_score(LABELS, PROBABILITIES, k=k, labels=np.arange(CLASSES), normalize=False)
        assert own.successes == hits
    assert FOUND.balanced_accuracy == pytest.approx(balanced_accuracy_score(LABELS, called), abs=1e-15)
    assert balanced_accuracy_of(COUNTS) == FOUND.balanced_accuracy


def test_areas_are_scikit_learns_within_the_bound() -> None:
    exact = [roc_auc_score(number == LABELS, PROBABILITIES[:, number]) for number in range(CLASSES)]
    for area, item in zip(exact, FOUND.per_class, strict=True):
        assert item.auc.bound is not None
        assert abs(item.auc.estimate.auc - area) <= item.auc.bound + 1e-12
        assert item.auc.bound < 2e-3
    assert FOUND.auc_macro_bound is not None
    assert abs(FOUND.auc_macro - np.mean(exact)) <= FOUND.auc_macro_bound
    assert FOUND.auc_macro_bound < 3e-4
    assert macro_auc_of(COUNTS) == FOUND.auc_macro


def test_where_no_two_images_share_a_bin_the_area_is_exact() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1, 1, 0])
    second = np.array([0.1, 0.2, 0.15, 0.9, 0.4, 0.6, 0.97, 0.8])
    counts = counted(labels, np.stack([1 - second, second], axis=1))
    area = infer_binned_auc(counts.own_scores[1], counts.scores[1] - counts.own_scores[1])
    assert area.bound == 0
    exact = infer_auc(labels == 1, second, None, 0.95, "logit")
    assert area.estimate.auc == roc_auc_score(labels, second)
    assert area.estimate.standard_error == pytest.approx(exact.standard_error, rel=1e-12)
    assert (area.estimate.low, area.estimate.high) == pytest.approx((exact.low, exact.high), rel=1e-12)


def test_intervals_are_those_of_the_binned_probabilities() -> None:
    for number in range(CLASSES):
        exact = infer_auc(number == LABELS, score_bins(PROBABILITIES[:, number]).astype(float), None, 0.95, "logit")
        own = FOUND.per_class[number].auc.estimate
        assert own.auc == pytest.approx(exact.auc, abs=1e-13)
        assert (own.low, own.high, own.positives) == pytest.approx((exact.low, exact.high, exact.positives), rel=1e-9)
        assert own.reason == exact.reason


def test_numbers_that_overlap_are_those_of_the_whole_table() -> None:
    whole = evaluate_multiclass(LABELS, PROBABILITIES, NAMES)
    assert (FOUND.top1, FOUND.top5) == (whole.top1, whole.top5)
    for own, other in zip(FOUND.per_class, whole.per_class, strict=True):
        assert (own.name, own.images) == (other.name, other.images)
        assert (own.recall, own.precision) == (other.recall, other.precision)
        np.testing.assert_allclose(
            [own.auc.estimate.low, own.auc.estimate.high], [other.auc.low, other.auc.high], atol=5e-3
        )


def test_calibration_is_that_of_the_whole_table() -> None:
    called, confidence = PROBABILITIES.argmax(axis=1), PROBABILITIES.max(axis=1)
    # Too sure of itself above a half, not sure enough below: the distances of the bins must not cancel.
    labels = np.where(confidence > 0.5, np.random.default_rng(0).permutation(called), called)
    correct, place = called == labels, np.minimum((confidence * 15).astype(int), 14)
    gaps = [(confidence[place == b].astype(float).mean() - correct[place == b].mean()) for b in range(15) if b in place]
    weights = np.bincount(place, minlength=15)
    own = evaluate_counts(counted(labels, PROBABILITIES), NAMES).calibration
    assert min(gaps) < -0.3
    assert max(gaps) > 0.3
    assert own.ece == pytest.approx(np.abs(gaps) @ weights[weights > 0] / len(labels), abs=1e-8)
    assert own.mean_confidence == pytest.approx(confidence.astype(float).mean(), abs=1e-8)
    assert own.accuracy == correct.mean()
    assert own.brier == pytest.approx(
        brier_score_loss(labels, PROBABILITIES, labels=np.arange(CLASSES), scale_by_half=False), abs=1e-6
    )
    assert [item.images for item in own.bins] == weights.tolist()


@given(st.lists(st.integers(0, 400), max_size=6), st.permutations(range(7)), st.integers(0, 2**16))
def test_processes_in_any_order_give_what_one_gives(cuts: list[int], order: list[int], seed: int) -> None:
    labels, probabilities = table(400, 7, seed)
    ends = [0, *sorted(cuts), *[400] * (7 - len(cuts))]
    parts = [counted(labels[a:b], probabilities[a:b], batch=1 + a % 50) for a, b in itertools.pairwise(ends)]
    merged = StreamingCounts(7)
    for number in order:
        merged.merge(parts[number])
    whole = StreamingCounts(7)
    whole.update(labels, probabilities)
    np.testing.assert_array_equal(merged.flat, whole.flat)
    assert evaluate_counts(merged, [str(n) for n in range(7)]) == evaluate_counts(whole, [str(n) for n in range(7)])


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=60), st.integers(0, 2**16))
def test_bins_never_fall_and_the_bound_holds(values: list[float], seed: int) -> None:
    scores = np.sort(np.array(values, np.float32))
    bins = score_bins(scores)
    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < SCORE_BINS
    labels = np.random.default_rng(seed).permutation(np.arange(len(values)) % 2)
    positives = np.bincount(bins[labels == 1], minlength=SCORE_BINS)
    area = infer_binned_auc(positives, np.bincount(bins, minlength=SCORE_BINS) - positives)
    assert abs(area.estimate.auc - roc_auc_score(labels, scores)) <= area.bound + 1e-12


def test_bins_are_fine_at_both_ends_of_the_odds() -> None:
    odds = np.geomspace(1e-11, 1e3, 4000)
    assert len(np.unique(score_bins(odds / (1 + odds)))) == 4000
    assert score_bins(np.array([0.0, 1.0])).tolist() == [0, SCORE_BINS - 1]
    assert score_bins(np.float32([1 - 2**-24]))[0] == SCORE_BINS - 2


def test_ties_count_as_for_the_whole_table() -> None:
    labels = np.arange(20) % 8
    probabilities = np.random.default_rng(0).integers(1, 4, (20, 8)) / 32
    counts = counted(labels, probabilities)
    assert counts.top1.sum() == top_k_correct(labels, probabilities, 1).sum()
    assert counts.top5.sum() == top_k_correct(labels, probabilities, 5).sum()
    equal = counted(labels, np.full((20, 8), 0.125))
    assert equal.top1.sum() == equal.top5.sum() == 0
    assert macro_auc_of(equal) == 0.5


def test_confusion_stays_within_groups() -> None:
    confusion = np.array([[4, 1, 0, 0], [2, 2, 0, 1], [0, 0, 9, 0], [0, 0, 0, 0]])
    groups = ["knee", "knee", "brain", "hip"]
    knee, brain, hip = evaluate_groups(confusion, np.array([3, 2, 9, 0]), None, groups)
    assert (knee.images, knee.classes, knee.top1.successes, knee.top5) == (10, 2, 5, None)
    assert (knee.called_inside.successes, knee.called_inside.total) == (9, 10)
    assert (knee.errors_inside.successes, knee.errors_inside.total) == (3, 4)
    assert knee.balanced_accuracy == pytest.approx(float((Fraction(4, 5) + Fraction(2, 5)) / 2))
    assert brain.errors_inside.estimate is None
    assert hip.balanced_accuracy is None
    assert hip.classes_present == 0
    pairs = most_confused(confusion, ["a", "b", "c", "d"], 2)
    assert [(pair.true, pair.called, pair.images, pair.share) for pair in pairs] == [
        ("b", "a", 2, 0.4),
        ("a", "b", 1, 0.2),
    ]


def test_the_result_is_plain_json_without_nan() -> None:
    absent = counted(np.array([0, 1, 1]), softmax(np.eye(7)[:3]))
    found = evaluate_counts(absent, list("abcdefg"), {"half": ["x"] * 3 + ["y"] * 4})
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["classes_present"] == 2
    assert plain["per_class"][4]["auc"]["reason"] == "all images are negative"
    assert plain["per_class"][4]["auc"]["bound"] is None
    assert plain["groups"]["half"][1]["top1"]["estimate"] is None
    assert plain["patients"] is None
    assert any("5 of 7 classes have no image" in note for note in plain["notes"])
    assert any("too narrow" in note for note in plain["notes"])


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [[0.5, 0.5]], r"shape \(2,\) and probabilities of shape \(1, 2\)"),
        ([0], [[0.5, 0.3, 0.2]], r"expected \(n,\) and \(n, 2\)"),
        ([2], [[0.5, 0.5]], "class indices from 0 to 1"),
        ([0.0], [[0.5, 0.5]], "class indices from 0 to 1"),
        ([0], [[-3.0, 3.0]], "apply softmax"),
        ([0], [[float("nan"), 0.5]], "from nan to nan"),
    ],
)
def test_what_cannot_be_counted_is_refused(labels: list, probabilities: list, message: str) -> None:
    counts = StreamingCounts(2)
    with pytest.raises(RadImageNetError, match=message):
        counts.update(labels, probabilities)
    assert counts.images == 0


def test_what_cannot_be_evaluated_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="1 classes were given"):
        StreamingCounts(1)
    with pytest.raises(ConfigurationError, match="counts of 3 classes"):
        StreamingCounts(2).merge(StreamingCounts(3))
    counts = StreamingCounts(2)
    counts.update([], np.empty((0, 2)))
    with pytest.raises(RecordsError, match=r"only the class indices \[\] of 2"):
        evaluate_counts(counts, ["a", "b"])
    counts.update([1, 1], [[0.5, 0.5], [0.4, 0.6]])
    with pytest.raises(RecordsError, match=r"only the class indices \[1\] of 2"):
        evaluate_counts(counts, ["a", "b"])
    with pytest.raises(RecordsError, match=r"only the class indices \[1\] of 2"):
        macro_auc_of(counts)
    with pytest.raises(ConfigurationError, match="3 names of region"):
        evaluate_counts(counts, ["a", "b"], {"region": ["x", "y", "z"]})
