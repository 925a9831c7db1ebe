"""Tables that anybody may have written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.tables.text_table import read_text_table

pytestmark = pytest.mark.slow


def read(folder: Path, content: str | bytes) -> list[dict[str, str]]:
    path = folder / "t.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_text_table(path).to_dict("records")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_usual_forms(tmp_path: Path, separator: str, end: str, mark: str) -> None:
    text = mark + separator.join(("path", " label ")) + end + separator.join(("a b.png", "007")) + end + end
    assert read(tmp_path, text) == [{"path": "a b.png", "label": "007"}]


def test_quotes_na_and_short_rows(tmp_path: Path) -> None:
    assert read(tmp_path, 'a,b,c\n"x,y",NA,\nz\n') == [
        {"a": "x,y", "b": "NA", "c": ""},
        {"a": "z", "b": "", "c": ""},
    ]
    assert read(tmp_path, ",label\n0,x\n") == [{"": "0", "label": "x"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "first line is empty"),
        (b"\n\n", "first line is empty"),
        (b"a,b\n", "has no rows"),
        (b"a,b\n,\n", "has no rows"),
        (b"a,a\n1,2\n", "column 'a' occurs twice"),
        (b"a,b\n1,2,3\n", "same columns in every row"),
        (b"a,b\n\xff\xfe,2\n", r"byte 4 \(line 2\) is not UTF-8"),
        (b"a\0,b\n1,2\n", "byte 0 inside"),
    ],
)
def test_no_tables(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        read(tmp_path, content)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="no such table"):
        read_text_table(tmp_path / "none.csv")
    with pytest.raises(RecordsError, match="cannot be read"):
        read_text_table(tmp_path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text('a,;"\n\r\t\ufeff ', max_size=40).map(str.encode)))
def test_any_bytes_are_a_table_or_refused(tmp_path: Path, content: bytes) -> None:
    try:
        records = read(tmp_path, content)
    except RecordsError:
        return
    assert records
    assert all(isinstance(value, str) for row in records for value in row.values())
