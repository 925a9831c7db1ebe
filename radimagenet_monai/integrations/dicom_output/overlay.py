"""The outline of a mask burned into a picture, for viewers that show no segmentations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radimagenet_monai.core.errors import DicomOutputError

COLORS: tuple[tuple[int, int, int], ...] = ((230, 60, 60), (60, 190, 230), (240, 200, 40), (120, 220, 90))


def burn_outline(
    picture: np.ndarray, mask: np.ndarray, colors: Sequence[tuple[int, int, int]] = COLORS, width: int = 1
) -> np.ndarray:
    """Draw the outline of each label on a copy of a picture.

    Parameters
    ----------
    picture
        (rows, columns) or (rows, columns, 3) uint8, or float in [0, 1].
    mask
        (rows, columns) uint8 label map. The outline is drawn on the label's own border pixels, so that what lies
        outside stays visible.
    colors
        RGB by label, repeated if there are more labels.
    width
        Line width in pixels.

    Returns
    -------
    numpy.ndarray
        (rows, columns, 3) uint8.

    Raises
    ------
    DicomOutputError
        If picture and mask differ in size.
    """
    from scipy.ndimage import binary_erosion

    picture, mask = np.asarray(picture), np.asarray(mask)
    if picture.shape[:2] != mask.shape or picture.ndim not in (2, 3):
        raise DicomOutputError(f"a picture of shape {picture.shape} cannot show a mask of shape {mask.shape}")
    if picture.dtype != np.uint8:
        picture = np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    rgb = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture.copy()
    for label in np.unique(mask[mask > 0]):
        inside = mask == label
        rgb[inside & ~binary_erosion(inside, iterations=width)] = colors[(int(label) - 1) % len(colors)]
    return rgb
