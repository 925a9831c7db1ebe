"""Operators for MONAI Deploy: a trained bundle's answer for selected DICOM series, and its DICOM objects.

Between the SDK's `DICOMSeriesSelectorOperator` and the results::

    study_selected_series_list -> PredictionOperator -> answers -> ResultWriterOperator

The SDK's loader and selector say *which* series are meant. Their pixels are read from the same files by this project's
own readers, so that an answer is that of ``radimagenet predict``.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai.deploy.core import ConditionType, Fragment, Operator, OperatorSpec

from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.integrations.prediction.answered_study import StudyAnswer, answer_study, unanswered
from radimagenet_monai.integrations.prediction.dicom_files import DicomFiles
from radimagenet_monai.integrations.prediction.studies import Group, Study, find_studies
from radimagenet_monai.integrations.prediction.trained_bundle import TrainedBundle
from radimagenet_monai.io.dicom.header_facts import known_facts

SELECTED = "study_selected_series_list"
ANSWERS = "answers"
RESULTS = "predictions.json"

logger = logging.getLogger(__name__)


@dataclass
class Answered:
    """A study, or a series, and its answer.

    Attributes
    ----------
    study
        Its images; ``study.number`` counts from 1.
    answer
        ``answer.row`` has probabilities and decision, ``answer.exams`` the masks, ``answer.problem`` the reason why
        there is no answer.
    """

    study: Study
    answer: StudyAnswer


class PredictionOperator(Operator):
    """Classification or segmentation of the selected series by a trained bundle.

    Named input: ``study_selected_series_list``, of the SDK's `DICOMSeriesSelectorOperator`.
    Named output: ``answers``, a list of `Answered`.

    Parameters
    ----------
    trained
        The bundle; ``trained.segments`` says whether it segments.
    group
        ``"series"``: an answer for each series; ``"study"``: one for all selected series of a study.
    """

    def __init__(
        self, fragment: Fragment, *args: Any, trained: TrainedBundle, group: Group = "series", **kwargs: Any
    ) -> None:
        self.trained = trained
        self.group = group
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input(SELECTED)
        spec.output(ANSWERS).condition(ConditionType.NONE)  # a receiver is optional

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Answer for what was selected; a series that cannot be used has a reason instead of an answer."""
        answers = []
        for study in selected_studies(self.trained, op_input.receive(SELECTED), self.group):
            try:
                answers.append(Answered(study, answer_study(self.trained, study, "files")))
            except Exception as error:
                answers.append(Answered(study, unanswered(self.trained, study, "files", error)))
        op_output.emit(answers, ANSWERS)


class ResultWriterOperator(Operator):
    """Writes ``predictions.json`` and DICOM objects: SEG of masks, SR (TID 1500) of probabilities, SC with a picture.

    DICOM objects carry the identifiers of their study; ``predictions.json`` has none.

    Named input: ``answers``, of `PredictionOperator`.

    Parameters
    ----------
    trained
        The bundle.
    output_folder
        Gets ``predictions.json`` and, below ``dicom``, the objects.
    kinds
        ``"seg"`` for a bundle that segments, ``"sr"`` for one that classifies, ``"sc"`` for both.
    """

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        trained: TrainedBundle,
        output_folder: str | os.PathLike[str],
        kinds: Sequence[str],
        **kwargs: Any,
    ) -> None:
        self.output_folder = Path(output_folder)
        self.files = DicomFiles(trained, kinds, self.output_folder, datetime.datetime.now())
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.input(ANSWERS)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Write the results; what could not be written is said under ``dicom``."""
        self.output_folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for answered in op_input.receive(ANSWERS):
            answer, written = answered.answer, []
            answer.row["dicom"] = None
            if answer.problem:
                logger.warning("no answer for %s: %s", answer.row["file"], answer.problem)
            else:
                written = self.files.write(answered.study.number, answer.exams, answer.row, answer.combined)
            rows.append({**answer.row, "written": written, "questions": answer.questions})
        atomic_write_text(self.output_folder / RESULTS, json.dumps(rows, indent=1) + "\n")


def selected_studies(trained: TrainedBundle, selected: Iterable[Any], group: Group) -> list[Study]:
    """What a selection means for a bundle: its series, found among the files from which the SDK loaded them.

    Raises
    ------
    ValueError
        If no series was selected, or none of them is an image for this bundle.
    """
    series = [item.series for study in selected or () for item in study.selected_series]
    uids = {str(one.SeriesInstanceUID) for one in series}
    if not uids:
        raise ValueError("no series was selected; see the rules of the series selector")
    folders = {
        str(Path(sop.get_native_sop_instance().filename).parent) for one in series for sop in one.get_sop_instances()
    }
    found = find_studies([os.path.commonpath(folders)], trained.images_in, group, "files")
    for reason, count in found.reasons.items():
        logger.warning("left out: %d x %s", count, reason)
    chosen = []
    for study in found.studies:
        exams = tuple(exam for exam in study.exams if _series_of(exam.path) in uids)
        if exams:
            chosen.append(replace(study, number=len(chosen) + 1, exams=exams))
    if not chosen:
        raise ValueError(f"none of {len(uids)} selected series is an image for the bundle '{trained.name}'")
    return chosen


def _series_of(path: str) -> str:
    facts = known_facts(path)
    return "" if facts is None else facts.series
