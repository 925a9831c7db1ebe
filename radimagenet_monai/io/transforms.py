"""The reader as a MONAI dictionary transform."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from typing import Any, cast

from monai.config import KeysCollection
from monai.transforms import MapTransform

from radimagenet_monai.io.geometry import PlaneChoice
from radimagenet_monai.io.native_image import require_single_frame
from radimagenet_monai.io.reader import read_frame

# Not an option: options identify a packed store, and stores of release 0.1 must still be found.
PLANE_KEY = "plane"


class LoadNativeImaged(MapTransform):
    """Replace a path by its `NativeImage`.

    Parameters
    ----------
    keys
        Keys of paths: files, series folders, archives.
    frame_key
        Key of the frame index, counted in the plane under the key ``plane`` (see `read_image`; acquired if absent); an
        image of one frame needs none. It is checked and left in place for the intensity policy, which selects the
        frame; the image keeps all frames, because some policies need the statistics of the whole volume.
    allow_missing_keys
        Whether to skip a missing key.

    Notes
    -----
    Images come from the cache of `read_frame`, so their pixels are read-only.
    """

    def __init__(
        self,
        keys: KeysCollection,
        frame_key: str = "frame",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.frame_key = frame_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Read every key of ``data``.

        Raises
        ------
        UnreadableImageError
            If a file cannot be read or has no such frame, or has several frames and none is named.
        """
        loaded = dict(data)
        for key in self.key_iterator(loaded):
            plane = cast(PlaneChoice, loaded.get(PLANE_KEY) or "acquired")  # read_image refuses any other word
            frame = loaded.get(self.frame_key)
            image, _ = read_frame(os.fspath(loaded[key]), 0 if frame in (None, "") else int(frame), plane)
            if frame in (None, ""):
                require_single_frame(image)
            loaded[key] = image
        return loaded
