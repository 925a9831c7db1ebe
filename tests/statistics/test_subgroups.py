"""Subgroups: every image in exactly one, small ones named; interaction against the worked example of its paper."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.datasets.records.table import check_records
from radimagenet_monai.statistics.subgroups import Subgroup, compare_groups, subgroups

pytestmark = pytest.mark.slow


def table(**columns: list) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    return check_records(pd.DataFrame({"image": [f"{n}.png" for n in range(count)], "label": "a", **columns}))


def names(groups: list[Subgroup]) -> list[str]:
    return [group.name for group in groups]


def test_categories_with_unknown_and_small_groups() -> None:
    records = table(
        sex=["F"] * 24 + ["M"] * 22 + [""] * 3 + [" F"],
        patient_id=[f"p{n // 2}" for n in range(24)] + [f"q{n // 2}" for n in range(22)] + ["", "x", "y", "z"],
    )
    labels = np.arange(50) // 2 % 2
    groups = subgroups(records, "sex", labels, smallest=5)
    assert names(groups) == ["F", "M", "not known"]
    women, men, unknown = groups
    assert (women.images, women.patients, women.per_class) == (25, 13, {0: 13, 1: 12})
    assert women.reason is None
    # Twelve images of class 0, but of six patients.
    assert men.per_class == {0: 12, 1: 10}
    assert subgroups(records, "sex", labels, smallest=6)[1].reason == "too small: 5 patients of a class, fewer than 6"
    assert unknown.patients is None
    assert unknown.reason == "too small: 1 images of a class, fewer than 5"


@given(st.lists(st.one_of(st.none(), st.integers(0, 120)), min_size=1, max_size=60))
@settings(deadline=None)
def test_every_image_is_in_one_group(ages: list[int | None]) -> None:
    records = table(age=["" if age is None else f"{age:03d}Y" for age in ages])
    for cut_points in (None, [18.0, 65.0]) if any(age is not None for age in ages) else (None,):
        groups = subgroups(records, "age", cut_points=cut_points)
        assert np.sum([group.selected for group in groups], axis=0).tolist() == [1] * len(ages)
        assert sum(group.images for group in groups) == len(ages)
        assert all(group.reason is not None for group in groups if group.images < 10)
        if cut_points is None:
            assert all(group.images for group in groups)


def test_ages_are_years_and_cut_in_thirds() -> None:
    records = table(age=[f"{age:03d}Y" for age in range(20, 80)])
    groups = subgroups(records, "age")
    assert names(groups) == ["below 40 years", "40 to below 60 years", "60 years or more"]
    assert [group.images for group in groups] == [20, 20, 20]
    children = table(age=["018M", "003W", "010D", "002Y", "030Y", "017Y"])
    young, old = subgroups(children, "age", cut_points=[18])
    assert (young.name, young.images, old.name, old.images) == ("below 18 years", 5, "18 years or more", 1)
    toddlers = subgroups(children, "age", cut_points=[1, 2])
    assert [group.images for group in toddlers] == [2, 1, 3]


def test_few_numbers_are_grades_and_in_their_order() -> None:
    assert names(subgroups(table(birads=["10", "2", "3", "2"]), "birads")) == ["2", "3", "10"]
    # A declared cut point decides over that.
    assert names(subgroups(table(tesla=["1.5", "3", "1.5"]), "tesla", cut_points=[2])) == ["below 2", "2 or more"]


def test_a_declared_group_without_images_is_shown() -> None:
    groups = subgroups(table(age=["20", "30"]), "age", cut_points=[18, 65])
    assert [group.images for group in groups] == [0, 2, 0]
    assert groups[0].reason == "too small: 0 images, fewer than 10"


@pytest.mark.parametrize(
    ("column", "cut_points", "message"),
    [
        ("site", None, "no column 'site'; expected one of label"),
        ("patient_id", None, "names single files or patients"),
        ("note", None, "21 different texts"),
        ("note", [1], "holds text such as"),
        ("size", [5, 1], "expected rising numbers"),
    ],
)
def test_bad_columns_are_named(column: str, cut_points: list | None, message: str) -> None:
    records = table(note=[f"text {n}" for n in range(21)], size=list(map(str, range(21))))
    with pytest.raises(ConfigurationError, match=message):
        subgroups(records, column, cut_points=cut_points)


def test_labels_of_another_length_are_refused() -> None:
    with pytest.raises(RadImageNetError, match="expected one a record"):
        subgroups(table(sex=["F", "M"]), "sex", [0])


def test_interaction_equals_the_example_of_the_paper() -> None:
    """Altman and Bland, BMJ 2003: log relative risks -0.4005 (SE 0.1929) and -0.1278 (SE 0.1070)."""
    found = compare_groups(-0.4005, 0.1929, -0.1278, 0.1070)
    assert found.standard_error == pytest.approx(0.2206, abs=5e-5)
    assert found.z == pytest.approx(-1.24, abs=0.005)
    assert found.p == pytest.approx(0.2, abs=0.02)
    assert found.low is not None
    assert found.high is not None
    assert math.exp(found.low) == pytest.approx(0.49, abs=0.005)
    assert math.exp(found.high) == pytest.approx(1.17, abs=0.005)


def test_interaction_keeps_its_level() -> None:
    rng = np.random.default_rng(1)
    effects = rng.normal(0.05, [0.02, 0.07], (4000, 2))
    p = [compare_groups(first, 0.02, second, 0.07).p for first, second in effects]
    assert stats.kstest(p, "uniform").pvalue > 0.001


@pytest.mark.parametrize("given", [(None, 0.1, 0.2, 0.1), (0.1, None, 0.2, 0.1), (0.1, 0.0, 0.2, 0.1)])
def test_interaction_not_estimable_is_said(given: tuple) -> None:
    found = compare_groups(*given)
    assert found.p is found.low is None
    assert found.reason


@pytest.mark.parametrize("given", [(float("nan"), 0.1, 0.2, 0.1), (0.1, -0.1, 0.2, 0.1)])
def test_interaction_of_no_numbers_is_refused(given: tuple) -> None:
    with pytest.raises(RadImageNetError, match="expected finite numbers"):
        compare_groups(*given)
