"""The fast way gives the bytes of the transforms for every picture it takes, and takes no damaged one."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose
from PIL import Image, PngImagePlugin

from radimagenet_monai.intensity import AutoIntensityd, CanonicalRangeCheckd
from radimagenet_monai.intensity.checks.plausibility import BLANK
from radimagenet_monai.io import LoadNativeImaged
from radimagenet_monai.io.formats.picture import read_picture
from radimagenet_monai.io.formats.plain_picture import decode_plain, read_plain_file
from radimagenet_monai.store.packed_row import Packer, Row, Unreadable
from radimagenet_monai.store.plain_rows import keeps_gray_levels, plain_row

pytestmark = pytest.mark.slow

SIZE = (24, 31)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def preparation(**options) -> Compose:
    return Compose([LoadNativeImaged("image"), AutoIntensityd("image", **options), CanonicalRangeCheckd("image")])


class Slow(Packer):
    """The general way alone."""

    _keeps_gray_levels = False


def both(record: dict, size: tuple[int, int] = SIZE, keep_aspect: bool = False) -> tuple[object, object]:
    settings = (preparation(), "image", size, keep_aspect)
    return Packer(*settings)(record, None), Slow(*settings)(record, None)


def encode(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return png[:33] + chunk + png[33:]


def palette(samples: np.ndarray) -> Image.Image:
    picture = Image.fromarray(samples % 7).convert("P")
    picture.putpalette(bytes(range(0, 21)))
    return picture


def pictures(samples: np.ndarray) -> dict[str, bytes]:
    """One picture in every form that a PNG or JPEG file may have."""
    gray = Image.fromarray(samples)
    color = Image.fromarray(np.dstack([samples, samples[::-1], samples[:, ::-1]]))
    gray_as_rgb = Image.merge("RGB", (gray, gray, gray))
    alpha = Image.merge("RGBA", (*color.split(), gray))
    software, rotation = PngImagePlugin.PngInfo(), PngImagePlugin.PngInfo()
    software.add_text("Software", "a test")
    rotation.add_text("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    turned = Image.Exif()
    turned[0x0112] = 6
    png = encode(gray, "PNG")
    return {
        "gray.png": png,
        "level0.png": encode(gray, "PNG", compress_level=0),
        "rgb.png": encode(color, "PNG"),
        "gray_rgb.png": encode(gray_as_rgb, "PNG"),
        "rgba.png": encode(alpha, "PNG"),
        "la.png": encode(alpha.convert("LA"), "PNG"),
        "transparent.png": encode(gray, "PNG", transparency=5),
        "palette.png": encode(palette(samples), "PNG"),
        "bit.png": encode(gray.convert("1"), "PNG"),
        "deep.png": encode(Image.fromarray(samples.astype(np.uint16) * 16), "PNG"),
        "density.png": encode(gray, "PNG", dpi=(72, 72)),
        "software.png": encode(gray, "PNG", pnginfo=software),
        "xmp.png": encode(gray, "PNG", pnginfo=rotation),
        "turned.png": encode(gray, "PNG", exif=turned),
        "gamma.png": with_chunk(png, b"gAMA", struct.pack(">I", 100_000)),
        "dark.png": with_chunk(png, b"gAMA", struct.pack(">I", 20_000)),
        "background.png": with_chunk(png, b"bKGD", struct.pack(">H", 3)),
        "other.png": with_chunk(png, b"abCd", b"?"),
        "two_idat.png": b"".join(two_idats(png)),
        "behind.png": png + b"behind the end",
        "interlaced.png": encode_interlaced(samples),
        "gray.jpg": encode(gray, "JPEG", quality=90),
        "rgb.jpg": encode(color, "JPEG", quality=90),
        "progressive.jpg": encode(gray, "JPEG", progressive=True),
        "turned.jpg": encode(gray, "JPEG", exif=turned),
        "cmyk.jpg": encode(color.convert("CMYK"), "JPEG"),
        "gray.bmp": encode(gray, "BMP"),
        "gray.tif": encode(gray, "TIFF"),
    }


def two_idats(png: bytes) -> list[bytes]:
    start = png.index(b"IDAT") - 4
    length = int.from_bytes(png[start : start + 4], "big")
    data = png[start + 8 : start + 8 + length]
    halves = (data[: length // 2], data[length // 2 :])
    chunks = [
        struct.pack(">I", len(half)) + b"IDAT" + half + struct.pack(">I", zlib.crc32(b"IDAT" + half)) for half in halves
    ]
    return [png[:start], *chunks, png[start + 12 + length :]]


def encode_interlaced(samples: np.ndarray) -> bytes:
    """Adam7, which no library here writes: seven small pictures without filters."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b""
    for row, column, down, across in passes:
        part = samples[row::down, column::across]
        raw += b"".join(b"\0" + line.tobytes() for line in part if part.shape[1])
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 8, 0, 0, 0, 1)),
        (b"IDAT", zlib.compress(raw)),
        (b"IEND", b""),
    ]
    return SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


