"""Paired measures per image: against every exchange of signs by hand, scipy, and simulations of clustered images."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.resampling.paired_cases import compare_cases

pytestmark = pytest.mark.slow


def test_p_is_that_of_every_exchange_by_hand() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random(20), rng.random(20) - 0.1
    patients = np.arange(20) // 3
    sums = [float((first - second)[patients == patient].sum()) for patient in range(7)]
    every = [sum(sign * value for sign, value in zip(signs, sums, strict=True)) for signs in EXCHANGES]
    expected = np.mean([abs(total) >= abs(sum(sums)) - 1e-12 for total in every])
    found = compare_cases(first, second, patients)
    assert found.exact
    assert found.p == pytest.approx(expected, abs=1e-15)
    assert (found.cases, found.patients, found.left_out) == (20, 7, 0)
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert compare_cases(second, first, patients).p == pytest.approx(expected, abs=1e-15)


EXCHANGES = list(itertools.product([1, -1], repeat=7))


def test_of_many_independent_images_it_is_close_to_the_t_test_and_scipys_bootstrap() -> None:
    rng = np.random.default_rng(5)
    first = rng.beta(5, 2, 200)
    second = np.clip(first + rng.normal(-0.02, 0.12, 200), 0, 1)
    found = compare_cases(first, second, seed=3)
    usual = stats.ttest_rel(first, second)
    assert not found.exact
    assert found.p == pytest.approx(usual.pvalue, abs=0.02)
    assert found.standard_error == pytest.approx(stats.sem(first - second), rel=0.06)
    peer = stats.bootstrap((first - second,), np.mean, n_resamples=9999, method="BCa", rng=1).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(peer), abs=0.003)
    assert compare_cases(first, second, seed=3) == found


def test_undefined_images_are_left_out_and_counted() -> None:
    first = [0.9, None, 0.7, float("nan"), 0.8, 0.6, 0.5, 0.9]
    second = [0.8, None, 0.6, 0.4, None, 0.7, 0.3, 0.2]
    found = compare_cases(first, second, ["a", "b", "c", "d", "e", "f", "", ""])
    assert (found.cases, found.patients, found.left_out) == (5, 5, 3)
    assert found.first == pytest.approx(np.mean([0.9, 0.7, 0.6, 0.5, 0.9]))


def test_images_of_a_patient_do_not_count_as_independent() -> None:
    rng = np.random.default_rng(9)
    patients = np.arange(240) // 6
    small = {"clusters": 0, "images": 0}
    covered = 0
    for seed in range(200):
        shift = rng.normal(0, 0.1, 40)[patients]
        first = 0.7 + shift + rng.normal(0, 0.05, 240)
        second = np.full(240, 0.7)
        by_patient = compare_cases(first, second, patients, repeats=500, seed=seed)
        assert by_patient.p is not None
        assert by_patient.low is not None
        assert by_patient.high is not None
        small["clusters"] += by_patient.p < 0.05
        covered += by_patient.low <= 0 <= by_patient.high
        small["images"] += (compare_cases(first, second, repeats=100, seed=seed).p or 0) < 0.05
    assert small["clusters"] <= 20
    assert small["images"] > 60
    assert covered >= 178


@pytest.mark.parametrize(
    ("first", "second", "clusters", "reason"),
    [
        ([None, None], [0.1, None], None, "defined for no image"),
        ([], [], None, "defined for no image"),
        ([0.3, 0.4], [0.3, 0.4], None, "the same results in every image"),
        ([0.3, 0.4], [0.1, 0.5], ["a", "a"], "one patient only"),
    ],
)
def test_not_estimable_is_said(first: list, second: list, clusters: list | None, reason: str) -> None:
    found = compare_cases(first, second, clusters)
    assert found.p is found.low is found.high is None
    assert found.reason is not None
    assert reason in found.reason


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([0.1], [0.1, 0.2], "1 and 2 values"),
        ([[0.1]], [[0.2]], "expected one number"),
        ([float("inf"), 0.1], [0.1, 0.2], "an infinite value"),
    ],
)
def test_bad_input_is_named(first: list, second: list, message: str) -> None:
    with pytest.raises(RadImageNetError, match=message):
        compare_cases(first, second)
