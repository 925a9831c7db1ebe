"""Limits that keep a damaged or hostile file from filling the memory or the disk."""

from __future__ import annotations

import math
from collections.abc import Sequence

from radimagenet_monai.core.errors import UnreadableImageError

MAX_DECODED_BYTES = 4 * 1024**3
"""Most bytes that the decoded pixels of one file, series or volume may take: 8 000 CT slices of 512 x 512 at 16 bit."""

MAX_CACHED_BYTES = 256 * 1024**2
"""Most bytes of pixels that one process keeps for :func:`radimagenet_monai.io.reader.read_frame`."""

MAX_SERIES_FILES = 20_000
"""Most files that a folder or archive may hold to be taken for one series."""

MAX_CODESTREAM_TILES = 4096
"""Most tiles of one JPEG 2000 codestream: 64 x 64 of them, far beyond any radiological encoder."""


def require_affordable(path: str, shape: Sequence[int], itemsize: int) -> None:
    """Refuse an image before memory is allocated for it.

    Parameters
    ----------
    path
        File, for the error.
    shape
        Sizes stated in the header, in any order: frames, rows, columns, samples.
    itemsize
        Bytes per sample.

    Raises
    ------
    UnreadableImageError
        If a dimension is below 1 or the total exceeds ``MAX_DECODED_BYTES``.
    """
    claimed = " x ".join(str(size) for size in shape)
    if not shape or min(shape) < 1:
        raise UnreadableImageError(path, "header", f"the header claims an empty image ({claimed})")
    if math.prod(shape) * itemsize > MAX_DECODED_BYTES:
        limit = MAX_DECODED_BYTES // 1024**3
        raise UnreadableImageError(
            path, "header", f"the header claims {claimed} samples of {itemsize} byte(s); at most {limit} GiB are read"
        )
