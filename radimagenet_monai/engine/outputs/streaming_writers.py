"""Writing results for many classes while the evaluation runs: memory does not grow with the number of images."""

from __future__ import annotations

import csv
import heapq
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np
from ignite.engine import Engine, Events

from radimagenet_monai.catalog.phantom_notice import PHANTOM_NOTICE, is_phantom
from radimagenet_monai.core.atomic import atomic_open, atomic_write_text
from radimagenet_monai.core.named_roots import without_folders
from radimagenet_monai.datasets.records.table import frame_number
from radimagenet_monai.engine.distributed import gather_objects, rank
from radimagenet_monai.engine.outputs.streaming_metrics import CountCollector, predicted
from radimagenet_monai.engine.outputs.writers import EVALUATION_JSON, TOP, images_folder
from radimagenet_monai.statistics.predictions import PREDICTIONS_CSV
from radimagenet_monai.statistics.streaming.evaluation import evaluate_counts
from radimagenet_monai.statistics.streaming.groups import radimagenet_groups
from radimagenet_monai.store.sealed.records import SealedRecords

CONFUSION_CSV = "confusion.csv"


class StreamingPredictionWriter:
    """Handler that writes ``predictions.csv``: one row per image, in the order of the dataset.

    A row holds the file (relative to ``root``, with ``/``), the frame, the five most probable classes with their
    probabilities, the decision and, where known, the true class: the columns of `PredictionWriter` for many classes.
    The column ``problem`` is empty; it keeps the columns of both writers the same.

    Each process writes its rows to a hidden file beside it, and ``predictions.csv`` appears when all are complete; a
    killed run leaves the previous file. Processes on several machines need a shared folder.

    Parameters
    ----------
    folder
        Output folder.
    data
        ``data`` of the engine's dataset.
    classes
        Class names in index order.
    root
        Image folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        data: Sequence[Mapping[str, Any]],
        classes: Sequence[str],
        root: str | os.PathLike[str],
    ) -> None:
        self.path = Path(folder) / PREDICTIONS_CSV
        self.data = data
        self.classes = list(classes)
        self.root = Path(root)
        self._stream: IO[str] | None = None
        self._images = ""

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    @property
    def _part(self) -> Path:
        return self.path.with_name(f".{self.path.name}.{rank()}.part")

    def _start(self, engine: Any) -> None:
        self._part.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._part.open("w", encoding="utf-8", newline="")
        self._images = os.fspath(images_folder(self.root))  # ask the file system once, not for each image

    def _write(self, engine: Any) -> None:
        assert self._stream is not None
        found = predicted(engine)
        order = np.argsort(-found.probabilities, axis=1, kind="stable")[:, :TOP]
        highest = np.take_along_axis(found.probabilities, order, axis=1).tolist()
        writer = csv.writer(self._stream, lineterminator="\n")
        for row, (index, top) in enumerate(zip(found.index.tolist(), order.tolist(), strict=True)):
            item = self.data[index]
            file = os.path.relpath(str(item["image"]), self._images).replace(os.sep, "/")
            cells: list[Any] = [index, file, frame_number(item)]
            for number, probability in zip(top, highest[row], strict=True):
                cells += [self.classes[number], f"{probability:.9g}"]
            cells.append(self.classes[top[0]])
            cells.append("" if found.labels is None else self.classes[found.labels[row]])
            writer.writerow([*cells, ""])

    def _finish(self, engine: Any) -> None:
        assert self._stream is not None
        self._stream.close()
        parts = [Path(part) for part in gather_objects(str(self._part))]
        if rank() == 0:
            self._merge(parts)

    def _merge(self, parts: Sequence[Path]) -> None:
        places = range(1, min(TOP, len(self.classes)) + 1)
        with ExitStack() as opened, atomic_open(self.path, "w", encoding="utf-8", newline="") as stream:
            rows = [_numbered(opened.enter_context(part.open(encoding="utf-8", newline=""))) for part in parts]
            writer = csv.writer(stream, lineterminator="\n")
            tops = [name for place in places for name in (f"top{place}", f"probability_top{place}")]
            writer.writerow(["file", "frame", *tops, "decision", "label", "problem"])
            # Each process kept its images in dataset order.
            writer.writerows(cells for _, cells in heapq.merge(*rows, key=lambda row: row[0]))
        for part in parts:
            part.unlink()


class StreamingEvaluationWriter:
    """Handler that writes ``evaluation.json`` and ``confusion.csv`` for labeled images of many classes.

    ``evaluation.json`` holds the metrics with their intervals, groups of classes by modality and region if the
    classes are RadImageNet's, and, for phantoms, the notice that they do not come from patients. ``confusion.csv`` has
    one row per true class and one column per predicted class.

    Parameters
    ----------
    folder, classes, root
        See `StreamingPredictionWriter`.
    settings
        The run's settings, saved with the metrics.
    data
        ``data`` of the engine's dataset; the records of a sealed store tell whether its images are phantoms.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        classes: Sequence[str],
        root: str | os.PathLike[str],
        settings: Mapping[str, Any],
        data: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.folder = Path(folder)
        self.data = data
        self.classes = list(classes)
        self.root = root
        self.settings = dict(settings)

    def attach(self, engine: Engine) -> None:
        CountCollector().attach(engine)
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        if rank() != 0:
            return
        counts = engine.state.counts
        found = evaluate_counts(counts, self.classes, radimagenet_groups(self.classes))
        with atomic_open(self.folder / CONFUSION_CSV, "w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["true class", *self.classes])
            writer.writerows([name, *row] for name, row in zip(self.classes, counts.confusion.tolist(), strict=True))
        report = {
            "settings": without_folders(self.settings),
            "classes": self.classes,
            "aggregate": "none",
            "image_warning": PHANTOM_NOTICE if self._are_phantoms() else None,
            "metrics": found.to_dict(),
        }
        atomic_write_text(self.folder / EVALUATION_JSON, json.dumps(report, indent=2) + "\n")

    def _are_phantoms(self) -> bool:
        if isinstance(self.data, SealedRecords):
            return self.data.are_phantoms
        return bool(os.fspath(self.root)) and is_phantom(self.root)


def _numbered(stream: IO[str]) -> Iterator[tuple[int, list[str]]]:
    """The number at the start of each row of a part, and the rest of the row."""
    for number, *cells in csv.reader(stream):
        yield int(number), cells
