"""BUSI folders, tidy and untidy, as records."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.readers.busi import (
    CLASSES,
    DATASET_FOLDER,
    PUBLISHED_COUNTS,
    looks_like_busi,
    read_busi,
    summary,
)
from radimagenet_monai.datasets.records.table import load_datalist, read_records, write_records
from radimagenet_monai.phantoms.busi import write_busi_phantom

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_busi_phantom(tmp_path_factory.mktemp("clean"), patients=45, seed=5, size=(96, 128), progress=False)


@pytest.fixture
def busi(clean: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(clean, tmp_path / "busi")
    return tmp_path / "busi"


def test_a_tidy_folder(clean: Path) -> None:
    frame = read_busi(clean, progress=False)
    assert frame.attrs["notes"] == []
    assert frame["finding"].value_counts().to_dict() == {"benign": 25, "malignant": 12, "normal": 8}
    assert frame["label"].value_counts().to_dict() == {"benign": 33, "malignant": 12}
    assert set(frame.loc[frame["finding"] == "normal", "label"]) == {"benign"}
    assert frame["image"][9] == "Dataset_BUSI_with_GT/benign/benign (10).png"
    assert frame["mask"][9].split(";")[0] == "Dataset_BUSI_with_GT/benign/benign (10)_mask.png"
    assert frame["patient_id"].is_unique
    for column in ("split", "fold"):
        assert pd.crosstab(frame[column], frame["label"]).to_numpy().min() > 0
    pd.testing.assert_frame_equal(frame, read_busi(clean, progress=False))


def test_hashes_are_those_of_the_files(clean: Path) -> None:
    frame = read_busi(clean, progress=False)
    run = subprocess.run(["sha256sum", clean / frame["image"][7]], capture_output=True, text=True, check=True)
    assert run.stdout.split()[0] == frame["sha256"][7]


def test_root_is_the_folder_or_its_parent(clean: Path) -> None:
    inner = read_busi(clean / DATASET_FOLDER, progress=False)
    assert inner["image"][0] == "benign/benign (1).png"
    outer = read_busi(clean, progress=False)
    assert (DATASET_FOLDER + "/" + inner["image"] == outer["image"]).all()
    assert inner["split"].equals(outer["split"])


def test_the_table_reaches_the_datalist(clean: Path, tmp_path: Path) -> None:
    frame = read_busi(clean, progress=False)
    write_records(frame, tmp_path / "records.csv")
    pd.testing.assert_frame_equal(read_records(tmp_path / "records.csv", CLASSES), frame)
    items = load_datalist(tmp_path / "records.csv", clean, CLASSES, "test", fold=0)
    assert {item["label"] for item in items} == {0, 1}
    several = frame["mask"].str.contains(";")
    assert several.any()
    everything = load_datalist(tmp_path / "records.csv", clean, CLASSES)
    assert [len(item["mask"]) > 1 for item in everything] == several.tolist()


def test_odd_files_are_named_and_left_out(busi: Path) -> None:
    benign = busi / DATASET_FOLDER / "benign"
    for name in ("Thumbs.db", "._benign (1).png", "benign (99)_mask.png", "malignant (1).png"):
        (benign / name).write_bytes(b"x")
    for mask in benign.glob("benign (2)_mask*.png"):
        mask.unlink()
    (benign / "benign (3).png").rename(benign / "benign (3).PNG")
    Image.new("1", (5, 7)).save(benign / "benign (4)_mask.png")
    (benign / "benign (5)_mask.png").write_bytes(b"no picture")
    (benign / "benign (6).png").write_bytes(b"")
    shutil.copy(benign / "benign (7).png", benign / "benign (07).png")
    frame = read_busi(busi, progress=False)
    notes = "\n".join(frame.attrs["notes"])
    for part in (
        "Thumbs.db' was left out: its name is not of the form",
        "._benign (1).png' was left out: its name",
        "benign (99)_mask.png' was left out: a mask without its image",
        "malignant (1).png' was left out: a file of malignant in the folder of benign",
        "benign (2).png' has no mask",
        "benign (4)_mask.png' was left out: it is 5 x 7 pixels, its image",
        "benign (5)_mask.png' was left out: it is not a readable picture",
        "benign (6).png' is not a readable picture",
        "benign (7).png' was left out: it has the number of",
    ):
        assert part in notes
    assert len(frame.attrs["notes"]) == 9
    assert len(frame) == 45
    assert "benign (3).PNG" in frame["image"][2]
    masks = frame["mask"].str.split(";").str[0].tolist()
    assert [bool(mask) for mask in masks[:7]] == [True, False, True, False, False, True, True]


def test_copies_and_near_copies_stay_together(busi: Path) -> None:
    folder = busi / DATASET_FOLDER
    shutil.copy(folder / "benign/benign (1).png", folder / "benign/benign (101).png")
    picture = cv2.imread(str(folder / "malignant/malignant (2).png"), cv2.IMREAD_GRAYSCALE)
    smaller = cv2.resize(picture, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    cv2.drawMarker(smaller, (smaller.shape[1] // 2, smaller.shape[0] // 2), 255, markerSize=6)
    brighter = np.clip(smaller * 1.1 + 5, 0, 255).astype(np.uint8)
    cv2.imwrite(str(folder / "benign/benign (102).png"), brighter)
    frame = read_busi(busi, progress=False).set_index("image")

    def patient(name: str) -> str:
        return frame.loc[f"{DATASET_FOLDER}/{name}", "patient_id"]

    assert patient("benign/benign (101).png") == patient("benign/benign (1).png") == "benign-0001"
    assert patient("benign/benign (102).png") == patient("malignant/malignant (2).png")
    assert frame["patient_id"].nunique() == 45
    assert frame.groupby("patient_id")[["split", "fold"]].nunique().to_numpy().max() == 1
    notes = " ".join(frame.attrs["notes"])
    assert "benign (101).png' are the same file: kept together" in notes
    assert "bits differ), under different findings: kept together" in notes


def test_the_split_depends_on_the_seed_alone(clean: Path) -> None:
    first, second = (read_busi(clean, seed=seed, progress=False) for seed in (0, 1))
    assert (first["split"] != second["split"]).any()
    assert first["sha256"].equals(second["sha256"])


def test_too_few_patients_for_folds_are_noted(tmp_path: Path) -> None:
    counts = {"benign": 6, "malignant": 3, "normal": 0}
    root = write_busi_phantom(tmp_path, patients=counts, size=(64, 64), progress=False)
    frame = read_busi(root, progress=False)
    assert frame["fold"].isna().all()
    assert "class 'malignant' has 3 patients and 5 folds were wanted" in frame.attrs["notes"][-1]
    assert "folder 'normal' is missing" in read_busi(root, progress=False).attrs["notes"]
    (root / DATASET_FOLDER / "malignant" / "malignant (3).png").unlink()
    with pytest.raises(RecordsError, match="class 'malignant' has 2 patients; 3 splits"):
        read_busi(root, progress=False)


def test_summary_compares_with_the_published_counts(clean: Path) -> None:
    counts = summary(read_busi(clean, progress=False))
    assert json.loads(json.dumps(counts)) == counts
    assert counts["images"] == 45
    assert counts["differences"] == {"benign": 25 - 437, "malignant": 12 - 210, "normal": 8 - 133}
    assert sum(PUBLISHED_COUNTS.values()) == 780


def test_other_folders_are_not_busi(tmp_path: Path) -> None:
    assert not looks_like_busi(tmp_path)
    with pytest.raises(RecordsError, match="does not hold BUSI; expected Dataset_BUSI_with_GT"):
        read_busi(tmp_path)
    for finding in ("benign", "malignant"):
        (tmp_path / finding).mkdir()
    assert not looks_like_busi(tmp_path)
    with pytest.raises(RecordsError, match="does not hold BUSI"):
        read_busi(tmp_path)
    with pytest.raises(RecordsError, match="is not a folder"):
        read_busi(tmp_path / "none")


def test_both_forms_look_like_busi(clean: Path) -> None:
    assert looks_like_busi(clean)
    assert looks_like_busi(str(clean / DATASET_FOLDER))


def test_datasets_and_phantoms_need_no_torch() -> None:
    code = "import sys, radimagenet_monai.phantoms.busi; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
