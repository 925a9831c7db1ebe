"""The answer for one study: the row of ``predictions.csv`` and what belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.engine.outputs.writers import digits, prediction_columns
from radimagenet_monai.integrations.prediction.mask_files import lesion_millilitres, lesion_voxels
from radimagenet_monai.integrations.prediction.studies import Names, Study, counts_of, plane_of
from radimagenet_monai.integrations.prediction.trained_bundle import ExamAnswer, TrainedBundle
from radimagenet_monai.report.identifiers import hide_in_message
from radimagenet_monai.statistics.predictions import combined_slices
from radimagenet_monai.store.packed_row import describe_failure

# Words that a reason may quote, since they name no patient.
_WORDS = frozenset({"CT", "MR", "US", "CR", "DX", "RG", "XA", "RF", "MG", "NM", "PT", "OT", "SC", "dicom", "volume"})


@dataclass
class StudyAnswer:
    """The answer for one study.

    Attributes
    ----------
    row
        Columns of ``predictions.csv``.
    slices
        See `radimagenet_monai.integrations.prediction.Prediction`.
    questions
        Doubts about the images' values: number of slices by sentence.
    unreadable
        Number of slices left out, by reason.
    exams
        Answers by image or series, with pixels.
    problem
        Why there is no answer, or ``""``.
    combined
        Probabilities ``(outputs,)`` of a classifier for the study.
    """

    row: dict[str, Any]
    slices: list[dict[str, Any]] = field(default_factory=list)
    questions: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, int] = field(default_factory=dict)
    exams: list[ExamAnswer] = field(default_factory=list)
    problem: str = ""
    combined: np.ndarray | None = None


def answer_study(trained: TrainedBundle, study: Study, names: Names) -> StudyAnswer:
    """Answer a study whose images can be used, at least in part.

    Several series of a study are one exam: their slices are combined by the bundle's rule.

    Raises
    ------
    Exception
        That of the first image, if none can be used.
    """
    answer = StudyAnswer(_first_columns(study, names))
    failures: list[Exception] = []
    reasons, questions = [], []
    for exam in study.exams:
        try:
            found = trained.answer(exam)
        except OSError:
            raise
        except Exception as error:
            failures.append(error)
            reasons.append(_reason(error, exam.path))
            continue
        answer.exams.append(found)
        reasons += [_hidden(reason) for reason in found.used.unreadable.values()]
        questions += [sentence for text in found.used.questions for sentence in text.split("\n") if sentence]
        for number, (item, place) in enumerate(zip(found.used.items, found.used.places, strict=True)):
            answer.slices.append(
                {
                    "file": exam.name(item["image"], names),
                    "frame": int(item["frame"]),
                    "place": place,
                    "probabilities": None
                    if found.slices is None
                    else [digits(value) for value in found.slices[number].tolist()],
                }
            )
    if not answer.exams:
        raise failures[0]
    answer.unreadable, answer.questions = counts_of(reasons), counts_of(questions)
    if not trained.segments:
        every = np.concatenate([found.slices for found in answer.exams if found.slices is not None])
        answer.combined = combined_slices(every, trained.rule, trained.exclusive)
    answer.row |= result_columns(trained, answer.combined, answer.exams)
    answer.row |= _last_columns(study, answer.exams, "")
    return answer


def unanswered(trained: TrainedBundle, study: Study, names: Names, error: Exception) -> StudyAnswer:
    """The entry of a study for which there is no answer because of an error."""
    problem = _reason(error, study.exams[0].path)
    row = _first_columns(study, names) | result_columns(trained, None, ()) | _last_columns(study, (), problem)
    return StudyAnswer(row, problem=problem)


def result_columns(trained: TrainedBundle, combined: np.ndarray | None, exams: Sequence[ExamAnswer]) -> dict[str, Any]:
    """Columns of the result; empty ones without an answer."""
    features = np.concatenate([exam.features for exam in exams]) if exams else None
    distance = trained.confidence.distance_columns(features)
    if not trained.segments:
        row = prediction_columns(combined, trained.classes, trained.findings, trained.thresholds)
        return row | trained.confidence.columns(row) | distance
    volumes = [lesion_millilitres(exam) for exam in exams]
    known = [volume for volume in volumes if volume is not None]
    return {
        "mask": None,
        "threshold": trained.threshold,
        "lesion_voxels": sum(lesion_voxels(exam) for exam in exams) if exams else None,
        "lesion_ml": sum(known) if known and len(known) == len(exams) else None,
        **distance,
    }


def _first_columns(study: Study, names: Names) -> dict[str, Any]:
    return {"study": study.number, "file": "; ".join(exam.name(exam.path, names) for exam in study.exams)}


def _last_columns(study: Study, exams: Sequence[ExamAnswer], problem: str) -> dict[str, Any]:
    return {
        "slices_used": sum(len(exam.used.items) for exam in exams) if exams else None,
        "slices_of_image": sum(exam.used.total for exam in exams) if exams else None,
        "plane": plane_of(study),
        "problem": problem or None,
    }


def _reason(error: Exception, path: str) -> str:
    failure = describe_failure(error, {"image": path, "folder": str(Path(path).parent)})
    cause = failure.cause
    for place in (path, str(Path(path).parent)):
        cause = cause.removeprefix(f"{place}: ")
    if isinstance(error, MemoryError):
        cause = "memory ran out"
    return _hidden(f"{failure.stage}: {cause}")


def _hidden(reason: str) -> str:
    """Without names of files and persons; a reason is counted over studies, and may be shown to others."""
    return hide_in_message(reason, _WORDS)
