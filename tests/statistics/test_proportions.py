"""Wilson intervals against scipy, operating points against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, precision_score, recall_score

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.proportions import clustered_wilson, operating_point, wilson


@settings(deadline=None)
@given(st.integers(1, 400), st.data(), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilson_equals_scipy(total: int, data: st.DataObject, confidence: float) -> None:
    successes = data.draw(st.integers(0, total))
    ours = wilson(successes, total, confidence)
    theirs = binomtest(successes, total).proportion_ci(confidence, method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)
    assert 0 <= ours.low <= ours.estimate <= ours.high <= 1


def test_no_trials_have_no_proportion() -> None:
    assert wilson(0, 0).estimate is None
    assert wilson(0, 0).low is None


@pytest.mark.parametrize("copies", [1, 4])
def test_copies_add_nothing_to_a_clustered_proportion(copies: int) -> None:
    """With outcomes that repeat within a cluster the effective sample size is the number of clusters, less one."""
    outcomes = np.repeat(np.arange(50) < 37, copies)
    found = clustered_wilson(outcomes, np.repeat(np.arange(50), copies))
    assert (found.successes, found.total) == (37 * copies, 50 * copies)
    for bound in (found.low, found.high):
        # Wilson's bounds are where the score test of the share is just significant.
        expected = 1.959963984540054**2 * bound * (1 - bound) / (bound - 0.74) ** 2
        assert expected == pytest.approx(49, rel=1e-9)


def test_clusters_that_agree_no_more_than_chance_leave_wilson() -> None:
    outcomes = np.tile([True, False, True, True], 30)
    assert clustered_wilson(outcomes, np.repeat(np.arange(30), 4)) == wilson(90, 120)


@pytest.mark.parametrize("outcome", [True, False])
def test_outcomes_all_alike_count_clusters(outcome: bool) -> None:
    found = clustered_wilson(np.full(60, outcome), np.repeat(np.arange(20), 3))
    expected = wilson(20 * outcome, 20)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-15)
    assert clustered_wilson(np.zeros(0, bool), np.zeros(0, int)).estimate is None


def test_clustered_wilson_covers_where_wilson_does_not() -> None:
    """Beta-binomial outcomes of 40 patients with 5 images and a correlation of 0.5 within patients."""
    rng = np.random.default_rng(0)
    truth, patients, covered, naive, runs = 0.8, np.repeat(np.arange(40), 5), 0, 0, 1500
    for _ in range(runs):
        outcomes = rng.random(200) < rng.beta(truth, 1 - truth, 40)[patients]
        found = clustered_wilson(outcomes, patients)
        covered += found.low <= truth <= found.high
        plain = wilson(int(outcomes.sum()), 200)
        naive += plain.low <= truth <= plain.high
    assert 0.93 < covered / runs < 0.97
    assert naive / runs < 0.85


@pytest.mark.parametrize(("successes", "total", "confidence"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 95)])
def test_impossible_numbers_are_refused(successes: int, total: int, confidence: float) -> None:
    with pytest.raises(RadImageNetError, match="expected"):
        wilson(successes, total, confidence)


@pytest.mark.parametrize("seed", range(5))
def test_operating_point_equals_sklearn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 80)
    scores = np.round(rng.random(80), 1)
    point = operating_point(labels, scores, 0.4)
    called = (scores >= 0.4).astype(int)
    (tn, fp), (fn, tp) = confusion_matrix(labels, called)
    counts = (point.true_negatives, point.false_positives, point.false_negatives, point.true_positives)
    assert counts == (tn, fp, fn, tp)
    assert point.sensitivity.estimate == pytest.approx(recall_score(labels, called))
    assert point.specificity.estimate == pytest.approx(recall_score(labels, called, pos_label=0))
    assert point.ppv.estimate == pytest.approx(precision_score(labels, called))
    assert point.npv.estimate == pytest.approx(precision_score(labels, called, pos_label=0))
    assert point.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, called))


def test_absent_class_has_no_sensitivity() -> None:
    point = operating_point([0, 0], [0.1, 0.9], 0.5)
    assert point.sensitivity.estimate is None
    assert point.balanced_accuracy is None
    assert point.specificity.estimate == 0.5
