"""Read a text table from a CSV file of any common dialect."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from radimagenet_monai.core.errors import RecordsError

_SEPARATORS = ",;\t|"
_MOST_CELL_CHARACTERS = 1 << 24


def read_text_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table whose first line names the columns, with every cell as text.

    Parameters
    ----------
    path
        UTF-8 with or without byte order mark, or UTF-16 with one (Excel's "Unicode text"); any line endings; columns
        separated by comma, semicolon, tab or ``|``, whichever is most frequent in the header. A first line ``sep=;``
        overrides this, and single-cell lines that begin with ``#`` are comments.

    Returns
    -------
    pandas.DataFrame
        Columns of ``str`` with ``""`` for no value, in the file's row order; rows without any text are left out. The
        unnamed column that pandas writes for row numbers is called ``""``. The index holds the position of each row in
        the file for error messages: ``"row 17"`` with the header as row 1, as editors and spreadsheets count, or
        ``"line 17"`` if cells contain line breaks and the two counts differ.

    Raises
    ------
    RecordsError
        For a file that is not such a table, or has no rows.
    """
    path = Path(path)
    text = _decoded(path)
    comments, separator = _start(text)
    rows = _rows(text, separator, path)
    header: list[str] = []
    cells: list[list[str]] = []
    lines: list[int] = []
    for line, row in rows:
        if line <= comments:
            continue
        if not header:
            header = [name.strip() for name in row]
            _check_header(header, path)
        elif any(row) and not (len(row) == 1 < len(header) and row[0].startswith("#")):
            if len(row) > len(header) and any(row[len(header) :]):
                raise RecordsError(
                    f"{path}: line {line} is not of the same columns in every row: it has {len(row)} cells, the header "
                    f"{len(header)}; quote cells that hold a '{separator}'"
                )
            cells.append([*row[: len(header)], *[""] * (len(header) - len(row))])
            lines.append(line)
    if not header:
        raise RecordsError(f"{path}: the first line is empty; expected a CSV table that begins with column names")
    if not cells:
        raise RecordsError(f"{path}: the table has no rows; expected one row an image")
    word = "line" if any("\n" in cell or "\r" in cell for row in cells for cell in row) else "row"
    frame = pd.DataFrame(cells, columns=header, index=[f"{word} {line}" for line in lines], dtype=object)
    kept = (frame != "").any(axis=1)
    return frame[kept]


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RecordsError(f"{path}: no such table; expected the path of a CSV file") from None
    except OSError as error:
        raise RecordsError(f"{path}: the table cannot be read ({error.strerror}); expected a CSV file") from error
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise RecordsError(
            f"{path}: byte {error.start} (line {line}) is not {encoding.removesuffix('-sig').upper()}; expected a CSV "
            "file, save it as 'CSV UTF-8'"
        ) from error
    if "\0" in text:
        raise RecordsError(f"{path}: byte 0 inside; expected a CSV file, not a binary one")
    return text


def _start(text: str) -> tuple[int, str]:
    """Number of lines before the header, and the separator of its columns."""
    lines = io.StringIO(text, newline=None)
    for number, line in enumerate(lines):
        stripped = line.strip()
        if stripped.lower().startswith("sep=") and len(stripped) == 5:
            return number + 1, stripped[4]
        # A header may begin with '#' too, but a comment has one cell.
        if stripped and not (stripped.startswith("#") and not any(sign in stripped for sign in _SEPARATORS)):
            return number, max(_SEPARATORS, key=line.count)
    return 0, ","


def _rows(text: str, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of the line on which it begins."""
    csv.field_size_limit(_MOST_CELL_CHARACTERS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    begins = 1
    try:
        for row in reader:
            yield begins, row
            begins = reader.line_num + 1
    except csv.Error as error:
        raise RecordsError(f"{path}: line {begins} is no row of a CSV table ({error})") from error


def _check_header(header: Sequence[str], path: Path) -> None:
    if not any(header):
        raise RecordsError(f"{path}: the first line is empty; expected a CSV table that begins with column names")
    repeated = sorted({name for name in header if header.count(name) > 1 and name})
    if repeated:
        raise RecordsError(f"{path}: column '{repeated[0]}' occurs twice in the header; rename one of them")
    if list(header).count("") > 1:
        raise RecordsError(f"{path}: {list(header).count('')} columns have no name; name them in the first line")
