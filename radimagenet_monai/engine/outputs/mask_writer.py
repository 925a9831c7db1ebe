"""Writing the results of a segmenter: masks at the original image size, tables, overlays, overlap measures."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ignite.engine import Engine, Events

from radimagenet_monai.core.atomic import atomic_write_bytes, atomic_write_text
from radimagenet_monai.core.named_roots import without_folders
from radimagenet_monai.datasets.masks import item_mask
from radimagenet_monai.datasets.records.table import frame_number
from radimagenet_monai.engine.distributed import gather_objects, rank
from radimagenet_monai.engine.outputs.lesion_overlap import LESION
from radimagenet_monai.engine.outputs.writers import (
    EVALUATION_JSON,
    relative_to,
    report_problems,
    write_left_out,
    write_questions,
)
from radimagenet_monai.loading.file_grid import upright
from radimagenet_monai.loading.native_dataset import GEOMETRY
from radimagenet_monai.loading.resize import CONTENT, QUESTIONS, SPACING
from radimagenet_monai.statistics.overlap.segmentation import Overlap, evaluate_segmentation, measure_overlap
from radimagenet_monai.statistics.overlap.surface_distance import TOLERANCE, SurfaceDistance, measure_surface_distance
from radimagenet_monai.statistics.predictions import PREDICTIONS_CSV, write_rows

MASKS_FOLDER = "masks"
OVERLAYS_FOLDER = "overlays"
_OVERLAY_SIDE = 320  # pixels; on smaller pictures the outlines merge
_COMPARED = ("reference_pixels", "dice", "iou", "hd95", "nsd", "distance_unit")
_ORANGE, _BLUE = (20, 110, 240), (200, 120, 30)  # blue, green, red: OpenCV's order


class MaskWriter:
    """Handler that writes each image's mask as a PNG, and ``predictions.csv`` when an engine completes.

    A mask is 0 or 255, upright, and as large as the original image, whatever part of it the network saw. A row of the
    table holds the file (relative to ``root``), the frame, the mask's file, rows and columns of the image, the number
    of lesion pixels, Dice, IoU, HD95 and NSD if a reference is known, and the reason why an image could not be read.
    Distances are in mm if the files of all compared images state their spacing, otherwise in pixels. Nothing else from
    an image's header is written. As many images as ``overlays`` says, evenly spaced over the data, are drawn into the
    folder of that name: the predicted outline in orange, the reference in blue.

    Expects MONAI's decollated output with ``pred``, either (2, h, w) as probabilities, or (1, rows, columns), a mask
    restored by `radimagenet_monai.engine.RestoreMaskd`; and ``index``, ``image``, ``geometry`` and ``spacing`` in the
    batch.

    Parameters
    ----------
    folder
        Output folder.
    data
        ``data`` of the engine's dataset.
    root
        Image folder, or a single image file.
    threshold
        A pixel is lesion at or above this probability.
    references
        Whether the items' ``mask`` entries are references to compare with; an item without one then has no lesion.
        Overlaps are stored in ``engine.state.overlaps`` and outline distances in ``engine.state.distances``, by index.
    overlays
        Number of overlays to draw.
    tolerance
        Tolerance of the NSD, in the unit of the distances (mm or pixels).
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        data: Sequence[Mapping[str, Any]],
        root: str | os.PathLike[str],
        threshold: float = 0.5,
        references: bool = False,
        overlays: int = 24,
        tolerance: float = TOLERANCE,
    ) -> None:
        self.folder = Path(folder)
        self.data = data
        self.root = Path(root)
        self.threshold = float(threshold)
        self.references = references
        self.tolerance = float(tolerance)
        self._drawn = set(np.linspace(0, len(data) - 1, min(overlays, len(data))).round().astype(int).tolist())
        self._names = mask_names(data, self.root)
        self._rows: dict[int, dict[str, Any]] = {}
        self._questions: dict[int, str] = {}
        self._overlaps: dict[int, Overlap] = {}
        self._distances: dict[int, dict[str, SurfaceDistance]] = {}

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write_masks)
        engine.add_event_handler(Events.COMPLETED, self._finish)

    def _start(self, engine: Any) -> None:
        self._rows, self._overlaps, self._distances, self._questions = {}, {}, {}, {}

    def _write_masks(self, engine: Any) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            index = int(item["index"])
            record = self.data[index]
            row: dict[str, Any] = {
                "file": relative_to(self.root, str(record["image"])),
                "frame": frame_number(record),
                "mask": None,
                "rows": None,
                "columns": None,
                "lesion_pixels": None,
                **(dict.fromkeys(_COMPARED) if self.references else {}),
                "problem": str(item.get("unreadable") or "") or None,
            }
            self._rows[index] = row
            if item.get(QUESTIONS):
                self._questions[index] = str(item[QUESTIONS])
            if row["problem"]:
                continue
            predicted = np.asarray(output["pred"].detach().float().cpu())
            geometry = [int(value) for value in item[GEOMETRY]]
            content = [int(value) for value in item[CONTENT]] if CONTENT in item else None
            is_restored = len(predicted) == 1  # by the bundle's postprocessing
            mask = (
                predicted[0] > 0 if is_restored else restore_mask(predicted[LESION], geometry, self.threshold, content)
            )
            name = self._names[index]
            _write_png(self.folder / MASKS_FOLDER / name, mask.astype(np.uint8) * 255)
            row.update(
                mask=f"{MASKS_FOLDER}/{name}",
                rows=mask.shape[0],
                columns=mask.shape[1],
                lesion_pixels=int(mask.sum()),
            )
            reference = None
            if self.references:
                reference = item_mask(record, (mask.shape[0], mask.shape[1]))
                overlap = self._overlaps[index] = measure_overlap(mask, reference)
                row.update(reference_pixels=overlap.reference, dice=_rounded(overlap.dice), iou=_rounded(overlap.iou))
                measured = [measure_surface_distance(mask, reference, self.tolerance)]
                if all(spacing := [float(step) for step in item[SPACING]]):
                    measured.append(measure_surface_distance(mask, reference, self.tolerance, spacing))
                self._distances[index] = {distance.unit: distance for distance in measured}
            if index in self._drawn:
                image = np.asarray(item["image"].detach().float().cpu())[0]
                _write_png(
                    self.folder / OVERLAYS_FOLDER / name, draw_overlay(image, mask, reference, geometry, content)
                )

    def _finish(self, engine: Any) -> None:
        rows = {index: row for part in gather_objects(self._rows) for index, row in part.items()}
        questions = {index: text for part in gather_objects(self._questions) for index, text in part.items()}
        engine.state.overlaps = {
            index: overlap for part in gather_objects(self._overlaps) for index, overlap in part.items()
        }
        engine.state.distances = _in_one_unit(
            {index: measured for part in gather_objects(self._distances) for index, measured in part.items()}
        )
        if rank() != 0:
            return
        for index, distance in engine.state.distances.items():
            if distance.hd95 is not None:
                rows[index].update(
                    hd95=_rounded(distance.hd95), nsd=_rounded(distance.nsd), distance_unit=distance.unit
                )
        ordered = [rows[index] for index in sorted(rows)]
        write_rows(self.folder / PREDICTIONS_CSV, ordered)
        write_left_out(self.folder, self.data)
        write_questions(self.folder, self.data, self.root, questions)
        problems = [f"{row['file']}: {row['problem']}" for row in ordered if row["problem"]]
        report_problems(problems, len(ordered), self.folder)


