"""`predict`: a trained bundle on files, folders, series, archives and volumes."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from radimagenet_monai.catalog.phantom_notice import is_phantom
from radimagenet_monai.core.atomic import atomic_write_bytes
from radimagenet_monai.core.errors import RecordsError, UsageError
from radimagenet_monai.core.named_roots import without_folders
from radimagenet_monai.engine.start.preflight import require_writable
from radimagenet_monai.integrations.dicom_output import fetch_series
from radimagenet_monai.integrations.prediction.answered_study import StudyAnswer, answer_study, unanswered
from radimagenet_monai.integrations.prediction.confidence import ABSTAINED
from radimagenet_monai.integrations.prediction.dicom_files import DicomFiles, fitting_kinds, require_sources
from radimagenet_monai.integrations.prediction.kept_results import STUDIES_FOLDER, KeptResults
from radimagenet_monai.integrations.prediction.mask_files import MaskFormat, write_masks
from radimagenet_monai.integrations.prediction.pictures import montage
from radimagenet_monai.integrations.prediction.prediction import Mask, Prediction
from radimagenet_monai.integrations.prediction.progress import StudyProgress
from radimagenet_monai.integrations.prediction.studies import (
    Group,
    GroupChoice,
    Names,
    Studies,
    Study,
    counts_of,
    find_studies,
)
from radimagenet_monai.integrations.prediction.trained_bundle import TrainedBundle
from radimagenet_monai.report.sections.prediction import MOST_PICTURES, write_prediction_page

logger = logging.getLogger(__name__)

PAGE_FILE = "report.html"


@dataclass(frozen=True)
class Options:
    """Options of `predict` that decide what is written."""

    masks: MaskFormat = "auto"
    dicom: tuple[str, ...] = ()
    stow: str | None = None
    abstain_below: float | None = None
    group: GroupChoice = "auto"
    names: Names = "files"
    report: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)

    def stated(self) -> dict[str, Any]:
        """What results depend on, as JSON values without folders."""
        return {
            "masks": self.masks,
            "dicom": ",".join(self.dicom),
            "stow": bool(self.stow),
            "abstain_below": self.abstain_below,
            "group": self.group,
            "names": self.names,
            "report": self.report,
            "settings": without_folders({name: _plain(value) for name, value in self.settings.items()}),
        }


def predict(
    bundle: str | os.PathLike[str],
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    out: str | os.PathLike[str] | None = None,
    *,
    masks: MaskFormat = "auto",
    dicom: Sequence[str] = (),
    source: str | None = None,
    series: str | None = None,
    study: str | None = None,
    stow: str | None = None,
    group: GroupChoice = "auto",
    names: Names = "files",
    abstain_below: float | None = None,
    report: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> list[Prediction]:
    """Run a trained bundle on images, study by study; the answers are those of its inference by ``monai.bundle run``.

    The network is loaded once, and one study is held in memory at a time. A study that cannot be used gets a reason
    instead of an answer. Nothing from a header is written, and no folder name unless ``names="paths"``.

    Parameters
    ----------
    bundle
        Folder of a trained bundle.
    paths
        Files, folders, series, ZIP archives, volumes, in any mixture.
    out
        Output folder for ``predictions.csv``, ``predictions.json``, ``masks``, ``left_out.csv`` and ``report.html``.
        With ``None`` nothing is written, and masks are returned as arrays.
    masks
        ``"nifti"``: in the image's own grid and affine; ``"png"``: one per slice, upright; ``"auto"``: NIfTI for
        volumes and series, PNG for single pictures; ``"none"``.
    dicom
        Any of ``"seg"``, ``"sr"`` and ``"sc"``: DICOM objects to write below ``dicom``. They carry the identifiers of
        their study. Needs ``out`` and the extra ``dicom``.
    source, series, study
        Root of a DICOMweb service, and Series and Study Instance UID of a series to fetch from there in addition to
        ``paths``; without ``study`` the service is asked for it. Fetched files are removed again.
    stow
        Root of a DICOMweb service that receives the DICOM objects.
    group
        ``"series"``: an answer for each series or file; ``"study"``: one for all series of a DICOM study; ``"auto"``,
        as the task asks (`Task.exam`): ``"study"`` for the knee tasks, whose exams are several series.
    names
        How the outputs name files: ``"files"``, by their own names; ``"paths"``, by their paths below the given ones.
    abstain_below
        Abstain where the calibrated probability of the decision is below this one.
    report
        Whether to write the page.
    resume
        Go on with a prediction that was killed; what it has done is not repeated.
    overwrite
        Replace the results of an earlier prediction.
    progress
        Whether to show progress on standard error.
    settings
        Top-level keys of the bundle's ``inference.json``, such as ``device``, ``slices``, ``plane`` or ``threshold``.

    Returns
    -------
    list of Prediction
        One per study, in order.

    Raises
    ------
    RadImageNetError
        For a bundle without a trained model, unknown settings, a path that does not exist, an output folder in use, or
        if no study could be used.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    options = Options(
        masks=masks,
        dicom=tuple(dicom),
        stow=stow,
        abstain_below=abstain_below,
        group=group,
        names=names,
        report=report,
        settings=dict(settings or {}),
    )
    _require_together(given, out, options, source, series)
    with contextlib.ExitStack() as stack:
        if source is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="radimagenet-"))
            given.append(_fetched(source, study, str(series), Path(folder), progress))
        return _predicted(bundle, given, None if out is None else Path(out), options, resume, overwrite, progress)


