"""Position facts from the header of a DICOM slice or frame, in the form that `order_slices` needs."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from radimagenet_monai.io.slice_order import LAST_VOLUME_ELEMENTS, VOLUME_ELEMENTS, SliceFacts

FACT_TAGS = (
    "SOPInstanceUID",
    "InstanceNumber",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    *VOLUME_ELEMENTS,
    *LAST_VOLUME_ELEMENTS,
)
_PLACES_IN_A_STACK = frozenset(
    tag_for_keyword(keyword) for keyword in ("InStackPositionNumber", "ImagePositionPatient", "ImagePositionVolume")
)
_FRAME_GROUPS = {
    "FrameContentSequence": ("TemporalPositionIndex", "StackID", "FrameAcquisitionNumber", "FrameAcquisitionDateTime"),
    "MRDiffusionSequence": ("DiffusionBValue",),
    "MREchoSequence": ("EffectiveEchoTime",),
    "MRImageFrameTypeSequence": ("FrameType",),
    "CTImageFrameTypeSequence": ("FrameType",),
    "CardiacSynchronizationSequence": ("NominalCardiacTriggerDelayTime",),
}


def slice_facts(dataset: Dataset, name: str) -> SliceFacts:
    """The facts of a single-frame object; damaged elements count as absent."""
    return SliceFacts(
        name=name,
        number=_whole(header_value(dataset, "InstanceNumber")),
        orientation=_vector(dataset, "ImageOrientationPatient", 6),
        position=_vector(dataset, "ImagePositionPatient", 3),
        volume=_known(dataset, (*VOLUME_ELEMENTS, *LAST_VOLUME_ELEMENTS)),
        uid=str(header_value(dataset, "SOPInstanceUID") or ""),
    )


def frame_facts(dataset: Dataset, frames: int) -> list[SliceFacts]:
    """The facts of each frame of a multi-frame object, without orientation and position."""
    dimensions = [item.get("DimensionIndexPointer") for item in _items(dataset, "DimensionIndexSequence")]
    groups = _items(dataset, "PerFrameFunctionalGroupsSequence")
    facts = []
    for frame in range(frames):
        volume: dict[str, Any] = {}
        group = groups[frame] if frame < len(groups) else Dataset()
        for sequence, names in _FRAME_GROUPS.items():
            for item in _items(group, sequence)[:1]:
                volume.update(_known(item, names))
                if sequence == "FrameContentSequence":
                    values = header_value(item, "DimensionIndexValues")
                    values = values if isinstance(values, tuple) else (values,)
                    if len(values) == len(dimensions):
                        rest = [v for v, name in zip(values, dimensions, strict=True) if name not in _PLACES_IN_A_STACK]
                        if rest:
                            volume["dimensions"] = tuple(rest)
        facts.append(SliceFacts("", frame, volume=volume))
    return facts


def _known(dataset: Dataset, keywords: tuple[str, ...]) -> dict[str, Any]:
    values = {keyword: header_value(dataset, keyword) for keyword in keywords}
    return {keyword: value for keyword, value in values.items() if value not in (None, "", ())}


def header_value(dataset: Dataset, keyword: str) -> Any:
    """A header value, multiple values as a tuple; ``None`` if it is absent or damaged."""
    try:
        value = dataset.get(keyword)
        return tuple(value) if isinstance(value, (MultiValue, list)) else value
    except Exception:
        # pydicom converts an element on first access; damaged elements count as absent.
        return None


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _vector(dataset: Dataset, keyword: str, length: int) -> np.ndarray | None:
    try:
        vector = np.asarray(header_value(dataset, keyword), dtype=float).ravel()
    except (TypeError, ValueError):
        return None
    return vector if vector.shape == (length,) and np.isfinite(vector).all() else None


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    value = dataset.get(keyword)
    return list(value) if isinstance(value, Sequence) else []
