"""The corrected resampled t-test: against scipy, the paper's own factor, and its behavior at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.resampling.cross_validation import corrected_resampled_test

DIFFERENCES = [0.021, -0.004, 0.035, 0.012, 0.027]


def test_without_overlap_it_is_the_paired_t_test_of_scipy() -> None:
    found = corrected_resampled_test(DIFFERENCES, test_share=1e-15)
    usual = stats.ttest_1samp(DIFFERENCES, 0)
    interval = usual.confidence_interval(0.95)
    assert found.t == pytest.approx(usual.statistic, rel=1e-12)
    assert found.p == pytest.approx(usual.pvalue, rel=1e-10)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-10)
    assert (found.folds, found.degrees_of_freedom, found.reason) == (5, 4, None)


def test_the_correction_is_that_of_the_paper() -> None:
    """For five folds the variance is (1/5 + 1/4) s^2 and not s^2 / 5: the t of scipy is divided by 1.5."""
    found = corrected_resampled_test(DIFFERENCES, test_share=0.25)
    usual = stats.ttest_1samp(DIFFERENCES, 0)
    assert found.t == pytest.approx(usual.statistic / 1.5, rel=1e-12)
    assert found.standard_error == pytest.approx(np.std(DIFFERENCES, ddof=1) * np.sqrt(0.45), rel=1e-12)
    assert found.p == pytest.approx(2 * stats.t.sf(usual.statistic / 1.5, 4), rel=1e-12)


@given(
    st.lists(st.floats(-1, 1), min_size=2, max_size=30).filter(lambda values: np.ptp(values) > 1e-6),
    st.floats(0.01, 2),
)
@settings(deadline=None)
def test_interval_and_p_agree_and_the_sign_is_that_of_the_first_model(values: list[float], share: float) -> None:
    found = corrected_resampled_test(values, share)
    turned = corrected_resampled_test([-value for value in values], share)
    assert found.low is not None
    assert found.high is not None
    assert found.p is not None
    if abs(found.p - 0.05) > 1e-6:
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0)
    assert turned.p == pytest.approx(found.p)
    assert turned.low == pytest.approx(-found.high)


@pytest.mark.parametrize(
    ("values", "difference", "reason"),
    [
        ([], None, "no fold"),
        ([0.1], 0.1, "1 fold"),
        ([0.0, 0.0, 0.0], 0.0, "the same results in every fold"),
        ([0.9 - 0.8, 0.8 - 0.7, 0.1], 0.1, "the same in every fold, so its spread is zero"),
    ],
)
def test_not_estimable_is_said(values: list[float], difference: float | None, reason: str) -> None:
    found = corrected_resampled_test(values, 0.25)
    assert found.difference == pytest.approx(difference)
    assert found.standard_error is found.low is found.high is found.t is found.p is None
    assert found.reason is not None
    assert reason in found.reason


@pytest.mark.parametrize(
    ("values", "share", "confidence", "message"),
    [
        ([[0.1, 0.2]], 0.25, 0.95, r"shape \(1, 2\)"),
        ([0.1, float("nan")], 0.25, 0.95, "fold 1 is nan"),
        ([0.1, 0.2], 0, 0.95, "test_share 0"),
        ([0.1, 0.2], 0.25, 95, "confidence 95"),
    ],
)
def test_bad_input_is_named(values: list, share: float, confidence: float, message: str) -> None:
    with pytest.raises(RadImageNetError, match=message):
        corrected_resampled_test(values, share, confidence)


def differences_of_equals(rng: np.random.Generator, repetitions: int) -> list[float]:
    """AUC by fold of a linear discriminant on two independent, equally good sets of 10 features of 100 images."""
    labels = np.arange(100) < 50
    features = rng.normal(size=(2, 100, 10)) + labels[:, None] * 1.2 / np.sqrt(10)
    differences = []
    for _ in range(repetitions):
        split = StratifiedKFold(5, shuffle=True, random_state=int(rng.integers(2**31)))
        for train, test in split.split(features[0], labels):
            aucs = [
                roc_auc_score(
                    labels[test],
                    LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
                    .fit(one[train], labels[train])
                    .decision_function(one[test]),
                )
                for one in features
            ]
            differences.append(aucs[0] - aucs[1])
    return differences


@pytest.mark.long
@pytest.mark.parametrize(("repetitions", "sets", "most", "naive_least"), [(1, 1000, 0.05, 0.06), (10, 150, 0.12, 0.5)])
def test_equal_models_are_seldom_told_apart(repetitions: int, sets: int, most: float, naive_least: float) -> None:
    rng = np.random.default_rng(17)
    drawn = [differences_of_equals(rng, repetitions) for _ in range(sets)]
    found = [corrected_resampled_test(differences, 0.25).p for differences in drawn]
    assert np.mean([p is not None and p < 0.05 for p in found]) < most
    naive = [stats.ttest_1samp(differences, 0).pvalue for differences in drawn]
    assert np.mean(np.array(naive) < 0.05) > naive_least, "without the correction"
