"""Maps against masks: by hand, against scikit-learn, and with maps that are turned the wrong way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, jaccard_score

from radimagenet_monai.core.errors import ConfigurationError, RadImageNetError
from radimagenet_monai.explain.localization import (
    FIXED_THRESHOLD,
    THRESHOLDS,
    Localization,
    choose_threshold,
    measure_localization,
    summarize_localization,
)
from radimagenet_monai.statistics.proportions import wilson

pytestmark = pytest.mark.slow


def lesion(rows: slice, columns: slice, shape: tuple[int, int] = (10, 12)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


def case(pointing: float = 1.0, dice: float = 0.5, share: float = 0.1, energy: float = 0.5) -> Localization:
    return Localization(pointing, energy, (dice,) * 9, (dice / (2 - dice),) * 9, share, True, False)


def test_measures_by_hand() -> None:
    mask = lesion(slice(2, 4), slice(6, 10))
    heat = np.zeros(mask.shape)
    heat[2, 6:9] = [1.0, 0.5, 0.25]
    heat[8, 0] = 0.25
    found = measure_localization(heat, mask)
    assert found.pointing == 1
    assert found.energy == pytest.approx(1.75 / 2)
    assert found.at(0.1) == (pytest.approx(2 * 3 / (4 + 8)), pytest.approx(3 / 9))
    assert found.at(0.3) == (pytest.approx(2 * 2 / (2 + 8)), pytest.approx(2 / 8))
    assert found.at(0.9) == (pytest.approx(2 * 1 / (1 + 8)), pytest.approx(1 / 8))
    assert found.lesion_share == pytest.approx(8 / 120)
    assert not found.center_inside
    assert not found.empty


def test_a_map_turned_the_wrong_way_misses() -> None:
    mask = lesion(slice(1, 3), slice(6, 9), (10, 10))
    rows, columns = np.mgrid[:10, :10]
    heat = np.exp(-((rows - 1.5) ** 2 + (columns - 7) ** 2) / 4)
    assert measure_localization(heat, mask).hit
    for wrong in (1 - heat, heat.T, heat[::-1], heat[:, ::-1]):
        found = measure_localization(wrong, mask)
        assert found.pointing == 0
        assert found.energy < 0.25
        assert max(found.dice) < 0.2


def test_several_highest_pixels_count_by_their_share() -> None:
    mask = lesion(slice(0, 1), slice(0, 3))
    heat = np.zeros(mask.shape)
    heat[0, :4] = 0.7
    assert measure_localization(heat, mask).pointing == pytest.approx(3 / 4)
    heat[0, 3] = 0.7 * (1 - 1e-8)  # a rounding error away
    assert measure_localization(heat, mask).pointing == pytest.approx(3 / 4)
    heat[5, 5:8] = 0.7
    found = measure_localization(heat, mask)
    assert found.pointing == pytest.approx(3 / 7)
    assert not found.hit


def test_tolerance_is_a_distance_in_pixels_and_for_pointing_alone() -> None:
    mask = lesion(slice(4, 5), slice(4, 5))
    heat = np.zeros(mask.shape)
    heat[7, 8] = 1  # 3 rows and 4 columns away
    assert measure_localization(heat, mask, tolerance=4.9).pointing == 0
    found = measure_localization(heat, mask, tolerance=5)
    assert found.pointing == 1
    assert (found.energy, max(found.dice)) == (0, 0)


def test_an_empty_map_is_a_miss_in_every_measure() -> None:
    found = measure_localization(np.zeros((10, 12)), lesion(slice(0, 5), slice(0, 12)))
    assert found.empty
    assert (found.pointing, found.energy, max(found.dice), max(found.iou)) == (0, 0, 0, 0)


@settings(max_examples=25, deadline=None)
@given(
    hnp.arrays(np.float64, (6, 7), elements=st.floats(0, 1, width=32)),
    hnp.arrays(np.bool_, (6, 7)).filter(lambda mask: mask.any()),
)
def test_overlap_equals_that_of_scikit_learn(heat: np.ndarray, mask: np.ndarray) -> None:
    found = measure_localization(heat, mask)
    for place, threshold in enumerate(THRESHOLDS):
        marked = (heat >= threshold * heat.max()) if heat.any() else np.zeros_like(mask)
        assert found.dice[place] == pytest.approx(f1_score(mask.ravel(), marked.ravel()))
        assert found.iou[place] == pytest.approx(jaccard_score(mask.ravel(), marked.ravel()))
    assert 0 <= found.energy <= 1


@pytest.mark.parametrize(
    ("heat", "mask", "tolerance", "message"),
    [
        (np.zeros((3, 4)), np.ones((4, 3), bool), 0, "shape"),
        (np.zeros((3, 4)), np.zeros((3, 4), bool), 0, "without a lesion"),
        (np.full((3, 4), 1.5), np.ones((3, 4), bool), 0, "expected 0 to 1"),
        (np.full((3, 4), np.nan), np.ones((3, 4), bool), 0, "expected 0 to 1"),
        (np.zeros((3, 4)), np.ones((3, 4), bool), -1, "tolerance"),
    ],
)
def test_what_cannot_be_measured_is_refused(heat: np.ndarray, mask: np.ndarray, tolerance: float, message: str) -> None:
    with pytest.raises(RadImageNetError, match=message):
        measure_localization(heat, mask, tolerance)


def test_threshold_is_the_best_of_the_validation_cases() -> None:
    rows, columns = np.mgrid[:40, :40]
    heat = np.clip(1 - np.hypot(rows - 20, columns - 20) / 20, 0, 1)
    cases = [measure_localization(heat, np.hypot(rows - 20, columns - 20) <= radius) for radius in (7, 8, 9)]
    assert choose_threshold(cases) == 0.6  # radius 8 = 20 (1 - 0.6)
    with pytest.raises(RadImageNetError, match="no validation case"):
        choose_threshold([])


def test_summary_counts_hits_and_brackets_means() -> None:
    generator = np.random.default_rng(0)
    cases = [
        case(float(generator.random() < 0.7), dice, share)
        for dice, share in zip(generator.random(30), np.linspace(0.01, 0.3, 30), strict=True)
    ]
    summary = summarize_localization(cases, FIXED_THRESHOLD, repeats=400)
    hits = sum(item.hit for item in cases)
    expected = wilson(hits, 30)
    assert (summary.pointing.estimate, summary.pointing.low, summary.pointing.high) == (
        expected.estimate,
        expected.low,
        expected.high,
    )
    dice = np.array([item.dice[4] for item in cases])
    assert summary.dice.estimate == pytest.approx(dice.mean())
    error = dice.std(ddof=1) / np.sqrt(30)
    assert summary.dice.low == pytest.approx(dice.mean() - 1.96 * error, abs=error / 3)
    assert summary.dice.high == pytest.approx(dice.mean() + 1.96 * error, abs=error / 3)
    assert summary.uniform_pointing == pytest.approx(np.mean(np.linspace(0.01, 0.3, 30)))
    assert [(size["size"], size["cases"]) for size in summary.by_size] == [("small", 10), ("medium", 10), ("large", 10)]
    assert summary.by_size[0]["share_high"] < summary.by_size[1]["share_low"]


def test_several_cases_of_a_patient_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(1).random(8), 5)
    cases = [case(dice=value, pointing=float(value > 0.5)) for value in values]
    alone = summarize_localization(cases, repeats=400)
    clustered = summarize_localization(cases, patients=np.repeat(np.arange(8), 5).tolist(), repeats=400)
    assert clustered.patients == 8
    assert clustered.pointing.method == "Wilson over patients"
    for name in ("dice", "pointing"):
        wide, narrow = getattr(clustered, name), getattr(alone, name)
        assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_nothing_to_summarize_is_said_in_words() -> None:
    summary = summarize_localization([])
    assert summary.cases == 0
    assert summary.dice.estimate is None
    assert summary.dice.reason == "no case with a lesion mask"
    assert summary.by_size == ()
    alone = summarize_localization([case()])
    assert alone.energy.estimate == 0.5
    assert alone.energy.low is None
    assert alone.energy.reason


def test_a_threshold_off_the_grid_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="choose one of 0"):
        summarize_localization([case()], threshold=0.55)
