"""The mask of an image as its last channel, so that both are cropped, resized, stored and warped as one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.datasets.masks import item_mask

MASK = "mask"
"""Key of the mask references of an item."""


class AppendMaskd(MapTransform):
    """Append the union of an image's masks to its canonical image.

    Input is a canonical image ``(C, H, W)`` with the metadata that an intensity policy leaves, and under ``mask_key``
    the references of its masks, which lie on the original image (`radimagenet_monai.datasets.masks`). Of masks of a
    volume the image's frame is taken. Output is float32 ``(C + 1, H, W)``; the last channel is 1 inside any of the
    masks and 0 outside. Without a reference it is 0 throughout. The references are taken out of the
    item: lists of different lengths would not collate.

    Under ``mask_key`` may also be an array ``(masks, H, W)`` of values in [0, 1] that the transforms before, such as
    MONAI's ``LoadImaged``, have read from the masks and treated as the image. The last channel is then its maximum.

    Parameters
    ----------
    keys
        Key of the image.
    mask_key
        Key of the list of mask references, see `radimagenet_monai.datasets.masks.reference`.

    Raises
    ------
    UnreadableImageError
        For a mask that `load_masks` refuses, and for a lesion outside of the part of the image that is used. For a mask
        from other transforms that has another size than the image, was moved by other transforms, or covers all of it.
    """

    def __init__(self, keys: KeysCollection, mask_key: str = MASK, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            image = out[key]
            if isinstance(loaded := out.get(self.mask_key), torch.Tensor | np.ndarray):
                out[key] = _with_loaded(image, loaded)
                continue
            if "original_shape" not in getattr(image, "meta", {}):
                raise UnreadableImageError(
                    str(getattr(image, "meta", {}).get("filename_or_obj", key)),
                    "geometry",
                    "its transforms do not say what part of the image they took, so its mask cannot be placed; put "
                    "LoadNativeImaged and an intensity policy of this package before AppendMaskd, or give all that "
                    f"comes before it the keys of both, ['{key}', '{self.mask_key}']",
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


def _with_loaded(image: torch.Tensor, mask: torch.Tensor | np.ndarray) -> torch.Tensor:
    """An image ``(C, H, W)`` with the union of masks ``(masks, H, W)`` that were read beside it."""
    meta = getattr(image, "meta", {})
    moved = [[step["class"] for step in getattr(part, "applied_operations", ())] for part in (image, mask)]
    cause = ""
    if tuple(mask.shape[1:]) != tuple(image.shape[1:]) or moved[0] != moved[1]:
        (rows, columns), (mask_rows, mask_columns) = image.shape[-2:], mask.shape[-2:]
        cause = (
            f"its transforms leave an image of {rows} x {columns} ({', '.join(moved[0]) or 'not moved'}) and a mask of "
            f"{mask_rows} x {mask_columns} ({', '.join(moved[1]) or 'not moved'}); give transforms that move pixels "
            "the keys of both"
        )
    union = torch.as_tensor(mask).as_subclass(torch.Tensor).float().amax(dim=0, keepdim=True)
    if not cause and bool((union >= 0.5).all()):
        cause = "its mask covers the whole image, as an alpha channel does; save it as black and white"
    if cause:
        raise UnreadableImageError(str(meta.get("filename_or_obj", "image")), "geometry", cause)
    both = torch.cat([torch.as_tensor(image).as_subclass(torch.Tensor).float(), union])
    return MetaTensor(both, meta=meta)
