"""The protocol's augmentation as one affine warp per image, identical on the CPU and on a GPU.

The affine model is that of Keras' ``ImageDataGenerator``, with which the RadImageNet authors ran their downstream
tasks: in (x, y) coordinates about the image center, the output pixel ``p`` shows the input at
``R(rotation) T(shift) S(shear) Z(zoom) p``, bilinearly interpolated, and what lies outside the image repeats its
nearest edge pixel; flips come last. On a square image and equal parameters the picture is Keras' own. On others Keras
takes its center with height and width exchanged; here it is the true center.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from radimagenet_monai.core.errors import ConfigurationError

# Columns of `AffineAugmentation.parameters`.
ROTATION, SHIFT_ROWS, SHIFT_COLUMNS, SHEAR, ZOOM_ROWS, ZOOM_COLUMNS, FLIP_COLUMNS, FLIP_ROWS = range(8)


@dataclass(frozen=True)
class AffineAugmentation:
    """Random rotation, shift, shear, zoom and flips, composed into one warp.

    The parameters of an image are drawn from a counter-based generator (Philox, Salmon et al., SC 2011) keyed by
    ``(seed, epoch, index)``. They are a pure function of these three numbers: workers, order, batch size, device and
    the global random state do not affect them. All ranges are uniform. The defaults are the authors' protocol for
    the small tasks; for the large ones set ``rotation_degrees=0`` and ``horizontal_flip=False``.

    Parameters
    ----------
    rotation_degrees
        Angle from [-rotation, rotation] degrees.
    shift
        Shift along rows and along columns, each from [-shift, shift] of the image's height and width.
    shear_degrees
        Shear angle from [-shear, shear] **degrees**. The protocol's 0.1 is a ``shear_range``, which Keras reads in
        degrees: next to nothing. For a visible shear give a few degrees.
    zoom
        Factor from [1 - zoom, 1 + zoom], drawn separately for rows and columns as Keras does. As there, a factor
        above 1 shows more of the scene, that is, shrinks the picture.
    horizontal_flip, vertical_flip
        Mirror left and right, or top and bottom, with probability 1/2.
    seed
        Non-negative integer.
    """

    rotation_degrees: float = 10.0
    shift: float = 0.1
    shear_degrees: float = 0.1
    zoom: float = 0.1
    horizontal_flip: bool = True
    vertical_flip: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, limit in (("rotation_degrees", 180.0), ("shift", 1.0), ("shear_degrees", 80.0), ("zoom", 0.9)):
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise ConfigurationError(f"augmentation {name}={value}: expected 0 to {limit:g}")
        if self.seed < 0:
            raise ConfigurationError(f"augmentation seed={self.seed}: expected a non-negative integer")

    def parameters(self, epoch: int | np.ndarray, index: int | np.ndarray) -> np.ndarray:
        """Parameters of some images.

        Parameters
        ----------
        epoch, index
            Non-negative integers, scalars or ``(N,)``.

        Returns
        -------
        numpy.ndarray
            float64 ``(N, 8)``: rotation (radians), shift of rows and of columns (fractions), shear (radians), zoom
            of rows and of columns (factors), flip of columns and of rows (0 or 1).
        """
        epochs, indices = np.broadcast_arrays(np.atleast_1d(epoch), np.atleast_1d(index))
        unit = _uniform(self.seed, epochs, indices)
        signed = 2 * unit - 1
        drawn = np.empty_like(unit)
        drawn[:, ROTATION] = np.deg2rad(self.rotation_degrees) * signed[:, ROTATION]
        drawn[:, SHIFT_ROWS : SHIFT_COLUMNS + 1] = self.shift * signed[:, SHIFT_ROWS : SHIFT_COLUMNS + 1]
        drawn[:, SHEAR] = np.deg2rad(self.shear_degrees) * signed[:, SHEAR]
        drawn[:, ZOOM_ROWS : ZOOM_COLUMNS + 1] = 1 + self.zoom * signed[:, ZOOM_ROWS : ZOOM_COLUMNS + 1]
        drawn[:, FLIP_COLUMNS] = (unit[:, FLIP_COLUMNS] < 0.5) & self.horizontal_flip
        drawn[:, FLIP_ROWS] = (unit[:, FLIP_ROWS] < 0.5) & self.vertical_flip
        return drawn

    def matrices(self, epoch: int | np.ndarray, index: int | np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Maps from output to input pixels.

        Parameters
        ----------
        epoch, index
            See `parameters`.
        size
            Rows and columns of the image.

        Returns
        -------
        numpy.ndarray
            float64 ``(N, 2, 3)``: ``matrix @ (x, y, 1)`` is the place ``(x, y)``, that is (column, row), in the input
            of the output pixel (column, row); pixel centres lie at integers.
        """
        return affine_matrices(self.parameters(epoch, index), size)

    def warp(self, image: np.ndarray, epoch: int, index: int) -> np.ndarray:
        """Augment one image on the CPU with OpenCV.

        Parameters
        ----------
        image
            uint8 ``(H, W)`` or ``(H, W, C)``.

        Returns
        -------
        numpy.ndarray
            A new array of the same shape and type.
        """
        return warp_with_opencv(image, self.matrices(epoch, index, (image.shape[0], image.shape[1]))[0])

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Augment one item, as a step of a ``Compose`` after a packed store.

        Parameters
        ----------
        data
            ``image``, floating point ``(C, H, W)``; ``epoch`` and ``index``; optionally a mask ``(1, H, W)`` under
            ``label``, which is warped alike.

        Raises
        ------
        ConfigurationError
            Without ``epoch`` and ``index``.
        """
        if "epoch" not in data or "index" not in data:
            raise ConfigurationError(
                "AffineAugmentation needs 'epoch' and 'index' in each item; give it as the bundle's augmentation"
            )
        out = dict(data)
        epoch, index = torch.tensor([data["epoch"]]), torch.tensor([data["index"]])
        for key in ("image", "label"):
            if isinstance(data.get(key), torch.Tensor) and data[key].ndim == 3:
                out[key] = self.warp_batch(data[key][None], epoch, index)[0]
        return out

    def warp_batch(self, images: torch.Tensor, epoch: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        """Augment a batch on its device.

        Parameters
        ----------
        images
            floating point ``(N, C, H, W)``.
        epoch, index
            Integer tensors ``(N,)``, best on the CPU, where the parameters are drawn.

        Returns
        -------
        torch.Tensor
            Same shape, type and device.
        """
        matrices = self.matrices(epoch.cpu().numpy(), index.cpu().numpy(), (images.shape[2], images.shape[3]))
        return warp_with_torch(images, torch.from_numpy(matrices))


def affine_matrices(parameters: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Compose parameters ``(N, 8)`` into output-to-input maps ``(N, 2, 3)`` for images of ``size`` (rows, columns)."""
    rows, columns = size
    cosine, sine = np.cos(parameters[:, ROTATION]), np.sin(parameters[:, ROTATION])
    shear_cosine, shear_sine = np.cos(parameters[:, SHEAR]), np.sin(parameters[:, SHEAR])
    shift_x, shift_y = parameters[:, SHIFT_COLUMNS] * columns, parameters[:, SHIFT_ROWS] * rows
    # R S Z and R t, multiplied out.
    matrices = np.empty((len(parameters), 2, 3))
    matrices[:, 0, 0] = cosine * parameters[:, ZOOM_COLUMNS]
    matrices[:, 0, 1] = (-cosine * shear_sine - sine * shear_cosine) * parameters[:, ZOOM_ROWS]
    matrices[:, 1, 0] = sine * parameters[:, ZOOM_COLUMNS]
    matrices[:, 1, 1] = (-sine * shear_sine + cosine * shear_cosine) * parameters[:, ZOOM_ROWS]
    # A flip is applied to the finished picture, so it mirrors the output coordinate before everything else.
    matrices[:, :, :2] *= 1 - 2 * parameters[:, None, [FLIP_COLUMNS, FLIP_ROWS]]
    center = np.array([(columns - 1) / 2, (rows - 1) / 2])
    matrices[:, :, 2] = center - matrices[:, :, :2] @ center
    matrices[:, 0, 2] += cosine * shift_x - sine * shift_y
    matrices[:, 1, 2] += sine * shift_x + cosine * shift_y
    return matrices


