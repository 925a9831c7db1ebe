"""One meaning of a cell: for patients, labels, splits and frames, in every table."""

from __future__ import annotations

import unicodedata
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets.readers.authors_csv import read_authors_csv
from radimagenet_monai.datasets.readers.csv_table import read_csv
from radimagenet_monai.datasets.readers.folder import read_folder
from radimagenet_monai.datasets.records.table import check_records, read_records
from radimagenet_monai.datasets.tables.cells import clean, identity, one_name_each, says_nothing, whole_number

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def one_each(*values: str, notes: list[str] | None = None) -> list[str]:
    places = [f"row {number + 2}" for number in range(len(values))]
    return one_name_each(pd.Series(values, dtype=object), places, "t.csv", notes=notes).tolist()


@given(TEXT)
def test_cleaning_again_changes_nothing_and_keeps_what_is_seen(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert once == once.strip()
    assert "  " not in once
    assert unicodedata.is_normalized("NFC", once)
    assert clean(unicodedata.normalize("NFD", text)) == once
    assert clean(f" {text}\u00a0") == once


@given(st.integers(-(10**6), 10**6))
def test_whole_numbers_are_one_value(number: int) -> None:
    """The oracle is decimal arithmetic: every spelling has the same value."""
    for written in (f"{number}", f"{number}.0", f"{number}.00", f"{number}.000000"):
        assert Decimal(written) == number
        assert whole_number(written) == str(number)
    assert whole_number(f"{number},0") == str(number)
    for other in (f"{number}.5", f"{number}.000", f"{number},000", f"{number}.", f"p{number}.0"):
        assert whole_number(other) == other


@given(st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8))
def test_a_patient_in_two_spellings_is_one(name: str) -> None:
    variants = [name, f" {name} ", name.upper(), name.lower(), unicodedata.normalize("NFD", name)]
    same = [variant for variant in variants if identity(variant) == identity(name)]
    assert len(same) >= 3, "only letters without a simple case, such as dotted I, differ"
    assert len(set(one_each(*same))) == 1


def test_spellings_become_the_most_frequent() -> None:
    notes: list[str] = []
    assert one_each("P1", "p1", "p1", "7.0", "7", "\uff17", "é", "e\u0301", notes=notes) == [
        *("p1", "p1", "p1", "7", "7", "7", "é", "é"),
    ]
    assert notes == ["3 of patient_id are written in several ways and were made one: 'P1' and 'p1'"] or notes == [
        "2 of patient_id are written in several ways and were made one: 'P1' and 'p1'"
    ]


def test_words_for_nothing_name_nobody() -> None:
    notes: list[str] = []
    words = ["nan", "NaN", "NA", "None", "null", "-", "n/a", "", "?", "unknown", "ANONYMOUS", "#N/A", "<NA>"]
    assert one_each("p1", *words, notes=notes) == ["p1", *[""] * len(words)]
    assert notes == ["12 rows have 'nan', 'NaN', 'NA' as patient_id, which names nobody: unknown"]


@pytest.mark.parametrize("pair", [("007", "7"), ("P01", "p1"), ("7.000", "7"), ("0", "00"), ("pat_03", "pat_3")])
def test_zeros_in_front_are_a_question(pair: tuple[str, str]) -> None:
    with pytest.raises(RecordsError) as caught:
        one_each("x", *pair, "y")
    assert f"t.csv: patient_id '{pair[0]}' (row 3) and '{pair[1]}' (row 4) may be one or two" in str(caught.value)


@pytest.mark.parametrize("ids", [("007", "008"), ("1-01", "1-1"), ("a0b", "a00b"), ("10", "1"), ("p", "P0")])
def test_other_names_stay_apart(ids: tuple[str, str]) -> None:
    assert one_each(*ids) == list(ids)


def test_nothing_and_perhaps_nothing() -> None:
    assert says_nothing(" NaN ")
    assert says_nothing("None", identifies=True)
    assert not says_nothing("None"), "a class or a subgroup may be called so"
    assert not says_nothing("nanny", identifies=True)


# --- in tables ----------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(24):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / f"{number}.png")
    np.save(tmp_path / "v.npy", np.zeros((5, 4, 4), np.uint8))
    np.save(tmp_path / "w.npy", np.zeros((4, 4, 4), np.uint8))
    return tmp_path


def prepared(root: Path, text: str, **options: object) -> pd.DataFrame:
    (root / "t.csv").write_text(text, encoding="utf-8")
    return read_csv(root, csv=str(root / "t.csv"), progress=False, folds=0, **options)


def table(patients: list[str], label: str = "ab") -> str:
    lines = [f"{number}.png,{label[number % 2]},{patient}" for number, patient in enumerate(patients)]
    return "\n".join(["path,label,patient", *lines]) + "\n"


def test_half_of_the_patients_unknown_are_not_one_patient(root: Path) -> None:
    frame = prepared(root, table([f"p{number}" if number < 12 else "nan" for number in range(24)]))
    assert frame["patient_id"].nunique() == 24
    assert any(note.startswith("12 of 24 images name no patient") for note in frame.attrs["notes"])


