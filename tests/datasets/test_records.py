"""The records table: what is accepted, what is refused and how, and the selection of parts."""

from __future__ import annotations

import csv
import io
import json
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.errors import ConfigurationError, RecordsError
from radimagenet_monai.datasets import prepare
from radimagenet_monai.datasets.records.table import (
    RECORD_COLUMNS,
    check_records,
    load_datalist,
    read_records,
    to_datalist,
    write_records,
)
from radimagenet_monai.phantoms import write_phantom

pytestmark = pytest.mark.slow

CLASSES = ("benign", "malignant")
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        path = tmp_path / "records.csv"
        path.write_bytes(text.encode())
        return path

    return _write


def test_patient_ids_keep_their_zeros(write: Write) -> None:
    frame = read_records(write("image,label,patient_id,age\na.png,benign,0001,061\nb.png,benign,NA,\n"), CLASSES)
    assert frame["patient_id"].tolist() == ["0001", ""]
    assert frame["age"].tolist() == ["061", ""]
    assert frame["frame"].tolist() == [0, 0]
    assert frame["fold"].isna().all()
    assert list(frame.columns) == [*RECORD_COLUMNS, "age"]


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "BOM"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("last", ["", "\n\n"], ids=["no final line end", "blank lines at the end"])
def test_spreadsheet_exports_are_accepted(write: Write, mark: str, end: str, last: str) -> None:
    text = mark + "image,label\na.png,benign\nb.png,malignant".replace("\n", end) + last.replace("\n", end)
    assert read_records(write(text), CLASSES)["label"].tolist() == ["benign", "malignant"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("image,label\n", "no rows"),
        ("image,label\n\n\n", "no rows"),
        ("image,patient_id\na.png,1\n", "no column 'label' among 'image', 'patient_id'"),
        ("image;label\na.png;benign\n", "no column 'image' among 'image;label'; expected a comma-separated"),
        ("image,label,label\na.png,benign,x\n", "column 'label' occurs twice"),
        ("image,label\na.png,benign\nb.png,cyst\n", "row 3, column 'label' is 'cyst'; expected one of the classes"),
        ("image,label\na.png,2\nb.png,1\n", r"row 2, column 'label' is '2' \(and 1 more rows\)"),
        ("image,label\na.png,benign\n\nb.png,\n", "row 4, column 'label' is ''"),
        ("image,label\n,benign\n", "row 2, column 'image' is ''"),
        ("image,label,split\na.png,benign,val\n", "row 2, column 'split' is 'val'; expected train, validation, test"),
        ("image,label,fold\na.png,benign,first\n", "row 2, column 'fold' is 'first'; expected a whole number"),
        ("image,label,frame\na.png,benign,1\nb.png,benign,-1\n", "row 3, column 'frame' is '-1'"),
        ("image,label,frame\na.png,benign,1.5\n", "row 2, column 'frame' is '1.5'"),
        ("image,label,sha256\na.png,benign,abc\n", "row 2, column 'sha256' is 'abc'"),
        ("image,label\na.png,benign\na.png,malignant\n", "row 3, column 'image' is 'a.png'; the image and frame are"),
        ("image,label\na.png,benign,1\n", "with 2 columns in every row"),
        ('image,label\n"a.png,benign\n', "not a CSV table"),
        (
            'image,label,site\na.png,benign,"ward\n3"\n',
            r"row 2, column 'site' is 'ward.*3'; expected text without line",
        ),
        ("image,label\na\0.png,benign\n", "byte 0 inside"),
        (
            "image,label,patient_id,split\na.png,benign,7,train\nb.png,benign,7,test\n",
            r"patient_id '7' is in split train \(row 2\) and split test \(row 3\)",
        ),
        (
            "image,label,patient_id,fold\na.png,benign,7,0\nb.png,benign,7,1\n",
            r"patient_id '7' is in fold 0 \(row 2\) and fold 1 \(row 3\)",
        ),
    ],
)
def test_bad_tables_are_refused_in_one_line(write: Write, text: str, message: str) -> None:
    path = write(text)
    with pytest.raises(RecordsError, match=message) as caught:
        read_records(path, CLASSES)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="no such records table; write one with"):
        read_records(tmp_path / "records.csv")
    with pytest.raises(RecordsError, match="cannot be read"):
        read_records(tmp_path)
    (tmp_path / "latin.csv").write_bytes("image,label\nb\xf6se.png,benign\n".encode("latin-1"))
    with pytest.raises(RecordsError, match="byte 13 is not UTF-8"):
        read_records(tmp_path / "latin.csv")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120) | st.text(string.printable, max_size=120).map(str.encode))
def test_any_bytes_are_a_table_or_one_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(b"image,label\n" + content)
    try:
        frame = read_records(path)
    except RecordsError as error:
        assert "\n" not in str(error)  # noqa: PT017  # success is as good as this error
    else:
        assert (frame["image"] != "").all()