def warp_with_opencv(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Warp uint8 ``(H, W)`` or ``(H, W, C)`` by an output-to-input ``matrix`` ``(2, 3)``; edges are repeated."""
    warped = cv2.warpAffine(
        image,
        matrix,
        (image.shape[1], image.shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return warped.reshape(image.shape)  # OpenCV drops a single channel


def warp_with_torch(images: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """Warp ``(N, C, H, W)`` by output-to-input ``matrices`` ``(N, 2, 3)`` on the images' device; edges are repeated."""
    rows, columns = images.shape[2:]
    scale = torch.tensor([2 / columns, 2 / rows], dtype=torch.float64)
    # From pixels to grid_sample's coordinates: -1 and 1 are the outer edges of the first and the last pixel.
    normalized = matrices * scale[None, :, None]
    normalized[:, :, 2] += scale / 2 - 1
    normalized = normalized.to(images.device, torch.float32)
    x = torch.arange(columns, device=images.device, dtype=torch.float32)
    y = torch.arange(rows, device=images.device, dtype=torch.float32)
    # Elementwise and not by affine_grid: that is a matrix product, which autocast would round to bfloat16.
    step_x, step_y, start = (
        normalized[:, None, None, :, 0],
        normalized[:, None, None, :, 1],
        normalized[:, None, None, :, 2],
    )
    grid = x[None, None, :, None] * step_x + (y[None, :, None, None] * step_y + start)
    warped = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return warped.to(images.dtype)


def _uniform(seed: int, epochs: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Eight numbers in [0, 1) for each (epoch, index): float64 ``(N, 8)``."""
    generator = np.random.Philox(key=[seed, 0])
    state = generator.state
    words = np.empty((len(indices), 8), np.uint64)
    # Setting the state costs 2 microseconds an image, a new generator seven times as much.
    for row, (epoch, index) in enumerate(zip(epochs.tolist(), indices.tolist(), strict=True)):
        state["state"]["counter"][:] = (0, index, epoch, 0)
        state["buffer_pos"] = 4
        generator.state = state
        words[row] = generator.random_raw(8)
    return (words >> np.uint64(11)) * 2.0**-53