def test_one_person_is_on_one_side_of_the_split(root: Path) -> None:
    numbers = [f"{number // 2}.0" if number % 2 else f"{number // 2}" for number in range(24)]
    for spelled in (numbers, [f"{'pP'[number % 2]}{number // 2} " for number in range(24)]):
        lines = [f"{number}.png,{'ab'[number // 2 % 2]},{patient}" for number, patient in enumerate(spelled)]
        frame = prepared(root, "path,label,patient\n" + "\n".join(lines))
        assert frame["patient_id"].nunique() == 12
        assert (frame.groupby("patient_id")["split"].nunique() == 1).all()


def test_the_line_of_the_file_is_named(root: Path) -> None:
    """Rows without a label, a blank line and a comment stand above; the file is counted as an editor does."""
    lines = ["path,label,patient", "0.png,,q", "", "# a comment", "1.png,a,p1", "2.png,b,p2", "1.png,b,p1"]
    with pytest.raises(RecordsError, match=r"row 5 and row 7 both list '1.png', with label 'a' and 'b'"):
        prepared(root, "\n".join(lines))
    quoted = ["path,label,patient,note", '0.png,a,p0,"two', 'lines"', "1.png,a,007,", "2.png,b,7,"]
    with pytest.raises(RecordsError, match=r"'007' \(line 4\) and '7' \(line 5\)"):
        prepared(root, "\n".join(quoted))


def test_rows_that_repeat_another_are_counted(root: Path) -> None:
    frame = prepared(root, table([f"p{number}" for number in range(24)]) + "3.png,b,p3\n./4.png,A,P4\n")
    assert len(frame) == 24
    assert frame.attrs["left_out"] == {"row that repeats another": 2}
    assert "left out: 2 x row that repeats another, 'row 26', 'row 27'" in frame.attrs["notes"]


def test_a_class_called_none_does_not_vanish(root: Path) -> None:
    text = table([f"p{number}" for number in range(24)]).replace(",b,", ",None,")
    with pytest.raises(RecordsError, match="all labels are 'a'"):
        prepared(root, text)
    assert prepared(root, text, classes="None,a")["label"].value_counts().to_dict() == {"a": 12, "None": 12}
    mixed = text.replace("1.png,None", "1.png,b").replace("3.png,None", "3.png,b").replace("5.png,None", "5.png,b")
    frame = prepared(root, mixed, fractions=(0.6, 0.2, 0.2))
    assert any("labels that say nothing: 'None' (" in note for note in frame.attrs["notes"])
    assert frame.attrs["left_out"]["row without a label"] + len(frame) == 24


def test_labels_written_as_numbers_are_one_class(root: Path) -> None:
    lines = [f"{number}.png,{('0', '0.0', '1', '1.0')[number % 4]},p{number}" for number in range(24)]
    frame = prepared(root, "path,label,patient\n" + "\n".join(lines))
    assert frame.attrs["classes"] == ["0", "1"]
    assert frame["label"].tolist() == ["0", "0", "1", "1"] * 6
    with pytest.raises(RecordsError, match=r"label '01' \(row 2\) and '1' \(row 3\) may be one or two"):
        prepared(root, "path,label,patient\n0.png,01,p0\n1.png,1,p1\n2.png,2,p2\n")


def test_unknown_labels_and_splits_are_named_with_their_rows(root: Path) -> None:
    text = table([f"p{number}" for number in range(24)]).replace("5.png,b", "5.png,cyst", 1)
    with pytest.raises(RecordsError, match=r"label 'cyst' \(row 7\) is none of the classes"):
        prepared(root, text, classes="a,b")
    lines = [f"{number}.png,{'ab'[number % 2]},p{number},{'train' if number else 'odd'}" for number in range(12)]
    with pytest.raises(RecordsError, match=r"split 'odd' \(row 2\) is unknown"):
        prepared(root, "path,label,patient,split\n" + "\n".join(lines))


def test_class_folders_in_two_spellings_are_one_class(tmp_path: Path) -> None:
    for number in range(12):
        label = ("Benign", "benign", "Tumor", "Tumor")[number % 4]
        path = tmp_path / ("train", "test")[number % 2] / label / f"p{number}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)
    frame = read_folder(tmp_path, progress=False, folds=0, fractions=(1, 0, 0))
    assert frame["label"].value_counts().to_dict() == {"Benign": 6, "Tumor": 6}
    assert any("are one class, 'Benign'" in note for note in frame.attrs["notes"])


def volumes(column: str, numbers: list[int], image: str = "v.npy") -> str:
    lines = [f"{image},{'ab'[place % 2]},p{place},{number}" for place, number in enumerate(numbers)]
    return "\n".join([f"path,label,patient,{column}", *lines]) + "\n"


