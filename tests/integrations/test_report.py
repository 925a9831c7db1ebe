"""DICOM SR against highdicom's reader, dcmtk's dsrdump and dicom3tools' dciodvfy."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from clinic_images import REAL, changed, program, real, series, standard_errors

from radimagenet_monai.catalog.codes import BREAST, MALIGNANT, finding_code
from radimagenet_monai.catalog.tasks import TASKS
from radimagenet_monai.core.errors import DicomOutputError
from radimagenet_monai.integrations.dicom_output import (
    Finding,
    Model,
    Segment,
    write_report,
    write_secondary_capture,
    write_segmentation,
)

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed (extra: dicom)")
pytestmark = pytest.mark.slow

MODEL = Model("breast_mass_us_classification", "0.2.0", "0f" * 32)
CREATED = datetime.datetime(2026, 3, 2, 8, 30)
MALIGNANCY = Finding("malignant", MALIGNANT, 0.7312345, 0.4625, "positive", BREAST)


def groups_of(path: Path) -> list[Any]:
    """Measurement groups that highdicom reads."""
    report = highdicom.sr.srread(path)
    return report.content.get_image_measurement_groups()


def numbers_of(group: Any) -> dict[str, float]:
    return {measurement.name.meaning: measurement.value for measurement in group.get_measurements()}


def test_highdicom_reads_what_was_found(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    findings = [
        MALIGNANCY,
        Finding(
            "cyst",
            finding_code(TASKS["breast_mass_us_classification"].codes, "cyst").code,
            0.2,
            0.5,
            "negative",
            images=(1, 3),
        ),
    ]
    path = write_report(files, findings, MODEL, tmp_path / "sr.dcm", CREATED)
    one, two = groups_of(path)
    assert numbers_of(one) == {"Probability": 0.7312345, "Threshold Value": 0.4625}
    assert one.finding_type == highdicom.sr.CodedConcept("21594007", "SCT", "Malignant")
    assert one.finding_sites[0].value == highdicom.sr.CodedConcept("76752008", "SCT", "Breast")
    assert [evaluation.value.meaning for evaluation in one.get_qualitative_evaluations()] == ["Positive"]
    assert [evaluation.value.meaning for evaluation in two.get_qualitative_evaluations()] == ["Negative"]
    assert two.finding_type.scheme_designator == "99RADIMAGENET"
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in files]
    assert [image.referenced_sop_instance_uid for image in one.source_images] == uids
    assert [image.referenced_sop_instance_uid for image in two.source_images] == [uids[1], uids[3]]


def test_it_is_unverified_and_for_research(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    path = write_report(files, [MALIGNANCY], MODEL, tmp_path / "sr.dcm", CREATED)
    report = pydicom.dcmread(path)
    assert (report.VerificationFlag, report.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    assert report.ContentQualification == "RESEARCH"
    assert report.SOPClassUID == pydicom.uid.ComprehensiveSRStorage
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    source = pydicom.dcmread(files[0])
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyID", "AccessionNumber"):
        assert report[keyword].value == source[keyword].value


def test_dcmtk_prints_it(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    path = write_report(files, [MALIGNANCY], MODEL, tmp_path / "sr.dcm", CREATED)
    done = subprocess.run([program("dsrdump"), "+Pl", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == ""
    for text in (
        'NUM:(,,"Probability")="0.7312345"',
        'NUM:(,,"Threshold Value")="0.4625"',
        '(10828004,SCT,"Positive")',
        f'"model_sha256={MODEL.sha256}"',
        '"Algorithm Version")="0.2.0"',
        "Research use only, unverified",
        "UNVERIFIED",
    ):
        assert text in done.stdout, text


@pytest.mark.parametrize("name", REAL)
def test_reports_on_real_images_follow_the_standard(tmp_path: Path, name: str) -> None:
    path = write_report([real(name)], [MALIGNANCY], MODEL, tmp_path / "sr.dcm", CREATED)
    assert standard_errors(path) == []
    assert subprocess.run([program("dsrdump"), path], capture_output=True, check=False).returncode == 0


def test_frames_of_a_clip_are_referred_to_by_number(tmp_path: Path) -> None:
    clip = real("pydicom/examples_ybr_color.dcm")
    finding = Finding("malignant", MALIGNANT, 0.9, 0.5, "positive", BREAST, frames=(0, 4))
    path = write_report([clip], [finding], MODEL, tmp_path / "sr.dcm", CREATED)
    assert groups_of(path)[0].source_images[0].referenced_frame_numbers == [1, 5]
    assert standard_errors(path) == []


def test_a_class_of_the_largest_probability_has_no_threshold_and_an_abstention_no_decision(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    findings = [
        Finding("Läsion", finding_code(TASKS["covid19_ct_classification"].codes, "Läsion").code, 0.6, None, "positive"),
        Finding("malignant", MALIGNANT, 0.5, 0.5, "abstained"),
    ]
    path = write_report(files, findings, MODEL, tmp_path / "sr.dcm", CREATED)
    one, two = groups_of(path)
    assert set(numbers_of(one)) == {"Probability"}
    assert one.finding_type.meaning == "Läsion"
    assert [evaluation.value.meaning for evaluation in two.get_qualitative_evaluations()] == ["Indeterminate"]
    assert standard_errors(path) == []
    assert subprocess.run([program("dsrdump"), path], capture_output=True, check=False).returncode == 0


def test_the_same_result_is_the_same_instance(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    path = write_report(files, [MALIGNANCY], MODEL, tmp_path / "sr.dcm", CREATED)
    data, first = path.read_bytes(), pydicom.dcmread(path)
    write_report(files, [MALIGNANCY], MODEL, path, CREATED)
    assert path.read_bytes() == data
    later = pydicom.dcmread(write_report(files[::-1], [MALIGNANCY], MODEL, path))
    assert later.SOPInstanceUID == first.SOPInstanceUID
    other = Finding("malignant", MALIGNANT, 0.7312345, 0.6, "positive", BREAST)
    changed_report = pydicom.dcmread(write_report(files, [other], MODEL, path))
    assert changed_report.SOPInstanceUID != first.SOPInstanceUID
    assert changed_report.SeriesInstanceUID == first.SeriesInstanceUID


def test_images_without_a_place_can_be_reported_on(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    for file in files:
        changed(file, file, FrameOfReferenceUID=None, PatientName=None, StudyDate="", StudyID=None)
    path = write_report(files, [MALIGNANCY], MODEL, tmp_path / "sr.dcm")
    assert standard_errors(path) == []


def test_contradictions_are_refused(tmp_path: Path) -> None:
    files, _ = series(tmp_path / "in")
    with pytest.raises(DicomOutputError, match=r"the decision is negative, but the probability is 0\.8"):
        Finding("malignant", MALIGNANT, 0.8, 0.5, "negative")
    with pytest.raises(DicomOutputError, match="not between 0 and 1"):
        Finding("malignant", MALIGNANT, float("nan"), 0.5, "negative")
    with pytest.raises(DicomOutputError, match="no finding"):
        write_report(files, [], MODEL, tmp_path / "sr.dcm")
    with pytest.raises(DicomOutputError, match=r"refers to images \[9\]; there are 6"):
        write_report(files, [Finding("m", MALIGNANT, 0.8, 0.5, "positive", images=(9,))], MODEL, tmp_path / "sr.dcm")
    with pytest.raises(DicomOutputError, match=r"refers to frames \[1\]"):
        write_report(files, [Finding("m", MALIGNANT, 0.8, 0.5, "positive", frames=(1,))], MODEL, tmp_path / "sr.dcm")
    with pytest.raises(DicomOutputError, match="not the SHA-256"):
        Model("m", "1", "abc")
    assert not (tmp_path / "sr.dcm").exists()


@pytest.mark.parametrize("write", ["report", "capture", "segmentation"])
def test_retired_classes_are_refused_with_the_way_out(tmp_path: Path, write: str) -> None:
    """An ultrasound image of the 1990s."""
    old = real("pydicom-data/color-pl.dcm")
    shape = tuple(pydicom.dcmread(old, stop_before_pixels=True)[keyword].value for keyword in ("Rows", "Columns"))
    writers: dict[str, Callable[[], object]] = {
        "report": lambda: write_report([old], [MALIGNANCY], MODEL, tmp_path / "x.dcm"),
        "capture": lambda: write_secondary_capture(
            old, np.zeros((4, 4, 3), np.uint8), MODEL, tmp_path / "x.dcm", frame=None
        ),
        "segmentation": lambda: write_segmentation(
            [old], np.zeros((1, *shape), np.uint8), [Segment("lesion")], MODEL, tmp_path / "x.dcm"
        ),
    }
    with pytest.raises(DicomOutputError, match=r"color-pl\.dcm.*'Ultrasound Image Storage', which is retired.*NIfTI"):
        writers[write]()