PLAIN = {
    "gray.png", "level0.png", "rgb.png", "gray_rgb.png", "density.png", "software.png", "gamma.png", "dark.png",
    "two_idat.png", "gray.jpg", "rgb.jpg", "progressive.jpg",
}  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.one_of(st.just(SIZE), st.tuples(st.integers(1, 70), st.integers(1, 70))),
    levels=st.sampled_from([2, 9, 256]),
    keep_aspect=st.booleans(),
)
def test_rows_are_those_of_the_transforms(tmp_path_factory, seed, shape, levels, keep_aspect):
    folder = tmp_path_factory.mktemp("pictures")
    samples = np.random.default_rng(seed).integers(0, levels, shape, dtype=np.uint8)
    for name, content in pictures(samples).items():
        (folder / name).write_bytes(content)
        fast, slow = both({"image": str(folder / name), "modality": "US"}, keep_aspect=keep_aspect)
        if isinstance(slow, Unreadable):
            assert fast == slow
            continue
        assert isinstance(fast, Row)
        assert fast.hashes == slow.hashes
        assert fast.pixels.dtype == np.uint8
        assert np.array_equal(fast.pixels, slow.pixels)
        assert fast.hashes[:32] == hashlib.sha256(content).digest()
        assert fast.hashes[32:] == hashlib.sha256(fast.pixels.tobytes()).digest()


def test_which_files_are_taken_and_that_their_samples_are_the_readers(tmp_path):
    samples = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    taken = set()
    for name, content in pictures(samples).items():
        path = tmp_path / name
        path.write_bytes(content)
        found = read_plain_file(str(path))
        decoded = None if found is None else decode_plain(found)
        if decoded is not None:
            taken.add(name)
            assert np.array_equal(decoded, read_picture(str(path)).pixels[0])
    assert taken == PLAIN


def test_gray_levels_are_kept_by_that_one_transform_alone():
    assert keeps_gray_levels(preparation(), "image")
    assert not keeps_gray_levels(preparation(expected="US"), "image")
    assert not keeps_gray_levels(preparation(modality_key="kind"), "image")
    assert not keeps_gray_levels(preparation(), "picture")
    assert not keeps_gray_levels(Compose([*preparation().transforms, CanonicalRangeCheckd("image")]), "image")
    assert not keeps_gray_levels(preparation().transforms[0], "image")


def test_frames_and_unknown_modalities_are_left_to_the_transforms(tmp_path):
    content = encode(Image.fromarray(np.eye(9, dtype=np.uint8) * 255), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    assert plain_row(content, {"image": "a", "frame": 0, "modality": ""}, SIZE, False) is not None
    for wrong in ({"frame": 1}, {"modality": "XX"}):
        assert plain_row(content, {"image": "a", **wrong}, SIZE, False) is None
        fast, slow = both({"image": str(tmp_path / "a.png"), **wrong})
        assert isinstance(fast, Unreadable)
        assert fast == slow


def smooth(edge: int = 48) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (edge, edge), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1)


