"""N4 bias field correction of MR volumes with ITK.

Method: Tustison et al., N4ITK: improved N3 bias correction, IEEE Trans Med Imaging 2010;29(6):1310-1320.
"""

from __future__ import annotations

import cv2
import numpy as np

#: Longest side, in pixels, of the slices used to estimate the field: the field is smooth, and N4 is slow.
_LONGEST_SIDE = 64
_ITERATIONS = (50, 50, 50)
_CONVERGED = 1e-4


def log_bias_field(volume: np.ndarray) -> np.ndarray:
    """The logarithm of the bias field of an MR volume, estimated by N4 within the foreground (Otsu).

    Parameters
    ----------
    volume
        ``(slices, rows, columns)``, finite; a single slice is corrected in 2-D.

    Returns
    -------
    numpy.ndarray
        float32 ``(slices, small rows, small columns)``; `corrected_slice` upsamples it. All 0 for a constant volume.
    """
    import itk  # for N4 alone

    rows, columns = volume.shape[1:]
    scale = min(1.0, _LONGEST_SIDE / max(rows, columns))
    size = max(4, round(columns * scale)), max(4, round(rows * scale))
    small = np.stack([cv2.resize(piece.astype(np.float32), size, interpolation=cv2.INTER_AREA) for piece in volume])
    small -= small.min()
    if not small.max() > 0:
        return np.zeros_like(small)
    # N4 works on logarithms; a floor far below tissue values keeps the field defined in air.
    small += 1e-3 * small.max()
    stack = itk.image_from_array(np.ascontiguousarray(small[0] if len(small) == 1 else small))
    inside = itk.OtsuThresholdImageFilter[type(stack), itk.Image[itk.UC, stack.GetImageDimension()]].New(stack)
    inside.SetInsideValue(0)
    inside.SetOutsideValue(1)
    inside.Update()
    mask = inside.GetOutput()
    n4 = itk.N4BiasFieldCorrectionImageFilter[type(stack), type(mask), type(stack)].New()
    n4.SetInput(stack)
    n4.SetMaskImage(mask)
    n4.SetNumberOfFittingLevels(len(_ITERATIONS))
    n4.SetMaximumNumberOfIterations(list(_ITERATIONS))
    n4.SetConvergenceThreshold(_CONVERGED)
    n4.Update()
    corrected = itk.array_from_image(n4.GetOutput()).reshape(small.shape)
    field = np.log(small / np.maximum(corrected, np.finfo(np.float32).tiny))
    return field.astype(np.float32)


def corrected_slice(values: np.ndarray, log_field: np.ndarray, least: float) -> np.ndarray:
    """Divide the bias field out of one slice.

    Parameters
    ----------
    values
        Intensities of the slice, ``(rows, columns)``.
    log_field
        The slice's part of the result of `log_bias_field`.
    least
        Smallest value of the volume; the field multiplies only the intensity above it.
    """
    rows, columns = values.shape
    field = np.exp(cv2.resize(log_field, (columns, rows), interpolation=cv2.INTER_LINEAR))
    return (values - least) / field + least
