"""A heatmap in color over its gray image, with the lesion outlined."""

from __future__ import annotations

import cv2
import numpy as np

_OUTLINE = (255, 200, 0)  # blue, green, red, as in OpenCV: a light blue that is not in the heat colors
_STRENGTH = 0.6  # opacity of the color at heat 1; the image stays visible below it


def draw_heat_overlay(picture: np.ndarray, heatmap: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Draw heat from black over red to yellow (*inferno*, perceptually uniform and safe for color blindness).

    Opacity grows with heat; pixels without heat are unchanged.

    Parameters
    ----------
    picture
        uint8 ``(rows, columns)``, gray.
    heatmap
        ``(rows, columns)`` in [0, 1].
    mask
        ``(rows, columns)``, true inside the lesion, whose outline is drawn.

    Returns
    -------
    numpy.ndarray
        uint8 ``(rows, columns, 3)``: blue, green, red.
    """
    heat = np.clip(heatmap, 0, 1).astype(np.float32)
    colors = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
    share = (_STRENGTH * heat)[..., np.newaxis]
    drawn = np.rint((1 - share) * picture[..., np.newaxis] + share * colors).astype(np.uint8)
    if mask is not None:
        outlines, _ = cv2.findContours(
            np.ascontiguousarray(mask, dtype=np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(drawn, outlines, -1, _OUTLINE, max(1, round(max(picture.shape) / 300)))
    return drawn
