"""From a record to a row of a packed store: transform, check, resize, round, hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch

from radimagenet_monai.data.fingerprint import source_sha256
from radimagenet_monai.errors import IntensityError, StoreError, UnreadableImageError, one_line

Progress = bool | Literal["lines"]
"""``True``: a bar on a terminal; ``"lines"``: elsewhere a log line now and then; ``False``: nothing."""

BLANK_SPAN = 3
"""Gray levels of 255, about one in a hundred, that a blank image may span; see `is_blank`."""

_TOLERANCE = 1e-5  # float32 arithmetic may leave [0, 1] by a few units in the last place


@dataclass(frozen=True)
class Unreadable:
    """Why an image is not in a store: the columns of ``quarantine.csv`` beside image and frame."""

    stage: str
    cause: str


@dataclass(frozen=True)
class Row:
    """An image as a store keeps it.

    Attributes
    ----------
    pixels
        uint8 ``(H, W, C)``; ``None`` once they have been written to their place.
    hashes
        SHA-256 of the source file and of the pixels, 32 bytes each.
    """

    pixels: np.ndarray | None
    hashes: bytes


@dataclass(frozen=True)
class Packer:
    """Makes one row of a store from one record.

    Parameters
    ----------
    transform
        Dictionary transform whose result under ``image_key`` is the canonical image: floating point ``(C, H, W)`` in
        [0, 1] with C = 1 or 3.
    image_key
        Key of the path in the record and of the image in the result.
    size
        Rows and columns of the row.
    keep_aspect
        Fit the image inside ``size`` and fill the rest with 0, instead of stretching it.
    with_mask
        The last channel of the result is a mask.
    refuse_blank
        Whether an image that is blank by `is_blank` counts as unreadable, with stage ``blank``.
    """

    transform: Callable[[dict[str, Any]], Mapping[str, Any]]
    image_key: str
    size: tuple[int, int]
    keep_aspect: bool
    with_mask: bool = False
    refuse_blank: bool = False

    def __call__(self, record: Mapping[str, Any], sha256: str | None) -> Row | Unreadable:
        """Row of one record, or why there is none.

        Raises
        ------
        StoreError
            If memory runs out.
        """
        path = str(record[self.image_key])
        try:
            source = source_sha256(path) if Path(path).exists() else bytes(hashlib.sha256().digest_size)
            if sha256 and Path(path).is_file() and source.hex() != sha256.lower():
                cause = f"SHA-256 is {source.hex()}, the record says {sha256}: the file has changed"
                return Unreadable("open", cause)
            image = canonical_array(self.transform(dict(record))[self.image_key], self.with_mask)
        except MemoryError as error:
            raise StoreError(f"{path}: memory ran out while it was read; use fewer workers") from error
        except Exception as error:
            # Whatever it is, the user needs to know which image and why; a fault of the transform shows in all of them.
            return describe_failure(error, record)
        pixels = resize_to_uint8(image, self.size, self.keep_aspect)
        shown = pixels[..., :-1] if self.with_mask else pixels
        if self.refuse_blank and is_blank(shown):
            low, high = int(shown.min()), int(shown.max())
            return Unreadable("blank", f"it is blank: gray levels {low} to {high} of 255")
        return Row(pixels, source + hashlib.sha256(np.ascontiguousarray(pixels)).digest())


def is_blank(pixels: np.ndarray) -> bool:
    """Whether nothing is on an image: its gray levels, 0 to 255, span at most `BLANK_SPAN`.

    A constant image spans 0, and JPEG and resizing ripple one by a level or two. Any acquired image spans more, even
    of air: noise alone, once windowed to be seen, does. A black image with one bright mark is not blank by this rule,
    since a mark and a small lesion cannot be told apart. Blank images among RadImageNet's are reported in issue 17 of
    https://github.com/BMEII-AI/RadImageNet.
    """
    return int(pixels.max()) - int(pixels.min()) <= BLANK_SPAN


def canonical_array(image: Any, with_mask: bool = False) -> np.ndarray:
    """Check a transform's result and give it as float32 ``(C, H, W)``.

    Raises
    ------
    IntensityError
        If it is not floating point ``(1 or 3, H, W)`` within [0, 1]; ``with_mask`` expects one channel more.
    """
    array = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    channels = (2, 4) if with_mask else (1, 3)
    if array.ndim != 3 or array.shape[0] not in channels or 0 in array.shape or array.dtype.kind != "f":
        raise IntensityError(
            f"the transform gave {array.dtype} of shape {array.shape}; expected floating point "
            f"({channels[0]} or {channels[1]}, rows, columns)"
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # written so that NaN fails
        raise IntensityError(f"the transform gave values from {low:g} to {high:g}; expected 0 to 1")
    return array.astype(np.float32, copy=False)


def resize_to_uint8(image: np.ndarray, size: tuple[int, int], keep_aspect: bool) -> np.ndarray:
    """Resize a canonical image once and round it to 8 bits.

    An axis that shrinks is averaged over the area that each new pixel covers (antialiased, ``cv2.INTER_AREA``), an
    axis that grows is interpolated linearly. OpenCV averages areas only where both axes shrink, hence two steps.

    Parameters
    ----------
    image
        float32 ``(C, H, W)`` in [0, 1].
    size
        Rows and columns wanted.
    keep_aspect
        Fit inside ``size``, centered on 0, instead of stretching.

    Returns
    -------
    numpy.ndarray
        uint8 ``(rows, columns, C)``, 255 for 1.
    """
    rows, columns = size
    if keep_aspect:
        scale = min(rows / image.shape[1], columns / image.shape[2])
        rows = min(max(round(image.shape[1] * scale), 1), rows)
        columns = min(max(round(image.shape[2] * scale), 1), columns)
    pixels = np.ascontiguousarray(np.moveaxis(image, 0, 2))
    smaller = (min(columns, pixels.shape[1]), min(rows, pixels.shape[0]))
    if smaller != (pixels.shape[1], pixels.shape[0]):
        pixels = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (columns, rows):
        pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)
    packed = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8).reshape(rows, columns, image.shape[0])
    if (rows, columns) == size:
        return packed
    framed = np.zeros((*size, image.shape[0]), np.uint8)
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    framed[top : top + rows, left : left + columns] = packed
    return framed


def describe_failure(error: Exception, record: Mapping[str, Any]) -> Unreadable:
    """The innermost cause that is one of ours or the system's: MONAI wraps what a transform raises in RuntimeError."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, UnreadableImageError):
            # It may be another file of the record, such as a mask.
            other = link.path not in map(str, record.values())
            return Unreadable(link.stage, f"{link.path}: {link.cause}" if other else link.cause)
        if isinstance(link, IntensityError):
            return Unreadable("intensity", str(link))
        if isinstance(link, OSError):
            return Unreadable("open", one_line(f"{type(link).__name__}: {link}"))
        error_below = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        if error_below is None:
            break
        link = error_below
    cause = f"{type(link).__name__}: {link}"
    if isinstance(link, KeyError):
        cause += f" (the transform sees {', '.join(record)}; name other keys in transform_keys)"
    return Unreadable("transform", one_line(cause))
