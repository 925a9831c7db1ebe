"""Anybody's own table: columns, paths, labels, patients, splits, volumes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from own_data import dicom_series, picture, volume

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.readers.csv_table import looks_like_csv, read_csv, summary
from radimagenet_monai.datasets.records.table import load_datalist
from radimagenet_monai.datasets.registry import prepare
from radimagenet_monai.io.reader import read_frame

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("own")
    for number in range(24):
        picture(root / "images" / f"{number}.png")
    return root


def rows(**more: list[object]) -> pd.DataFrame:
    """24 pictures of 12 patients, alternately of two labels a patient."""
    return pd.DataFrame(
        {
            "image": [f"images/{number}.png" for number in range(24)],
            "label": [("no", "yes")[number // 2 % 2] for number in range(24)],
            "patient_id": [f"00{number // 2}" for number in range(24)],
            **more,
        }
    )


def read(root: Path, table: pd.DataFrame, folder: Path, separator: str = ",", **options: object) -> pd.DataFrame:
    path = folder / "own.csv"
    table.to_csv(path, index=False, sep=separator)
    return read_csv(root, csv=str(path), progress=False, **options)


def test_a_table(pictures: Path, tmp_path: Path) -> None:
    frame = read(pictures, rows(scanner=["A", "B"] * 12), tmp_path)
    assert frame["image"].tolist() == rows()["image"].tolist()
    assert frame["patient_id"][0] == "000"
    assert frame["scanner"].tolist() == ["A", "B"] * 12
    assert frame.attrs["classes"] == ["no", "yes"]
    assert frame.attrs["notes"] == [
        "classes in alphabetical order: no, yes; the last, 'yes', is the positive one; choose another with --classes"
    ]
    assert set(frame["split"]) == {"train", "validation", "test"}
    assert frame.groupby("patient_id")[["split", "fold"]].nunique().to_numpy().max() == 1
    digest = hashlib.sha256((pictures / "images/5.png").read_bytes()).hexdigest()
    assert frame["sha256"][5] == digest
    facts = summary(frame)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["classes"] == ["no", "yes"]
    assert facts["published"] == facts["differences"] == {}


@pytest.mark.parametrize(
    ("names", "separator"),
    [
        (("Path", "Diagnosis", "Patient ID"), ","),
        (("file_name", "CLASS", "subject-id"), ";"),
        (("img", "target", "pid"), "\t"),
        (("ImagePath", "label", "PatientID"), ","),
    ],
)
def test_usual_names_of_columns(pictures: Path, tmp_path: Path, names: tuple[str, ...], separator: str) -> None:
    table = rows()
    table.columns = pd.Index(names)
    frame = read(pictures, table, tmp_path, separator)
    pd.testing.assert_frame_equal(frame, read(pictures, rows(), tmp_path))


def test_columns_can_be_named(pictures: Path, tmp_path: Path) -> None:
    table = rows(path=["x"] * 24)
    table.columns = pd.Index(["a", "b", "c", "path"])
    options = {"image_column": "a", "label_column": "b", "patient_column": "c"}
    frame = read(pictures, table, tmp_path, **options)
    assert frame["path"].tolist() == ["x"] * 24
    with pytest.raises(
        ConfigurationError, match="no column 'd' among a, b, c, path; give --patient_column one of them"
    ):
        read(pictures, table, tmp_path, **{**options, "patient_column": "d"})
    with pytest.raises(
        ConfigurationError, match="columns 'path' and 'file' may both be the image; choose with --image_"
    ):
        read(pictures, table.rename(columns={"a": "file"}), tmp_path, label_column="b")
    with pytest.raises(ConfigurationError, match="no column of images among"):
        read(pictures, pd.DataFrame({"x": ["a"], "label": ["b"]}), tmp_path)
    with pytest.raises(ConfigurationError, match="no column of labels among"):
        read(pictures, pd.DataFrame({"image": ["a"], "x": ["b"]}), tmp_path)


def test_labels_in_any_spelling_and_the_order_of_classes(pictures: Path, tmp_path: Path) -> None:
    spelled = rows(label=["Yes ", "0", "no", "YES"] * 6)
    for classes in ("no,yes", ("no", "yes"), ["no", "yes"]):
        frame = read(pictures, spelled, tmp_path, classes=classes)
        assert frame["label"].tolist() == ["yes", "no", "no", "yes"] * 6
        assert frame.attrs["notes"] == []
    assert read(pictures, rows(), tmp_path, classes="yes,no").attrs["classes"] == ["yes", "no"]
    assert read(pictures, rows(label=["10", "9"] * 12), tmp_path).attrs["classes"] == ["9", "10"]
    with pytest.raises(RecordsError, match=r"label 'yes' \(row 3\) is none of the classes CT, MR, US"):
        read(pictures, rows(label=["CT", "yes"] * 12), tmp_path, classes="CT,MR,US")
    with pytest.raises(RecordsError, match="all labels are 'x'; a task needs two classes"):
        read(pictures, rows(label=["x"] * 24), tmp_path)
    frame = read(pictures, rows(label=[*["no", "yes", ""] * 8]), tmp_path)
    assert len(frame) == 16
    assert "left out: 8 x row without a label, 'row 4', 'row 7', 'row 10' and 5 more" in frame.attrs["notes"]
    assert frame.attrs["left_out"] == {"row without a label": 8}


def test_paths_are_absolute_or_relative_with_either_slash(pictures: Path, tmp_path: Path) -> None:
    table = rows()
    table.loc[0, "image"] = str(pictures / "images/0.png")
    table.loc[1, "image"] = "images\\1.png"
    table.loc[2, "image"] = "./images/2.png"
    picture(tmp_path / "elsewhere.png")
    table.loc[3, "image"] = str(tmp_path / "elsewhere.png")
    images = read(pictures, table, tmp_path)["image"].tolist()
    assert images[:3] == ["images/0.png", "images/1.png", "images/2.png"]
    assert images[3] == str(tmp_path / "elsewhere.png")


def test_files_that_are_not_there(pictures: Path, tmp_path: Path) -> None:
    table = rows(mask=["images/0.png;images/none.png", *[""] * 23])
    table.loc[5, "image"] = "images/55.png"
    with pytest.raises(RecordsError, match=r"2 of 25 files do not exist .* first 'images/55\.png', 'images/none"):
        read(pictures, table, tmp_path)
    frame = read(pictures, table, tmp_path, missing="skip")
    assert len(frame) == 23
    assert frame["mask"][0] == "images/0.png"
    assert frame.attrs["left_out"] == {"file that is not there": 2}
    with pytest.raises(RecordsError, match="none of its images exists"):
        read(pictures, table.iloc[5:6], tmp_path, missing="skip")
    with pytest.raises(ConfigurationError, match="missing 'ignore' is unknown"):
        read(pictures, table, tmp_path, missing="ignore")


def test_unknown_patients_are_each_their_own(pictures: Path, tmp_path: Path) -> None:
    table = rows()
    table.loc[:3, "patient_id"] = ""
    frame = read(pictures, table, tmp_path)
    assert frame["patient_id"][:5].tolist() == [*table["image"][:4], "002"]
    assert any(note.startswith("4 of 24 images name no patient") for note in frame.attrs["notes"])


def test_splits_of_the_table_stay(pictures: Path, tmp_path: Path) -> None:
    parts = [("Train", "Train", "val", "TEST")[number // 2 % 4] for number in range(24)]
    labels = [("no", "yes")[number // 8 % 2] for number in range(24)]
    frame = read(pictures, rows(label=labels, subset=parts), tmp_path)
    assert frame["split"].tolist() == [{"Train": "train", "val": "validation", "TEST": "test"}[part] for part in parts]
    with pytest.raises(RecordsError, match=r"split 'x' \(row 2\) is unknown.*--split_column none"):
        read(pictures, rows(split=["x"] * 24), tmp_path)
    with pytest.raises(RecordsError, match=r"split 'x' \(row 2\) is unknown"):
        read(pictures, rows(set=["x", "train"] * 12), tmp_path)
    site = read(pictures, rows(set=["A", "B"] * 12), tmp_path)
    assert site["set"].tolist() == ["A", "B"] * 12, "a column that is no split stays"
    assert any("column 'set' holds no splits" in note for note in site.attrs["notes"])
    free = read(pictures, rows(split=["x"] * 24), tmp_path, split_column="none")
    assert free["split column"].tolist() == ["x"] * 24
    with pytest.raises(RecordsError, match="patient_id '000' is in split train"):
        read(pictures, rows(split=["train", "test"] * 12), tmp_path)


def test_validation_is_taken_from_train_where_there_is_none(pictures: Path, tmp_path: Path) -> None:
    parts = ["train" if number < 18 else "test" for number in range(24)]
    frame = read(pictures, rows(split=parts), tmp_path, fractions=(0.6, 0.2, 0.2))
    assert (frame["split"] == "test").tolist() == [part == "test" for part in parts]
    assert frame["split"].value_counts().to_dict() == {"train": 14, "test": 6, "validation": 4}
    assert any("no validation rows: 4 of the 18 train rows became validation" in note for note in frame.attrs["notes"])


def test_volumes_and_series_give_a_row_a_slice(tmp_path: Path) -> None:
    table = []
    for number in range(6):
        volume(tmp_path / f"v{number}.nii.gz", slices=5)
        dicom_series(tmp_path / f"s{number}", slices=4, patient=f"P{number}")
        table += [(f"v{number}.nii.gz", "MR", f"v{number}"), (f"s{number}", "CT", f"s{number}")]
    frame = pd.DataFrame(table, columns=["image", "label", "patient_id"])
    everything = read(tmp_path, frame, tmp_path)
    assert len(everything) == 6 * 5 + 6 * 4
    assert everything["frame"][:9].tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert (everything["exam"] == everything["image"]).all()
    assert summary(everything)["exams"] == 12
    central = read(tmp_path, frame, tmp_path, slices="central:2", modality="MR")
    assert central["frame"][:4].tolist() == [2, 3, 1, 2]
    assert set(central["modality"]) == {"MR"}
    assert (central["sha256"] != "").tolist() == central["image"].str.endswith(".gz").tolist()
    image, number = read_frame(str(tmp_path / "s0"), 2)
    assert image.pixels[number].max() == 200, "slice 2 of a series by position, not by file name"
    with pytest.raises(ConfigurationError, match="slices 'middle' is unknown"):
        read(tmp_path, frame, tmp_path, slices="middle")
    with pytest.raises(ConfigurationError, match="modality 'MRI' is unknown; expected one of CT, MR, US, radiograph"):
        read(tmp_path, frame, tmp_path, modality="MRI")


def test_a_frame_of_the_table_stays(tmp_path: Path) -> None:
    volume(tmp_path / "v.nii.gz", slices=5)
    frame = pd.DataFrame(
        {"image": ["v.nii.gz"] * 3, "slice": [4, 0, 2], "label": ["a", "b", "a"], "patient": [1, 2, 3]}
    )
    read_back = read(tmp_path, frame, tmp_path, fractions=(1, 0, 0), folds=0)
    assert read_back["frame"].tolist() == [4, 0, 2]


def test_patients_from_headers_are_pseudonyms(tmp_path: Path) -> None:
    table = []
    for number in range(8):
        files = dicom_series(tmp_path / f"s{number}", slices=2, patient=f"MRN-{number // 2}", name=str(number))
        table += [(f"s{number}/{file.name}", ("no", "yes")[number % 2]) for file in files]
    picture(tmp_path / "x.png")
    frame = pd.DataFrame([*table, ("x.png", "no")], columns=["image", "label"])
    plain = read(tmp_path, frame, tmp_path, patient_from_header=True)
    assert plain["patient_id"][:16].nunique() == 4
    assert plain["patient_id"][0] == plain["patient_id"][3]
    assert plain["patient_id"][16] == "x.png"
    salted = read(tmp_path, frame, tmp_path, patient_from_header=True, patient_salt="secret")
    assert not set(plain["patient_id"][:16]) & set(salted["patient_id"][:16])
    for written in (plain, salted):
        assert "MRN" not in written.to_csv()


def test_masks_without_labels_are_for_segmentation(pictures: Path, tmp_path: Path) -> None:
    table = rows(segmentation=[f"images/{number}.png" for number in range(24)]).drop(columns="label")
    frame = read(pictures, table, tmp_path)
    assert (frame["label"] == "").all()
    assert frame["mask"].tolist() == frame["image"].tolist()
    assert set(frame["split"]) == {"train", "validation", "test"}
    assert summary(frame)["classes"] == []


def test_the_table_is_found_in_the_folder(pictures: Path, tmp_path: Path) -> None:
    assert not looks_like_csv(tmp_path)
    with pytest.raises(RecordsError, match="holds no CSV file; name the table with --csv FILE"):
        read_csv(tmp_path)
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "t.csv").write_text("path,class\na.png,x\nb.png,y\n")
    assert looks_like_csv(tmp_path)
    with pytest.raises(RecordsError, match="class 'x' has 1 patients"):
        read_csv(tmp_path, progress=False)
    (tmp_path / "u.csv").write_text("x,y\n1,2\n")
    assert not looks_like_csv(tmp_path)
    with pytest.raises(RecordsError, match="holds 2 CSV files"):
        read_csv(tmp_path)
    with pytest.raises(RecordsError, match="is not a folder"):
        read_csv(tmp_path / "none")
    with pytest.raises(RecordsError, match="no such table"):
        read_csv(tmp_path, csv="nowhere.csv")


def test_prepared_and_loaded(pictures: Path, tmp_path: Path) -> None:
    rows().to_csv(tmp_path / "own.csv", index=False)
    path, facts = prepare("csv", pictures, tmp_path / "out", csv=str(tmp_path / "own.csv"), classes=("no", "yes"))
    assert facts["labels"] == {"no": 12, "yes": 12}
    assert {item["label"] for item in load_datalist(path, pictures, facts["classes"], "train")} == {0, 1}


CELLS = st.text(st.sampled_from('ab/.\\;,"\n\u00e9 1#'), max_size=6)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.lists(
        st.sampled_from(["image", "path", "label", "class", "split", "mask", "frame", "fold", "x", ""]),
        min_size=1,
        max_size=4,
    ),
    body=st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=4),
    real=st.booleans(),
)
def test_any_table_is_records_or_refused(
    pictures: Path, tmp_path: Path, header: list[str], body: list[list[str]], real: bool
) -> None:
    table = pd.DataFrame([row[: len(header)] for row in body], columns=pd.Index(header))
    if real and header[0] == "image":
        table[header[0]] = [f"images/{number}.png" for number in range(len(table))]
    table.to_csv(tmp_path / "any.csv", index=False)
    try:
        frame = read_csv(
            pictures, csv=str(tmp_path / "any.csv"), missing="skip", fractions=(1, 0, 0), folds=0, progress=False
        )
    except (RecordsError, ConfigurationError):
        return
    assert set(frame["label"]) <= {*frame.attrs["classes"], ""}
