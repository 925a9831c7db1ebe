"""The packed store's resizing as a transform, so that inference sees what training saw."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from radimagenet_monai.loading.file_grid import geometry_on_file
from radimagenet_monai.store.packed_row import canonical_array, questions_of
from radimagenet_monai.store.row_resize import content_box, pixel_aspect_of, resize_to_uint8

QUESTIONS = "questions"
SPACING = "spacing"
CONTENT = "content"


class ResizeCanonicald(MapTransform):
    """Resize a canonical image and round it to 8 bits exactly as `PackedDataset` stores it.

    Gives a float32 tensor ``(C, rows, columns)`` in [0, 1] whose values are multiples of 1/255.

    Parameters
    ----------
    keys
        Keys of canonical images, ``(C, H, W)`` in [0, 1].
    image_size
        Rows and columns, or one number for both.
    keep_aspect
        Fit inside the size on black instead of stretching.
    geometry_key
        Key for the geometry needed to map back: an int64 tensor of rows and columns of the original image, and first
        row, first column, end row and end column of the part used for the canonical image. ``spacing`` is then left
        too: a float64 tensor of the mm between rows and between columns of the original image, zeros where the file
        does not state them; and ``content``, an int64 tensor of first row, first column, end row and end column of the
        image within its resized form. Needs a single key. Of an image that `LoadNativeImaged` did not read, the
        geometry has a seventh number, how it is turned (`radimagenet_monai.loading.file_grid.geometry_on_file`).
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_size: int | Sequence[int],
        keep_aspect: bool = False,
        allow_missing_keys: bool = False,
        geometry_key: str | None = None,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.geometry_key = geometry_key
        rows, columns = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.size = (int(rows), int(columns))
        self.keep_aspect = keep_aspect

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        resized = dict(data)
        questions: dict[str, None] = {}
        for key in self.key_iterator(resized):
            if self.geometry_key is not None:
                meta = getattr(resized[key], "meta", {})
                if "original_shape" in meta:
                    geometry = [*meta["original_shape"], *meta["crop"]]
                else:
                    frame = int(resized.get("frame") or 0)
                    geometry = geometry_on_file(resized[key], canonical_array(resized[key]), frame)
                resized[self.geometry_key] = torch.tensor(geometry)
                resized[SPACING] = torch.tensor(meta.get("spacing", (0.0, 0.0)), dtype=torch.float64)
            questions |= questions_of(resized[key])
            aspect = pixel_aspect_of(resized[key])
            image = canonical_array(resized[key])
            if self.geometry_key is not None:
                shape = (int(image.shape[1]), int(image.shape[2]))
                resized[CONTENT] = torch.tensor(content_box(shape, self.size, self.keep_aspect, aspect))
            packed = resize_to_uint8(image, self.size, self.keep_aspect, aspect)
            resized[key] = torch.from_numpy(np.ascontiguousarray(packed.transpose(2, 0, 1))).float() * (1 / 255)
        resized[QUESTIONS] = "\n".join(questions)
        return resized
