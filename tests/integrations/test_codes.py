"""The catalogue's codes against the dictionary that pydicom makes of DICOM PS3.16."""

from __future__ import annotations

import pytest
from pydicom.sr._concepts_dict import concepts

from radimagenet_monai.catalog import codes
from radimagenet_monai.catalog.codes import PRIVATE_SCHEME, Code, TaskCodes, finding_code, private_code, segment_code
from radimagenet_monai.catalog.tasks import TASKS, Kind
from radimagenet_monai.integrations.dicom_output import report


def stated() -> list[Code]:
    """All codes of the catalogue and of the report."""
    found = [value for module in (codes, report) for value in vars(module).values() if isinstance(value, Code)]
    found += [*report._VALUES.values(), *report._PROCEDURES.values()]
    for task in TASKS.values():
        found += [code for finding in task.codes.findings.values() for code in (finding.code, finding.site) if code]
        found += [
            c for segment in task.codes.segments.values() for c in (segment.category, segment.type, segment.region)
        ]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("code", stated(), ids=lambda code: code.meaning)
def test_codes_stand_in_dicoms_tables(code: Code) -> None:
    assert len(code.value) <= 16
    assert 0 < len(code.meaning) <= 64
    if code.scheme == PRIVATE_SCHEME:
        known = {meaning for scheme in concepts.values() for entry in scheme.values() for meaning, _ in entry.values()}
        assert code.meaning not in known, "there is a standard code"
        return
    meanings = {
        meaning.removesuffix(" (disorder)")
        for entry in concepts[code.scheme].values()
        for value, (meaning, _) in entry.items()
        if value == code.value
    }
    assert code.meaning in meanings


def test_every_downstream_task_has_codes() -> None:
    for task in TASKS.values():
        if task.kind is Kind.PRETRAINING:
            assert task.codes == TaskCodes()
        elif task.kind is Kind.SEGMENTATION:
            assert set(task.codes.segments) == set(task.classes[1:])
        else:
            wanted = set(task.findings or task.classes[1:])
            assert wanted <= set(task.codes.findings)
            assert set(task.codes.findings) <= {*task.findings, *task.classes}


def test_classes_of_the_users_own_get_private_codes() -> None:
    known = TASKS["breast_mass_us_classification"].codes
    assert finding_code(known, "malignant") == codes.FindingCode(codes.MALIGNANT, codes.BREAST)
    assert finding_code(known, "fibroadenoma").code == Code("fibroadenoma", PRIVATE_SCHEME, "fibroadenoma")
    assert segment_code(TaskCodes(), "cyst") == codes.SegmentCode(codes.ABNORMAL_STRUCTURE, codes.LESION)
    names = ["a" * 80, "Läsion", "Läsionen", "??", "normal", "intraparenchymal hemorrhage", "a\\b"]
    made = [private_code(name) for name in names]
    assert len({code.value for code in made}) == len(names)
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 and "\\" not in code.meaning for code in made)
    assert made == [private_code(name) for name in names]
