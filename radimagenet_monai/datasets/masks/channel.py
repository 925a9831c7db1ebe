"""The mask of an image as its last channel, so that both are cropped, resized, stored and warped as one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.datasets.masks import item_mask


class AppendMaskd(MapTransform):
    """Append the union of an image's masks to its canonical image.

    Input is a canonical image ``(C, H, W)`` with the metadata that an intensity policy leaves, and under ``mask_key``
    the references of its masks, which lie on the original image (`radimagenet_monai.datasets.masks`). Of masks of a
    volume the image's frame is taken. Output is float32 ``(C + 1, H, W)``; the last channel is 1 inside any of the
    masks and 0 outside. Without a reference it is 0 throughout. The references are taken out of the
    item: lists of different lengths would not collate.

    Parameters
    ----------
    keys
        Key of the image.
    mask_key
        Key of the list of mask references, see `radimagenet_monai.datasets.masks.reference`.

    Raises
    ------
    UnreadableImageError
        For a mask that `load_masks` refuses, and for a lesion outside of the part of the image that is used.
    """

    def __init__(self, keys: KeysCollection, mask_key: str = "mask", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            image = out[key]
            if "original_shape" not in getattr(image, "meta", {}):
                raise UnreadableImageError(
                    str(getattr(image, "meta", {}).get("filename_or_obj", key)),
                    "geometry",
                    "its transforms do not say what part of the image they took, so its mask cannot be placed; put "
                    "LoadNativeImaged and an intensity policy of this package before AppendMaskd",
                )
            path, plane = image.meta.get("filename_or_obj", ""), out.get("plane")
            item = {"image": path, "frame": image.meta["frame"], "plane": plane, "mask": out.get(self.mask_key)}
            whole = item_mask(item, image.meta["original_shape"])
            top, left, bottom, right = image.meta["crop"]
            mask = whole[top:bottom, left:right]
            if whole.any() and not mask.any():
                raise UnreadableImageError(
                    path,
                    "geometry",
                    f"its lesion lies outside of the scan region that was taken (rows {top} to {bottom - 1}, columns "
                    f"{left} to {right - 1}); check mask and image, or switch the crop off",
                )
            both = torch.cat([image.as_tensor(), torch.from_numpy(mask.copy()).float()[None]])
            out[key] = MetaTensor(both, meta=image.meta)
        out.pop(self.mask_key, None)
        return out
