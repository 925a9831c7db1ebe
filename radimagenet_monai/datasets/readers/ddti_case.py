"""Read the XML file of one DDTI case: the radiologists' records and their outlines of nodules.

Pedraza L, Vargas C, Narváez F, Durán O, Muñoz E, Romero E. *An open access thyroid ultrasound image database.*
Proc. SPIE 9287 (2015) 92870W.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np

from radimagenet_monai.core.errors import RecordsError

FIELDS = ("number", "age", "sex", "composition", "echogenicity", "margins", "calcifications", "tirads")

_POINT = re.compile(r'\{\s*"x"\s*:\s*(-?\d+(?:\.\d+)?)\s*,\s*"y"\s*:\s*(-?\d+(?:\.\d+)?)\s*\}')
_CLOSED_POINTS = re.compile(r'"points"\s*:\s*\[([^\[\]]*)\]')
_FARTHEST = 32_000  # pixels; OpenCV draws with 16 integer bits


@dataclass(frozen=True)
class ThyroidCase:
    """Content of one XML file.

    Attributes
    ----------
    facts
        Text of each of `FIELDS`, stripped; ``""`` if empty or missing.
    outlines
        Outlines by image number: polygons of ``(n, 2)`` float64 x (right) and y (down) in pixels from the image's top
        left corner, n at least 3. Images with empty marks have an empty list.
    problems
        Descriptions of what could not be used.
    """

    facts: dict[str, str]
    outlines: dict[int, list[np.ndarray]]
    problems: list[str] = field(default_factory=list)


def read_case(path: str | os.PathLike[str]) -> ThyroidCase:
    """Read the XML file of a case.

    An outline that ends after its points, as in 197.xml and 205.xml of the published set, is used; other damage to the
    outlines of an image is named in ``problems``.

    Raises
    ------
    RecordsError
        If the file cannot be read, is not XML, or is not a case file.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise RecordsError(f"{path}: cannot be read ({error.strerror}); expected the XML file of a DDTI case") from None
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise RecordsError(f"{path}: declares a document type, which DDTI does not; entities are not expanded")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise RecordsError(f"{path}: not XML ({error}); expected the file of a DDTI case") from None
    if root.find("number") is None and root.find("tirads") is None and root.find("mark") is None:
        raise RecordsError(f"{path}: holds neither number, tirads nor mark; expected the file of a DDTI case")
    facts = {name: " ".join((root.findtext(name) or "").split()) for name in FIELDS}
    outlines: dict[int, list[np.ndarray]] = {}
    problems: list[str] = []
    for mark in root.iter("mark"):
        number = (mark.findtext("image") or "").strip()
        if not (number.isascii() and number.isdecimal() and len(number) < 6):
            problems.append(f"a mark names image '{number[:20]}', which is no number")
            continue
        polygons = outlines.setdefault(int(number), [])
        polygons.extend(_polygons((mark.findtext("svg") or "").strip(), int(number), problems))
    return ThyroidCase(facts, outlines, problems)


def read_outlines(path: str | os.PathLike[str], image: int) -> list[np.ndarray]:
    """The outlines of one image, see `ThyroidCase`; the file is read again only after a change.

    Raises
    ------
    RecordsError
        As `read_case`, and if the case has no outline of that image.
    """
    try:
        changed = Path(path).stat().st_mtime_ns
    except OSError as error:
        raise RecordsError(f"{path}: cannot be read ({error.strerror}); expected the XML file of a DDTI case") from None
    polygons = _read_once(os.fspath(path), changed).outlines.get(image)
    if not polygons:
        raise RecordsError(f"{path}: has no outline of image {image}; prepare the records again")
    return polygons


def fill_polygons(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Fill the polygons, including their edges.

    Parameters
    ----------
    polygons
        Each ``(n, 2)`` x (right) and y (down) in pixels, rounded to integers. Parts outside the image are cut off.
    shape
        ``(rows, columns)`` of the image.

    Returns
    -------
    numpy.ndarray
        ``(rows, columns)`` bool.
    """
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        # Draw one at a time: OpenCV would leave out the overlap of polygons drawn together.
        cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], 1)
    return mask.astype(bool)


@lru_cache(maxsize=64)
def _read_once(path: str, _changed: int) -> ThyroidCase:
    return read_case(path)


def _polygons(text: str, image: int, problems: list[str]) -> list[np.ndarray]:
    if not text:
        return []
    try:
        regions = json.loads(text)
    except (ValueError, RecursionError):
        regions = [
            {"points": [{"x": float(x), "y": float(y)} for x, y in _POINT.findall(points)]}
            for points in _CLOSED_POINTS.findall(text)
        ]
        if not regions:
            problems.append(f"the outline of image {image} is no JSON text")
    polygons = []
    for region in regions if isinstance(regions, list) else [regions]:
        points = region.get("points") if isinstance(region, dict) else None
        polygon = [_point(point) for point in points] if isinstance(points, list) else []
        known = [point for point in polygon if point is not None]
        if len(known) < len(polygon) or len(set(known)) < 3:
            problems.append(f"an outline of image {image} has {len(set(known))} usable points, 3 make a polygon")
        else:
            polygons.append(np.array(known, dtype=np.float64))
    return polygons


def _point(point: Any) -> tuple[float, float] | None:
    if not isinstance(point, dict):
        return None
    pair = (point.get("x"), point.get("y"))
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in pair):
        return None
    try:
        x, y = float(pair[0]), float(pair[1])  # type: ignore[arg-type]  # numbers, as the line above asks
    except OverflowError:
        return None
    return (x, y) if math.isfinite(x) and math.isfinite(y) and max(abs(x), abs(y)) <= _FARTHEST else None
