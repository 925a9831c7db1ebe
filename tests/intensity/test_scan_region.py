"""Where the scan lies in an ultrasound frame: synthetic screens of known geometry, real files, phantoms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom_collections import ROOTS, decoded

from radimagenet_monai.intensity.values.scan_region import header_region, picture_region

pytestmark = pytest.mark.slow

SHAPE = (480, 640)


def region(x0: object, y0: object, x1: object, y1: object, spatial: int = 1, data: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = spatial, data
    for keyword, value in zip(("MinX0", "MinY0", "MaxX1", "MaxY1"), (x0, y0, x1, y1), strict=True):
        if value is not None:
            setattr(item, f"RegionLocation{keyword}", value)
    return item


def stated(*regions: Dataset) -> Dataset:
    ds = Dataset()
    ds.SequenceOfUltrasoundRegions = list(regions)
    return ds


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([region(84, 31, 595, 414)], (31, 84, 415, 596)),
        # A spectral trace and an M-mode strip beside the tissue.
        (
            [region(0, 300, 639, 479, data=3), region(84, 31, 595, 290), region(0, 0, 639, 479, spatial=2)],
            (31, 84, 291, 596),
        ),
        # Two views side by side: the larger one.
        ([region(0, 0, 300, 400), region(310, 0, 630, 400)], (0, 310, 401, 631)),
        # A zoom box mostly within the scan joins it.
        ([region(0, 0, 300, 400), region(200, 300, 320, 420)], (0, 0, 421, 321)),
        # One past the last pixel, as some writers count.
        ([region(120, 60, 640, 480)], (60, 120, 480, 640)),
        # Another matrix.
        ([region(84, 31, 1190, 830)], None),
        ([region(84, 31, 95, 414)], None),
        ([region(300, 31, 100, 414)], None),
        ([region(84, 31, None, 414)], None),
        ([], None),
    ],
)
def test_header_region(regions: list[Dataset], expected: tuple[int, ...] | None) -> None:
    assert header_region(stated(*regions), SHAPE) == expected


@given(st.lists(st.tuples(*[st.integers(-50, 700)] * 4, st.integers(0, 3), st.integers(0, 3)), max_size=4))
def test_any_header_region_lies_in_the_image(boxes: list[tuple[int, ...]]) -> None:
    box = header_region(stated(*[_unsigned(values) for values in boxes]), SHAPE)
    if box is not None:
        row, column, end_row, end_column = box
        assert 0 <= row < end_row <= SHAPE[0]
        assert 0 <= column < end_column <= SHAPE[1]
        assert end_row - row >= 16
        assert end_column - column >= 16


def _unsigned(values: tuple[int, ...]) -> Dataset:
    return region(*[value % 2**32 for value in values[:4]], *values[4:])


def speckle(shape: tuple[int, int], seed: int, level: float = 0.25) -> np.ndarray:
    """Log-compressed speckle with dark gaps, as the inside of a scan looks."""
    field = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (2, *shape)).transpose(1, 2, 0), (0, 0), 1.5)
    envelope = np.hypot(field[..., 0], field[..., 1])
    return np.clip(level * (1 + 0.5 * np.log(envelope / envelope.mean() + 1e-3)), 0, 1).astype(np.float32)


def screen(scan: np.ndarray, background: float = 0.0) -> np.ndarray:
    """A screen of ``SHAPE`` with ``scan`` (zero outside of it), burnt-in text, a gray bar and a depth scale."""
    out = (np.where(scan > 0, scan, background) * 255).astype(np.uint8)
    for line, text in enumerate(("General Hospital", "MI 0.8 TIS 0.4", "12 cm 30 Hz")):
        cv2.putText(out, text, (6, 18 + 16 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 230, 1)
    cv2.putText(out, "LEFT BREAST 3H", (250, 470), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 230, 1)
    out[80:240, 620:630] = np.linspace(255, 0, 160)[:, np.newaxis]
    for row in range(70, 430, 40):
        out[row : row + 2, 606:614] = 230
    return out.astype(np.float32) / 255


def sector(seed: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """A convex-array scan and its bounding box."""
    mask = np.zeros(SHAPE, np.uint8)
    cv2.ellipse(mask, (320, -40), (470, 470), 0, 60, 120, 1, -1)
    cv2.ellipse(mask, (320, -40), (140, 140), 0, 0, 360, 0, -1)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
    return (speckle(SHAPE, seed) + 0.02) * mask, box


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("background", [0.0, 0.15])
def test_sector_is_found(seed: int, background: float) -> None:
    scan, expected = sector(seed)
    box = picture_region(screen(scan, background))
    assert box is not None
    np.testing.assert_allclose(box, expected, atol=8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("jpeg", [False, True])
def test_linear_scan_is_found(seed: int, jpeg: bool) -> None:
    scan = np.zeros(SHAPE, np.float32)
    scan[60:420, 150:500] = speckle((360, 350), seed) + 0.02
    picture = screen(scan)
    if jpeg:
        _, code = cv2.imencode(".jpg", (picture * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 70])
        picture = cv2.imdecode(code, cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255
    box = picture_region(picture)
    assert box is not None
    np.testing.assert_allclose(box, (60, 150, 420, 500), atol=8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(224, 224), (300, 480), (480, 300)])
def test_a_scan_that_fills_its_frame_is_left_whole(seed: int, shape: tuple[int, int]) -> None:
    depth = np.linspace(0, 1, shape[0])[:, np.newaxis]
    bright = speckle(shape, seed, 0.4) + 0.02
    assert picture_region(bright) is None
    # It darkens to black with depth, and a cyst or a shadow takes the middle.
    fading = bright * np.clip(1.4 - 1.6 * depth, 0, 1)
    assert picture_region(fading) is None
    cv2.ellipse(fading, (shape[1] // 2, shape[0] // 3), (shape[1] // 4, shape[0] // 5), 0, 0, 360, 0, -1)
    assert picture_region(fading.astype(np.float32)) is None


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_empty_frame_is_left_whole(value: float) -> None:
    assert picture_region(np.full(SHAPE, value, np.float32)) is None
    assert picture_region(np.full((3, 2), value, np.float32)) is None


def test_text_alone_is_no_scan() -> None:
    assert picture_region(screen(np.zeros(SHAPE, np.float32))) is None


@pytest.mark.parametrize("seed", range(3))
def test_cropping_twice_changes_nothing_more(seed: int) -> None:
    scan = np.zeros(SHAPE, np.float32)
    scan[60:420, 150:500] = speckle((360, 350), seed) + 0.02
    picture = screen(scan)
    row, column, end_row, end_column = picture_region(picture) or (0, 0, *SHAPE)
    assert picture_region(picture[row:end_row, column:end_column]) is None


def test_the_picture_agrees_with_the_header_of_a_real_clip() -> None:
    frames, ds = decoded(ROOTS["pydicom-data"] / "color3d_jpeg_baseline.dcm")
    stated_box = header_region(ds, SHAPE)
    seen = picture_region(frames[::15, ..., 0].max(axis=0).astype(np.float32) / 255)
    assert stated_box is not None
    assert seen is not None
    # The header states the whole fan, whose flanks are black in this patient.
    assert stated_box[0] <= seen[0]
    assert stated_box[1] <= seen[1]
    assert seen[2] <= stated_box[2]
    assert seen[3] <= stated_box[3]
    assert (seen[2] - seen[0]) / (stated_box[2] - stated_box[0]) > 0.9
