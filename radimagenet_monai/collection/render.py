"""Bundles made from the task catalogue, one self-contained folder each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from radimagenet_monai.catalog.datasets import DATASETS, Dataset
from radimagenet_monai.catalog.tasks import TASKS, Kind, Modality, Task, get_task
from radimagenet_monai.collection.versions import BUNDLE_CHANGELOG, BUNDLE_VERSION, TESTED_VERSIONS
from radimagenet_monai.core.atomic import atomic_write_text
from radimagenet_monai.core.version import __version__
from radimagenet_monai.encoders.architectures import ARCHITECTURES

_MODALITY_NAMES = {
    Modality.CT: "CT",
    Modality.MR: "MRI",
    Modality.US: "ultrasound",
    Modality.RADIOGRAPH: "radiograph",
}

_INTENSITY_TEXTS = {
    "UltrasoundLuminanced": "Ultrasound: the image is cropped to the scan region that the DICOM header or the picture "
    "itself shows, and reduced to luminance (YBR and palette images without a detour through RGB).",
    "CTWindowd": "CT: stored values become Hounsfield units by the modality LUT, then the named windows.",
    "MRPercentiled": "MRI: intensities are scaled by percentiles of the whole volume or series, not of the slice.",
    "RadiographVOId": "Radiograph: modality and VOI LUT are applied and MONOCHROME1 is inverted.",
    "AutoIntensityd": "The intensity policy goes by the modality of the header, the window of CT images by the region "
    "that it names (`BodyPartExamined`), or by `--ct_region lung` or `abdomen` where it names none.",
}

_TEMPLATE_FOLDERS = {
    Kind.PRETRAINING: ("common", "classification"),
    Kind.CLASSIFICATION: ("common", "classification"),
    Kind.SEGMENTATION: ("common", "segmentation"),
}


def released_tasks() -> list[Task]:
    """The tasks whose bundle exists in this version."""
    return [task for task in TASKS.values() if task.released]


def render_bundle(task: Task, dataset: Dataset | None = None) -> dict[str, str]:
    """Text of all files of the bundle of ``task``, by relative path with ``/``.

    Parameters
    ----------
    task
        A task of the catalogue, or its description for other data
        (`radimagenet_monai.datasets.records.data_source.described`).
    dataset
        Dataset that the model card and ``data_license.txt`` describe; by default the task's own.
    """
    environment = _environment()
    context = _context(task, dataset)
    rendered = {
        "LICENSE": _package_text("templates/common/LICENSE"),
        "configs/logging.conf": _package_text("templates/common/configs/logging.conf"),
        "models/.gitkeep": "",
    }
    for name in environment.list_templates(extensions=["j2"]):
        folder, _, path = name.removesuffix(".j2").partition("/")
        if folder in _TEMPLATE_FOLDERS[task.kind] and not path.startswith("_"):
            text = environment.get_template(name).render(context)
            rendered[path] = _canonical_json(text) if path.endswith(".json") else text
    return dict(sorted(rendered.items()))


def render_zoo_test(task: Task) -> str | None:
    """Text of the unit test that MONAI's model zoo runs on the bundle of ``task``; ``None`` if it has no phantom."""
    dataset = DATASETS.require(task.dataset)
    if dataset.name not in DATASETS.builtin() and not dataset.phantom:
        return None
    # Every class in every split; a patient of BUSI is one image.
    patients = 3 * len(task.classes) if task.kind is Kind.PRETRAINING else {"busi": 90}.get(dataset.name, 30)
    return _environment().get_template("zoo/unit_test.py.j2").render(task=task, patients=patients)


def write_bundles(out: str | os.PathLike[str], names: Iterable[str] | None = None) -> list[Path]:
    """Write the bundles ``names`` (all released ones by default) into ``out/<name>`` and return their folders.

    Files that are up to date, and trained models and outputs in the folders, are not touched.
    """
    tasks = [get_task(name) for name in names] if names else released_tasks()
    folders = []
    for task in tasks:
        folder = Path(out) / task.name
        rendered = render_bundle(task)
        for path in _stale(folder, rendered):
            atomic_write_text(folder / path, rendered[path])
        folders.append(folder)
    return folders


