"""Lesion masks: their files, their lesion pixels, and their position on the image.

``reference``: how a records table names a mask. ``samples``: the values stored in a file. ``values``: which of these
values are the lesion. ``grid``: the position of the mask on its image. ``loading``: the mask of one record. ``survey``:
a summary of all masks of a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radimagenet_monai.core.lazy import lazy_exports

if TYPE_CHECKING:
    from radimagenet_monai.datasets.masks.loading import item_mask, load_masks
    from radimagenet_monai.datasets.masks.reference import MaskReference, mask_file

_MODULE_OF = {"MaskReference": "reference", "item_mask": "loading", "load_masks": "loading", "mask_file": "reference"}

__all__ = ["RULES", "MaskReference", "item_mask", "load_masks", "mask_file"]

RULES = 2
"""Version of the rules that turn mask files into pixels: masks stored by other rules are made again. 1, that of version
0.1, took slice 0 of a mask for every slice of its image."""

__getattr__, __dir__ = lazy_exports(__name__, _MODULE_OF)
