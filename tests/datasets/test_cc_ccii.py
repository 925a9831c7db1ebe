"""CC-CCII folders, tidy and untidy, as records."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from radimagenet_monai.catalog.tasks import TASKS
from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.readers.cc_ccii import CLASSES, looks_like_cc_ccii, read_cc_ccii, summary
from radimagenet_monai.datasets.records.table import read_records, write_records
from radimagenet_monai.datasets.registry import READERS


@pytest.fixture
def tidy(tmp_path: Path) -> Path:
    """Six patients a class and two normal ones; two scans for every third; slices 8 to 12, without any picture."""
    for label, first, count in (("CP", 100, 6), ("NCP", 200, 6), ("Normal", 300, 2)):
        for patient in range(first, first + count):
            for scan in range(2 if patient % 3 == 0 else 1):
                folder = tmp_path / "CC" / label / str(patient) / str(4 * patient + scan)
                folder.mkdir(parents=True)
                for index in range(8, 13):
                    (folder / f"{index}.{'jpg' if scan else 'png'}").write_text(f"{patient} {scan} {index}")
    return tmp_path


def read(root: Path, **options: object) -> pd.DataFrame:
    return read_cc_ccii(root, progress=False, **{"folds": 0, **options})


def test_a_tidy_folder(tidy: Path, tmp_path: Path) -> None:
    frame = read(tidy, folds=3)
    assert frame.attrs["notes"] == ["2 patients of the folder Normal were left out: the task is CP against NCP"]
    assert tuple(TASKS["sarscov2_ct_classification"].classes) == CLASSES
    assert frame["label"].value_counts().to_dict() == {"CP": 40, "NCP": 40}
    assert frame["patient_id"].nunique() == 12
    assert frame["exam"].nunique() == 16
    assert frame.groupby("patient_id")[["split", "fold"]].nunique().to_numpy().max() == 1
    assert frame["image"][:6].tolist() == [
        *(f"CC/CP/100/400/{index}.png" for index in range(8, 13)),
        "CC/CP/101/404/8.png",
    ], "slices are in the order of their numbers"
    assert (frame["sha256"] == "").all()
    write_records(frame, tmp_path / "records.csv")
    assert read_records(tmp_path / "records.csv", CLASSES).equals(frame)


def test_root_is_the_folder_or_its_parent(tidy: Path) -> None:
    assert read(tidy / "CC")["image"][0] == "CP/100/400/8.png"
    assert looks_like_cc_ccii(str(tidy))
    assert READERS["cc_ccii"].looks_like(tidy / "CC")


def test_slices_are_chosen_by_scan(tidy: Path) -> None:
    frame = read(tidy, slices="central:1")
    assert len(frame) == 16
    assert set(frame["image"].str.rsplit("/", n=1).str[1]) == {"10.png", "10.jpg"}
    with pytest.raises(ConfigurationError, match="slices 'some' is unknown"):
        read(tidy, slices="some")


def test_a_number_under_both_classes_is_one_patient(tidy: Path) -> None:
    shutil.move(tidy / "CC" / "NCP" / "200", tidy / "CC" / "NCP" / "100")
    shutil.move(tidy / "CC" / "NCP" / "100" / "800", tidy / "CC" / "NCP" / "100" / "400")
    frame = read(tidy, folds=3)
    shared = frame[frame["patient_id"] == "100"]
    assert set(shared["label"]) == set(CLASSES)
    assert set(shared["exam"]) == {"CP 400", "NCP 400"}
    assert shared[["split", "fold"]].nunique().max() == 1
    assert "1 patient numbers occur under CP and NCP, first '100'" in "\n".join(frame.attrs["notes"])


def test_odd_files_are_named_and_left_out(tidy: Path) -> None:
    scan = tidy / "CC" / "CP" / "100" / "400"
    for path in (scan, scan.parent, scan.parent.parent):
        for name in ("Thumbs.db", "._8.png", ".DS_Store", "desktop.ini"):
            (path / name).touch()
    (scan / "8.jpg").touch()
    (scan / "8.gif").touch()
    (scan.parent / "loose.png").touch()
    (scan.parent / "empty").mkdir()
    shutil.rmtree(tidy / "CC" / "Normal")
    frame = read(tidy)
    assert len(frame) == 80
    assert sorted(frame.attrs["notes"]) == [
        "'CC/CP/100': 1 files were left out, first 'loose.png': not a slice in its scan's folder",
        "'CC/CP/100/400': 1 files were left out, first '8.gif': not a slice in its scan's folder",
        "'CC/CP/100/400': 1 slices are there as PNG and JPEG: the PNG is used",
        "'CC/CP/100/empty' was left out: it holds no slice",
    ]


def test_hashes_on_request(tidy: Path) -> None:
    frame = read(tidy, hash_files=True)
    assert frame["sha256"][7] == hashlib.sha256((tidy / frame["image"][7]).read_bytes()).hexdigest()


def test_the_authors_csv_chooses_labels_and_splits(tidy: Path, tmp_path: Path) -> None:
    authors = tmp_path / "csv"
    authors.mkdir()
    for part, numbers in (("train", (100, 101, 200, 201)), ("val", (102, 202)), ("test", (103, 203))):
        lines = [
            f"{row},/x/{label}/{patient}/{4 * patient}/{index}.png,{patient},{label},{index}.png"
            for row, patient in enumerate(numbers)
            for label in ["CP" if patient < 200 else "NCP"]
            for index in (9, 10)
        ]
        (authors / f"sars_{part}.csv").write_text("\n".join([",imgpath,pid,label,filename", *lines, ""]))
    frame = read(tidy, authors_csv=str(authors))
    assert frame["split"].value_counts().to_dict() == {"train": 8, "validation": 4, "test": 4}
    assert frame["patient_id"].nunique() == frame["exam"].nunique() == 8
    assert (frame["label"] == frame["image"].str.split("/").str[1]).all()
    wrong = (authors / "sars_test.csv").read_text().replace(",103,CP,", ",103,NCP,").replace(",203,NCP,", ",203,CP,")
    (authors / "sars_test.csv").write_text(wrong)
    assert "4 images are labeled unlike their folder" in "\n".join(read(tidy, authors_csv=str(authors)).attrs["notes"])
    with pytest.raises(ConfigurationError, match="the CSV files choose the slices"):
        read(tidy, authors_csv=str(authors), slices="central:1")


def test_other_folders_are_not_cc_ccii(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="is not a folder"):
        read(tmp_path / "none")
    for label in CLASSES:
        (tmp_path / label).mkdir()
    assert not looks_like_cc_ccii(tmp_path)
    with pytest.raises(RecordsError, match="does not hold CC-CCII; expected folders CP and NCP"):
        read(tmp_path)
    for label in CLASSES:
        (tmp_path / label / "1").mkdir()
    with pytest.raises(RecordsError, match="no slice in the folders CP and NCP"):
        read(tmp_path)


def test_summary_names_the_difference_to_the_authors_selection(tidy: Path) -> None:
    facts = summary(read(tidy))
    assert json.loads(json.dumps(facts)) == facts
    assert facts["differences"] == {"images": 80 - 58_766}
    assert facts["patients_by_label"] == {"CP": 6, "NCP": 6}
    assert facts["exams_by_label"] == {"CP": 8, "NCP": 8}