def test_flipped_bits_and_missing_ends_of_a_png_are_refused(tmp_path):
    whole = encode(Image.fromarray(smooth()), "PNG")
    path = tmp_path / "a.png"
    damaged = [whole[:length] for length in range(9, len(whole), 87)]
    for position in range(8 * 8, 8 * len(whole), 111):
        changed = bytearray(whole)
        changed[position // 8] ^= 1 << position % 8
        damaged.append(bytes(changed))
    refused = 0
    for content in damaged:
        # Nothing damaged is decoded the fast way: each chunk has a checksum.
        assert decode_plain(content) is None
        path.write_bytes(content)
        fast, slow = both({"image": str(path)})
        if isinstance(slow, Unreadable):
            assert fast == slow
            refused += 1
        else:  # a flipped bit in a checksum that Pillow does not look at
            assert np.array_equal(fast.pixels, slow.pixels)
    assert refused > 0.97 * len(damaged)


def test_a_png_whose_pixels_end_early_is_refused_though_its_checksums_are_right(tmp_path):
    pixels = smooth()
    raw = b"".join(b"\0" + row.tobytes() for row in pixels)

    def png(data: bytes) -> bytes:
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", 48, 48, 8, 0, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
        return SIGNATURE + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )

    assert np.array_equal(decode_plain(png(zlib.compress(raw))), pixels)
    stream = zlib.compress(raw)
    path = tmp_path / "a.png"
    for content in (png(zlib.compress(raw[:-1])), png(zlib.compress(raw[:99])), png(stream[:-6]), png(stream[:200])):
        assert decode_plain(content) is None
        path.write_bytes(content)
        fast, slow = both({"image": str(path)})
        assert isinstance(fast, Unreadable)
        assert fast == slow


@pytest.mark.parametrize("kind", ["L", "RGB"])
def test_truncated_jpegs_are_refused(tmp_path, kind):
    whole = encode(Image.fromarray(smooth()).convert(kind), "JPEG")
    path = tmp_path / "a.jpg"
    for length in range(4, len(whole) - 2, 41):
        path.write_bytes(whole[:length])
        fast, slow = both({"image": str(path)})
        assert isinstance(fast, Unreadable)
        assert fast == slow


def test_a_record_that_names_another_hash_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(smooth()), "PNG"))
    packer = Packer(preparation(), "image", SIZE, False)
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    assert isinstance(packer({"image": str(path)}, right.upper()), Row)
    refused = packer({"image": str(path)}, "0" * 64)
    assert isinstance(refused, Unreadable)
    assert refused.stage == "open"
    assert "the file has changed" in refused.cause


def test_huge_files_are_not_read_into_memory(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(smooth()), "PNG"))
    monkeypatch.setattr("radimagenet_monai.io.formats.plain_picture._LARGEST_FILE", 100)
    assert read_plain_file(str(tmp_path)) is None
    assert read_plain_file(str(tmp_path / "missing.png")) is None
    assert read_plain_file(str(path)) is None
    fast, slow = both({"image": str(path)})
    assert np.array_equal(fast.pixels, slow.pixels)


@pytest.mark.parametrize("kind", ["gray", "color"])
@pytest.mark.parametrize("low", [0, 100, 250])
@pytest.mark.parametrize("span", [1, 3, 4, 25, 26, 27, 200])
def test_both_ways_ask_the_same_of_an_image(tmp_path, kind, low, span):
    samples = np.random.default_rng(span).integers(low, min(256, low + span), (70, 90, 3 if kind == "color" else 1))
    samples = samples.astype(np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(samples if kind == "color" else samples[..., 0]).save(path)
    fast, slow = both({"image": str(path), "frame": 0})
    assert isinstance(fast, Row)
    assert isinstance(slow, Row)
    assert fast.questions == slow.questions
    if span == 1:
        assert BLANK in fast.questions
