"""Numbers of patients: against R's power.t.test, and by simulation."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from scipy import stats

from radimagenet_monai.errors import RadImageNetError
from radimagenet_monai.evaluation.power import detectable_difference, patients_needed


def test_equals_power_of_r() -> None:
    """R counts with t, so it needs about two patients more."""
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed (Debian: r-base-core)")
    code = "cat(power.t.test(delta=0.02, sd=0.2, power=0.9, type='one.sample')$n)"
    done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = 0.2 / np.sqrt(50)
    assert patients_needed(seen, 50, 0.02, power=0.9) == pytest.approx(float(done.stdout) - 1.9, abs=1)


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
    ],
)
def test_bad_input_is_named(arguments: tuple, message: str) -> None:
    with pytest.raises(RadImageNetError, match=message):
        patients_needed(*arguments)
