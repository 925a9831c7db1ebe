"""Radiographs: modality LUT, VOI LUT or window, polarity and padding, against pydicom."""

from __future__ import annotations

import numpy as np
import pytest
import reference as truth
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from native_frames import dicom, lookup_table, picture, shown
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from radimagenet_monai.core.errors import IntensityError, UnreadableImageError
from radimagenet_monai.intensity import RadiographVOId

STORED = np.random.default_rng(1).integers(0, 4096, (30, 40)).astype(np.uint16)
TWELVE_BITS = {"BitsStored": 12}


def table_of(bits: int, first: int = 0, length: int = 4096) -> Dataset:
    curve = np.linspace(0, 1, length) ** 2 * (2**bits - 1)
    return lookup_table(first, bits, curve.astype(int).tolist())


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_window_equals_pydicom(function: str, photometric: str) -> None:
    image = dicom(
        "DX",
        STORED,
        **TWELVE_BITS,
        WindowCenter=[2000, 100],
        WindowWidth=[1500, 99],
        VOILUTFunction=function,
        RescaleSlope=0.5,
        RescaleIntercept=-20,
        PhotometricInterpretation=photometric,
    )
    ds = image.headers[0]
    for view in (0, 1):
        # PS3.3 C.11.2.1.2: pydicom's output runs over what the stored bits become by the rescale.
        ends = np.array([0, 4095]) * 0.5 - 20
        expected = (apply_voi_lut(apply_modality_lut(STORED, ds), ds, view) - ends[0]) / (ends[1] - ends[0])
        if photometric == "MONOCHROME1":
            expected = 1 - expected
        np.testing.assert_allclose(shown(RadiographVOId("image", view=view), image)[0], expected, atol=1e-6)


@pytest.mark.parametrize(("bits", "first"), [(16, 0), (12, 100), (10, -50)])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_voi_table_equals_pydicom(bits: int, first: int, as_bytes: bool) -> None:
    item = table_of(bits, first, 4000)
    if as_bytes:
        item.add_new("LUTData", "OW", np.array(item.LUTData, "<u2").tobytes())
    stored = STORED.astype(np.int32)
    image = dicom("CR", stored, **TWELVE_BITS, VOILUTSequence=[item], WindowCenter=2000, WindowWidth=10)
    expected = apply_voi_lut(stored, image.headers[0]) / (2**bits - 1)
    np.testing.assert_allclose(shown(RadiographVOId("image"), image)[0], expected, atol=1e-6)
    window = truth.reference_radiograph(stored, image.headers[0], prefer_lut=False)
    np.testing.assert_allclose(shown(RadiographVOId("image", prefer_lut=False), image)[0], window, atol=1e-6)
    assert np.abs(window - expected).max() > 0.1


def test_eight_bit_table_of_twelve_bit_values() -> None:
    # pydicom 3.0 cannot: it keeps the index in 8 bits. Plain indexing is the oracle.
    item = table_of(8)
    image = dicom("CR", STORED, **TWELVE_BITS, VOILUTSequence=[item])
    expected = np.array(item.LUTData)[STORED] / 255
    np.testing.assert_allclose(shown(RadiographVOId("image"), image)[0], expected, atol=1e-6)
    np.testing.assert_allclose(truth.reference_radiograph(STORED, image.headers[0]), expected)


def test_modality_table_then_window_equals_pydicom() -> None:
    image = dicom(
        "DX",
        STORED,
        **TWELVE_BITS,
        ModalityLUTSequence=[table_of(16, 10, 3000)],
        WindowCenter=30000,
        WindowWidth=20000,
    )
    ds = image.headers[0]
    expected = apply_voi_lut(apply_modality_lut(STORED.astype(int), ds), ds) / 65535
    np.testing.assert_allclose(shown(RadiographVOId("image"), image)[0], expected, atol=1e-6)


def test_big_endian_table_bytes() -> None:
    item = table_of(16)
    item.add_new("LUTData", "OW", np.array(item.LUTData, ">u2").tobytes())
    image = dicom("CR", STORED, **TWELVE_BITS, VOILUTSequence=[item])
    image.headers[0].set_original_encoding(False, False)
    expected = apply_voi_lut(STORED, image.headers[0]) / 65535
    np.testing.assert_allclose(shown(RadiographVOId("image"), image)[0], expected, atol=1e-6)


