"""Which pixels of a mask are the lesion, whatever values and colors they have. Truth is how each file was made."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.datasets.masks import load_masks

SHAPE = (48, 60)  # rows, columns
LESION = np.zeros(SHAPE, np.uint8)
LESION[10:24, 8:38] = 1
TWO_PIXELS = np.zeros(SHAPE, np.uint8)
TWO_PIXELS[20, 30:32] = 1
OTHER = np.zeros(SHAPE, np.uint8)
OTHER[30:40, 40:55] = 1

Make = Callable[[Path], object]


def save(pixels: np.ndarray, mode: str | None = None, **options: object) -> Make:
    return lambda path: Image.fromarray(np.asarray(pixels), mode).save(path, "PNG", **options)


def jpeg(pixels: np.ndarray, quality: int = 75) -> Image.Image:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(stream, "JPEG", quality=quality)
    picture = Image.open(io.BytesIO(stream.getvalue()))
    picture.load()
    return picture


def palette(indices: np.ndarray, colors: list[tuple[int, int, int]]) -> Image.Image:
    picture = Image.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette([channel for color in colors for channel in color])
    return picture


def rgb(*planes: np.ndarray) -> np.ndarray:
    return np.dstack(planes).astype(np.uint8)


def smooth(mask: np.ndarray, factor: int = 4) -> np.ndarray:
    """Drawn four times as large and reduced, so that its edges are gray."""
    large = Image.fromarray((mask * 255).astype(np.uint8)).resize(
        (SHAPE[1] * 4, SHAPE[0] * 4), Image.Resampling.NEAREST
    )
    shifted = Image.fromarray(np.roll(np.asarray(large), (2, 1), (0, 1)))
    return np.asarray(shifted.resize((SHAPE[1], SHAPE[0]), Image.Resampling.BOX))


BLACK, WHITE, RED, GREEN = (0, 0, 0), (255, 255, 255), (200, 0, 0), (0, 200, 0)
ZERO, FULL = LESION * 0, LESION * 0 + 255

UNDERSTOOD: dict[str, tuple[Make, np.ndarray]] = {
    "0 and 1": (save(LESION), LESION),
    "0 and 255": (save(LESION * 255), LESION),
    "0 and 128": (save(LESION * 128), LESION),
    "0 and 7": (save(LESION * 7), LESION),
    "one bit": (lambda path: Image.fromarray(LESION.astype(bool)).save(path, "PNG"), LESION),
    "16 bits": (save((LESION * np.uint16(40_000)).astype(np.uint16)), LESION),
    "16 bits, 0 and 1": (save(LESION.astype(np.uint16)), LESION),
    "empty": (save(ZERO), ZERO),
    "two pixels": (save(TWO_PIXELS * 255), TWO_PIXELS),
    "two pixels with gray edges": (save(np.maximum(TWO_PIXELS * 255, np.roll(TWO_PIXELS, 1, 1) * 60)), TWO_PIXELS),
    "JPEG": (lambda path: Image.fromarray(LESION * 255).save(path, "JPEG", quality=50), LESION),
    "JPEG of 0 and 1": (lambda path: Image.fromarray(LESION).save(path, "JPEG", quality=100), LESION),
    "JPEG in RGB": (lambda path: Image.fromarray(LESION * 255).convert("RGB").save(path, "JPEG", quality=60), LESION),
    "PNG of a JPEG": (lambda path: jpeg(LESION * 255).save(path, "PNG"), LESION),
    "PNG of a poor JPEG": (lambda path: jpeg(LESION * 255, 25).save(path, "PNG"), LESION),
    "smoothed": (save(smooth(LESION)), smooth(LESION) >= 128),
    "blurred": (
        lambda path: Image.fromarray(LESION * 255).filter(ImageFilter.GaussianBlur(1)).save(path, "PNG"),
        np.asarray(Image.fromarray(LESION * 255).filter(ImageFilter.GaussianBlur(1))) >= 128,
    ),
    "RGB, gray": (save(rgb(LESION * 255, LESION * 255, LESION * 255)), LESION),
    "RGB, red": (save(rgb(LESION * 255, ZERO, ZERO)), LESION),
    "RGB, dark green": (save(rgb(ZERO, LESION * 90, ZERO)), LESION),
    "JPEG, red": (
        lambda path: Image.fromarray(rgb(LESION * 255, ZERO, ZERO)).save(path, "JPEG", quality=80, subsampling=0),
        LESION,
    ),
    "alpha alone": (save(rgb(FULL, FULL, FULL, LESION * 255)), LESION),
    "alpha, black lesion": (save(rgb(ZERO, ZERO, ZERO, LESION * 255)), LESION),
    "alpha, other colors where it is transparent": (
        save(rgb(FULL, FULL - LESION * 255, FULL - LESION * 255, LESION * 255)),
        LESION,
    ),
    "opaque alpha": (save(rgb(LESION * 255, ZERO, ZERO, FULL)), LESION),
    "gray and alpha": (lambda path: Image.fromarray(np.dstack([LESION * 255, FULL]), "LA").save(path, "PNG"), LESION),
    "palette, black and red": (lambda path: palette(LESION, [BLACK, RED]).save(path, "PNG"), LESION),
    "palette, white background": (lambda path: palette(LESION, [WHITE, RED]).save(path, "PNG"), LESION),
    "palette, black is not the first": (
        lambda path: palette(LESION + 1, [GREEN, BLACK, RED]).save(path, "PNG"),
        LESION,
    ),
    "palette of grays": (
        lambda path: Image.fromarray(smooth(LESION)).convert("P").save(path, "PNG"),
        smooth(LESION) >= 128,
    ),
    "transparent palette entry": (
        lambda path: palette(LESION, [WHITE, BLACK]).save(path, "PNG", transparency=0),
        LESION,
    ),
    "TIFF": (lambda path: Image.fromarray(LESION * 255).save(path, "TIFF"), LESION),
    "whole image": (save(FULL), FULL > 0),
}

REFUSED: dict[str, tuple[Make, str]] = {
    "labels 1 and 2": (save(LESION + 2 * OTHER), r"it holds 2 labels: 1 \(14.6%\), 2 \(5.2%\); state which"),
    "three gray levels": (save(LESION * 128 + OTHER * 255), "it holds 2 labels: 128"),
    "1 beside 255": (save(LESION + OTHER * 255), "it holds 2 labels: 1"),
    "JPEG of three levels": (
        lambda path: Image.fromarray(LESION * 128 + OTHER * 255).save(path, "JPEG", quality=80),
        "it holds 2 labels",
    ),
    "a thin second label": (save(LESION + 2 * np.eye(*SHAPE, dtype=np.uint8) * (1 - LESION)), "it holds 2 labels"),
    "red and green": (save(rgb(LESION * 200, OTHER * 200, ZERO)), "it holds 2 labels: 00c800 .*c80000"),
    "palette of two labels": (
        lambda path: palette(LESION + 2 * OTHER, [BLACK, RED, GREEN]).save(path, "PNG"),
        "it holds 2 labels: 1",
    ),
    "palette, white first and black": (
        lambda path: palette(LESION, [WHITE, BLACK]).save(path, "PNG"),
        "its palette does not tell which index is background",
    ),
    "palette, red first and black": (
        lambda path: palette(1 - LESION, [RED, BLACK]).save(path, "PNG"),
        "does not tell which index is background",
    ),
    "inverted": (save((1 - LESION) * 255), "it is most likely inverted; state '#values=0' if the lesion is 0"),
    "a white page": (save(rgb(FULL, FULL - LESION * 255, FULL - LESION * 255)), "none of its values .* is background"),
    "labels without background": (save(LESION + 1), "none of its values"),
    "an image": (
        save(np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)),
        "different values, as a picture has and not a mask",
    ),
    "a smooth image": (
        save(np.add.outer(np.arange(SHAPE[0]) * 2, np.arange(SHAPE[1]) * 2).astype(np.uint8)),
        "different values, as a picture has",
    ),
    "transparent throughout": (save(rgb(LESION * 255, ZERO, ZERO, ZERO)), "all of its pixels are transparent"),
}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_the_lesion_is_told_by_content(tmp_path: Path, name: str) -> None:
    make, lesion = UNDERSTOOD[name]
    # A suffix that is wrong for most of them: it says nothing.
    path = tmp_path / ("m.jpg" if "JPEG" not in name else "m.png")
    make(path)
    loaded = load_masks([str(path)], SHAPE, 0)
    assert int((loaded != lesion.astype(bool)).sum()) <= (2 if "JPEG of 0 and 1" in name else 0)


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_mean_several_things_is_refused(tmp_path: Path, name: str) -> None:
    make, reason = REFUSED[name]
    make(tmp_path / "m.png")
    with pytest.raises(UnreadableImageError, match=rf"m\.png: cannot be read \(mask\): .*{reason}"):
        load_masks([str(tmp_path / "m.png")], SHAPE, 0)


@pytest.mark.parametrize(
    ("pixels", "statement", "lesion"),
    [
        (LESION + 2 * OTHER, "values=2", OTHER),
        (LESION + 2 * OTHER, "values=1", LESION),
        (LESION + 2 * OTHER, "values=1+2", LESION + OTHER),
        (LESION + 2 * OTHER, "values=3", ZERO),
        ((1 - LESION) * 255, "values=0", LESION),
        ((1 - LESION) * 255, "values=255", 1 - LESION),
        (rgb(LESION * 200, OTHER * 200, ZERO), "values=c80000", LESION),
        (np.asarray(jpeg(LESION * 128 + OTHER * 255, 95)), "values=128", LESION),
        (np.asarray(jpeg(LESION * 255, 60)), "values=255", LESION),
        (np.add.outer(np.arange(SHAPE[0]), np.arange(SHAPE[1])).astype(np.uint8), "at_least=50", None),
    ],
)
def test_the_table_states_the_lesion(tmp_path: Path, pixels: np.ndarray, statement: str, lesion: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "m.png")
    expected = pixels >= 50 if lesion is None else lesion.astype(bool)
    np.testing.assert_array_equal(load_masks([f"{tmp_path / 'm.png'}#{statement}"], SHAPE, 0), expected)


@pytest.mark.parametrize("factor", [np.float32(1), np.float64(1 / 255), np.float32(0.9)])
def test_floating_point_masks(tmp_path: Path, factor: float) -> None:
    np.save(tmp_path / "m.npy", LESION * factor)
    np.testing.assert_array_equal(load_masks([str(tmp_path / "m.npy")], SHAPE, 0), LESION.astype(bool))


def test_probabilities_need_a_threshold_unless_they_are_nearly_0_and_1(tmp_path: Path) -> None:
    np.save(tmp_path / "sure.npy", LESION * np.float32(0.9) + np.float32(0.02))
    np.testing.assert_array_equal(load_masks([str(tmp_path / "sure.npy")], SHAPE, 0), LESION.astype(bool))
    spread = np.abs(np.linspace(-1, 1, LESION.size, dtype=np.float32)).reshape(SHAPE)
    np.save(tmp_path / "unsure.npy", spread)
    with pytest.raises(UnreadableImageError, match="as a picture has and not a mask"):
        load_masks([str(tmp_path / "unsure.npy")], SHAPE, 0)
    loaded = load_masks([f"{tmp_path / 'unsure.npy'}#at_least=0.5"], SHAPE, 0)
    np.testing.assert_array_equal(loaded, spread >= 0.5)


def test_labels_may_be_floating_point_numbers_and_nan_is_background(tmp_path: Path) -> None:
    labels = (LESION + 2 * OTHER).astype(np.float32)
    labels[0, 0] = np.nan
    np.save(tmp_path / "m.npy", labels)
    loaded = load_masks([f"{tmp_path / 'm.npy'}#values=2"], SHAPE, 0)
    np.testing.assert_array_equal(loaded, OTHER.astype(bool))


def test_labels_are_told_from_the_whole_volume(tmp_path: Path) -> None:
    """Slice 0 alone would look binary."""
    np.save(tmp_path / "m.npy", np.stack([LESION, LESION + 2 * OTHER]))
    with pytest.raises(UnreadableImageError, match="it holds 2 labels"):
        load_masks([str(tmp_path / "m.npy")], SHAPE, 0)


@pytest.mark.parametrize(
    "statement", ["values=", "values=a", "frame=-1", "frame=x", "at_least=", "values=1&at_least=2"]
)
def test_statements_that_say_nothing_are_refused(tmp_path: Path, statement: str) -> None:
    Image.fromarray(LESION).save(tmp_path / "m.png")
    with pytest.raises(UnreadableImageError, match=r"m\.png#"):
        load_masks([f"{tmp_path / 'm.png'}#{statement}"], SHAPE, 0)


def test_the_frame_that_a_single_mask_was_drawn_on(tmp_path: Path) -> None:
    Image.fromarray(LESION).save(tmp_path / "m.png")
    name = f"{tmp_path / 'm.png'}#frame=3"
    np.testing.assert_array_equal(load_masks([name], SHAPE, 3), LESION.astype(bool))
    assert not load_masks([name], SHAPE, 2).any()
    with pytest.raises(UnreadableImageError, match=r"it has 1 frame\(s\), its image 4 or more; .*'m\.png#frame=7'"):
        load_masks([str(tmp_path / "m.png")], SHAPE, 3)
