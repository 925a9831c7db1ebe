"""Images that are not slices of an examination: localizers, screen saves, dose reports, projections, derived series.

A slice classifier gives them a probability as readily as an original slice. They are recognized by Image Type
(PS3.3 C.7.6.1.1.2) and SOP class; the free text of Series Description is not used.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from radimagenet_monai.io.dicom.header_facts import HeaderFacts, known_facts
from radimagenet_monai.io.slice_order import natural, slices_across

LOCALIZER = "localizer"
SCREEN_SAVE = "screen save or secondary capture"
DOSE_REPORT = "dose report"
PROJECTION = "projection or rendering of a volume (MIP and the like)"
DERIVED = "derived series beside the original images of its study"
SEGMENTATION = "segmentation object"
ACROSS = "slice oriented unlike its series (a localizer)"
COPY = "copy of another file (same SOP Instance UID)"

# A series is split by orientation only if one orientation has this many times the slices of all others.
_MOST_BY = 3
_SLICED = frozenset({"CT", "MR", "PT"})
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
_SCREEN_SAVE_WORDS = frozenset({"SCREEN SAVE", "SCREENSAVE", "SCREEN_SAVE"})
_DOSE_WORDS = ("DOSE_INFO", "DOSE INFO", "DOSE REPORT", "DOSE_REPORT", "DOSEREPORT", "PROT")
_PROJECTION_WORDS = (
    *("MIP", "MINIP", "MNIP", "MAXIP", "MAX_IP", "MIN_IP", "MAXIMUM", "MINIMUM", "PROJECTION IMAGE", "VOLREN", "VRT"),
    *("VOLUME RENDERING", "VOLUMERENDERING", "SSD", "3D RENDERING", "RENDERED"),
)


def kind_against(facts: HeaderFacts) -> str | None:
    """Why an image is not a slice of an examination, from its own header; ``None`` if it is, or may be."""
    words = facts.image_type
    if facts.sop_class in _SEGMENTATIONS or facts.modality == "SEG":
        return SEGMENTATION
    if "LOCALIZER" in words or "SCOUT" in words:
        return LOCALIZER
    if facts.modality in _SLICED and any(_has(word, _DOSE_WORDS) for word in words):
        return DOSE_REPORT
    if _SCREEN_SAVE_WORDS.intersection(words):
        return SCREEN_SAVE
    # Radiographs and ultrasound are often stored as secondary captures, as are slices with a rescale by converters.
    captured = facts.sop_class == _SECONDARY_CAPTURE or facts.sop_class.startswith(f"{_SECONDARY_CAPTURE}.")
    if captured and (facts.modality == "OT" or (facts.modality in _SLICED and not facts.has_rescale)):
        return SCREEN_SAVE
    if facts.modality in _SLICED and words[:1] == ("DERIVED",) and any(_has(w, _PROJECTION_WORDS) for w in words[2:]):
        return PROJECTION
    return None


def kinds_against(paths: Sequence[str | os.PathLike[str]]) -> dict[str, str]:
    """Why some of the given DICOM files are left out, by path.

    In addition to `kind_against`: derived slices (reformats, maps, subtractions) if their study, or their folder if the
    header names no study, holds original images of the same modality; all but the first of files with one SOP Instance
    UID in a series of several slices; and the few slices oriented differently from the rest of their series. A study
    that is entirely derived, as after a conversion, is kept.

    Parameters
    ----------
    paths
        DICOM files; an unreadable file is not left out here.
    """
    known = {os.fspath(path): facts for path in paths if (facts := known_facts(path)) is not None}
    reasons = {path: reason for path, facts in known.items() if (reason := kind_against(facts)) is not None}
    reasons.update(_derived({path: facts for path, facts in known.items() if path not in reasons}))
    series: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sorted(known, key=natural):
        if path not in reasons and known[path].series and known[path].frames == 1:
            series[str(Path(path).parent), known[path].series].append(path)
    for members in series.values():
        across = slices_across([known[path].place for path in members], least=_MOST_BY)
        reasons.update((members[index], ACROSS) for index in across)
        reasons.update((path, COPY) for path in _copies(known, members) if path not in reasons)
    return reasons


def _copies(known: Mapping[str, HeaderFacts], members: Sequence[str]) -> list[str]:
    """All but the first of files with one SOP Instance UID, in a series of several slices."""
    files: dict[str, list[str]] = defaultdict(list)
    for path in members:
        if known[path].place.uid:
            files[known[path].place.uid].append(path)
    return [path for same in files.values() for path in same[1:]] if len(files) > 1 else []


def _derived(known: Mapping[str, HeaderFacts]) -> dict[str, str]:
    original = {
        (_study(path, facts), facts.modality)
        for path, facts in known.items()
        if facts.modality in _SLICED and not _is_derived(facts)
    }
    return {
        path: DERIVED
        for path, facts in known.items()
        if _is_derived(facts) and (_study(path, facts), facts.modality) in original
    }


def _study(path: str, facts: HeaderFacts) -> str:
    return facts.study or str(Path(path).parent)


def _is_derived(facts: HeaderFacts) -> bool:
    return facts.modality in _SLICED and facts.image_type[:1] == ("DERIVED",)


def _has(text: str, words: Sequence[str]) -> bool:
    """Whether a value contains one of ``words`` as a separate word: ``CT_SOM5 MIP`` has MIP."""
    parts = text.replace("_", " ").split()
    return any(text == word or word in parts for word in words)
