"""From a record to a row of a packed store: transform, check, resize, round, hash."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from monai.data import MetaTensor

from radimagenet_monai.core.errors import IntensityError, StoreError, UnreadableImageError, one_line
from radimagenet_monai.intensity.checks.plausibility import BLANK, look
from radimagenet_monai.io.formats.plain_picture import read_plain_file
from radimagenet_monai.store.fingerprint import source_sha256
from radimagenet_monai.store.plain_rows import keeps_gray_levels, plain_row
from radimagenet_monai.store.row_resize import pixel_aspect_of, resize_to_uint8

Progress = bool | Literal["lines"]
"""``True``: a bar on a terminal; ``"lines"``: elsewhere a log line now and then; ``False``: nothing."""

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
    questions
        Doubts about its values, from `radimagenet_monai.intensity.checks.plausibility`.
    """

    pixels: np.ndarray | None
    hashes: bytes
    questions: tuple[str, ...] = ()


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
        Whether an image that is blank by `radimagenet_monai.intensity.checks.plausibility.is_blank` counts as
        unreadable, with stage ``blank``.
    """

    transform: Callable[[dict[str, Any]], Mapping[str, Any]]
    image_key: str
    size: tuple[int, int]
    keep_aspect: bool
    with_mask: bool = False
    refuse_blank: bool = False

    def __call__(self, record: Mapping[str, Any], sha256: str | None) -> Row | Unreadable:
        """Pack one record; returns its row, or why there is none.

        Raises
        ------
        StoreError
            If memory runs out.
        """
        path = str(record[self.image_key])
        try:
            packed = self._row(path, record, sha256)
        except MemoryError as error:
            raise StoreError(f"{path}: memory ran out while it was read; use fewer workers") from error
        except Exception as error:
            # Whatever it is, the user needs to know which image and why; a fault of the transform shows in all of them.
            return describe_failure(error, record)
        if self.refuse_blank and isinstance(packed, Row) and packed.pixels is not None and BLANK in packed.questions:
            shown = packed.pixels[..., :-1] if self.with_mask else packed.pixels
            return Unreadable("blank", f"it is blank: gray levels {shown.min()} to {shown.max()} of 255")
        return packed

    @functools.cached_property
    def _keeps_gray_levels(self) -> bool:
        return not self.with_mask and keeps_gray_levels(self.transform, self.image_key)

    def _row(self, path: str, record: Mapping[str, Any], sha256: str | None) -> Row | Unreadable:
        content = read_plain_file(path) if self._keeps_gray_levels else None
        if content is not None:
            source = hashlib.sha256(content).digest()
        else:
            source = source_sha256(path) if Path(path).exists() else bytes(hashlib.sha256().digest_size)
        if sha256 and source.hex() != sha256.lower() and Path(path).is_file():
            cause = f"SHA-256 is {source.hex()}, the record says {sha256}: the file has changed"
            return Unreadable("open", cause)
        plain = None if content is None else plain_row(content, record, self.size, self.keep_aspect)
        if plain is None:
            result = self.transform(dict(record))[self.image_key]
            image = canonical_array(result, self.with_mask)
            shown = image[:-1] if self.with_mask else image
            aspect = pixel_aspect_of(result)
            questions = questions_of(result) | dict.fromkeys(look(shown))
            plain = np.ascontiguousarray(resize_to_uint8(image, self.size, self.keep_aspect, aspect)), list(questions)
        pixels, asked = plain
        return Row(pixels, source + hashlib.sha256(pixels.data).digest(), tuple(asked))


def questions_of(image: Any) -> dict[str, None]:
    """What an intensity policy found doubtful about an image, in order; empty where nothing is known of it."""
    stated = str(image.meta.get("questions") or "") if isinstance(image, MetaTensor) else ""
    return dict.fromkeys(stated.split("\n")) if stated else {}


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
            f"({channels[0]} or {channels[1]}, rows, columns){', the mask last, as AppendMaskd leaves it' * with_mask}"
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # written so that NaN fails
        raise IntensityError(f"the transform gave values from {low:g} to {high:g}; expected 0 to 1")
    return array.astype(np.float32, copy=False)


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
