"""Standard codes of what the tasks find: for DICOM segmentations and structured reports.

Every SNOMED CT (``SCT``) and DICOM (``DCM``) code stands in a context group (CID) of DICOM PS3.16, named beside it, or
in the terminology annex from which pydicom's ``pydicom.sr.codedict`` is made; a test compares value and meaning with
that dictionary. A finding for which those tables have no code gets one of this project's own scheme,
``99RADIMAGENET``: DICOM reserves designators that begin with 99 for private schemes (PS3.16, chapter 8).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

PRIVATE_SCHEME = "99RADIMAGENET"
_LONGEST_VALUE = 16  # of the value representation SH
_LONGEST_MEANING = 64  # of LO


@dataclass(frozen=True)
class Code:
    """A coded concept of DICOM: code value, coding scheme designator and code meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True)
class FindingCode:
    """What an output of a classifier stands for, and where in the body it was looked for, if known."""

    code: Code
    site: Code | None = None


@dataclass(frozen=True)
class SegmentCode:
    """Segmented property category and type of a mask's label (PS3.3 C.8.20.2), and the anatomic region,
    if known."""

    category: Code
    type: Code
    region: Code | None = None


@dataclass(frozen=True)
class TaskCodes:
    """Codes of a task by the name of the output or label; an output that only says "no finding" has none."""

    findings: Mapping[str, FindingCode] = field(default_factory=dict)
    segments: Mapping[str, SegmentCode] = field(default_factory=dict)


def private_code(meaning: str) -> Code:
    """A code of the project's own scheme. Its value depends on ``meaning`` alone, so that equal findings match.

    Parameters
    ----------
    meaning
        The finding in words, for example a class name of a model trained on the user's own data.
    """
    text = " ".join(meaning.replace("\\", "/").split())[:_LONGEST_MEANING]
    word = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if len(word) > _LONGEST_VALUE or not word.replace("-", "") or not text.isascii():
        word = hashlib.sha256(text.encode()).hexdigest()[:_LONGEST_VALUE]
    return Code(word, PRIVATE_SCHEME, text)


# Anatomic regions: CID 4.
THYROID = Code("69748006", "SCT", "Thyroid")
BREAST = Code("76752008", "SCT", "Breast")
KNEE = Code("72696002", "SCT", "Knee")
LUNG = Code("39607008", "SCT", "Lung")
HEAD = Code("69536005", "SCT", "Head")
BRAIN = Code("12738006", "SCT", "Brain")
# Anatomic structures: CID 7151.
MENISCUS = Code("74135004", "SCT", "Meniscus")
BRAIN_VENTRICLE = Code("35764002", "SCT", "Brain ventricle")
SUBARACHNOID_SPACE = Code("35951006", "SCT", "Subarachnoid space")
# Findings.
MALIGNANT = Code("21594007", "SCT", "Malignant")  # CID 6063
OPACITY = Code("112001", "DCM", "Opacity")  # CID 6102
INTRACRANIAL_HEMORRHAGE = Code("1386000", "SCT", "Intracranial hemorrhage")
# Not in DICOM's tables: subtypes of hemorrhage, tears, the pneumonias. A hemorrhage "of the subarachnoid space", which
# the tables could express, would look like any other hemorrhage to whoever reads the finding without its site.
ACL_TEAR = private_code("Anterior cruciate ligament tear")
MENISCAL_TEAR = private_code("Meniscal tear")
COVID19 = private_code("COVID-19")
NCP = private_code("SARS-CoV-2 pneumonia")
COMMON_PNEUMONIA = private_code("Common pneumonia")
# Segmented property categories, CID 7150, and types, CID 7159.
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NODULE = Code("27925004", "SCT", "Nodule")
MASS = Code("4147007", "SCT", "Mass")
LESION = Code("52988006", "SCT", "Lesion")

TASK_CODES: Mapping[str, TaskCodes] = {
    "thyroid_nodule_us_classification": TaskCodes({"malignant": FindingCode(MALIGNANT, THYROID)}),
    "breast_mass_us_classification": TaskCodes({"malignant": FindingCode(MALIGNANT, BREAST)}),
    "acl_tear_mri_classification": TaskCodes({"tear": FindingCode(ACL_TEAR, KNEE)}),
    "meniscal_tear_mri_classification": TaskCodes({"tear": FindingCode(MENISCAL_TEAR, MENISCUS)}),
    "pneumonia_cxr_classification": TaskCodes({"lung opacity": FindingCode(OPACITY, LUNG)}),
    "covid19_ct_classification": TaskCodes({"positive": FindingCode(COVID19, LUNG)}),
    "sarscov2_ct_classification": TaskCodes(
        {"NCP": FindingCode(NCP, LUNG), "CP": FindingCode(COMMON_PNEUMONIA, LUNG)},
    ),
    "intracranial_hemorrhage_ct_classification": TaskCodes(
        {
            "any": FindingCode(INTRACRANIAL_HEMORRHAGE, HEAD),
            "hemorrhage": FindingCode(INTRACRANIAL_HEMORRHAGE, HEAD),
            "epidural": FindingCode(private_code("Epidural hemorrhage"), HEAD),
            "intraparenchymal": FindingCode(private_code("Intraparenchymal hemorrhage"), BRAIN),
            "intraventricular": FindingCode(private_code("Intraventricular hemorrhage"), BRAIN_VENTRICLE),
            "subarachnoid": FindingCode(private_code("Subarachnoid hemorrhage"), SUBARACHNOID_SPACE),
            "subdural": FindingCode(private_code("Subdural hemorrhage"), HEAD),
        }
    ),
    "thyroid_nodule_us_segmentation": TaskCodes(
        segments={"lesion": SegmentCode(ABNORMAL_STRUCTURE, NODULE, THYROID)},
    ),
    "breast_mass_us_segmentation": TaskCodes(segments={"lesion": SegmentCode(ABNORMAL_STRUCTURE, MASS, BREAST)}),
}
"""Codes of the ten downstream tasks. A task of a plug-in states its own in ``Task.codes``."""


def finding_code(codes: TaskCodes, name: str) -> FindingCode:
    """The code and site of an output, or a private code of its name for classes of the user's own."""
    return codes.findings.get(name) or FindingCode(private_code(name))


def segment_code(codes: TaskCodes, name: str) -> SegmentCode:
    """The codes of a mask's label; a lesion of an unknown region for labels of the user's own."""
    return codes.segments.get(name) or SegmentCode(ABNORMAL_STRUCTURE, LESION)
