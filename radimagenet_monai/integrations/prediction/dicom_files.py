"""Results as DICOM objects, beside the predictions, where they were asked for: they carry the study's identifiers."""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np

from radimagenet_monai.catalog.codes import TaskCodes, finding_code, segment_code
from radimagenet_monai.core.errors import ConfigurationError, DicomOutputError, UnreadableImageError, UsageError
from radimagenet_monai.integrations.dicom_output import (
    Finding,
    Model,
    Segment,
    as_stored,
    store_instances,
    write_report,
    write_secondary_capture,
    write_segmentation,
)
from radimagenet_monai.integrations.dicom_output.contents import Decision
from radimagenet_monai.integrations.dicom_output.stored_order import volumes_in_order
from radimagenet_monai.integrations.prediction.confidence import ABSTAINED
from radimagenet_monai.integrations.prediction.kept_results import DICOM_FOLDER
from radimagenet_monai.integrations.prediction.pictures import picture_of, place_shown
from radimagenet_monai.integrations.prediction.studies import Study, may_be_dicom
from radimagenet_monai.integrations.prediction.trained_bundle import ExamAnswer, TrainedBundle
from radimagenet_monai.io.discovery.survey import is_dicom, series_volumes
from radimagenet_monai.io.geometry import PLANES
from radimagenet_monai.io.reader import image_kind, read_frame, unpacked_archive

logger = logging.getLogger(__name__)

KINDS = ("seg", "sr", "sc")
IDENTIFIED = "DICOM output carries the identifiers of its study: name, id, dates"


class DicomFiles:
    """Writes the DICOM objects of a prediction, and sends them to an archive.

    Parameters
    ----------
    trained
        The bundle.
    kinds
        Some of `KINDS`: ``"seg"`` for segmenters, ``"sr"`` for classifiers, ``"sc"`` for both.
    folder
        Output folder.
    created
        Time of creation that the objects state.
    stow
        Root of the DICOMweb service that receives them.

    Raises
    ------
    UsageError
        For an unknown kind.
    ConfigurationError
        If none of the kinds can be made of this bundle's answers, or highdicom is not installed.
    """

    def __init__(
        self,
        trained: TrainedBundle,
        kinds: Sequence[str],
        folder: Path,
        created: datetime.datetime,
        stow: str | None = None,
    ) -> None:
        self.trained = trained
        self.kinds = fitting_kinds(trained, kinds)
        self.folder = folder
        self.created = created
        self.stow = stow
        self.model = Model(trained.name, trained.version, trained.sha256)
        self.codes = TaskCodes() if trained.task is None else trained.task.codes

    def write(self, number: int, exams: Sequence[ExamAnswer], row: dict[str, Any], combined: Any) -> list[str]:
        """Write what was asked for of one study; paths relative to the folder. ``row["dicom"]`` says what is missing.

        Parameters
        ----------
        number
            Number of the study.
        exams
            Its images or series.
        row
            Columns of ``predictions.csv``.
        combined
            Probabilities ``(outputs,)`` of a classifier.

        Raises
        ------
        DicomOutputError
            If the archive cannot be reached.
        """
        written: list[Path] = []
        problems: list[str] = []
        for place, exam in enumerate(exams, start=1):
            name = f"{number:06d}" + (f"_{place}" if len(exams) > 1 else "")
            if _resliced(exam):
                problems.append(f"its {exam.used.plane} slices are not those of its file; leave --plane out")
                continue
            with _source_volumes(exam) as volumes:
                if not volumes:
                    problems.append("its source is not DICOM")
                    continue
                for kind in self.kinds:
                    if kind == "sr" and place > 1:
                        continue  # one report of an exam, on its first series
                    path = self.folder / DICOM_FOLDER / f"{name}_{kind}.dcm"
                    try:
                        written += self._write(kind, path, exam, volumes, row, combined)
                    except (DicomOutputError, UnreadableImageError) as error:
                        problems.append(f"no {kind.upper()}: {_without_path(str(error))}")
        if self.stow and written:
            answers = store_instances(self.stow, written, progress=False)
            problems += [f"not stored: {answer.reason}" for answer in answers if not answer.stored]
        row["dicom"] = "; ".join(dict.fromkeys(problems)) or None
        return [path.relative_to(self.folder).as_posix() for path in written]

    def _write(
        self,
        kind: str,
        path: Path,
        exam: ExamAnswer,
        volumes: Sequence[Sequence[str]],
        row: dict[str, Any],
        combined: Any,
    ) -> list[Path]:
        files = [file for volume in volumes for file in volume]
        if kind == "seg":
            return self._segmentation(path, exam, volumes)
        if kind == "sr":
            findings = self._findings(exam, len(files) > 1, row, combined)
            return [write_report(files, findings, self.model, path, self.created)]
        place = place_shown(exam)
        index = exam.used.places[place]
        picture = _captioned(picture_of(exam, place), self._caption(row))
        source, frame = (files[index], None) if len(files) > 1 else (files[0], index if exam.used.total > 1 else None)
        return [write_secondary_capture(source, picture, self.model, path, frame=frame, created=self.created)]

    def _segmentation(self, path: Path, exam: ExamAnswer, volumes: Sequence[Sequence[str]]) -> list[Path]:
        masks = np.zeros((exam.used.total, *exam.upright[0].shape), np.uint8)
        for place, mask in zip(exam.used.places, exam.upright, strict=True):
            masks[place] = mask > 0
        code = segment_code(self.codes, "lesion")
        segments = [Segment("lesion", code.category, code.type, code.region)]
        written: list[Path] = []
        start = 0
        for number, volume in enumerate(volumes, start=1):
            part = masks if len(volumes) == 1 else masks[start : start + len(volume)]
            start += len(volume)
            target = path if len(volumes) == 1 else path.with_name(f"{path.stem}_volume{number}.dcm")
            stored = as_stored(volume, part)
            written += write_segmentation(volume, stored, segments, self.model, target, self.created)
        return written

    def _findings(self, exam: ExamAnswer, several: bool, row: dict[str, Any], combined: Any) -> list[Finding]:
        trained, places = self.trained, tuple(exam.used.places)
        where = {"images": places if several else None, "frames": None if several else _frames(exam, places)}
        probabilities = dict(zip(trained.outputs, np.asarray(combined).tolist(), strict=True))
        names = trained.findings or (trained.classes[1:] if len(trained.classes) == 2 else trained.classes)
        if len(names) > 20:
            names = [max(probabilities, key=lambda name: probabilities[name])]
        found = []
        for name in names:
            said = row["decision"] if trained.exclusive else row[f"decision_{name}"]
            called = said == (name if trained.exclusive else 1)
            decision = "abstained" if said == ABSTAINED else "positive" if called else "negative"
            code = finding_code(self.codes, name)
            threshold = trained.thresholds.get(name)
            found.append(
                Finding(
                    name, code.code, probabilities[name], threshold, cast(Decision, decision), site=code.site, **where
                )
            )
        return found

    def _caption(self, row: dict[str, Any]) -> list[str]:
        lines = [f"{self.model.name} {self.model.version}", "RESEARCH ONLY, UNVERIFIED"]
        shown = [name for name in row if name.startswith("probability_")][:4]
        lines[1:1] = [f"{name.removeprefix('probability_')} {row[name]:.3f}" for name in shown if row[name] is not None]
        if row.get("decision"):
            lines.insert(-1, f"decision: {row['decision']}")
        return lines


