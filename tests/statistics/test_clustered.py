"""Obuchowski's clustered AUC against programs of others in R, the definition over all pairs of images, and DeLong."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.statistics.auc.clustered import compare_clustered_aucs, estimate_clustered_auc
from radimagenet_monai.statistics.auc.delong import compare_aucs, estimate_auc

pytestmark = pytest.mark.slow

# Twelve clusters, some with images of both classes, scores with ties within and between the classes.
CLUSTERS = [
    0,
    1,
    1,
    1,
    2,
    2,
    2,
    2,
    3,
    3,
    4,
    4,
    4,
    4,
    4,
    5,
    6,
    6,
    6,
    7,
    7,
    8,
    8,
    8,
    8,
    8,
    8,
    9,
    10,
    10,
    10,
    10,
    11,
    11,
    11,
]
LABELS = [1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1]
# fmt: off
FIRST = [10, -4, 9, -2, -2, -4, -2, -2, 5, 2, -5, -2, -1, 0, 1, 1, 0, 4, -4, -4, -9, -3, 3, -2, 4, 2, -4, 2, -3, 7, 0,
         3, 5, 8, 2]
SECOND = [6, 0, -1, -3, -4, -3, -5, 3, -2, 1, 5, 3, -3, 4, 4, 1, -8, -4, 2, -3, -13, 3, -3, -3, 1, 0, -4, 3, -5, 5, 2,
          -2, 3, 7, 0]
# fmt: on

# Computed from the data above in R 4.2.2 by doAUCcluster of iMRMC (DIDSR), which adapts Obuchowski's own program
# funcs_clusteredROC.R of the Cleveland Clinic; auc.obu of haben-michael/cluster-auc gives the same AUCs and variances.
R_AUCS = [0.73106060606060608, 0.71590909090909094]
R_COVARIANCE = [
    [0.022683501322850876, -8.4275632973482157e-05],
    [-8.4275632973482157e-05, 0.0084833721938401205],
]


def by_definition(labels: np.ndarray, scores: np.ndarray, clusters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and covariance as section 3 of the 1997 paper writes them, cluster by cluster."""
    names = np.unique(clusters)
    positives, negatives = scores[:, labels == 1], scores[:, labels == 0]
    kernel = (positives[:, :, None] > negatives[:, None, :]) + 0.5 * (positives[:, :, None] == negatives[:, None, :])
    aucs = kernel.mean(axis=(1, 2))
    of_positives, of_negatives = clusters[labels == 1], clusters[labels == 0]
    x = np.stack([(kernel.mean(axis=2) - aucs[:, None])[:, of_positives == name].sum(axis=1) for name in names])
    y = np.stack([(kernel.mean(axis=1) - aucs[:, None])[:, of_negatives == name].sum(axis=1) for name in names])
    count, with_positives, with_negatives = len(names), len(set(of_positives)), len(set(of_negatives))
    m, n = of_positives.size, of_negatives.size
    s10 = with_positives / ((with_positives - 1) * m) * x.T @ x
    s01 = with_negatives / ((with_negatives - 1) * n) * y.T @ y
    s11 = count / (count - 1) * x.T @ y
    return aucs, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


def clustered_sample(seed: int, patients: int = 40, models: int = 3, levels: float = 3) -> tuple[np.ndarray, ...]:
    """Labels, ``(models, n)`` scores with ties, and patients with one to six images of both classes."""
    rng = np.random.default_rng(seed)
    clusters = np.repeat(np.arange(patients), rng.integers(1, 7, patients))
    labels = (rng.random(clusters.size) < 0.2 + 0.4 * rng.random(patients)[clusters]).astype(int)
    shared = rng.normal(size=patients)[clusters] + labels
    return labels, np.round(levels * (shared + rng.normal(size=(models, clusters.size)))), clusters


def test_equals_obuchowskis_own_program() -> None:
    comparison = compare_clustered_aucs(LABELS, {"first": FIRST, "second": SECOND}, CLUSTERS)
    np.testing.assert_allclose(list(comparison.aucs.values()), R_AUCS, rtol=1e-14)
    np.testing.assert_allclose(comparison.covariance, R_COVARIANCE, rtol=1e-12)
    variance = R_COVARIANCE[0][0] + R_COVARIANCE[1][1] - 2 * R_COVARIANCE[0][1]
    assert comparison.pairs[0].z == pytest.approx((R_AUCS[0] - R_AUCS[1]) / variance**0.5, rel=1e-10)
    estimate = estimate_clustered_auc(LABELS, FIRST, CLUSTERS, scale="linear")
    assert estimate.standard_error == pytest.approx(R_COVARIANCE[0][0] ** 0.5, rel=1e-12)
    assert estimate.low == pytest.approx(R_AUCS[0] - 1.959963984540054 * R_COVARIANCE[0][0] ** 0.5, rel=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_definition(seed: int) -> None:
    labels, scores, clusters = clustered_sample(seed)
    aucs, covariance = by_definition(labels, scores, clusters)
    comparison = compare_clustered_aucs(labels, dict(zip("abc", scores, strict=True)), clusters)
    np.testing.assert_allclose(list(comparison.aucs.values()), aucs, atol=1e-14)
    np.testing.assert_allclose(comparison.covariance, covariance, atol=1e-15)
    assert estimate_clustered_auc(labels, scores[0], clusters).standard_error == pytest.approx(covariance[0, 0] ** 0.5)


@pytest.mark.parametrize("seed", range(4))
def test_an_image_a_cluster_is_delong(seed: int) -> None:
    labels, scores, _ = clustered_sample(seed)
    models = dict(zip("abc", scores, strict=True))
    found, expected = compare_clustered_aucs(labels, models, np.arange(labels.size)), compare_aucs(labels, models)
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-16)
    assert found.p == pytest.approx(expected.p, rel=1e-10)
    assert [pair.p for pair in found.pairs] == pytest.approx([pair.p for pair in expected.pairs], rel=1e-10)
    single, delong = estimate_clustered_auc(labels, scores[0], np.arange(labels.size)), estimate_auc(labels, scores[0])
    assert (single.low, single.high) == pytest.approx((delong.low, delong.high), rel=1e-12)


