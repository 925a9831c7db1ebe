"""Pictures of a prediction: the slices that the network saw, with the outline of what it found."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from radimagenet_monai.engine.outputs.mask_writer import draw_overlay
from radimagenet_monai.integrations.prediction.trained_bundle import ExamAnswer

_TILES = 6  # maximum number of slices shown
_SIDE = 176  # height of a tile in pixels


def montage(answers: Sequence[ExamAnswer]) -> bytes | None:
    """A row of slices as a JPEG file: those with the most lesion, or evenly spaced ones; ``None`` for no answers.

    What the network did not see, such as text beside an ultrasound scan region, is not shown.
    """
    tiles = []
    most = max(1, _TILES // max(1, len(answers)))
    for answer in answers[:_TILES]:
        tiles += [_tile(picture_of(answer, place)) for place in _chosen(answer, most)]
    if not tiles:
        return None
    encoded, data = cv2.imencode(".jpg", np.concatenate(tiles, axis=1), [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert encoded
    return data.tobytes()


def picture_of(answer: ExamAnswer, place: int) -> np.ndarray:
    """One slice with its outline: uint8 ``(height, width, 3)``, blue, green, red."""
    image = np.asarray(answer.canonical[0, place])
    if answer.upright:
        used = answer.used
        return draw_overlay(image, answer.upright[place] > 0, None, used.geometry[place], used.content[place])
    gray = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)


def place_shown(answer: ExamAnswer) -> int:
    """The slice to show if one is shown: that with the most lesion, or the middle one."""
    return _chosen(answer, 1)[0]


def _chosen(answer: ExamAnswer, most: int) -> list[int]:
    count = len(answer.used.items)
    areas = np.array([np.count_nonzero(mask) for mask in answer.upright]) if answer.upright else np.zeros(count, int)
    if areas.any():
        return sorted(np.argsort(-areas, kind="stable")[: min(most, int((areas > 0).sum()))].tolist())
    if most == 1:
        return [count // 2]
    return np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()


def _tile(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    size = (max(1, round(width * _SIDE / height)), _SIDE)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if height > _SIDE else cv2.INTER_LINEAR)
