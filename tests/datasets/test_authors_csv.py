"""The authors' CSV files: what their names say, whose files they mean, how their labels are spelled."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.readers.authors_csv import match_files, read_authors_csv, select_listed

CLASSES = ("benign", "malignant")

# One header and two rows of each task, as the authors write them.
TASKS = {
    "thyroid": ("img_dir,label\nimages/314_1.jpg,malignant\nimages/130_1.jpg,benign\n", "images/314_1.jpg"),
    "breast": ("filename,label\nimages/malignant (187).png,malignant\nimages/normal (89).png,benign\n", None),
    "acl": ("filename,acl_label\nimages/1054_sagittal_19.000000.png,yes\nimages/0228_sagittal_9.000000.png,no\n", None),
    "meniscus": ("img_dir,label\nimages/0091_sagittal_28.000000.png,p\nimages/0571_sagittal_12.000000.png,n\n", None),
    "pneumonia": (",filename,Target,label\n0,images/0100515c.png,1,yes\n1,images/01027bc3.png,0,no\n", None),
    "covid19": (",filename,label\n0,images/P20-00_0131.png,positive\n1,images/N25-09_0274.png,negative\n", None),
    "sarscov2": (
        ",imgpath,pid,label,filename\n0,NCP/10/1/0031.jpg,NCP_10,NCP,images/NCP/10/1/0031.jpg\n"
        "1,CP/1082/3127/0031.jpg,CP_1082,CP,images/CP/1082/3127/0031.jpg\n",
        "NCP/10/1/0031.jpg",
    ),
    "hemorrhage": (
        "pid,label,dir\nID_05efdf2e,yes,images/ID_d1c820c61.png\nID_9476f262,no,images/ID_4ea4b863e.png\n",
        None,
    ),
}


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def rows(*names: str, label: str = "benign") -> str:
    return "img_dir,label\n" + "".join(f"images/{name},{label}\n" for name in names)


@pytest.mark.parametrize("task", TASKS)
def test_the_columns_of_every_task(tmp_path: Path, task: str) -> None:
    text, first = TASKS[task]
    table = read_authors_csv(write(tmp_path, {f"{task}_all.csv": text}) / f"{task}_all.csv")
    assert table["filename"][0] == (first or table["filename"][0])
    assert table["filename"].str.contains(".", regex=False).all()
    positive, negative = table["label"]
    assert positive in ("malignant", "yes", "p", "1", "positive", "NCP")
    assert negative in ("benign", "no", "n", "0", "negative", "CP")
    assert ("pid" in table.columns) == (task in ("sarscov2", "hemorrhage"))
    assert "split" not in table.columns
    assert table.attrs["notes"] == []


def test_folds_are_the_test_files(tmp_path: Path) -> None:
    """Validation files of one fold hold images of the next one's test file, as the authors' do."""
    folder = write(
        tmp_path,
        {
            "thyroid_test_fold1.csv": rows("1_1.jpg", "1_2.jpg"),
            "thyroid_val_fold1.csv": rows("2_1.jpg"),
            "thyroid_train_fold1.csv": rows("3_1.jpg"),
            "thyroid_test_fold2.csv": rows("2_1.jpg"),
            "thyroid_val_fold2.csv": rows("3_1.jpg"),
            "thyroid_train_fold2.csv": rows("1_1.jpg", "1_2.jpg"),
            "thyroid_test_fold3.csv": rows("3_1.jpg"),
            "thyroid_val_fold3.csv": rows("1_1.jpg", "1_2.jpg"),
            "thyroid_train_fold3.csv": rows("2_1.jpg"),
        },
    )
    table = read_authors_csv(folder)
    assert dict(zip(table["filename"], table["fold"], strict=True)) == {
        "images/1_1.jpg": "0",
        "images/1_2.jpg": "0",
        "images/2_1.jpg": "1",
        "images/3_1.jpg": "2",
    }
    second = read_authors_csv(folder, fold=2)
    assert dict(zip(second["filename"], second["split"], strict=True)) == {
        "images/1_1.jpg": "train",
        "images/1_2.jpg": "train",
        "images/3_1.jpg": "validation",
        "images/2_1.jpg": "test",
    }
    with pytest.raises(RecordsError, match=r"no CSV file of fold 4; there are those of \[1, 2, 3\]"):
        read_authors_csv(folder, fold=4)


@pytest.mark.parametrize(
    "names",
    [
        ("covid19_train.csv", "covid19_val.csv", "covid19_test.csv"),
        ("Train.csv", "Valid.CSV", "TEST.csv"),
        ("RadiologyAI_train.csv", "RadiologyAI_val.csv", "RadiologyAI_test.csv"),
        ("a-training.csv", "a-validation.csv", "a-testing.csv"),
    ],
)
def test_a_split_without_folds(tmp_path: Path, names: tuple[str, str, str]) -> None:
    folder = write(tmp_path, {name: rows(f"{number}_1.jpg") for number, name in enumerate(names)})
    (folder / "._train.csv").write_bytes(b"\0")
    for source in (folder, ",".join(str(folder / name) for name in names)):
        table = read_authors_csv(source)
        assert table["split"].tolist() == ["train", "validation", "test"]
        assert "fold" not in table.columns


def test_folds_named_by_number_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, {f"split_{number}.csv": rows(f"{number}_1.jpg") for number in (1, 2, 3)})
    assert read_authors_csv(folder)["fold"].tolist() == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.csv": rows("1.jpg"), "b.csv": rows("2.jpg")}, "say neither train, val nor test"),
        ({"train_test.csv": rows("1.jpg"), "val.csv": rows("2.jpg")}, "the name says test and train"),
        ({"train.csv": rows("1.jpg"), "test_fold1.csv": rows("2.jpg")}, "names a fold and .* does not"),
        ({"a_train.csv": rows("1.jpg"), "b_train.csv": rows("2.jpg")}, "are the same part by their names"),
        ({"train.csv": rows("1.jpg"), "test.csv": rows("1.jpg")}, "'images/1.jpg' is in split train and test"),
        ({"test_fold1.csv": rows("1.jpg"), "test_fold2.csv": rows("1.jpg")}, "'images/1.jpg' is in fold 0 and 1"),
        (
            {"train.csv": "pid,label,dir\nA,yes,1.png\n", "test.csv": "pid,label,dir\nA,no,2.png\n"},
            "pid 'A' is in split train and test",
        ),
        ({"train.csv": "x,label\n1,2\n", "test.csv": rows("1.jpg")}, "no column imgpath or .* among x, label"),
        ({"train.csv": "filename,x\n1,2\n", "test.csv": rows("1.jpg")}, "no column acl_label or label or target"),
        ({}, "holds no CSV file"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        read_authors_csv(write(tmp_path / "csv", files))


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"nowhere.csv': no such CSV file"):
        read_authors_csv(tmp_path / "nowhere.csv")


def test_odd_rows_are_named(tmp_path: Path) -> None:
    text = "filename,label\na.png,yes\na.png,yes\nb.png,yes\nb.png,no\n,no\nc\\d.png,no\n"
    table = read_authors_csv(write(tmp_path, {"all.csv": text}) / "all.csv")
    assert table["filename"].tolist() == ["a.png", "c/d.png"]
    assert table.attrs["notes"] == [
        "all.csv: 1 rows without a file name were left out",
        "1 images are listed with two labels and were left out, first 'b.png'",
        "1 images are listed more than once, with the same label: counted once",
    ]


def test_files_are_found_by_the_longest_common_end() -> None:
    files = [f"CC-CCII/{kind}/{patient}/1/0031.jpg" for kind in ("CP", "NCP") for patient in (10, 11)]
    matches = match_files(["images/CP/10/1/0031.jpg", "NCP\\11\\1\\0031.jpg", "images/CP/12/1/0031.jpg"], files)
    assert matches.files == [files[0], files[3], ""]
    assert matches.missing == ["images/CP/12/1/0031.jpg"]
    assert matches.notes == ["1 listed images are not there, first 'images/CP/12/1/0031.jpg'"]


def test_another_patients_file_of_the_same_name_is_never_taken() -> None:
    matches = match_files(["a/1/x.png", "a/2/x.png"], ["root/a/1/x.png"])
    assert matches.files == ["root/a/1/x.png", ""]
    # Of two files that fit alike, neither is taken.
    matches = match_files(["x.png"], ["a/x.png", "b/x.png"])
    assert matches.files == [""]
    assert matches.ambiguous == ["x.png"]
    assert "fit several files" in matches.notes[0]


def test_suffixes_may_differ_where_that_is_wanted() -> None:
    names = ["images/ID_1.png", "images/1054_sagittal_19.000000.png"]
    files = ["stage_2_train/ID_1.dcm", "1054_sagittal_19.000000.PNG"]
    assert match_files(names, files).missing == names
    assert match_files(names, files, ignore_suffix=True).files == files
    assert match_files(["a.png"], ["a.dcm", "a.jpg"], ignore_suffix=True).ambiguous == ["a.png"]


PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=4).map("/".join), max_size=8, unique=True
)


def slow_match(name: str, names: list[str], files: list[str]) -> str:
    """The rule of `match_files`, word for word."""
    if name in files:
        return name
    for start in range(name.count("/") + 1):
        end = "/" + name.split("/", start)[-1]
        holders = [file for file in files if ("/" + file).endswith(end)]
        if holders:
            claims = [other for other in names if ("/" + other).endswith(end)]
            return holders[0] if len(holders) == len(claims) == 1 else ""
    return ""


@settings(deadline=None)
@given(names=PATHS, files=PATHS, folder=st.sampled_from(["", "root/", "x/y/"]))
def test_matches_follow_the_rule(names: list[str], files: list[str], folder: str) -> None:
    files = [folder + file for file in files]
    found = match_files(names, files)
    assert found.files == [slow_match(name, names, files) for name in names]
    assert len([file for file in found.files if file]) + len(found.missing) + len(found.ambiguous) == len(names)
    assert match_files(files, files).files == files


def test_the_whole_way(tmp_path: Path) -> None:
    text = "img_dir,label\nimages/1_1.jpg,Malignant\nimages/2_1.jpg, benign\nimages/3_1.jpg,benign\nimages/4_1.jpg,\n"
    source = write(tmp_path, {"list.csv": text}) / "list.csv"
    table = select_listed(source, ["DDTI/1_1.jpg", "DDTI/2_1.jpg", "DDTI/4_1.jpg"], CLASSES)
    expected = pd.DataFrame({"image": ["DDTI/1_1.jpg", "DDTI/2_1.jpg"], "label": ["malignant", "benign"]})
    pd.testing.assert_frame_equal(table, expected)
    assert len(table.attrs["notes"]) == 2
    with pytest.raises(RecordsError, match="none of its 4 images is there"):
        select_listed(source, ["other.jpg"], CLASSES)
    with pytest.raises(RecordsError, match="label 'Malignant' is none of the classes no tear, tear"):
        select_listed(source, ["1_1.jpg"], ("no tear", "tear"), aliases={"benign": "no tear"})