def fitting_kinds(trained: TrainedBundle, kinds: Sequence[str]) -> list[str]:
    """The kinds that can be made of a bundle's answers.

    Raises
    ------
    UsageError
        For an unknown kind.
    ConfigurationError
        If there are none, or highdicom is not installed.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise UsageError(f"--dicom {unknown[0]} was given: expected {', '.join(KINDS)}, separated by commas")
    if importlib.util.find_spec("highdicom") is None:
        raise ConfigurationError("--dicom needs highdicom; install it with pip install 'radimagenet-monai[dicom]'")
    left_out = "sr" if trained.segments else "seg"
    fitting = [kind for kind in KINDS if kind in kinds and kind != left_out]
    if not fitting:
        what = "a segmenter, whose masks go into seg and sc" if trained.segments else "a classifier, for sr and sc"
        raise ConfigurationError(f"--dicom {left_out} was given, and '{trained.name}' is {what}")
    if left_out in kinds:
        needed = "classifier" if trained.segments else "segmenter"
        logger.warning("--dicom %s is not made: the bundle is no %s", left_out, needed)
    return fitting


def require_sources(studies: Sequence[Study], kinds: Sequence[str]) -> None:
    """Refuse studies of which none is DICOM, and log a warning if some are not.

    Raises
    ------
    ConfigurationError
        If no DICOM object can be made.
    """
    without = sum(not any(may_be_dicom(exam.path) for exam in study.exams) for study in studies)
    if without == len(studies):
        raise ConfigurationError(
            f"--dicom {','.join(kinds)} was given, and none of {without} images is DICOM: other formats lack the "
            "identifiers that a DICOM object refers to; leave --dicom out, or give the DICOM files. Nothing was run"
        )
    if without:
        logger.warning("%d of %d studies are not DICOM and get no DICOM object", without, len(studies))


@contextlib.contextmanager
def _source_volumes(exam: ExamAnswer) -> Iterator[list[list[str]]]:
    """The DICOM files of an answer, volume after volume in the order of its slices; empty for other formats."""
    first = exam.used.items[0]["image"]
    if is_dicom(first):
        files = exam.used.series or [first]
        yield series_volumes(files[0]) if len(files) > 1 else [list(files)]
    elif image_kind(first) == "zip" and may_be_dicom(first):
        with unpacked_archive(first) as folder:
            yield [[str(file) for file in volume] for volume in volumes_in_order(folder)]
    else:
        yield []


def _resliced(exam: ExamAnswer) -> bool:
    """Whether the slices of a single file are of another plane than those that it stores."""
    used = exam.used
    if used.series or used.total == 1 or used.plane not in PLANES:
        return False
    return read_frame(used.items[0]["image"], 0, "acquired")[0].plane != used.plane


def _frames(exam: ExamAnswer, places: tuple[int, ...]) -> tuple[int, ...] | None:
    return places if exam.used.total > 1 else None


def _without_path(message: str) -> str:
    return message.partition(": ")[2] or message


def _captioned(picture: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """RGB uint8 with a strip of text below."""
    height, width = picture.shape[:2]
    wide = max(width, 384)
    canvas = np.zeros((height + 18 * len(lines) + 8, wide, 3), np.uint8)
    canvas[:height, :width] = picture
    for number, line in enumerate(lines, start=1):
        place = (4, height + 18 * number)
        cv2.putText(canvas, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return np.ascontiguousarray(canvas[..., ::-1])
