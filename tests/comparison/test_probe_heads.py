"""Heads: the same as plain scikit-learn, chosen within the training part by patient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from radimagenet_monai.comparison.probe import heads as probe_heads
from radimagenet_monai.comparison.probe.heads import DEFAULT_C, fit_head
from radimagenet_monai.core.errors import ConfigurationError, RecordsError

pytestmark = pytest.mark.slow


def drawn(images: int, features: int, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features of which some tell the class, labels, and two images a patient."""
    generator = np.random.default_rng(seed)
    labels = np.arange(images) // 2 % classes
    means = generator.normal(size=(classes, features)) * (generator.random(features) < 0.1)
    values = generator.normal(size=(images, features)) * generator.gamma(2, size=features) + means[labels]
    return values.astype(np.float32), labels, [f"p{number // 2}" for number in range(images)]


@pytest.mark.parametrize(("images", "features", "classes"), [(60, 200, 2), (200, 30, 2), (60, 150, 3), (150, 20, 3)])
def test_a_head_is_that_of_a_plain_pipeline(images: int, features: int, classes: int) -> None:
    values, labels, patients = drawn(images, features, classes)
    new = drawn(40, features, classes, seed=1)[0]
    head = fit_head(values, labels, patients, classes)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=head.C, solver="newton-cholesky", tol=1e-6))
    plain.fit(values.astype(np.float64), labels)
    assert head.fit.probabilities(new) == pytest.approx(plain.predict_proba(new), abs=2e-4)


def test_the_choice_is_that_of_a_plain_search() -> None:
    values, labels, patients = drawn(80, 120, seed=4)
    path = (1e-2, 1e-1, 1.0)  # where probabilities are far from even, so that a wrong scale shows
    head = fit_head(values, labels, patients, inner_folds=4, seed=2, path=path)
    folds, _ = probe_heads._inner_folds(labels, np.array(patients), 4, 2)
    means = []
    for value in path:
        plain = make_pipeline(StandardScaler(), LogisticRegression(C=value, solver="newton-cholesky", tol=1e-6))
        areas, out = [], np.empty(80)
        for fold in range(4):
            plain.fit(values[folds != fold], labels[folds != fold])
            out[folds == fold] = plain.predict_proba(values[folds == fold])[:, 1]
            areas.append(roc_auc_score(labels[folds == fold], out[folds == fold]))
        assert head.inner_scores[value] == pytest.approx(areas, abs=0.02)
        means.append(np.mean(areas))
        if value == head.C:
            assert head.out_of_fold[:, 1] == pytest.approx(out, abs=5e-3)
    assert means[path.index(head.C)] == pytest.approx(max(means), abs=0.01)


@given(
    st.integers(0, 2**31),
    st.lists(st.integers(0, 6), min_size=12, max_size=40),
    st.lists(st.integers(0, 1), min_size=40, max_size=40),
)
@settings(deadline=None)
def test_no_patient_is_in_two_inner_folds(seed: int, patients: list[int], labels: list[int]) -> None:
    names, truth = np.array([f"p{number}" for number in patients]), np.array(labels[: len(patients)])
    if len(np.unique(truth)) < 2:
        return
    fold_of, folds = probe_heads._inner_folds(truth, names, 3, seed % 1000)
    carriers = min(len(set(names[truth == category])) for category in (0, 1))
    assert folds == (0 if carriers < 2 else min(3, carriers))
    for name in set(names):
        assert len(set(fold_of[names == name])) == 1


def test_patients_that_differ_from_one_another_do_not_flatter_the_choice() -> None:
    """Features that name the patient and nothing else: an inner fold that split patients would score them high."""
    generator = np.random.default_rng(0)
    patient_of = np.repeat(np.arange(80), 3)
    labels = (patient_of % 2).astype(int)
    values = generator.normal(size=(80, 100))[patient_of] + 0.1 * generator.normal(size=(240, 100))
    head = fit_head(values, labels, [str(number) for number in patient_of])
    assert max(np.mean(scores) for scores in head.inner_scores.values()) < 0.7
    alone = fit_head(values, labels, [str(number) for number in range(240)])
    assert max(np.mean(scores) for scores in alone.inner_scores.values()) > 0.95


def test_a_class_of_few_patients_means_fewer_inner_folds_and_one_of_a_single_patient_none() -> None:
    values, labels, _ = drawn(40, 10)
    labels = np.array([1] * 6 + [0] * 34)
    patients = [f"p{number // 2}" for number in range(40)]
    head = fit_head(values, labels, patients)
    assert head.inner_folds == 3
    assert "enough for 3" in head.notes[0]
    single = fit_head(values, labels, ["a"] * 6 + patients[6:])
    assert (single.C, single.inner_folds, single.inner_scores) == (DEFAULT_C, 0, {})
    assert np.isnan(single.out_of_fold).all()
    assert any("no inner fold" in note for note in single.notes)
    assert single.fit.probabilities(values).shape == (40, 2)


def test_a_class_that_no_image_trains_has_no_probability() -> None:
    values, labels, patients = drawn(60, 20, classes=2)
    head = fit_head(values, labels * 2, patients, num_classes=4)
    probabilities = head.fit.probabilities(values)
    assert (probabilities[:, [1, 3]] == 0).all()
    assert probabilities.sum(axis=1) == pytest.approx(1)
    # A class of one patient among three: the other two decide the folds.
    labels = np.where(np.arange(60) < 2, 2, labels)
    assert fit_head(values, labels, patients, num_classes=3).inner_folds == 5


def test_the_same_input_gives_the_same_head_bit_for_bit() -> None:
    values, labels, patients = drawn(60, 100)
    one, two = (fit_head(values, labels, patients, seed=5) for _ in range(2))
    assert np.array_equal(one.fit.coefficients, two.fit.coefficients)
    assert np.array_equal(one.out_of_fold, two.out_of_fold)


def test_a_constant_feature_does_no_harm() -> None:
    values, labels, patients = drawn(60, 100)
    values[:, :50] = 3
    assert np.isfinite(fit_head(values, labels, patients).fit.probabilities(values)).all()


def test_what_cannot_be_fitted_is_refused() -> None:
    values, labels, patients = drawn(20, 5)
    with pytest.raises(RecordsError, match="all 20 training images are of one class"):
        fit_head(values, np.ones(20, int), patients)
    with pytest.raises(ConfigurationError, match="1 inner folds"):
        fit_head(values, labels, patients, inner_folds=1)
