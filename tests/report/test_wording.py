"""Numbers in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radimagenet_monai.report.wording import bare_p_value, count, interval, number, p_value, signed, with_interval


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "P < .001"),
        (0.00099, "P < .001"),
        (0.001, "P = .001"),
        (0.0094, "P = .009"),
        (0.0271757822291882, "P = .03"),
        (0.0449, "P = .04"),
        (0.0463, "P = .046"),  # .05 would read as no difference
        (0.04996, "P = .04996"),
        (0.05, "P = .05"),
        (0.051, "P = .05"),
        (0.2, "P = .20"),
        (0.99, "P = .99"),
        (0.996, "P > .99"),
        (1.0, "P > .99"),
        (None, "P not estimable"),
    ],
)
def test_p_values_as_journals_print_them(p: float | None, text: str) -> None:
    assert p_value(p) == text


@given(st.floats(0, 1))
def test_p_values_have_no_leading_zero_and_stay_on_their_side_of_5_percent(p: float) -> None:
    text = bare_p_value(p)
    assert "0." not in text
    assert "1." not in text
    if p < 0.049999 and "<" not in text and ">" not in text:
        assert float(text) < 0.05


def test_intervals() -> None:
    assert interval(0.8612, 0.9484) == "95% CI: 0.861, 0.948"
    assert interval(-0.02, 0.051, 2, 0.9) == "90% CI: −0.02, 0.05"
    found = {"auc": 0.9123, "low": 0.8612, "high": 0.9484}
    assert with_interval(found, "auc") == "0.912 (95% CI: 0.861, 0.948)"
    assert with_interval(found | {"confidence": 0.99}, "auc") == "0.912 (99% CI: 0.861, 0.948)"
    assert with_interval({"estimate": None, "low": None, "high": None}) == "not estimable"
    assert with_interval({"estimate": None, "reason": "one class"}) == "not estimable (one class)"
    one_sided = {"estimate": 1.0, "low": None, "high": None, "reason": "no variance"}
    assert with_interval(one_sided) == "1.000 (interval not estimable: no variance)"


def test_numbers() -> None:
    assert number(-0.0341, 2) == "−0.03"
    assert number(-0.0001, 2) == "0.00"
    assert signed(0.0341) == "+0.034"
    assert signed(-0.0341) == "−0.034"
    assert signed(0.0001) == "0.000"
    assert number(None) == signed(None) == "not estimable"
    assert count(1, "image") == "1 image"
    assert count(1240, "image") == "1\u202f240 images"
    assert count(None, "patient") == "an unknown number of patients"
