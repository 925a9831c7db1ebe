"""Native images made by hand: a header as the reader leaves it, and a short way through a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from radimagenet_monai.io.native_image import NativeImage


def header(modality: str | None, pixels: np.ndarray, **elements: Any) -> Dataset:
    """The header of one stored frame: monochrome for ``(rows, columns)``, RGB for ``(rows, columns, 3)``."""
    dataset = Dataset()
    if modality is not None:
        dataset.Modality = modality
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.set_original_encoding(False, True)
    return dataset


def dicom(modality: str | None, pixels: np.ndarray, **elements: Any) -> NativeImage:
    """One frame as a DICOM file would give it."""
    return NativeImage("study/image.dcm", "dicom", pixels[np.newaxis], [header(modality, pixels, **elements)])


def volume(pixels: np.ndarray) -> NativeImage:
    return NativeImage("study/volume.nii.gz", "volume", pixels, ())


def picture(pixels: np.ndarray) -> NativeImage:
    return NativeImage("study/picture.png", "picture", pixels[np.newaxis], ())


def lookup_table(first: int, bits: int, entries: list[int]) -> Dataset:
    """An item of Modality LUT Sequence or VOI LUT Sequence."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries) % 2**16, first, bits])
    item.add_new("LUTData", "US", entries)
    return item


def shown(policy: Any, image: Any, frame: int = 0) -> np.ndarray:
    """The canonical image, ``(C, H, W)``."""
    return policy({"image": image, "frame": frame})["image"].numpy()
