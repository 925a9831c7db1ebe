"""DICOM secondary capture against pydicom and dicom3tools' dciodvfy."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from clinic_images import REAL, lesion, oblique, order, real, series, standard_errors
from scipy.ndimage import binary_dilation

from radimagenet_monai.core.errors import DicomOutputError
from radimagenet_monai.integrations.dicom_output import Model, burn_outline, write_secondary_capture
from radimagenet_monai.io import read_image

pytest.importorskip("highdicom", reason="highdicom is not installed (extra: dicom)")
pytestmark = pytest.mark.slow

MODEL = Model("breast_mass_us_segmentation", "0.2.0", "0f" * 32)
CREATED = datetime.datetime(2026, 3, 2, 8, 30)


def overlay(shape: tuple[int, int] = (21, 27)) -> np.ndarray:
    picture = np.linspace(0, 1, shape[0] * shape[1]).reshape(shape)
    mask = np.zeros(shape, np.uint8)
    mask[4:12, 6:20] = 1
    return burn_outline(picture, mask)


def test_the_picture_comes_back_in_the_same_study(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in", oblique())
    path = write_secondary_capture(files[2], overlay(), MODEL, tmp_path / "sc.dcm", frame=None, created=CREATED)
    capture, source = pydicom.dcmread(path), pydicom.dcmread(files[2])
    np.testing.assert_array_equal(capture.pixel_array, overlay())
    np.testing.assert_array_equal(read_image(str(path)).pixels[0], overlay())
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyID", "AccessionNumber", "PixelSpacing"):
        assert capture[keyword].value == source[keyword].value
    assert capture.SeriesInstanceUID != source.SeriesInstanceUID
    assert capture.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert capture.InstanceNumber == source.InstanceNumber
    assert capture.ContentQualification == "RESEARCH"
    assert MODEL.sha256 in capture.DerivationDescription
    assert "Research use only, unverified" in capture.DerivationDescription
    assert capture.PatientOrientation == ["LPH", "PHR"]
    assert standard_errors(path) == []


@pytest.mark.parametrize("name", REAL)
def test_captures_of_real_images_follow_the_standard(tmp_path: Path, name: str) -> None:
    header = pydicom.dcmread(real(name), stop_before_pixels=True)
    picture = overlay((header.Rows, header.Columns))
    path = write_secondary_capture(real(name), picture, MODEL, tmp_path / "sc.dcm", frame=None, created=CREATED)
    assert standard_errors(path) == []


def test_a_frame_of_a_clip_is_named(tmp_path: Path) -> None:
    clip = real("pydicom/examples_ybr_color.dcm")
    path = write_secondary_capture(clip, overlay(), MODEL, tmp_path / "sc.dcm", frame=3, created=CREATED)
    capture = pydicom.dcmread(path)
    assert capture.SourceImageSequence[0].ReferencedFrameNumber == 4
    assert capture.InstanceNumber == 4
    assert standard_errors(path) == []
    for frame in (None, 999, -1):
        with pytest.raises(DicomOutputError, match=f"frame {frame} was named"):
            write_secondary_capture(clip, overlay(), MODEL, tmp_path / "other.dcm", frame=frame)


def test_the_same_picture_is_the_same_instance(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    path = write_secondary_capture(files[0], overlay(), MODEL, tmp_path / "sc.dcm", frame=None, created=CREATED)
    data, first = path.read_bytes(), pydicom.dcmread(path)
    write_secondary_capture(files[0], overlay(), MODEL, path, frame=None, created=CREATED)
    assert path.read_bytes() == data
    other = pydicom.dcmread(write_secondary_capture(files[1], overlay(), MODEL, path, frame=None))
    assert other.SOPInstanceUID != first.SOPInstanceUID
    assert other.SeriesInstanceUID == first.SeriesInstanceUID


def test_only_the_outline_is_burned_in() -> None:
    mask = lesion()[3]
    picture = np.full(mask.shape, 90, np.uint8)
    rgb = burn_outline(picture, mask, colors=[(255, 0, 0), (0, 255, 0)])
    red, green = (rgb == (255, 0, 0)).all(axis=2), (rgb == (0, 255, 0)).all(axis=2)
    for outline, label in ((red, 1), (green, 2)):
        inside = mask == label
        assert (outline & ~inside).sum() == 0
        outside = binary_dilation(~inside, border_value=1)
        np.testing.assert_array_equal(outline, inside & outside)
    assert (rgb[~(red | green)] == 90).all()
    with pytest.raises(DicomOutputError, match="cannot show a mask"):
        burn_outline(picture, mask.T)
    assert order(6).tolist() != list(range(6))


def test_gray_pictures_are_refused(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    with pytest.raises(DicomOutputError, match=r"expected \(rows, columns, 3\)"):
        write_secondary_capture(files[0], np.zeros((4, 4), np.uint8), MODEL, tmp_path / "sc.dcm", frame=None)
