"""The way in: formats by content, folders, archives, the cache, finding files, the MONAI transform."""

from __future__ import annotations

import gzip
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image
from pydicom_files import pydicom_files
from written_series import dicom_slice, save, write_series

import radimagenet_monai
from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io import LoadNativeImaged, find_images, read_frame, read_image, reader, series_files

FILES = pydicom_files()
CT = FILES["pydicom/CT_small.dcm"]
VOXELS = np.arange(5 * 6 * 3, dtype=np.int16).reshape(5, 6, 3)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def refused(path, match):
    with pytest.raises(UnreadableImageError, match=match) as caught:
        read_image(path)
    assert caught.value.path == str(path)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return caught.value


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "/").replace("_dot_", "."), data)
    return path


def png(pixels):
    from io import BytesIO

    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("name", ["a.png", "a", "a.nii.gz", "a.txt"])
def test_the_content_and_not_the_name_decides(tmp_path, name):
    (tmp_path / name).write_bytes(CT.read_bytes())
    assert read_image(tmp_path / name).source == "dicom"


def test_a_file_without_preamble_is_dicom(tmp_path):
    (tmp_path / "a").write_bytes(CT.read_bytes()[132:])
    np.testing.assert_array_equal(read_image(tmp_path / "a").pixels, read_image(CT).pixels)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "empty"), (b"hello", "no known image format"), (gzip.compress(b"hello", mtime=0), "no known image format")],
)
def test_other_files_are_refused(tmp_path, data, said):
    (tmp_path / "a.bin").write_bytes(data)
    refused(tmp_path / "a.bin", said)


def test_missing_and_odd_paths_are_refused(tmp_path):
    refused(tmp_path / "none.dcm", "no such file")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "neither a file nor a folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "no DICOM image")


def test_a_folder_of_two_series_is_refused_by_count(tmp_path):
    for uid in ("1.2.3", "1.2.4"):
        save(dicom_slice(VOXELS[:, :, 0], SeriesInstanceUID=uid), tmp_path / f"{uid}.dcm")
    refused(tmp_path, "2 series; give the folder of one series")


def test_other_objects_and_junk_in_a_series_folder_are_passed_over(tmp_path):
    write_series(tmp_path / "s", VOXELS, LPS)
    (tmp_path / "s" / "report.dcm").write_bytes(FILES["pydicom/reportsi.dcm"].read_bytes())
    (tmp_path / "s" / "._0001").write_bytes(b"junk")
    (tmp_path / "s" / "notes.txt").write_text("junk")
    np.testing.assert_array_equal(read_image(tmp_path / "s").pixels, VOXELS.T)


def test_an_archive_of_one_series_or_one_file(tmp_path):
    folder = write_series(tmp_path / "s", VOXELS, LPS)
    members = {f"study__{path.name}": path.read_bytes() for path in folder.iterdir()}
    members["__MACOSX___.png"] = b"junk"
    series = read_image(archive(tmp_path / "s.zip", **members))
    np.testing.assert_array_equal(series.pixels, VOXELS.T)
    assert series.path == str(tmp_path / "s.zip")
    one = read_image(archive(tmp_path / "p.zip", a_dot_png=png(np.eye(3, dtype=np.uint8))))
    np.testing.assert_array_equal(one.pixels[0], np.eye(3))


def test_archives_that_are_not_one_image_are_refused(tmp_path, monkeypatch):
    picture = png(np.eye(3, dtype=np.uint8))
    refused(archive(tmp_path / "two.zip", a_dot_png=picture, b_dot_png=picture), "2 files, not one image")
    refused(archive(tmp_path / "in.zip", a_dot_zip=(tmp_path / "two.zip").read_bytes()), "1 files, not one image")
    broken = refused(archive(tmp_path / "bad.zip", a_dot_png=picture[:40]), "cannot be read")
    assert "radimagenet-" not in str(broken)
    cut = (tmp_path / "two.zip").read_bytes()[:-30]
    (tmp_path / "cut.zip").write_bytes(cut)
    refused(tmp_path / "cut.zip", "BadZipFile")
    monkeypatch.setattr(reader, "MAX_DECODED_BYTES", 1 << 20)
    refused(archive(tmp_path / "bomb.zip", a_dot_dcm=bytes(8 << 20)), "inflates beyond")


def test_an_archive_writes_nothing_outside_its_folder(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("../../evil.png", png(np.eye(3, dtype=np.uint8)))
    assert read_image(tmp_path / "a.zip").pixels.shape == (1, 3, 3)
    assert not list(tmp_path.parent.rglob("evil.png"))


@pytest.fixture
def counted(monkeypatch):
    """How often a file is really read, with an empty cache."""
    reads = []
    monkeypatch.setattr(reader, "_cache", reader._ImageCache())
    monkeypatch.setattr(reader, "read_image", lambda path, plane: reads.append(path) or read_image(path, plane))
    return reads


def test_frames_of_one_volume_read_it_once_and_a_changed_file_again(tmp_path, counted):
    path = tmp_path / "a.npy"
    np.save(path, VOXELS)
    for frame in range(5):
        image, number = read_frame(path, frame)
        assert number == frame
    assert len(counted) == 1
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0] = 1
    np.save(path, VOXELS + 1)
    os.utime(path, ns=(1, 1))
    assert read_frame(path, 0)[0].pixels[0, 0, 0] == 1
    assert len(counted) == 2


