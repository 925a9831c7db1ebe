"""``radimagenet predict``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from radimagenet_monai.core.command_line import Options
from radimagenet_monai.core.config_options import config_options
from radimagenet_monai.core.flags import number


def predict(
    bundle: str,
    *paths: str,
    out: str,
    masks: Literal["auto", "nifti", "png", "none"] = "auto",
    dicom: list[str] | None = None,
    source: str | None = None,
    series: str | None = None,
    study: str | None = None,
    stow: str | None = None,
    group: Literal["auto", "series", "study"] = "auto",
    names: Literal["files", "paths"] = "files",
    abstain_below: Annotated[float, number(0, 1)] | None = None,
    report: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    **settings: Any,
) -> None:
    """Run a trained bundle on files, folders, DICOM series, ZIP archives and volumes.

    Writes predictions.csv, predictions.json, left_out.csv, masks and report.html. Research use only. Other options are
    keys of the bundle's inference.json, such as --device cpu, --slices, --plane, --threshold or
    --allow_modality_mismatch true.

    Args:
        bundle: folder of a trained bundle.
        paths: files or folders, in any mixture.
        out: folder for the results.
        masks: nifti, in the image's own grid and affine; png, one per slice; auto, NIfTI but for pictures; or none.
        dicom: seg,sr,sc, DICOM objects to write; they carry the identifiers of their study, which nothing else does.
        source: root of a DICOMweb service from which a series is fetched.
        series: Series Instance UID of that series.
        study: Study Instance UID of that series; by default the service is asked.
        stow: root of a DICOMweb service that receives the DICOM objects.
        group: series, one answer for each series or file; study, one for all series of a DICOM study; auto, as the
            task asks: study for the knee tasks, whose exams are several series, otherwise series.
        names: what the outputs call a file: files, its own name; paths, its path, whose folders may name patients.
        abstain_below: leave undecided what has a lower calibrated probability than this.
        report: write report.html.
        resume: go on with a prediction that was killed.
        overwrite: replace the results of an earlier prediction.
        settings: keys of the bundle's inference.json.
    """
    from radimagenet_monai.integrations.prediction.dicom_files import IDENTIFIED
    from radimagenet_monai.integrations.prediction.run import predict as run
    from radimagenet_monai.integrations.prediction.summary import summary_lines

    if dicom:
        print(f"note: {IDENTIFIED}", flush=True)
    predictions = run(
        bundle,
        paths,
        out,
        masks=masks,
        dicom=dicom or (),
        source=source,
        series=series,
        study=study,
        stow=stow,
        group=group,
        names=names,
        abstain_below=abstain_below,
        report=report,
        resume=resume,
        overwrite=overwrite,
        progress=True,
        settings=settings,
    )
    for line in summary_lines(out, predictions, names):
        print(line)


_OF_A_RUN = ("bundle_root", "dataset_dir", "output_dir", "seed", "num_workers", "unreadable", "overlays", "batch_size")
"""Keys of inference.json that say nothing to a prediction study by study."""


def _predict_options(given: Mapping[str, Any]) -> Options:
    return config_options("radimagenet predict", given, "inference", _OF_A_RUN)


COMMANDS = {"predict": predict}
OPTIONS = {"predict": _predict_options}
