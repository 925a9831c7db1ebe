"""Which elements of a source an object carries, the same for SEG, SR and SC."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from clinic_images import SHAPE, all_text, changed, series, standard_errors

from radimagenet_monai.catalog.codes import MALIGNANT
from radimagenet_monai.integrations.dicom_output import (
    Finding,
    Model,
    Segment,
    write_report,
    write_secondary_capture,
    write_segmentation,
)
from radimagenet_monai.integrations.dicom_output.identifiers import derived_uid

pytest.importorskip("highdicom", reason="highdicom is not installed (extra: dicom)")
pytestmark = pytest.mark.slow

MODEL = Model("a_bundle", "0.2.0", "0f" * 32)
CREATED = datetime.datetime(2026, 3, 2, 8, 30)


def seg(files: list[Path], out: Path) -> Path:
    return write_segmentation(files, np.ones(SHAPE, np.uint8), [Segment("lesion")], MODEL, out, CREATED)[0]


def sr(files: list[Path], out: Path) -> Path:
    return write_report(files, [Finding("malignant", MALIGNANT, 0.75, 0.5, "positive")], MODEL, out, CREATED)


def sc(files: list[Path], out: Path) -> Path:
    return write_secondary_capture(files[0], np.zeros((9, 8, 3), np.uint8), MODEL, out, frame=None, created=CREATED)


@pytest.mark.parametrize("write", [seg, sr, sc])
def test_identity_and_deidentification_are_carried_and_nothing_else(
    write: Callable[[list[Path], Path], Path], tmp_path: Path
) -> None:
    carried: dict[str, Any] = {
        "IssuerOfPatientID": "hospital A",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethod": "by rule 7",
        "LongitudinalTemporalInformationModified": "MODIFIED",
        "StudyDescription": "CT of the neck",
    }
    left = {
        "InstitutionName": "private-clinic",
        "StationName": "private-station",
        "OperatorsName": "Private^Operator",
        "ProtocolName": "private-protocol",
        "PatientAddress": "private-street 1",
        "PatientComments": "private-comment",
        "AdditionalPatientHistory": "private-history",
        "OtherPatientNames": "Private^Maiden",
    }
    files, _ = series(tmp_path / "in", **carried, **left)
    for file in files:
        dataset = pydicom.dcmread(file)
        block = dataset.private_block(0x0011, "PRIVATE", create=True)
        block.add_new(0x01, "LO", "private-element")
        dataset.save_as(file)
    path = write(files, tmp_path / "out.dcm")
    written, source = pydicom.dcmread(path), pydicom.dcmread(files[0])
    for keyword in (
        *carried,
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
    ):
        assert written[keyword].value == source[keyword].value, keyword
    assert "private" not in all_text(written).lower()
    assert standard_errors(path) == []


@pytest.mark.parametrize("write", [seg, sr, sc])
def test_a_warning_of_a_library_is_not_shown(
    write: Callable[[list[Path], Path], Path], tmp_path: Path, recwarn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """They quote header values."""
    files, _ = series(tmp_path / "in", PatientName="SingleComponent", PatientSex="F")
    with pydicom.config.disable_value_validation():
        for file in files:
            changed(file, file, StudyTime="not a time", PatientBirthDate="about 1950")
    recwarn.clear()
    write(files, tmp_path / "out.dcm")
    assert not recwarn.list
    assert not caplog.records
    written = pydicom.dcmread(tmp_path / "out.dcm")
    assert (written.StudyTime, written.PatientBirthDate, written.PatientName) == ("", "", "SingleComponent")


def test_identifiers_follow_from_their_parts() -> None:
    parts = [("a", "b"), ("ab",), ("a", "bc"), ("ab", "c"), (["a", "b"],), (["a"], "b"), ("", "a"), ("a", "")]
    uids = [derived_uid(*part) for part in parts]
    assert len(set(uids)) == len(parts)
    assert all(pydicom.uid.UID(uid).is_valid and len(uid) <= 44 for uid in uids)
    assert uids == [derived_uid(*part) for part in parts]
    # Fixed for good: another value would give every stored result a second series.
    assert derived_uid("a", "b") == "2.25.78940847256512892178569804778758137450"
