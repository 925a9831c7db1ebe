"""Every number of an analysis as plain tables, for CSV files: one table per list, one column per value."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

STUDY = "study"
# Columns that identify a parent row, repeated in the rows of its lists.
_KEYS = (
    *("id", "architecture", "initialization", "scenario", "fold", "fraction"),
    *("first", "second", "measure", "column", "group", "rank", "size", "randomized"),
)

Rows = list[dict[str, Any]]


def tables_of(analysis: Mapping[str, Any]) -> dict[str, Rows]:
    """Table name to its rows, each a mapping from column to value.

    Lists of mappings become separate tables, named by their position (``differences``, ``differences_per_fold``), which
    repeat the parent's identifying columns. Lists of values that belong together, such as the points of a curve, become
    one row per point. Mappings within a row become columns with a dot. Everything else goes into the table ``study``,
    one row per value.
    """
    tables: dict[str, Rows] = {}
    single = {key: value for key, value in analysis.items() if not _is_table(value)}
    for key, value in analysis.items():
        if _is_table(value):
            for row in value:
                _add(key, row, {}, tables)
    own: dict[str, Rows] = {}
    _add("", single, {}, own)
    (values,) = own.pop("")
    tables[STUDY] = [{"name": name, "value": value} for name, value in values.items()]
    return tables | {name.lstrip("_"): rows for name, rows in own.items()}


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV with full precision; ``None`` is an empty cell.

    Text that a spreadsheet would read as a formula is preceded by an apostrophe.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_safe(column) for column in columns])
    writer.writerows([[_safe(row.get(column)) for column in columns] for row in rows])
    return stream.getvalue()


def _add(name: str, row: Mapping[str, Any], keys: Mapping[str, Any], tables: dict[str, Rows]) -> None:
    values, curves = dict(keys), dict[str, dict[str, list[Any]]]()
    children: list[tuple[str, Sequence[Mapping[str, Any]]]] = []

    def take(prefix: str, part: Mapping[str, Any]) -> None:
        for key, value in part.items():
            column = f"{prefix}{key}"
            if isinstance(value, Mapping):
                take(f"{column}.", value)
            elif _is_table(value):
                children.append((f"{name}_{column.replace('.', '_')}", value))
            elif isinstance(value, list) and all(isinstance(item, str) for item in value):
                values.update({f"{column}.{place}": text for place, text in enumerate(value)})
            elif isinstance(value, list):
                curves.setdefault(prefix if prefix else f"{key}.", {})[str(key)] = value
            else:
                values[column] = value

    take("", row)
    tables.setdefault(name, []).append(values)
    inherited = dict(keys) | {key: values[key] for key in _KEYS if name and key in values}
    for place, lists in curves.items():
        target = tables.setdefault(f"{name}_{place.rstrip('.').replace('.', '_')}", [])
        for point in range(max(map(len, lists.values()))):
            cells = {key: items[point] if point < len(items) else None for key, items in lists.items()}
            target.append({**inherited, "point": point, **cells})
    for child, rows in children:
        for item in rows:
            _add(child, item, inherited, tables)


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _safe(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value
