"""The permutation test of two AUCs against scipy's, and DeLong's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.statistics.auc.delong import compare_aucs
from radimagenet_monai.statistics.resampling.permutation import permutation_test

pytestmark = pytest.mark.slow


def sample(seed: int, images: int, better: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % 2)
    shared = rng.normal(size=images)
    first, second = (np.round(2 * (labels * (0.5 + gain) + shared + rng.normal(size=images))) for gain in (better, 0))
    return labels, first, second


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 6))])
def test_all_exchanges_equal_scipys(seed: int) -> None:
    labels, first, second = sample(seed, 8)

    def difference(one: np.ndarray, other: np.ndarray) -> float:
        # Rounded, because scipy compares with a tolerance of its own.
        return round(roc_auc_score(labels, one) - roc_auc_score(labels, other), 9)

    ranks = stats.rankdata(first), stats.rankdata(second)
    theirs = stats.permutation_test(ranks, difference, permutation_type="samples", vectorized=False, n_resamples=np.inf)
    ours = permutation_test(labels, first, second)
    assert ours.exact
    assert ours.repeats == 2**ours.units <= 2**8
    assert ours.difference == pytest.approx(roc_auc_score(labels, first) - roc_auc_score(labels, second), abs=1e-12)
    # scipy doubles the smaller tail, which is the same where the distribution is symmetric, as it is here.
    assert ours.p == pytest.approx(min(1, theirs.pvalue), abs=1e-12)


def test_random_exchanges_come_near_all_exchanges() -> None:
    labels, first, second = sample(3, 12)
    exact = permutation_test(labels, first, second)
    more = [np.concatenate([values, values + 100]) for values in (first, second)]
    drawn = permutation_test(np.tile(labels, 2), *more, repeats=20_000, clusters=np.tile(np.arange(12), 2))
    assert exact.exact
    assert drawn.exact, "twelve patients have 4096 exchanges, however many images"
    apart = permutation_test(np.tile(labels, 2), *more, repeats=4000)
    assert not apart.exact
    assert apart.repeats == 4000
    assert apart.p >= 1 / 4001


def test_p_is_near_delongs_in_a_large_sample() -> None:
    for seed in range(4):
        labels, first, second = sample(seed, 400, better=0.15)
        ours = permutation_test(labels, first, second, repeats=4000)
        theirs = compare_aucs(labels, {"first": first, "second": second}).pairs[0]
        assert ours.difference == pytest.approx(theirs.difference, abs=1e-12)
        assert ours.p == pytest.approx(theirs.p, abs=0.03)


def test_copies_of_images_add_nothing_when_exchanged_by_patient() -> None:
    labels, first, second = sample(1, 60)
    single = permutation_test(labels, first, second, repeats=4000)
    copied = [np.repeat(values, 3) for values in (labels, first, second)]
    by_patient = permutation_test(*copied, clusters=np.repeat(np.arange(60), 3), repeats=4000)
    assert by_patient.p == single.p, "the same exchanges of the same patients"
    assert by_patient.units == single.units
    assert permutation_test(*copied, repeats=4000).p < single.p


def test_models_that_rank_alike_are_not_told_apart() -> None:
    labels, first, _ = sample(0, 30)
    found = permutation_test(labels, first, np.exp(first))
    assert (found.difference, found.p, found.exact, found.units, found.repeats) == (0, 1, True, 0, 1)


def test_scale_and_seed() -> None:
    labels, first, second = sample(2, 50)
    found = permutation_test(labels, first, second)
    assert found == permutation_test(labels, 1000 * first - 7, second)
    assert found != permutation_test(labels, first, second, seed=1)
    turned = permutation_test(labels, second, first)
    assert (turned.difference, turned.p) == (-found.difference, found.p)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 4), st.integers(0, 6)), min_size=2, max_size=25
    ).filter(lambda rows: len({row[0] for row in rows}) == 2)
)
def test_p_is_a_share(rows: list[tuple[bool, int, int, int]]) -> None:
    labels, first, second, clusters = (np.array(column) for column in zip(*rows, strict=True))
    for groups in (None, clusters):
        found = permutation_test(labels, first, second, groups, repeats=50)
        assert 0 < found.p <= 1
        assert found.p * (found.repeats + (not found.exact)) == pytest.approx(
            round(found.p * (found.repeats + (not found.exact)))
        )
        if found.difference == 0:
            assert found.p == 1


def test_bad_input_is_named() -> None:
    with pytest.raises(RadImageNetError, match="one class only"):
        permutation_test([1, 1], [1, 2], [2, 1])
    with pytest.raises(RadImageNetError, match="3 patient ids"):
        permutation_test([0, 1], [1, 2], [2, 1], clusters=[1, 2, 3])
    with pytest.raises(ConfigurationError, match="0 exchanges"):
        permutation_test([0, 1], [1, 2], [2, 1], repeats=0)
