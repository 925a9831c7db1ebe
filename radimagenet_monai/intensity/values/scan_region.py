"""The position of the scan in an ultrasound frame, from the header or from the picture.

From the header (PS3.3 C.8.5.5): among the regions of Sequence of Ultrasound Regions with Region Spatial Format 2D (1)
and Region Data Type Tissue (1), the largest, joined with those that lie at least half within it. A region is accepted
if it fits the image: it may exceed a side by 1 % (writers disagree on whether the maximum is the last pixel or the one
after), is then clipped to the image, and must keep 16 pixels per side. A region that ends with the image on one side
and exceeds it on the other belongs to an image that was cropped there later, and is cropped likewise. Otherwise its
numbers describe another matrix, for example the one before a resize.

From the picture: the scan is the largest solid lit area. Its surroundings are black and hold only burnt-in text,
scales and gray bars, all of them thin. A frame is cropped only if black lies on both sides of the scan, left and right
or above and below; a scan that fills its frame and merely darkens with depth is left whole. Before that, bars at the
top and the bottom are cut off: full rows of one gray, with text on it.
"""

from __future__ import annotations

import cv2
import numpy as np
from pydicom.dataset import Dataset

from radimagenet_monai.intensity.values.grayscale import number

#: First row and column inside, then first row and column after the end.
Box = tuple[int, int, int, int]

_TWO_DIMENSIONAL = 1
_TISSUE = 1
_SMALLEST_SIDE = 16

#: Black reaches this luminance above the surroundings; JPEG ringing around burnt-in text stays below.
_LIT = 6 / 255
#: Speckle is closed over gaps of this share of the shorter side. Strokes thinner than _THIN are not scan, nor are
#: neighborhoods of that size with a lower share of lit pixels than _DENSE, such as lines of text.
_GAP = 0.02
_THIN = 0.05
_DENSE = 0.4
#: The scan covers at least this share of the frame; a margin below _LEAST_MARGIN of a side is not worth a crop.
_LEAST_AREA = 0.08
_LEAST_MARGIN = 0.02
#: A bar covers at most this share of the rows; in each, _BAR_SHARE of the pixels have its gray, up to _SAME_GRAY.
_LARGEST_BAR = 0.3
_BAR_SHARE = 0.5
_SAME_GRAY = 3 / 255
_LEAST_WRITING = 0.005
_GOES_ON = 0.1


def header_region(header: Dataset, shape: tuple[int, ...]) -> Box | None:
    """The 2-D tissue region in a header, or ``None`` if it has none that fits ``shape``.

    Parameters
    ----------
    header
        Header with or without Sequence of Ultrasound Regions.
    shape
        Rows and columns of the image.
    """
    boxes = []
    for item in header.get("SequenceOfUltrasoundRegions") or []:
        if item.get("RegionSpatialFormat") == _TWO_DIMENSIONAL and item.get("RegionDataType") == _TISSUE:
            box = _stated_box(item, int(shape[0]), int(shape[1]))
            if box is not None:
                boxes.append(box)
    if not boxes:
        return None
    largest = max(boxes, key=_area)
    joined = [box for box in boxes if 2 * _area(_intersection(box, largest)) >= _area(box)]
    rows, columns, end_rows, end_columns = zip(*joined, strict=True)
    return min(rows), min(columns), max(end_rows), max(end_columns)


