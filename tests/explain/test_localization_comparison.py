"""Two networks on the same lesions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.explain.localization_comparison import compare_localization


def table(hits: np.ndarray, dice: np.ndarray, patients: np.ndarray | None = None) -> pd.DataFrame:
    count = len(hits)
    return pd.DataFrame(
        {
            "record": np.arange(count),
            "patient": np.arange(count) if patients is None else patients,
            "file": [f"{place}.png" for place in range(count)],
            "pointing": hits.astype(float),
            "energy": dice / 2,
            "dice": dice,
            "iou": dice / (2 - dice),
            "lesion_share": np.linspace(0.01, 0.3, count),
            "counted": True,
        }
    )


def test_pointing_is_compared_as_by_mcnemars_exact_test() -> None:
    """The sign-flip test of hits is McNemar's exact test, a binomial test of the discordant pairs."""
    hits = np.array([1, 1, 1, 1, 1, 1, 1, 0, 1, 0, 1, 0])
    others = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 0])
    dice = np.linspace(0.1, 0.9, 12)
    found = compare_localization(table(hits, dice), table(others, dice))["pointing"]
    assert found.difference == pytest.approx((hits.sum() - others.sum()) / 12)
    assert found.p == pytest.approx(binomtest(7, 8).pvalue)


def test_equal_tables_do_not_differ_and_a_shift_is_found() -> None:
    generator = np.random.default_rng(0)
    dice = generator.uniform(0.2, 0.8, 40)
    hits = generator.random(40) < 0.6
    same = compare_localization(table(hits, dice), table(hits, dice))["dice"]
    assert (same.difference, same.p) == (0, None)
    better = dice + generator.normal(0.1, 0.1, 40)
    found = compare_localization(table(hits, better), table(hits, dice))["dice"]
    assert found.low > 0
    assert found.low < 0.1 < found.high
    assert found.p < 0.01


def test_rows_are_paired_by_record_and_only_where_both_count() -> None:
    dice = np.linspace(0.1, 0.9, 10)
    first, second = table(dice > 0.5, dice), table(dice > 0.5, dice + 0.05)
    second.loc[3, "counted"] = False
    found = compare_localization(first, second.iloc[::-1])["dice"]
    assert found.cases == 9
    assert found.difference == pytest.approx(-0.05)


def test_tables_of_other_lesions_are_refused() -> None:
    dice = np.linspace(0.1, 0.9, 10)
    one = table(dice > 0.5, dice)
    with pytest.raises(RecordsError, match="different lesions"):
        compare_localization(one, one.assign(lesion_share=0.5))
    with pytest.raises(RecordsError, match="no case in common"):
        compare_localization(one, one.assign(record=one["record"] + 100))
    with pytest.raises(RecordsError, match="records table"):
        compare_localization(one, one.assign(record=None))
