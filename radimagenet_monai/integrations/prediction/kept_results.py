"""The output folder of a prediction: one process at a time, one file a study, tables made from those at the end.

A study's file appears, whole, once everything else about it is written. A prediction that is killed goes on from there,
and its tables are those of one that was not.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import filelock

from radimagenet_monai.core.atomic import atomic_open, atomic_write_text, remove_abandoned
from radimagenet_monai.core.errors import ConfigurationError
from radimagenet_monai.engine.outputs.writers import LEFT_OUT_CSV, PREDICTIONS_JSON
from radimagenet_monai.statistics.predictions import PREDICTIONS_CSV, write_rows

LOCK_NAME = ".predict.lock"
STUDIES_FOLDER, MASKS_FOLDER, DICOM_FOLDER = "studies", "masks", "dicom"
RUN_FILE = "run.json"
_TABLES = (PREDICTIONS_CSV, PREDICTIONS_JSON, LEFT_OUT_CSV, "report.html")


class KeptResults:
    """The results of the studies of one prediction, on disk.

    Parameters
    ----------
    folder
        Output folder.
    run
        What the results depend on: model, settings and a digest of the list of studies.
    resume
        Whether to go on from an earlier prediction with the same ``run``; without one, start.
    overwrite
        Whether to replace the results of an earlier one.
    """

    def __init__(
        self, folder: str | os.PathLike[str], run: Mapping[str, Any], resume: bool = False, overwrite: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.run = dict(run)
        self.resume = resume
        self.overwrite = overwrite
        self._lock = filelock.FileLock(self.folder / LOCK_NAME)

    @contextlib.contextmanager
    def claimed(self, stated: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Keep other processes out while in the context; gives ``stated``, or that of the prediction that goes on.

        Raises
        ------
        ConfigurationError
            If another process writes into the folder, or it holds results that are neither to be resumed nor replaced.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise ConfigurationError(
                f"another process is predicting into '{self.folder}'; wait until it ends, or give another --out"
            ) from None
        try:
            yield self._begin(dict(stated))
        finally:
            self._lock.release()

    def _begin(self, stated: dict[str, Any]) -> dict[str, Any]:
        earlier = self._read(self._studies / RUN_FILE)
        if earlier is not None and self.resume:
            for name, value in json.loads(json.dumps(self.run)).items():
                if earlier["run"].get(name) != value:
                    raise ConfigurationError(_differs(self.folder, name, earlier["run"].get(name), value))
            for part in (self.folder, *self._parts):
                remove_abandoned(part)
            return dict(earlier["stated"])
        if not self.overwrite and (earlier is not None or (self.folder / PREDICTIONS_CSV).exists()):
            raise ConfigurationError(
                f"'{self.folder}' holds the results of an earlier prediction; give --resume true to go on with it, "
                "--overwrite true to replace it, or another --out"
            )
        for part in (self.folder, *self._parts):
            remove_abandoned(part)
        if self.overwrite:
            self._clear()
        atomic_write_text(self._studies / RUN_FILE, json.dumps({"run": self.run, "stated": stated}, indent=1) + "\n")
        return stated

    @property
    def _studies(self) -> Path:
        return self.folder / STUDIES_FOLDER

    @property
    def _parts(self) -> list[Path]:
        folders = [self.folder / name for name in (STUDIES_FOLDER, MASKS_FOLDER, DICOM_FOLDER)]
        return [*folders, *(inner for folder in folders if folder.is_dir() for inner in folder.iterdir())]

    def _clear(self) -> None:
        """Remove what an earlier prediction has written, and nothing else."""
        for number in sorted(self._studies.glob("[0-9]*.json")) if self._studies.is_dir() else ():
            for name in (self._read(number) or {}).get("written", ()):
                (self.folder / name).unlink(missing_ok=True)
            number.unlink()
        (self._studies / RUN_FILE).unlink(missing_ok=True)
        for name in _TABLES:
            (self.folder / name).unlink(missing_ok=True)
        for part in sorted(self._parts, reverse=True):
            with contextlib.suppress(OSError):
                part.rmdir()

    def kept(self, number: int) -> dict[str, Any] | None:
        """What was kept of a study; ``None`` if it has not been predicted."""
        return self._read(self._path(number))

    def keep(self, number: int, result: Mapping[str, Any]) -> None:
        """Keep the result of a study, atomically, after everything else of it was written."""
        atomic_write_text(self._path(number), json.dumps(result, indent=1) + "\n")

    def write_tables(self, head: Mapping[str, Any], left_out: list[tuple[str, str]], studies: int) -> None:
        """Write ``predictions.csv``, ``predictions.json`` and ``left_out.csv``, holding one study at a time in memory.

        Parameters
        ----------
        head
            First entries of ``predictions.json``.
        left_out
            Reason and name of each file.
        studies
            Number of studies, all of which have been kept.
        """
        with atomic_open(self.folder / PREDICTIONS_CSV, "w", encoding="utf-8", newline="") as table:
            writer: csv.DictWriter[str] | None = None
            for number in range(1, studies + 1):
                row = (self.kept(number) or {})["row"]
                if writer is None:
                    writer = csv.DictWriter(table, fieldnames=list(row), lineterminator="\n")
                    writer.writeheader()
                writer.writerow(row)
        with atomic_open(self.folder / PREDICTIONS_JSON, "w", encoding="utf-8", newline="") as stream:
            self._write_json(stream, head, studies)
        if left_out:
            write_rows(self.folder / LEFT_OUT_CSV, [{"file": name, "reason": reason} for reason, name in left_out])

    def _write_json(self, stream: IO[str], head: Mapping[str, Any], studies: int) -> None:
        stream.write(json.dumps(dict(head), indent=1).removesuffix("\n}") + ',\n "predictions": [')
        for number in range(1, studies + 1):
            kept = self.kept(number) or {}
            shown = {**kept["row"], **{name: kept[name] for name in ("slices", "questions", "written") if kept[name]}}
            stream.write(("" if number == 1 else ",") + "\n  " + json.dumps(shown))
        stream.write("\n ]\n}\n")

    def _path(self, number: int) -> Path:
        return self._studies / f"{number:06d}.json"

    @staticmethod
    def _read(path: Path) -> dict[str, Any] | None:
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return None  # not written by us; files appear whole


def _differs(folder: Path, name: str, before: Any, now: Any) -> str:
    if name == "studies":
        return (
            f"the images are not those of the prediction in '{folder}' (files were added, removed or changed); give "
            "--overwrite true to start over, or another --out"
        )
    return (
        f"the prediction in '{folder}' was made with {name}={before!r}, this one has {name}={now!r}; give the same to "
        "go on, --overwrite true to start over, or another --out"
    )
