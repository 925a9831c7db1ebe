"""The image format shared by all readers and intensity policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.geometry import Plane, Upright

Source = Literal["dicom", "volume", "picture", "array"]


@dataclass(frozen=True)
class VoxelGrid:
    """The voxels of a volume as its file stores them.

    Attributes
    ----------
    affine
        (4, 4) float64 from voxel (x, y, z, 1) to LPS mm.
    axis
        Axis of the slices that were read: 0 for x, 1 for y, 2 for z.
    turn
        How these slices were turned upright.
    """

    affine: np.ndarray
    axis: int
    turn: Upright


@dataclass(frozen=True)
class NativeImage:
    """All frames of one file, series or volume as stored, upright, with the header facts an intensity policy may use.

    Attributes
    ----------
    path
        File or folder that the image was read from.
    source
        ``"dicom"``; ``"volume"`` (NIfTI, NRRD); ``"picture"`` (PNG, JPEG, TIFF, BMP); ``"array"`` (NPY).
    pixels
        ``(frames, rows, columns)`` or ``(frames, rows, columns, 3)``. Rows run down and columns to the right as a
        viewer shows them; an axial slice has rows to posterior and columns to the patient's left.
        For DICOM these are the *stored* values: before the modality LUT, palette indices for PALETTE COLOR, YBR
        kept as YBR. For a volume the file's own scaling is applied, so that a CT volume is in HU. Pictures are as
        decoded (palette resolved, alpha dropped over black, 8 or 16 bit).
    headers
        One pydicom ``Dataset`` per frame (the same object may repeat), with only the elements of ``HEADER_KEYWORDS``
        and the functional groups of enhanced multi-frame objects flattened to the top level, so that pydicom's LUT
        functions accept it. Empty for other sources. Never contains a name, an id, a date or an institution.
    spacing
        Millimetres between rows and between columns, or None if unknown.
    plane
        Anatomical plane of the frames, ``"axial"``, ``"coronal"`` or ``"sagittal"``; ``None`` if the file does not
        place them in the patient, or places them in several planes.
    affine
        (4, 4) float64 from upright (column, row, frame, 1) to LPS mm (x to the left, y to posterior, z superior);
        ``None`` if positions are unknown or the frames are not a regular stack. For several consecutive volumes, the
        affine of the first; ``frame`` then counts within a volume.
    volumes
        Number of consecutive volumes, all with the same number of frames.
    notes
        What was doubtful and how it was decided, as fixed sentences that can be counted over files.
    in_order
        Whether the frames of each volume follow each other in space, in either direction, as far as positions are
        known. False for a multi-frame object stored in another order, since its frames keep their numbers.
    voxels
        For a volume, its voxels as stored, which `radimagenet_monai.io.voxels` fills from frames; otherwise ``None``.
    """

    path: str
    source: Source
    pixels: np.ndarray
    headers: Sequence[Dataset] = field(repr=False)
    spacing: tuple[float, float] | None = None
    plane: Plane | None = None
    affine: np.ndarray | None = field(default=None, repr=False)
    volumes: int = 1
    notes: tuple[str, ...] = ()
    in_order: bool = True
    voxels: VoxelGrid | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def modality(self) -> str | None:
        """The DICOM Modality (``"CT"``, ``"MR"``, ``"US"``, ``"CR"``, ``"DX"``, ...), or ``None`` if unknown."""
        return self.headers[0].get("Modality") or None if self.headers else None

    def pixel_aspect(self, frame: int) -> float:
        """Pixel height divided by width, from the spacing or Pixel Aspect Ratio; 1 if neither is known."""
        if self.spacing is not None:
            rows, columns = self.spacing
        else:
            ratio = self.headers[frame].get("PixelAspectRatio") if self.headers else None
            try:
                rows, columns = (float(number) for number in ratio or (1, 1))
            except (TypeError, ValueError):
                return 1.0
        return rows / columns if rows > 0 and columns > 0 else 1.0

    @property
    def is_color(self) -> bool:
        """Whether each pixel has three values."""
        return self.pixels.ndim == 4


def require_single_frame(image: NativeImage) -> None:
    """Refuse an image of several frames if no frame was named: taking the first would be a silent choice.

    Raises
    ------
    UnreadableImageError
        The error states the number of frames.
    """
    if len(image) > 1:
        raise UnreadableImageError(
            image.path, "header", f"it has {len(image)} frames and none was named; state which, counted from 0"
        )


HEADER_KEYWORDS: frozenset[str] = frozenset(
    {
        "SOPClassUID",
        "Modality",
        "ImageType",
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "SmallestImagePixelValue",
        "LargestImagePixelValue",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "RescaleIntercept",
        "RescaleSlope",
        "RescaleType",
        "ModalityLUTSequence",
        "VOILUTSequence",
        "WindowCenter",
        "WindowWidth",
        "VOILUTFunction",
        "PresentationLUTShape",
        "LUTDescriptor",
        "LUTData",
        "ModalityLUTType",
        "RedPaletteColorLookupTableDescriptor",
        "GreenPaletteColorLookupTableDescriptor",
        "BluePaletteColorLookupTableDescriptor",
        "RedPaletteColorLookupTableData",
        "GreenPaletteColorLookupTableData",
        "BluePaletteColorLookupTableData",
        "SegmentedRedPaletteColorLookupTableData",
        "SegmentedGreenPaletteColorLookupTableData",
        "SegmentedBluePaletteColorLookupTableData",
        "PixelSpacing",
        "ImagerPixelSpacing",
        "NominalScannedPixelSpacing",
        "PixelAspectRatio",
        "SliceThickness",
        "SpacingBetweenSlices",
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "BodyPartExamined",
        "ViewPosition",
        "SequenceOfUltrasoundRegions",
        "RegionSpatialFormat",
        "RegionDataType",
        "RegionFlags",
        "RegionLocationMinX0",
        "RegionLocationMinY0",
        "RegionLocationMaxX1",
        "RegionLocationMaxY1",
        "PhysicalUnitsXDirection",
        "PhysicalUnitsYDirection",
        "PhysicalDeltaX",
        "PhysicalDeltaY",
    }
)
