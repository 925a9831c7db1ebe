"""Net benefit: against the Python package of the method's authors, and by its own limits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.decision_curve import THRESHOLDS, decision_curve


def test_equals_dcurves() -> None:
    """``dcurves.dca`` of dcurves 1.1.7 at these thresholds."""
    rng = np.random.default_rng(7)
    effect = np.repeat(rng.normal(0, 1, 40), 3)
    line = rng.normal(0, 1.5, 120) + effect
    labels = rng.random(120) < 1 / (1 + np.exp(-(0.4 + 0.6 * line)))
    found = decision_curve(labels, np.round(1 / (1 + np.exp(-line)), 3), [0.05, 0.1, 0.25, 0.5, 0.73, 0.9])
    model = [0.5026315789473684, 0.45185185185185184, 0.29722222222222217, 0.175, 0.05154320987654322]
    treat_all = [0.5087719298245614, 0.48148148148148145, 0.37777777777777777, 0.06666666666666665, -0.7283950617283949]
    np.testing.assert_allclose(found.model, [*model, -0.04166666666666668], atol=1e-14)
    np.testing.assert_allclose(found.treat_all, [*treat_all, -3.666666666666668], atol=1e-14)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=40))
@settings(deadline=None)
def test_limits(images: list[tuple[bool, int]]) -> None:
    labels = np.array([label for label, _ in images])
    values = np.array([value / 20 for _, value in images])
    found = decision_curve(labels, values, [0.0, *THRESHOLDS])
    # At no risk everybody is treated; nothing is better than to treat exactly the positives.
    assert found.model[0] == pytest.approx(labels.mean()) == found.prevalence
    assert max(found.model) <= labels.mean() + 1e-12
    perfect = decision_curve(labels, labels.astype(float))
    np.testing.assert_allclose(perfect.model, labels.mean())
    np.testing.assert_allclose(decision_curve(labels, np.ones(labels.size)).model, perfect.treat_all, atol=1e-12)
    np.testing.assert_allclose(decision_curve(labels, np.zeros(labels.size)).model, 0, atol=1e-15)
    assert "NaN" not in json.dumps(found.to_dict())


def test_an_image_at_the_threshold_is_treated() -> None:
    assert decision_curve([1, 0], [0.2, 0.1], [0.2]).model == (0.5,)


@pytest.mark.parametrize("thresholds", [[1.0], [-0.1], [float("nan")], [[0.1]]])
def test_bad_thresholds_are_named(thresholds: list) -> None:
    with pytest.raises(RadImageNetError, match="expected risks from 0 to below 1"):
        decision_curve([0, 1], [0.1, 0.2], thresholds)