CELLS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r\n"), max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            CELLS.filter(str.strip), st.sampled_from(CLASSES), CELLS, st.integers(0, 99), st.none() | st.integers(0, 9)
        ),
        min_size=1,
        max_size=8,
        unique_by=lambda row: row[0],
    )
)
def test_written_tables_are_read_back_the_same(tmp_path: Path, rows: list[tuple]) -> None:
    frame = check_records(pd.DataFrame(rows, columns=["image", "label", "site, ward", "frame", "fold"]))
    path, again = tmp_path / "a.csv", tmp_path / "b.csv"
    write_records(frame, path)
    read = read_records(path, CLASSES)
    pd.testing.assert_frame_equal(read, frame)
    write_records(read, again)
    assert again.read_bytes() == path.read_bytes()
    by_python = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert [row["image"] for row in by_python] == frame["image"].tolist()


def test_tables_in_memory_are_checked_before_writing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": ["a", "b"], "label": "benign", "patient_id": [1.0, np.nan], "fold": [0, np.nan]})
    with pytest.raises(RecordsError, match=r"'patient_id' holds floating point numbers such as .*1\.0"):
        write_records(frame, tmp_path / "records.csv")
    assert list(tmp_path.iterdir()) == []
    frame["patient_id"] = ["1", None]
    write_records(frame, tmp_path / "records.csv")
    read = read_records(tmp_path / "records.csv")
    assert read["patient_id"].tolist() == ["1", ""]
    assert read["fold"].isna().tolist() == [False, True]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images, two a patient; folds 0 to 4; splits 6 / 2 / 2; the last with two masks."""
    (tmp_path / "images").mkdir()
    for number in range(10):
        (tmp_path / f"images/{number}.png").touch()
    (tmp_path / "m.png").touch()
    frame = pd.DataFrame(
        {
            "image": [f"images/{number}.png" for number in range(10)],
            "label": ["malignant" if number % 4 < 2 else "benign" for number in range(10)],
            "patient_id": [f"{number // 2:03d}" for number in range(10)],
            "split": ["train"] * 6 + ["validation"] * 2 + ["test"] * 2,
            "fold": [number // 2 for number in range(10)],
            "mask": [""] * 9 + ["m.png;images/9.png"],
            "sha256": ["0" * 64] + [""] * 9,
        }
    )
    write_records(frame, tmp_path / "records.csv")
    return tmp_path


def test_datalist_items(folder: Path) -> None:
    items = load_datalist(None, folder, CLASSES)
    assert items[0] == {
        "image": str(folder / "images/0.png"),
        "frame": 0,
        "record": 0,
        "patient_id": "000",
        "label": 1,
        "sha256": "0" * 64,
    }
    assert items[9]["mask"] == [str(folder / "m.png"), str(folder / "images/9.png")]
    assert [item["label"] for item in items[:4]] == [1, 1, 0, 0]
    assert all(type(item[key]) is int for item in items for key in ("frame", "record", "label"))
    assert "label" not in load_datalist("", folder, None)[0]


def test_splits_go_by_column_and_folds_rotate(folder: Path) -> None:
    def records(split: str, fold: int | None = None) -> list[int]:
        return [item["record"] for item in load_datalist(folder / "records.csv", folder, CLASSES, split, fold)]

    assert (records("train"), records("validation"), records("test")) == ([0, 1, 2, 3, 4, 5], [6, 7], [8, 9])
    assert (records("test", 1), records("validation", 1)) == ([2, 3], [4, 5])
    assert records("train", 1) == [0, 1, 6, 7, 8, 9]
    assert (records("test", 4), records("validation", 4)) == ([8, 9], [0, 1])
    tested = sorted(record for fold in range(5) for record in records("test", fold))
    assert tested == list(range(10))


def test_absolute_paths_stay(folder: Path) -> None:
    frame = check_records(pd.DataFrame({"image": [str(folder / "m.png")], "label": ["benign"]}))
    assert to_datalist(frame, "/elsewhere", CLASSES)[0]["image"] == str(folder / "m.png")


def test_missing_files_are_counted_and_named(folder: Path) -> None:
    (folder / "images/3.png").unlink()
    (folder / "m.png").unlink()
    with pytest.raises(RecordsError, match=r"2 of 12 files .* do not exist .*3\.png', '.*m\.png'; check dataset_dir"):
        load_datalist(None, folder, CLASSES)
    assert len(load_datalist(None, folder, CLASSES, check_files=False)) == 10


def test_impossible_selections_are_refused(folder: Path) -> None:
    frame = read_records(folder / "records.csv")
    with pytest.raises(ConfigurationError, match="split 'val' is unknown"):
        to_datalist(frame, folder, CLASSES, "val")  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ConfigurationError, match="fold 1 was given without a split"):
        to_datalist(frame, folder, CLASSES, fold=1)
    with pytest.raises(RecordsError, match=r"fold 5 was asked of a records table with folds \[0, 1, 2, 3, 4\]"):
        to_datalist(frame, folder, CLASSES, "test", fold=5)
    with pytest.raises(RecordsError, match=r"row 4, column 'label' is 'benign' .*expected one of 'malignant', 'cyst'"):
        to_datalist(frame, folder, ["malignant", "cyst"])
    with pytest.raises(RecordsError, match=r"no row .* 'test' \(no split: 10\)"):
        to_datalist(frame.assign(split=""), folder, CLASSES, "test")
    with pytest.raises(RecordsError, match="1 rows have no fold"):
        to_datalist(frame.assign(fold=frame["fold"].where(frame.index > 0)), folder, CLASSES, "test", 0)


def test_missing_and_empty_dataset_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=r"is empty; expected images and records\.csv"):
        load_datalist(None, tmp_path, CLASSES)
    with pytest.raises(RecordsError, match="is not a folder"):
        load_datalist(None, tmp_path / "none", CLASSES)


def test_findings_become_labels_with_gaps_where_nothing_is_known() -> None:
    frame = check_records(
        pd.DataFrame(
            {
                "image": ["a", "b", "c"],
                "label": ["hemorrhage", "no hemorrhage", "hemorrhage"],
                "any": ["1", "", ""],
                "subdural": ["0", "0", ""],
            }
        )
    )
    classes, findings = ["no hemorrhage", "hemorrhage"], ["any", "subdural", "epidural"]
    items = to_datalist(frame, "", classes, check_files=False, findings=findings)
    expected = [[1, 0, np.nan], [0, 0, np.nan], [1, np.nan, np.nan]]
    np.testing.assert_array_equal([item["label"] for item in items], expected)
    with pytest.raises(RecordsError, match=r"row 3, column 'any' is 'yes'; expected 1, 0 or nothing"):
        to_datalist(frame.assign(any=["1", "yes", ""]), "", classes, check_files=False, findings=findings)


def test_of_findings_that_contradict_the_larger_counts(caplog: pytest.LogCaptureFixture) -> None:
    """Rows: all agree; any against a subtype; any against the label; the label against a subtype; none."""
    classes, findings = ["no hemorrhage", "hemorrhage"], ["any", "subdural", "epidural"]
    frame = check_records(
        pd.DataFrame(
            {
                "image": list("abcde"),
                "label": np.array(classes)[[1, 0, 1, 0, 0]],
                "any": ["1", "0", "0", "", "0"],
                "subdural": ["1", "1", "", "", "0"],
                "epidural": ["0", "", "0", "1", ""],
            }
        )
    )
    items = to_datalist(frame, "", classes, check_files=False, findings=findings)
    assert [item["label"][0] for item in items] == [1, 1, 1, 1, 0]
    assert "3 of 5 rows have 'any' 0 beside a label or a finding that is present, the first in row 3" in caplog.text
    others = to_datalist(frame, "", classes, check_files=False, findings=["subdural", "any"])
    assert [item["label"][0] for item in others] == [1, 1, 1, 0, 0], "only 'any' follows from the others"


def test_rows_without_a_mask_are_left_out_where_masks_are_needed(caplog: pytest.LogCaptureFixture) -> None:
    frame = check_records(
        pd.DataFrame({"image": ["a", "b", "c"], "mask": ["m.png", "", "n.png;o.png"]}), "", None, False
    )
    items = to_datalist(frame, "", None, check_files=False, require_mask=True)
    assert [(item["image"], item["mask"]) for item in items] == [("a", ["m.png"]), ("c", ["n.png", "o.png"])]
    assert [item["record"] for item in items] == [0, 2]
    assert "1 of 3 images have no mask" in caplog.text
    with pytest.raises(RecordsError, match=r"none of 1 rows .* has a mask"):
        to_datalist(frame.iloc[[1]], "", None, check_files=False, require_mask=True)


def test_exam_and_modality_stay_with_their_items() -> None:
    frame = check_records(pd.DataFrame({"image": ["a", "b"], "label": "x", "exam": ["1", ""], "modality": ["", "CT"]}))
    first, second = to_datalist(frame, "", ["x"], check_files=False)
    assert (first["exam"], second["modality"]) == ("1", "CT")
    assert "modality" not in first
    assert "exam" not in second


def test_records_of_other_data_are_not_replaced_unasked(tmp_path: Path) -> None:
    for number in ("1", "2"):
        write_phantom("busi", tmp_path / number, patients=20, seed=1, size=(48, 64), progress=False)
    table, _ = prepare("busi", tmp_path / "1", tmp_path / "out", progress=False)
    before = table.read_bytes()
    prepare("busi", tmp_path / "1", tmp_path / "out", progress=False)
    assert table.read_bytes() == before
    for name, root in (("busi", tmp_path / "2"), ("folder", tmp_path / "1")):
        with pytest.raises(RecordsError, match=r"holds the records of busi in '.*/1'.*--overwrite true"):
            prepare(name, root, tmp_path / "out")
    assert table.read_bytes() == before
    (tmp_path / "out" / "summary.json").unlink()
    with pytest.raises(RecordsError, match="of unknown origin"):
        prepare("busi", tmp_path / "1", tmp_path / "out")
    prepare("busi", tmp_path / "2", tmp_path / "out", overwrite=True, progress=False)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["root"] == str(tmp_path / "2")
