"""MONAI transforms from a network's output to an answer about the whole image, for any client of a bundle."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from radimagenet_monai.engine.outputs.lesion_overlap import LESION
from radimagenet_monai.engine.outputs.mask_writer import restore_mask
from radimagenet_monai.loading.native_dataset import GEOMETRY
from radimagenet_monai.loading.resize import CONTENT
from radimagenet_monai.loading.whole_image import USED_SLICES, UsedSlices
from radimagenet_monai.statistics.predictions import check_exam_rule, combined_slices

UPRIGHT_MASKS = "upright_masks"
"""Key of an item: uint8 masks ``(slices, rows, columns)`` of the slices of a whole image, as a viewer shows them."""


class AggregateSlicesd(MapTransform):
    """Combine the probabilities of the slices of a whole image to one answer, as ``exams.csv`` does.

    Leaves a tensor ``(classes,)``. An item that is no whole image stays as it is.

    Parameters
    ----------
    keys
        Keys of probabilities ``(slices, classes)``.
    rule
        See `radimagenet_monai.statistics.predictions.by_exam`; with ``"none"``, the mean is taken, since a client wants
        one answer.
    exclusive
        Whether the classes exclude each other; false for findings.
    """

    def __init__(
        self, keys: KeysCollection, rule: str = "mean", exclusive: bool = True, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        check_exam_rule(rule)
        self.rule = "mean" if rule == "none" else rule
        self.exclusive = exclusive

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        answered = dict(data)
        for key in self.key_iterator(answered):
            probabilities = answered[key]
            if USED_SLICES not in answered or probabilities.ndim != 2:
                continue
            slices = np.asarray(probabilities.detach().float().cpu(), dtype=np.float64)
            answered[key] = MetaTensor(torch.from_numpy(combined_slices(slices, self.rule, self.exclusive)))
        return answered


class RestoreMaskd(MapTransform):
    """Bring a segmenter's probabilities back to the place and size of the image: a label map.

    For a whole image (`radimagenet_monai.loading.EachSlice`) a uint8 `MetaTensor` ``(1, x, y, z)`` in the image's own
    grid, with its affine to RAS mm: that of the file for a volume, that of the stack for a DICOM series, and
    ``(1, columns, rows, 1)`` for a single picture; the masks of its slices are left under ``upright_masks``. For a
    single slice, whose ``geometry`` a data set has left in the item, ``(1, rows, columns)``, upright.

    Parameters
    ----------
    keys
        Keys of probabilities ``(2, h, w)`` or ``(2, slices, h, w)``.
    threshold
        A pixel is lesion at or above this probability, after interpolation to the original size.
    """

    def __init__(self, keys: KeysCollection, threshold: float = 0.5, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.threshold = float(threshold)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        restored = dict(data)
        for key in self.key_iterator(restored):
            probability = np.asarray(restored[key][LESION].detach().float().cpu())
            used = restored.get(USED_SLICES)
            if isinstance(used, UsedSlices):
                slices = probability if probability.ndim == 3 else probability[None]
                masks = [
                    restore_mask(part, geometry, self.threshold, content).astype(np.uint8)
                    for part, geometry, content in zip(slices, used.geometry, used.content, strict=True)
                ]
                voxels, affine = used.in_place(masks)
                restored[UPRIGHT_MASKS] = masks
                restored[key] = MetaTensor(torch.from_numpy(voxels[None]), affine=torch.from_numpy(affine))
            elif GEOMETRY in restored:
                geometry = [int(value) for value in restored[GEOMETRY]]
                content = [int(value) for value in restored[CONTENT]] if CONTENT in restored else None
                mask = restore_mask(probability, geometry, self.threshold, content)
                restored[key] = torch.from_numpy(mask.astype(np.uint8)[None])
        return restored
