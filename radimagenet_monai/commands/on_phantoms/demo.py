"""The complete workflow on phantoms: images, records, training, evaluation, inference, comparison, reports.

Every step is a command that a user would type; the demo only runs them in order. It ends with the main question of this
project: which initialization is better on these data, and how sure is that?
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser

from radimagenet_monai.catalog.phantom_notice import PHANTOM_NOTICE
from radimagenet_monai.collection.render import write_bundles
from radimagenet_monai.comparison.bundle_run import bundle_command, run_bundle
from radimagenet_monai.comparison.compare import compare
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.core.named_roots import shell_command
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.phantoms import write_phantom
from radimagenet_monai.report.figures import contact_sheet
from radimagenet_monai.report.page import Picture, Section, write_page
from radimagenet_monai.report.run_report import read_json
from radimagenet_monai.report.sections.evaluation import evaluation_sections, headline
from radimagenet_monai.statistics.predictions import read_predictions

TASK = "breast_mass_us_classification"
ARCHITECTURE = "densenet121"
_MARKER = ".radimagenet-demo"
_NEW_IMAGES = 12
_SHOWN = 12
_COMPARED_EPOCHS, _COMPARED_SIZE = 5, 64


def run_demo(
    out: str | os.PathLike[str],
    images: int = 480,
    epochs: int = 14,
    image_size: int = 96,
    seed: int = 0,
    pretraining_images: int = 165 * 8,
    folds: int = 5,
    pretraining_epochs: int = 3,
) -> Path:
    """Run the demo in the folder ``out`` and return the path of its last report, the comparison's.

    Parameters
    ----------
    out
        Output folder; emptied first if it holds an earlier demo.
    images, epochs, image_size, seed
        Number of phantom images, training epochs, image side in pixels, and seed for all random draws.
    pretraining_images
        Number of images of the 165-class phantom used to pretrain the compared encoder.
    folds
        Number of folds of the comparison.
    pretraining_epochs
        Number of epochs of that pretraining.

    Raises
    ------
    ConfigurationError
        If ``out`` holds something other than an earlier demo.
    """
    started = time.monotonic()
    out = _fresh_folder(Path(out))

    _step(1, f"drawing {images} phantom breast ultrasound images in BUSI's layout")
    data = write_phantom("busi", out / "phantoms", patients=images, seed=seed, workers=2)
    new_images = _new_phantoms(out, seed)

    _step(2, "preparing records: labels, masks, patient-disjoint split")
    records, facts = prepare("busi", data, out / "prepared", seed)

    _step(3, f"training {ARCHITECTURE} from random initialization")
    (bundle,) = write_bundles(out / "bundles", [TASK])
    training: dict[str, Any] = {
        "dataset_dir": data,
        "datalist": records,
        "architecture": ARCHITECTURE,
        "image_size": image_size,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "max_epochs": epochs,
        "seed": seed,
    }
    run_bundle(bundle, "train", training, out / "logs" / "train.log")

    _step(4, "evaluating on the test split")
    evaluation = {"dataset_dir": data, "datalist": records}
    run_bundle(bundle, "evaluate", evaluation, out / "logs" / "evaluate.log")

    _step(5, "inference on new phantoms and on real ultrasound DICOM files")
    sources = {"new_phantoms": new_images, "real_ultrasound": _real_ultrasound(out)}
    for name, folder in sources.items():
        overrides = {"dataset_dir": folder, "output_dir": bundle / "output" / name}
        run_bundle(bundle, "inference", overrides, out / "logs" / f"{name}.log")

    page = _write_report(out, bundle, data, facts, sources, bundle_command(bundle, "train", training))
    print(f"  {page}", flush=True)

    _step(6, f"pretraining {ARCHITECTURE} on a phantom of RadImageNet's 165 classes")
    encoder = _pretrain(out, pretraining_images, pretraining_epochs, seed)

    _step(7, "which initialization is better on the breast phantoms, random or pretrained?")
    report = compare(
        TASK,
        records,
        ["random", f"pretrained={encoder}"],
        out / "comparison",
        data,
        folds=folds,
        epochs=min(epochs, _COMPARED_EPOCHS),
        image_size=min(image_size, _COMPARED_SIZE),
        seed=seed,
    )
    print(f"done in {time.monotonic() - started:.0f} s", flush=True)
    return report


def _pretrain(out: Path, images: int, epochs: int, seed: int) -> Path:
    """Pretrain for a few epochs on small images: enough for features that separate classes."""
    data = write_phantom("radimagenet", out / "radimagenet_phantom", patients=images, size=64, seed=seed, workers=2)
    records, _ = prepare("radimagenet", data, out / "radimagenet_prepared", seed)
    (bundle,) = write_bundles(out / "bundles", [f"radimagenet_{ARCHITECTURE}_pretraining"])
    training = {"dataset_dir": data, "datalist": records, "image_size": 64, "batch_size": 32, "learning_rate": 1e-3}
    training |= {"max_epochs": epochs, "seed": seed}
    run_bundle(bundle, "train", training, out / "logs" / "pretrain.log")
    return bundle / "models" / "encoder.safetensors"


def _fresh_folder(out: Path) -> Path:
    if out.exists() and any(out.iterdir()) and not (out / _MARKER).exists():
        raise ConfigurationError(f"'{out}' holds files that are no demo of ours; give an empty or new folder as --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / _MARKER).touch()
    return out.resolve()


def _step(number: int, text: str) -> None:
    print(f"[{number}/7] {text}", flush=True)


def _new_phantoms(out: Path, seed: int) -> Path:
    """Unlabeled images from another seed, like those of a clinical folder."""
    written = write_phantom("busi", out / "new_phantoms_source", patients=_NEW_IMAGES, seed=seed + 1, workers=2)
    folder = out / "new_phantoms"
    folder.mkdir()
    pictures = [path for path in sorted(written.rglob("*.png")) if "_mask" not in path.name]
    for number, path in enumerate(pictures):
        shutil.copy(path, folder / f"image{number:03d}.png")
    shutil.rmtree(out / "new_phantoms_source")
    return folder


def _real_ultrasound(out: Path) -> Path:
    """The ultrasound DICOM files of the pydicom and pydicom-data packages, selected by header."""
    import pydicom

    folder = out / "real_ultrasound"
    folder.mkdir()
    places = [Path(pydicom.__file__).parent / "data" / "test_files"]
    if (store := find_spec("data_store")) is not None and store.origin:
        places.append(Path(store.origin).parent / "data")
    for place in places:
        for path in sorted(place.glob("*.dcm")):
            try:
                header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality", "NumberOfFrames"])
            except Exception:  # the packages contain damaged files on purpose
                continue
            # A clip of 120 frames would fill most of the report.
            if header.get("Modality") == "US" and int(header.get("NumberOfFrames") or 1) <= 10:
                shutil.copy(path, folder / path.name)
    return folder


def _write_report(
    out: Path,
    bundle: Path,
    data: Path,
    facts: dict[str, Any],
    sources: dict[str, Path],
    command: Sequence[str],
) -> Path:
    place = bundle / "output" / "evaluation"
    evaluation = read_json(place / "evaluation.json")
    run = read_json(bundle / "output" / "run.json")
    classes = evaluation["classes"]
    rows = read_predictions(place).to_dict("records")

    sections = [
        *evaluation_sections(evaluation, rows, place),
        Section(
            "What the network sees",
            [
                f"Canonical images of the test split: cropped to the scan region, luminance in [0, 1], upright, "
                f"{run['settings']['image_size']} pixels square."
            ],
            pictures=[_test_sheet(rows, bundle, data, classes)],
        ),
        *(_inference_section(name, folder, bundle, classes) for name, folder in sources.items()),
        Section(
            "Data and split",
            [f"{facts['images']} phantom images, {facts['patients']} phantom patients, no patient in two splits."],
            ["", "images"],
            [*([f"split {name}", count] for name, count in facts["splits"].items())]
            + [[f"finding {name}", count] for name, count in facts["found"].items()],
        ),
        Section(
            "Training",
            [
                f"Best epoch {run['best_metric']['epoch']} of {run['epochs']} by validation AUC "
                f"({run['best_metric']['value']:.3f}); {run['seconds']:.0f} s on {run['hardware']['processor']}, "
                f"{run['threads']} threads."
            ],
            ["setting", "value"],
            [[name, value] for name, value in run["settings"].items()],
            details=shell_command(command, {"DEMO": out.resolve()}) + "\n\n" + json.dumps(run, indent=2),
        ),
    ]
    return write_page(
        out / "report.html",
        "Demo: malignancy of breast masses in ultrasound, on phantoms",
        PHANTOM_NOTICE,
        {
            **headline(evaluation),
            "Encoder": f"{run['settings']['architecture']}, {run['settings']['weights']} initialization",
        },
        sections,
    )


def _test_sheet(rows: Sequence[dict[str, str]], bundle: Path, data: Path, classes: Sequence[str]) -> Picture:
    chosen = rows[:: max(1, len(rows) // _SHOWN)][:_SHOWN]
    pictures = _as_network_sees(bundle, [str(data / row["file"]) for row in chosen], [0] * len(chosen))
    captions = [f"{row['label']}\np({classes[1]}) {float(row[f'probability_{classes[1]}']):.2f}" for row in chosen]
    return Picture(
        contact_sheet(pictures, captions),
        f"{len(chosen)} phantom ultrasound images with true class and probability",
        "Every n-th image of the test split, with its true class and probability.",
    )


def _inference_section(name: str, folder: Path, bundle: Path, classes: Sequence[str]) -> Section:
    rows = read_predictions(bundle / "output" / name).to_dict("records")
    readable = [row for row in rows if not row["problem"]][: 2 * _SHOWN]
    captions = [
        f"{_short(row['file'])}\np({classes[1]}) {float(row[f'probability_{classes[1]}']):.2f}" for row in readable
    ]
    paths, frames = [str(folder / row["file"]) for row in readable], [int(row["frame"]) for row in readable]
    images = _as_network_sees(bundle, paths, frames)
    if name == "real_ultrasound":
        title = "Inference on real ultrasound DICOM files"
        text = (
            "Real files that ship with the pydicom packages, of other anatomies and uses (RLE, JPEG 2000, palette and "
            "YBR among them). They show that native files are read; a network trained on phantoms has no meaningful "
            "opinion on them."
        )
    else:
        title, text = "Inference on new phantoms", "Unlabeled phantoms from another seed."
    problems = [[f"{row['file']}, frame {row['frame']}", row["problem"]] for row in rows if row["problem"]]
    return Section(
        title,
        [text],
        ["not read", "reason"] if problems else (),
        problems,
        [
            Picture(
                contact_sheet(images, captions),
                f"{len(readable)} images with the probability of {classes[1]}",
                f"{len(readable)} of {len(rows)} images as the network sees them.",
            )
        ],
    )


def _as_network_sees(bundle: Path, paths: Sequence[str], frames: Sequence[int]) -> list[np.ndarray]:
    """Gray images, ``(image_size, image_size)`` in [0, 1], from the preprocessing of the bundle's config."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser["bundle_root"] = str(bundle)
    preprocessing = parser.get_parsed_content("preprocessing")
    items = ({"image": path, "frame": frame} for path, frame in zip(paths, frames, strict=True))
    return [np.asarray(preprocessing(item)["image"][0]) for item in items]


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"{name[:12]}…{name[-12:]}"
