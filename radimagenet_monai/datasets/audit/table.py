"""A records table in the form that an audit needs, and the log of findings."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from radimagenet_monai.datasets.audit.result import KINDS, SEVERITIES, Finding, Row, Severity
from radimagenet_monai.datasets.records.table import PLANE, SPLITS, plane_of_row

MOST_LISTED = 1000
"""Findings of one kind and severity that are listed; all are counted."""

_MOST_ROWS = 12  # rows listed per finding
_MOST_NAMES = 6
_FIRST_ROW = 2  # the header is row 1, as in a spreadsheet


class AuditedTable:
    """The columns of a records table as ``(n,)`` integer codes, equal for equal cells; -1 means an empty cell.

    Attributes
    ----------
    frame
        The records table.
    paths
        Paths of the distinct images, indexed by ``file``.
    file, patient, label, split, fold
        Codes; ``fold`` is the fold itself.
    """

    def __init__(self, frame: pd.DataFrame, root: str) -> None:
        self.frame = frame
        self.root = root
        self.file, images = pd.factorize(frame["image"])
        self.paths = [os.path.join(root, image) for image in images]
        self.patient = codes_of(frame["patient_id"])
        self.label = codes_of(frame["label"])
        self.split = codes_of(frame["split"])
        self.fold = frame["fold"].fillna(-1).to_numpy(np.int64)

    def in_two_parts(self, groups: np.ndarray) -> list[np.ndarray]:
        """The rows of each group that is in two splits or two folds; -1 means no group."""
        apart = in_two(groups, self.split) | in_two(groups, self.fold)
        return [self.one_of_each_first(group) for group in groups_of(np.where(apart, groups, -1))]

    def one_of_each_first(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` beginning with one of each split, fold and label, so that a short list shows them all."""
        places = np.stack([self.split[rows], self.fold[rows], self.label[rows]])
        _, first = np.unique(places, axis=1, return_index=True)
        first.sort()
        return np.concatenate([rows[first], np.delete(rows, first)])

    def differences(self, rows: np.ndarray, count: bool = False) -> str:
        """How rows differ: ``in train and test, in folds 0 and 2, under benign and malignant``.

        ``count`` adds the number of rows in each split and fold, and leaves out the labels.
        """
        part = self.frame.iloc[rows]
        said = []
        for column, words in (("split", "in"), ("fold", "in folds"), ("label", "under")):
            found = part.loc[part[column].notna() & (part[column] != ""), column].value_counts()
            names = [name for name in SPLITS if name in found.index] if column == "split" else sorted(found.index)
            if len(names) > 1 and not (count and column == "label"):
                said.append(f"{words} {listed(f'{name} ({found[name]})' if count else str(name) for name in names)}")
        return ", ".join(said)


class Log:
    """Collected findings: all are counted, the first `MOST_LISTED` of a kind and severity are described."""

    def __init__(self, table: AuditedTable) -> None:
        self._table = table
        self._counts: Counter[tuple[str, Severity]] = Counter()
        self._listed: dict[tuple[str, Severity], list[tuple[str, list[int]]]] = {}

    def add(self, kind: str, severity: Severity, rows: Iterable[int], text: str) -> None:
        """Add one finding about these positions in the table."""
        self.add_all(kind, severity, [rows], lambda _: text)

    def add_all(
        self,
        kind: str,
        severity: Severity,
        groups: Sequence[Iterable[int]],
        text: Callable[[int], str],
        count: int | None = None,
    ) -> None:
        """Add a finding about each group of positions.

        ``text`` receives the index of the group and is called only for listed findings. ``count`` is the number of
        findings if ``groups`` does not contain all of them.
        """
        if not groups:
            return
        self._counts[kind, severity] += len(groups) if count is None else count
        listed = self._listed.setdefault((kind, severity), [])
        for number, group in enumerate(groups[: MOST_LISTED - len(listed)]):
            listed.append((text(number), [int(position) for position in group][:_MOST_ROWS]))

    def counts(self) -> dict[str, dict[Severity, int]]:
        """As `Audit.counts`."""
        found = {kind: {name: self._counts[kind, name] for name in SEVERITIES} for kind in KINDS}
        return {
            kind: {name: number for name, number in numbers.items() if number}
            for kind, numbers in found.items()
            if any(numbers.values())
        }

    def findings(self) -> list[Finding]:
        """As `Audit.findings`."""
        return [
            Finding(kind, severity, text, tuple(position + _FIRST_ROW for position in positions))
            for severity in SEVERITIES
            for kind in KINDS
            for text, positions in self._listed.get((kind, severity), ())
        ]

    def rows(self) -> dict[int, Row]:
        """As `Audit.rows`."""
        named = sorted({position for found in self._listed.values() for _, rows in found for position in rows})
        part = self._table.frame.iloc[named]
        columns = [part[name].tolist() for name in ("image", "frame", "label", "split", "fold", "patient_id")]
        columns.append(part[PLANE].tolist() if PLANE in part else [None] * len(part))
        return {
            position + _FIRST_ROW: Row(
                image,
                frame,
                label,
                split,
                None if pd.isna(fold) else int(fold),
                patient,
                plane_of_row(image, frame, stated),
            )
            for position, image, frame, label, split, fold, patient, stated in zip(named, *columns, strict=True)
        }


def codes_of(values: pd.Series) -> np.ndarray:
    """``(n,)`` int64: equal for equal text, -1 for empty."""
    codes, _ = pd.factorize(values.where(values != ""), use_na_sentinel=True)
    return np.asarray(codes, np.int64)


def groups_of(codes: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of each code that two or more rows have, except -1."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-2))
    lengths = np.diff(starts, append=len(codes))
    several = (lengths > 1) & (codes[order[starts]] >= 0)
    for start, length in zip(starts[several], lengths[several], strict=True):
        yield order[start : start + length]


def in_two(groups: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """``(n,)`` booleans: rows whose group has rows in two parts; -1 means no group or no part."""
    known = (groups >= 0) & (parts >= 0)
    spread = pd.Series(parts[known]).groupby(groups[known]).agg(["min", "max"])
    apart = spread.index.to_numpy()[(spread["min"] != spread["max"]).to_numpy()]
    return np.asarray(np.isin(groups, apart))


def labels_by(frame: pd.DataFrame, column: str) -> dict[str, dict[str, int]]:
    """Number of images of each label by split or fold, as in `Audit.labels_by_split`."""
    values = frame[column].astype(object).where(frame[column].notna(), "").astype(str)
    found = set(values) - {""}
    if not found:
        return {}
    parts = [name for name in SPLITS if name in found] if column == "split" else sorted(found, key=int)
    counts = pd.crosstab(frame["label"], values)
    parts += [""] * ("" in counts.columns)
    return {str(label): {part: int(row[part]) for part in parts} for label, row in counts.iterrows()}


def listed(names: Iterable[str]) -> str:
    """``train, validation and test``."""
    names = list(names)
    if len(names) > _MOST_NAMES:
        names = [*names[:_MOST_NAMES], f"{len(names) - _MOST_NAMES} more"]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
