"""Pictures and arrays, against Pillow, scikit-image and NumPy."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.io
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageOps

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.reader import read_image

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (13, 17, 4), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (13, 17), dtype=np.uint16)
COLOR16 = RNG.integers(0, 65536, (13, 17, 3), dtype=np.uint16)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
@pytest.mark.parametrize("pixels", [GREY, COLOR], ids=["grey", "color"])
def test_eight_bits_as_scikit_image_reads_them(tmp_path, suffix, pixels):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels[0], skimage.io.imread(path))
    assert (image.source, image.spacing, len(image.headers)) == ("picture", None, 0)
    if suffix != "jpg":
        np.testing.assert_array_equal(image.pixels[0], pixels)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("pixels", [GREY16, COLOR16], ids=["grey", "color"])
def test_sixteen_bits_stay_sixteen(tmp_path, suffix, pixels):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    image = read_image(path)
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels[0], pixels)


def test_a_palette_is_resolved(tmp_path):
    picture = Image.fromarray(COLOR).quantize(16)
    picture.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png").pixels[0], np.asarray(picture.convert("RGB")))


def test_one_bit_is_black_and_white(tmp_path):
    bits = GREY > 127
    Image.fromarray(bits).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_image(tmp_path / "m.png").pixels[0], bits * np.uint8(255))


def test_alpha_is_composed_over_black(tmp_path):
    Image.fromarray(ALPHA).save(tmp_path / "a.png")
    expected = ALPHA[..., :3] * (ALPHA[..., 3:] / 255)
    np.testing.assert_allclose(read_image(tmp_path / "a.png").pixels[0], expected, atol=0.5 + 1e-9)


def test_opaque_alpha_changes_nothing(tmp_path):
    opaque = np.dstack([COLOR, np.full(COLOR.shape[:2], 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels[0], COLOR)


def test_sixteen_bit_alpha_is_composed_over_black(tmp_path):
    alpha = RNG.integers(0, 65536, (13, 17, 1), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([COLOR16[..., ::-1], alpha]))
    image = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(image.pixels[0], COLOR16 * (alpha / 65535), atol=0.5 + 1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixels", [GREY, COLOR], ids=["grey", "color"])
def test_exif_orientation_as_pillow_applies_it(tmp_path, orientation, pixels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "e.png"
    Image.fromarray(pixels).save(path, exif=exif)
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(read_image(path).pixels[0], expected)


def test_the_pages_of_a_tiff_are_frames(tmp_path):
    pages = [Image.fromarray(np.roll(GREY, n, 0)) for n in range(3)]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "p.tif").pixels, [np.roll(GREY, n, 0) for n in range(3)])


@pytest.mark.parametrize(
    ("name", "picture", "options"),
    [
        ("cmyk.jpg", Image.fromarray(COLOR).convert("CMYK"), {}),
        ("float.tif", Image.fromarray(GREY.astype(np.float32)), {}),
        ("int.tif", Image.fromarray(GREY.astype(np.int32)), {}),
        ("moves.png", Image.fromarray(GREY), {"save_all": True, "append_images": [Image.fromarray(GREY[::-1])]}),
        ("pages.tif", Image.fromarray(GREY), {"save_all": True, "append_images": [Image.fromarray(GREY[:5])]}),
        ("moves.gif", Image.fromarray(GREY), {"save_all": True, "append_images": [Image.fromarray(GREY[::-1])]}),
    ],
)
def test_pictures_without_a_plain_meaning_are_refused(tmp_path, name, picture, options):
    picture.save(tmp_path / name, **options)
    with pytest.raises(UnreadableImageError):
        read_image(tmp_path / name)


def test_a_picture_of_impossible_size_is_refused_before_memory_is_taken(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = (2_000_000).to_bytes(4, "big") * 2
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UnreadableImageError):
        read_image(tmp_path / "a.png")


NUMBERS = st.one_of(hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(sizes=(16, 32, 64)))


@settings(deadline=None)
@given(
    pixels=hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6)),
    fortran=st.booleans(),
)
def test_any_npy_of_numbers_comes_back(tmp_path_factory, pixels, fortran):
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    np.save(path, np.asfortranarray(pixels) if fortran else pixels)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, pixels if pixels.ndim == 3 else pixels[None])
    assert image.pixels.dtype == pixels.dtype.newbyteorder("=")


@pytest.mark.parametrize(
    "array",
    [
        np.array([[object()]], dtype=object),
        np.zeros((2, 2), complex),
        np.zeros((2, 2), bool),
        np.zeros(4),
        np.zeros((2, 2, 2, 2)),
        np.zeros((0, 4)),
    ],
    ids=["objects", "complex", "Boolean", "1-D", "4-D", "empty"],
)
def test_arrays_that_are_no_image_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(UnreadableImageError):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("change", [-1, 1], ids=["short", "long"])
def test_an_npy_of_another_length_than_it_says_is_refused(tmp_path, change):
    np.save(tmp_path / "a.npy", GREY)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:-1] if change < 0 else data + b"\0")
    with pytest.raises(UnreadableImageError, match="bytes of pixels"):
        read_image(tmp_path / "a.npy")


def test_an_npy_that_claims_terabytes_is_refused_at_once(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (60000, 60000, 1000), }".ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(UnreadableImageError, match="at most 4 GiB"):
        read_image(tmp_path / "a.npy")


DEEP = RNG.integers(0, 65536, (23, 40, 3), dtype=np.uint16)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "layout",
    [{}, {"rowsperstrip": 7}, {"tile": (16, 16)}, {"rowsperstrip": 7, "compression": "zlib", "predictor": 2}],
    ids=["one strip", "strips", "tiles", "deflated"],
)
def test_color_of_sixteen_bits_in_planes_as_tifffile_wrote_it(tmp_path, layout, byteorder):
    pages = np.stack([DEEP, DEEP[::-1]])
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, np.moveaxis(pages, -1, 1), photometric="rgb", planarconfig="separate", byteorder=byteorder, **layout
    )
    np.testing.assert_array_equal(read_image(path).pixels, pages)


@pytest.mark.parametrize("bits", [1, 8, 16])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_where_small_values_are_white_they_are_at_any_depth(tmp_path, bits, byteorder):
    stored = GREY > 127 if bits == 1 else GREY if bits == 8 else GREY16
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="miniswhite", byteorder=byteorder)
    expected = {1: (1 - stored) * 255.0, 8: 255.0 - stored, 16: 65535.0 - stored}[bits]
    np.testing.assert_array_equal(read_image(path).pixels[0], expected)


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_a_fourth_sample_of_sixteen_bits_is_what_the_file_says(tmp_path, extra, planarconfig):
    """Alpha may be multiplied into the colors already, and another sample is no alpha at all (TIFF 6.0, section 18)."""
    alpha = RNG.integers(0, 65536, (*DEEP.shape[:2], 1), dtype=np.uint16)
    color = np.minimum(DEEP, alpha) if extra == "assocalpha" else DEEP
    samples = np.dstack([color, alpha])
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        *(path, np.moveaxis(samples, -1, 0) if planarconfig == "separate" else samples),
        **{"photometric": "rgb", "planarconfig": planarconfig, "extrasamples": [extra]},
    )
    expected = color * (alpha / 65535) if extra == "unassalpha" else color
    np.testing.assert_allclose(read_image(path).pixels[0], expected, atol=0.5 + 1e-6)


def test_four_inks_of_sixteen_bits_are_no_color_with_alpha(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", np.dstack([DEEP, GREY16[:1, :1].repeat(23, 0).repeat(40, 1)]), photometric="separated"
    )
    with pytest.raises(UnreadableImageError, match="16-bit color of this kind"):
        read_image(tmp_path / "a.tif")


def test_a_cut_plane_is_noticed(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.moveaxis(DEEP, -1, 0), photometric="rgb", planarconfig="separate")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableImageError):
        read_image(path)
