"""The perceptual hash, the search for near hashes and the comparison of details, each against other implementations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.measure import block_reduce

from radimagenet_monai.datasets.audit.picture_hash import (
    NEAR_DUPLICATE_BITS,
    SAME_DETAIL,
    detail_correlation,
    difference_hash,
    may_have_same_detail,
    near_pairs,
    pack_hashes,
    sketch_details,
    thumbnail,
)
from radimagenet_monai.phantoms.busi import simulate

pytestmark = pytest.mark.slow


def found_pairs(hashes: np.ndarray, bits: int, workers: int = 1) -> list[tuple[int, int, int]]:
    return [tuple(pair) for block in near_pairs(hashes, bits, workers) for pair in block.T.tolist()]


def brute_force(bits: np.ndarray, most: int) -> set[tuple[int, int, int]]:
    """By the inner product of signs."""
    signs = bits.astype(np.float32) * 2 - 1
    distances = ((bits.shape[1] - signs @ signs.T) / 2).astype(int)
    return {(i, j, distances[i, j]) for i, j in np.argwhere(np.triu(distances <= most, k=1)).tolist()}


def test_the_hash_is_the_sign_of_differences_of_block_means() -> None:
    rng = np.random.default_rng(3)
    gray = cv2.resize(rng.integers(0, 256, (40, 40), np.uint8), (170, 160))
    means = block_reduce(gray, (10, 10), np.mean)
    differences = means[:, 1:] - means[:, :-1]
    clear = np.abs(differences) > 1  # the hash rounds the means to 8 bits
    assert clear.mean() > 0.8
    assert (difference_hash(gray).reshape(16, 16)[clear] == (differences > 0)[clear]).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_all_near_pairs_are_found_and_no_others(workers: int) -> None:
    rng = np.random.default_rng(0)
    bits = rng.random((4500, 256)) < 0.5  # more than a block either way
    pairs = rng.permutation(4500)[:400].reshape(200, 2)
    for number, (one, other) in enumerate(pairs):
        bits[other] = bits[one]
        bits[other, rng.permutation(256)[: number % 40]] ^= True
    found = found_pairs(pack_hashes(bits), NEAR_DUPLICATE_BITS, workers)
    expected = brute_force(bits, NEAR_DUPLICATE_BITS)
    assert set(found) == expected
    assert len(found) == len(expected) == 165  # 0 ... 32 of each 40
    assert found == found_pairs(pack_hashes(bits), NEAR_DUPLICATE_BITS)


@given(st.integers(1, 40), st.floats(0, 1), st.integers(0, 256), st.integers(0, 2**32))
@settings(deadline=None)
def test_any_threshold_on_any_hashes(count: int, share: float, most: int, seed: int) -> None:
    bits = np.random.default_rng(seed).random((count, 256)) < share
    assert set(found_pairs(pack_hashes(bits), most)) == brute_force(bits, most)


def test_no_hashes_no_pairs() -> None:
    assert found_pairs(np.empty((0, 4), np.uint64), 32) == []


def test_detail_correlation_is_pearsons_after_a_gaussian_high_pass() -> None:
    rng = np.random.default_rng(1)
    first, second = (
        cv2.GaussianBlur(rng.integers(0, 256, (64, 64, 10), np.uint8), (0, 0), 1.5)
        .transpose(2, 0, 1)
        .reshape(2, 5, 64, 64)
    )
    second[0] = np.clip(first[0] * 0.7 + 20, 0, 255)
    second[1] = 255 - first[1]
    second[2] = first[2] // 2 + second[2] // 2

    def details(picture: np.ndarray) -> np.ndarray:
        equalized = cv2.createCLAHE(4.0, (4, 4)).apply(picture).astype(float)
        return (equalized - gaussian_filter(equalized, 2, mode="mirror")).ravel()

    expected = [np.corrcoef(details(one), details(other))[0, 1] for one, other in zip(first, second, strict=True)]
    one, other = (np.stack([thumbnail(picture) for picture in pictures]) for pictures in (first, second))
    np.testing.assert_allclose(detail_correlation(one, other), expected, atol=0.01)
    assert (detail_correlation(one, other) == detail_correlation(other, one)).all()
    assert expected[0] > 0.98
    assert expected[1] < -0.9
    assert 0.4 < expected[2] < 0.9


def test_sketches_let_all_through_that_have_the_same_detail() -> None:
    rng = np.random.default_rng(2)
    first = rng.normal(0, 32, (2000, 4096))
    share = rng.uniform(0, 1, (2000, 1))
    second = share * first + np.sqrt(1 - share**2) * rng.normal(0, 32, first.shape)
    one, other = (np.clip(part, -127, 127).astype(np.int8).reshape(-1, 64, 64) for part in (first, second))
    correlation = detail_correlation(one, other)
    sketches = sketch_details(np.concatenate([one, other]))
    passed = may_have_same_detail(sketches, np.arange(2000), np.arange(2000, 4000))
    assert passed[correlation >= SAME_DETAIL].all()
    assert (correlation >= SAME_DETAIL).sum() > 100
    assert not passed[correlation < 0.4].any()


def test_a_flat_picture_correlates_with_nothing() -> None:
    flat = thumbnail(np.full((90, 80), 90, np.uint8))[None]
    assert not flat.any()
    assert detail_correlation(flat, flat).tolist() == [0]


def test_copies_are_the_same_and_other_pictures_are_not() -> None:
    """The two thresholds lie between what happens to a copy and what two patients have in common."""
    pictures = [simulate("benign", number, seed=4, size=(160, 240))[0] for number in range(1, 25)]

    def jpeg(gray: np.ndarray) -> np.ndarray:
        small = cv2.resize(gray, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
        return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_GRAYSCALE)

    def annotated(gray: np.ndarray) -> np.ndarray:
        return cv2.drawMarker(gray.copy(), (gray.shape[1] // 2, gray.shape[0] // 2), 255, markerSize=8)

    def darker(gray: np.ndarray) -> np.ndarray:
        return np.rint(255 * (gray / 255) ** 1.6).astype(np.uint8)

    bits = np.stack([difference_hash(gray) for gray in pictures])
    small = np.stack([thumbnail(gray) for gray in pictures])
    for change in (jpeg, annotated, darker):
        changed = [change(gray) for gray in pictures]
        assert (np.stack([difference_hash(gray) for gray in changed]) != bits).sum(1).max() <= NEAR_DUPLICATE_BITS
        assert detail_correlation(np.stack([thumbnail(gray) for gray in changed]), small).min() >= SAME_DETAIL
    assert brute_force(bits, NEAR_DUPLICATE_BITS) == set()
    one, other = np.triu_indices(len(pictures), k=1)
    assert detail_correlation(small[one], small[other]).max() < SAME_DETAIL - 0.2
