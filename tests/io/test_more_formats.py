"""Pairs of files, FreeSurfer, JPEG 2000, GIF, WebP and archives of them: each against the library that wrote it."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from display_convention import shown
from PIL import Image
from pydicom_files import pydicom_files

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io import read_image, survey
from radimagenet_monai.io.reader import count_frames

CT = pydicom_files()["pydicom/CT_small.dcm"].read_bytes()
VOXELS = np.random.default_rng(7).integers(-1000, 1000, (5, 6, 4)).astype(np.int16)
AFFINES = [np.diag([-1.0, -1, 1, 1]), np.array([[0, 0, 2.0, 5], [-1, 0, 0, 6], [0, -1, 0, 7], [0, 0, 0, 1]])]
GRAY = (np.arange(48 * 64) % 251).astype(np.uint8).reshape(48, 64)
COLOR = np.stack([GRAY, GRAY[::-1], 255 - GRAY], axis=-1)


@pytest.mark.parametrize("affine", AFFINES, ids=["axial", "turned"])
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_pair_is_read_by_either_file(tmp_path: Path, kind: type, affine: np.ndarray, ending: str) -> None:
    stored = kind(VOXELS, affine)
    stored.header.set_slope_inter(0.5, -10)
    nib.save(stored, tmp_path / f"scan.img{ending}")
    expected = shown(nib.load(tmp_path / f"scan.img{ending}").get_fdata(), affine)
    for name in (f"scan.hdr{ending}", f"scan.img{ending}"):
        image = read_image(tmp_path / name, "stored")
        np.testing.assert_array_equal(image.pixels, expected)
        assert count_frames(tmp_path / name, "stored") == len(image)
    images, left_out = survey(tmp_path)
    assert [Path(item.path).name for item in images] == [f"scan.hdr{ending}"]
    assert not left_out


def test_half_a_pair_and_analyze_are_refused_by_name(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, AFFINES[0]), tmp_path / "a.img")
    (tmp_path / "a.img").unlink()
    with pytest.raises(UnreadableImageError, match=r"no \.img file lies beside it"):
        read_image(tmp_path / "a.hdr")
    nib.save(nib.AnalyzeImage(VOXELS, AFFINES[0]), tmp_path / "b.img")
    for name in ("b.hdr", "b.img"):
        with pytest.raises(UnreadableImageError, match=r"Analyze 7\.5 does not say which side is left"):
            read_image(tmp_path / name)
    assert [Path(item.path).name for item in survey(tmp_path).images] == ["a.hdr", "b.hdr"]


@pytest.mark.parametrize("affine", AFFINES, ids=["axial", "turned"])
@pytest.mark.parametrize("name", ["brain.mgh", "brain.mgz", "brain"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f4"])
def test_freesurfer_volumes_are_those_of_nibabel(tmp_path: Path, name: str, affine: np.ndarray, dtype: str) -> None:
    voxels = np.abs(VOXELS % 100).astype(dtype)
    written = tmp_path / ("x.mgz" if name == "brain" else name)
    nib.save(nib.MGHImage(voxels, affine), written)
    written.rename(tmp_path / name)
    image = read_image(tmp_path / name, "stored")
    np.testing.assert_array_equal(image.pixels, shown(voxels, affine))
    assert image.pixels.dtype == np.dtype(dtype)
    assert image.affine is not None
    assert count_frames(tmp_path / name, "stored") == len(image)
    assert len(survey(tmp_path).images) == 1


def test_a_cut_freesurfer_volume_is_refused(tmp_path: Path) -> None:
    nib.save(nib.MGHImage(VOXELS.astype(np.int16), AFFINES[0]), tmp_path / "a.mgh")
    data = (tmp_path / "a.mgh").read_bytes()
    (tmp_path / "a.mgh").write_bytes(data[: 284 + 50])
    with pytest.raises(UnreadableImageError, match="cut short"):
        read_image(tmp_path / "a.mgh")


def saved(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("pixels", [GRAY, COLOR], ids=["gray", "color"])
@pytest.mark.parametrize("name", ["a.webp", "a.jp2", "a.j2k", "a"])
def test_pictures_without_loss(tmp_path: Path, name: str, pixels: np.ndarray) -> None:
    options = {"lossless": True} if name == "a.webp" else {"irreversible": False}
    path = saved(tmp_path / (name if "." in name else "x.jp2"), pixels, **options).rename(tmp_path / name)
    image = read_image(path)
    read = image.pixels[0] if pixels.ndim == 3 or image.pixels.ndim == 3 else image.pixels[0, ..., 0]
    np.testing.assert_array_equal(read, pixels)
    assert [Path(item.path).name for item in survey(tmp_path).images] == [name]


def test_gif_is_read_and_an_animation_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.gif", GRAY)
    np.testing.assert_array_equal(read_image(path).pixels[0, ..., 0], GRAY)
    frames = [Image.fromarray(frame) for frame in (GRAY, GRAY[::-1])]
    frames[0].save(tmp_path / "b.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImageError, match="animation of 2 pictures"):
        read_image(tmp_path / "b.gif")


def test_deep_gray_of_jpeg_2000_and_what_is_refused(tmp_path: Path) -> None:
    deep = (GRAY.astype(np.uint16) * 257).astype(np.uint16)
    path = saved(tmp_path / "a.jp2", deep, irreversible=False)
    np.testing.assert_array_equal(read_image(path).pixels[0], deep)
    data = saved(tmp_path / "b.jp2", GRAY).read_bytes()
    (tmp_path / "b.jp2").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableImageError, match="cut short"):
        read_image(tmp_path / "b.jp2")


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return path


def test_members_of_an_archive_are_told_by_content(tmp_path: Path) -> None:
    expected = read_image(pydicom_files()["pydicom/CT_small.dcm"]).pixels
    for name in ("IM0001_dot_img", "IM0001_dot_raw", "IM0001_dot_txt", "IM0001"):
        path = archive(tmp_path / "a.zip", **{name: CT, "README_dot_txt": b"hello", "_dot_DS_Store": b"x"})
        np.testing.assert_array_equal(read_image(path).pixels, expected)
        assert count_frames(path) == 1
    series = {
        f"s__{number}": CT.replace(b"1.3.6.1.4.1.5962.1.1.1.1.1", b"1.3.6.1.4.1.5962.1.1.1.1.%d" % number)
        for number in range(3)
    }
    assert count_frames(archive(tmp_path / "s.zip", **series, notes_dot_txt=b"x")) == 3


def test_two_files_of_a_volume_stay_together_in_an_archive(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, AFFINES[0]), tmp_path / "v.img")
    members = {f"x__{name.replace('.', '_dot_')}": (tmp_path / name).read_bytes() for name in ("v.hdr", "v.img")}
    path = archive(tmp_path / "a.zip", **members)
    np.testing.assert_array_equal(read_image(path, "stored").pixels, VOXELS.T)
    header = "ObjectType = Image\nNDims = 3\nDimSize = 5 6 4\nElementType = MET_SHORT\nElementDataFile = v.raw\n"
    path = archive(tmp_path / "b.zip", v_dot_mhd=header.encode(), v_dot_raw=VOXELS.tobytes(order="F"))
    np.testing.assert_array_equal(read_image(path, "stored").pixels, VOXELS.T)


def test_a_gzip_of_something_else_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"hello"))
    (tmp_path / "b.zip").write_bytes(io.BytesIO().getvalue())
    assert survey(tmp_path).left_out["no known image format"] == ["a.gz"]