def test_a_column_of_slices_counts_as_the_files_bear_out(root: Path) -> None:
    zero = prepared(root, volumes("slice", [0, 1, 2, 3]), fractions=(1, 0, 0))
    assert zero["frame"].tolist() == [0, 1, 2, 3]
    one = prepared(root, volumes("slice", [1, 2, 3, 5]), fractions=(1, 0, 0))
    assert one["frame"].tolist() == [0, 1, 2, 4], "5 of 5 frames can only be counted from 1"
    assert any("counted from 1" in note for note in one.attrs["notes"])
    asked = volumes("slice", [1, 2, 3, 4])
    with pytest.raises(RecordsError, match="--first_frame 0 or --first_frame 1"):
        prepared(root, asked)
    assert prepared(root, asked, first_frame=1, fractions=(1, 0, 0))["frame"].tolist() == [0, 1, 2, 3]
    assert prepared(root, asked, first_frame="0", fractions=(1, 0, 0))["frame"].tolist() == [1, 2, 3, 4]
    with pytest.raises(RecordsError, match=r"counts from 0 \(row 2\) and names frame 5 of 5 \(row 3\)"):
        prepared(root, volumes("slice", [0, 5]))
    with pytest.raises(RecordsError, match=r"row 3, column 'slice' is 9, but 'v.npy' has 5 frame\(s\)"):
        prepared(root, volumes("slice", [0, 9]))
    with pytest.raises(ConfigurationError, match="first_frame '2' is unknown"):
        prepared(root, asked, first_frame=2)


def test_a_slice_number_of_single_pictures_is_no_frame(root: Path) -> None:
    lines = [f"{number}.png,{'ab'[number % 2]},p{number},{number + 100}" for number in range(12)]
    frame = prepared(root, "path,label,patient,slice\n" + "\n".join(lines))
    assert frame["frame"].tolist() == [0] * 12
    assert frame["slice"].tolist() == [str(number + 100) for number in range(12)]
    assert any("does not name frames" in note for note in frame.attrs["notes"])


def test_names_in_other_unicode_are_found(root: Path) -> None:
    folder = root / unicodedata.normalize("NFD", "Körper")
    folder.mkdir()
    for number in range(12):
        name = unicodedata.normalize("NFD", f"Übersicht {number}.png")
        (folder / name).write_bytes((root / "0.png").read_bytes())
    lines = [f"Körper/Übersicht {number}.png,{'ab'[number % 2]},p{number}" for number in range(12)]
    assert all(unicodedata.is_normalized("NFC", line) for line in lines)
    frame = prepared(root, "path,label,patient\n" + "\n".join(lines))
    assert len(frame) == 12
    assert all((root / image).is_file() for image in frame["image"])


def test_folders_of_one_patient_in_two_spellings(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(6):
            for name in (f"P{label}{number}x", f"p{label}{number}X"):
                path = tmp_path / label / name / f"{number}.png"
                path.parent.mkdir(parents=True)
                Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)
    frame = read_folder(tmp_path, progress=False, folds=0)
    assert frame["patient_id"].nunique() == 12
    assert (frame.groupby("patient_id")["split"].nunique() == 1).all()


def test_records_tables_are_understood_alike(tmp_path: Path) -> None:
    path = tmp_path / "records.csv"
    lines = ["image,label,patient_id,split,frame,age", "a.png,Benign ,P1,Train,1.0,nan", "b.png,benign,p1,train,,61"]
    path.write_text("\n".join(lines))
    frame = read_records(path, ("benign", "malignant"))
    assert frame["label"].tolist() == ["benign", "benign"]
    assert frame["patient_id"].nunique() == 1
    assert frame["split"].tolist() == ["train", "train"]
    assert frame["frame"].tolist() == [1, 0]
    assert frame["age"].tolist() == ["", "61"]
    for one, other in (("7", "7.0"), ("P1", "p1"), ("007", "7"), ("e\u0301", "\u00e9")):
        both = pd.DataFrame(
            {"image": ["a.png", "b.png"], "label": "x", "patient_id": [one, other], "split": ["train", "test"]}
        )
        with pytest.raises(RecordsError, match=r"is in split train \(row 2\) and split test \(row 3\)"):
            check_records(both)
    unknown = pd.DataFrame({"image": ["a", "b"], "label": "x", "patient_id": "nan", "split": ["train", "test"]})
    assert check_records(unknown)["patient_id"].tolist() == ["", ""]


def test_a_label_none_of_a_records_table_stays(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": ["a.png", "b.png"], "label": ["None", "NA"]})
    assert check_records(frame)["label"].tolist() == ["None", "NA"]
    assert check_records(frame, classes=("None", "NA"))["label"].tolist() == ["None", "NA"]


def test_tables_of_the_authors_are_understood_alike(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("filename;label;pid\na.png;Benign;7\nb.png;benign;7.0\nc.png;benign;nan\na.png;benign ;7\n")
    listed = read_authors_csv(path)
    assert listed["filename"].tolist() == ["a.png", "b.png", "c.png"]
    assert listed["pid"].tolist() == ["7", "7", ""]