def _require_together(given: Sequence[Any], out: Any, options: Options, source: str | None, series: str | None) -> None:
    """Refuse arguments that lack another one."""
    nothing = "Nothing was run"
    if (source is None) != (series is None):
        raise UsageError(f"--source and --series are given together: a service and the UID of a series. {nothing}")
    if not given and source is None:
        raise UsageError(f"no image was given; give files or folders behind the bundle. {nothing}")
    if options.stow and not options.dicom:
        raise UsageError(f"--stow sends DICOM objects; say which by --dicom seg,sr,sc. {nothing}")
    if options.dicom and out is None:
        raise UsageError(f"dicom={','.join(options.dicom)} needs out, a folder for the objects. {nothing}")


def _fetched(source: str, study: str | None, series: str, folder: Path, progress: bool) -> Path:
    """Fetch a series; its files are named by numbers, since the service's names are identifiers."""
    files = fetch_series(source, study, series, folder / "fetched", progress=progress)
    target = folder / "series"
    target.mkdir()
    for number, file in enumerate(sorted(files), start=1):
        file.rename(target / f"{number:05d}.dcm")
    return target


def _predicted(
    bundle: str | os.PathLike[str],
    given: Sequence[str | os.PathLike[str]],
    out: Path | None,
    options: Options,
    resume: bool,
    overwrite: bool,
    progress: bool,
) -> list[Prediction]:
    if out is not None:
        require_writable(out)
    trained = TrainedBundle(bundle, options.settings, options.abstain_below)
    if options.dicom:
        fitting_kinds(trained, options.dicom)
    group: Group = trained.group if options.group == "auto" else options.group
    options = replace(options, group=group)
    found = find_studies(given, trained.images_in, group, options.names)
    if not found.studies:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in found.reasons.items())
        raise RecordsError(
            f"nothing to predict among {len(given)} path{'s' if len(given) > 1 else ''}; expected DICOM, NIfTI, NRRD, "
            f"PNG, JPEG, TIFF or NPY{f'; left out: {reasons}' if reasons else ''}"
        )
    if options.dicom:
        require_sources(found.studies, options.dicom)
    if out is None:
        with StudyProgress(len(found.studies), 0, progress) as counted:
            predictions = []
            for study in found.studies:
                predictions.append(_in_memory(trained, study, options))
                counted.update()
    else:
        predictions = _into_folder(trained, found, out, options, given, resume, overwrite, progress)
    _report_problems(predictions)
    return predictions


def _into_folder(
    trained: TrainedBundle,
    found: Studies,
    out: Path,
    options: Options,
    given: Sequence[str | os.PathLike[str]],
    resume: bool,
    overwrite: bool,
    progress: bool,
) -> list[Prediction]:
    run = {"bundle": trained.name, "model_sha256": trained.sha256, **options.stated(), "studies": found.digest}
    results = KeptResults(out, run, resume, overwrite)
    # DICOM objects state when they were made: in a resumed prediction, all the same time.
    stated = {"started": datetime.datetime.now().isoformat(timespec="seconds")} if options.dicom else {}
    with results.claimed(stated) as stated:
        dicom = None
        if options.dicom:
            created = datetime.datetime.fromisoformat(stated["started"])
            dicom = DicomFiles(trained, options.dicom, out, created, options.stow)
        pictured = set(np.linspace(1, len(found.studies), min(MOST_PICTURES, len(found.studies))).round().tolist())
        left = [study for study in found.studies if results.kept(study.number) is None]
        with StudyProgress(len(found.studies), len(found.studies) - len(left), progress) as counted:
            for study in left:
                picture = options.report and study.number in pictured
                results.keep(study.number, _kept(trained, study, options, out, picture, dicom))
                counted.update()
        predictions = [_from_kept(study, results.kept(study.number) or {}) for study in found.studies]
        head = _head(trained, found, options, predictions)
        results.write_tables(head, found.left_out, len(found.studies))
        if options.report:
            phantom = any(is_phantom(path) for path in given)
            write_prediction_page(out / PAGE_FILE, head, predictions, out, phantom)
    return predictions


