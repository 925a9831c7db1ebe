"""Labels and splits in the spellings that tables use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.tables.spellings import SPLIT_SPELLINGS, map_labels, map_splits


@pytest.mark.parametrize(
    "spelling", ["malignant", "Malignant", " MALIGNANT ", "1", "1.0", "yes", "Y", "p", "Positive", "+"]
)
def test_positive_spellings(spelling: str) -> None:
    assert map_labels([spelling], ("benign", "malignant")) == ["malignant"]


@pytest.mark.parametrize("spelling", ["benign", "0", "0.0", "No", "n", "negative", "FALSE"])
def test_negative_spellings(spelling: str) -> None:
    assert map_labels([spelling], ("benign", "malignant")) == ["benign"]


def test_a_class_goes_before_the_general_spellings() -> None:
    assert map_labels(["P", "N"], ("p", "n")) == ["p", "n"]
    assert map_labels(["0", "1"], ("1", "0")) == ["0", "1"]
    assert map_labels(["n"], ("CP", "NCP"), aliases={"n": "NCP"}) == ["NCP"]


def test_signs_between_words_make_no_difference() -> None:
    assert map_labels(["No-Tear", "no_tear", "no  tear"], ("no tear", "tear")) == ["no tear"] * 3


def test_yes_and_no_need_two_classes() -> None:
    with pytest.raises(RecordsError, match="label 'yes' is none of the classes CT, MR, US"):
        map_labels(["CT", "yes"], ("CT", "MR", "US"))


def test_unknown_labels_are_named() -> None:
    with pytest.raises(RecordsError, match="table: label 'a', 'b' is none of the classes no, yes"):
        map_labels(["no", "a", "b", "a", ""], ("no", "yes"))
    with pytest.raises(ConfigurationError, match="differ in spelling only"):
        map_labels([], ("Tear", "tear"))


@given(st.lists(st.text(max_size=8)))
def test_any_text_is_a_class_or_refused(values: list[str]) -> None:
    try:
        labels = map_labels(values, ("no", "yes"))
    except RecordsError:
        return
    assert len(labels) == len(values)
    assert set(labels) <= {"no", "yes", ""}


def test_splits() -> None:
    assert map_splits(["Train", "VAL", "test", "", "valid"]) == ["train", "validation", "test", "", "validation"]
    assert set(SPLIT_SPELLINGS.values()) == {"train", "validation", "test"}
    with pytest.raises(RecordsError, match="split 'evaluation' is unknown"):
        map_splits(["train", "evaluation"])