class OverlapWriter:
    """Handler that writes ``evaluation.json`` from the results of a `MaskWriter` attached before it.

    Parameters
    ----------
    folder
        Output folder.
    settings
        The run's settings, saved with the metrics.
    data
        ``data`` of the engine's dataset, whose ``patient_id`` defines the clusters for the intervals; None if unknown.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: Mapping[str, Any],
        data: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        self.path = Path(folder) / EVALUATION_JSON
        self.settings = dict(settings)
        self.data = data

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Any) -> None:
        if rank() != 0:
            return
        overlaps, distances = engine.state.overlaps, engine.state.distances
        order = sorted(overlaps)
        patients = None if self.data is None else [str(self.data[index].get("patient_id") or "") for index in order]
        evaluation = evaluate_segmentation(
            [overlaps[index] for index in order], [distances[index] for index in order], patients
        )
        report = {"settings": without_folders(self.settings), "metrics": evaluation.to_dict()}
        atomic_write_text(self.path, json.dumps(report, indent=2) + "\n")


def restore_mask(
    probability: np.ndarray, geometry: Sequence[int], threshold: float, content: Sequence[int] | None = None
) -> np.ndarray:
    """Map a lesion probability back to the original image.

    Parameters
    ----------
    probability
        Probabilities ``(h, w)`` at the network's input size.
    geometry
        Rows and columns of the original image, then first row, first column, end row and end column of the part that
        the network saw; and, if the image was not upright, how it was `radimagenet_monai.loading.file_grid.turned`.
    threshold
        A pixel is lesion at or above this probability, after interpolation.
    content
        First row, first column, end row and end column of that part in ``probability``; by default the whole array.

    Returns
    -------
    numpy.ndarray
        Booleans ``(rows, columns)``, false outside that part.
    """
    rows, columns, top, left, bottom, right, *turn = geometry
    mask = np.zeros((rows, columns), bool)
    if bottom <= top or right <= left:
        return mask  # the zeros that stand for an unreadable image
    probability = upright(_content_of(probability, content), *turn or [0])
    seen = cv2.resize(probability.astype(np.float32), (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    mask[top:bottom, left:right] = seen >= threshold
    return mask


def _content_of(pixels: np.ndarray, content: Sequence[int] | None) -> np.ndarray:
    """The part of ``pixels`` (h, w) without the border."""
    if content is None or not any(content):
        return pixels
    top, left, bottom, right = content
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def draw_overlay(
    image: np.ndarray,
    mask: np.ndarray,
    reference: np.ndarray | None,
    geometry: Sequence[int],
    content: Sequence[int] | None = None,
) -> np.ndarray:
    """Draw outlines on the part of the image that the network saw: uint8 ``(height, width, 3)``, blue, green, red.

    Small images are enlarged.

    Parameters
    ----------
    image
        Network input ``(h, w)`` in [0, 1].
    mask, reference
        Booleans ``(rows, columns)`` at the size of the original image.
    geometry, content
        See `restore_mask`.
    """
    _, _, top, left, bottom, right, *turn = geometry
    image = upright(_content_of(image, content), *turn or [0])
    enlarged = max(1.0, _OVERLAY_SIDE / max(bottom - top, right - left))
    size = (round((right - left) * enlarged), round((bottom - top) * enlarged))
    gray = cv2.resize((np.clip(image, 0, 1) * 255).astype(np.uint8), size)
    drawn = cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)
    width = max(1, round(max(drawn.shape) / 300))
    for outlined, color in ((reference, _BLUE), (mask, _ORANGE)):
        if outlined is not None:
            seen = np.ascontiguousarray(outlined[top:bottom, left:right], dtype=np.uint8)
            part = cv2.resize(seen, size, interpolation=cv2.INTER_NEAREST)
            contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, contours, -1, color, width)
    return drawn


def mask_names(data: Sequence[Mapping[str, Any]], root: Path) -> list[str]:
    """Unique file name of each item's mask, relative to the folder of masks."""
    files = [str(item["image"]) for item in data]
    frames = Counter(files)
    names = []
    for item, file in zip(data, files, strict=True):
        place = Path(relative_to(root, file))
        # The mask of a file outside the root must stay inside the folder of masks.
        place = Path(*(part for part in place.parts if part not in ("..", "/")))
        frame = f"_frame{frame_number(item):04d}" if frames[file] > 1 else ""
        names.append(f"{place.with_suffix('').as_posix()}{frame}.png")
    repeated = {name for name, count in Counter(names).items() if count > 1}
    return [
        f"{name.removesuffix('.png')}_{position}.png" if name in repeated else name
        for position, name in enumerate(names)
    ]


def _in_one_unit(measured: Mapping[int, Mapping[str, SurfaceDistance]]) -> dict[int, SurfaceDistance]:
    """Use mm only if all distances have it, since a mean over mm and pixels is meaningless."""
    unit = "mm" if all("mm" in distances for distances in measured.values()) else "pixels"
    return {index: distances[unit] for index, distances in measured.items()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    encoded, data = cv2.imencode(".png", pixels)
    assert encoded
    atomic_write_bytes(path, data.tobytes())
