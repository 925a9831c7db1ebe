"""Augmentation: one picture from two backends and a third party, and parameters that depend on three numbers alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import scipy.ndimage
import skimage.transform
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.loading.augmentation import (
    FLIP_COLUMNS,
    FLIP_ROWS,
    ROTATION,
    SHEAR,
    SHIFT_COLUMNS,
    SHIFT_ROWS,
    ZOOM_COLUMNS,
    ZOOM_ROWS,
    AffineAugmentation,
    affine_matrices,
    warp_with_opencv,
    warp_with_torch,
)

STRONG = AffineAugmentation(
    rotation_degrees=30, shift=0.2, shear_degrees=20, zoom=0.3, horizontal_flip=True, vertical_flip=True, seed=3
)
SIZES = [(64, 64), (57, 90), (120, 41)]


def picture(size: tuple[int, int], channels: int | None = None) -> np.ndarray:
    shape = size if channels is None else (*size, channels)
    noise = np.random.default_rng(7).integers(0, 256, shape, dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2.5)


def keras_picture(image: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """The affine model of Keras' ImageDataGenerator, written with 3 x 3 matrices in (x, y) and SciPy, flips last."""
    rows, columns = image.shape
    c, s = np.cos(parameters[ROTATION]), np.sin(parameters[ROTATION])
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    shift = np.array([[1, 0, parameters[SHIFT_COLUMNS] * columns], [0, 1, parameters[SHIFT_ROWS] * rows], [0, 0, 1]])
    shear = np.array([[1, -np.sin(parameters[SHEAR]), 0], [0, np.cos(parameters[SHEAR]), 0], [0, 0, 1]])
    zoom = np.diag([parameters[ZOOM_COLUMNS], parameters[ZOOM_ROWS], 1])
    to_center = np.array([[1, 0, (columns - 1) / 2], [0, 1, (rows - 1) / 2], [0, 0, 1]])
    exchange = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    matrix = exchange @ to_center @ rotation @ shift @ shear @ zoom @ np.linalg.inv(to_center) @ exchange
    warped = scipy.ndimage.affine_transform(
        image.astype(float), matrix[:2, :2], matrix[:2, 2], order=1, mode="nearest", output=float
    )
    if parameters[FLIP_COLUMNS]:
        warped = warped[:, ::-1]
    return warped[::-1] if parameters[FLIP_ROWS] else warped


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("index", range(6))
def test_both_backends_equal_scipy(size, index):
    image = picture(size)
    parameters = STRONG.parameters(1, index)
    expected = keras_picture(image, parameters[0])
    on_cpu = STRONG.warp(image, 1, index)
    batch = torch.from_numpy(image)[None, None].float()
    on_device = STRONG.warp_batch(batch, torch.tensor([1]), torch.tensor([index]))[0, 0].numpy()
    # A shift by a quarter of a pixel would already exceed these: see the test below.
    assert np.abs(on_cpu - expected).mean() < 0.35
    assert np.abs(on_cpu - expected).max() < 2
    assert np.abs(on_device - expected).mean() < 0.01
    assert np.abs(on_device - expected).max() < 0.1


@pytest.mark.parametrize("size", SIZES)
def test_opencv_equals_skimage(size):
    image = picture(size)
    matrix = STRONG.matrices(2, 5, size)[0]
    homogeneous = np.vstack([matrix, [0, 0, 1]])
    expected = skimage.transform.warp(image.astype(float), homogeneous, order=1, mode="edge", preserve_range=True)
    assert np.abs(warp_with_opencv(image, matrix) - expected).mean() < 0.35


def test_a_quarter_of_a_pixel_is_seen():
    """The tolerances above notice a shift far below half a pixel."""
    image = picture((64, 64))
    parameters = STRONG.parameters(1, 0)[0]
    moved = parameters.copy()
    moved[SHIFT_COLUMNS] += 0.25 / 64
    assert np.abs(keras_picture(image, moved) - keras_picture(image, parameters)).mean() > 0.4


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_identity_changes_nothing(size, channels):
    nothing = AffineAugmentation(0, 0, 0, 0, horizontal_flip=False)
    image = picture(size, channels).reshape(size if channels is None else (*size, channels))
    assert np.array_equal(nothing.warp(image, 3, 4), image)
    batch = torch.from_numpy(image.reshape(*size, -1)).permute(2, 0, 1)[None].float()
    warped = nothing.warp_batch(batch, torch.tensor([3]), torch.tensor([4]))
    assert torch.equal(warped.round(), batch)
    assert (warped - batch).abs().max() < 1e-2


@pytest.mark.parametrize("size", SIZES)
def test_flips_are_exact(size):
    image = picture(size)
    parameters = np.array([[0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1, 0, 1]], dtype=float)
    matrices = affine_matrices(parameters, size)
    assert np.array_equal(warp_with_opencv(image, matrices[0]), image[:, ::-1])
    assert np.array_equal(warp_with_opencv(image, matrices[1]), image[::-1])
    batch = torch.from_numpy(image)[None, None].float().repeat(2, 1, 1, 1)
    warped = warp_with_torch(batch, torch.from_numpy(matrices)).round().numpy()
    assert np.array_equal(warped[0, 0], image[:, ::-1])
    assert np.array_equal(warped[1, 0], image[::-1])


