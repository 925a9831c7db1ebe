"""Pictures of class activation maps: the best, median and worst cases of each initialization."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from radimagenet_monai.report.page import Picture
from radimagenet_monai.report.wording import number

_SIDE = 320  # pixels; larger pictures are shrunk, so that a page can be sent by mail


def read_gallery(analysis: Mapping[str, Any], folder: Path) -> list[Picture]:
    """The pictures listed in ``localization`` of an analysis, numbered and without names.

    Parameters
    ----------
    analysis
        ``analysis.json`` including its paths.
    folder
        Folder that its paths are relative to. Pictures outside it or missing are not shown.
    """
    pictures: list[Picture] = []
    for model in analysis["localization"] or []:
        for case in model.get("gallery") or []:
            path = (folder / str(case["overlay"])).resolve()
            if not path.is_relative_to(folder.resolve()) or not path.is_file():
                continue
            # Decoded and re-encoded to drop text metadata of the file.
            pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
            if pixels is not None:
                model_name = f"{model['initialization']}, {model['architecture']}"
                pictures.append(_picture(len(pictures) + 1, model_name, case, pixels))
    return pictures


def _picture(place: int, model: str, case: Mapping[str, Any], pixels: np.ndarray) -> Picture:
    scale = min(1.0, _SIDE / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    _, encoded = cv2.imencode(".png", cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    uri = "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
    measured = ", ".join(
        f"{title} {number(case[key], 2)}"
        for key, title in (("dice", "Dice"), ("energy", "energy inside"), ("pointing", "pointing"))
        if case.get(key) is not None
    )
    called = f"{case['class']}, probability {number(case['probability'], 2)}"
    return Picture(
        uri,
        f"Case {place}: heat map over the image with the outline of the lesion; {case['rank']} of {model}. {measured}.",
        f"{place}. {case['rank']}, {model}: {called}. {measured}.",
    )