def test_the_cache_is_bounded_by_bytes_and_keeps_the_last(tmp_path, counted, monkeypatch):
    monkeypatch.setattr(reader, "MAX_CACHED_BYTES", VOXELS.nbytes + 1)
    for name in "aba":
        if not (tmp_path / f"{name}.npy").exists():
            np.save(tmp_path / f"{name}.npy", VOXELS)
        read_frame(tmp_path / f"{name}.npy", 0)
    assert len(counted) == 3
    monkeypatch.setattr(reader, "MAX_CACHED_BYTES", 1)
    read_frame(tmp_path / "a.npy", 1)
    assert len(counted) == 3


@pytest.mark.parametrize("frame", [-1, 5])
def test_a_frame_out_of_range_is_refused(tmp_path, frame):
    np.save(tmp_path / "a.npy", VOXELS)
    with pytest.raises(UnreadableImageError, match="has 5 frame"):
        read_frame(tmp_path / "a.npy", frame)


def test_images_are_found_by_content_or_suffix_and_counted_as_they_are_read(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.dcm").write_bytes(CT.read_bytes())
    (tmp_path / "sub" / "IM0001").write_bytes(FILES["pydicom/examples_ybr_color.dcm"].read_bytes())
    (tmp_path / "sub" / "report").write_bytes(FILES["pydicom/reportsi.dcm"].read_bytes())
    np.save(tmp_path / "v.npy", VOXELS)
    nib.save(nib.Nifti1Image(VOXELS, LPS), tmp_path / "v.nii.gz")
    (tmp_path / "case_mask.png").write_bytes(png(np.eye(3, dtype=np.uint8)))
    pages = [Image.fromarray(np.eye(3, dtype=np.uint8))] * 4
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    archive(tmp_path / "z.zip", v_dot_npy=(tmp_path / "v.npy").read_bytes())
    (tmp_path / "broken.dcm").write_bytes(b"broken")
    for name in ("Thumbs.db", "._v.npy", ".DS_Store", "a.xml", "a.csv", "a.json", "a.txt", "README"):
        (tmp_path / name).write_bytes(b"junk")
    found = {str(Path(item.path).relative_to(tmp_path)): item.frames for item in find_images(tmp_path)}
    expected = {"v.npy": 5, "v.nii.gz": 3, "case_mask.png": 1, "p.tif": 4, "z.zip": 5, "sub/IM0001": 30}
    assert found == {**expected, "broken.dcm": 1}
    assert list(found) == sorted(found)
    for name, frames in expected.items():
        assert len(read_image(tmp_path / name)) == frames
    assert [item.path for item in find_images(tmp_path / "v.npy")] == [str(tmp_path / "v.npy")]
    with pytest.raises(UnreadableImageError, match="no such"):
        find_images(tmp_path / "none")


def test_siblings_of_a_series_are_found_and_others_stand_alone(tmp_path):
    folder = write_series(tmp_path / "s", VOXELS, LPS)
    own = sorted(str(path) for path in folder.iterdir())
    other = save(dicom_slice(VOXELS[:, :, 0], SeriesInstanceUID="9.9"), folder / "other.dcm")
    by_position = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), "1.2.3")
    assert series_files(own[1]) == list(by_position) != own
    assert series_files(other) == [str(other)]
    new = save(dicom_slice(VOXELS[:, :, 0], InstanceNumber=99), folder / "z.dcm")
    os.utime(folder, ns=(5, 5))
    # One slice without a position: Instance Numbers, which here are as the names, decide for all.
    assert series_files(own[0]) == [*own, str(new)]
    np.save(tmp_path / "a.npy", VOXELS)
    for path in (tmp_path / "a.npy", folder, tmp_path / "none"):
        assert series_files(path) == [str(path)]


def test_the_transform_gives_native_images_and_leaves_the_frame(tmp_path):
    np.save(tmp_path / "a.npy", VOXELS)
    data = {"image": str(tmp_path / "a.npy"), "frame": 2, "label": 1}
    loaded = LoadNativeImaged("image")(data)
    np.testing.assert_array_equal(loaded["image"].pixels, VOXELS)
    assert (loaded["frame"], loaded["label"], data["image"]) == (2, 1, str(tmp_path / "a.npy"))
    with pytest.raises(UnreadableImageError, match="frame 7"):
        LoadNativeImaged("image")({**data, "frame": 7})
    assert LoadNativeImaged("other", allow_missing_keys=True)(data) == data
    with pytest.raises(KeyError):
        LoadNativeImaged("other")(data)


def test_importing_the_package_imports_neither_torch_nor_monai():
    code = "import sys, radimagenet_monai.io as io; io.read_image, io.find_images\n"
    code += "print({'torch', 'monai'} & {*sys.modules})"
    root = str(Path(radimagenet_monai.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "set()"
