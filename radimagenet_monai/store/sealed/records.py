"""The records of a sealed store as a sequence of dictionaries that exist only while they are looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import pandas as pd

from radimagenet_monai.core.errors import RecordsError
from radimagenet_monai.datasets.records.table import (
    CARRIED_COLUMNS,
    PLANE,
    Split,
    item_of_row,
    keep_masked,
    selected_rows,
    settle_findings,
)
from radimagenet_monai.store.sealed.index import CodedColumn, SealedIndex

_HASHED_AT_ONCE = 1 << 20
_FINDING_VALUES = {"1": 1.0, "0": 0.0, "": np.nan}


class SealedRecords(Sequence[dict[str, Any]]):
    """The records that `radimagenet_monai.datasets.to_datalist` selects, read from the index of a sealed store.

    Each item is the same dictionary as in that list, created on access; paths are as in the records table.
    Opening reads only a few columns of small integers, and processes share all of it.

    Parameters
    ----------
    index
        Index of a sealed store.
    classes, split, fold, findings, require_mask
        See `to_datalist`.

    Raises
    ------
    RecordsError
        For an empty selection, or a label outside the classes.
    ConfigurationError
        For an unknown split, or a fold without a split.
    """

    def __init__(
        self,
        index: SealedIndex,
        classes: Sequence[str] | None = None,
        split: Split | None = None,
        fold: int | None = None,
        findings: Sequence[str] | None = None,
        require_mask: bool = False,
    ) -> None:
        self._index = index
        rows = np.flatnonzero(selected_rows(_split_and_fold(index), split, fold))
        if require_mask:
            rows = keep_masked(rows, index.column("mask").filled()[rows])
        self._rows = rows.astype(np.int32)
        self._carried = [name for name in CARRIED_COLUMNS if name in index]
        # From the code of a label in the store to the class index of the network.
        self._class_of_code: np.ndarray | None = None
        self._findings: list[tuple[CodedColumn, np.ndarray] | None] | None = None
        self._names: tuple[str, ...] = ()
        self._positive = -1
        if classes is not None:
            self._class_of_code = self._classes_of_codes(classes)
            if findings is not None:
                self._findings = [self._finding(name) for name in findings]
                self._names = tuple(findings)
                self._positive = len(classes) - 1

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(place, slice):
            return [self._record(row) for row in self._rows[place].tolist()]
        return self._record(int(self._rows[place]))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self._record(int(row)) for row in self._rows)

    @property
    def are_phantoms(self) -> bool:
        """Whether the images are phantoms, not images of patients."""
        return self._index.phantoms

    def labels(self) -> np.ndarray:
        """Labels of all records at once: class indices int64 ``(N,)``, or float64 ``(N, findings)``.

        Raises
        ------
        RecordsError
            If the records were opened without classes.
        """
        if self._class_of_code is None:
            raise RecordsError("these records were opened without classes, so they have no labels")
        labels = self._class_of_code[self._index.coded("label").codes[self._rows]]
        if self._findings is None:
            return labels
        known = np.full((len(self), len(self._findings)), np.nan)
        for place, finding in enumerate(self._findings):
            if finding is not None:
                column, value_of_code = finding
                known[:, place] = value_of_code[column.codes[self._rows]]
        return settle_findings(known, labels == self._positive, self._names)[0]

    def stated_planes(self) -> list[str]:
        """The plane of each record, ``""`` where it states none."""
        if PLANE not in self._index:
            return [""] * len(self)
        column = self._index.coded(PLANE)
        return [column.values[code] for code in column.codes[self._rows].tolist()]

    def places(self) -> np.ndarray:
        """Part and row of the image of each record, int32 ``(N, 2)``."""
        return self._index.places()[self._rows]

    def sha256(self) -> str:
        """Over file name, frame, hash of the file, names of the masks and label of every record, in order.

        A hash of columns: other than that of the same records as a list, but the same in every store of them.
        """
        digest = hashlib.sha256()
        content = self._index.content()
        for start in range(0, len(self), _HASHED_AT_ONCE):
            digest.update(content[self._rows[start : start + _HASHED_AT_ONCE]].tobytes())
        if self._class_of_code is not None:
            # Unknown findings as -1: a NaN has many bit patterns.
            digest.update(np.nan_to_num(self.labels(), nan=-1).astype("<i2").tobytes())
        return digest.hexdigest()

    def _record(self, row: int) -> dict[str, Any]:
        index = self._index
        cells = {name: index.column(name)[row] for name in ("image", "mask", "sha256", *self._carried)}
        record = item_of_row({**cells, "frame": index.integers("frame")[row]})
        record["record"] = int(index.integers("record")[row])
        record["patient_id"] = index.column("patient_id")[row]
        if self._class_of_code is not None:
            label = int(self._class_of_code[index.coded("label").codes[row]])
            record["label"] = label if self._findings is None else self._known_findings(row, label)
        return record

    def _known_findings(self, row: int, label: int) -> list[float]:
        assert self._findings is not None
        known = [np.nan if found is None else float(found[1][found[0].codes[row]]) for found in self._findings]
        settled, _ = settle_findings(np.array([known]), np.array([label == self._positive]), self._names)
        return [float(value) for value in settled[0]]

    def _classes_of_codes(self, classes: Sequence[str]) -> np.ndarray:
        column = self._index.coded("label")
        number = {name: place for place, name in enumerate(classes)}
        class_of_code = np.array([number.get(value, -1) for value in column.values], dtype=np.int64)
        counts = np.bincount(column.codes[self._rows], minlength=len(column.values))
        beyond = np.flatnonzero((class_of_code < 0) & (counts > 0))
        if beyond.size:
            raise RecordsError(
                f"sealed store {self._index.folder}: {counts[beyond].sum()} of {len(self)} records have labels that "
                f"are none of the {len(classes)} classes, the first {column.values[beyond[0]]!r}; give --classes as "
                "the store has them, or pack the right records"
            )
        return class_of_code

    def _finding(self, name: str) -> tuple[CodedColumn, np.ndarray] | None:
        """The column of a finding and the number for each of its codes; ``None`` where the store has no such column."""
        if name not in self._index:
            return None
        column = self._index.column(name)
        if isinstance(column, CodedColumn):
            present = set(np.unique(column.codes[self._rows]).tolist())
            wrong = [value for code, value in enumerate(column.values) if code in present]
            wrong = [value for value in wrong if value not in _FINDING_VALUES]
        if not isinstance(column, CodedColumn) or wrong:
            what = f"such as {wrong[0]!r}" if isinstance(column, CodedColumn) else "of many kinds"
            raise RecordsError(
                f"sealed store {self._index.folder}: column '{name}' holds values {what}; expected 1, 0 or nothing"
            )
        return column, np.array([_FINDING_VALUES.get(value, np.nan) for value in column.values])


def _split_and_fold(index: SealedIndex) -> pd.DataFrame:
    split, fold = index.coded("split"), index.integers("fold")
    return pd.DataFrame(
        {
            "split": pd.Categorical.from_codes(split.codes, split.values),
            "fold": pd.arrays.IntegerArray(fold.astype(np.int64), fold < 0),
        }
    )
