"""MR: percentiles of the volume or series, against NumPy and scikit-image."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from native_frames import dicom, header, picture, shown, volume
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from skimage.exposure import rescale_intensity

from radimagenet_monai.core.errors import ConfigurationError, IntensityError
from radimagenet_monai.intensity import MRPercentiled
from radimagenet_monai.intensity import mr as module
from radimagenet_monai.io.native_image import NativeImage
from radimagenet_monai.io.reader import read_image

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(3)
VOLUME = RNG.gamma(2, 150, (5, 24, 20)).astype(np.uint16)


def expected(whole: np.ndarray, frame: np.ndarray, lower: float = 1, upper: float = 99) -> np.ndarray:
    low, high = np.percentile(whole, [lower, upper])
    return rescale_intensity(frame.astype(np.float64), in_range=(low, high), out_range=(0.0, 1.0))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.int64])
@pytest.mark.parametrize("frame", [0, 4])
def test_volume_equals_scikit_image(dtype: type, frame: int) -> None:
    pixels = (VOLUME // 8).astype(dtype)
    np.testing.assert_allclose(
        shown(MRPercentiled("image"), volume(pixels), frame)[0], expected(pixels, pixels[frame]), atol=1e-6
    )


def test_slice_scope_and_other_percentiles() -> None:
    policy = MRPercentiled("image", 5, 90.5, scope="slice")
    np.testing.assert_allclose(shown(policy, volume(VOLUME), 2)[0], expected(VOLUME[2], VOLUME[2], 5, 90.5), atol=1e-6)


@given(hnp.arrays(np.int32, st.integers(1, 60), elements=st.integers(-5, 40)), st.floats(0, 49), st.floats(51, 100))
def test_counted_percentiles_equal_numpy(values: np.ndarray, lower: float, upper: float) -> None:
    low, high = np.percentile(values, [lower, upper])
    assume(high > low)
    for kind in (values, values.astype(np.float64) / 3):
        assert module._percentiles([module._counted(kind)], lower, upper) == pytest.approx(
            tuple(np.percentile(kind, [lower, upper]))
        )


@given(hnp.arrays(np.int16, (2, 4, 5), elements=st.integers(-900, 900)), st.floats(0.01, 100), st.floats(-1000, 1000))
def test_gain_and_offset_of_the_scanner_do_not_matter(pixels: np.ndarray, gain: float, offset: float) -> None:
    plain = shown(MRPercentiled("image"), volume(pixels), 1)
    scaled = shown(MRPercentiled("image"), volume(pixels * gain + offset), 1)
    np.testing.assert_allclose(plain, scaled, atol=1e-4)
    assert 0 <= plain.min() <= plain.max() <= 1


@pytest.mark.parametrize("value", [0, 7, -3, np.nan])
@pytest.mark.parametrize("scope", ["volume", "slice"])
@pytest.mark.parametrize("bias_correction", [None, "n4"])
def test_constant_image_is_black(value: float, scope: str, bias_correction: str | None) -> None:
    policy = MRPercentiled("image", scope=scope, bias_correction=bias_correction)
    assert (shown(policy, volume(np.full((2, 30, 30), value, np.float32))) == 0).all()


def test_nearly_black_volume_keeps_its_few_lit_voxels() -> None:
    pixels = np.zeros((1, 40, 40), np.uint16)
    pixels[0, 5, 5] = 900
    out = shown(MRPercentiled("image"), volume(pixels))[0]
    assert out[5, 5] == 1
    assert out.sum() == 1


def test_each_frame_has_its_own_rescale_and_polarity() -> None:
    headers = [header("MR", VOLUME[0], RescaleSlope=slope, RescaleIntercept=slope) for slope in (1, 2, 4, 1, 1)]
    image = NativeImage("study/enhanced.dcm", "dicom", VOLUME, headers)
    native = np.stack(
        [frame * float(h.RescaleSlope) + float(h.RescaleSlope) for frame, h in zip(VOLUME, headers, strict=True)]
    )
    for frame in range(5):
        np.testing.assert_allclose(
            shown(MRPercentiled("image"), image, frame)[0], expected(native, native[frame]), atol=1e-6
        )
    for h in headers:
        h.PhotometricInterpretation = "MONOCHROME1"
    inverted = NativeImage("study/enhanced.dcm", "dicom", VOLUME, headers)
    np.testing.assert_allclose(
        shown(MRPercentiled("image"), inverted, 2)[0], 1 - expected(native, native[2]), atol=1e-6
    )


def test_padding_and_gaps_do_not_count_and_are_black() -> None:
    pixels = VOLUME[0].copy()
    pixels[:12] = 60000
    out = shown(MRPercentiled("image"), dicom("MR", pixels, PixelPaddingValue=60000))[0]
    np.testing.assert_allclose(out[12:], expected(pixels[12:], pixels[12:]), atol=1e-6)
    assert (out[:12] == 0).all()
    gap = pixels.astype(np.float32)
    gap[:12] = np.nan
    np.testing.assert_array_equal(shown(MRPercentiled("image"), volume(gap[np.newaxis]))[0], out)


def write_slice(path: Path, pixels: np.ndarray, series: str, position: float) -> None:
    ds = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
    ds.Rows, ds.Columns = pixels.shape
    ds.PixelData = pixels.astype("<i2").tobytes()
    ds.SeriesInstanceUID, ds.SOPInstanceUID = series, generate_uid()
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.ImagePositionPatient = [0, 0, position]
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path)


def test_single_slice_takes_its_series(tmp_path: Path) -> None:
    one, other = generate_uid(), generate_uid()
    for index, pixels in enumerate(VOLUME):
        write_slice(tmp_path / f"{index}.dcm", pixels, one, index)
    write_slice(tmp_path / "other.dcm", VOLUME[0] * 50 % 30000, other, 0)
    for frame in (0, 3):
        image = read_image(tmp_path / f"{frame}.dcm")
        np.testing.assert_allclose(shown(MRPercentiled("image"), image)[0], expected(VOLUME, VOLUME[frame]), atol=1e-6)
    # A damaged sibling is left out of the statistics and refused only when it is asked for.
    content = (tmp_path / "4.dcm").read_bytes()
    (tmp_path / "4.dcm").write_bytes(content[:-600])
    np.testing.assert_allclose(
        shown(MRPercentiled("image"), read_image(tmp_path / "0.dcm"))[0], expected(VOLUME[:4], VOLUME[0]), atol=1e-6
    )


TWO_VOLUMES = np.stack([VOLUME, VOLUME[::-1] * 7]).astype(np.int16)  # as two echoes of unlike gain


def test_of_a_4d_file_the_volume_of_the_frame_counts(tmp_path: Path) -> None:
    voxels = TWO_VOLUMES.transpose(3, 2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.0, -1, 3, 1])), tmp_path / "4d.nii")
    image = read_image(tmp_path / "4d.nii")
    assert (len(image), image.volumes) == (10, 2)
    for frame in (0, 4, 5, 9):
        whole = TWO_VOLUMES[frame // 5]
        found = shown(MRPercentiled("image"), image, frame)[0]
        native = image.pixels[frame]
        np.testing.assert_allclose(found, expected(whole, native), atol=1e-6)


def test_series_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = generate_uid()
    for index, pixels in enumerate(VOLUME):
        write_slice(tmp_path / f"{index}.dcm", pixels, series, index)
    images = [read_image(tmp_path / f"{index}.dcm") for index in range(5)]
    read = []
    monkeypatch.setattr(module, "read_image", lambda path: read.append(path) or read_image(path))
    for image in images:
        shown(MRPercentiled("image"), image)
    assert len(read) == 5
    write_slice(tmp_path / "1.dcm", VOLUME[1] * 3, series, 1)
    changed = VOLUME.copy()
    changed[1] *= 3
    np.testing.assert_allclose(shown(MRPercentiled("image"), images[0])[0], expected(changed, VOLUME[0]), atol=1e-6)


def phantom() -> tuple[np.ndarray, np.ndarray]:
    """A disk of three tissues under a smooth bias of 40 %, and the mask of one tissue."""
    row, column = np.indices((96, 96))
    tissue = 100.0 * ((row - 48) ** 2 + (column - 48) ** 2 < 40**2)
    tissue += 80 * ((row - 40) ** 2 + (column - 55) ** 2 < 18**2) + 40 * ((row - 60) ** 2 + (column - 38) ** 2 < 14**2)
    bias = np.exp(0.25 * np.cos(column / 96 * np.pi) + 0.1 * np.sin(row / 32))
    noise = np.abs(np.random.default_rng(0).normal(0, 2, tissue.shape))
    return (tissue * bias + noise).astype(np.float32), tissue == 100


def unevenness(out: np.ndarray, mask: np.ndarray) -> float:
    return float(out[mask].std() / out[mask].mean())


@pytest.mark.long
def test_n4_evens_out_a_bias_field() -> None:
    pixels, mask = phantom()
    plain = shown(MRPercentiled("image"), volume(pixels[np.newaxis]))[0]
    corrected = shown(MRPercentiled("image", bias_correction="n4"), volume(pixels[np.newaxis]))[0]
    assert unevenness(corrected, mask) < 0.2 * unevenness(plain, mask)


def test_n4_of_a_series_equals_n4_of_the_volume(tmp_path: Path) -> None:
    pixels = np.stack([phantom()[0][::8, ::8] * scale for scale in (1, 0.9, 0.8, 0.7)]).astype(np.int16)
    series = generate_uid()
    # File names run against the positions, which alone say where a slice lies.
    for index, piece in enumerate(pixels):
        write_slice(tmp_path / f"{9 - index}.dcm", piece, series, index)
    policy = MRPercentiled("image", bias_correction="n4")
    for index in (0, 3):
        np.testing.assert_allclose(
            shown(policy, read_image(tmp_path / f"{9 - index}.dcm")), shown(policy, volume(pixels), index), atol=1e-4
        )


def test_pictures_are_rendered_and_color_is_refused() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_allclose(shown(MRPercentiled("image"), picture(grey))[0], grey / 255, atol=1e-7)
    with pytest.raises(IntensityError, match="a color image"):
        shown(MRPercentiled("image"), dicom("MR", np.zeros((4, 4, 3), np.uint8)))


@pytest.mark.parametrize(
    "options", [{"lower": 99, "upper": 1}, {"upper": 101}, {"scope": "study"}, {"bias_correction": "n3"}]
)
def test_impossible_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigurationError):
        MRPercentiled("image", **options)
