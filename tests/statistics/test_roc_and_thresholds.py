"""ROC curve, average precision and Youden's threshold against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.auc.roc import average_precision, roc_curve
from radimagenet_monai.statistics.thresholds import youden_threshold

pytestmark = pytest.mark.slow

TABLES = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.30000001, 0.7, 1.0])), min_size=2, max_size=40
).filter(lambda rows: len({row[0] for row in rows}) == 2)


@settings(deadline=None)
@given(TABLES)
def test_curve_and_precision_equal_sklearn(rows: list[tuple[bool, float]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    curve = roc_curve(labels, scores)
    false_rate, true_rate, thresholds = sklearn_roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose(curve.false_positive_rate, false_rate, atol=1e-15)
    np.testing.assert_allclose(curve.sensitivity, true_rate, atol=1e-15)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


@settings(deadline=None)
@given(TABLES)
def test_youden_threshold_is_the_best_there_is(rows: list[tuple[bool, float]]) -> None:
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    chosen = youden_threshold(labels, scores)
    false_rate, true_rate, _ = sklearn_roc_curve(labels, scores)
    assert chosen.youden_index == pytest.approx((true_rate - false_rate).max(), abs=1e-12)
    called = scores >= chosen.threshold
    assert chosen.sensitivity == pytest.approx(called[labels].mean())
    assert chosen.specificity == pytest.approx((~called)[~labels].mean())


def test_threshold_lies_between_the_classes() -> None:
    chosen = youden_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9])
    assert chosen.threshold == pytest.approx(0.4)
    assert chosen.youden_index == 1


def test_uninformative_scores_still_give_a_threshold() -> None:
    assert youden_threshold([0, 1], [0.5, 0.5]).threshold == 0.5


def test_one_class_is_refused() -> None:
    with pytest.raises(RadImageNetError, match="all 2 images are negative"):
        youden_threshold([0, 0], [0.5, 0.1])
