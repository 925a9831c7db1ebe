"""Distances between outlines: against scipy's distance transform and against counts by hand."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from radimagenet_monai.core.errors import RadImageNetError
from radimagenet_monai.statistics.overlap.segmentation import evaluate_segmentation, measure_overlap
from radimagenet_monai.statistics.overlap.surface_distance import measure_surface_distance

pytestmark = pytest.mark.slow

SHAPE = (60, 80)


def disk(center: tuple[float, float], radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius**2


def pixel(row: int, column: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[row, column] = True
    return mask


def outlines(first: np.ndarray, second: np.ndarray, spacing: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Distances from each outline to the other, by scipy; the outside of the image is outside of the lesion."""
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
    transforms = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return transforms[1][edges[0]], transforms[0][edges[1]]


@pytest.mark.parametrize(
    "spacing",
    [pytest.param((1.0, 1.0), marks=pytest.mark.long), (0.3, 0.9), pytest.param((2.0, 0.5), marks=pytest.mark.long)],
)
def test_equals_distance_transforms_of_scipy(spacing: tuple[float, float]) -> None:
    rng = np.random.default_rng(3)
    full = np.ones(SHAPE, bool)
    pairs = [(full, disk((30, 30), 9)), (full, full), (pixel(0, 0), pixel(59, 79)), (pixel(20, 7), disk((30, 30), 9))]
    for _ in range(12):
        row, column, radius = rng.uniform(10, 50), rng.uniform(10, 70), rng.uniform(2, 14)
        pairs.append((disk((row, column), radius), disk((rng.uniform(10, 50), column), 8)))
        pairs.append((disk((0, column), radius), disk((rng.uniform(0, 8), 79), 10)))
        pairs.append((rng.random(SHAPE) < 0.02, disk((row, column), radius) & (rng.random(SHAPE) < 0.9)))
    for predicted, reference in pairs:
        there, back = outlines(predicted, reference, spacing)
        found = measure_surface_distance(predicted, reference, 1.9, spacing)
        assert found.unit == "mm"
        assert found.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-4)
        within = (there <= 1.9).sum() + (back <= 1.9).sum()
        assert found.nsd == pytest.approx(within / (there.size + back.size), abs=1e-6)


def test_equals_every_pair_of_outline_pixels() -> None:
    predicted, reference = disk((30, 30), 9), disk((34, 38), 12)
    points = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) * (0.4, 0.7) for mask in (predicted, reference)]
    distances = cdist(*points)
    expected = max(np.percentile(distances.min(axis=axis), 95) for axis in (0, 1))
    assert measure_surface_distance(predicted, reference, 1, (0.4, 0.7)).hd95 == pytest.approx(expected, abs=1e-5)


def test_a_shift_is_measured_in_pixels_and_mm() -> None:
    first, second = pixel(10, 20), pixel(13, 24)
    in_pixels = measure_surface_distance(first, second, tolerance=5)
    assert (in_pixels.hd95, in_pixels.nsd, in_pixels.unit, in_pixels.tolerance) == (5, 1, "pixels", 5)
    in_mm = measure_surface_distance(first, second, tolerance=1, spacing=(0.5, 0.25))
    assert in_mm.hd95 == pytest.approx(math.hypot(1.5, 1), abs=1e-6)
    assert in_mm.nsd == 0
    same = measure_surface_distance(first * 255, first, tolerance=0)
    assert (same.hd95, same.nsd) == (0, 1)


def test_empty_masks_by_the_stated_rule() -> None:
    lesion, nothing = disk((30, 30), 5), np.zeros(SHAPE, bool)
    for predicted in (lesion, nothing):
        found = measure_surface_distance(predicted, nothing)
        assert found.hd95 is found.nsd is None
    missed = measure_surface_distance(nothing, lesion)
    assert (missed.hd95, missed.nsd) == (100, 0)
    assert measure_surface_distance(nothing, lesion, 1, (0.5, 0.5)).hd95 == 50


def test_summary_counts_missed_lesions_and_leaves_out_images_without_one() -> None:
    lesion, nothing = disk((30, 30), 5), np.zeros(SHAPE, bool)
    pairs = [(lesion, lesion), (nothing, lesion), (lesion, nothing)]
    overlaps = [measure_overlap(*pair) for pair in pairs]
    distances = [measure_surface_distance(*pair) for pair in pairs]
    found = evaluate_segmentation(overlaps, distances)
    assert (found.hd95.images, found.hd95.mean, found.nsd.mean) == (2, 50, 0.5)
    assert (found.distance_unit, found.tolerance) == ("pixels", 2)
    without = evaluate_segmentation(overlaps)
    assert without.hd95.mean is without.distance_unit is without.tolerance is None
    assert without.dice == found.dice
    distances[1] = measure_surface_distance(nothing, lesion, 2, (1, 1))
    with pytest.raises(RadImageNetError, match="mm with tolerance 2 and pixels with tolerance 2"):
        evaluate_segmentation(overlaps, distances)
    with pytest.raises(RadImageNetError, match="2 distances were given for 3 overlaps"):
        evaluate_segmentation(overlaps, distances[:2])


def test_nothing_is_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        measure_surface_distance(pixel(3, 4), disk((30, 30), 5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((4, 4)), np.zeros((4, 5))), "expected two pictures of the same size"),
        ((np.zeros((4, 4, 1)), np.zeros((4, 4, 1))), "expected two pictures"),
        ((np.zeros((4, 4)), np.zeros((4, 4)), -1), "tolerance -1"),
        ((np.zeros((4, 4)), np.zeros((4, 4)), 1, (1, 0)), "the mm between rows"),
        ((np.zeros((4, 4)), np.zeros((4, 4)), 1, (1, 1, 1)), "the mm between rows"),
    ],
)
def test_bad_input_is_named(arguments: tuple, message: str) -> None:
    with pytest.raises(RadImageNetError, match=message):
        measure_surface_distance(*arguments)