def test_whole_pixel_shift_is_exact_and_repeats_the_edge():
    image = picture((40, 80))
    matrix = affine_matrices(np.array([[0, 0.1, -0.05, 0, 1, 1, 0, 0]]), (40, 80))[0]
    expected = image[np.clip(np.arange(40) + 4, 0, 39)][:, np.clip(np.arange(80) - 4, 0, 79)]
    assert np.array_equal(warp_with_opencv(image, matrix), expected)


def test_channels_move_together():
    image = picture((50, 70), 3)
    warped = STRONG.warp(image, 0, 9)
    for channel in range(3):
        assert np.array_equal(warped[..., channel], STRONG.warp(np.ascontiguousarray(image[..., channel]), 0, 9))


def test_a_batch_is_its_images_one_by_one():
    images = torch.rand(5, 1, 33, 47)
    epochs, indices = torch.tensor([1, 1, 2, 2, 9]), torch.tensor([0, 7, 7, 1_349_999, 3])
    together = STRONG.warp_batch(images, epochs, indices)
    for position in range(5):
        part = slice(position, position + 1)
        assert torch.equal(together[part], STRONG.warp_batch(images[part], epochs[part], indices[part]))


def test_autocast_does_not_blur_the_grid():
    images = torch.rand(2, 1, 300, 300)
    epochs, indices = torch.tensor([0, 0]), torch.tensor([1, 2])
    expected = STRONG.warp_batch(images, epochs, indices)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(STRONG.warp_batch(images, epochs, indices), expected)


def test_ranges_and_uniformity():
    augmentation = AffineAugmentation(seed=11)
    drawn = augmentation.parameters(np.repeat(np.arange(4), 5000), np.tile(np.arange(5000), 4))
    limits = {
        ROTATION: (-np.deg2rad(10), np.deg2rad(10)),
        SHIFT_ROWS: (-0.1, 0.1),
        SHIFT_COLUMNS: (-0.1, 0.1),
        SHEAR: (-np.deg2rad(0.1), np.deg2rad(0.1)),
        ZOOM_ROWS: (0.9, 1.1),
        ZOOM_COLUMNS: (0.9, 1.1),
    }
    for column, (low, high) in limits.items():
        uniform = scipy.stats.uniform(low, high - low)
        assert scipy.stats.kstest(drawn[:, column], uniform.cdf).pvalue > 1e-4
    assert set(np.unique(drawn[:, FLIP_COLUMNS])) == {0, 1}
    assert abs(drawn[:, FLIP_COLUMNS].mean() - 0.5) < 0.02
    assert not drawn[:, FLIP_ROWS].any()
    correlation = np.corrcoef(drawn[:, :7].T) - np.eye(7)
    assert np.abs(correlation).max() < 0.04


counts = st.integers(0, 2**40)


@settings(deadline=None)
@given(seed=counts, keys=st.lists(st.tuples(counts, counts), min_size=1, max_size=20, unique=True))
def test_parameters_are_a_pure_function(seed, keys):
    augmentation = AffineAugmentation(seed=seed)
    epochs, indices = np.array(keys).T
    together = augmentation.parameters(epochs, indices)
    np.random.seed(1)  # noqa: NPY002 - the global state must have no part in it
    backwards = AffineAugmentation(seed=seed).parameters(epochs[::-1], indices[::-1])[::-1]
    assert np.array_equal(together, backwards)
    for row, (epoch, index) in zip(together, keys, strict=True):
        assert np.array_equal(augmentation.parameters(epoch, index)[0], row)
    assert len(np.unique(together[:, ROTATION])) == len(keys)
    other = AffineAugmentation(seed=seed + 1).parameters(epochs, indices)
    assert not np.isin(other[:, ROTATION], together[:, ROTATION]).any()


def test_numbers_are_those_of_numpy_philox():
    words = np.random.Philox(key=[5, 0], counter=[0, 42, 6, 0]).random_raw(8)
    unit = (words >> np.uint64(11)) * 2.0**-53
    drawn = AffineAugmentation(rotation_degrees=10, seed=5).parameters(6, 42)[0]
    assert drawn[ROTATION] == pytest.approx(np.deg2rad(10) * (2 * unit[ROTATION] - 1), abs=1e-15)
    assert drawn[ZOOM_COLUMNS] == pytest.approx(1 + 0.1 * (2 * unit[ZOOM_COLUMNS] - 1), abs=1e-15)


@pytest.mark.parametrize(
    "options", [{"rotation_degrees": -1}, {"shift": 1.5}, {"zoom": 1.0}, {"shear_degrees": 90}, {"seed": -1}]
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(ConfigurationError, match=f"augmentation {next(iter(options))}"):
        AffineAugmentation(**options)
