"""DICOM Segmentation (SEG), binary."""

from __future__ import annotations

import copy
import datetime
import hashlib
import os
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from radimagenet_monai.catalog.codes import PRIVATE_SCHEME
from radimagenet_monai.core.errors import DicomOutputError
from radimagenet_monai.integrations.dicom_output.contents import MANUFACTURER, RESEARCH_ONLY, Model, Segment
from radimagenet_monai.integrations.dicom_output.identifiers import derived_uid
from radimagenet_monai.integrations.dicom_output.source import (
    Source,
    read_series,
    require_one_orientation,
    require_one_size,
)
from radimagenet_monai.integrations.dicom_output.written import (
    algorithm_parameters,
    coded,
    equipment,
    finish,
    long_string,
    private_scheme,
    save,
    writing,
)


def write_segmentation(
    source_files: Sequence[str | os.PathLike[str]],
    masks: np.ndarray,
    segments: Sequence[Segment],
    model: Model,
    out: str | os.PathLike[str],
    created: datetime.datetime | None = None,
) -> list[Path]:
    """Write masks as DICOM Segmentation.

    A series with a frame of reference gives one object, in whatever order its files are given; empty slices are left
    out of it, as is usual, but every source instance is referenced. Images without a place in the patient (most
    ultrasound, radiographs) give one object per file, and per frame of a multi-frame file, because the standard puts
    several images into one segmentation by their place only.

    Parameters
    ----------
    source_files
        The DICOM files of one series, one slice each, or one multi-frame file.
    masks
        (slices, rows, columns) uint8: 0 for background, ``n`` for ``segments[n - 1]``. ``masks[i]`` belongs to
        ``source_files[i]``, or to frame ``i`` of a multi-frame file, and lies pixel for pixel on the *stored* image;
        `as_stored` turns back what a reader has turned upright.
    segments
        One per label.
    model
        What made the masks.
    out
        Path of the file. If there are several, ``_0001``, ``_0002``, ... by file or frame precede its suffix.
    created
        Time of creation to be stated; now by default.

    Returns
    -------
    list of pathlib.Path
        The files written.

    Raises
    ------
    UnreadableImageError, DicomOutputError
        If a source is unreadable or cannot carry a segmentation, or the masks do not fit; nothing is written then.
    ConfigurationError
        If highdicom is not installed.
    """
    created = created or datetime.datetime.now()
    with writing(os.fspath(source_files[0]) if source_files else "no file"):
        sources = read_series(source_files)
        masks = _checked(sources, masks, segments)
        parts = _parts(sources, masks)
        objects = []
        for number, (group, part, frame) in enumerate(parts):
            with writing(group[0].path):
                try:
                    objects.append(_segmentation(group, part, frame, number, segments, model, created))
                except ValueError as error:
                    if group[0].positioned or "frame of reference" not in str(error).lower():
                        raise
                    raise _without_place(group[0]) from None
    target = Path(out)
    paths = [target] if len(objects) == 1 else [_numbered(target, number) for number in range(len(objects))]
    return [save(dataset, path) for dataset, path in zip(objects, paths, strict=True)]


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}_{number + 1:04d}{path.suffix}")


def _checked(sources: Sequence[Source], masks: np.ndarray, segments: Sequence[Segment]) -> np.ndarray:
    masks = np.asarray(masks)
    first = sources[0]
    slices = first.frames if len(sources) == 1 else len(sources)
    if len({source.positioned for source in sources}) > 1:
        odd = next(source for source in sources if source.positioned != first.positioned)
        raise DicomOutputError(
            f"{odd.path}: only some files of the series have a place in the patient (frame of reference, orientation, "
            "position, spacing); give those with and those without separately"
        )
    if first.positioned:
        require_one_size(sources)
        require_one_orientation(sources)
        _require_different_places(sources)
    for source in sources:
        if masks.dtype != np.uint8 or masks.shape != (slices, *source.shape):
            raise DicomOutputError(
                f"{source.path}: masks of shape {masks.shape} and type {masks.dtype} were given, expected "
                f"{(slices, *source.shape)} and uint8: one per slice, as stored"
            )
    if not segments or masks.max(initial=0) > len(segments):
        raise DicomOutputError(
            f"{first.path}: its masks have labels up to {masks.max(initial=0)}, but {len(segments)} segments are named"
        )
    return masks


def _require_different_places(sources: Sequence[Source]) -> None:
    if len(sources) == 1:
        return
    places: dict[tuple[float, ...], Source] = {}
    for source in sources:
        place = tuple(round(float(number), 3) for number in source.header.ImagePositionPatient)
        if place in places:
            raise DicomOutputError(
                f"{source.path}: it lies at the place of {Path(places[place].path).name} (phases or echoes of one "
                "series?), which one segmentation cannot tell apart; give one volume at a time"
            )
        places[place] = source


def _parts(sources: Sequence[Source], masks: np.ndarray) -> list[tuple[Sequence[Source], np.ndarray, int | None]]:
    """Sources, masks and the frame (counted from 0) of each object to be written."""
    if sources[0].positioned:
        return [(sources, masks, None)]
    if sources[0].frames > 1:
        return [(sources, masks[index : index + 1], index) for index in range(len(masks))]
    return [([source], masks[index : index + 1], None) for index, source in enumerate(sources)]


