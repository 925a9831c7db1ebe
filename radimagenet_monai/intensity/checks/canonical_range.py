"""The last check before a network or a store: is this a canonical image?"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from radimagenet_monai.core.errors import IntensityError
from radimagenet_monai.intensity.transforms import FILE_KEY


class CanonicalRangeCheckd(MapTransform):
    """Refuse anything but a canonical image: float32, ``(C, H, W)`` with C = 1 or 3, finite, in [0, 1].

    The data pass unchanged.

    Raises
    ------
    IntensityError
        Names the file if the metadata state it, what was found and what was expected.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            fault = _fault(out[key])
            if fault:
                meta = out[key].meta if isinstance(out[key], MetaTensor) else {}
                name = meta.get(FILE_KEY, f"'{key}'")
                frame = f", frame {meta['frame']}" if "frame" in meta else ""
                raise IntensityError(
                    f"{name}{frame}: {fault} was given, a canonical image (float32, 1 or 3 channels first, values in "
                    "[0, 1]) was expected; put an intensity policy such as AutoIntensityd before this check"
                )
        return out


def _fault(image: Any) -> str:
    """Why ``image`` is not canonical, in words; empty for a canonical image."""
    if not isinstance(image, torch.Tensor | np.ndarray):
        return f"a {type(image).__name__}"
    shape = tuple(image.shape)
    if len(shape) != 3 or shape[0] not in (1, 3) or 0 in shape:
        return f"shape {shape}"
    dtype = str(image.dtype).removeprefix("torch.")
    if dtype != "float32":
        return f"{dtype}"
    values = torch.as_tensor(image).as_subclass(torch.Tensor)
    # A NaN makes both bounds NaN, so one pass over the pixels covers the usual case.
    low, high = (float(bound) for bound in torch.aminmax(values))
    if low >= 0 and high <= 1:
        return ""
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        return f"{bad} values that are NaN or infinite"
    return f"values {low:g} to {high:g}"
