"""Recalibration against scikit-learn's and statsmodels-free theory; distances against scikit-learn's estimator."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.calibration import _SigmoidCalibration
from sklearn.covariance import OAS

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.familiarity import Familiarity, familiarity
from radimagenet_monai.statistics.recalibration import Recalibration, recalibrate


def sample(count: int, slope: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities whose logits are ``1 / slope`` times what they should be."""
    rng = np.random.default_rng(seed)
    line = rng.normal(-0.5, 1.5, count)
    return (rng.random(count) < expit(line)).astype(int), expit(line / slope)


@pytest.mark.parametrize("count", [40, 400])
def test_the_line_is_that_of_platt_scaling(count: int) -> None:
    labels, probabilities = sample(count, 0.5)
    fitted = recalibrate(labels, probabilities)
    assert fitted is not None
    oracle = _SigmoidCalibration().fit(logit(probabilities), labels)
    assert fitted.slope == pytest.approx(-oracle.a_, abs=1e-3)
    assert fitted.intercept == pytest.approx(-oracle.b_, abs=1e-3)
    assert (fitted.images, fitted.positives) == (count, labels.sum())
    value, low, high = fitted.calibrated(0.7)
    assert value == pytest.approx(float(oracle.predict(np.array([logit(0.7)]))[0]), abs=1e-4)
    assert 0 < low < value < high < 1
    again = Recalibration.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again.calibrated(0.7) == fitted.calibrated(0.7)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """The probability that 0.8 stands for, in 300 validation sets of 120 images."""
    right = expit(logit(0.8) * 0.5)
    covered = []
    for seed in range(300):
        fitted = recalibrate(*sample(120, 0.5, seed))
        assert fitted is not None
        _, low, high = fitted.calibrated(0.8)
        covered.append(low <= right <= high)
    assert 0.91 <= np.mean(covered) <= 0.99


def test_few_images_and_separated_classes() -> None:
    assert recalibrate([0] * 4 + [1] * 9, np.linspace(0.1, 0.9, 13)) is None
    assert recalibrate([0, 1] * 10, np.full(20, 0.3)) is None
    separated = recalibrate([0] * 10 + [1] * 10, np.r_[np.linspace(0.01, 0.2, 10), np.linspace(0.8, 1, 10)])
    assert separated is not None
    assert separated.calibrated(1.0)[0] < 1
    with pytest.raises(RadImageNetError):
        recalibrate([0, 1], [0.1, 1.2])


def test_distances_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 3
    found = familiarity(features)
    assert found is not None
    oracle = OAS().fit(features)
    others = rng.normal(size=(50, 6)) * 4
    np.testing.assert_allclose(found.distances(others) ** 2, oracle.mahalanobis(others), rtol=1e-9)
    again = Familiarity.from_dict(json.loads(json.dumps(found.to_dict())))
    np.testing.assert_allclose(again.distances(others), found.distances(others), rtol=1e-4)
    assert familiarity(features[:11]) is None
    assert familiarity(np.ones((100, 6))) is None


def test_one_of_a_hundred_of_the_same_kind_is_beyond_the_limit() -> None:
    rng = np.random.default_rng(1)
    shares, far = [], []
    for _ in range(40):
        found = familiarity(rng.normal(size=(150, 24)))
        assert found is not None
        shares.append((found.distances(rng.normal(size=(500, 24))) > found.limit).mean())
        far.append((found.distances(rng.normal(size=(500, 24)) + 3) > found.limit).mean())
    assert 0.002 < np.mean(shares) < 0.03
    assert np.mean(far) > 0.99
