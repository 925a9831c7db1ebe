"""Bootstrap intervals against scipy, whose samples of a seed are ours, and how samples are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.statistics.auc.clustered import estimate_clustered_auc
from radimagenet_monai.statistics.auc.delong import compare_aucs
from radimagenet_monai.statistics.auc.weighted import AucStatistic, weighted_aucs
from radimagenet_monai.statistics.resampling.bootstrap import BootstrapInterval, bootstrap_interval

pytestmark = pytest.mark.slow


def mean(data: Mapping[str, np.ndarray]) -> float:
    return float(data["values"].mean())


def auc(data: Mapping[str, np.ndarray]) -> float | None:
    """As anyone would write it, without the fast way."""
    return roc_auc_score(data["labels"], data["scores"]) if np.ptp(data["labels"]) else None


def two_classes(seed: int, images: int = 80) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(images) % 3 == 0).astype(int)
    shared = rng.normal(size=images) + labels
    return {
        "labels": labels,
        "scores": np.round(4 * (shared + rng.normal(size=images))),
        "others": np.round(4 * (shared + rng.normal(size=images))),
    }


def agree(ours: BootstrapInterval, theirs: object) -> None:
    assert ours.low == pytest.approx(theirs.confidence_interval.low, rel=1e-9)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, rel=1e-9)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=1e-9)


@pytest.mark.parametrize(("method", "scipys"), [("bca", "BCa"), ("percentile", "percentile")])
@pytest.mark.parametrize("skewed", [False, True])
def test_a_mean_equals_scipy(method: str, scipys: str, skewed: bool) -> None:
    rng = np.random.default_rng(0)
    values = rng.exponential(size=40) ** 2 if skewed else rng.normal(size=40)
    ours = bootstrap_interval(mean, {"values": values}, repeats=5000, method=method, seed=1)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, method=scipys, rng=1)
    agree(ours, theirs)
    assert (ours.units, ours.failed, ours.reason) == (40, 0, None)


@pytest.mark.parametrize("minus", [None, "others"])
def test_aucs_within_classes_equal_scipys_two_samples(minus: str | None) -> None:
    """scipy resamples positives and negatives as two samples; images are paired between models by their indices."""
    data = two_classes(0)
    statistic = AucStatistic(minus=minus)
    ours = bootstrap_interval(statistic, data, strata=data["labels"], repeats=2000, seed=1)
    positives, negatives = np.flatnonzero(data["labels"]), np.flatnonzero(data["labels"] == 0)

    def value(first: np.ndarray, second: np.ndarray) -> float:
        chosen = np.concatenate([first, second])
        return statistic({name: column[chosen] for name, column in data.items()})

    theirs = stats.bootstrap((positives, negatives), value, n_resamples=2000, method="BCa", vectorized=False, rng=1)
    agree(ours, theirs)


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_patients_equal_scipys_pairs_of_sums(method: str) -> None:
    """A mean of images drawn by patient is a ratio of sums over patients drawn in pairs."""
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(25), rng.integers(1, 9, 25))
    values = rng.exponential(size=25)[patients] + 0.1 * rng.normal(size=patients.size)
    ours = bootstrap_interval(mean, {"values": values}, clusters=patients, repeats=5000, method=method, seed=1)
    sums, sizes = np.bincount(patients, values), np.bincount(patients)
    theirs = stats.bootstrap(
        (sums, sizes),
        lambda total, images, axis: total.sum(axis) / images.sum(axis),
        paired=True,
        n_resamples=5000,
        method={"bca": "BCa", "percentile": "percentile"}[method],
        rng=1,
    )
    agree(ours, theirs)
    naive = bootstrap_interval(mean, {"values": values}, repeats=2000, method=method)
    assert naive.standard_error < 0.7 * ours.standard_error
    assert (ours.units, naive.units) == (25, values.size)


def test_the_fast_way_gives_the_same_numbers() -> None:
    data = two_classes(1)
    patients = np.repeat(np.arange(27), 3)[:80]
    for clusters in (None, patients):
        fast = bootstrap_interval(AucStatistic(), data, clusters=clusters, strata=data["labels"], repeats=100)
        slow = bootstrap_interval(auc, data, clusters=clusters, strata=data["labels"], repeats=100)
        for name in ("estimate", "low", "high", "standard_error"):
            assert getattr(fast, name) == pytest.approx(getattr(slow, name), abs=1e-12)


def test_same_seed_same_interval() -> None:
    data = two_classes(2)
    found = [bootstrap_interval(AucStatistic(), data, repeats=200, seed=seed) for seed in (7, 7, 8)]
    assert found[0] == found[1] != found[2]


def test_strata_keep_the_number_of_each_class() -> None:
    data = two_classes(3)
    found: list[int] = []

    def positives(sample: Mapping[str, np.ndarray]) -> float:
        found.append(int(sample["labels"].sum()))
        return float(sample["scores"].mean())

    bootstrap_interval(positives, data, strata=data["labels"], repeats=100, method="percentile")
    assert set(found) == {27}
    found.clear()
    bootstrap_interval(positives, data, repeats=100, method="percentile")
    assert len(set(found)) > 5


def test_patients_are_drawn_whole_and_among_those_with_the_same_classes() -> None:
    patients = np.array(["a", "a", "b", "b", "c", "d", "d", "e"])
    labels = np.array([0, 1, 1, 0, 1, 1, 1, 0])
    samples: list[dict[str, int]] = []

    def watch(sample: Mapping[str, np.ndarray]) -> float:
        names, counts = np.unique(sample["patients"], return_counts=True)
        samples.append(dict(zip(names.tolist(), counts.tolist(), strict=True)))
        return float(len(samples))

    data = {"patients": patients, "labels": labels}
    found = bootstrap_interval(watch, data, clusters=patients, strata=labels, repeats=200, method="percentile")
    assert found.units == 5
    images = {"a": 2, "b": 2, "c": 1, "d": 2, "e": 1}
    for sample in samples:
        times = {name: sample.get(name, 0) / images[name] for name in images}
        assert all(value == int(value) for value in times.values())
        assert times["a"] + times["b"] == 2, "both have images of both classes"
        assert times["c"] + times["d"] == 2, "both have positive images only"
        assert times["e"] == 1, "the only one with negative images only"


def test_p_of_a_difference_is_near_delongs() -> None:
    data = two_classes(6, images=300)
    found = bootstrap_interval(AucStatistic(minus="others"), data, strata=data["labels"], repeats=4000)
    expected = compare_aucs(data["labels"], {"a": data["scores"], "b": data["others"]}).pairs[0]
    assert found.estimate == pytest.approx(expected.difference, abs=1e-12)
    assert found.p == pytest.approx(expected.p, abs=0.03)


def test_patients_interval_is_near_obuchowskis() -> None:
    rng = np.random.default_rng(5)
    patients = np.repeat(np.arange(80), 4)
    labels = (rng.random(320) < 0.4).astype(int)
    scores = rng.normal(size=80)[patients] + labels + rng.normal(size=320)
    found = bootstrap_interval(AucStatistic(), {"labels": labels, "scores": scores}, clusters=patients)
    expected = estimate_clustered_auc(labels, scores, patients)
    assert found.estimate == pytest.approx(expected.auc, abs=1e-12)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=0.1)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_undefined_samples_are_counted_and_refused_when_many() -> None:
    labels, scores = np.array([1, 0, 0, 0, 0, 0, 0, 0]), np.array([5, 3, 7, 4, 2, 6, 1, 0])
    few = bootstrap_interval(AucStatistic(), {"labels": labels, "scores": scores}, repeats=400)
    assert few.failed > 20
    assert few.low is None
    assert "undefined in" in (few.reason or "")
    some = np.concatenate([labels, labels, labels, labels, [1]])
    data = {"labels": some, "scores": np.arange(33) % 7}
    found = bootstrap_interval(AucStatistic(), data, repeats=2000, method="percentile")
    assert 0 < found.failed < 100
    assert found.low is not None


@pytest.mark.parametrize(
    ("statistic", "reason"),
    [
        (lambda data: None, "undefined for these data"),
        (lambda data: float("nan"), "undefined for these data"),
        (lambda data: 3.0, "all bootstrap samples give the same value"),
        (lambda data: float(len(set(data["values"].tolist()))), "all bootstrap samples lie below the estimate"),
        (lambda data: -float(len(set(data["values"].tolist()))), "all bootstrap samples lie above the estimate"),
    ],
)
def test_what_is_not_estimable_says_why(
    statistic: Callable[[Mapping[str, np.ndarray]], float | None], reason: str
) -> None:
    found = bootstrap_interval(statistic, {"values": np.arange(30)}, repeats=200)
    assert reason in (found.reason or "")
    assert found.low is found.high is found.standard_error is found.p is None


def test_a_jackknife_without_a_value_is_said() -> None:
    """Twelve rows are needed; every sample has them, the data less one row do not."""

    def statistic(data: dict[str, np.ndarray]) -> float | None:
        return None if len(data["values"]) < 12 else float(data["values"].mean())

    found = bootstrap_interval(statistic, {"values": np.arange(12.0)}, repeats=200)
    assert "which BCa needs" in (found.reason or "")
    assert bootstrap_interval(statistic, {"values": np.arange(12.0)}, repeats=200, method="percentile").low is not None


def test_bad_input_is_named() -> None:
    data = {"values": np.arange(4.0)}
    with pytest.raises(ConfigurationError, match="method 'basic'"):
        bootstrap_interval(mean, data, method="basic")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ConfigurationError, match="99 bootstrap samples"):
        bootstrap_interval(mean, data, repeats=99)
    with pytest.raises(RadImageNetError, match="values 4, labels 3"):
        bootstrap_interval(mean, {**data, "labels": np.arange(3)})
    with pytest.raises(RadImageNetError, match="given: none"):
        bootstrap_interval(mean, {})
    with pytest.raises(RadImageNetError, match=r"strata have shape \(2,\) for 4 rows"):
        bootstrap_interval(mean, data, strata=[0, 1])
    with pytest.raises(RadImageNetError, match="2 patient ids"):
        bootstrap_interval(mean, data, clusters=[0, 1])
    with pytest.raises(RadImageNetError, match=r"confidence 95"):
        bootstrap_interval(mean, data, confidence=95)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=2, max_size=30).filter(
        lambda rows: (
            any(label and count for label, _, count in rows) and any(count and not label for label, _, count in rows)
        )
    )
)
def test_weighted_aucs_equal_sklearn(rows: list[tuple[bool, int, int]]) -> None:
    labels, scores, counts = (np.array(column) for column in zip(*rows, strict=True))
    found = weighted_aucs(labels.astype(bool), scores, np.stack([counts, 0.5 * counts, 0 * counts]))
    expected = roc_auc_score(labels, scores, sample_weight=counts)
    np.testing.assert_allclose(found, [expected, expected, np.nan], atol=1e-12)
