"""Images and masks that MONAI's own transforms read: how they lie on the pixels of the image's file."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import cv2
import numpy as np
from monai.transforms import MapTransform

from radimagenet_monai.core.errors import ConfigurationError, UnreadableImageError
from radimagenet_monai.core.transform_steps import flattened
from radimagenet_monai.datasets.masks.channel import MASK, AppendMaskd
from radimagenet_monai.datasets.masks.reference import MaskReference
from radimagenet_monai.io.reader import read_frame

TURNS = 8
"""The ways to lay an image on a grid without interpolation: four quarter turns, each also of the transposed image."""


def turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Upright pixels ``(..., rows, columns)`` as transforms left them: transposed from turn 4 on, then rotated."""
    pixels = np.swapaxes(pixels, -2, -1) if turn >= TURNS // 2 else pixels
    return np.ascontiguousarray(np.rot90(pixels, turn, axes=(-2, -1)))


def upright(pixels: np.ndarray, turn: int) -> np.ndarray:
    """The inverse of `turned`."""
    pixels = np.rot90(pixels, -turn, axes=(-2, -1))
    return np.ascontiguousarray(np.swapaxes(pixels, -2, -1) if turn >= TURNS // 2 else pixels)


def geometry_on_file(image: Any, canonical: np.ndarray, frame: int) -> list[int]:
    """Rows and columns of the file, the part of it in the image (all of it), and how the image is `turned`.

    The turn is the one in which the file's pixels, as this package reads them, are most alike: no reader of MONAI
    states whether it puts columns first.

    Parameters
    ----------
    image
        `monai.data.MetaTensor`, from transforms that flip, turn, transpose or resize the whole image or leave it.
    canonical
        The same as float32 ``(C, H, W)``.
    frame
        Frame of the file.

    Raises
    ------
    UnreadableImageError
        If transforms cropped or padded the image, or do not say which file it is of.
    """
    meta = getattr(image, "meta", {})
    if "filename_or_obj" not in meta:
        raise UnreadableImageError("image", "geometry", "its transforms do not say which file it was read from")
    path = str(meta["filename_or_obj"])
    native, frame = read_frame(path, frame)
    pixels = np.asarray(native.pixels[frame], dtype=np.float32)
    file = pixels.mean(axis=-1) if pixels.ndim == 3 else pixels
    moved = np.linalg.inv(np.asarray(meta.get("original_affine", np.eye(4)))) @ np.asarray(image.affine)
    extent = np.abs(moved[:2, :2]) @ np.array(canonical.shape[1:])
    if not np.allclose(sorted(extent), sorted(file.shape), atol=0.5):
        raise UnreadableImageError(
            path,
            "geometry",
            f"its transforms leave {' x '.join(f'{length:.0f}' for length in extent)} pixels of a file of "
            f"{file.shape[0]} x {file.shape[1]}, so a mask cannot be put back on it; leave out those that crop or pad",
        )
    shown = canonical.mean(axis=0)
    likeness = [_likeness(turned(file, turn), shown) for turn in range(TURNS)]
    return [*file.shape, 0, 0, *file.shape, int(np.argmax(likeness))]


def _likeness(pixels: np.ndarray, shown: np.ndarray) -> float:
    """Absolute correlation of gray levels, after resizing; 0 where one of them is constant."""
    resized = cv2.resize(pixels, (shown.shape[1], shown.shape[0]), interpolation=cv2.INTER_AREA)
    first, second = (part - part.mean() for part in (resized.astype(np.float64), shown.astype(np.float64)))
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return abs(float((first * second).sum())) / norm if norm else 0.0


def reads_masks(transform: Any) -> bool:
    """Whether transforms read masks beside images, in place of `AppendMaskd`."""
    return any(map(_reads_masks, flattened(transform)))


def _reads_masks(step: Any) -> TypeGuard[MapTransform]:
    return isinstance(step, MapTransform) and MASK in step.keys


def without_mask(transform: Any) -> list[Callable[..., Any]]:
    """The steps as inference runs them: without `AppendMaskd`, and on the image alone if an item has no mask."""
    steps = [step for step in flattened(transform) if not isinstance(step, AppendMaskd)]
    for place, step in enumerate(steps):
        if _reads_masks(step):
            steps[place] = tolerant = copy.copy(step)
            tolerant.allow_missing_keys = True
    return steps


def require_mask_files(data: Sequence[Mapping[str, Any]], transform: Callable[..., Any]) -> None:
    """Refuse masks that MONAI's readers would misread: outlines, and files of which the table says what is lesion.

    Raises
    ------
    ConfigurationError
        Naming the first of them.
    """
    if not reads_masks(transform):
        return
    for record in data:
        for reference in record.get(MASK) or ():
            if str(reference) != MaskReference.parse(str(reference)).file:
                raise ConfigurationError(
                    f"the preprocessing reads masks by MONAI's transforms, which do not understand '{reference}'; take "
                    f"'{MASK}' out of their keys and read the image by LoadNativeImaged and an intensity policy"
                )
