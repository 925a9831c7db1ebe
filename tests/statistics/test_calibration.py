"""Calibration: against R's glm, statsmodels, the package of Kumar et al., and simulations with known truth."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import brier_score_loss

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.calibration import Calibration, evaluate_calibration

pytestmark = pytest.mark.slow

Z = 1.959963984540054


@pytest.fixture(scope="module")
def slices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and patients of 120 slices of 40 patients."""
    rng = np.random.default_rng(7)
    patients = np.repeat(np.arange(40), 3)
    effect = np.repeat(rng.normal(0, 1, 40), 3)
    line = rng.normal(0, 1.5, 120) + effect
    labels = (rng.random(120) < 1 / (1 + np.exp(-(0.4 + 0.6 * line)))).astype(int)
    return labels, np.round(1 / (1 + np.exp(-line)), 3), patients


def errors_of(found: Calibration) -> tuple[float, float]:
    assert found.slope is not None
    assert found.slope_high is not None
    assert found.intercept is not None
    assert found.intercept_high is not None
    return (found.slope_high - found.slope) / Z, (found.intercept_high - found.intercept) / Z


def test_equals_glm_of_r(slices: tuple) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed (Debian: r-base-core)")
    labels, probabilities, _ = slices
    code = f"""
    y <- c({",".join(map(str, labels))}); x <- qlogis(c({",".join(map(repr, probabilities.tolist()))}))
    control <- glm.control(epsilon=1e-14, maxit=100)
    slope <- summary(glm(y ~ x, family=binomial, control=control))$coefficients[2, 1:2]
    large <- summary(glm(y ~ 1, offset=x, family=binomial, control=control))$coefficients[1, 1:2]
    cat("[", paste(format(c(slope, large), digits=17), collapse=","), "]")
    """
    done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    slope, slope_error, intercept, intercept_error = json.loads(done.stdout)
    found = evaluate_calibration(labels, probabilities)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept), abs=1e-9)
    assert errors_of(found) == pytest.approx((slope_error, intercept_error), abs=1e-9)


def test_intervals_over_patients_equal_the_corrected_sandwich_of_statsmodels(slices: tuple) -> None:
    """statsmodels 0.15: ``GEE(..., Binomial(), Independence()).fit(cov_type="bias_reduced")``."""
    labels, probabilities, patients = slices
    found = evaluate_calibration(labels, probabilities, clusters=[f"p{patient}" for patient in patients])
    assert (found.slope, found.intercept) == pytest.approx((0.5364183876953106, 0.7145997933473125), abs=1e-9)
    assert errors_of(found) == pytest.approx((0.15761938876951756, 0.2746350857760696), abs=1e-9)
    assert found.patients == 40
    by_image = evaluate_calibration(labels, probabilities)
    widths = [[bin_.high - bin_.low for bin_ in one.curve] for one in (found, by_image)]
    assert sum(widths[0]) > sum(widths[1])


def test_debiased_error_equals_the_package_of_its_authors(slices: tuple) -> None:
    """``calibration.utils.unbiased_square_ce`` of uncertainty-calibration 0.1.4, ten bins of equal numbers."""
    labels, probabilities, _ = slices
    found = evaluate_calibration(labels, probabilities)
    assert found.ece_squared == pytest.approx(0.01972169337121213, abs=1e-14)
    assert found.ece == pytest.approx(np.sqrt(0.01972169337121213), abs=1e-14)
    assert found.brier == pytest.approx(brier_score_loss(labels, probabilities), abs=1e-15)
    share = labels.mean()
    assert found.brier_scaled == pytest.approx(1 - found.brier / brier_score_loss(labels, np.full(120, share)))


def test_images_of_their_own_patients_change_nothing(slices: tuple) -> None:
    labels, probabilities, _ = slices
    alone = evaluate_calibration(labels, probabilities)
    assert evaluate_calibration(labels, probabilities, clusters=[str(number) for number in range(120)]) == alone
    assert evaluate_calibration(labels, probabilities, clusters=[""] * 60 + [None] * 60) == alone


def test_curve_holds_every_image_once_whatever_their_order(slices: tuple) -> None:
    labels, probabilities, _ = slices
    found = evaluate_calibration(labels, np.round(probabilities, 1))
    assert sum(bin_.images for bin_ in found.curve) == 120
    assert sum(bin_.images * bin_.observed for bin_ in found.curve) == pytest.approx(labels.sum())
    assert all(bin_.low <= bin_.observed <= bin_.high for bin_ in found.curve)
    predicted = [bin_.predicted for bin_ in found.curve]
    assert predicted == sorted(set(predicted))
    order = np.random.default_rng(1).permutation(120)
    turned = evaluate_calibration(labels[order], np.round(probabilities, 1)[order])
    np.testing.assert_allclose([astuple(bin_) for bin_ in turned.curve], [astuple(bin_) for bin_ in found.curve])


def simulate(rng: np.random.Generator, images: int, intercept: float = 0.0, slope: float = 1.0) -> tuple:
    line = rng.normal(-0.5, 1.5, images)
    return rng.random(images) < expit(intercept + slope * line), expit(line)