def _without_place(source: Source) -> DicomOutputError:
    """The error for CT, MR and the like without a frame of reference: their masks would have no place either."""
    lacking = [
        keyword
        for keyword in ("FrameOfReferenceUID", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing")
        if not source.header.get(keyword)
    ]
    missing = " and ".join(lacking) if source.frames == 1 else "place for each frame"
    return DicomOutputError(
        f"{source.path}: it has no valid {missing}, without which a {source.header.get('Modality') or 'tomographic'} "
        "image cannot carry a segmentation (removed by anonymization?); restore it from the archive, or write masks as "
        "NIfTI or PNG"
    )


def _segmentation(
    sources: Sequence[Source],
    masks: np.ndarray,
    frame: int | None,
    number: int,
    segments: Sequence[Segment],
    model: Model,
    created: datetime.datetime,
) -> Dataset:
    import highdicom

    headers = [copy.deepcopy(source.header) for source in sources]
    if not sources[0].positioned:
        for header in headers:
            header.pop("FrameOfReferenceUID", None)  # without a position it would be taken for one
            if header.get("SliceThickness") is None:
                header.pop("PixelSpacing", None)  # highdicom's reader takes both or none
            header.NumberOfFrames = 1
            header.SharedFunctionalGroupsSequence = [Dataset()]
            # highdicom asks for the spacing of a multi-frame image, which ultrasound states elsewhere, if at all.
            header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = [Dataset()]
    first = sources[0].header
    series = derived_uid(str(first.SeriesInstanceUID), model.sha256, "SEG")
    ordered = sorted(source.uid for source in sources)
    # Labels by source, so that the order in which files are given does not matter.
    by_uid = np.argsort([source.uid for source in sources]) if len(sources) > 1 else slice(None)
    content = hashlib.sha256(masks[by_uid].tobytes()).hexdigest()
    named = repr([astuple(segment) for segment in segments])
    instance = derived_uid(series, ordered, str(frame), content, named, model.name, model.version)
    dataset = highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=masks,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(n, segment, model, series) for n, segment in enumerate(segments, start=1)],
        series_instance_uid=series,
        sop_instance_uid=instance,
        instance_number=number + 1,
        omit_empty_frames=bool(masks.any()),
        content_label="SEGMENTATION",
        content_description=RESEARCH_ONLY,
        coding_schemes=_schemes(segments),
        **equipment(model, "SEG", created),
    )
    if frame is not None:
        _refer_to_frame(dataset, frame + 1)
    _complete(dataset, sources[0])
    dimensions = derived_uid(instance, "dimensions")
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    finish(dataset, first, created)
    return dataset


def _described(number: int, segment: Segment, model: Model, series: str) -> Any:
    import highdicom

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=long_string(model.name),
        family=highdicom.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
        version=long_string(model.version),
        source=MANUFACTURER,
        parameters=algorithm_parameters(model),
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=long_string(segment.name),
        segmented_property_category=coded(segment.category),
        segmented_property_type=coded(segment.type),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=derived_uid(series, segment.name),
        tracking_id=long_string(segment.name),
        anatomic_regions=None if segment.region is None else [coded(segment.region)],
        display_color=highdicom.color.CIELabColor.from_rgb(*segment.color),
    )


def _schemes(segments: Sequence[Segment]) -> list[Any] | None:
    codes = [code for segment in segments for code in (segment.category, segment.type, segment.region) if code]
    return [private_scheme()] if any(code.scheme == PRIVATE_SCHEME for code in codes) else None


def _complete(dataset: Dataset, source: Source) -> None:
    """Add what the standard or readers ask for and highdicom leaves out."""
    if not source.positioned:
        dataset.PatientOrientation = source.header.get("PatientOrientation")  # type 2C: may be empty
        shared = dataset.SharedFunctionalGroupsSequence[0]
        if "PixelMeasuresSequence" in shared and "PixelSpacing" not in shared.PixelMeasuresSequence[0]:
            del shared.PixelMeasuresSequence
    for measures in dataset.SharedFunctionalGroupsSequence[0].get("PixelMeasuresSequence", []):
        if measures.get("SliceThickness") is None:
            # highdicom's reader needs it. Without a stated thickness slices are taken to touch.
            measures.SliceThickness = measures.get("SpacingBetweenSlices")


def _refer_to_frame(dataset: Dataset, frame: int) -> None:
    """State which frame, counted from 1, the references to a multi-frame source mean."""
    # A copy: highdicom shares these items with the list of instances, which has no place for frames.
    dataset.SourceImageSequence = copy.deepcopy(list(dataset.SourceImageSequence))
    for reference in dataset.SourceImageSequence:
        reference.ReferencedFrameNumber = frame
    for item in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in item.DerivationImageSequence:
            for reference in derivation.SourceImageSequence:
                reference.ReferencedFrameNumber = frame
