"""DICOM Structured Report (SR) by template TID 1500, Measurement Report."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from radimagenet_monai.catalog.codes import PRIVATE_SCHEME, Code
from radimagenet_monai.core.errors import DicomOutputError
from radimagenet_monai.integrations.dicom_output.contents import MANUFACTURER, RESEARCH_ONLY, Finding, Model
from radimagenet_monai.integrations.dicom_output.identifiers import derived_uid
from radimagenet_monai.integrations.dicom_output.source import Source, read_series
from radimagenet_monai.integrations.dicom_output.written import (
    coded,
    equipment,
    finish,
    long_string,
    private_scheme,
    save,
    writing,
)

PROBABILITY = Code("122157", "DCM", "Probability")
THRESHOLD = Code("122411", "DCM", "Threshold Value")
DECISION = Code("decision", PRIVATE_SCHEME, "Decision of the model at its threshold")
"""DICOM's tables have no concept for it; its values are those of CID 250, and "Indeterminate" for an abstention."""
_VALUES = {
    "positive": Code("10828004", "SCT", "Positive"),
    "negative": Code("260385009", "SCT", "Negative"),
    "abstained": Code("82334004", "SCT", "Indeterminate"),
}
# Procedure Reported, CID 100, by modality; LOINC has none for ultrasound there.
_PROCEDURES = {
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "MR": Code("25056-3", "LN", "MRI unspecified body region"),
    **dict.fromkeys(("CR", "DX", "RG"), Code("43468-8", "LN", "XR unspecified body region")),
    "US": Code("16310003", "SCT", "Diagnostic ultrasonography"),
}
_IMAGING = Code("363679005", "SCT", "Imaging procedure")


def write_report(
    source_files: Sequence[str | os.PathLike[str]],
    findings: Sequence[Finding],
    model: Model,
    out: str | os.PathLike[str],
    created: datetime.datetime | None = None,
) -> Path:
    """Write findings as a Comprehensive SR by TID 1500.

    Each finding is a measurement group (TID 1501) with the finding and its site as codes, the probability, the
    threshold, the decision, the model with version and SHA-256, the images it refers to, and the comment that it is for
    research and unverified. The document is UNVERIFIED and PRELIMINARY, and qualified as RESEARCH.

    Parameters
    ----------
    source_files
        The DICOM files of one series that the model was given.
    findings
        At least one.
    model
        What found them.
    out
        Path of the file.
    created
        Time of creation to be stated; now by default.

    Raises
    ------
    UnreadableImageError, DicomOutputError
        If a source is unreadable or cannot be referred to, or a finding names images that are not there.
    ConfigurationError
        If highdicom is not installed.
    """
    created = created or datetime.datetime.now()
    if not findings:
        raise DicomOutputError(f"{os.fspath(out)}: no finding was given; a report needs at least one")
    with writing(os.fspath(source_files[0]) if source_files else "no file"):
        sources = read_series(source_files)
        import highdicom

        first = sources[0].header
        series = derived_uid(str(first.SeriesInstanceUID), model.sha256, "SR")
        ordered = sorted(source.uid for source in sources)
        said = [_said(finding, sources) for finding in findings]
        instance = derived_uid(series, ordered, said, model.name, model.version)
        content = highdicom.sr.MeasurementReport(
            observation_context=_observer(model),
            procedure_reported=coded(_PROCEDURES.get(str(first.get("Modality")), _IMAGING)),
            imaging_measurements=[_group(finding, sources, model, series) for finding in findings],
        )
        dataset = highdicom.sr.ComprehensiveSR(
            evidence=[source.header for source in sources],
            content=content,
            series_instance_uid=series,
            sop_instance_uid=instance,
            instance_number=1,
            is_complete=True,
            is_final=False,
            is_verified=False,
            coding_schemes=[private_scheme()],
            **equipment(model, "SR", created),
        )
        finish(dataset, first, created)
    return save(dataset, out)


def _said(finding: Finding, sources: Sequence[Source]) -> str:
    """What a finding says, for its identifiers: the seventh digit of a probability may differ between processors."""
    images = sorted(sources[index].uid for index in _images(finding, sources))
    site = None if finding.site is None else astuple(finding.site)
    facts = (finding.name, astuple(finding.code), f"{finding.probability:.6f}", finding.threshold, finding.decision)
    return repr((*facts, site, images, finding.frames))


def _images(finding: Finding, sources: Sequence[Source]) -> Sequence[int]:
    chosen = range(len(sources)) if finding.images is None else finding.images
    if any(not 0 <= index < len(sources) for index in chosen):
        raise DicomOutputError(
            f"finding '{finding.name}' refers to images {list(chosen)}; there are {len(sources)}, counted from 0"
        )
    return chosen


def _observer(model: Model) -> Any:
    """The model as an observer device, TID 1004."""
    import highdicom

    device = highdicom.sr.DeviceObserverIdentifyingAttributes(
        uid=derived_uid(model.sha256, "device"),
        name=long_string(model.name),
        manufacturer_name=MANUFACTURER,
        model_name=long_string(f"{model.name} {model.version}"),
        serial_number=model.sha256,
    )
    observer = highdicom.sr.ObserverContext(
        observer_type=highdicom.sr.CodedConcept("121007", "DCM", "Device"), observer_identifying_attributes=device
    )
    return highdicom.sr.ObservationContext(observer_device_context=observer)


def _group(finding: Finding, sources: Sequence[Source], model: Model, series: str) -> Any:
    """A measurement group, TID 1501."""
    from highdicom import sr

    no_units = sr.CodedConcept("1", "UCUM", "no units")
    numbers = [(PROBABILITY, finding.probability)]
    if finding.threshold is not None:
        numbers.append((THRESHOLD, finding.threshold))
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=derived_uid(series, finding.name, _said(finding, sources)), identifier=long_string(finding.name)
        ),
        finding_type=coded(finding.code),
        finding_sites=None if finding.site is None else [sr.FindingSite(anatomic_location=coded(finding.site))],
        algorithm_id=sr.AlgorithmIdentification(
            name=model.name,
            version=model.version,
            parameters=[f"model_sha256={model.sha256}"],
            # Without a family: highdicom's reader would take its code for an evaluation.
            manufacturer=MANUFACTURER,
        ),
        measurements=[sr.Measurement(name=coded(name), value=float(value), unit=no_units) for name, value in numbers],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name=coded(DECISION), value=coded(_VALUES[finding.decision]))
        ],
        source_images=[_reference(sources[index], finding) for index in _images(finding, sources)],
    )
    group[0].ContentSequence.append(
        sr.TextContentItem(
            name=sr.CodedConcept("121106", "DCM", "Comment"),
            value=f"{RESEARCH_ONLY}: output '{finding.name}' of a model, not a diagnosis.",
            relationship_type=sr.RelationshipTypeValues.CONTAINS,
        )
    )
    return group


def _reference(source: Source, finding: Finding) -> Any:
    from highdicom import sr

    frames = finding.frames
    if frames is not None and (source.frames == 1 or any(not 0 <= frame < source.frames for frame in frames)):
        raise DicomOutputError(
            f"{source.path}: finding '{finding.name}' refers to frames {list(frames)}; it has {source.frames}, counted "
            "from 0, and a file of one frame is named without"
        )
    return sr.SourceImageForMeasurementGroup(
        referenced_sop_class_uid=str(source.header.SOPClassUID),
        referenced_sop_instance_uid=source.uid,
        referenced_frame_numbers=None if frames is None else [frame + 1 for frame in frames],
    )
