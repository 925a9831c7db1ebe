"""DICOM objects of a prediction: read back by highdicom, they say what the tables say."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pydicom
import pytest
from clinic_images import oblique, series, standard_errors
from monai.bundle import create_workflow
from shallow_densenet import shallow_densenet
from small_bundles import Bright, Mean, untrained, window

from radimagenet_monai import predict
from radimagenet_monai.core.errors import ConfigurationError, UsageError
from radimagenet_monai.core.file_hash import file_digest
from radimagenet_monai.integrations.prediction.summary import summary_lines

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed (extra: dicom)")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _shallow() -> Any:
    with shallow_densenet():
        yield


def ct(folder: Path, directions: np.ndarray) -> list[Path]:
    """A CT series with an asymmetric lesion on three of its slices."""
    files, _ = series(folder, directions)
    for file in files:
        dataset = pydicom.dcmread(file)
        number = int(dataset.InstanceNumber) - 1
        pixels = np.full((dataset.Rows, dataset.Columns), -1000, np.int16)
        if number in (1, 2, 3):
            pixels[2:9, 5:12] = 900
            pixels[2:4, 12 : 16 + number] = 900
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(file)
    return files


@pytest.mark.parametrize("directions", [np.eye(3), oblique()], ids=["axial", "oblique"])
def test_the_segmentation_is_the_mask(directions: np.ndarray, tmp_path: Path) -> None:
    bundle = window(untrained("breast_mass_us_segmentation", tmp_path, Bright(), image_size=64))
    files = ct(tmp_path / "series", directions)
    (prediction,) = predict(bundle, tmp_path / "series", tmp_path / "out", dicom=["seg", "sc"])
    assert prediction.row["dicom"] is None
    stored = highdicom.seg.segread(tmp_path / "out" / "dicom" / "000001_seg.dcm")
    uids = [str(pydicom.dcmread(file).SOPInstanceUID) for file in files]
    masks = stored.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    assert {
        str(item.ReferencedSOPInstanceUID) for item in stored.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    } == set(uids)

    # The same voxels as the NIfTI, by their places in the world.
    image = nib.load(tmp_path / "out" / "masks" / "000001.nii.gz")
    voxels = np.asarray(image.dataobj)
    assert voxels.sum() == masks.sum() == prediction.row["lesion_voxels"] > 100
    found = []
    for file, mask in zip(files, masks, strict=True):
        header = pydicom.dcmread(file)
        orientation = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        rows, columns = np.nonzero(mask)
        across, down = orientation[0] * header.PixelSpacing[1], orientation[1] * header.PixelSpacing[0]
        found.append(np.array(header.ImagePositionPatient, float) + np.outer(columns, across) + np.outer(rows, down))
    world = np.concatenate(found) * [-1, -1, 1]
    places = np.linalg.solve(image.affine, np.c_[world, np.ones(len(world))].T)[:3].T
    np.testing.assert_allclose(places, places.round(), atol=1e-2)
    assert voxels[tuple(places.round().astype(int).T)].all()
    capture = pydicom.dcmread(tmp_path / "out" / "dicom" / "000001_sc.dcm")
    assert capture.StudyInstanceUID == pydicom.dcmread(files[0]).StudyInstanceUID


def zipfile_of(name: Path, *files: Path) -> Path:
    """A ZIP archive with the files in a folder of it."""
    folder = name.parent / f"{name.name}_files"
    (folder / "inner").mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder / "inner")
    return Path(shutil.make_archive(str(name), "zip", folder))


def enhanced(files: list[Path], path: Path) -> Path:
    """The slices of a series, in the order of their files, as frames of one enhanced CT."""
    slices = [pydicom.dcmread(file) for file in files]
    dataset = pydicom.dcmread(files[0])
    measures, orientation, shared = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = dataset.PixelSpacing, dataset.SliceThickness
    orientation.ImageOrientationPatient = dataset.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = []
    for one in slices:
        place, group = pydicom.Dataset(), pydicom.Dataset()
        place.ImagePositionPatient = one.ImagePositionPatient
        group.PlanePositionSequence = [place]
        dataset.PerFrameFunctionalGroupsSequence.append(group)
    for keyword in ("PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedCTImageStorage
    dataset.NumberOfFrames = len(slices)
    dataset.PixelData = b"".join(one.PixelData for one in slices)
    path.parent.mkdir()
    dataset.save_as(path)
    return path


def test_an_archive_or_an_enhanced_object_gives_what_the_series_gives(tmp_path: Path) -> None:
    bundle = window(untrained("breast_mass_us_segmentation", tmp_path, Bright(), image_size=64))
    files = ct(tmp_path / "series", oblique())
    frames = enhanced(files, tmp_path / "enhanced" / "a.dcm")
    uids = [str(pydicom.dcmread(file).SOPInstanceUID) for file in files]
    archives = [zipfile_of(tmp_path / "a", *files), zipfile_of(tmp_path / "b", frames)]
    given = [tmp_path / "series", archives[0], frames, archives[1]]
    predictions = predict(bundle, given, tmp_path / "out", dicom=["seg", "sc"], report=False)
    assert [prediction.row["dicom"] for prediction in predictions] == [None] * 4
    found = []
    for number in range(1, 5):
        stored = highdicom.seg.segread(tmp_path / "out" / "dicom" / f"{number:06d}_seg.dcm")
        how = {"combine_segments": True, "assert_missing_frames_are_empty": True}
        if number < 3:
            (series_item,) = stored.ReferencedSeriesSequence
            referenced = {str(item.ReferencedSOPInstanceUID) for item in series_item.ReferencedInstanceSequence}
            assert referenced == set(uids)
            found.append(stored.get_pixels_by_source_instance(uids, **how))
        else:
            uid = str(pydicom.dcmread(frames).SOPInstanceUID)
            found.append(stored.get_pixels_by_source_frame(uid, range(1, len(files) + 1), **how))
    assert found[0].sum() > 100
    for masks in found[1:]:
        np.testing.assert_array_equal(masks, found[0])
    captures = [pydicom.dcmread(path) for path in sorted((tmp_path / "out" / "dicom").glob("*_sc.dcm"))]
    assert captures[0].SOPInstanceUID == captures[1].SOPInstanceUID, "of the same slice"
    assert captures[2].SOPInstanceUID == captures[3].SOPInstanceUID
    settings = {"plane": "coronal"}
    ct(tmp_path / "upright", np.eye(3))
    upright = zipfile_of(tmp_path / "c", *sorted((tmp_path / "upright").iterdir()))
    (prediction,) = predict(bundle, upright, tmp_path / "other", dicom=["seg"], settings=settings)
    assert prediction.row["dicom"] == "its coronal slices are not those of its file; leave --plane out"


def test_the_report_has_the_probability(tmp_path: Path) -> None:
    bundle = untrained("acl_tear_mri_classification", tmp_path, Mean(), threshold=0.5)
    ct(tmp_path / "series", np.eye(3))
    settings = {"allow_modality_mismatch": True, "slices": "all"}
    predict(bundle, tmp_path / "series", tmp_path / "out", dicom=["sr", "sc"], settings=settings)
    report = highdicom.sr.srread(tmp_path / "out" / "dicom" / "000001_sr.dcm")
    (row,) = pd.read_csv(tmp_path / "out" / "predictions.csv").to_dict("records")
    text = str(report)
    assert f"{row['probability_tear']:.4f}"[:5] in text
    assert file_digest(bundle / "models" / "model.pt") in text
    assert report.VerificationFlag == "UNVERIFIED"
    with pytest.raises(ConfigurationError, match="is a classifier"):
        predict(bundle, tmp_path / "series", tmp_path / "no", dicom=["seg"])
    with pytest.raises(UsageError, match="expected seg, sr, sc"):
        predict(bundle, tmp_path / "series", tmp_path / "no", dicom=["rtstruct"])
    with pytest.raises(UsageError, match="say which by --dicom"):
        predict(bundle, tmp_path / "series", tmp_path / "no", stow="http://localhost")
    with pytest.raises(UsageError, match="given together"):
        predict(bundle, [], tmp_path / "no", source="http://localhost")
    assert not (tmp_path / "no").exists()


def test_objects_keep_to_the_standard(tmp_path: Path) -> None:
    segmenter = window(untrained("breast_mass_us_segmentation", tmp_path, Bright(), image_size=64))
    classifier = untrained("acl_tear_mri_classification", tmp_path, Mean(), threshold=0.5)
    ct(tmp_path / "series", oblique())
    predict(segmenter, tmp_path / "series", tmp_path / "a", dicom=["seg", "sc"])
    settings = {"allow_modality_mismatch": True}
    predict(classifier, tmp_path / "series", tmp_path / "b", dicom=["sr", "sc"], settings=settings)
    written = sorted([*tmp_path.glob("a/dicom/*.dcm"), *tmp_path.glob("b/dicom/*.dcm")])
    assert len(written) == 4
    for path in written:
        assert standard_errors(path) == [], path


def test_what_is_not_dicom_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from test_predict import AFFINES, volume
    from written_series import write_nifti

    bundle = window(untrained("breast_mass_us_segmentation", tmp_path, Bright(), image_size=64))
    image = write_nifti(tmp_path / "a.nii.gz", volume(), AFFINES["RAS"])
    zipped = zipfile_of(image.parent / "volume", image)
    for given in (image, zipped):
        with pytest.raises(ConfigurationError, match="--dicom seg was given, and none of 1 images is DICOM"):
            predict(bundle, given, tmp_path / "out", dicom=["seg"])
    assert not (tmp_path / "out").exists()
    ct(tmp_path / "series", np.eye(3))
    with caplog.at_level(logging.WARNING):
        volume_row, series_row = (
            prediction.row
            for prediction in predict(bundle, [image, tmp_path / "series"], tmp_path / "out", dicom=["seg"])
        )
    assert "1 of 2 studies are not DICOM and get no DICOM object" in caplog.text
    assert volume_row["dicom"] == "its source is not DICOM"
    assert volume_row["problem"] is series_row["dicom"] is None


def test_one_answer_for_the_three_series_of_an_exam(tmp_path: Path) -> None:
    """Those of a knee in three planes; as `evaluate` does for records whose exam is the study."""
    bundle = untrained("acl_tear_mri_classification", tmp_path, Mean(), threshold=0.5)
    rng = np.random.default_rng(0)
    rows, number = [], 0
    planes = {
        "axial": np.eye(3),
        "sagittal": np.eye(3)[:, [1, 2, 0]] * [1, -1, 1],
        "coronal": np.eye(3)[:, [0, 2, 1]] * [1, -1, 1],
    }
    for exam in range(2):
        study = f"1.2.826.{exam + 1}"
        for plane, directions in planes.items():
            number += 1
            folder = tmp_path / "images" / f"exam{exam}" / plane
            files, _ = series(folder, directions, StudyInstanceUID=study, Modality="MR")
            for file in files:
                dataset = pydicom.dcmread(file)
                dataset.PixelData = (
                    rng.integers(0, 900 + 90 * number, (dataset.Rows, dataset.Columns)).astype(np.int16).tobytes()
                )
                dataset.Modality, dataset.SOPClassUID = "MR", pydicom.uid.MRImageStorage
                dataset.save_as(file)
            rows += [
                {
                    "image": str(file.relative_to(tmp_path / "images")),
                    "frame": 0,
                    "label": ("no tear", "tear")[exam],
                    "patient_id": f"p{exam}",
                    "exam": f"e{exam}",
                    "split": "test",
                    "plane": plane,
                }
                for file in files
            ]
    pd.DataFrame(rows).to_csv(tmp_path / "records.csv", index=False)
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "evaluate.json"),
        workflow_type="inference",
        bundle_root=str(bundle),
        dataset_dir=str(tmp_path / "images"),
        datalist=str(tmp_path / "records.csv"),
        num_workers=0,
        plane="acquired",
    )
    workflow.run()
    exams = pd.read_csv(next(bundle.glob("output/**/exams.csv")))
    settings = {"slices": "all"}
    predictions = predict(bundle, tmp_path / "images", tmp_path / "out", settings=settings, dicom=["sr"])
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert len(table) == len(exams) == 2
    assert table["slices_used"].tolist() == exams["slices"].tolist() == [18, 18]
    np.testing.assert_allclose(table["probability_tear"], exams["probability_tear"], atol=1e-6)
    assert table["decision"].tolist() == exams["decision"].tolist()
    assert len(list((tmp_path / "out" / "dicom").iterdir())) == 2
    said = summary_lines(tmp_path / "out", predictions, "files")
    assert said[1] == "  one answer for all series of a DICOM study (--group series: one for each)"
    predict(bundle, tmp_path / "images", tmp_path / "single", group="series", settings=settings)
    assert len(pd.read_csv(tmp_path / "single" / "predictions.csv")) == 6
    folders = sorted((tmp_path / "images" / "exam0").iterdir())
    archives = [zipfile_of(tmp_path / folder.name, *folder.iterdir()) for folder in folders]
    (zipped,) = predict(bundle, archives, settings=settings)
    assert zipped.row["slices_used"] == 18
    assert zipped.row["probability_tear"] == pytest.approx(exams["probability_tear"][0], abs=1e-6)
    # A model whose slices are not combined has no exams.
    assert len(predict(bundle, tmp_path / "images", settings={**settings, "aggregate": "none"})) == 6
