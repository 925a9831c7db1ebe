"""The raw values of a mask file, before they are interpreted.

A mask is read by its content, never by its suffix. Unlike an image it is not read as a viewer shows it: for a palette
the indices count, and for a picture with transparency the alpha channel may be the mask itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from radimagenet_monai.core.errors import UnreadableImageError
from radimagenet_monai.io.failures import stage
from radimagenet_monai.io.native_image import NativeImage
from radimagenet_monai.io.reader import image_kind, read_frame

_LOSSY_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
_CHROMA_NOISE = 24  # of 255: largest difference between the channels of a gray picture after lossy compression
_SEG_CAUSE = (
    "it is a DICOM segmentation object, whose frames are not in the order of the image's slices; convert it to NIfTI, "
    "such as by dcmqi's segimage2itkimage, and name that file"
)


@dataclass(frozen=True)
class MaskSamples:
    """Content of a mask file.

    Attributes
    ----------
    values
        ``(frames, rows, columns)``, upright: gray values, palette indices, or colors by `color_codes`.
    image
        File as read by the image reader, for its geometry.
    kind
        ``"gray"``, ``"palette"`` or ``"color"``.
    lossy
        Whether the file was compressed with loss, so that values are only close to the intended ones.
    doubt
        Why the values need a statement in the table of which are the lesion; empty if they do not.
    background
        Value that is certainly not lesion, if the file shows it.
    """

    values: np.ndarray
    image: NativeImage = field(repr=False)
    kind: str = "gray"
    lossy: bool = False
    doubt: str = ""
    background: int | None = None


def read_samples(path: str) -> MaskSamples:
    """Read a mask file or series folder.

    Raises
    ------
    UnreadableImageError
        For a file that cannot be read, is a DICOM segmentation object, or stores colors that are not those of a mask.
    """
    try:
        image, _ = read_frame(path, 0)
    except UnreadableImageError as error:
        if "segmentation" in error.cause:
            raise UnreadableImageError(path, "open", _SEG_CAUSE) from None
        raise
    lossy = _is_lossy(path)
    if image.source == "dicom":
        return _of_dicom(image)
    if image.source == "picture" and Path(path).is_file() and image_kind(path) == "picture":
        layers = _layers(path, len(image))
        if layers is not None:
            return _of_layers(layers, image)
    if image.is_color:
        return _of_color(image.pixels, image, lossy)
    return MaskSamples(_numbers(image.pixels), image, lossy=lossy)


def _is_lossy(path: str) -> bool:
    if not Path(path).is_file():
        return False
    with stage(path, "open"), open(path, "rb") as stream:
        head = stream.read(16)
    return head.startswith(_LOSSY_STARTS) or (head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8 ")


def _of_dicom(image: NativeImage) -> MaskSamples:
    photometric = str(image.headers[0].get("PhotometricInterpretation", ""))
    if photometric.startswith("YBR"):
        raise UnreadableImageError(
            image.path, "decode", f"it is in color ({photometric}), which no mask is; save it in gray"
        )
    if image.is_color:
        return _of_color(image.pixels, image, lossy=False)
    doubt = ""
    if photometric == "MONOCHROME1":
        doubt = "it is MONOCHROME1, whose value 0 is shown white"
    elif photometric == "PALETTE COLOR":
        doubt = "it has a palette, whose indices need not be labels"
    return MaskSamples(_numbers(image.pixels), image, doubt=doubt)


def _of_color(pixels: np.ndarray, image: NativeImage, lossy: bool) -> MaskSamples:
    """``pixels`` (frames, rows, columns, 3): gray if the channels are equal, else colors."""
    spread = pixels.max(axis=-1).astype(np.int64) - pixels.min(axis=-1).astype(np.int64)
    largest = int(spread.max())
    if largest == 0:
        return MaskSamples(_numbers(pixels[..., 0]), image, lossy=lossy)
    if pixels.dtype.kind == "f":
        raise UnreadableImageError(image.path, "decode", "its channels are floating-point numbers; save it in gray")
    if lossy and largest <= _CHROMA_NOISE:
        return MaskSamples(pixels.mean(axis=-1).round().astype(pixels.dtype), image, lossy=True)
    eight_bits = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    return MaskSamples(color_codes(eight_bits), image, "color", lossy)


def color_codes(pixels: np.ndarray) -> np.ndarray:
    """uint8 ``(..., 3)`` as int32 ``(...)``: ``red << 16 | green << 8 | blue``."""
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    return (red << 16) | (green << 8) | blue


@dataclass
class _Layers:
    """Pages of a picture with a palette or transparency."""

    color: np.ndarray  # uint8 (pages, rows, columns, 3)
    alpha: np.ndarray | None  # uint8 (pages, rows, columns)
    indices: np.ndarray | None  # uint8 (pages, rows, columns)


def _layers(path: str, pages: int) -> _Layers | None:
    """Palette indices and alpha of a picture; ``None`` if it has neither or is deeper than 8 bits."""
    color, alpha, indices = [], [], []
    with stage(path, "decode"), Image.open(path) as picture:
        for page in range(pages):
            if pages > 1:
                picture.seek(page)
            transparent = "transparency" in picture.info or picture.mode in ("LA", "La", "RGBA", "RGBa", "PA")
            if picture.mode not in ("P", "PA") and not transparent:
                return None
            if picture.mode not in ("P", "PA", "L", "LA", "La", "RGB", "RGBA", "RGBa"):
                return None
            turned = ImageOps.exif_transpose(picture)
            if turned.mode == "P":
                indices.append(np.asarray(turned))
            elif turned.mode == "PA":
                indices.append(np.asarray(turned.getchannel("P")))
            colors = np.asarray(turned.convert("RGBA"))
            color.append(colors[..., :3])
            alpha.append(colors[..., 3])
    opaque = all((layer == 255).all() for layer in alpha)
    return _Layers(
        np.stack(color),
        None if opaque else np.stack(alpha),
        np.stack(indices) if len(indices) == pages else None,
    )


def _of_layers(layers: _Layers, image: NativeImage) -> MaskSamples:
    if layers.indices is not None:
        return _of_palette(layers, layers.indices, image)
    if layers.alpha is None or layers.alpha.min() == layers.alpha.max():
        if layers.alpha is not None and not layers.alpha.any():
            return MaskSamples(layers.alpha, image, doubt="all of its pixels are transparent")
        return _of_color(layers.color, image, lossy=False)
    seen = layers.color[layers.alpha > 0]
    if (seen == seen[0]).all():
        return MaskSamples(layers.alpha, image)  # one color, drawn where the picture is not transparent
    return _of_color(image.pixels, image, lossy=False)  # over black, as a viewer shows it


def _of_palette(layers: _Layers, indices: np.ndarray, image: NativeImage) -> MaskSamples:
    """Treat indices as labels; refuse them if their colors contradict what a viewer shows."""
    used, first = np.unique(indices, return_index=True)
    colors = layers.color.reshape(-1, 3)[first].astype(int)
    grays = (colors == colors[:, :1]).all()
    if layers.alpha is None and grays and len(used) > 2:
        return MaskSamples(layers.color[..., 0], image)  # a gray picture with its levels in a palette
    hidden = np.zeros(len(used), bool) if layers.alpha is None else layers.alpha.ravel()[first] == 0
    black = (colors == 0).all(axis=1)
    background = set(used[hidden].tolist() or used[black].tolist())
    if 0 in used:
        background.add(0)
    if len(background) == 1:
        (index,) = background
        only_bright = len(used) == 1 and not black[0] and not hidden[0]
        doubt = "its palette shows one color only, which need not be background" if only_bright else ""
        return MaskSamples(indices, image, "palette", doubt=doubt, background=index)
    shown = ", ".join(
        f"{index} is #{red:02x}{green:02x}{blue:02x}"
        for index, (red, green, blue) in zip(used[:6], colors, strict=False)
    )
    doubt = f"its palette does not tell which index is background ({shown})"
    return MaskSamples(indices, image, "palette", doubt=doubt)


def _numbers(pixels: np.ndarray) -> np.ndarray:
    """Whole numbers as integers, so that 1.0 and 1 are one label; NaN, which marks unmeasured pixels, as 0."""
    if pixels.dtype.kind != "f":
        return pixels
    known = np.nan_to_num(pixels, nan=0.0, posinf=np.inf, neginf=-np.inf) if np.isnan(pixels).any() else pixels
    if np.isfinite(known).all() and np.abs(known).max(initial=0) <= 65_535 and (known == np.rint(known)).all():
        return known.astype(np.int32)
    return known
