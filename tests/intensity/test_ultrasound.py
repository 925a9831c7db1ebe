"""Ultrasound: luminance of every photometric interpretation, and the crop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from native_frames import dicom, header, picture, shown
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, convert_color_space
from skimage.color import rgb2yuv

from radimagenet_monai.core.errors import ConfigurationError, IntensityError, UnreadableImageError
from radimagenet_monai.intensity import UltrasoundLuminanced
from radimagenet_monai.intensity.values.luminance import palette_luminance
from radimagenet_monai.io.native_image import NativeImage

RNG = np.random.default_rng(2)
COLOR = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)
WHOLE = UltrasoundLuminanced("image", crop=None)


def region(x0: int, y0: int, x1: int, y1: int, spatial: int = 1, data: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = spatial, data
    item.RegionLocationMinX0, item.RegionLocationMinY0 = x0, y0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = x1, y1
    return item


def test_rgb_is_rec601_luma() -> None:
    out = shown(WHOLE, dicom("US", COLOR))[0]
    np.testing.assert_allclose(out, rgb2yuv(COLOR)[..., 0], atol=1e-6)
    # pydicom rounds luma to 8 bits.
    np.testing.assert_allclose(out, convert_color_space(COLOR, "RGB", "YBR_FULL")[..., 0] / 255, atol=0.502 / 255)
    np.testing.assert_allclose(shown(WHOLE, picture(COLOR))[0], out, atol=1e-7)


def test_rgb_of_sixteen_bits() -> None:
    wide = COLOR.astype(np.uint16) * 257
    np.testing.assert_allclose(shown(WHOLE, dicom("US", wide)), shown(WHOLE, dicom("US", COLOR)), atol=1e-6)


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_ybr_gives_its_luma_channel(photometric: str) -> None:
    ybr = convert_color_space(COLOR, "RGB", "YBR_FULL")
    out = shown(WHOLE, dicom("US", ybr, PhotometricInterpretation=photometric))[0]
    np.testing.assert_array_equal(np.rint(out * 255), ybr[..., 0])


def test_partial_range_ybr_spans_studio_black_to_white() -> None:
    ybr = np.full((1, 4, 3), 128, np.uint8)
    ybr[0, :, 0] = [0, 16, 235, 255]
    out = shown(WHOLE, dicom("US", ybr, PhotometricInterpretation="YBR_PARTIAL_422"))[0, 0]
    np.testing.assert_allclose(out, [0, 0, 1, 1], atol=1e-7)


def palette(first: int, bits: int, entries: int) -> dict:
    elements = {}
    for color in ("Red", "Green", "Blue"):
        values = RNG.integers(0, 2**bits, entries).astype(f"<u{bits // 8}")
        elements[f"{color}PaletteColorLookupTableDescriptor"] = [entries % 2**16, first, bits]
        elements[f"{color}PaletteColorLookupTableData"] = values.tobytes()
    return {"PhotometricInterpretation": "PALETTE COLOR", **elements}


@pytest.mark.parametrize(
    ("first", "bits", "entries", "dtype"),
    [
        (0, 16, 256, np.uint8),
        (3, 16, 200, np.uint8),
        (0, 8, 256, np.uint8),
        (0, 16, 2**16, np.uint16),
        (-20, 16, 100, np.int16),
    ],
)
def test_palette_equals_pydicom(first: int, bits: int, entries: int, dtype: type) -> None:
    low, high = (-128, 128) if first < 0 else (0, min(entries + 20, np.iinfo(dtype).max + 1))
    stored = RNG.integers(low, high, (15, 20)).astype(dtype)
    image = dicom("US", stored, **palette(first, bits, entries))
    inside = np.clip(stored.astype(int), first, first + entries - 1)
    rgb = apply_color_lut(inside, image.headers[0]) / (2**bits - 1)
    np.testing.assert_allclose(shown(WHOLE, image)[0], rgb @ [0.299, 0.587, 0.114], atol=1e-6)


def test_segmented_palette_equals_pydicom() -> None:
    segments = np.array([0, 3, 10, 500, 40, 1, 50, 60000, 0, 2, 7, 9, 1, 45, 3], "<u2").tobytes()
    elements: dict = {"PhotometricInterpretation": "PALETTE COLOR"}
    for color in ("Red", "Green", "Blue"):
        elements[f"{color}PaletteColorLookupTableDescriptor"] = [100, 0, 16]
        elements[f"Segmented{color}PaletteColorLookupTableData"] = segments
    stored = np.arange(100, dtype=np.uint8).reshape(10, 10)
    image = dicom("US", stored, **elements)
    expected = apply_color_lut(stored.astype(int), image.headers[0])[..., 0] / 65535
    np.testing.assert_allclose(shown(WHOLE, image)[0], expected, atol=1e-6)


def test_indirect_segment_repeats_earlier_ones() -> None:
    ds = header("US", np.zeros((2, 2), np.uint8))
    for color in ("Red", "Green", "Blue"):
        setattr(ds, f"{color}PaletteColorLookupTableDescriptor", [6, 0, 8])
        # Discrete 5 6 7, then one segment again from byte 0 on.
        setattr(ds, f"Segmented{color}PaletteColorLookupTableData", bytes([0, 3, 5, 6, 7, 2, 1, 0, 0, 0, 0, 0]))
    first, luminance = palette_luminance(ds)
    assert first == 0
    np.testing.assert_allclose(luminance * 255, [5, 6, 7, 5, 6, 7])


@given(hnp.arrays(np.uint8, (4, 5)), st.sampled_from([{}, {"WindowCenter": 127, "WindowWidth": 254}]))
def test_monochrome_is_in_range_and_inverts(stored: np.ndarray, window: dict) -> None:
    plain = shown(WHOLE, dicom("US", stored, **window))
    inverted = shown(WHOLE, dicom("US", stored, **window, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(inverted, 1 - plain, atol=1e-6)
    if not window:
        np.testing.assert_allclose(plain[0], stored / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("pixels", "elements"),
    [
        (COLOR, {"PhotometricInterpretation": "HSV"}),
        (COLOR, {"BitsStored": 7}),
        (COLOR, {"PhotometricInterpretation": "PALETTE COLOR"}),
        (COLOR[..., 0], {"PhotometricInterpretation": "RGB"}),
        (COLOR[..., 0], {"PhotometricInterpretation": "PALETTE COLOR"}),
        (COLOR[..., 0], {"BitsStored": 6}),
        (COLOR[..., 0], palette(0, 16, 256) | {"RedPaletteColorLookupTableData": b"\0\0"}),
        (COLOR[..., 0], palette(0, 16, 256) | {"BluePaletteColorLookupTableDescriptor": [100, 0, 16]}),
        (COLOR[..., 0], palette(0, 16, 256) | {"RedPaletteColorLookupTableDescriptor": [256, 0, 12]}),
    ],
)
def test_damaged_color_is_unreadable(pixels: np.ndarray, elements: dict) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        shown(WHOLE, dicom("US", pixels, **elements))
    assert caught.value.stage == "intensity"


def test_crop_takes_the_header_region() -> None:
    stored = RNG.integers(0, 256, (120, 200)).astype(np.uint8)
    image = dicom("US", stored, SequenceOfUltrasoundRegions=[region(20, 10, 179, 109)])
    for crop in ("auto", "header"):
        tensor = UltrasoundLuminanced("image", crop=crop)({"image": image})["image"]
        assert tensor.meta["crop"] == (10, 20, 110, 180)
        assert tensor.meta["original_shape"] == (120, 200)
        np.testing.assert_allclose(tensor[0].numpy(), stored[10:110, 20:180] / 255, atol=1e-7)


def test_crop_header_needs_a_region() -> None:
    with pytest.raises(IntensityError, match="no usable 2-D tissue region"):
        shown(UltrasoundLuminanced("image", crop="header"), dicom("US", COLOR))
    with pytest.raises(ConfigurationError, match="unknown ultrasound crop 'sector'"):
        UltrasoundLuminanced("image", crop="sector")


def test_frames_of_a_clip_are_cropped_alike() -> None:
    clip = np.zeros((12, 120, 160), np.uint8)
    for frame in range(12):
        clip[frame, 20:100, 40 + frame : 110 + frame] = 90
    image = NativeImage("clip.dcm", "dicom", clip, [header("US", clip[0])] * 12)
    crops = {UltrasoundLuminanced("image")({"image": image, "frame": frame})["image"].meta["crop"] for frame in (0, 7)}
    assert crops == {(20, 40, 100, 121)}