@pytest.mark.parametrize("copies", [2, 5])
def test_copies_of_the_images_add_nothing(copies: int) -> None:
    """A patient's image counted several times must leave the interval as it was; DeLong's shrinks."""
    labels, scores, _ = clustered_sample(1)
    images = np.arange(labels.size)
    models = {name: np.repeat(values, copies) for name, values in zip("ab", scores, strict=False)}
    found = compare_clustered_aucs(np.repeat(labels, copies), models, np.repeat(images, copies))
    expected = compare_aucs(labels, {"a": scores[0], "b": scores[1]})
    np.testing.assert_allclose(found.covariance, expected.covariance, atol=1e-16)
    naive = compare_aucs(np.repeat(labels, copies), models)
    assert naive.covariance[0, 0] < 1.1 * expected.covariance[0, 0] / copies


def test_names_of_clusters_and_order_of_images_do_not_matter() -> None:
    labels, scores, clusters = clustered_sample(2)
    names = np.array([f"patient {number % 7}-{number}" for number in clusters])
    order = np.random.default_rng(0).permutation(labels.size)
    found = estimate_clustered_auc(labels[order], scores[0, order], names[order].tolist())
    assert found.standard_error == pytest.approx(
        estimate_clustered_auc(labels, scores[0], clusters).standard_error, rel=1e-12
    )


rows = st.lists(
    st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=24
)


@settings(deadline=None)
@given(rows.filter(lambda given: len({row[0] for row in given}) == 2))
def test_never_nan_whatever_the_clusters(given: list[tuple[bool, int, int, int]]) -> None:
    labels, first, second, clusters = (np.array(column) for column in zip(*given, strict=True))
    estimate = estimate_clustered_auc(labels, first, clusters)
    assert estimate.auc == pytest.approx(roc_auc_score(labels, first), abs=1e-12)
    if estimate.reason is None:
        assert 0 <= estimate.low <= estimate.auc <= estimate.high <= 1
        assert estimate.standard_error > 0
    else:
        assert estimate.low is estimate.high is estimate.standard_error is None
    comparison = compare_clustered_aucs(labels, {"first": first, "second": second}, clusters)
    pair = comparison.pairs[0]
    assert (pair.p is None) == (pair.reason is not None) == (comparison.p is None)
    if pair.z is not None:
        assert comparison.chi_square == pytest.approx(pair.z**2, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "scores", "clusters", "reason"),
    [
        ([1, 1, 0, 0], [3, 1, 2, 0], ["a", "a", "b", "c"], "only one cluster holds positive images"),
        ([1, 1, 0, 0], [3, 1, 2, 0], ["a", "b", "c", "c"], "only one cluster holds negative images"),
        ([1, 1, 0, 0], [3, 2, 1, 0], ["a", "b", "a", "b"], "perfectly separated"),
        ([1, 1, 0, 0], [3, 1, 2, 0], ["a", "b", "a", "b"], "cancel"),
        ([1, 1, 1, 1], [3, 1, 2, 0], ["a", "b", "a", "b"], "all images are positive"),
    ],
)
def test_what_is_not_estimable_says_why(labels: list[int], scores: list[int], clusters: list[str], reason: str) -> None:
    estimate = estimate_clustered_auc(labels, scores, clusters)
    assert reason in (estimate.reason or "")
    assert estimate.low is estimate.standard_error is None


def test_models_that_rank_alike_are_not_estimable() -> None:
    labels, scores, clusters = clustered_sample(0)
    comparison = compare_clustered_aucs(labels, {"a": scores[0], "b": np.exp(scores[0]), "c": scores[1]}, clusters)
    assert comparison.pairs[0].p is None
    assert "rank the images alike" in (comparison.pairs[0].reason or "")
    assert comparison.degrees_of_freedom == 1


def test_another_number_of_clusters_is_refused() -> None:
    with pytest.raises(RadImageNetError, match="2 patient ids"):
        estimate_clustered_auc([0, 1, 0, 1], [1, 2, 3, 4], ["a", "b"])


def test_an_unknown_cluster_is_one_of_its_own() -> None:
    labels, scores, clusters = clustered_sample(3)
    names = [f"patient {number}" if number > 2 else None for number in clusters]
    own = [number if number > 2 else -index for index, number in enumerate(clusters.tolist(), 1)]
    assert estimate_clustered_auc(labels, scores[0], names) == estimate_clustered_auc(labels, scores[0], own)


def test_unknown_scale_and_single_model_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="scale 'log'"):
        estimate_clustered_auc([0, 1], [0, 1], [0, 1], scale="log")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(RadImageNetError, match="two or more"):
        compare_clustered_aucs([0, 1], {"a": [0, 1]}, [0, 1])


def test_memory_grows_with_the_images_and_not_with_their_pairs() -> None:
    labels, scores, clusters = clustered_sample(0, patients=20_000, models=2)
    tracemalloc.start()
    try:
        compare_clustered_aucs(labels, {"a": scores[0], "b": scores[1]}, clusters)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A byte for each pair of a positive and a negative image would be about a gigabyte.
    assert peak < 1000 * len(labels)
