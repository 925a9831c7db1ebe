"""The mask of an image as its last channel, so that both are cropped, resized, stored and warped as one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from radimagenet_monai.datasets.masks import load_masks


class AppendMaskd(MapTransform):
    """Append the union of an image's masks to its canonical image.

    Input is a canonical image ``(C, H, W)`` with the metadata that an intensity policy leaves, and under ``mask_key``
    the references of its masks, each as large as the original image. Output is float32 ``(C + 1, H, W)``; the last
    channel is 1 inside any of the masks and 0 outside. Without a reference it is 0 throughout.

    Parameters
    ----------
    keys
        Key of the image.
    mask_key
        Key of the list of mask references, see `load_masks`.

    Raises
    ------
    UnreadableImageError
        For a mask that cannot be read or has another size than its image.
    """

    def __init__(self, keys: KeysCollection, mask_key: str = "mask", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            image = out[key]
            rows, columns = image.meta["original_shape"]
            top, left, bottom, right = image.meta["crop"]
            mask = load_masks(list(out.get(self.mask_key) or ()), (rows, columns))[top:bottom, left:right]
            out[key] = torch.cat([image.as_tensor(), torch.from_numpy(mask.copy()).float()[None]])
        return out
