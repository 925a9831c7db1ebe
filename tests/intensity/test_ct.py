"""CT: Hounsfield units through windows, against pydicom, MONAI and known values."""

from __future__ import annotations

import numpy as np
import pytest
import reference as truth
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.transforms import ScaleIntensityRanged
from native_frames import dicom, lookup_table, picture, shown, volume
from pydicom.pixels import apply_modality_lut, apply_windowing

from radimagenet_monai.core.errors import ConfigurationError, IntensityError, UnreadableImageError
from radimagenet_monai.intensity import CTWindowd
from radimagenet_monai.intensity.values.windows import WINDOWS

RAMP = np.arange(-1100, 3100, dtype=np.int16).reshape(60, 70)
RESCALED = {"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU"}


@pytest.mark.parametrize("name", WINDOWS)
def test_named_window_equals_monai(name: str) -> None:
    center, width = WINDOWS[name]
    scale = ScaleIntensityRanged("image", center - width / 2, center + width / 2, 0, 1, clip=True)
    expected = scale({"image": RAMP.astype(np.float64)})["image"]
    np.testing.assert_allclose(shown(CTWindowd("image", name), volume(RAMP[np.newaxis]))[0], expected, atol=1e-6)


@pytest.mark.parametrize("name", WINDOWS)
def test_named_window_equals_pydicom(name: str) -> None:
    stored = (RAMP + 1100).astype(np.uint16)
    image = dicom("CT", stored, **RESCALED)
    expected = truth.reference_ct(stored, image.headers[0], *WINDOWS[name])
    np.testing.assert_allclose(shown(CTWindowd("image", [name]), image)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("hounsfield", "window", "expected"),
    [
        (-1000, "abdomen", 0),
        (0, "abdomen", 0.375),
        (0, "brain", 0),
        (40, "brain", 0.5),
        (80, "brain", 1),
        (-1000, "lung", 350 / 1500),
        (0, "lung", 0.9),
        (1000, "bone", 1500 / 1800),
        (3000, "bone", 1),
    ],
)
def test_air_water_and_bone(hounsfield: int, window: str, expected: float) -> None:
    stored = np.full((4, 4), hounsfield + 1024, dtype=np.uint16)
    assert shown(CTWindowd("image", window), dicom("CT", stored, **RESCALED)) == pytest.approx(expected, abs=1e-6)


def test_three_windows_are_three_channels() -> None:
    policy = CTWindowd("image", ["brain", [75, 215], "bone"])
    stacked = shown(policy, volume(RAMP[np.newaxis]))
    assert stacked.shape == (3, 60, 70)
    for channel, window in zip(stacked, ("brain", [[75, 215]], "bone"), strict=True):
        np.testing.assert_array_equal(channel, shown(CTWindowd("image", window), volume(RAMP[np.newaxis]))[0])


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize("index", [0, 1])
def test_header_window_equals_pydicom(function: str | None, index: int) -> None:
    stored = (RAMP + 1100).astype(np.uint16)
    elements = dict(RESCALED, WindowCenter=[40, -600.5], WindowWidth=[1, 1500])
    if function:
        elements["VOILUTFunction"] = function
    image = dicom("CT", stored, **elements)
    ds = image.headers[0]
    low, high = apply_windowing(np.array([-1e9, 1e9]), ds, index)
    expected = (apply_windowing(apply_modality_lut(stored, ds), ds, index) - low) / (high - low)
    np.testing.assert_allclose(shown(CTWindowd("image", f"header:{index}"), image)[0], expected, atol=1e-6)


def test_padding_is_black_in_every_window_and_polarity() -> None:
    stored = np.array([[-2000, 0], [3000, -1990]], dtype=np.int16)
    # Written unsigned, as a careless writer does; the pixels hold it signed.
    image = dicom("CT", stored, PixelPaddingValue=63536, PixelPaddingRangeLimit=63546)
    assert shown(CTWindowd("image", [[-1990, 40]]), image).tolist() == [[[0, 1], [1, 0]]]
    inverted = dicom("CT", stored, PixelPaddingValue=63536, PhotometricInterpretation="MONOCHROME1")
    assert shown(CTWindowd("image", "bone"), inverted)[0, 0, 0] == 0
    volume_with_gap = np.array([[[np.nan, 40.0, np.inf]]])
    assert shown(CTWindowd("image", "brain"), volume(volume_with_gap)).tolist() == [[[0, 0.5, 0]]]


