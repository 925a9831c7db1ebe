"""DICOM SEG against highdicom's reader, dicom3tools' dciodvfy, and SimpleITK's and nibabel's geometry."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from clinic_images import REAL, SHAPE, all_text, changed, lesion, oblique, order, real, series, standard_errors

from radimagenet_monai.catalog.codes import ABNORMAL_STRUCTURE, BREAST, MASS
from radimagenet_monai.core.errors import DicomOutputError, RadImageNetError, UnreadableImageError
from radimagenet_monai.integrations.dicom_output import Model, Segment, as_stored, files_in_order, write_segmentation
from radimagenet_monai.io import read_image

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed (extra: dicom)")
sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
pytestmark = pytest.mark.slow

MODEL = Model("breast_mass_us_segmentation", "0.2.0", "0f" * 32)
LESION = Segment("lesion", ABNORMAL_STRUCTURE, MASS, BREAST)
OTHER = Segment("cyst", color=(0, 128, 255))
CREATED = datetime.datetime(2026, 3, 2, 8, 30)


def masks_of(path: Path, uids: list[str]) -> np.ndarray:
    """What highdicom reads back for source instances."""
    return highdicom.seg.segread(path).get_pixels_by_source_instance(
        source_sop_instance_uids=uids, combine_segments=True, assert_missing_frames_are_empty=True
    )


def uids_of(files: list[Path]) -> list[str]:
    return [str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files]


@pytest.mark.parametrize("directions", [np.eye(3), oblique()], ids=["axial", "oblique"])
def test_a_series_comes_back_pixel_for_pixel(tmp_path: Path, directions: np.ndarray) -> None:
    files, _ = series(tmp_path / "in", directions)
    masks = lesion()[order(len(files))]
    (path,) = write_segmentation(files, masks, [LESION, OTHER], MODEL, tmp_path / "seg.dcm", CREATED)
    uids = uids_of(files)
    np.testing.assert_array_equal(masks_of(path, uids), masks)
    dataset = pydicom.dcmread(path)
    referenced = [
        item.ReferencedSOPInstanceUID for item in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    ]
    assert sorted(referenced) == sorted(uids)
    assert standard_errors(path) == []


def test_it_states_model_and_purpose(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    (path,) = write_segmentation(files, lesion()[order(6)], [LESION, OTHER], MODEL, tmp_path / "seg.dcm", CREATED)
    segmentation = highdicom.seg.segread(path)
    assert segmentation.SegmentationType == "BINARY"
    assert segmentation.ContentQualification == "RESEARCH"
    assert segmentation.DeviceSerialNumber == MODEL.sha256
    assert "unverified" in segmentation.ContentDescription
    one, two = (segmentation.get_segment_description(number) for number in (1, 2))
    assert (one.segment_label, two.segment_label) == ("lesion", "cyst")
    assert one.segmented_property_type == highdicom.sr.CodedConcept("4147007", "SCT", "Mass")
    assert one.AnatomicRegionSequence[0].CodeValue == "76752008"
    algorithm = one.algorithm_identification
    assert (algorithm.name, algorithm.version) == (MODEL.name, MODEL.version)
    assert algorithm.parameters["model_sha256"] == MODEL.sha256
    assert one.RecommendedDisplayCIELabValue != two.RecommendedDisplayCIELabValue
    source = pydicom.dcmread(files[0])
    for keyword in (
        "PatientName",
        "PatientID",
        "StudyInstanceUID",
        "StudyID",
        "AccessionNumber",
        "FrameOfReferenceUID",
    ):
        assert segmentation[keyword].value == source[keyword].value
    assert segmentation.SeriesInstanceUID != source.SeriesInstanceUID
    assert (segmentation.ContentDate, segmentation.SeriesTime) == ("20260302", "083000")
    assert "secret hospital" not in all_text(segmentation)  # less is less to leak


@pytest.mark.parametrize("directions", [np.eye(3), oblique()], ids=["axial", "oblique"])
def test_the_lesion_lies_where_simpleitk_and_nibabel_see_it(tmp_path: Path, directions: np.ndarray) -> None:
    files, affine = series(tmp_path / "in", directions)
    masks = lesion()[order(len(files))]
    (path,) = write_segmentation(files, masks, [LESION, OTHER], MODEL, tmp_path / "seg.dcm", CREATED)

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "in")))
    image = reader.Execute()
    by_slice = sitk.GetArrayFromImage(image)[:, 0, 0]  # each slice holds its own number
    expected = lesion()[by_slice]
    points = np.array(
        [image.TransformIndexToPhysicalPoint(tuple(map(int, at[::-1]))) for at in np.argwhere(expected == 1)]
    )

    def written(label: int, flip: Any = lambda array: array) -> np.ndarray:
        volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
        nifti = nib.Nifti1Image(flip(volume.array), np.diag([-1, -1, 1, 1]) @ volume.affine)
        voxels = np.argwhere(np.asarray(nifti.dataobj) == label)
        return nib.affines.apply_affine(np.diag([-1, -1, 1, 1]) @ nifti.affine, voxels)

    def same(one: np.ndarray, two: np.ndarray) -> bool:
        if len(one) != len(two):
            return False
        distances = np.linalg.norm(one[:, None] - two[None], axis=2).min(axis=1)
        return bool(distances.max() < 1e-3)

    assert same(written(1), points)
    wrong = {
        "mirrored": lambda array: array[:, :, ::-1],
        "upside down": lambda array: array[:, ::-1],
        "other order": lambda array: array[::-1],
        "transposed": lambda array: np.ascontiguousarray(array[:, :20, :20].swapaxes(1, 2)),
    }
    for name, flip in wrong.items():
        assert not same(written(1, flip), points), name
    # The geometry alone, against the affine the series was made with.
    corner = nib.affines.apply_affine(affine, np.argwhere(lesion() == 2)[:, ::-1])
    assert same(written(2), corner)


@pytest.mark.parametrize("turn", [np.s_[:, ::-1], np.s_[:, :, ::-1]], ids=["upside down", "mirrored"])
def test_a_wrong_mask_is_told_from_the_right_one(tmp_path: Path, turn: Any) -> None:
    """So that the comparison above can fail."""
    files, _ = series(tmp_path / "in")
    masks = lesion()[order(6)]
    (path,) = write_segmentation(files, masks[turn], [LESION, OTHER], MODEL, tmp_path / "seg.dcm")
    assert not np.array_equal(masks_of(path, uids_of(files)), masks)


@pytest.mark.parametrize(
    "name", ["axial", "oblique", "sagittal from the left", "sagittal on its side", "coronal from the back"]
)
def test_masks_of_upright_slices_are_turned_back(tmp_path: Path, name: str) -> None:
    """What `read_image` shows, by the order and orientation that it chose itself."""
    directions = {
        "axial": np.eye(3),
        "oblique": oblique(),
        "sagittal from the left": np.array([[0, 0, -1.0], [-1, 0, 0], [0, 1, 0]]),
        "sagittal on its side": np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]]),
        "coronal from the back": np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]),
    }[name]
    files, _ = series(tmp_path / "in", directions)
    image = read_image(str(tmp_path / "in"))
    # A lesion that is seen in the pixels themselves: mark it in the stored files and read them again.
    stored = lesion()[order(6)]
    for file, mask in zip(files, stored, strict=True):
        dataset = pydicom.dcmread(file)
        dataset.PixelData = (dataset.pixel_array + 100 * mask).astype("<i2").tobytes()
        dataset.save_as(file)
    numbers = image.pixels[:, 0, 0].astype(int)
    marked = read_image(str(tmp_path / "in")).pixels
    upright = (marked // 100).astype(np.uint8)
    by_slice = {int(number): mask for number, mask in zip(numbers, upright, strict=True)}
    in_order_of_files = np.stack([by_slice[int(number)] for number in order(6)])
    np.testing.assert_array_equal(as_stored(files, in_order_of_files), stored)
    # The other way: the files in the order of the slices.
    sorted_files = files_in_order(tmp_path / "in")
    assert [int(pydicom.dcmread(file).InstanceNumber) - 1 for file in sorted_files] == numbers.tolist()
    np.testing.assert_array_equal(as_stored(sorted_files, upright), lesion()[numbers])


@pytest.mark.parametrize("name", REAL)
def test_real_images_carry_a_segmentation(tmp_path: Path, name: str) -> None:
    """CT, MR, ultrasound and radiographs: little and big endian, implicit, JPEG, MONOCHROME1."""
    header = pydicom.dcmread(real(name), stop_before_pixels=True)
    masks = np.zeros((1, header.Rows, header.Columns), np.uint8)
    masks[0, 3 : header.Rows // 3, 5 : header.Columns // 2] = 1
    (path,) = write_segmentation([real(name)], masks, [LESION], MODEL, tmp_path / "seg.dcm", CREATED)
    np.testing.assert_array_equal(masks_of(path, [str(header.SOPInstanceUID)]), masks)
    assert standard_errors(path) == []


def test_a_clip_gives_a_segmentation_for_each_frame(tmp_path: Path) -> None:
    """An ultrasound clip has no frame of reference."""
    source = real("pydicom/examples_ybr_color.dcm")
    header = pydicom.dcmread(source, stop_before_pixels=True)
    frames = int(header.NumberOfFrames)
    masks = np.zeros((frames, header.Rows, header.Columns), np.uint8)
    for frame in range(frames):
        masks[frame, 10 + frame : 40, 20:60] = 1
    paths = write_segmentation([source], masks, [LESION], MODEL, tmp_path / "seg.dcm", CREATED)
    assert [path.name for path in paths] == [f"seg_{frame + 1:04d}.dcm" for frame in range(frames)]
    for frame, path in enumerate(paths):
        segmentation = highdicom.seg.segread(path)
        found = segmentation.get_pixels_by_source_frame(
            source_sop_instance_uid=str(header.SOPInstanceUID),
            source_frame_numbers=[frame + 1],
            combine_segments=True,
            ignore_spatial_locations=True,
        )
        np.testing.assert_array_equal(found[0], masks[frame])
        assert segmentation.SourceImageSequence[0].ReferencedFrameNumber == frame + 1
    assert standard_errors(paths[0]) == []
    assert len({pydicom.dcmread(path).SOPInstanceUID for path in paths}) == frames
    assert len({pydicom.dcmread(path).SeriesInstanceUID for path in paths}) == 1


def test_an_enhanced_image_gives_one_segmentation(tmp_path: Path) -> None:
    """Many frames in one frame of reference."""
    source = real("pydicom-data/eCT_Supplemental.dcm")
    header = pydicom.dcmread(source, stop_before_pixels=True)
    masks = np.zeros((int(header.NumberOfFrames), header.Rows, header.Columns), np.uint8)
    masks[0, 3:9, 4:20] = 1
    (path,) = write_segmentation([source], masks, [LESION], MODEL, tmp_path / "seg.dcm", CREATED)
    found = highdicom.seg.segread(path).get_pixels_by_source_frame(
        source_sop_instance_uid=str(header.SOPInstanceUID),
        source_frame_numbers=range(1, len(masks) + 1),
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(found, masks)
    assert standard_errors(path) == []


def test_an_empty_mask_is_an_answer_too(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    (path,) = write_segmentation(files, np.zeros(SHAPE, np.uint8), [LESION], MODEL, tmp_path / "seg.dcm")
    assert not masks_of(path, uids_of(files)).any()
    assert standard_errors(path) == []


def test_the_same_result_is_the_same_instance(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    masks = lesion()[order(6)]

    def written(masks: np.ndarray = masks, files: list[Path] = files, model: Model = MODEL) -> pydicom.Dataset:
        (path,) = write_segmentation(files, masks, [LESION, OTHER], model, tmp_path / "seg.dcm", CREATED)
        return pydicom.dcmread(path)

    first = written()
    data = (tmp_path / "seg.dcm").read_bytes()
    written()
    assert (tmp_path / "seg.dcm").read_bytes() == data
    turned = written(masks[::-1], files[::-1])
    assert turned.SOPInstanceUID == first.SOPInstanceUID, "the order of the files says nothing"
    other = masks.copy()
    other[0, 0, 0] ^= 1
    assert written(other).SOPInstanceUID != first.SOPInstanceUID
    assert written(other).SeriesInstanceUID == first.SeriesInstanceUID
    retrained = written(model=Model(MODEL.name, MODEL.version, "1e" * 32))
    assert retrained.SeriesInstanceUID != first.SeriesInstanceUID
    assert pydicom.uid.UID(first.SOPInstanceUID).is_valid


DIRTY: dict[str, dict[str, Any]] = {
    "no patient name": {"PatientName": None, "StudyID": None, "AccessionNumber": None, "ReferringPhysicianName": None},
    "empty values": {"PatientName": "", "PatientID": "", "PatientBirthDate": "", "PatientSex": "", "StudyDate": ""},
    "invalid values": {
        "PatientSex": "U",
        "PatientBirthDate": "00000000",
        "StudyTime": "25:61",
        "StudyDate": "1.3.2026",
    },
    "no thickness": {"SliceThickness": None},
    "anonymized without saying how": {"PatientIdentityRemoved": "YES"},
    "MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1"},
}


@pytest.mark.parametrize("name", DIRTY)
def test_dirty_headers_carry_one_all_the_same(tmp_path: Path, name: str) -> None:
    files, _ = series(tmp_path / "in")
    for file in files:
        with pydicom.config.disable_value_validation():
            changed(file, file, **DIRTY[name])
    masks = lesion()[order(6)]
    (path,) = write_segmentation(files, masks, [LESION, OTHER], MODEL, tmp_path / "seg.dcm", CREATED)
    np.testing.assert_array_equal(masks_of(path, uids_of(files)), masks)
    assert standard_errors(path) == []


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jürg"),
        ("ISO_IR 192", "Łuczak^Żaneta"),
        (["ISO 2022 IR 6", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 144", "Люкceмбypг"),
    ],
    ids=["latin", "utf-8", "japanese", "chinese", "cyrillic"],
)
def test_names_in_any_alphabet_survive(tmp_path: Path, charset: Any, name: str) -> None:
    files, _ = series(tmp_path / "in", SpecificCharacterSet=charset, PatientName=name)
    label = Segment("Läsion")
    (path,) = write_segmentation(files, lesion()[order(6)], [label, OTHER], MODEL, tmp_path / "seg.dcm", CREATED)
    dataset = pydicom.dcmread(path)
    assert str(dataset.PatientName) == str(pydicom.dcmread(files[0]).PatientName) == name
    assert dataset.SegmentSequence[0].SegmentLabel == "Läsion"
    assert standard_errors(path) == []


def test_implicit_and_compressed_series(tmp_path: Path) -> None:
    """The pixels are not touched, so no decoder is needed."""
    files, _ = series(tmp_path / "in")
    for number, file in enumerate(files):
        dataset = pydicom.dcmread(file)
        if number % 2:
            dataset.compress(pydicom.uid.RLELossless)
        else:
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        dataset.save_as(file)
    masks = lesion()[order(6)]
    (path,) = write_segmentation(files, masks, [LESION, OTHER], MODEL, tmp_path / "seg.dcm")
    np.testing.assert_array_equal(masks_of(path, uids_of(files)), masks)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no frame of reference": ({"FrameOfReferenceUID": None}, "no valid FrameOfReferenceUID.*NIfTI"),
    "no position": ({"ImagePositionPatient": None}, "no valid ImagePositionPatient.*NIfTI"),
    "broken orientation": ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "no valid ImageOrientationPatient"),
    "no instance": ({"SOPInstanceUID": None}, "no valid SOPInstanceUID"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_carry_one_is_refused_by_name(tmp_path: Path, name: str) -> None:
    elements, message = REFUSED[name]
    files, _ = series(tmp_path / "in")
    for file in files:
        changed(file, file, **elements)
    with pytest.raises(DicomOutputError, match=message) as caught:
        write_segmentation(files, lesion()[order(6)], [LESION, OTHER], MODEL, tmp_path / "seg.dcm")
    assert str(files[0]) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "seg.dcm").exists()


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Rows": 10, "PixelData": bytes(10 * 27 * 2)}, "10 x 27 pixels"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "orientation.*localizer"),
        ({"FrameOfReferenceUID": "1.2.3.4"}, "frame of reference is not that"),
        ({"FrameOfReferenceUID": None}, "only some files"),
        ({"SeriesInstanceUID": "1.2.3.5"}, "SeriesInstanceUID is not that"),
        ({"PatientID": "somebody else"}, "PatientID is not that"),
    ],
)
def test_a_file_that_differs_is_named(tmp_path: Path, elements: dict[str, Any], message: str) -> None:
    files, _ = series(tmp_path / "in")
    changed(files[3], files[3], **elements)
    with pytest.raises(DicomOutputError, match=message) as caught:
        write_segmentation(files, lesion()[order(6)], [LESION, OTHER], MODEL, tmp_path / "seg.dcm")
    assert str(files[3]) in str(caught.value)
    assert "somebody" not in str(caught.value)


def test_two_slices_at_one_place_are_refused(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    place = pydicom.dcmread(files[1]).ImagePositionPatient
    changed(files[4], files[4], ImagePositionPatient=place)
    with pytest.raises(DicomOutputError, match=r"004\.dcm: it lies at the place of 001\.dcm"):
        write_segmentation(files, lesion()[order(6)], [LESION, OTHER], MODEL, tmp_path / "seg.dcm")


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (lesion().astype(np.int64), "int64"),
        (lesion()[:4], r"\(4, 21, 27\)"),
        (lesion().swapaxes(1, 2), r"\(6, 27, 21\)"),
        (lesion() + 1, "labels up to 3, but 2 segments"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path: Path, masks: np.ndarray, message: str) -> None:
    files, _ = series(tmp_path / "in")
    with pytest.raises(DicomOutputError, match=message):
        write_segmentation(files, masks, [LESION, OTHER], MODEL, tmp_path / "seg.dcm")


def test_other_files_are_refused(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    with pytest.raises((DicomOutputError, UnreadableImageError), match=r"a\.png"):
        write_segmentation([picture], np.zeros((1, 4, 4), np.uint8), [LESION], MODEL, tmp_path / "seg.dcm")
    with pytest.raises(DicomOutputError, match="no source file"):
        write_segmentation([], np.zeros((0, 4, 4), np.uint8), [LESION], MODEL, tmp_path / "seg.dcm")


@pytest.mark.long
def test_no_crash_on_any_file_of_the_wheels(tmp_path: Path) -> None:
    """Written, or refused in one line."""
    from pydicom_files import pydicom_files

    written, refused = 0, {}
    for name, file in pydicom_files().items():
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            frames, shape = int(header.get("NumberOfFrames") or 1), (int(header.Rows), int(header.Columns))
        except Exception:
            continue
        if frames > 3 or shape[0] > 600:
            continue
        try:
            paths = write_segmentation(
                [file], np.ones((frames, *shape), np.uint8), [LESION], MODEL, tmp_path / "seg.dcm", CREATED
            )
        except RadImageNetError as error:
            refused[name] = str(error)
            continue
        written += len(paths)
    assert written > 80
    assert not any("\n" in error for error in refused.values())


def test_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, radimagenet_monai.integrations.dicom_output as room; room.write_segmentation; room.write_report;"
        "room.fetch_series; print(sorted({'torch', 'monai', 'highdicom', 'dicomweb_client'} & set(sys.modules)))"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