def test_without_voi_values_span_the_range_outside_padding() -> None:
    stored = np.array([[0, 100, 300, 4000]], np.uint16)
    elements = {**TWELVE_BITS, "PixelPaddingValue": 4000}
    out = shown(RadiographVOId("image"), dicom("DX", stored, **elements))
    np.testing.assert_allclose(out[0, 0], [0, 1 / 3, 1, 0], atol=1e-6)
    white = shown(RadiographVOId("image"), dicom("DX", stored, **elements, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(white[0, 0], [1, 2 / 3, 0, 0], atol=1e-6)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_constant_image_is_black(photometric: str) -> None:
    constant = dicom("DX", np.full((3, 3), 77, np.uint16), PhotometricInterpretation=photometric)
    assert (shown(RadiographVOId("image"), constant) == 0).all()


windows = st.tuples(st.floats(-100, 5000), st.floats(1, 9000))


@given(hnp.arrays(np.uint16, (3, 4), elements=st.integers(0, 4095)), st.none() | windows)
def test_monochrome1_is_the_inverse_and_is_inverted_once(
    stored: np.ndarray, window: tuple[float, float] | None
) -> None:
    elements: dict = dict(TWELVE_BITS)
    if window:
        elements |= {"WindowCenter": round(window[0], 3), "WindowWidth": round(window[1], 3)}
    plain = shown(RadiographVOId("image"), dicom("DX", stored, **elements))
    for inverse in (
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"PresentationLUTShape": "INVERSE"},
    ):
        inverted = shown(RadiographVOId("image"), dicom("DX", stored, **elements, **inverse))
        if window is None and stored.min() == stored.max():
            assert (inverted == 0).all()
        else:
            np.testing.assert_allclose(inverted, 1 - plain, atol=1e-6)


def test_pictures_go_by_their_bits() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_allclose(shown(RadiographVOId("image"), picture(grey))[0], grey / 255, atol=1e-7)
    twelve = np.array([[0, 4095]], np.uint16)
    assert shown(RadiographVOId("image"), picture(twelve)).tolist() == [[[0, 1]]]
    sixteen = np.array([[0, 4096, 65535]], np.uint16)
    np.testing.assert_allclose(shown(RadiographVOId("image"), picture(sixteen))[0, 0], [0, 4096 / 65535, 1], atol=1e-7)
    color = np.stack([grey] * 3, axis=-1)
    np.testing.assert_allclose(shown(RadiographVOId("image"), picture(color))[0], grey / 255, atol=1e-6)
    for unit in (np.float32, np.float64):
        np.testing.assert_allclose(
            shown(RadiographVOId("image"), picture((grey / 255).astype(unit)))[0], grey / 255, atol=1e-6
        )
    with pytest.raises(IntensityError, match=r"values -5 to 3 \(int16\)"):
        shown(RadiographVOId("image"), picture(np.array([[-5, 3]], np.int16)))
    assert shown(RadiographVOId("image"), picture(np.array([[np.nan, 1.0]]))).tolist() == [[[0, 1]]]


def test_color_radiograph_is_refused_unless_allowed() -> None:
    color = dicom("DX", np.full((2, 2, 3), 51, np.uint8))
    with pytest.raises(IntensityError, match="a color image"):
        shown(RadiographVOId("image"), color)
    assert shown(RadiographVOId("image", allow_modality_mismatch=True), color) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "item",
    [
        lookup_table(0, 12, [0, 5000]),
        lookup_table(0, 9, [0, 1]),
        lookup_table(0, 7, [0, 1]),
        lookup_table(0, 32, [0, 1]),
    ],
)
def test_contradictory_table_is_unreadable(item: Dataset) -> None:
    with pytest.raises(UnreadableImageError) as caught:
        shown(RadiographVOId("image"), dicom("CR", STORED, VOILUTSequence=[item]))
    assert caught.value.stage == "intensity"


def test_short_table_and_missing_view_are_unreadable() -> None:
    item = table_of(12)
    item.LUTDescriptor = [5000, 0, 12]
    image = dicom("CR", STORED, VOILUTSequence=[item])
    with pytest.raises(UnreadableImageError, match="holds 4096 entries, the descriptor states 5000"):
        shown(RadiographVOId("image"), image)
    with pytest.raises(UnreadableImageError, match="VOI LUT 3 asked for, the header holds 1"):
        shown(RadiographVOId("image", view=3), image)
