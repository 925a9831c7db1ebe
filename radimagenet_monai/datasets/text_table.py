"""Reading a table of text from a CSV file that anybody may have written."""

from __future__ import annotations

import csv
import io
import os
import warnings
from pathlib import Path

import pandas as pd

from radimagenet_monai.errors import RecordsError

_SEPARATORS = ",;\t"


def read_text_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a table whose first line names the columns, every cell as text.

    Parameters
    ----------
    path
        UTF-8 with or without byte order mark, any line ends; columns separated by comma, semicolon or tab, whichever
        the header has most of.

    Returns
    -------
    pandas.DataFrame
        Columns of ``str`` with ``""`` for nothing, in the file's row order; rows without any text are left out. The
        nameless column that pandas writes for row numbers is called ``""``.

    Raises
    ------
    RecordsError
        For a file that is no such table, or has no rows.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise RecordsError(f"{path}: no such table; expected the path of a CSV file") from None
    except OSError as error:
        raise RecordsError(f"{path}: the table cannot be read ({error.strerror}); expected a CSV file") from error
    except UnicodeDecodeError as error:
        raise RecordsError(
            f"{path}: byte {error.start} is not UTF-8; expected a CSV file, save it as 'CSV UTF-8'"
        ) from error
    if "\0" in text:
        raise RecordsError(f"{path}: byte 0 inside; expected a CSV file, not a binary one")
    first = text.lstrip("\r\n").partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    try:
        header = [name.strip() for name in next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])]
        if not any(header):
            raise RecordsError(f"{path}: the first line is empty; expected a CSV table that begins with column names")
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise RecordsError(f"{path}: column '{repeated[0]}' occurs twice in the header; rename one of them")
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(text),
                sep=separator,
                names=header,
                skiprows=1,
                dtype=str,
                na_filter=False,
                skip_blank_lines=False,
                index_col=False,
                low_memory=False,
            )
    except (csv.Error, pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, ValueError) as error:
        raise RecordsError(
            f"{path}: not a CSV table with the same columns in every row ({error}); quote cells that hold a separator"
        ) from error
    frame = frame.fillna("")
    frame = frame[(frame != "").any(axis=1)].reset_index(drop=True)
    if frame.empty:
        raise RecordsError(f"{path}: the table has no rows; expected one row an image")
    return frame