@given(
    hnp.arrays(np.int16, (3, 5)),
    st.floats(-2000, 4000),
    st.floats(0.01, 10000),
    st.floats(0.01, 20),
    st.floats(-3000, 3000),
)
def test_range_and_order_of_hounsfield_units(
    stored: np.ndarray, center: float, width: float, slope: float, intercept: float
) -> None:
    image = dicom("CT", stored, RescaleSlope=slope, RescaleIntercept=intercept)
    out = shown(CTWindowd("image", [[center, width]]), image)[0]
    assert out.min() >= 0
    assert out.max() <= 1
    order = np.argsort(stored, axis=None)
    assert (np.diff(out.ravel()[order]) >= 0).all()


def test_modality_table_to_hounsfield_units() -> None:
    stored = np.array([[0, 1, 2, 3, 90]], dtype=np.uint8)
    table = lookup_table(1, 16, [0, 20, 40, 80])
    image = dicom("CT", stored, ModalityLUTSequence=[table])
    assert shown(CTWindowd("image", "brain"), image)[0].tolist() == [[0, 0, 0.25, 0.5, 1]]
    table.ModalityLUTType = "OD"
    with pytest.raises(IntensityError, match="'OD' was given, Hounsfield"):
        shown(CTWindowd("image", "brain"), image)


@pytest.mark.parametrize("elements", [{"RescaleSlope": 1, "RescaleIntercept": 0, "RescaleType": "US"}, {}])
def test_values_that_are_not_hounsfield_units_are_refused(elements: dict) -> None:
    image = dicom("CT", np.zeros((4, 4), np.uint16), **elements)
    with pytest.raises(IntensityError, match=r"study/image.dcm.*Hounsfield.*--allow_modality_mismatch true"):
        shown(CTWindowd("image"), image)
    assert shown(CTWindowd("image", allow_modality_mismatch=True), image).shape == (1, 4, 4)


def test_missing_rescale_type_and_signed_values_without_rescale_are_accepted() -> None:
    unsigned = np.full((4, 4), 1064, np.uint16)
    assert (
        shown(CTWindowd("image", "brain"), dicom("CT", unsigned, RescaleSlope=1, RescaleIntercept=-1024)) == 0.5
    ).all()
    assert (shown(CTWindowd("image", "brain"), dicom("CT", np.full((4, 4), 40, np.int16))) == 0.5).all()


def test_windowed_pictures_are_not_windowed_again() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    three = shown(CTWindowd("image", ["brain", "bone", "lung"]), picture(grey))
    np.testing.assert_allclose(three, np.stack([grey / 255] * 3), atol=1e-7)
    np.testing.assert_allclose(shown(CTWindowd("image"), volume(grey[np.newaxis]))[0], grey / 255, atol=1e-7)


def test_header_without_window_is_refused() -> None:
    with pytest.raises(IntensityError, match="holds no window"):
        shown(CTWindowd("image", "header"), dicom("CT", np.zeros((4, 4), np.int16)))
    with pytest.raises(UnreadableImageError, match="window 2 asked for, the header holds 1"):
        shown(CTWindowd("image", "header:2"), dicom("CT", np.zeros((4, 4), np.int16), WindowCenter=40, WindowWidth=80))


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleSlope": 0, "RescaleIntercept": 0},
        {"RescaleSlope": "inf", "RescaleIntercept": 0},
        {"RescaleSlope": [1, 2], "RescaleIntercept": 0},
        {"WindowCenter": 40, "WindowWidth": 0},
        {"WindowCenter": 40, "WindowWidth": -80},
        {"WindowCenter": 40, "WindowWidth": 0.5},
        {"WindowCenter": 40, "WindowWidth": 80, "VOILUTFunction": "CUBIC"},
        {"ModalityLUTSequence": [lookup_table(0, 9, [1, 2])]},
        {"ModalityLUTSequence": [lookup_table(0, 8, [1, 300])]},
        {"PixelPaddingValue": [1, 2]},
    ],
)
def test_damaged_elements_are_unreadable(elements: dict) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        shown(CTWindowd("image", "header"), dicom("CT", np.zeros((4, 4), np.int16), **elements))
    assert caught.value.stage == "intensity"
    assert caught.value.path == "study/image.dcm"


@pytest.mark.parametrize("windows", ["brian", ["brain", "bone"], [], [[40, 0]], [[40, 80, 1]], [40, 80, 1], "header:x"])
def test_unknown_windows_are_refused(windows: object) -> None:
    with pytest.raises(ConfigurationError):
        CTWindowd("image", windows)