def _kept(
    trained: TrainedBundle, study: Study, options: Options, out: Path, picture: bool, dicom: DicomFiles | None
) -> dict[str, Any]:
    """Answer a study and write everything of it but its own file, whose content is returned."""
    written: list[str] = []
    try:
        answer = answer_study(trained, study, options.names)
        if trained.segments:
            for place, exam in enumerate(answer.exams, start=1):
                name = f"{study.number:06d}" + (f"_{place}" if len(answer.exams) > 1 else "")
                paths = write_masks(out, name, exam, options.masks)
                written += paths
                answer.row["mask"] = "; ".join(filter(None, (answer.row["mask"], _named(paths))))
        if picture and (shown := montage(answer.exams)) is not None:
            path = f"{STUDIES_FOLDER}/{study.number:06d}.jpg"
            atomic_write_bytes(out / path, shown)
            written.append(path)
    except OSError:
        raise  # a full disk is no property of a study
    except Exception as error:
        answer = unanswered(trained, study, options.names, error)
    if dicom is not None:
        answer.row["dicom"] = None
        if not answer.problem:
            written += dicom.write(study.number, answer.exams, answer.row, answer.combined)
    return _as_json(answer, written)


def _as_json(answer: StudyAnswer, written: Sequence[str]) -> dict[str, Any]:
    return {
        "row": answer.row,
        "slices": answer.slices,
        "questions": answer.questions,
        "unreadable": answer.unreadable,
        "written": list(written),
        "problem": answer.problem,
    }


def _from_kept(study: Study, kept: Mapping[str, Any]) -> Prediction:
    return Prediction(
        study.number,
        tuple(exam.path for exam in study.exams),
        dict(kept["row"]),
        (),
        dict(kept["questions"]),
        tuple(kept["written"]),
        (),
        str(kept["problem"]),
    )


def _in_memory(trained: TrainedBundle, study: Study, options: Options) -> Prediction:
    try:
        answer = answer_study(trained, study, options.names)
    except OSError:
        raise
    except Exception as error:
        answer = unanswered(trained, study, options.names, error)
    masks = tuple(
        Mask(exam.voxels, exam.affine)
        for exam in answer.exams
        if exam.voxels is not None and exam.affine is not None and options.masks != "none"
    )
    return Prediction(
        study.number,
        tuple(exam.path for exam in study.exams),
        answer.row,
        tuple(answer.slices),
        answer.questions,
        (),
        masks,
        answer.problem,
    )


def _head(
    trained: TrainedBundle, found: Studies, options: Options, predictions: Sequence[Prediction]
) -> dict[str, Any]:
    """First entries of ``predictions.json``: model, settings, and every study counted by answer or reason."""
    questions: dict[str, int] = {}
    for prediction in predictions:
        for sentence in prediction.questions or ():
            questions[sentence] = questions.get(sentence, 0) + 1
    return {
        "bundle": trained.name,
        "bundle_version": trained.version,
        "model_sha256": trained.sha256,
        "architecture": trained.facts.get("architecture"),
        "classes": trained.outputs,
        "thresholds": {"lesion": trained.threshold} if trained.segments else trained.thresholds,
        "slices_combined_by": None if trained.segments else trained.rule,
        **options.stated(),
        **trained.confidence.stated(),
        "number_of_studies": len(predictions),
        "answered": sum(not prediction.problem for prediction in predictions),
        "abstained": sum(ABSTAINED in prediction.row.values() for prediction in predictions),
        "unusual": sum(prediction.row.get("unusual") == 1 for prediction in predictions),
        "problems": counts_of([prediction.problem for prediction in predictions if prediction.problem]),
        "files_left_out": found.reasons,
        "studies_with_questions": dict(sorted(questions.items())),
        "notes": without_folders(found.notes) if options.names == "paths" else [],
    }


def _named(paths: Sequence[str]) -> str:
    """A mask's file, or the folder of the masks of several slices."""
    return paths[0] if len(paths) == 1 else str(Path(paths[0]).parent) if paths else ""


def _report_problems(predictions: Sequence[Prediction]) -> None:
    problems = [prediction for prediction in predictions if prediction.problem]
    if problems and len(problems) == len(predictions):
        raise RecordsError(f"none of {len(problems)} studies could be used; the first: {problems[0].problem}")
    if problems:
        logger.warning("%d of %d studies have no answer, see column 'problem'", len(problems), len(predictions))


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)