def _stated_box(item: Dataset, rows: int, columns: int) -> Box | None:
    limits = [
        number(item, f"RegionLocation{end}{axis}{place}") for end, place in (("Min", 0), ("Max", 1)) for axis in "YX"
    ]
    if any(limit is None for limit in limits):
        return None
    # The standard's maximum is the last pixel inside.
    row, column, last_row, last_column = (int(limit) for limit in limits if limit is not None)
    slack_rows, slack_columns = max(1, rows // 100), max(1, columns // 100)
    if row < -slack_rows or column < -slack_columns:
        return None
    beyond_rows, beyond_columns = last_row >= rows + slack_rows, last_column >= columns + slack_columns
    ends_with_rows, ends_with_columns = abs(last_row + 1 - rows) <= 1, abs(last_column + 1 - columns) <= 1
    if (beyond_rows and not ends_with_columns) or (beyond_columns and not ends_with_rows):
        return None
    box = max(0, row), max(0, column), min(rows, last_row + 1), min(columns, last_column + 1)
    if box[2] - box[0] < _SMALLEST_SIDE or box[3] - box[1] < _SMALLEST_SIDE:
        return None
    return box


def _area(box: Box) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def _intersection(one: Box, other: Box) -> Box:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


def find_scan(luminance: np.ndarray) -> tuple[Box | None, bool]:
    """The box to crop a frame to, and whether the position of the scan is known.

    Parameters
    ----------
    luminance
        As for `picture_region`.

    Returns
    -------
    tuple
        ``None`` for the whole frame. The position is known if black surrounds the scan, or if the scan fills its frame
        or leaves only the lower end dark, where sound does not reach. In any other frame only bars are cut off.
    """
    top, bottom = bars(luminance)
    inside = luminance[top : len(luminance) - bottom]
    box, known = _scan_of(inside)
    if not (top or bottom):
        return box, known
    row, column, end_row, end_column = box or (0, 0, *inside.shape)
    return (row + top, column, end_row + top, end_column), known


def bars(luminance: np.ndarray) -> tuple[int, int]:
    """Number of rows at the top and at the bottom that are screen bars: one gray, with text on it.

    Parameters
    ----------
    luminance
        As for `picture_region`.
    """
    return _bar(luminance), _bar(luminance[::-1])


def _bar(luminance: np.ndarray) -> int:
    most = int(_LARGEST_BAR * len(luminance))
    gray = float(np.median(luminance[0]))
    if gray <= _LIT:  # black is not a bar; text on it is removed with the surroundings of the scan
        return 0
    shares = (np.abs(luminance[: most + 1] - gray) <= _SAME_GRAY).mean(axis=1)
    alike = shares >= _BAR_SHARE
    height = int(np.argmin(alike)) if not alike.all() else most + 1
    # No row of speckle has a single gray, the bar of a blank picture has no end, and stripes have no text.
    if not _LEAST_MARGIN * len(luminance) <= height <= most:
        return 0
    written = 1 - float(shares[:height].mean())
    # A gray that continues below is the surroundings of the scan.
    return height if written >= _LEAST_WRITING and shares[height] < _GOES_ON else 0


def picture_region(luminance: np.ndarray) -> Box | None:
    """The bounding box of the scan in a frame, or ``None`` if the scan fills its frame or is not found.

    Bars are part of the frame here; `find_scan` leaves them out.

    Parameters
    ----------
    luminance
        ``(rows, columns)`` in [0, 1]; for a clip, the largest value of each pixel over its frames.
    """
    return _scan_of(luminance)[0]


def _scan_of(luminance: np.ndarray) -> tuple[Box | None, bool]:
    """`picture_region`, and whether the position of the scan is known."""
    rows, columns = luminance.shape
    side = min(rows, columns)
    if side < 4 * _SMALLEST_SIDE:
        return None, False
    border = np.concatenate([luminance[0], luminance[-1], luminance[:, 0], luminance[:, -1]])
    # A low percentile, because the border is mostly scan if the scan touches it.
    lit = (luminance > float(np.percentile(border, 10)) + _LIT).astype(np.uint8)
    solid = cv2.morphologyEx(lit, cv2.MORPH_CLOSE, _disk(_GAP * side))
    dense = cv2.boxFilter(lit, cv2.CV_32F, (_odd(_THIN * side),) * 2) > _DENSE
    core = cv2.morphologyEx(solid * dense, cv2.MORPH_OPEN, _disk(_THIN * side))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(core, connectivity=8)
    if count < 2:
        return None, False
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    # The opening rounds off the tip of a sector; lit pixels within its reach are added back to the scan.
    scan = cv2.bitwise_and(cv2.dilate((labels == largest).astype(np.uint8), _disk(_THIN * side)), solid)
    if scan.mean() < _LEAST_AREA:
        return None, False
    (row, *_, last_row), (column, *_, last_column) = (np.flatnonzero(scan.any(axis=axis)) for axis in (1, 0))
    above, below = row >= _LEAST_MARGIN * rows, rows - 1 - last_row >= _LEAST_MARGIN * rows
    left, right = column >= _LEAST_MARGIN * columns, columns - 1 - last_column >= _LEAST_MARGIN * columns
    if not ((above and below) or (left and right)):
        return None, not (above or left or right)
    return (int(row), int(column), int(last_row) + 1, int(last_column) + 1), True


def _odd(length: float) -> int:
    return max(3, 2 * round(length / 2) + 1)


def _disk(diameter: float) -> np.ndarray:
    size = _odd(diameter)
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