@pytest.mark.long
def test_a_calibrated_model_is_found_calibrated_and_the_plain_error_is_biased() -> None:
    rng = np.random.default_rng(11)
    found = [evaluate_calibration(*simulate(rng, 300)) for _ in range(300)]
    plain = [
        sum(bin_.images * (bin_.predicted - bin_.observed) ** 2 for bin_ in one.curve) / one.images for one in found
    ]
    squared = np.array([one.ece_squared for one in found], dtype=float)
    assert abs(squared.mean()) < 3 * squared.std() / np.sqrt(300)
    assert np.sqrt(np.mean(plain)) > 0.06, "bias of the estimate without correction"
    covered = [(one.slope_low <= 1 <= one.slope_high, one.intercept_low <= 0 <= one.intercept_high) for one in found]
    assert np.all(np.abs(np.mean(covered, axis=0) - 0.95) < 0.04)


def test_what_is_wrong_is_measured() -> None:
    found = evaluate_calibration(*simulate(np.random.default_rng(2), 100_000, intercept=0.0, slope=0.5))
    assert found.slope == pytest.approx(0.5, abs=0.02)
    shifted = evaluate_calibration(*simulate(np.random.default_rng(2), 100_000, intercept=0.7))
    assert shifted.intercept == pytest.approx(0.7, abs=0.03)
    assert shifted.slope == pytest.approx(1, abs=0.03)
    assert shifted.ece == pytest.approx(0.125, abs=0.02)


@pytest.mark.long
def test_patients_with_several_images_need_the_sandwich() -> None:
    """Each image is calibrated, but labels agree within a patient more than images of different patients would."""
    rng = np.random.default_rng(8)
    names = [f"p{number // 8}" for number in range(480)]
    covered, squared = [], []
    for _ in range(300):
        probabilities = np.repeat(rng.uniform(0.1, 0.9, 60), 8)
        shared = np.repeat(rng.random(60), 8)
        labels = np.where(rng.random(480) < 0.7, shared, rng.random(480)) < probabilities
        both = evaluate_calibration(labels, probabilities), evaluate_calibration(labels, probabilities, 10, names)
        covered.append([one.slope_low <= 1 <= one.slope_high for one in both])
        squared.append([one.ece_squared or 0.0 for one in both])
    naive, clustered = np.mean(covered, axis=0)
    assert naive < 0.8
    assert 0.91 < clustered < 0.98
    naive, clustered = np.mean(squared, axis=0)
    assert naive > 0.01
    assert abs(clustered) < 0.002


@pytest.mark.parametrize(
    ("labels", "probabilities", "reasons"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], {"slope": "separate the classes perfectly, so"}),
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9], {"slope": "separate the classes perfectly, so"}),
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], {"slope": "in the wrong direction"}),
        ([0, 1, 0, 1], [0.4, 0.4, 0.4, 0.4], {"slope": "all probabilities are the same"}),
        (
            [1, 1, 1, 1],
            [0.4, 0.5, 0.4, 0.5],
            {"slope": "no negatives", "intercept": "no negatives", "brier_scaled": "no negatives"},
        ),
    ],
)
def test_not_estimable_is_said(labels: list[int], probabilities: list[float], reasons: dict[str, str]) -> None:
    found = evaluate_calibration(labels, probabilities, bins=1)
    assert found.reasons.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in found.reasons[name]
        assert getattr(found, name) is None
    assert "NaN" not in json.dumps(found.to_dict())


def test_one_patient_and_bins_of_one_are_not_estimable() -> None:
    labels, probabilities = [0, 1, 0, 1, 1, 0], [0.1, 0.2, 0.4, 0.5, 0.8, 0.9]
    one = evaluate_calibration(labels, probabilities, bins=2, clusters=["a"] * 6)
    assert one.slope is one.intercept is one.ece is None
    assert "one patient only" in one.reasons["slope"]
    assert "single patient" in one.reasons["ece"]
    fine = evaluate_calibration(labels, probabilities)
    assert fine.ece is fine.ece_squared is None
    assert "single image" in fine.reasons["ece"]
    assert fine.slope is not None


def test_a_slope_from_one_patient_has_no_interval() -> None:
    labels, probabilities = [0, 1, 0, 1, 1, 0], [0.3, 0.3, 0.3, 0.3, 0.6, 0.8]
    found = evaluate_calibration(labels, probabilities, bins=1, clusters=["a", "a", "b", "b", "c", "c"])
    assert found.slope is not None
    assert found.slope_low is None
    assert "one patient" in found.reasons["slope"]
    assert found.intercept_low is not None


# Every patient is right and wrong alike: the variance is zero but for rounding.
@example([(True, 0), (True, 0.1), (False, 0), (False, 0.1)])
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0, 1e-9, 0.1, 0.3, 0.5, 0.9, 1])), min_size=1, max_size=30))
@settings(deadline=None)
def test_whatever_comes_there_is_a_number_or_a_reason(images: list[tuple[bool, float]]) -> None:
    labels, probabilities = zip(*images, strict=True)
    found = evaluate_calibration(
        labels, probabilities, bins=3, clusters=[str(number // 2) for number in range(len(images))]
    )
    for name in ("slope", "intercept", "ece", "brier_scaled"):
        value = getattr(found, name)
        assert value is not None or name in found.reasons
        assert value is None or np.isfinite(value)
    for name in ("slope", "intercept"):
        assert (getattr(found, f"{name}_low") is None) == (name in found.reasons)
    text = json.dumps(found.to_dict())
    assert "NaN" not in text
    assert "Infinity" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0.1, 1.2]), r"probability 1\.2 at position 1"),
        (([0, 1], [0.1, 0.2], 0), "0 bins"),
        (([0, 1], [0.1, 0.2], 10, ["a"]), "1 patient ids were given for 2 images"),
    ],
)
def test_bad_input_is_named(arguments: tuple, message: str) -> None:
    with pytest.raises(RadImageNetError, match=message):
        evaluate_calibration(*arguments)
