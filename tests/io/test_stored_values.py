"""Compressed pixel data that contradict their header, against the pixels that went into the encoder."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from openjpeg.utils import encode_array
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, UltrasoundImageStorage
from written_series import dicom_slice, save

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.intensity.values.luminance import color_luminance
from radimagenet_monai.io.dicom.stored_values import GUESSED_COLOR, STREAM_COLOR, UNUSED_BITS
from radimagenet_monai.io.reader import read_image

jpeg_ls = pytest.importorskip("jpeg_ls")
RNG = np.random.default_rng(5)
RAMP = np.linspace(0, 255, 64 * 64).astype(np.uint8).reshape(64, 64)
LUMA = np.array([0.299, 0.587, 0.114])


def compressed(path, stream, syntax, shape, samples=1, **elements):
    dataset = dicom_slice(np.zeros(shape[:2], np.int16), PixelRepresentation=0, **elements)
    dataset.SamplesPerPixel = samples
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return save(dataset, path)


def as_jpeg(pixels, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=98, **options)
    return stream.getvalue()


def without_application_markers(stream):
    while stream[2:4] in (b"\xff\xe0", b"\xff\xee"):
        stream = stream[:2] + stream[4 + int.from_bytes(stream[4:6], "big") :]
    return stream


def with_adobe_marker(stream, transform):
    return stream[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform]) + stream[2:]


def numbered_components(stream):
    """The component ids R, G, B of a stream as 1, 2, 3, which declare nothing."""
    frame = stream.index(b"\xff\xc0") + 10
    data = bytearray(stream)
    data[frame : frame + 9 : 3] = b"\1\2\3"
    scan = stream.index(b"\xff\xda") + 5
    data[scan : scan + 6 : 2] = b"\1\2\3"
    return bytes(data)


@pytest.mark.parametrize("stored", [8, 12, 16])
@pytest.mark.parametrize(
    ("syntax", "encode", "off"),
    [
        (JPEGBaseline8Bit, as_jpeg, 2),
        (JPEG2000Lossless, lambda a: encode_array(a, photometric_interpretation=2), 0),
        (JPEGLSLossless, lambda a: bytes(jpeg_ls.encode_array(a)), 0),
    ],
    ids=["jpeg", "jpeg2000", "jpeg-ls"],
)
def test_a_stream_of_eight_bits_where_sixteen_are_allocated(tmp_path, syntax, encode, off, stored):
    elements = {"BitsAllocated": 16, "BitsStored": stored, "HighBit": stored - 1}
    image = read_image(compressed(tmp_path / "a.dcm", encode(RAMP), syntax, RAMP.shape, **elements))
    assert image.pixels.dtype == np.uint16
    assert np.abs(image.pixels[0].astype(int) - RAMP).max() <= off


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_overlay_bits_in_a_lossless_stream_are_cleared(tmp_path, syntax, signed):
    values = RNG.integers(-2048 * signed, 4096 - 2048 * signed, (64, 64))
    overlay = RNG.integers(1, 16, (64, 64)) << 12
    stored = ((values & 0xFFF) | overlay).astype(np.uint16)
    if syntax == JPEG2000Lossless:
        stored = stored.view(np.int16) if signed else stored
        stream = encode_array(stored, bits_stored=16, photometric_interpretation=2)
    else:
        stream = bytes(jpeg_ls.encode_array(stored))
    path = compressed(tmp_path / "a.dcm", stream, syntax, stored.shape, BitsStored=12, HighBit=11)
    if signed:
        dataset = pydicom.dcmread(path)
        dataset.PixelRepresentation = 1
        dataset.save_as(path)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels[0], values)
    assert image.notes == (UNUSED_BITS,)


def test_an_overshoot_of_a_lossy_stream_is_no_overlay(tmp_path):
    """Clearing bits would turn 4100 into 4; it is white, not black."""
    values = np.full((64, 64), 4100, np.uint16)
    stream = encode_array(values, bits_stored=16, photometric_interpretation=2, compression_ratios=[1])
    image = read_image(compressed(tmp_path / "a.dcm", stream, JPEG2000, values.shape, BitsStored=12, HighBit=11))
    assert (image.pixels == 4095).all()
    assert image.notes == ()


def gray_with_color(rows=64):
    rgb = np.repeat(np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None], rows, 0).repeat(3, -1)
    rgb[:16, :16], rgb[:16, 48:] = (230, 60, 20), (20, 40, 220)
    return rgb


STREAMS = {
    "jfif": as_jpeg,
    "adobe ycc": lambda a: with_adobe_marker(without_application_markers(as_jpeg(a)), 1),
    "adobe rgb": lambda a: with_adobe_marker(numbered_components(as_jpeg(a, keep_rgb=True, subsampling=0)), 0),
    "ids rgb": lambda a: without_application_markers(as_jpeg(a, keep_rgb=True, subsampling=0)),
    "silent ycc": lambda a: without_application_markers(as_jpeg(a, subsampling=0)),
    "silent ycc 4:2:0": lambda a: without_application_markers(as_jpeg(a, subsampling=2)),
}


@pytest.mark.parametrize("stated", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("kind", STREAMS)
def test_the_color_space_of_a_jpeg_is_what_its_stream_says(tmp_path, kind, stated):
    rgb = gray_with_color()
    stream = STREAMS[kind](rgb)
    path = compressed(
        *(tmp_path / "a.dcm", stream, JPEGBaseline8Bit, rgb.shape, 3),
        **{"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "Modality": "US"},
        **{"PhotometricInterpretation": stated, "PlanarConfiguration": 0, "SOPClassUID": UltrasoundImageStorage},
    )
    image = read_image(path)
    shown = np.asarray(Image.open(io.BytesIO(stream)).convert("RGB")) @ LUMA / 255  # libjpeg's reading of the stream
    assert np.abs(shown - rgb @ LUMA / 255).max() < 0.1
    np.testing.assert_allclose(color_luminance(image.pixels[0], image.headers[0]), shown, atol=0.05)  # clipped colors
    contradicts = (stated == "RGB") == (kind not in ("adobe rgb", "ids rgb"))
    assert image.notes == ((GUESSED_COLOR if "silent" in kind else STREAM_COLOR,) if contradicts else ())


def test_rgb_that_declares_nothing_stays_rgb(tmp_path):
    """The other half of guessing: no marker, numbered components, and gray pixels whose three samples are equal."""
    rgb = gray_with_color()
    stream = numbered_components(without_application_markers(as_jpeg(rgb, keep_rgb=True, subsampling=0)))
    path = compressed(
        *(tmp_path / "a.dcm", stream, JPEGBaseline8Bit, rgb.shape, 3),
        **{"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": "RGB"},
        PlanarConfiguration=0,
    )
    image = read_image(path)
    assert np.abs(image.pixels[0] @ LUMA - rgb @ LUMA).max() < 12
    assert image.notes == ()


@pytest.mark.parametrize("stated", ["RGB", "YBR_RCT", "YBR_FULL"])
def test_jpeg_2000_with_a_component_transform_is_rgb(tmp_path, stated):
    rgb = gray_with_color()
    stream = encode_array(rgb, photometric_interpretation=1, use_mct=True)
    path = compressed(
        *(tmp_path / "a.dcm", stream, JPEG2000Lossless, rgb.shape, 3),
        **{"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": stated},
        PlanarConfiguration=0,
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels[0], rgb)
    assert image.headers[0].PhotometricInterpretation == "RGB"
    assert image.notes == ((STREAM_COLOR,) if stated == "YBR_FULL" else ())


def test_frames_of_two_color_spaces_are_refused(tmp_path):
    rgb = gray_with_color()
    path = compressed(
        *(tmp_path / "a.dcm", b"00", JPEGBaseline8Bit, rgb.shape, 3),
        **{"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": "RGB"},
        **{"PlanarConfiguration": 0, "NumberOfFrames": 2},
    )

    dataset = pydicom.dcmread(path)
    dataset.PixelData = encapsulate([STREAMS["jfif"](rgb), STREAMS["adobe rgb"](rgb)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    with pytest.raises(UnreadableImageError, match="different color spaces"):
        read_image(path)
