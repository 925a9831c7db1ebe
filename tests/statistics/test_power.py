"""Numbers of patients: against R's power.t.test, and by simulation."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from scipy import stats

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.power import detectable_difference, patients_needed
from radimagenet_monai.statistics.resampling.cross_validation import corrected_resampled_test

pytestmark = pytest.mark.slow


def test_equals_power_of_r() -> None:
    """R counts with t, so it needs about two patients more."""
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed (Debian: r-base-core)")
    code = "cat(power.t.test(delta=0.02, sd=0.2, power=0.9, type='one.sample')$n)"
    done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    seen = 0.2 / np.sqrt(50)
    assert patients_needed(seen, 50, 0.02, power=0.9) == pytest.approx(float(done.stdout) - 1.9, abs=1)


def test_a_test_over_few_folds_needs_the_patients_of_r() -> None:
    """The example of R's help page, power.t.test(n = 20, delta = 1, sd = 1), has a power of 0.8689528."""
    error = np.sqrt(2 / 20)
    found = detectable_difference(error, 20, 20, power=0.8689528, degrees_of_freedom=38)
    assert found == pytest.approx(1.0, abs=1e-6)
    if shutil.which("Rscript") is not None:
        code = "cat(sapply(c(3, 5, 10), function(k) power.t.test(n=k, sd=sqrt(k), power=.8, type='one.sample')$delta))"
        done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        expected = [float(value) for value in done.stdout.split()]
        assert [detectable_difference(1, 9, 9, degrees_of_freedom=k - 1) for k in (3, 5, 10)] == pytest.approx(
            expected, rel=1e-4
        )


@pytest.mark.parametrize(
    ("folds", "times"),
    [pytest.param(3, 4.07, marks=pytest.mark.long), (5, 1.80), pytest.param(10, 1.26, marks=pytest.mark.long)],
)
def test_folds_with_shared_training_data_reach_the_power_asked_for(folds: int, times: float) -> None:
    """The variance that Nadeau and Bengio take: folds correlate by n_test / (n_test + n_train)."""
    share, spread, seen, wanted = 1 / (folds - 2), 0.05, 200, 0.02
    error = spread * np.sqrt((1 + folds * share) / (folds * (1 + share)))
    patients = patients_needed(error, seen, wanted, degrees_of_freedom=folds - 1)
    assert patients is not None
    assert patients / (patients_needed(error, seen, wanted) or 1) == pytest.approx(times, abs=0.01)
    rng = np.random.default_rng(folds)
    correlation, studies = share / (1 + share), 4000
    common, own = rng.normal(size=(studies, 1)), rng.normal(size=(studies, folds))
    noise = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    differences = wanted + spread * np.sqrt(seen / patients) * noise
    told = [corrected_resampled_test(study, share).p for study in differences]
    assert np.mean(np.array(told, dtype=float) < 0.05) == pytest.approx(0.8, abs=0.02)


def test_the_number_gives_the_power_asked_for() -> None:
    rng = np.random.default_rng(3)
    patients = patients_needed(0.3 / np.sqrt(40), 40, -0.1, power=0.8)
    assert patients is not None
    studies = rng.normal(0.1, 0.3, (20_000, patients))
    p = stats.ttest_1samp(studies, 0, axis=1).pvalue
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.015)


def test_the_two_questions_are_each_other_s_inverse() -> None:
    difference = detectable_difference(0.03, 120, planned=400, power=0.85, confidence=0.9)
    assert difference is not None
    assert patients_needed(0.03, 120, difference * 1.0000001, power=0.85, confidence=0.9) == 400


@pytest.mark.parametrize("standard_error", [None, 0.0])
def test_without_variance_there_is_no_answer(standard_error: float | None) -> None:
    assert patients_needed(standard_error, 100, 0.02) is None
    assert detectable_difference(standard_error, 100, 100) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.1, 100, 0.0), "difference 0.0"),
        ((0.1, 0, 0.02), "0 patients"),
        ((-0.1, 10, 0.02), "standard error -0.1"),
        ((0.1, 10, 0.02, 1.0), "power 1.0"),
        ((0.1, 10, 0.02, 0.8, 1.5), "confidence 1.5"),
        ((0.1, 10, 0.02, 0.8, 0.95, 0), "0 degrees of freedom"),
    ],
)
def test_bad_input_is_named(arguments: tuple, message: str) -> None:
    with pytest.raises(RadImageNetError, match=message):
        patients_needed(*arguments)