def stale_files(folder: str | os.PathLike[str], task: Task) -> list[str]:
    """Files of the bundle in ``folder`` that are missing or differ from the output of `render_bundle`."""
    return _stale(Path(folder), render_bundle(task))


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("radimagenet_monai.collection", "templates"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # JSON, Markdown, plain text and Python, no HTML
    )


def _stale(folder: Path, rendered: dict[str, str]) -> list[str]:
    return [
        path
        for path, text in rendered.items()
        if not (folder / path).is_file() or (folder / path).read_text(encoding="utf-8") != text
    ]


def _context(task: Task, dataset: Dataset | None = None) -> dict[str, Any]:
    dataset = dataset or DATASETS.require(task.dataset)
    options = dict(task.intensity)
    policy = options.pop("name")
    modality_name = _MODALITY_NAMES[task.modality] if task.modality else "CT, MRI or ultrasound"
    windows = options.get("windows", [])
    channels = [f"{window} window" for window in windows] if len(windows) > 1 else ["gray value"]
    return {
        "task": task,
        "dataset": dataset,
        "version": BUNDLE_VERSION,
        "changelog": BUNDLE_CHANGELOG,
        "package_version": __version__,
        "versions": TESTED_VERSIONS,
        "architectures": [architecture.title for architecture in ARCHITECTURES.builtin().values()],
        "modality_name": modality_name,
        "metadata_modality": task.modality.value if task.modality else "CT, MR, US",
        "description": _description(task, modality_name),
        "channels": channels,
        "label_classes": ", ".join(f"{index} {name}" for index, name in enumerate(task.outputs)),
        "channel_def": {str(index): name for index, name in enumerate(channels)},
        "class_def": {str(index): name for index, name in enumerate(task.outputs)},
        "intensity": {
            "_target_": f"radimagenet_monai.intensity.{policy}",
            "keys": "image",
            **options,
            "allow_modality_mismatch": "$engine.parse_flag(@allow_modality_mismatch)",
            **({"ct_region": "@ct_region"} if policy == "AutoIntensityd" else {}),
        },
        "by_region": policy == "AutoIntensityd",
        "intensity_text": _INTENSITY_TEXTS[policy],
        "prepare_command": _prepare_command(task, dataset),
        "phantom_command": f"radimagenet phantom {task.dataset} --out D",
    }


def _description(task: Task, modality_name: str) -> str:
    if task.kind is Kind.PRETRAINING:
        return (
            f"{task.title}: a classifier of {len(task.classes)} classes of {modality_name} images, whose encoder is "
            "written as weights for the other bundles, after Mei et al. 2022."
        )
    if not task.intended_use:
        kind = "U-Net" if task.kind is Kind.SEGMENTATION else "classifier"
        return f"{task.title}: a {kind} of {modality_name} images on a RadImageNet encoder."
    if task.kind is Kind.SEGMENTATION:
        return (
            f"{task.title}: a U-Net on a RadImageNet encoder for {modality_name} images of the {task.anatomy}, on the "
            "data of the localization experiment of Mei et al. 2022."
        )
    return (
        f"{task.title}: a classifier of {modality_name} images of the {task.anatomy} on a RadImageNet encoder, after "
        "the protocol of Mei et al. 2022."
    )


def _prepare_command(task: Task, dataset: Dataset) -> str:
    if dataset.name != task.dataset:
        return "radimagenet prepare csv --root D --csv TABLE --out PREPARED"
    options = "".join(f" --{name} {value}" for name, value in task.reader_options.items())
    return f"radimagenet prepare {task.dataset} --root D --out PREPARED{options}"


def _canonical_json(text: str) -> str:
    return json.dumps(json.loads(text), indent=4, ensure_ascii=False) + "\n"


def _package_text(path: str) -> str:
    return (files("radimagenet_monai.collection") / path).read_text(encoding="utf-8")
