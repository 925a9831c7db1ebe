"""Anybody's own folders: classes, splits, patients, series."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from own_data import dicom_series, picture, volume

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.readers.folder import looks_like_folder, read_folder, summary

ALL_TRAIN = {"fractions": (1, 0, 0), "folds": 0, "progress": False}


def fill(root: Path, *folders: str, count: int = 4) -> Path:
    for folder in folders:
        for number in range(count):
            picture(root / folder / f"{number}.png")
    return root


def test_class_folders(tmp_path: Path) -> None:
    root = fill(tmp_path, "normal", "tumor", count=10)
    for junk in ("Thumbs.db", ".DS_Store", "normal/._0.png", "normal/notes.txt"):
        (root / junk).write_bytes(b"x")
    picture(root / "loose.png")
    frame = read_folder(root, progress=False)
    assert len(frame) == 20
    assert frame["image"][0] == "normal/0.png"
    assert frame["label"].tolist() == ["normal"] * 10 + ["tumor"] * 10
    assert frame["patient_id"].tolist() == frame["image"].tolist()
    assert "exam" not in frame.columns
    assert set(frame["split"]) == {"train", "validation", "test"}
    notes = frame.attrs["notes"]
    assert "left out: 1 x image in no class folder, 'loose.png'" in notes
    assert frame.attrs["left_out"] == {
        "file of an operating system or DICOM directory": 1,
        "hidden": 2,
        "image in no class folder": 1,
        "text or table": 1,
    }
    assert "classes in alphabetical order: normal, tumor; the last, 'tumor', is the positive one" in notes[0]
    assert notes[1].startswith("20 of 20 images name no patient")
    assert len(notes) == 6, "classes, patients, three reasons, folds"
    facts = summary(frame)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["classes"] == ["normal", "tumor"]
    assert looks_like_folder(root)


def test_the_folder_below_the_class_is_the_patient(tmp_path: Path) -> None:
    root = fill(tmp_path, *(f"{label}/p{number}/deep" for label in ("a", "b") for number in range(5)), count=2)
    frame = read_folder(root, progress=False)
    assert frame["patient_id"][:4].tolist() == ["p0", "p0", "p1", "p1"]
    assert frame["patient_id"].nunique() == 5, "a patient in two classes is one patient"
    assert frame.groupby("patient_id")["fold"].nunique().max() == 1
    assert frame["exam"][:3].tolist() == ["a/p0/deep", "a/p0/deep", "a/p1/deep"]
    assert len(frame.attrs["notes"]) == 1


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "valid", "TEST"), ("train", "validation", "test")]
)
def test_split_folders(tmp_path: Path, names: tuple[str, str, str]) -> None:
    root = fill(tmp_path, *(f"{name}/{label}" for name in names for label in ("no", "yes")))
    frame = read_folder(root, progress=False)
    assert frame["split"].value_counts().to_dict() == {"train": 8, "validation": 8, "test": 8}
    assert set(frame["label"]) == {"no", "yes"}
    assert (
        frame["split"]
        == frame["image"]
        .str.split("/")
        .str[0]
        .str.lower()
        .map(dict(zip((name.lower() for name in names), ("train", "validation", "test"), strict=True)))
    ).all()


def test_a_patient_in_two_split_folders_is_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, "train/a/p1", "train/b/p2", "val/a/p3", "val/b/p1", "test/a/p4", "test/b/p5")
    with pytest.raises(RecordsError, match=r"patient_id 'p1' is in split train .* and split validation"):
        read_folder(root, folds=0, progress=False)


def test_layouts_that_cannot_be_told_are_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, "test", "control")
    with pytest.raises(RecordsError, match="holds 'test', which may be a split, beside 'control'; say --layout class"):
        read_folder(root)
    assert read_folder(root, layout="class", **ALL_TRAIN).attrs["classes"] == ["control", "test"]
    with pytest.raises(RecordsError, match="folder 'control' is neither train, validation nor test"):
        read_folder(root, layout="split")
    with pytest.raises(ConfigurationError, match="layout 'deep' is unknown"):
        read_folder(root, layout="deep")
    with pytest.raises(RecordsError, match="expected root/<split>/<class>/image"):
        read_folder(fill(tmp_path / "flat", "train", "test"))


def test_classes_choose_folders_and_their_order(tmp_path: Path) -> None:
    root = fill(tmp_path, "Benign", "MALIGNANT", "unclear")
    frame = read_folder(root, classes=("malignant", "benign"), **ALL_TRAIN)
    assert frame.attrs["classes"] == ["malignant", "benign"]
    assert frame["label"].value_counts().to_dict() == {"benign": 4, "malignant": 4}
    assert "folder 'unclear' with 4 images is none of the classes and was left out" in frame.attrs["notes"]
    with pytest.raises(RecordsError, match="has no folder of class 'cyst'; it has 'Benign', 'MALIGNANT', 'unclear'"):
        read_folder(root, classes="benign,cyst")


def test_patients_by_a_pattern(tmp_path: Path) -> None:
    for label, number in (("a", 1), ("a", 2), ("b", 3), ("b", 4)):
        for view in "xy":
            picture(tmp_path / label / f"{number:03d}_{view}.png")
    frame = read_folder(tmp_path, patient_pattern=r"/(\d+)_", **ALL_TRAIN)
    assert frame["patient_id"].tolist() == ["001", "001", "002", "002", "003", "003", "004", "004"]
    for pattern, message in (
        ("(", "is no regular expression"),
        ("a", "has no group"),
        ("(q+)", "names no patient in 'a/"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            read_folder(tmp_path, patient_pattern=pattern, **ALL_TRAIN)


def test_series_of_single_files_and_volumes(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for patient in ("1", "2"):
            dicom_series(tmp_path / label / f"{label}{patient}" / "ct", slices=5, patient=f"{label}{patient}")
        volume(tmp_path / label / f"{label}3" / "v.nii.gz", slices=7)
    frame = read_folder(tmp_path, slices="central:3", **ALL_TRAIN)
    assert frame.groupby("patient_id").size().to_dict() == dict.fromkeys(("a1", "a2", "a3", "b1", "b2", "b3"), 3)
    first = frame[frame["patient_id"] == "a1"]
    # Files are named against the order of the series, whose middle slices are 2, 3 and 4 of 1 ... 5.
    assert set(first["image"]) == {f"a/a1/ct/a{number:03d}.dcm" for number in (2, 3, 4)}
    assert set(first["exam"]) == {"a/a1/ct"}
    assert set(frame.loc[frame["patient_id"] == "a3", "frame"]) == {2, 3, 4}
    assert len(read_folder(tmp_path, **ALL_TRAIN)) == 4 * 5 + 2 * 7


def test_two_series_in_one_folder_stay_apart(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for name in ("m", "n"):
            dicom_series(tmp_path / label, slices=4, patient=f"MRN-{label}{name}", name=name)
    frame = read_folder(tmp_path, slices="central:1", **ALL_TRAIN)
    assert frame["exam"].tolist() == ["a", "a#2", "b", "b#2"]
    assert frame["patient_id"].tolist() == frame["exam"].tolist(), "a series is never divided"
    frame = read_folder(tmp_path, patient_from_header=True, **ALL_TRAIN)
    assert frame["patient_id"].nunique() == 4
    assert "MRN" not in frame.to_csv()


def test_folders_that_hold_no_dataset(tmp_path: Path) -> None:
    assert not looks_like_folder(tmp_path)
    assert not looks_like_folder(tmp_path / "none")
    with pytest.raises(RecordsError, match="is not a folder"):
        read_folder(tmp_path / "none")
    with pytest.raises(RecordsError, match="holds no images in folders"):
        read_folder(tmp_path)
    with pytest.raises(RecordsError, match="images in one class folder, 'a'"):
        read_folder(fill(tmp_path, "a"))
