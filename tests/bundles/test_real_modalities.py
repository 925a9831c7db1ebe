"""Real CT, MR and ultrasound images of the registry, from a table of one's own to a report: which modality is it?"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from bundle_runs import copy_bundle, run_workflow
from registry_images import PYRADIOMICS, TOTALSEGMENTATOR, fetch_sdist_files

from radimagenet_monai.cli import main
from radimagenet_monai.datasets import read_records

pytestmark = pytest.mark.slow

CLASSES = ("CT", "MR", "US")
AUTO = {
    "_target_": "radimagenet_monai.intensity.AutoIntensityd",
    "keys": "image",
    "ct": {"windows": ["abdomen"]},
}

# Study by study: what is known to be one study of one patient stands under one name.
PYDICOM_STUDIES = {
    "CT": {
        "ct-693": ["693_UNCR.dcm"],
        "ct-small": ["CT_small.dcm"],
        "ct-explicit": ["explicit_VR-UN.dcm"],
    },
    "MR": {
        "mr-small": ["MR_small.dcm"],
        "mr-philips": ["MR2_UNCR.dcm"],
        "mr-siemens": ["MR-SIEMENS-DICOM-WithOverlays.dcm"],
        "mr-enhanced": ["emri_small.dcm"],
    },
    "US": {
        "us-ge": ["US1_UNCR.dcm", "examples_rgb_color.dcm"],
        "us-philips": ["OBXXXX1A.dcm", "examples_palette.dcm"],
        "us-philips-2": ["JPGLosslessP14SV1_1s_1f_8b.dcm"],
        "us-sonosite": ["color3d_jpeg_baseline.dcm", "examples_ybr_color.dcm"],
        "us-aloka": ["gdcm-US-ALOKA-16.dcm"],
    },
}


def find_pydicom_file(name: str) -> Path | None:
    """A file of pydicom or of pydicom-data; those that pydicom would download are left alone."""
    data_store = pytest.importorskip("data_store", reason="pydicom-data is not installed")
    for place in (Path(pydicom.__file__).parent / "data" / "test_files", Path(data_store.__file__).parent / "data"):
        for path in place.rglob(name):
            return path
    return None


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of real images, and a table of them as somebody would write it by hand."""
    folder = tmp_path_factory.mktemp("real")
    rows = []

    def add(path: Path, modality: str, study: str) -> None:
        target = folder / study / path.name
        target.parent.mkdir(exist_ok=True)
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, target)
        rows.append({"path": f"{study}/{path.name}", "kind": modality, "study": study, "modality": modality})

    for modality, studies in PYDICOM_STUDIES.items():
        for study, names in studies.items():
            for path in filter(None, map(find_pydicom_file, names)):
                add(path, modality, study)
    series = "tests/reference_files/example_ct_dicom"
    add(fetch_sdist_files(*TOTALSEGMENTATOR, [series]) / series, "CT", "ct-abdomen")
    volumes = fetch_sdist_files(*PYRADIOMICS, ["data/brain1_image.nrrd", "data/lung1_image.nrrd"])
    add(volumes / "data" / "brain1_image.nrrd", "MR", "mr-brain")
    add(volumes / "data" / "lung1_image.nrrd", "CT", "ct-lung")
    add(Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz", "MR", "mr-diffusion")
    with (folder / "table.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["path", "kind", "study", "modality"])
        writer.writeheader()
        writer.writerows(rows)
    return folder, folder / "table.csv"


@pytest.mark.long
def test_modality_of_real_images_from_table_to_report(
    collected: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """What is learnt from sixteen studies is luck, and not looked at: what reaches the network, and what comes out."""
    folder, table = collected
    columns = ["--image_column", "path", "--label_column", "kind", "--patient_column", "study"]
    options = ["--csv", str(table), *columns, "--classes", ",".join(CLASSES), "--slices", "every:6"]
    main(["prepare", "csv", "--root", str(folder), "--out", str(tmp_path / "prepared"), *options])
    records = tmp_path / "prepared" / "records.csv"
    summary = json.loads((tmp_path / "prepared" / "summary.json").read_text())
    assert summary["classes"] == list(CLASSES)
    assert summary["patients"] >= 16
    assert set(summary["splits"]) == {"train", "validation", "test"}
    audit = json.loads((tmp_path / "prepared" / "audit.json").read_text())
    assert audit["verdict"] != "leakage", "a study is on both sides of the split"

    bundle = copy_bundle("acl_tear_mri_classification", tmp_path)
    place = {"dataset_dir": str(folder), "datalist": str(records), "intensity": AUTO, "num_workers": 0}
    settings = {"architecture": "densenet121", "image_size": 64, "batch_size": 8, "learning_rate": 1e-3}
    options = {"classes": list(CLASSES), "aggregate": "none", "max_epochs": 1}
    run_workflow(bundle, "train", **place, **settings, **options)
    # A wrong window or a wrong reader gives an even image; here the flattest is the diffusion series.
    shown = np.concatenate([np.load(path) for path in sorted((bundle / "output" / "store").rglob("images.npy"))])
    spans = np.ptp(shown.reshape(len(shown), -1).astype(int), axis=1)
    assert spans.min() > 100

    run_workflow(bundle, "evaluate", **place)
    evaluation = json.loads((bundle / "output" / "evaluation" / "evaluation.json").read_text())
    assert evaluation["classes"] == list(CLASSES)
    metrics = evaluation["metrics"]
    assert metrics["classes_present"] == 3
    assert len(metrics["confusion"]) == 3
    tested = read_records(records)
    tested = tested[tested["split"] == "test"]
    with (bundle / "output" / "evaluation" / "predictions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["file"], row["label"]) for row in rows] == list(zip(tested["image"], tested["label"], strict=True))
    for row in rows:
        probabilities = [float(row[f"probability_{name}"]) for name in CLASSES]
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row["decision"] == CLASSES[int(np.argmax(probabilities))]
    confusion = [[sum(r["label"] == a and r["decision"] == b for r in rows) for b in CLASSES] for a in CLASSES]
    assert metrics["confusion"] == confusion
    main(["report", str(bundle)])
    page = Path(capsys.readouterr().out.strip().splitlines()[-1])
    text = page.read_text()
    assert "Balanced accuracy" in text
    assert "Confusion matrix of 3 classes" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
